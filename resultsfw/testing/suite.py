"""`BackendSuite`: all parts of the suite in one class."""

from resultsfw.testing.contract import ContractCases
from resultsfw.testing.hostile import HostileCases
from resultsfw.testing.lives import LifeCases
from resultsfw.testing.references import ReferenceCases
from resultsfw.testing.secrets import SecretCases
from resultsfw.testing.values import ValueCases

__all__ = ["BackendSuite"]


class BackendSuite(ContractCases, ValueCases, LifeCases, HostileCases, ReferenceCases, SecretCases):
    """Whether a backend keeps its promises. Subclass it, and say which backend.

    Attributes:
        backend: Its installed name; or a class, a module or an object that has no entry point.
        config: Its options, as ``config.NAME`` would hold them.

    A fixture ``backend_config`` gives the options instead, where they are known only when tests run.
    A fixture ``backend_outside`` shows the suite what the backend keeps outside the cluster, as a mutable
    mapping from names to bytes (`Folder` is one). Both have scope "class" or wider.
    """
