"""The local engine: an object store, a kubelet that runs Pods as processes, and the usual reconcilers."""

from resultsfw.local.engine import Engine, Reconciler
from resultsfw.local.kubelet import Kubelet
from resultsfw.local.store import Store

__all__ = ["Engine", "Kubelet", "Reconciler", "Store"]
