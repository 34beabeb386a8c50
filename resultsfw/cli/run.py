"""``resultsfw run``: run the TaskRuns and PipelineRuns of files on the local engine."""

import shlex
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from rich.console import Console
from rich.text import Text

from resultsfw.cli import show
from resultsfw.cli.advice import CommandBuilder, advice_on, failed_for_size
from resultsfw.cli.graph import draw
from resultsfw.cli.inputs import read_files
from resultsfw.cli.manifests import Manifests, pick
from resultsfw.cli.pipelines import print_pipelinerun
from resultsfw.cli.progress import Progress
from resultsfw.cli.recording import RecordingManager
from resultsfw.cli.settings import Given, Loaded, load
from resultsfw.cluster import Object
from resultsfw.errors import ClusterError, InputError
from resultsfw.local.engine import Engine
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.child_statuses import children_of
from resultsfw.tekton.pipelinerun.children import kind_of_reference
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.types import CollectionOutcome

__all__ = ["run_files"]

_NO_IMAGES: Final = "images are not pulled: Steps run as processes, with the programs this machine has"

_TAIL_BYTES: Final = 4096
_TAIL_LINES: Final = 5


def run_files(
    files: Sequence[str],
    *,
    flags: Given,
    output: str,
    workdir: str | None,
    keep: bool,
    claims: str | None = None,
    graph: str | None = None,
    resolvers: Collection[str] = (),
) -> int:
    """Run the TaskRuns and PipelineRuns of the files, print them, and return the exit status.

    Args:
        files: Manifests.
        flags: The feature flags given.
        output: The form in which the runs are printed.
        workdir: Folder of the Pods' folders; ``None``: a temporary one.
        keep: Keep it at the end.
        claims: Folder of PersistentVolumeClaims, which is kept; ``None``: a temporary one.
        graph: File to draw the PipelineRun to.
        resolvers: Resolvers that may fetch from elsewhere.

    Raises:
        InputError: The files or options are invalid; nothing was started.
    """
    manifests = pick(read_files(files), files, resolvers)
    loaded = load(replace(flags, documents=manifests.maps), RecordingManager)
    folders = (_folder("--workdir", workdir), _folder("--claims", claims))
    _check_graph(graph, manifests)
    errors = show.console(stderr=True)
    try:
        with _signals(), loaded.core, Progress(errors) as progress:
            for document in manifests.others:
                progress.note(f"ignored: {document.label} ({document.where}): not used here")
            if any(run["kind"] == PIPELINERUNS.kind for run in manifests.runs):
                for line in loaded.core.warnings():
                    progress.note(f"warning: {line}")
            for line in (*manifests.warnings, *loaded.warnings):
                progress.note(f"warning: {line}")
            runs = _run(manifests, loaded, progress, *folders, keep=keep, resolvers=resolvers)
    except _Stopped as stopped:
        errors.print(f"stopped by {stopped.name}; every process it started has ended")
        return 128 + stopped.number
    if graph is not None:
        (drawn,) = [ended for ended in runs if ended.run["kind"] == PIPELINERUNS.kind]
        _write_graph(graph, draw(drawn.run, [child.run for child in drawn.children]))
    _print_all(runs, output, _rerun_command(files, flags, resolvers))
    return 0 if all(show.verdict_of(ended.run).succeeded for ended in runs) else 1


def _print_all(runs: Sequence["_Ended"], output: str, rerun: CommandBuilder) -> None:
    if output == "json":
        show.write(show.as_json([obj for ended in runs for obj in ended.objects]))
    elif output == "yaml":
        show.write("---\n".join(show.as_yaml(obj) for ended in runs for obj in ended.objects))
    else:
        out = show.console()
        for index, ended in enumerate(runs):
            if index:
                out.print()
            _print_ended(out, ended, rerun)


def _print_ended(out: Console, ended: "_Ended", rerun: CommandBuilder) -> None:
    """Print a run; of a PipelineRun also its TaskRuns that failed, and its child PipelineRuns."""
    if not ended.children:
        _print(out, ended, rerun)
        return
    print_pipelinerun(out, ended.run, [child.run for child in ended.children])
    for child in ended.children:
        if child.children:
            out.print()
            _print_ended(out, child, rerun)
        elif not show.verdict_of(child.run).succeeded:
            _print(out, child, rerun)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A run that has finished.

    Attributes:
        run: With its status.
        children: The TaskRuns and child PipelineRuns of a PipelineRun.
        collected: The verdict over the results of a TaskRun.
        tail: The last lines of the log of a TaskRun's Step that failed.
    """

    run: Object
    children: Sequence["_Ended"] = ()
    collected: CollectionOutcome | None = None
    tail: Sequence[str] = ()

    @property
    def objects(self) -> list[Object]:
        """Return the run, and below a PipelineRun all that it made."""
        return [self.run, *(obj for child in self.children for obj in child.objects)]


def _run(
    manifests: Manifests,
    loaded: Loaded[RecordingManager],
    progress: Progress,
    workdir: Path | None,
    claims: Path | None,
    *,
    keep: bool,
    resolvers: Collection[str],
) -> list[_Ended]:
    """Run everything on an engine of its own and return the finished runs."""
    core, settings = loaded.core, loaded.settings
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
        keep=keep,
        on_event=progress.on_event,
        pipelines=lambda cluster: PipelineReconciler(
            core, cluster, policies=settings.policies, defaults=settings.runs, custom_tasks=False
        ),
        resolvers=resolvers,
    )
    progress.note(_NO_IMAGES)
    with engine:
        for obj in [*manifests.needed, *manifests.runs]:
            engine.submit(obj)
        ended = [_collect_ended(engine, core, run) for run in engine.run_until_done()]
    if keep:
        progress.note(f"kept: {engine.workdir}")
    return ended


def _collect_ended(engine: Engine, core: RecordingManager, run: Object) -> _Ended:
    if run["kind"] == TASKRUNS.kind:
        collected = core.verdict_on(run)
        return _Ended(run=run, collected=collected, tail=_tail(engine, run, collected))
    namespace = run["metadata"]["namespace"]
    children = [
        engine.store.get(kind_of_reference(child), namespace, child["name"])
        for child in children_of(run["status"])
    ]
    return _Ended(run=run, children=[_collect_ended(engine, core, child) for child in children])


def _print(out: Console, ended: _Ended, rerun: CommandBuilder) -> None:
    show.print_taskrun(out, ended.run, ended.collected)
    for line in ended.tail:
        out.print(Text(f"  {line}", style="dim"), soft_wrap=True)
    if not show.verdict_of(ended.run).succeeded:
        show.print_advice(out, advice_on(ended.run, ended.collected, rerun=rerun))


def _tail(engine: Engine, taskrun: Object, collected: CollectionOutcome | None) -> list[str]:
    """Return the last lines of the log of the first Step that failed; none if its results are too large."""
    status = taskrun.get("status", {})
    if show.verdict_of(taskrun).succeeded or failed_for_size(taskrun, collected):
        return []
    for step in status.get("steps") or ():
        if not step.get("terminated", {}).get("exitCode") or step.get("terminationReason") == "Skipped":
            continue
        metadata = taskrun["metadata"]
        try:
            path = engine.store.log_path(metadata["namespace"], status["podName"], step["container"])
            with path.open("rb") as log:
                log.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
                text = log.read(_TAIL_BYTES).decode("utf-8", "replace")
        except (ClusterError, OSError):
            return []
        lines = [show.plain(line)[: show.WIDTH] for line in text.rstrip("\n").split("\n")[-_TAIL_LINES:]]
        return (
            [f'the end of the log of Step "{step["name"]}":', *(f"  {line}" for line in lines)]
            if text
            else []
        )
    return []


def _rerun_command(files: Sequence[str], given: Given, resolvers: Collection[str]) -> CommandBuilder:
    """Return a function that builds the command that was typed, with other flags."""
    options_typed = {
        "results-from": given.results_from,
        "max-result-size": given.max_result_size,
        "feature-flags": given.file,
    }

    def command(flags: Mapping[str, str]) -> str:
        options = {**options_typed, **flags}
        words = [word for resolver in resolvers for word in ("--resolver", resolver)]
        words += [word for key, value in options.items() if value for word in (f"--{key}", value)]
        return shlex.join(["resultsfw", "run", *files, *words])

    return command


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
