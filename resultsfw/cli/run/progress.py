"""Show on standard error what runs: a live table on a terminal, a line for each change elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from resultsfw.cli.output import show
from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.podstatus.step_states import pod_status_fields

__all__ = ["Progress", "Timing"]

_WAITING: Final = "waiting"
_RUNNING: Final = "running"
_OK: Final = "ok"
_COLUMNS: Final = 4
_TIME: Final = 2
_SKIPPED: Final = "skipped"

_ENDS: Final = {
    "Skipped": _SKIPPED,
    "TimeoutExceeded": "timed out",
    "OOMKilled": "killed: out of memory",
    "StartError": "cannot start",
}
_STYLES: Final = {_WAITING: "dim", _SKIPPED: "dim", _RUNNING: "yellow", _OK: "green"}

Clock = Callable[[], float]


@dataclass(slots=True)
class _Step:
    name: str
    state: str = _WAITING
    started: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float | None:
        """Return how long it ran; ``None`` if it never did, or was not seen to end."""
        return None if self.started is None or self.ended is None else self.ended - self.started


@dataclass(slots=True)
class _Run:
    kind: str
    namespace: str
    name: str
    started: float
    ended: float | None = None
    pod: str = ""
    attempts: int = 0
    state: str = _RUNNING
    reason: str = ""
    steps: list[_Step] = field(default_factory=list)
    parent: str = ""
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Return the start of a line: a PipelineRun may have the name of a TaskRun."""
        return self.name if self.kind == TASKRUNS.kind else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a run took.

    Attributes:
        seconds: From its first to its last change; ``None`` if it was not seen to end.
        steps: Name, end and seconds of each Step of its last attempt; ``None`` for a Step that never ran.
    """

    seconds: float | None = None
    steps: Sequence[tuple[str, str, float | None]] = ()


class Progress:
    """Shows the runs of an engine, which calls `on_event` for each change. A context manager.

    Args:
        console: Console on standard error; whether it is a terminal decides the form.
        clock: Monotonic clock, in seconds.
        outcome_follows: Whether the outcome of the runs is printed afterwards where this is seen, so that it
            is not shown here, too: a terminal's table disappears, and no line says how a run ended.
    """

    def __init__(
        self, console: Console, *, clock: Clock = time.monotonic, outcome_follows: bool = False
    ) -> None:
        self._console = console
        self._outcome_follows = outcome_follows
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str, str], _Run] = {}
        self._spinner = Spinner("line")
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(
                get_renderable=self._table,
                console=console,
                refresh_per_second=10,
                redirect_stdout=False,
                transient=outcome_follows,
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Print a line once, above the table."""
        show.print_text(self._console, text, indent="", style="dim")

    def print_lines(self, text: str) -> None:
        """Print whole lines as they are, above the table: without control characters, each with its end."""
        self._console.out(text, end="", highlight=False)

    def timing_of(self, run: Object) -> Timing:
        """Return what a terminal's table showed of a run before it disappeared; elsewhere nothing."""
        metadata = run["metadata"]
        with self._lock:
            known = self._runs.get((run["kind"], metadata["namespace"], metadata["name"]))
            if known is None or known.ended is None or self._live is None or not self._outcome_follows:
                return Timing()
            steps = [(step.name, step.state, step.seconds) for step in known.steps]
            return Timing(known.ended - known.started, steps)

    def on_event(self, change: str, obj: Object) -> None:
        """Show a change of a PipelineRun, TaskRun or Pod."""
        if change == "DELETED":
            return
        with self._lock:
            lines = list(self._update_pod(obj) if obj["kind"] == "Pod" else self._update_run(obj))
        if self._live is None:
            for line in lines:
                self._console.print(Text(show.plain(line)), soft_wrap=True)

    def _run(self, kind: str, namespace: str, name: str) -> _Run:
        return self._runs.setdefault((kind, namespace, name), _Run(kind, namespace, name, self._clock()))

    def _update_run(self, obj: Object) -> Iterator[str]:
        """Take in the status of a run; yield a line to print for each change."""
        metadata = obj["metadata"]
        run = self._run(obj["kind"], metadata["namespace"], metadata["name"])
        run.parent = _owner(metadata, PIPELINERUNS.kind)
        verdict = show.verdict_of(obj)
        for skipped in obj.get("status", {}).get("skippedTasks") or ():
            if skipped["name"] not in run.skipped:
                yield f"{run.label}: Task {skipped['name']}: {_SKIPPED}, {skipped['reason']}"
            run.skipped[skipped["name"]] = skipped["reason"]
        if run.ended is None and (verdict.succeeded or verdict.failed):
            run.ended, run.state = self._clock(), verdict.word
            run.reason = verdict.reason_beside_word
            if self._outcome_follows and not run.parent:
                return
            yield f"{run.label}: {run.state}{_prefix(', ', run.reason)} ({run.ended - run.started:.1f} s)"

    def _update_pod(self, pod: Object) -> Iterator[str]:
        """Take in the status of a pod; yield a line to print for each change."""
        metadata = pod["metadata"]
        owner = _owner(metadata, TASKRUNS.kind)
        if not owner:
            return
        run = self._run(TASKRUNS.kind, metadata["namespace"], owner)
        if run.pod != metadata["name"]:
            is_retry = bool(run.pod)
            names = [container["name"] for container in pod["spec"]["containers"]]
            run.pod = metadata["name"]
            run.attempts += 1
            run.steps = [_Step(name.removeprefix("step-")) for name in names if name.startswith("step-")]
            yield f"{run.name}: {'retried' if is_retry else 'started'}, pod {run.pod}"
        states = {step["name"]: step for step in pod_status_fields(pod, {}, done=False).get("steps") or ()}
        now = self._clock()
        ready = pod.get("status", {}).get("phase") == "Running"
        for step in run.steps:
            # The containers of all Steps start at once; a Step starts when the Step before it has ended.
            state = states.get(step.name, {})
            if step.ended is None and ready and step.started is None and "running" in state:
                step.started, step.state = now, _RUNNING
            if step.ended is None and "terminated" in state:
                step.started, step.ended, step.state = step.started or now, now, _end(state)
                yield f"{run.name}: Step {step.name}: {step.state} ({step.ended - step.started:.1f} s)"
            ready = ready and step.ended is not None

    def _table(self) -> Group:
        with self._lock:
            now = self._clock()
            table = Table.grid(padding=(0, 2, 0, 0))
            for _ in range(_COLUMNS):  # on a narrow terminal, words are cut and times stay
                table.add_column(no_wrap=len(table.columns) == _TIME, overflow="ellipsis")
            for run in self._runs.values():
                if not run.parent:
                    self._rows(table, run, now, "")
                    for child in self._children(run):
                        self._rows(table, child, now, "  ")
                    for name, reason in run.skipped.items():
                        cells = (f"  {show.plain(name)}", _SKIPPED, "", show.plain(reason))
                        table.add_row(*(_cell(cell, _STYLES[_SKIPPED]) for cell in cells))
            return Group(table)

    def _children(self, run: _Run) -> list[_Run]:
        """Return the TaskRuns of a PipelineRun."""
        if run.kind == TASKRUNS.kind:
            return []
        key = (run.namespace, run.name)
        return [child for child in self._runs.values() if (child.namespace, child.parent) == key]

    def _rows(self, table: Table, run: _Run, now: float, indent: str) -> None:
        style = {"succeeded": "bold green", "failed": "bold red"}.get(run.state, "bold")
        name = run.name.removeprefix(f"{run.parent}-") if run.parent else run.name
        table.add_row(
            _cell(f"{indent}{show.plain(name)}", "bold"),
            _cell(run.state, style),
            _seconds(run.started, run.ended, now),
            _cell(", ".join(_notes(run)), "red" if run.state == "failed" else "dim"),
        )
        for step in run.steps:
            spinning = step.state == _RUNNING and run.ended is None
            table.add_row(
                _cell(f"{indent}  {show.plain(step.name)}"),
                _cell(step.state, _STYLES.get(step.state, "red")),
                _seconds(step.started, step.ended, now),
                self._spinner.render(now) if spinning else "",
            )


def _cell(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _notes(run: _Run) -> Iterator[str]:
    if run.reason:
        yield show.plain(run.reason)
    if run.attempts > 1:
        yield f"attempt {run.attempts}"


def _owner(metadata: Object, kind: str) -> str:
    """Return the name of the first owner of a kind; "" if there is none."""
    owners = metadata.get("ownerReferences") or ()
    return next((str(owner["name"]) for owner in owners if owner["kind"] == kind), "")


def _end(state: Object) -> str:
    """Return how a Step ended, in a word or two."""
    terminated = state["terminated"]
    reason = state.get("terminationReason", "")
    code = terminated.get("exitCode", 0)
    if reason == "Continued" and code:
        return f"exit code {code}, continued"
    return (
        _ENDS.get(reason)
        or _ENDS.get(terminated.get("reason", ""))
        or (f"failed, exit code {code}" if code else _OK)
    )


def _seconds(started: float | None, ended: float | None, now: float) -> str:
    return "" if started is None else f"{(ended or now) - started:.1f} s"


def _prefix(separator: str, text: str) -> str:
    return f"{separator}{text}" if text else ""
