"""The `Cluster` of a real API server; the only package that imports the Kubernetes client."""

from resultsfw.kube.answers import GoneError, TryLaterError
from resultsfw.kube.cached import CachedCluster
from resultsfw.kube.cluster import KubeCluster
from resultsfw.kube.connect import Connection, connect
from resultsfw.kube.foreign import lacks_string
from resultsfw.kube.lease import LeaderElector
from resultsfw.kube.reflector import Reflector

__all__ = [
    "CachedCluster",
    "Connection",
    "GoneError",
    "KubeCluster",
    "LeaderElector",
    "Reflector",
    "TryLaterError",
    "connect",
    "lacks_string",
]
