"""Manage the results of runs: prepare a pod, collect its results, build the status, purge.

`ResultsManager` is what a controller or an embedder uses; it delegates to the backend that the flags select.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, Self

from resultsfw import backend_calls, jsons
from resultsfw.cluster import Cluster, Object
from resultsfw.entrypoint import remove_result_file_flags
from resultsfw.errors import (
    BackendError,
    ClusterError,
    ResultsError,
    TooEarlyError,
)
from resultsfw.flags import ANNOTATION, Flags, choose_backend, parse_flags
from resultsfw.lifetime import during_life
from resultsfw.limits import effective_limits
from resultsfw.messages import POD_MESSAGE_BYTES
from resultsfw.plugin_registry import CLOSE_SECONDS, PluginRegistry
from resultsfw.plugins import Backend
from resultsfw.podchecks import check_plain_pod
from resultsfw.pods import is_plain
from resultsfw.reference_calls import backend_of_reference, place_referenced, read_referenced
from resultsfw.stamps import STAMP_ANNOTATION, read_stamp, write_stamp
from resultsfw.status import build_outcome, status_patch
from resultsfw.types import (
    CollectionOutcome,
    Extraction,
    Limits,
    Problem,
    ProblemCode,
    Reference,
    Run,
    Stamp,
    Verification,
)
from resultsfw.values import escape_surrogates

__all__ = ["ResultsManager"]

_STAMP: Final = "the pod's stamp"


class ResultsManager:
    """Prepares pods and collects results, through the backend that the flags select.

    Has no state of a run: everything it needs is in the arguments and the pod. Safe to use from several
    threads.

    Attributes:
        flags: The operator's flags.
        extensions: The loaded extensions by name.
        lifetime: Counts the running calls; `close` ends it.
    """

    def __init__(
        self,
        flags: Flags,
        *,
        register: Mapping[str, object] | None = None,
        extensions: Iterable[str] = (),
        register_extensions: Mapping[str, object] | None = None,
    ) -> None:
        """Load the backend of ``flags.results_from`` and the extensions, and validate their options.

        Args:
            flags: As `resultsfw.flags.parse_flags` returns them.
            register: Backends without an entry point, by name: objects, classes or modules.
            extensions: Names of the group ``resultsfw.extensions``, in addition to those of the flags.
            register_extensions: Extensions without an entry point, by name: classes, modules or objects. Each
                is enabled, and gets the options of ``config.NAME``.

        Raises:
            UnknownBackendError: A name in ``results-from`` or ``allowed-results-from`` is not installed.
            BrokenBackendError: The selected backend cannot be used.
            UnknownExtensionError: An allow-listed extension is not installed.
            BrokenExtensionError: An allow-listed extension cannot be used.
            FlagError: The options of one of them are rejected.
        """
        self.flags = flags
        self._plugins = PluginRegistry(flags, register or {}, extensions, register_extensions)
        self.extensions = self._plugins.extensions
        self.lifetime = self._plugins.lifetime
        try:
            self._plugins.config(self.backend(flags.results_from))
        except BaseException:
            self._plugins.close(0)
            raise

    @classmethod
    def from_flags(
        cls,
        data: Mapping[str, str],
        *,
        register: Mapping[str, object] | None = None,
        extensions: Iterable[str] = (),
        register_extensions: Mapping[str, object] | None = None,
    ) -> Self:
        """Create a manager from the ``data`` of a ``feature-flags`` ConfigMap.

        Raises what `parse_flags` and `ResultsManager` raise.
        """
        return cls(
            parse_flags(data),
            register=register,
            extensions=extensions,
            register_extensions=register_extensions,
        )

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Close the extensions once no call of this manager runs any more. May be called again.

        Waits for the extensions, but not for running calls: the last of these closes the extensions when it
        ends. A call that begins later raises `RuntimeError`. A manager is also a context manager.

        Args:
            timeout: Seconds to wait at most; what is not closed then is left to a daemon thread.
        """
        self._plugins.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def backend(self, name: str) -> Backend:
        """Return the backend of that name; import it the first time.

        The import runs the backend's code: take the name from the flags or from your own records, never from
        text that a tenant can write. See `allows`.

        Raises:
            UnknownBackendError, BrokenBackendError: It cannot be loaded.
        """
        return self._plugins.get(name)

    def allows(self, name: str) -> bool:
        """Return whether untrusted text may select the backend: a flag allows it, or it is registered."""
        return self._plugins.allows(name)

    def warnings(self) -> tuple[str, ...]:
        """Return combinations of flags that the operator may not intend, in words."""
        mode, warned = self.flags.embedded_status, list(self._plugins.warnings)
        for name in sorted(self.flags.allowed_results_from) if mode != "minimal" else ():
            try:
                capabilities = self.backend(name).capabilities
            except ResultsError:
                continue  # reported when a run uses that backend
            most = effective_limits(self.flags.max_result_size, capabilities).run_bytes
            if capabilities.delivery == "value" and most > POD_MESSAGE_BYTES:
                warned.append(
                    f"embedded-status is {mode}, and results-from {name} lets the results of one run have "
                    f"{most} bytes: a PipelineRun repeats them for all its TaskRuns, and fails where they do "
                    f"not fit into one object; set embedded-status: minimal"
                )
        return tuple(warned)

    @property
    def redacting_extensions(self) -> tuple[str, ...]:
        """Names of the extensions that may change results.

        If there are any, do not copy termination messages into a status: they contain the unchanged results.
        """
        return tuple(name for name, extension in self.extensions.items() if extension.changes_results)

    @during_life
    def prepare_pod(
        self,
        run: Run,
        pod: Object,
        *,
        cluster: Cluster | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Object:
        """Return a copy of the pod with the additions of its backend and the stamp.

        Args:
            run: The run. One Run is one pod.
            pod: Complete except for the backend's additions: with its namespace, its service account, and the
                owner for objects that are created with it. Or the template of a Job.
            cluster: Used by a backend that creates objects before the pod; such a backend is rejected
                without it.
            annotations: The run's own annotations: one of them may select the backend.

        Raises:
            FlagError: The run may not use the backend it asks for, or its options are rejected.
            InputError: This pod cannot deliver results through the backend, or has a conflicting name.
            BackendError: The backend cannot be loaded, or failed.
            ClusterError: An object that must exist before the pod could not be created.
        """
        pod = jsons.copy(pod)
        if not run.declares_results:
            return pod
        backend = self.backend(choose_backend(self.flags, annotations or {}))
        if run.writes_artifacts and not backend.capabilities.artifacts:
            raise BackendError(
                f'backend "{backend.name}" does not deliver provenance of artifacts, which a Step of this '
                f"run writes: choose another backend by the annotation {ANNOTATION} or the feature flag "
                f'"results-from"',
                subject=backend.name,
            )
        if is_plain(run, pod):
            if not backend.capabilities.plain_pods:
                raise self._plugins.plain_pod_error(backend, _name(pod))
            check_plain_pod(run, pod)
        if cluster is None and backend.capabilities.external_state != "no":
            raise BackendError(
                f'backend "{backend.name}" makes what its pods need before they are there: give prepare_pod '
                f"the cluster",
                subject=backend.name,
            )
        wire = backend_calls.call(
            backend,
            "prepare_pod",
            run=run,
            pod=pod,
            cluster=cluster,
            limits=effective_limits(self.flags.max_result_size, backend.capabilities),
            config=self._plugins.config(backend),
        )
        steps = {step.container for step in run.steps}
        for container in pod.get("spec", {}).get("containers") or ():
            if container["name"] in steps and container.get("args"):
                container["args"] = remove_result_file_flags(container["args"])
        write_stamp(pod, Stamp(backend=backend.name, wire=wire, max_result_size=self.flags.max_result_size))
        return pod

    @during_life
    def pod_created(self, run: Run, pod: Object) -> Verification | None:
        """Register a prepared pod, once it is created, with the extension that verifies signatures.

        May be called again for the same pod.

        Returns:
            Its verification until results are read, for the status; ``None`` if no signature is expected.

        Raises:
            ResultsError: Call again a few seconds later; the run goes on meanwhile.
        """
        return self._plugins.pod_created(run, pod) if run.declares_results else None

    @during_life
    def attest_status(
        self,
        run: Run,
        status: Object,
        *,
        obj: Object | None = None,
        collected: CollectionOutcome | None = None,
    ) -> Mapping[str, str]:
        """Return annotations for the status that ends an attempt, such as a signature over it.

        Args:
            run: The run.
            status: The status as it will be stored.
            obj: The object whose status it is, as it was read.
            collected: What `collect` returned for the run.

        Raises:
            ClusterError: It cannot be signed now.
            ExtensionError: The extension that signs it failed.
        """
        return self._plugins.attest_status(run, status, obj or {}, collected or CollectionOutcome())

    @during_life
    def is_ready(self, run: Run, pod: Object, *, stamp: Stamp | None = None) -> bool:
        """Return whether `collect` should read the pod now.

        Sends no request, so `collect` may still find that it is too early.

        Args:
            run: The run.
            pod: The pod as last seen.
            stamp: As for `collect`.

        Raises:
            BackendError: The backend cannot be loaded, is not allowed, or failed.
        """
        if not run.declares_results:
            return True
        stamp, backend, _ = self._backend_of(pod, stamp)
        config = self._plugins.config(backend)
        ready: bool = backend_calls.call(
            backend, "pod_ready", run=run, pod=pod, config=config, wire=stamp.wire
        )
        return ready

    @during_life
    def collect(
        self, run: Run, pod: Object, cluster: Cluster, *, stamp: Stamp | None = None, final: bool = False
    ) -> CollectionOutcome:
        """Read a pod's results once, by the backend of its stamp, and check their sizes and types.

        Args:
            run: The run.
            pod: The pod as last seen.
            cluster: Reads logs and objects.
            stamp: How the pod was prepared, from the caller's own records: for a pod without a stamp (another
                controller created it), and for one whose backend no flag allows any more. A pod's own stamp
                can be changed by everybody who may write pods: alone it selects only backends that the flags
                allow.
            final: There will be no further attempt: a failed read becomes a problem of the outcome.

        Raises:
            ClusterError: A read failed and a later attempt may succeed; not if ``final``.
            TooEarlyError: The pod is still writing results; not if ``final``.
            BackendError: The backend cannot be loaded, or failed; not if ``final``. Of a programming error
                (``final``) the outcome has a problem at once.
        """
        if not run.declares_results:
            return CollectionOutcome()
        backend: Backend | None = None
        try:
            stamp, backend, limits = self._backend_of(pod, stamp)
            extraction = backend_calls.call(
                backend,
                "extract",
                run=run,
                pod=pod,
                cluster=cluster,
                limits=limits,
                config=self._plugins.config(backend),
                wire=stamp.wire,
            )
            if not final:
                _raise_if_incomplete(extraction, f"Pod {run.namespace}/{_name(pod)}")
        except ResultsError as error:
            # A cluster's final error decides the run, and so does a programming error. A backend's other
            # errors do not while there is another attempt: new options may repair them.
            if isinstance(error, ClusterError):
                decides = not error.retryable
            else:
                decides = isinstance(error, BackendError) and error.final
            if not (final or decides):
                raise
            collected = CollectionOutcome(problems=(_unreadable(error),))
        else:
            missing_fails = self.flags.missing_results == "fail"
            collected = build_outcome(run, extraction, limits, missing_fails=missing_fails)
        if backend is None:
            return collected
        if collected.ok:
            backend.notify("results_collected", run=run, collected=collected)
        else:
            backend.notify("collection_failed", run=run, problems=collected.problems)
        return collected

    status_patch = staticmethod(status_patch)

    @during_life
    def dereference(
        self, reference: Reference, cluster: Cluster, *, namespace: str = "", backend: str = ""
    ) -> Iterator[bytes]:
        """Yield the bytes of a referenced value, verified by size and digest as they arrive.

        A consumer of a status gets the reference from `resultsfw.read_reference`.

        Args:
            reference: The reference.
            cluster: Passed to the backend.
            namespace: Namespace of the run on whose behalf the value is read; whoever created that run may
                have written the reference. "": the caller may read values of every namespace.
            backend: A backend that may be used according to the caller's own records, in addition to those
                that the flags allow: the reference may be text that a tenant wrote.

        Raises:
            BackendError: The backend cannot be loaded, failed, or does not use references.
            ClusterError: The value cannot be read now, or is gone (NotFoundError).
            CorruptError: The value differs from the stored value (raised at the end, or at the first byte
                too many), or it does not belong to a run of the namespace.
        """
        pieces = read_referenced(self._plugins, reference, cluster, namespace=namespace, trusted=backend)
        return self.lifetime.during(pieces)

    def can_place_files(self, reference: Reference) -> bool:
        """Return whether the reference's backend implements `place_files`.

        Raises:
            BackendError: The backend cannot be loaded, or does not use references.
        """
        impls = backend_of_reference(self._plugins, reference).hook.place_files.get_hookimpls()
        return any(not impl.wrapper and not impl.hookwrapper for impl in impls)

    @during_life
    def place_files(
        self,
        run: Run,
        pod: Object,
        files: Mapping[str, Reference],
        mount: Object,
        *,
        cluster: Cluster | None = None,
    ) -> Object:
        """Return a copy of the pod that gets referenced values as files before its Steps start.

        Args:
            run: The run. References to values of another namespace are rejected.
            pod: Complete except for the additions of backends; call `prepare_pod` afterwards.
            files: The reference of each file by its absolute path; see `can_place_files`.
            mount: The ``volumeMount`` of the volume of these files.
            cluster: Where a backend looks for what the pod needs, such as its service account, and creates
                what must exist before the pod, such as keys of encrypted values.

        Raises:
            BackendError: A backend cannot be loaded, or failed.
            ClusterError: A backend could not read or create what it needs, or use a key.
            CorruptError: A reference does not belong to a run of the namespace.
            InputError: The pod has a conflicting name.
        """
        return place_referenced(self._plugins, run, pod, files, mount, cluster=cluster)

    def external_state(self, pod: Object) -> Literal["no", "owned", "elsewhere"]:
        """Return where the backend of a prepared pod stores data outside it.

        Raises:
            BackendError: The backend cannot be loaded, or no flag allows it.
        """
        if (stamp := read_stamp(pod)) is None:
            return "no"
        return self._plugins.get_allowed(stamp.backend, _STAMP).capabilities.external_state

    @during_life
    def purge(
        self, run: Run, pod: Object, cluster: Cluster, *, backend: str = "", deleted: bool = False
    ) -> None:
        """Remove what a backend stored outside the pod, if it is not needed any more. May be called again.

        Args:
            run: The run; only data of its ``attempt`` is removed.
            pod: The prepared pod; its stamp names the backend, if the flags allow that one.
            cluster: Deletes objects.
            backend: The backend according to the caller's own records: for a pod that is gone, or whose
                backend no flag allows any more.
            deleted: Whether the run itself is deleted. Before that, referenced values are kept.

        Raises:
            BackendError: The backend cannot be loaded, or failed.
            ClusterError: Something could not be removed.
        """
        if backend:
            used = self.backend(backend)
        elif run.declares_results and (stamp := read_stamp(pod)) is not None:
            used = self._plugins.get_allowed(stamp.backend, _STAMP)
        else:
            return
        if used.capabilities.external_state != "no" and (deleted or used.capabilities.delivery == "value"):
            backend_calls.call(used, "purge", run=run, cluster=cluster, config=self._plugins.config(used))

    def _backend_of(self, pod: Object, given: Stamp | None) -> tuple[Stamp, Backend, Limits]:
        """Return stamp, backend and limits to read a pod by: its own stamp, else the caller's."""
        stamp = read_stamp(pod) or given
        if stamp is None:
            raise BackendError(
                f'pod "{_name(pod)}" carries no stamp ({STAMP_ANNOTATION}) and nobody says how it was made',
                subject="",
            )
        trusted = given is not None and given.backend == stamp.backend
        backend = self._plugins.of_pod(_name(pod), stamp, trusted=trusted)
        return stamp, backend, effective_limits(stamp.max_result_size, backend.capabilities)


def _name(pod: Object) -> str:
    return str(pod.get("metadata", {}).get("name", ""))


def _raise_if_incomplete(extraction: Extraction, subject: str) -> None:
    """Raise the error of an extraction that a later attempt may complete.

    Raises:
        ClusterError: The extraction's ``read_error``.
        TooEarlyError: The extraction is ``too_early``.
    """
    if extraction.read_error is not None:
        raise extraction.read_error
    if extraction.too_early:
        raise TooEarlyError("the results are still being written", subject=subject)


def _unreadable(error: ResultsError) -> Problem:
    faulty = isinstance(error, BackendError) and error.final
    return Problem(
        code=ProblemCode.BACKEND_FAULTY if faulty else ProblemCode.TRANSPORT_UNREADABLE,
        message=f"the results could not be read: {escape_surrogates(error.message)}",
    )
