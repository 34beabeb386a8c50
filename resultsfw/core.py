"""The core an embedder holds: flags and backends in, a prepared pod and a verdict out."""

import logging
import re
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from resultsfw import jsons
from resultsfw.cluster import Cluster, Object
from resultsfw.errors import BackendError, ClusterError, ResultsError, TooEarlyError, UnknownBackendError
from resultsfw.flags import Flags, choose_backend, parse_flags, unknown_backend
from resultsfw.limits import effective
from resultsfw.plugins import Backend, installed, load_backend, load_extensions, wrap_backend
from resultsfw.status import assemble, status_patch
from resultsfw.types import Collected, Extraction, Limits, Problem, ProblemCode, Run, Stamp

__all__ = ["LIMIT_ANNOTATION", "STAMP_ANNOTATION", "Core", "stamp_of"]

log = logging.getLogger(__name__)

STAMP_ANNOTATION: Final = "resultsfw.dev/stamp"
"""On a pod: ``BACKEND/WIRE``, written when it is made and followed when it is read."""

LIMIT_ANNOTATION: Final = "resultsfw.dev/max-result-size"
"""On a pod: the bytes a value may have, as the flag was when the pod was made."""

_NUMBER: Final = re.compile("[0-9]{1,18}")


def stamp_of(pod: Object) -> Stamp | None:
    """How a pod was made, or ``None`` if it carries no stamp of ours.

    Raises:
        BackendError: It carries one that cannot be read.
    """
    annotations = pod.get("metadata", {}).get("annotations") or {}
    text = annotations.get(STAMP_ANNOTATION)
    if text is None:
        return None
    backend, _, wire = text.rpartition("/")
    limit = annotations.get(LIMIT_ANNOTATION, "")
    if not (backend and _NUMBER.fullmatch(wire) and _NUMBER.fullmatch(limit)):
        raise BackendError(
            f'the pod\'s annotations {STAMP_ANNOTATION}="{text}", {LIMIT_ANNOTATION}="{limit}" '
            f"cannot be read; they are not for editing",
            subject=text,
        )
    return Stamp(backend=backend, wire=int(wire), max_result_size=int(limit))


class Core:
    """Results of runs, through whichever backend the flags name.

    Holds no state of any run: everything it needs to know is in the arguments and the pod.
    Safe to use from several threads.
    """

    def __init__(
        self, flags: Flags, *, register: Mapping[str, object] | None = None, extensions: Iterable[str] = ()
    ) -> None:
        """Load the backend of ``flags.results_from`` and check its configuration.

        Args:
            flags: As `resultsfw.flags.parse_flags` gives them.
            register: Backends by name that have no entry point: objects, classes or modules.
            extensions: The allow-listed names of the group ``resultsfw.extensions``.

        Raises:
            UnknownBackendError: A name in ``results-from`` or ``allowed-results-from`` is not installed.
            BrokenBackendError: The selected backend cannot be used.
            FlagError: Its configuration is refused.
        """
        self.flags = flags
        self._registered = dict(register or {})
        self._extensions = load_extensions(extensions)
        self._backends: dict[str, Backend] = {}
        self._loading = threading.Lock()
        names = {one.name for one in installed()} | self._registered.keys()
        for where, name in (
            ("results-from", flags.results_from),
            *(("allowed-results-from", name) for name in sorted(flags.allowed)),
        ):
            if name not in names:
                raise unknown_backend(name, names, where=where)
        self.backend(flags.results_from).configure(flags.config.get(flags.results_from, {}))

    @classmethod
    def from_flags(
        cls,
        data: Mapping[str, str],
        *,
        register: Mapping[str, object] | None = None,
        extensions: Iterable[str] = (),
    ) -> "Core":
        """Build the core from a ``feature-flags`` ConfigMap's ``data``.

        Raises what `parse_flags` and `Core` raise.
        """
        return cls(parse_flags(data), register=register, extensions=extensions)

    def backend(self, name: str) -> Backend:
        """The backend of that name, imported the first time it is asked for.

        Raises:
            UnknownBackendError, BrokenBackendError: It cannot be had.
        """
        with self._loading:
            if name not in self._backends:
                if name in self._registered:
                    loaded = wrap_backend(name, self._registered[name], extensions=self._extensions)
                else:
                    loaded = load_backend(name, extensions=self._extensions)
                self._backends[name] = loaded
            return self._backends[name]

    def prepare_pod(self, run: Run, pod: Object, *, annotations: Mapping[str, str] | None = None) -> Object:
        """The pod with what its backend needs in it, stamped. The argument is left as it was.

        Args:
            run: Whose pod it is.
            pod: Complete but for what a backend adds.
            annotations: The run's own: one of them may choose the backend.

        Raises:
            FlagError: The run asks for a backend it may not have, or its configuration is refused.
            BackendError: The backend cannot be had, or failed.
        """
        pod = jsons.copy(pod)
        if not run.declares:
            return pod
        backend = self.backend(choose_backend(self.flags, annotations or {}))
        limits = effective(self.flags.max_result_size, backend.capabilities)
        wire = self._call(
            backend, "prepare_pod", run=run, pod=pod, limits=limits, config=self._config(backend)
        )
        if type(wire) is not int or wire < 0:
            raise BackendError(
                f'backend "{backend.name}" returned {wire!r:.80} from prepare_pod and not the version of its '
                f"format, an integer from 0; without it the pod could not be read",
                subject=backend.name,
            )
        stamps = {
            STAMP_ANNOTATION: f"{backend.name}/{wire}",
            LIMIT_ANNOTATION: str(self.flags.max_result_size),
        }
        metadata = pod.setdefault("metadata", {})
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **stamps}
        return pod

    def ready(self, run: Run, pod: Object, *, stamp: Stamp | None = None) -> bool:
        """Whether `collect` should read the pod now. Asks nobody: `collect` may still find it too early."""
        if not run.declares:
            return True
        stamp, backend, _ = self._reading(pod, stamp)
        config = self._config(backend)
        return bool(self._call(backend, "pod_ready", run=run, pod=pod, config=config, wire=stamp.wire))

    def collect(
        self, run: Run, pod: Object, cluster: Cluster, *, stamp: Stamp | None = None, final: bool = False
    ) -> Collected:
        """Read a pod's results once and judge them, by the transport the pod was stamped with.

        Args:
            run: Whose results.
            pod: The pod as last seen.
            cluster: Where logs and objects are read.
            stamp: How the pod was made, where it carries no stamp (another controller made it).
            final: There will be no further try: a read that fails becomes a problem of the verdict.

        Raises:
            ClusterError: A read failed and can still come right; only when not ``final``.
            TooEarlyError: One of those: the pod has not said all yet. Only when not ``final``.
            BackendError: The backend cannot be had or failed; only when not ``final``.
        """
        if not run.declares:
            return Collected()
        backend: Backend | None = None
        try:
            stamp, backend, limits = self._reading(pod, stamp)
            extraction = self._call(
                backend,
                "extract",
                run=run,
                pod=pod,
                cluster=cluster,
                limits=limits,
                config=self._config(backend),
                wire=stamp.wire,
            )
            if not isinstance(extraction, Extraction):
                raise BackendError(
                    f'backend "{backend.name}" returned {type(extraction).__name__} from extract and not an '
                    f"Extraction",
                    subject=backend.name,
                )
            if extraction.early and not final:
                raise TooEarlyError(
                    "the results are still being written",
                    subject=f"Pod {run.namespace}/{pod.get('metadata', {}).get('name', '')}",
                )
        except ResultsError as error:
            # Of the cluster's errors some are a verdict; of a backend's none is while there is a next try.
            if not final and (not isinstance(error, ClusterError) or error.retryable):
                raise
            collected = Collected(problems=(_unreadable(error),))
        else:
            missing_fails = self.flags.missing_results == "fail"
            collected = assemble(run, extraction, limits, missing_fails=missing_fails)
        if backend is None:
            return collected
        if collected.ok:
            backend.notify("results_collected", run=run, collected=collected)
        else:
            backend.notify("collection_failed", run=run, problems=collected.problems)
        return collected

    status_patch = staticmethod(status_patch)

    def purge(self, run: Run, pod: Object, cluster: Cluster) -> None:
        """Remove what the pod's backend left outside the pod. May be called again."""
        if run.declares and (stamp := stamp_of(pod)) is not None:
            backend = self.backend(stamp.backend)
            self._call(backend, "purge", run=run, pod=pod, cluster=cluster, config=self._config(backend))

    def _reading(self, pod: Object, stamp: Stamp | None) -> tuple[Stamp, Backend, Limits]:
        """By what a pod is read: its own stamp before the one given."""
        stamp = stamp_of(pod) or stamp
        if stamp is None:
            raise BackendError(
                f'pod "{pod.get("metadata", {}).get("name", "")}" carries no stamp ({STAMP_ANNOTATION}) and '
                f"nobody says how it was made",
                subject="",
            )
        try:
            backend = self.backend(stamp.backend)
        except UnknownBackendError as error:
            raise UnknownBackendError(
                f'pod "{pod.get("metadata", {}).get("name", "")}" hands out its results by backend '
                f'"{stamp.backend}", which is not installed; install it again, whatever the flags say now',
                subject=stamp.backend,
            ) from error
        return stamp, backend, effective(stamp.max_result_size, backend.capabilities)

    def _config(self, backend: Backend) -> Any:
        return backend.configure(self.flags.config.get(backend.name, {}))

    @staticmethod
    def _call(backend: Backend, hook: str, **arguments: Any) -> Any:
        """Call a backend's hook; what is neither its word nor the cluster's becomes a BackendError."""
        try:
            return partial(getattr(backend.hook, hook), **arguments)()
        except ResultsError:
            raise
        except Exception as error:
            log.exception("backend %r failed in %s", backend.name, hook)
            raise BackendError(
                f'backend "{backend.name}" failed in {hook}: {type(error).__name__}', subject=backend.name
            ) from error


def _unreadable(error: ResultsError) -> Problem:
    return Problem(
        code=ProblemCode.TRANSPORT_UNREADABLE, message=f"the results could not be read: {error.message}"
    )
