"""Extension ``signed``: let pods sign their results with their SPIFFE identity, and verify the signatures.

The policy of a run's namespace decides. ``fail``: only results that verify count. ``mark``: all count, and
the condition ``SignedResultsVerified`` shows whether they verify. ``off``: nothing is signed or verified.
"""

from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

from pydantic import BaseModel

from resultsfw import (
    Cluster,
    CollectionOutcome,
    Extraction,
    Limits,
    Object,
    Permission,
    Run,
    Verification,
    hookimpl,
)
from resultsfw.errors import ClusterError, InputError
from resultsfw.sidecars import last_termination

try:
    from resultsfw.signatures import verify_results
    from resultsfw_extensions._signed_config import SignedConfig
    from resultsfw_extensions._signed_entrypoint import (
        ended_at,
        is_for_entrypoint,
        let_entrypoint_sign,
        signs_in_steps,
        verify_entrypoint,
    )
    from resultsfw_extensions._signed_identity import Identity, controller_socket
    from resultsfw_extensions._signed_log import read_signer_log
    from resultsfw_extensions._signed_message_room import describe_room
    from resultsfw_extensions._signed_policy import AWAITING, apply_policy, unverifiable, without_signatures
    from resultsfw_extensions._signed_registration import Registration
    from resultsfw_extensions._signed_verdict import attest
except ImportError as error:
    raise ImportError('it needs cryptography, h2 and spiffe: pip install "resultsfw[signed]"') from error

from resultsfw_extensions._signed_pods import (
    add_signer,
    annotate,
    refuse_reserved_names,
    signing_container,
)
from resultsfw_signing import statement

__all__ = ["Signed", "SignedConfig"]


class Signed:
    """Wrap every backend's ``prepare_pod`` and ``extract``, and register pods.

    Args:
        config: The operator's options.
    """

    Config: ClassVar[type[BaseModel]] = SignedConfig
    verifies_results: ClassVar[bool] = True
    changes_results: ClassVar[bool] = True
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission(
            verb="get",
            resource="pods/log",
            why="the signature is in the log of a container of its own, unless the results sidecar signs",
        ),
    )

    def __init__(self, config: SignedConfig) -> None:
        self._config = config
        self.identity = Identity(controller_socket(config))
        self._registration = Registration(config, self.identity)

    @hookimpl(wrapper=True)
    def prepare_pod(self, run: Run, pod: Object, limits: Limits, backend: str) -> Generator[None, int, int]:
        """Let the pod sign its results.

        Raises:
            InputError: A result or a container has a reserved name, or nothing in the pod can sign.
            BackendError: Another container could use the identity, or see the key.
        """
        policy = self._config.policy_of(run.namespace)
        if policy == "off":
            return (yield)
        self.identity.start()
        refuse_reserved_names(run)
        annotate(pod, self._config)
        wire: int = yield
        if is_for_entrypoint(run, pod, self._config, backend):
            let_entrypoint_sign(run, pod, self._config)
        elif not add_signer(run, pod, self._config, limits=limits) and policy == "fail":
            raise InputError(
                f'backend "{backend}" takes the results of pods without Tekton\'s entrypoint from where no '
                f"signer can read them: choose another results-from, or set the policy of namespace "
                f"{run.namespace} to mark or off (namespaces of config.signed)",
                subject=backend,
            )
        return wire

    @hookimpl(wrapper=True)
    def extract(self, run: Run, pod: Object, cluster: Cluster) -> Generator[None, Extraction, Extraction]:
        """Return the results that count by the policy of the run's namespace, with the verification."""
        extraction = yield
        policy = self._config.policy_of(run.namespace)
        if policy == "off":
            return extraction
        extraction = without_signatures(extraction)
        try:
            extraction = _with_signature(run, pod, cluster, extraction)
            bundle = self.identity.bundle(self._config.trust_domain)
        except ClusterError as error:
            return unverifiable(extraction, error, policy)
        caveat = ""
        if signs_in_steps(run, pod):
            verified, caveat = verify_entrypoint(run, pod, extraction, bundle)
        else:
            uid = pod["metadata"].get("uid", "")
            verified = verify_results(run, uid, extraction, bundle, at=_signed_at(pod))
        if not extraction.too_early and extraction.read_error is None:
            self._registration.remove(run, pod)
        return apply_policy(extraction, verified, policy, caveat=caveat)

    @hookimpl
    def pod_created(self, run: Run, pod: Object) -> Verification | None:
        """Register the pod, if the operator chose so, and return its verification until results are read.

        Raises:
            ClusterError: The SPIRE server does not register it now.
        """
        if self._config.policy_of(run.namespace) == "off":
            return None
        self._registration.create(run, pod)
        if not signs_in_steps(run, pod):
            return AWAITING
        room = describe_room(run, pod, self._config.trust_domain)
        return replace(AWAITING, message="; ".join(filter(None, (AWAITING.message, room))))

    @hookimpl
    def attest_status(
        self, run: Run, status: Object, obj: Object, collected: CollectionOutcome
    ) -> Mapping[str, str]:
        """Sign the status that ends a run with the controller's identity.

        Raises:
            UnavailableError: The controller has no valid identity now.
            InputError: See `attest`.
        """
        if self._config.policy_of(run.namespace) == "off":
            return {}
        return attest(run, status, obj, collected, self.identity.svid(), at=datetime.now(UTC))

    @hookimpl
    def close(self) -> None:
        """End the stream of the Workload API and the work in the background."""
        self._registration.close()
        self.identity.close()


def _with_signature(run: Run, pod: Object, cluster: Cluster, extraction: Extraction) -> Extraction:
    """Return an extraction with the signature of a container that only signs, if the pod has one.

    Raises:
        ClusterError: Its log cannot be read.
    """
    if signing_container(pod) != statement.SIGNER_CONTAINER:
        return extraction
    found = read_signer_log(run, pod, cluster)
    return replace(
        extraction,
        envelope=found.envelope,
        envelope_fault=found.fault,
        tekton_signatures=found.tekton,
        too_early=extraction.too_early or found.too_early,
    )


def _signed_at(pod: Object) -> datetime:
    """Return when the pod signed at the latest: when its signer ended, or now."""
    container = signing_container(pod)
    return ended_at((last_termination(pod, container) if container is not None else None) or {})
