"""The engine with no cluster: an object store, Pods as processes of this machine, the same reconcilers."""

from resultsfw.local.engine import Engine, Reconciler
from resultsfw.local.kubelet import Kubelet
from resultsfw.local.store import Store

__all__ = ["Engine", "Kubelet", "Reconciler", "Store"]
