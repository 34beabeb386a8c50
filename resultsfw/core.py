"""The core an embedder holds: flags and backends in, a prepared pod and a verdict out."""

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Literal

from resultsfw import jsons
from resultsfw.cluster import Cluster, Object
from resultsfw.entrypoint import remove_result_file_flags
from resultsfw.errors import (
    BackendError,
    BackendNotAllowedError,
    ClusterError,
    FlagError,
    ResultsError,
    TooEarlyError,
    UnknownBackendError,
)
from resultsfw.extensions import Extension, load_extensions
from resultsfw.flags import (
    CONFIG_PREFIX,
    Flags,
    choose_backend,
    did_you_mean,
    parse_flags,
    unknown_backend_error,
)
from resultsfw.limits import effective_limits
from resultsfw.messages import POD_MESSAGE_BYTES
from resultsfw.plugins import EXTENSIONS, Backend, installed_plugins, load_backend, make_backend
from resultsfw.references import checked
from resultsfw.status import build_outcome, status_patch
from resultsfw.types import CollectionOutcome, Extraction, Limits, Problem, ProblemCode, Reference, Run, Stamp

__all__ = ["LIMIT_ANNOTATION", "STAMP_ANNOTATION", "ResultsManager", "read_stamp"]

log = logging.getLogger(__name__)

STAMP_ANNOTATION: Final = "resultsfw.dev/stamp"
"""On a pod: ``BACKEND/WIRE``, written when it is made and followed when it is read."""

LIMIT_ANNOTATION: Final = "resultsfw.dev/max-result-size"
"""On a pod: the bytes a value may have, as the flag was when the pod was made."""

_NUMBER: Final = re.compile("[0-9]{1,18}")


def read_stamp(pod: Object) -> Stamp | None:
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
            f'the pod\'s annotations {STAMP_ANNOTATION}="{text:.80}", {LIMIT_ANNOTATION}="{limit:.80}" '
            f"cannot be read; they are not for editing",
            subject=text[:80],
        )
    return Stamp(backend=backend, wire=int(wire), max_result_size=int(limit))


class ResultsManager:
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
            extensions: Names of the group ``resultsfw.extensions``, besides those of the flags.

        Raises:
            UnknownBackendError: A name in ``results-from`` or ``allowed-results-from`` is not installed.
            BrokenBackendError: The selected backend cannot be used.
            UnknownExtensionError: The same of an extension that is allow-listed.
            BrokenExtensionError: One of those cannot be used.
            FlagError: The configuration of one of them is refused.
        """
        self.flags = flags
        self._registered = dict(register or {})
        listed = flags.extensions | frozenset(extensions)
        if both := sorted(listed & flags.allowed_results_from):
            key = f"{CONFIG_PREFIX}{both[0]}"
            raise FlagError(
                f'"{both[0]}" is the name of a backend and of an extension: "{key}" cannot be for both',
                subject="extensions",
            )
        self._backends: dict[str, Backend] = {}
        self._loading = threading.Lock()
        names = {one.name for one in installed_plugins()} | self._registered.keys()
        for where, name in (
            ("results-from", flags.results_from),
            *(("allowed-results-from", name) for name in sorted(flags.allowed_results_from)),
        ):
            if name not in names:
                raise unknown_backend_error(name, names, where=where)
        plugins = names | {one.name for one in installed_plugins(EXTENSIONS)} | listed
        self._unused = tuple(
            f'feature-flags: "{CONFIG_PREFIX}{name}" is for no installed backend or extension, and has no '
            f"effect{did_you_mean(name, plugins)}"
            for name in sorted(flags.config.keys() - plugins)
        )
        self.extensions: Mapping[str, Extension] = load_extensions(listed, flags.config)
        self.backend(flags.results_from).configure(flags.config.get(flags.results_from, {}))

    @classmethod
    def from_flags(
        cls,
        data: Mapping[str, str],
        *,
        register: Mapping[str, object] | None = None,
        extensions: Iterable[str] = (),
    ) -> "ResultsManager":
        """Build the core from a ``feature-flags`` ConfigMap's ``data``.

        Raises what `parse_flags` and `ResultsManager` raise.
        """
        return cls(parse_flags(data), register=register, extensions=extensions)

    def backend(self, name: str) -> Backend:
        """The backend of that name, imported the first time it is asked for.

        Importing it runs its code: the name must come from the flags or from the caller's own records, never
        from what a tenant can write. See `allows`.

        Raises:
            UnknownBackendError, BrokenBackendError: It cannot be had.
        """
        with self._loading:
            if name not in self._backends:
                around = {key: one.hooks for key, one in self.extensions.items()}
                if name in self._registered:
                    loaded = make_backend(name, self._registered[name], extensions=around)
                else:
                    loaded = load_backend(name, extensions=around)
                self._backends[name] = loaded
            return self._backends[name]

    def allows(self, name: str) -> bool:
        """Whether a backend may be used because any text names it: a flag allows it, or it is registered."""
        return name in self.flags.allowed_results_from or name in self._registered

    def warnings(self) -> tuple[str, ...]:
        """What the flags allow and an operator may not mean; backends that cannot be had say nothing."""
        mode, warned = self.flags.embedded_status, list(self._unused)
        for name in sorted(self.flags.allowed_results_from) if mode != "minimal" else ():
            try:
                capabilities = self.backend(name).capabilities
            except ResultsError:
                continue
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
        """The extensions that may change results: what containers say themselves is not to be repeated."""
        return tuple(name for name, one in self.extensions.items() if one.changes_results)

    def prepare_pod(
        self,
        run: Run,
        pod: Object,
        *,
        cluster: Cluster | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Object:
        """The pod with what its backend needs in it, stamped. The argument is left as it was.

        Args:
            run: Whose pod it is. One Run is one pod.
            pod: Complete but for what a backend adds: with its namespace, its service account and the
                owner that objects made for it are to go with. Or the template of a Job.
            cluster: Where a backend makes what must be there before the pod is; without one, a backend
                that keeps things outside the pod is refused.
            annotations: The run's own: one of them may choose the backend.

        Raises:
            FlagError: The run asks for a backend it may not have, or its configuration is refused.
            InputError: The pod cannot hand out results so, or something of its own is in the way.
            BackendError: The backend cannot be had, or failed.
            ClusterError: What it must make before the pod could not be made.
        """
        pod = jsons.copy(pod)
        if not run.declares_results:
            return pod
        backend = self.backend(choose_backend(self.flags, annotations or {}))
        if cluster is None and backend.capabilities.external_state != "no":
            raise BackendError(
                f'backend "{backend.name}" makes what its pods need before they are there: give prepare_pod '
                f"the cluster",
                subject=backend.name,
            )
        wire = self._call(
            backend,
            "prepare_pod",
            run=run,
            pod=pod,
            cluster=cluster,
            limits=effective_limits(self.flags.max_result_size, backend.capabilities),
            config=self._config(backend),
        )
        if type(wire) is not int or wire < 0:
            raise BackendError(
                f'backend "{backend.name}" returned {wire!r:.80} from prepare_pod and not the version of its '
                f"format, an integer from 0; without it the pod could not be read",
                subject=backend.name,
            )
        steps = {step.container for step in run.steps}
        for container in pod.get("spec", {}).get("containers") or ():
            if container["name"] in steps and container.get("args"):
                container["args"] = remove_result_file_flags(container["args"])
        stamps = {
            STAMP_ANNOTATION: f"{backend.name}/{wire}",
            LIMIT_ANNOTATION: str(self.flags.max_result_size),
        }
        metadata = pod.setdefault("metadata", {})
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **stamps}
        return pod

    def is_ready(self, run: Run, pod: Object, *, stamp: Stamp | None = None) -> bool:
        """Whether `collect` should read the pod now. Asks nobody: `collect` may still find it too early.

        Args:
            run: Whose results.
            pod: The pod as last seen.
            stamp: As for `collect`.

        Raises:
            BackendError: The backend cannot be had, may not be used or failed.
        """
        if not run.declares_results:
            return True
        stamp, backend, _ = self._reading(pod, stamp)
        config = self._config(backend)
        return bool(self._call(backend, "pod_ready", run=run, pod=pod, config=config, wire=stamp.wire))

    def collect(
        self, run: Run, pod: Object, cluster: Cluster, *, stamp: Stamp | None = None, final: bool = False
    ) -> CollectionOutcome:
        """Read a pod's results once and judge them, by the transport the pod was stamped with.

        Args:
            run: Whose results.
            pod: The pod as last seen.
            cluster: Where logs and objects are read.
            stamp: How the pod was made, as the caller's own records say: for a pod that carries no stamp
                (another controller made it), and for one whose backend no flag allows any more. A pod's own
                stamp is text that whoever may write pods can change: alone it selects only backends that
                the flags allow.
            final: There will be no further try: a read that fails becomes a problem of the verdict.

        Raises:
            ClusterError: A read failed and can still come right; only when not ``final``.
            TooEarlyError: One of those: the pod has not said all yet. Only when not ``final``.
            BackendError: The backend cannot be had or failed; only when not ``final``.
        """
        if not run.declares_results:
            return CollectionOutcome()
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
            if extraction.read_error is not None and not final:
                raise extraction.read_error
            if extraction.too_early and not final:
                raise TooEarlyError(
                    "the results are still being written",
                    subject=f"Pod {run.namespace}/{pod.get('metadata', {}).get('name', '')}",
                )
        except ResultsError as error:
            # Of the cluster's errors some are a verdict; of a backend's none is while there is a next try.
            if not final and (not isinstance(error, ClusterError) or error.retryable):
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

    def dereference(
        self, reference: Reference, cluster: Cluster, *, namespace: str = "", backend: str = ""
    ) -> Iterator[bytes]:
        """The value a reference stands for, in pieces, compared with its size and digest as they come.

        A consumer that holds a status makes the reference with `resultsfw.read_reference`.

        Args:
            reference: Where it is.
            cluster: The way to the world.
            namespace: Of the run on whose behalf it is read, whose maker may have written the reference;
                "": who asks may have every namespace's.
            backend: Which backend may be used, as the caller's own records say, besides those that the flags
                allow: the reference may be text that a tenant wrote.

        Raises:
            BackendError: Its backend cannot be had, failed, or does not hand out references.
            ClusterError: It cannot be read now, or is gone (NotFoundError).
            CorruptError: It is not what was stored; at the end, or at the first byte too many. Or it
                leads elsewhere than to what runs of the namespace left.
        """
        used = self._referring(reference, backend)
        pieces = self._call(
            used,
            "dereference",
            reference=reference,
            cluster=cluster,
            config=self._config(used),
            namespace=namespace,
        )
        return checked(reference, _guarded(used, pieces))

    def can_place_files(self, reference: Reference) -> bool:
        """Whether the reference's backend can place its value in a pod as a file (`place_files`).

        Raises:
            BackendError: It cannot be had, or does not hand out references.
        """
        impls = self._referring(reference).hook.place_files.get_hookimpls()
        return any(not one.wrapper and not one.hookwrapper for one in impls)

    def place_files(self, run: Run, pod: Object, files: Mapping[str, Reference], mount: Object) -> Object:
        """The pod with what puts the values of references into files before it runs. Changes no argument.

        Args:
            run: Whose pod it is: references to what another namespace's runs left are refused.
            pod: Complete but for what backends add; to be prepared (`prepare_pod`) behind this.
            files: References by absolute path, each of a backend that `can_place_files` it.
            mount: The ``volumeMount`` of the volume they are in.

        Raises:
            BackendError: A backend cannot be had, or failed.
            CorruptError: A reference leads elsewhere than to what runs of the namespace left.
            InputError: Something in the pod is in the way.
        """
        pod = jsons.copy(pod)
        for name in sorted({one.backend for one in files.values()}):
            own = {path: one for path, one in files.items() if one.backend == name}
            backend = self._referring(next(iter(own.values())))
            config = self._config(backend)
            self._call(backend, "place_files", run=run, pod=pod, files=own, mount=mount, config=config)
        return pod

    def _referring(self, reference: Reference, known: str = "") -> Backend:
        name = reference.backend
        backend = self.backend(name) if name == known else self._allowed(name, "a reference")
        if backend.capabilities.delivery != "reference":
            raise BackendError(
                f'backend "{backend.name}" hands out values and not references', subject=backend.name
            )
        return backend

    def external_state(self, pod: Object) -> Literal["no", "owned", "elsewhere"]:
        """Where the backend of a prepared pod keeps things outside it, as its capabilities say.

        Raises:
            BackendError: The backend cannot be had, or no flag allows it.
        """
        stamp = read_stamp(pod)
        return (
            "no"
            if stamp is None
            else self._allowed(stamp.backend, "the pod's stamp").capabilities.external_state
        )

    def purge(
        self, run: Run, pod: Object, cluster: Cluster, *, backend: str = "", deleted: bool = False
    ) -> None:
        """Remove what a backend left outside the pod, if nobody needs it any more. May be called again.

        Args:
            run: Whose; its ``attempt`` counts.
            pod: As it was made; it says which backend, of those that the flags allow.
            cluster: Where objects are deleted.
            backend: Which backend, as the caller's own records say: where the pod is gone, or no flag allows
                its backend any more.
            deleted: The run itself is deleted. Before that, what references stand for is left alone.

        Raises:
            BackendError: The backend cannot be had, or failed.
            ClusterError: Something could not be removed.
        """
        if backend:
            used = self.backend(backend)
        elif run.declares_results and (stamp := read_stamp(pod)) is not None:
            used = self._allowed(stamp.backend, "the pod's stamp")
        else:
            return
        if used.capabilities.external_state != "no" and (deleted or used.capabilities.delivery == "value"):
            self._call(used, "purge", run=run, cluster=cluster, config=self._config(used))

    def _allowed(self, name: str, where: str) -> Backend:
        """The backend that text names which anybody may have written.

        Raises:
            BackendNotAllowedError: No flag allows it; it was not imported.
            UnknownBackendError, BrokenBackendError: It cannot be had.
        """
        if not self.allows(name) and any(one.name == name for one in installed_plugins()):
            raise BackendNotAllowedError(
                f'{where} names backend "{name:.64}", which no flag allows; to use it, add it to the feature '
                f'flag "allowed-results-from"',
                subject=name[:64],
            )
        return self.backend(name)

    def _reading(self, pod: Object, given: Stamp | None) -> tuple[Stamp, Backend, Limits]:
        """By what a pod is read: its own stamp before the one given, which its caller answers for."""
        stamp = read_stamp(pod) or given
        if stamp is None:
            raise BackendError(
                f'pod "{pod.get("metadata", {}).get("name", "")}" carries no stamp ({STAMP_ANNOTATION}) and '
                f"nobody says how it was made",
                subject="",
            )
        try:
            if given is not None and given.backend == stamp.backend:
                backend = self.backend(stamp.backend)
            else:
                backend = self._allowed(stamp.backend, "the pod's stamp")
        except UnknownBackendError as error:
            raise UnknownBackendError(
                f'pod "{pod.get("metadata", {}).get("name", "")}" hands out its results by backend '
                f'"{stamp.backend}", which is not installed; install it again, whatever the flags say now',
                subject=stamp.backend,
            ) from error
        return stamp, backend, effective_limits(stamp.max_result_size, backend.capabilities)

    def _config(self, backend: Backend) -> Any:
        return backend.configure(self.flags.config.get(backend.name, {}))

    @staticmethod
    def _call(backend: Backend, hook: str, **arguments: Any) -> Any:
        """Call a backend's hook; what is neither its word nor the cluster's becomes a BackendError."""
        try:
            return partial(getattr(backend.hook, hook), **arguments)()
        except ResultsError:
            raise
        except (Exception, SystemExit) as error:  # SystemExit would end a worker thread without a word
            log.exception("backend %r failed in %s", backend.name, hook)
            raise BackendError(
                f'backend "{backend.name}" failed in {hook}: {type(error).__name__}', subject=backend.name
            ) from error


def _guarded(backend: Backend, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces; what a backend raises between them is told as what it raises before the first one."""
    try:
        yield from pieces
    except ResultsError:
        raise
    except (Exception, SystemExit) as error:
        log.exception("backend %r failed in dereference", backend.name)
        raise BackendError(
            f'backend "{backend.name}" failed in dereference: {type(error).__name__}', subject=backend.name
        ) from error


def _unreadable(error: ResultsError) -> Problem:
    return Problem(
        code=ProblemCode.TRANSPORT_UNREADABLE, message=f"the results could not be read: {error.message}"
    )
