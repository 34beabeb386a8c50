"""Writes the page about performance, as Markdown, from records."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from measuring import large, side_by_side, signed
from measuring.records import Record
from measuring.summary import Row, Spread, pick

Plots = dict[str, str]
"""Paths of plots by name, as the page links to them."""

_HEAD: Final = """\
# Performance

What it costs to carry results, measured like TEP-0127: PipelineRuns of three TaskRuns, which run one after
the other and have two Steps each. The Steps share the given bytes. `bench/performance.py` generates this
page from the records that are linked at the [end](#how-this-was-measured), with the commands.

CPU is user and system time as the kernel counts it. A busy machine changes it (cold caches, waiting for
locks), so compare figures within a table only. **Elapsed times vary more**: controllers, control plane and
all pods share a few processors; look at the spread. Figures of rounds are medians (minimum to maximum),
those of single runs medians (95th percentile). Memory is the maximum of all rounds. "Before" is the code
before this was measured and improved.
"""

_TEP: Final = """\
TEP-0127 reports for Tekton these differences between sidecar logs and termination messages: 1 % of the
controller's CPU, 0.2 % of its memory, 3 s for the start of each TaskRun's pod. The table has the same
differences here; "of a core" is the share of one core that the controller used while the runs went on.
"""

_CLUSTER: Final = """\
## On a cluster

The controllers alternated on the same cluster within one command. "Pod to first Step" is the time from the
pod's creation until a Step's container runs; "last Step to status", from the last Step's end to the
TaskRun's verdict; "to the PipelineRun's", from the last of these to the PipelineRun's verdict. Requests are
those for runs, Pods and logs, per TaskRun. The command starts our controller; Tekton's was running before,
so its memory includes earlier growth.
"""

_SERIES: Final = """\
### From 200 bytes to 1 MB

Bytes are those of all results of a TaskRun. Each backend is measured up to its limit; with termination
messages, the last Step's message repeats the results of the Steps before it.
"""

_SCALE: Final = """\
### Many TaskRuns

All PipelineRuns start at once, on nodes that run nothing, so that no kubelet influences the figures.
"""

_ENGINE: Final = """\
## With the local engine

With `resultsfw run`, one process is controller, store and kubelet, so it uses more CPU than a controller.
"Pods" are the processes that it starts: Steps, and sidecars in Python. It runs 16 pods at once; the start
of a pod is counted from its creation and includes waiting for one of these 16 places.
"""


def page(found: Sequence[Record], rows: Sequence[Row], plots: Plots, files: Sequence[Path]) -> str:
    """Return the whole page.

    Args:
        found: The records.
        rows: Their summary.
        plots: The plots that exist.
        files: Files of the records, in their order.
    """
    parts = [_HEAD]
    cluster, engine = pick(rows, place="cluster"), pick(rows, place="engine")
    if cluster:
        parts += [_CLUSTER, *_tep(pick(cluster, part="table"), plots), *_scale(cluster, plots)]
        parts += _series(pick(cluster, part="series"), plots, "cluster")
    if engine:
        parts += [_ENGINE, _engine(pick(engine, part="table")), *_plot(plots, "engine-table")]
        parts += _series(pick(engine, part="series"), plots, "engine")
    parts += side_by_side.section(found)
    parts += large.section(found)
    parts += signed.section(found)
    parts += _wrong(rows)
    parts.append(how(found, files))
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def table(head: Sequence[str], lines: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return a Markdown table; the columns after the first ``words`` hold numbers."""
    rule = "|" + "---|" * words + "--:|" * (len(head) - words)
    return "\n".join([_line(head), rule, *(_line(line) for line in lines)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float, digits: int = 0) -> str:
    """Return a number with thousands separated; a dash if it is not a number."""
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def rounds(value: Spread, digits: int = 1) -> str:
    """Return a median of rounds with its spread."""
    if value.low == value.high:
        return number(value.median, digits)
    return f"{number(value.median, digits)} ({number(value.low, digits)} to {number(value.high, digits)})"


def single(value: Spread) -> str:
    """Return a median of runs with the 95th percentile."""
    return f"{number(value.median)} ({number(value.high)})"


def ratio(ours: float, theirs: float) -> str:
    """Return our figure in percent of theirs."""
    return f"{100 * ours / theirs:.0f} %" if theirs else "-"


def _tep(rows: Sequence[Row], plots: Plots) -> list[str]:
    if not rows:
        return []
    first = rows[0]
    names = _in_order(row.backend for row in rows)
    head = ["backend", "controller", "CPU a TaskRun, ms", "peak memory, MB", "pod to first Step, ms"]
    head += ["last Step to status, ms", "to the PipelineRun's, ms", "all done, s", "requests"]
    lines = [
        [
            row.backend,
            row.who,
            rounds(row.cpu),
            number(row.peak),
            single(row.start),
            single(row.status),
            single(row.pipeline),
            rounds(row.wall),
            "-" if row.requests is None else number(row.requests.median, 1),
        ]
        for name in names
        for row in pick(rows, backend=name)
    ]
    title = f"### The TEP's table: {first.taskruns // 3} PipelineRuns of 3 TaskRuns, {first.bytes} bytes\n"
    return [
        title,
        table(head, lines, 2),
        *_plot(plots, "cluster-table"),
        *_against(rows, names),
        *_differences(rows, names),
    ]


def _against(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Return a table of our figures in percent of Tekton's."""
    lines = []
    for name in names:
        theirs = pick(rows, backend=name, who="Tekton")
        for row in pick(rows, backend=name):
            if theirs and row.who != "Tekton":
                cpu = ratio(row.cpu.median, theirs[0].cpu.median)
                lines.append([name, row.who, cpu, ratio(row.peak, theirs[0].peak)])
    if not lines:
        return []
    return ["Against Tekton's:\n", table(["backend", "controller", "CPU", "peak memory"], lines, 2)]


def _differences(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Return a table of each backend's differences to the first one: the TEP's figures."""
    lines = []
    for who in _in_order(row.who for row in rows):
        for name in names[1:]:
            base, other = pick(rows, who=who, backend=names[0]), pick(rows, who=who, backend=name)
            if not base or not other:
                continue
            first, second = base[0], other[0]
            more = second.cpu.median - first.cpu.median
            lines.append(
                [
                    f"{name} - {names[0]}",
                    who,
                    f"{more:+.1f} ms, {100 * more / first.cpu.median:+.0f} %",
                    f"{_core(second) - _core(first):+.1f} %",
                    f"{second.peak - first.peak:+.1f} MB, {100 * (second.peak / first.peak - 1):+.1f} %",
                    f"{(second.start.median - first.start.median) / 1000:+.2f} s",
                ]
            )
    if not lines:
        return []
    head = ["difference", "controller", "CPU a TaskRun", "of a core", "peak memory", "pod to first Step"]
    return [_TEP, table(head, lines, 2)]


def _core(row: Row) -> float:
    """Return the CPU in percent of one processor."""
    return row.cpu.median / 1000 * row.taskruns / row.wall.median * 100


def _scale(rows: Sequence[Row], plots: Plots) -> list[str]:
    found = pick(rows, part="scale")
    if not found:
        return []
    head = ["TaskRuns", "backend", "controller", "CPU a TaskRun, ms", "peak memory, MB"]
    head += ["last Step to status, ms", "all done, s", "CPU against Tekton's", "memory"]
    lines = []
    for row in sorted(found, key=lambda row: (row.taskruns, row.backend)):
        theirs = pick(found, who="Tekton", taskruns=row.taskruns, backend=row.backend)
        against = ["-", "-"]
        if theirs and row.who != "Tekton":
            against = [ratio(row.cpu.median, theirs[0].cpu.median), ratio(row.peak, theirs[0].peak)]
        figures = [rounds(row.cpu), number(row.peak), single(row.status), rounds(row.wall)]
        lines.append([number(row.taskruns), row.backend, row.who, *figures, *against])
    return [_SCALE, table(head, lines, 3), *_plot(plots, "cluster-scale")]


def _series(rows: Sequence[Row], plots: Plots, place: str) -> list[str]:
    if not rows:
        return []
    whose = _in_order(row.who for row in rows)
    head = ["backend", "bytes", *(f"CPU, ms: {who}" for who in whose)]
    head += [f"status, ms: {who}" for who in whose] + [f"memory, MB: {who}" for who in whose]
    lines = []
    for name in _in_order(row.backend for row in rows):
        for size in sorted({row.bytes for row in pick(rows, backend=name)}):
            cells: list[list[str]] = [[], [], []]
            for who in whose:
                there = pick(rows, backend=name, bytes=size, who=who)
                for cell, show in zip(cells, (_cpu, _status, _peak), strict=True):
                    cell.append(show(there[0]) if there else "-")
            lines.append([name, number(size), *cells[0], *cells[1], *cells[2]])
    about = _SERIES if place == "cluster" else "### From 200 bytes to 1 MB, with the local engine\n"
    many = f"{rows[0].taskruns} TaskRuns a round: CPU of a TaskRun, last Step to status, peak memory.\n"
    drawn = [*_plot(plots, f"{place}-cpu"), *_plot(plots, f"{place}-status")]
    return [about, many, table(head, lines, 1), *drawn]


def _cpu(row: Row) -> str:
    return rounds(row.cpu)


def _status(row: Row) -> str:
    return single(row.status)


def _peak(row: Row) -> str:
    return number(row.peak)


def _engine(rows: Sequence[Row]) -> str:
    head = ["backend", "code", "CPU a TaskRun, ms", "pods' CPU, ms", "peak memory, MB"]
    head += ["pod to first Step, ms", "last Step to status, ms", "to the PipelineRun's, ms", "all done, s"]
    lines = [
        [
            row.backend,
            row.who,
            rounds(row.cpu),
            "-" if row.pods_cpu is None else rounds(row.pods_cpu),
            number(row.peak),
            single(row.start),
            single(row.status),
            single(row.pipeline),
            rounds(row.wall),
        ]
        for name in _in_order(row.backend for row in rows)
        for row in pick(rows, backend=name)
    ]
    return table(head, lines, 2)


def _wrong(rows: Sequence[Row]) -> list[str]:
    lines = [
        f"- {row.place}, {row.part}, {row.backend}, {row.bytes:,} bytes, {row.who}: {'; '.join(row.wrong)}"
        for row in rows
        if row.wrong
    ]
    return ["## What was not as expected\n", "\n".join(lines)] if lines else []


def how(found: Sequence[Record], files: Sequence[Path]) -> str:
    """Return machine, versions, date and command of each record."""
    parts = ["## How this was measured\n"]
    for record, file in zip(found, files, strict=True):
        machine = record.machine
        versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        parts.append(
            f"[{file.name}](performance/{file.name}), {record.when} UTC: {machine['processors']} processors "
            f"({machine['cpu']}), {machine['memory_gb']} GB; {versions}.\n\n```\n{record.command}\n```\n"
        )
    return "\n".join(parts)


def _plot(plots: Plots, name: str) -> list[str]:
    return [f"![{name.replace('-', ', ')}]({plots[name]})\n"] if name in plots else []


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
