"""Draw a PipelineRun as SVG: its Tasks in their order, and the results they passed on with their bytes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from resultsfw.cli import show
from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun.child_statuses import children_of
from resultsfw.tekton.pipelinerun.dag import graph_of, refs_of
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of

__all__ = ["draw"]

_BOX_WIDTH: Final = 190
_BOX_HEIGHT: Final = 50
_COLUMN_GAP: Final = 190
_ROW_GAP: Final = 34
_MARGIN: Final = 24
_LINE_HEIGHT: Final = 15
_CHARACTERS: Final = 24
"""Characters of a name that fit into a box or onto an edge."""

_GREY: Final = "#9e9e9e"
_GREEN: Final = "#2e7d32"
_RED: Final = "#c62828"
_YELLOW: Final = "#f9a825"

Point = tuple[int, int]
"""Upper left corner of a Task's box."""


def draw(pipelinerun: Mapping[str, Any], taskruns: Sequence[Object]) -> str:
    """Return an SVG document of a PipelineRun that has started.

    Args:
        pipelinerun: With its status.
        taskruns: The TaskRuns of the PipelineRun.
    """
    status = pipelinerun["status"]
    spec = status["pipelineSpec"]
    by_name = {taskrun["metadata"]["name"]: taskrun for taskrun in taskruns}
    by_task: dict[str, list[Object]] = {}
    for child in children_of(status):
        if child["name"] in by_name:
            by_task.setdefault(child["pipelineTaskName"], []).append(by_name[child["name"]])
    skipped = {task["name"]: task["reason"] for task in status.get("skippedTasks") or ()}
    corners = _layout(spec)
    bottom = max((y for _, y in corners.values()), default=0) + _BOX_HEIGHT
    edges, bottom = _edges(list(_dependencies(spec, by_task, corners)), bottom)
    finally_x = min((corners[task["name"]][0] for task in spec.get("finally") or ()), default=None)
    boxes = [_box(name, corners[name], by_task.get(name, ()), skipped.get(name, "")) for name in corners]
    width = max((x for x, _ in corners.values()), default=0) + _BOX_WIDTH + _MARGIN
    height = bottom + _MARGIN
    heading = (
        ""
        if finally_x is None
        else f'<text x="{finally_x}" y="16" font-size="12" fill="{_GREY}">finally</text>\n'
    )
    title = f"{pipelinerun['metadata']['name']}: {show.verdict_of(pipelinerun).word}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">\n'
        f"<title>{escape(show.plain(title))}</title>\n"
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#616161"/></marker></defs>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{heading}{"".join([*edges, *boxes])}</svg>\n'
    )


def _layout(spec: Object) -> dict[str, Point]:
    """Return where each Task's box is: right of all that it depends on, ``finally`` right of all others."""
    graph = graph_of(spec)
    columns: dict[str, int] = {}
    for name in graph.order:
        columns[name] = 1 + max((columns[parent] for parent in graph.parents[name]), default=-1)
    last = 1 + max(columns.values(), default=-1)
    corners: dict[str, Point] = {}
    filled: dict[int, int] = {}
    for section, task in tasks_of(spec):
        x = last if section == "finally" else columns[task["name"]]
        y = filled.get(x, 0)
        filled[x] = y + 1
        corners[task["name"]] = (
            _MARGIN + x * (_BOX_WIDTH + _COLUMN_GAP),
            _MARGIN + y * (_BOX_HEIGHT + _ROW_GAP),
        )
    return corners


def _dependencies(
    spec: Object, by_task: Mapping[str, Sequence[Object]], corners: Mapping[str, Point]
) -> Iterator[tuple[Point, Point, list[str]]]:
    """Yield for each dependency both Tasks' boxes and its results; none where it is only an order."""
    for _, task in tasks_of(spec):
        labels_by_source: dict[str, list[str]] = {
            name: [] for name in task.get("runAfter") or () if name in corners
        }
        for ref in refs_of(task):
            if ref.task in corners:
                label = _result_label(ref.result, by_task.get(ref.task, ()))
                labels_by_source.setdefault(ref.task, []).append(label)
        for source, labels in labels_by_source.items():
            yield corners[source], corners[task["name"]], list(dict.fromkeys(labels))


def _result_label(name: str, children: Sequence[Object]) -> str:
    """Return a result's name with its bytes; of a matrix, those of all children."""
    sizes = [
        show.size_of(result["value"])
        for child in children
        for result in child.get("status", {}).get("results") or ()
        if result["name"] == name
    ]
    return f"{name}: {show.counted(sum(sizes), 'byte')}" if sizes else f"{name}: none"


def _edges(dependencies: Sequence[tuple[Point, Point, list[str]]], bottom: int) -> tuple[list[str], int]:
    """Return the lines between boxes with their labels, and the y coordinate below all of them.

    A line that passes a column goes below all boxes, each at a height of its own.
    """
    lines: list[str] = []
    texts: list[str] = []
    taken: set[Point] = set()
    for source, target, labels in dependencies:
        x1, y1 = source[0] + _BOX_WIDTH, source[1] + _BOX_HEIGHT // 2
        x2, y2 = target[0] - 2, target[1] + _BOX_HEIGHT // 2
        half = _COLUMN_GAP // 2
        if target[0] - source[0] > _BOX_WIDTH + _COLUMN_GAP:
            bottom += _ROW_GAP // 2 + _LINE_HEIGHT * len(labels)
            left, right = x1 + half, x2 - half
            path = f"C{left} {y1} {x1} {bottom} {left} {bottom}H{right}C{x2} {bottom} {right} {y2} {x2} {y2}"
            middle, y = (x1 + x2) // 2, bottom - 5
        else:
            middle, y = (x1 + x2) // 2, (y1 + y2) // 2 - 5
            path = f"C{middle} {y1} {middle} {y2} {x2} {y2}"
        dashes = "" if labels else ' stroke-dasharray="5 4"'
        lines.append(
            f'<path d="M{x1} {y1}{path}" fill="none" stroke="#616161"{dashes} marker-end="url(#end)"/>\n'
        )
        for index, label in enumerate(labels):
            text_y = y - _LINE_HEIGHT * (len(labels) - 1 - index)
            while any(x == middle and abs(text_y - other) < _LINE_HEIGHT - 1 for x, other in taken):
                text_y += 1
            taken.add((middle, text_y))
            texts.append(
                f'<text x="{middle}" y="{text_y}" text-anchor="middle" font-size="12" fill="#424242" '
                f'stroke="white" stroke-width="3" paint-order="stroke">{_abbreviate(label)}</text>\n'
            )
    return [*lines, *texts], bottom


def _box(name: str, corner: Point, children: Sequence[Object], skipped: str) -> str:
    verdicts = [show.verdict_of(child) for child in children]
    verdict = next(
        (found for found in verdicts if not found.succeeded), (verdicts or [show.verdict_of({})])[0]
    )
    colour, word = _YELLOW, verdict.word
    if len(children) > 1:
        name = f"{name} \u00d7 {len(children)}"
    if skipped or not children:
        colour, word = _GREY, "skipped" if skipped else "not started"
    elif verdict.succeeded:
        colour = _GREEN
    elif verdict.failed:
        colour, word = _RED, verdict.reason or word
    tooltip = skipped or (verdict.message if verdict.failed else "")
    x, y = corner
    return (
        f"<g><title>{escape(show.plain(tooltip or name))}</title>"
        f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="7" fill="white" '
        f'stroke={quoteattr(colour)} stroke-width="2"/>'
        f'<text x="{x + 12}" y="{y + 21}" font-weight="bold">{_abbreviate(name)}</text>'
        f'<text x="{x + 12}" y="{y + 39}" fill={quoteattr(colour)}>{_abbreviate(word)}</text></g>\n'
    )


def _abbreviate(text: str) -> str:
    shown = show.plain(text)
    return escape(shown if len(shown) <= _CHARACTERS else f"{shown[: _CHARACTERS - 1]}\u2026")
