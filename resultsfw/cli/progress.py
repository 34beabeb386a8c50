"""What runs right now, on standard error: a live picture on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from resultsfw.cli import show
from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.podstatus.step_states import mirror

__all__ = ["Progress"]

_WAITING: Final = "waiting"
_RUNNING: Final = "running"
_OK: Final = "ok"
_COLUMNS: Final = 4
_TIME: Final = 2
_SKIPPED: Final = "skipped"

_ENDS: Final = {
    "Skipped": _SKIPPED,
    "TimeoutExceeded": "out of time",
    "OOMKilled": "killed: out of memory",
    "StartError": "cannot be started",
}
_STYLES: Final = {_WAITING: "dim", _SKIPPED: "dim", _RUNNING: "yellow", _OK: "green"}

Clock = Callable[[], float]


@dataclass(slots=True)
class _Step:
    name: str
    state: str = _WAITING
    began: float | None = None
    ended: float | None = None


@dataclass(slots=True)
class _Run:
    kind: str
    namespace: str
    name: str
    began: float
    ended: float | None = None
    pod: str = ""
    tries: int = 0
    state: str = _RUNNING
    reason: str = ""
    steps: list[_Step] = field(default_factory=list)
    parent: str = ""
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """As a line of its own begins: a PipelineRun may have the name of a TaskRun."""
        return self.name if self.kind == TASKRUNS.kind else f"{self.kind} {self.name}"


class Progress:
    """Shows the runs of an engine: give `changed` to it as ``on_event``. A context manager.

    Args:
        console: On standard error; whether it is a terminal decides the form.
        clock: Seconds, monotonic.
    """

    def __init__(self, console: Console, *, clock: Clock = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str, str], _Run] = {}
        self._spinner = Spinner("line")
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(
                get_renderable=self._picture,
                console=console,
                refresh_per_second=10,
                redirect_stdout=False,
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
        """Say something once, above the picture."""
        show.print_text(self._console, text, indent="", style="dim")

    def changed(self, change: str, obj: Object) -> None:
        """Take in a change of a PipelineRun, TaskRun or Pod."""
        if change == "DELETED":
            return
        with self._lock:
            lines = list(self._pod(obj) if obj["kind"] == "Pod" else self._changed_run(obj))
        if self._live is None:
            for line in lines:
                self._console.print(Text(show.plain(line)), soft_wrap=True)

    def _run(self, kind: str, namespace: str, name: str) -> _Run:
        return self._runs.setdefault((kind, namespace, name), _Run(kind, namespace, name, self._clock()))

    def _changed_run(self, obj: Object) -> Iterator[str]:
        metadata = obj["metadata"]
        run = self._run(obj["kind"], metadata["namespace"], metadata["name"])
        owners = [
            one["name"] for one in metadata.get("ownerReferences") or () if one["kind"] == PIPELINERUNS.kind
        ]
        run.parent = owners[0] if owners else ""
        verdict = show.verdict_of(obj)
        for one in obj.get("status", {}).get("skippedTasks") or ():
            if one["name"] not in run.skipped:
                yield f"{run.label}: Task {one['name']}: {_SKIPPED}, {one['reason']}"
            run.skipped[one["name"]] = one["reason"]
        if run.ended is None and (verdict.succeeded or verdict.failed):
            run.ended, run.state = self._clock(), verdict.word
            run.reason = "" if verdict.reason.lower() == verdict.word else verdict.reason
            yield f"{run.label}: {run.state}{_after(', ', run.reason)} ({run.ended - run.began:.1f} s)"

    def _pod(self, pod: Object) -> Iterator[str]:
        metadata = pod["metadata"]
        owners = [one["name"] for one in metadata.get("ownerReferences") or () if one["kind"] == "TaskRun"]
        if not owners:
            return
        run = self._run(TASKRUNS.kind, metadata["namespace"], owners[0])
        if run.pod != metadata["name"]:
            again = bool(run.pod)
            names = [one["name"] for one in pod["spec"]["containers"] if one["name"].startswith("step-")]
            run.pod = metadata["name"]
            run.tries += 1
            run.steps = [_Step(name.removeprefix("step-")) for name in names]
            yield f"{run.name}: {'tried again' if again else 'started'}, pod {run.pod}"
        states = {step["name"]: step for step in mirror(pod, {}, done=False).get("steps") or ()}
        now = self._clock()
        ready = pod.get("status", {}).get("phase") == "Running"
        for step in run.steps:
            # The containers of all Steps run from the start; a Step begins when the one before it ends.
            state = states.get(step.name, {})
            if step.ended is None and ready and step.began is None and "running" in state:
                step.began, step.state = now, _RUNNING
            if step.ended is None and "terminated" in state:
                step.began, step.ended, step.state = step.began or now, now, _end(state)
                yield f"{run.name}: Step {step.name}: {step.state} ({step.ended - step.began:.1f} s)"
            ready = ready and step.ended is not None

    def _picture(self) -> Group:
        with self._lock:
            now = self._clock()
            table = Table.grid(padding=(0, 2, 0, 0))
            for _ in range(_COLUMNS):  # where there is little room, times stay and words are cut
                table.add_column(no_wrap=len(table.columns) == _TIME, overflow="ellipsis")
            for run in self._runs.values():
                if not run.parent:
                    self._rows(table, run, now, "")
                    for child in self._children(run):
                        self._rows(table, child, now, "  ")
                    for name, why in run.skipped.items():
                        cells = (f"  {show.plain(name)}", _SKIPPED, "", show.plain(why))
                        table.add_row(*(_cell(cell, _STYLES[_SKIPPED]) for cell in cells))
            return Group(table)

    def _children(self, run: _Run) -> list[_Run]:
        """The TaskRuns of a PipelineRun."""
        if run.kind == TASKRUNS.kind:
            return []
        mine = (run.namespace, run.name)
        return [one for one in self._runs.values() if (one.namespace, one.parent) == mine]

    def _rows(self, table: Table, run: _Run, now: float, indent: str) -> None:
        style = {"succeeded": "bold green", "failed": "bold red"}.get(run.state, "bold")
        name = run.name.removeprefix(f"{run.parent}-") if run.parent else run.name
        table.add_row(
            _cell(f"{indent}{show.plain(name)}", "bold"),
            _cell(run.state, style),
            _seconds(run.began, run.ended, now),
            _cell(", ".join(_notes(run)), "red" if run.state == "failed" else "dim"),
        )
        for step in run.steps:
            moving = step.state == _RUNNING and run.ended is None
            table.add_row(
                _cell(f"{indent}  {show.plain(step.name)}"),
                _cell(step.state, _STYLES.get(step.state, "red")),
                _seconds(step.began, step.ended, now),
                self._spinner.render(now) if moving else "",
            )


def _cell(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _notes(run: _Run) -> Iterator[str]:
    if run.reason:
        yield show.plain(run.reason)
    if run.tries > 1:
        yield f"try {run.tries}"


def _end(state: Object) -> str:
    """How a Step ended, in a word or two."""
    ended = state["terminated"]
    why = state.get("terminationReason", "")
    code = ended.get("exitCode", 0)
    if why == "Continued" and code:
        return f"exit code {code}, continued"
    return (
        _ENDS.get(why) or _ENDS.get(ended.get("reason", "")) or (f"failed, exit code {code}" if code else _OK)
    )


def _seconds(began: float | None, ended: float | None, now: float) -> str:
    return "" if began is None else f"{(ended or now) - began:.1f} s"


def _after(separator: str, text: str) -> str:
    return f"{separator}{text}" if text else ""
