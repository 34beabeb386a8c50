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
from resultsfw.tekton.mirror import mirror

__all__ = ["Progress"]

_WAITING: Final = "waiting"
_RUNNING: Final = "running"
_OK: Final = "ok"
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
    name: str
    began: float
    ended: float | None = None
    pod: str = ""
    state: str = _RUNNING
    reason: str = ""
    steps: list[_Step] = field(default_factory=list)
    parent: str = ""


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
        self._runs: dict[tuple[str, str], _Run] = {}
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
            lines = list(self._pod(obj) if obj["kind"] == "Pod" else self._taskrun(obj))
        if self._live is None:
            for line in lines:
                self._console.print(Text(show.plain(line)), soft_wrap=True)

    def _run(self, namespace: str, name: str) -> _Run:
        return self._runs.setdefault((namespace, name), _Run(name, self._clock()))

    def _taskrun(self, taskrun: Object) -> Iterator[str]:
        metadata = taskrun["metadata"]
        run = self._run(metadata["namespace"], metadata["name"])
        owners = [
            one["name"] for one in metadata.get("ownerReferences") or () if one["kind"] == "PipelineRun"
        ]
        run.parent = owners[0] if owners else ""
        verdict = show.verdict_of(taskrun)
        if run.ended is None and (verdict.succeeded or verdict.failed):
            run.ended, run.state = self._clock(), verdict.word
            run.reason = "" if verdict.succeeded else verdict.reason
            yield f"{run.name}: {run.state}{_after(', ', run.reason)} ({run.ended - run.began:.1f} s)"

    def _pod(self, pod: Object) -> Iterator[str]:
        metadata = pod["metadata"]
        owners = [one["name"] for one in metadata.get("ownerReferences") or () if one["kind"] == "TaskRun"]
        if not owners:
            return
        run = self._run(metadata["namespace"], owners[0])
        if run.pod != metadata["name"]:
            again = bool(run.pod)
            names = [one["name"] for one in pod["spec"]["containers"] if one["name"].startswith("step-")]
            run.pod = metadata["name"]
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
            for run in self._runs.values():
                if not run.parent:
                    self._rows(table, run, now, "")
                    for child in self._runs.values():
                        if child.parent == run.name:
                            self._rows(table, child, now, "  ")
            return Group(table)

    def _rows(self, table: Table, run: _Run, now: float, indent: str) -> None:
        style = {"succeeded": "bold green", "failed": "bold red"}.get(run.state, "bold")
        name = run.name.removeprefix(f"{run.parent}-") if run.parent else run.name
        table.add_row(
            Text(f"{indent}{show.plain(name)}", style="bold"),
            Text(run.state, style=style),
            _seconds(run.began, run.ended, now),
            Text(show.plain(run.reason), style="red"),
        )
        for step in run.steps:
            moving = step.state == _RUNNING and run.ended is None
            table.add_row(
                Text(f"{indent}  {show.plain(step.name)}"),
                Text(step.state, style=_STYLES.get(step.state, "red")),
                _seconds(step.began, step.ended, now),
                self._spinner.render(now) if moving else "",
            )


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
