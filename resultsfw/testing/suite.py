"""Combine all parts of the suite in one class, `BackendSuite`."""

from resultsfw.testing.artifacts import ArtifactCases
from resultsfw.testing.concurrency import ConcurrencyCases
from resultsfw.testing.contract import ContractCases
from resultsfw.testing.lifecycle import LifecycleCases
from resultsfw.testing.plain_pods import PlainPodCases
from resultsfw.testing.references import ReferenceCases
from resultsfw.testing.robustness import RobustnessCases
from resultsfw.testing.secrets import SecretCases
from resultsfw.testing.store_faults import ClusterWriteCases, StoreFaultCases
from resultsfw.testing.values import ValueCases

__all__ = ["BackendSuite"]


class BackendSuite(
    ContractCases,
    ValueCases,
    ArtifactCases,
    LifecycleCases,
    ConcurrencyCases,
    RobustnessCases,
    ReferenceCases,
    PlainPodCases,
    SecretCases,
    ClusterWriteCases,
    StoreFaultCases,
):
    """Test that a backend keeps the contract. Subclass it and set `backend`.

    Attributes:
        backend: The backend's installed name; or a class, a module or an object without an entry point.
        name: The name under which the suite selects a backend without an entry point.
        config: Its options, as ``config.NAME`` contains them.

    Fixtures of the author, with scope "class" or wider, that return what is known only when tests run:

    - ``backend_config``: the options.
    - ``backend_external_state``: what the backend stores outside the cluster, as a mutable mapping from names
      to bytes (`Folder` is one).
    - ``backend_store_faults``: for "down", "slow" and "full" a function that returns a context manager; in it
      the store has that fault. `Folder.down` is such a function.
    - ``backend_claims``: a folder. PersistentVolumeClaim C of namespace N is the folder N/C in it.
    """
