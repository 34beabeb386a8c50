"""Implement `resultsfw.cluster.Cluster` on an API server: requests, watches, caches and the Lease.

Only this package imports the Kubernetes client. What a TaskRun or a PipelineRun is belongs elsewhere.
"""

from resultsfw.kube.cached_cluster import CachedCluster
from resultsfw.kube.cluster import KubeCluster
from resultsfw.kube.connection import Connection, connect
from resultsfw.kube.json_strings import lacks_string
from resultsfw.kube.lease import LeaderElector
from resultsfw.kube.reflector import Reflector
from resultsfw.kube.reflector_group import ReflectorGroup
from resultsfw.kube.status_errors import GoneError, TryLaterError

__all__ = [
    "CachedCluster",
    "Connection",
    "GoneError",
    "KubeCluster",
    "LeaderElector",
    "Reflector",
    "ReflectorGroup",
    "TryLaterError",
    "connect",
    "lacks_string",
]
