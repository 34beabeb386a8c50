"""The `Cluster` of a real API server; the only package that imports the Kubernetes client."""

from resultsfw.kube.cached_cluster import CachedCluster
from resultsfw.kube.cluster import KubeCluster
from resultsfw.kube.connection import Connection, connect
from resultsfw.kube.json_strings import lacks_string
from resultsfw.kube.lease import LeaderElector
from resultsfw.kube.reflector import Reflector
from resultsfw.kube.status_errors import GoneError, TryLaterError

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
