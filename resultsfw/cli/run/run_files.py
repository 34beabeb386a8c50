"""``resultsfw run``: run the TaskRuns and PipelineRuns of files on the local engine."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from resultsfw.cli.files.folders import files_in
from resultsfw.cli.files.inputs import read_files
from resultsfw.cli.files.manifests import GivenInputs, Manifests, pick
from resultsfw.cli.files.run_workspaces import parse_bindings
from resultsfw.cli.files.settings import Given, Loaded, load
from resultsfw.cli.graph.drawing import draw
from resultsfw.cli.graph.graph_data import check_drawable
from resultsfw.cli.output import show
from resultsfw.cli.output.advice import failed_for_size
from resultsfw.cli.run.backend_servers import refuse_silent_servers
from resultsfw.cli.run.log_follower import LogFollower
from resultsfw.cli.run.progress import Progress
from resultsfw.cli.run.recording import RecordingManager
from resultsfw.cli.run.repeated_messages import each_once
from resultsfw.cli.run.rerun import rerun_command
from resultsfw.cli.run.run_output import Ended, print_ended
from resultsfw.cli.run.shell_hints import hint_for, system_shell
from resultsfw.cli.run.step_logs import failed_step, log_lines
from resultsfw.cluster import PODS, Object
from resultsfw.errors import ClusterError, InputError, NotFoundError
from resultsfw.local.engine import Engine
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.child_statuses import children_of
from resultsfw.tekton.pipelinerun.children import kind_of_reference
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler

__all__ = ["RunRequest", "run_files"]

_NO_IMAGES: Final = "images are not pulled: Steps run as processes, with programs of this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What was typed.

    Attributes:
        files: Manifests, and folders of manifests.
        recursive: Whether to read the folders in a folder, too.
        params: Of ``-p``.
        workspaces: Of ``-w``.
        flags: The feature flags given.
        output: The form in which the runs are printed.
        logs: Print the Steps' logs while they run.
        workdir: Folder of the Pods' folders; ``None``: a temporary one.
        keep: Keep it at the end, and print the Pods, too.
        claims: Folder of PersistentVolumeClaims, which is kept; ``None``: a temporary one.
        graph: File to draw the PipelineRun to.
        resolvers: Resolvers that may fetch from elsewhere.
    """

    files: Sequence[str]
    flags: Given
    output: str
    recursive: bool = False
    params: Sequence[str] = ()
    workspaces: Sequence[str] = ()
    logs: bool = False
    workdir: str | None = None
    keep: bool = False
    claims: str | None = None
    graph: str | None = None
    resolvers: Sequence[str] = ()


def run_files(request: RunRequest) -> int:
    """Run the TaskRuns and PipelineRuns of the files, print them, and return the exit status.

    Raises:
        InputError: The files or options are invalid; nothing was started.
    """
    files = files_in(request.files, recursive=request.recursive)
    given = GivenInputs(params=request.params, bindings=parse_bindings(request.workspaces))
    manifests = pick(read_files(files), request.files, request.resolvers, given)
    loaded = load(replace(request.flags, documents=manifests.maps), RecordingManager)
    refuse_silent_servers(loaded.core, [*manifests.tasks, *manifests.runs])
    folders = (_folder("--workdir", request.workdir), _folder("--claims", request.claims))
    _check_graph(request.graph, manifests)
    errors = show.console(stderr=True)
    progress = Progress(errors, outcome_follows=_is_seen_together(request.output))
    try:
        with _signals(), each_once(), loaded.core, progress:
            for line in _notes(manifests, loaded):
                progress.note(line)
            runs = _run(manifests, loaded, progress, request, folders)
    except _Stopped as stopped:
        errors.print(f"stopped by {stopped.name}; every process it started has ended")
        return 128 + stopped.number
    if request.graph is not None:
        (drawn,) = [ended for ended in runs if ended.run["kind"] == PIPELINERUNS.kind]
        _draw(request.graph, drawn)
    print_ended(runs, request.output, rerun_command(request))
    return 0 if all(show.verdict_of(ended.run).succeeded for ended in runs) else 1


def _is_seen_together(output: str) -> bool:
    """Return whether the outcome on standard output is seen where the progress on standard error is."""
    return output == "table" and sys.stdout.isatty() == sys.stderr.isatty()


def _notes(manifests: Manifests, loaded: Loaded[RecordingManager]) -> Iterator[str]:
    for line in manifests.left_out:
        yield f"left out: {line}"
    if any(run["kind"] == PIPELINERUNS.kind for run in manifests.runs):
        for line in loaded.core.warnings():
            yield f"warning: {line}"
    for line in (*manifests.warnings, *loaded.warnings):
        yield f"warning: {line}"
    yield _NO_IMAGES


def _run(
    manifests: Manifests,
    loaded: Loaded[RecordingManager],
    progress: Progress,
    request: RunRequest,
    folders: tuple[Path | None, Path | None],
) -> list[Ended]:
    """Run everything on an engine of its own, in folders for Pods and claims; return the finished runs."""
    workdir, claims = folders
    core, settings = loaded.core, loaded.settings
    follower = LogFollower(progress.print_lines) if request.logs else None
    engine = Engine(
        lambda cluster: Reconciler(
            core,
            cluster,
            options=settings.pods,
            policies=settings.policies,
            tolerance=settings.tolerance,
            defaults=settings.runs,
        ),
        workdir=workdir,
        claims=claims,
        claim_folders=manifests.folders,
        keep=request.keep,
        on_event=_observer(progress, follower),
        pipelines=lambda cluster: PipelineReconciler(
            core, cluster, policies=settings.policies, defaults=settings.runs, custom_tasks=False
        ),
        resolvers=request.resolvers,
    )
    with ExitStack() as stack:
        stack.enter_context(engine)
        if follower is not None:
            follower.attach(engine)
            stack.enter_context(follower)
        for obj in [*manifests.tasks, *manifests.needed, *manifests.runs]:
            engine.submit(obj)
        runs = engine.run_until_done()
        collector = _Collector(engine, core, progress, request)
        ended = [collector.ended(run) for run in runs]
    for line in _kept(engine, ended) if request.keep else ():
        progress.note(line)
    return ended


def _kept(engine: Engine, runs: Sequence[Ended]) -> Iterator[str]:
    """Yield where everything was kept, and the option by which ``explain`` reads a results sidecar."""
    yield f"kept: {engine.workdir}"
    for obj in (obj for ended in runs for obj in ended.objects if obj["kind"] == PODS.kind):
        metadata = obj["metadata"]
        with suppress(ClusterError):
            log = engine.store.log_path(metadata["namespace"], metadata["name"], RESULTS_SIDECAR)
            yield f"explain of pod {metadata['name']}: --log {RESULTS_SIDECAR}={log}"


def _observer(progress: Progress, follower: LogFollower | None) -> Callable[[str, Object], None]:
    """Return what is called for each change: the log of a Step comes before the line on its end."""

    def observe(change: str, obj: Object) -> None:
        if follower is not None:
            follower.on_event(change, obj)
        progress.on_event(change, obj)

    return observe


@dataclass(frozen=True, slots=True)
class _Collector:
    """Collects what is printed of finished runs, while the engine has it."""

    engine: Engine
    core: RecordingManager
    progress: Progress
    request: RunRequest

    def ended(self, run: Object) -> Ended:
        """Return a finished run with everything below it."""
        namespace, timing = run["metadata"]["namespace"], self.progress.timing_of(run)
        if run["kind"] == TASKRUNS.kind:
            collected, failed = self.core.verdict_on(run), failed_step(self.engine, run)
            brief = failed_for_size(run, collected)
            log = log_lines(failed, kept=self.request.keep, brief=brief) if failed else []
            return Ended(
                run=run,
                timing=timing,
                pod=self._pod(namespace, run) if self.request.keep else None,
                collected=collected,
                failed_step=failed.name if failed else "",
                log=() if self.request.logs else log,
                hint=hint_for(log, system_shell()),
            )
        children = [
            self.engine.store.get(kind_of_reference(child), namespace, child["name"])
            for child in children_of(run["status"])
        ]
        return Ended(run=run, timing=timing, children=[self.ended(child) for child in children])

    def _pod(self, namespace: str, taskrun: Object) -> Object | None:
        try:
            return self.engine.store.get(PODS, namespace, taskrun["status"].get("podName") or "")
        except NotFoundError:
            return None


def _check_graph(graph: str | None, manifests: Manifests) -> None:
    """Refuse ``--graph`` before anything runs if it cannot be drawn or written afterwards."""
    if graph is None:
        return
    count = sum(run["kind"] == PIPELINERUNS.kind for run in manifests.runs)
    if count != 1:
        raise InputError(
            f"--graph draws one PipelineRun; there are {count} in these files", subject="--graph"
        )
    _write_graph(graph, "")


def _draw(graph: str, drawn: Ended) -> None:
    """Draw a PipelineRun that has ended, or say why it is not drawn: that must not cost its outcome."""
    try:
        check_drawable(drawn.run)
    except InputError as error:
        show.print_note(f"--graph: not drawn: {error.message}")
        return
    _write_graph(graph, draw(drawn.run, [child.run for child in drawn.children]))


def _write_graph(graph: str, text: str) -> None:
    try:
        Path(graph).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--graph {graph}: {error.strerror}", subject="--graph") from error


def _folder(option: str, path: str | None) -> Path | None:
    if path is None:
        return None
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{option} {path}: {error.strerror}", subject=option) from error
    return folder


class _Stopped(BaseException):
    """A signal arrived. Not an `Exception`, as `KeyboardInterrupt` is not, so that no handler swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.name = signal.Signals(number).name


@contextmanager
def _signals() -> Iterator[None]:
    """Raise `_Stopped` in the main thread at a signal that asks to stop, so that every process is ended."""

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise _Stopped(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
