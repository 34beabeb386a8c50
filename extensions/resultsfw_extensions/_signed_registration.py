"""Register each pod's signer with a SPIRE server while the pod lives, where the operator chose so."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from resultsfw import Object, Run
from resultsfw.errors import ResultsError
from resultsfw_extensions._circuit_breaker import CircuitBreaker
from resultsfw_extensions._signed_config import SignedConfig
from resultsfw_extensions._signed_entrypoint import signs_in_steps
from resultsfw_extensions._signed_identity import Identity
from resultsfw_extensions._signed_pods import signing_container
from resultsfw_extensions._spire_entries import EntryClient
from resultsfw_signing import statement

__all__ = ["Registration"]

log = logging.getLogger(__name__)

_WAITING: Final = 1000
"""Most pods whose entries wait to be removed; those of further pods expire."""


class Registration:
    """Creates the entries of pods, and removes them in the background.

    Args:
        config: The operator's options.
        identity: The controller's identity.

    Raises:
        FlagError: The options do not fit together.
    """

    def __init__(self, config: SignedConfig, identity: Identity) -> None:
        self._config = config
        self._client = (
            EntryClient(
                config.entries, config.trust_domain, lambda: identity.credentials(config.trust_domain)
            )
            if config.entries is not None
            else None
        )
        self._breaker = CircuitBreaker()
        self._remover = ThreadPoolExecutor(1, "spire-entries")
        self._free = threading.BoundedSemaphore(_WAITING)

    def create(self, run: Run, pod: Object) -> None:
        """Let the pod's signer get its identity, if the extension is to register pods. May be called again.

        Raises:
            ClusterError: The server refuses, or does not answer.
        """
        client = self._client
        if client is not None and _is_signed(run, pod):
            container, identities = signing_container(pod), self._identities(run, pod)
            self._breaker.call(lambda: client.create(pod, container, identities))

    def remove(self, run: Run, pod: Object) -> None:
        """Remove the entries of a pod that has signed, later. What cannot be removed expires.

        So do those of a pod that vanished: its uid is not known any more.
        """
        if self._client is None or not pod["metadata"].get("uid") or not _is_signed(run, pod):
            return
        if self._free.acquire(blocking=False):
            self._remover.submit(self._remove, pod, self._identities(run, pod))

    def close(self) -> None:
        """End the background's work; what was not removed yet expires."""
        self._remover.shutdown(wait=False, cancel_futures=True)

    def _remove(self, pod: Object, identities: list[str]) -> None:
        try:
            if self._client is not None:
                self._client.delete(pod, identities)
        except ResultsError as error:
            name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            log.warning("the entries of pod %s are not removed, and expire: %s", name, error.message)
        finally:
            self._free.release()

    def _identities(self, run: Run, pod: Object) -> list[str]:
        """Return what the signer of a pod gets: the pod's identity; for Tekton's keys, also the run's.

        Tekton's entrypoint signs with the run's alone: it takes the first that it gets.
        """
        domain = self._config.trust_domain
        if signs_in_steps(run, pod):
            return [statement.run_spiffe_id(domain, run.namespace, run.name)]
        identities = [statement.pod_spiffe_id(domain, run.namespace, run.name, pod["metadata"]["uid"])]
        if self._config.tekton_keys:
            identities.append(statement.run_spiffe_id(domain, run.namespace, run.name))
        return identities


def _is_signed(run: Run, pod: Object) -> bool:
    return signing_container(pod) is not None or signs_in_steps(run, pod)
