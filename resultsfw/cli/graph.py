"""The picture of a PipelineRun: its Tasks in their order, and which results flowed, how large. SVG."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from resultsfw.cli import show
from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun.child_statuses import children_in
from resultsfw.tekton.pipelinerun.dag import graph_of, refs_of
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of

__all__ = ["draw"]

_WIDE: Final = 190
_HIGH: Final = 50
_BETWEEN: Final = 190
_BELOW: Final = 34
_EDGE: Final = 24
_LINE: Final = 15
_LETTERS: Final = 24
"""Characters of a name that a box or an edge has room for."""

_GREY: Final = "#9e9e9e"
_COLOURS: Final = {"succeeded": "#2e7d32", "failed": "#c62828", "not finished": "#f9a825"}

Place = tuple[int, int]
"""Left upper corner of a Task's box."""


def draw(pipelinerun: Mapping[str, Any], taskruns: Sequence[Object]) -> str:
    """An SVG document of a PipelineRun that has begun.

    Args:
        pipelinerun: With its status.
        taskruns: Those it made.
    """
    status = pipelinerun["status"]
    spec = status["pipelineSpec"]
    runs = {one["metadata"]["name"]: one for one in taskruns}
    by_task = {
        one["pipelineTaskName"]: runs[one["name"]] for one in children_in(status) if one["name"] in runs
    }
    skipped = {one["name"]: one["reason"] for one in status.get("skippedTasks") or ()}
    places = _places(spec)
    bottom = max((y for _, y in places.values()), default=0) + _HIGH
    edges, bottom = _edges(list(_flows(spec, by_task, places)), bottom)
    last = min((places[one["name"]][0] for one in spec.get("finally") or ()), default=None)
    boxes = [_box(name, places[name], by_task.get(name), skipped.get(name, "")) for name in places]
    wide = max((x for x, _ in places.values()), default=0) + _WIDE + _EDGE
    high = bottom + _EDGE
    mark = "" if last is None else f'<text x="{last}" y="16" font-size="12" fill="{_GREY}">finally</text>\n'
    title = f"{pipelinerun['metadata']['name']}: {show.verdict_of(pipelinerun).word}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
        f'viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="13">\n'
        f"<title>{escape(show.plain(title))}</title>\n"
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#616161"/></marker></defs>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{mark}{"".join([*edges, *boxes])}</svg>\n'
    )


def _places(spec: Object) -> dict[str, Place]:
    """A column for each step of the order, ``finally`` behind all others."""
    graph = graph_of(spec)
    columns: dict[str, int] = {}
    for name in graph.order:
        columns[name] = 1 + max((columns[parent] for parent in graph.parents[name]), default=-1)
    last = 1 + max(columns.values(), default=-1)
    places: dict[str, Place] = {}
    filled: dict[int, int] = {}
    for section, task in tasks_of(spec):
        x = last if section == "finally" else columns[task["name"]]
        y = filled.get(x, 0)
        filled[x] = y + 1
        places[task["name"]] = (_EDGE + x * (_WIDE + _BETWEEN), _EDGE + y * (_HIGH + _BELOW))
    return places


def _flows(
    spec: Object, by_task: Mapping[str, Object], places: Mapping[str, Place]
) -> Iterator[tuple[Place, Place, list[str]]]:
    """From which Task to which something goes, and what: no words where one only waits for the other."""
    for _, task in tasks_of(spec):
        flows: dict[str, list[str]] = {name: [] for name in task.get("runAfter") or () if name in places}
        for ref in refs_of(task):
            if ref.task in places:
                flows.setdefault(ref.task, []).append(_flowed(ref.result, by_task.get(ref.task)))
        for source, labels in flows.items():
            yield places[source], places[task["name"]], list(dict.fromkeys(labels))


def _flowed(result: str, run: Object | None) -> str:
    """A result and its bytes."""
    results = {} if run is None else {one["name"]: one["value"] for one in run["status"].get("results") or ()}
    if result not in results:
        return f"{result}: none"
    return f"{result}: {show.counted(show.size_of(results[result]), 'byte')}"


def _edges(flows: Sequence[tuple[Place, Place, list[str]]], bottom: int) -> tuple[list[str], int]:
    """The lines between boxes, and where the picture ends.

    One that passes over a column goes below all boxes, in a lane of its own.
    """
    lines: list[str] = []
    texts: list[str] = []
    taken: set[Place] = set()
    for source, target, labels in flows:
        x1, y1 = source[0] + _WIDE, source[1] + _HIGH // 2
        x2, y2 = target[0] - 2, target[1] + _HIGH // 2
        half = _BETWEEN // 2
        if target[0] - source[0] > _WIDE + _BETWEEN:
            bottom += _BELOW // 2 + _LINE * len(labels)
            left, right = x1 + half, x2 - half
            way = f"C{left} {y1} {x1} {bottom} {left} {bottom}H{right}C{x2} {bottom} {right} {y2} {x2} {y2}"
            middle, y = (x1 + x2) // 2, bottom - 5
        else:
            middle, y = (x1 + x2) // 2, (y1 + y2) // 2 - 5
            way = f"C{middle} {y1} {middle} {y2} {x2} {y2}"
        dashes = "" if labels else ' stroke-dasharray="5 4"'
        lines.append(
            f'<path d="M{x1} {y1}{way}" fill="none" stroke="#616161"{dashes} marker-end="url(#end)"/>\n'
        )
        for index, label in enumerate(labels):
            there = y - _LINE * (len(labels) - 1 - index)
            while any(x == middle and abs(there - one) < _LINE - 1 for x, one in taken):
                there += 1
            taken.add((middle, there))
            texts.append(
                f'<text x="{middle}" y="{there}" text-anchor="middle" font-size="12" fill="#424242" '
                f'stroke="white" stroke-width="3" paint-order="stroke">{_short(label)}</text>\n'
            )
    return [*lines, *texts], bottom


def _box(name: str, place: Place, run: Object | None, skipped: str) -> str:
    verdict = show.verdict_of(run or {})
    word = "skipped" if skipped else "not begun" if run is None else verdict.word
    why = skipped or (verdict.message if verdict.failed else "")
    colour = _COLOURS.get(word, _GREY)
    x, y = place
    said = verdict.reason if verdict.failed and verdict.reason else word
    return (
        f"<g><title>{escape(show.plain(why or name))}</title>"
        f'<rect x="{x}" y="{y}" width="{_WIDE}" height="{_HIGH}" rx="7" fill="white" '
        f'stroke={quoteattr(colour)} stroke-width="2"/>'
        f'<text x="{x + 12}" y="{y + 21}" font-weight="bold">{_short(name)}</text>'
        f'<text x="{x + 12}" y="{y + 39}" fill={quoteattr(colour)}>{_short(said)}</text></g>\n'
    )


def _short(text: str) -> str:
    shown = show.plain(text)
    return escape(shown if len(shown) <= _LETTERS else f"{shown[: _LETTERS - 1]}\u2026")
