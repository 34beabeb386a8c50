"""Draw a PipelineRun as SVG: its Tasks in their order, the bytes of their results, and where those were used.

The picture needs no fonts, scripts or style sheets, and of SVG only what simple viewers know. Its classes let
a page that contains it choose other colours.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from resultsfw.cli.graph.graph_data import Graph, Outcome, Passed, ResultRow, TaskNode, graph_data
from resultsfw.cli.graph.layout import Box, Layout, Link, Point, place
from resultsfw.cli.graph.markup import Element, abbreviate, as_svg, element, text_width
from resultsfw.cli.output import show
from resultsfw.cluster import Object

__all__ = ["draw", "picture"]

_MARGIN: Final = 24
_GAP: Final = 64
"""Between columns, for the lines."""
_FINALLY_GAP: Final = 92
_PANEL_MARGIN: Final = 14
_PADDING: Final = 12
_HEAD: Final = 46
"""Height of a box without results: name and outcome."""
_ROW: Final = 18
_FOOT: Final = 9
_NAME_SIZE: Final = 13
_TEXT_SIZE: Final = 12
_TITLE_SIZE: Final = 16
_TITLE: Final = 68
"""Height of the heading of the picture."""
_MIN_WIDTH: Final = 110
_MAX_WIDTH: Final = 320
"""Of the texts in a box."""
_SIZE_WIDTH: Final = 130
"""Of the bytes of a result, at most."""
_BETWEEN: Final = 16
"""Between a result's name and its bytes."""
_ARROW: Final = 7
_DOT: Final = 3
_SAMPLE: Final = 34
"""Length of a line in the legend."""
_RESULTS: Final = "results of the PipelineRun"

_PAPER: Final = "#ffffff"
_PANEL: Final = "#f3f5f7"
_INK: Final = "#1f2328"
_MUTED: Final = "#59636e"
_FAINT: Final = "#818b98"
_COLOURS: Final = {
    Outcome.SUCCEEDED: "#1a7f37",
    Outcome.FAILED: "#cf222e",
    Outcome.RUNNING: "#9a6700",
    Outcome.SKIPPED: _MUTED,
    Outcome.NOT_STARTED: _MUTED,
}
_DASHES: Final = {Passed.USED: "", Passed.UNUSED: "7 4", Passed.ORDER: "1.5 4"}
_MEANINGS: Final = {
    Passed.USED: "a result that was used",
    Passed.UNUSED: "a result that was not used: it was not written, or the Task did not start",
    Passed.ORDER: "order only",
}


def draw(pipelinerun: Mapping[str, Any], taskruns: Sequence[Object]) -> str:
    """Return an SVG document of a PipelineRun that has started.

    Args:
        pipelinerun: With its status.
        taskruns: The TaskRuns of the PipelineRun, and other runs that it made.
    """
    return as_svg(picture(pipelinerun, taskruns))


def picture(pipelinerun: Mapping[str, Any], taskruns: Sequence[Object]) -> Element:
    """Return the same as an element, to be put into a page."""
    graph = graph_data(pipelinerun, taskruns)
    boxes = _boxes(graph)
    links = _links(graph)
    finally_at = next((task.column for task in graph.tasks if task.is_finally), None)
    columns = range(1 + max((box.column for box in boxes.values()), default=-1))
    gaps = [_GAP if column != finally_at else _FINALLY_GAP for column in columns]
    layout = place(boxes, list(links), [0, *gaps[1:]][: len(gaps)], (_MARGIN, _TITLE))
    verdict = show.verdict_of(pipelinerun)
    kinds = list(dict.fromkeys(passed for found in links.values() for passed in found))
    name = abbreviate(graph.name, 2 * _MAX_WIDTH, _TITLE_SIZE, bold=True)
    texts = [(f"{name} {verdict.word}", _TITLE_SIZE), *((_MEANINGS[kind], _TEXT_SIZE) for kind in kinds)]
    widest = max(_SAMPLE + _BETWEEN + text_width(text, size, bold=True) for text, size in texts)
    width = max(layout.right, _MARGIN + widest) + _MARGIN
    legend_top = layout.bottom + _MARGIN + _ROW
    height = legend_top + _ROW * len(kinds) + _FOOT
    return element(
        "svg",
        element("title", f"{graph.name}: {verdict.word}"),
        element("rect", class_="paper", width=width, height=height, fill=_PAPER),
        _heading(name, verdict),
        *([] if finally_at is None else _finally(layout, finally_at)),
        *_lines(boxes, links, layout),
        *(_task(graph, task, layout) for task in graph.tasks),
        *([_results(graph, layout)] if graph.results else ()),
        *(line for index, kind in enumerate(kinds) for line in _legend(kind, legend_top + index * _ROW)),
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {width:g} {height:g}",
        font_family="sans-serif",
        font_size=_TEXT_SIZE,
    )


def _boxes(graph: Graph) -> dict[str, Box]:
    """Return the box of each Task by its name, and that of the results of the PipelineRun by ""."""
    boxes = {
        task.name: Box(
            task.column, _width(_label(task), _outcome(task), task.results), *_heights(task.results)
        )
        for task in graph.tasks
    }
    if graph.results:
        last = max((box.column for box in boxes.values()), default=-1)
        boxes[""] = Box(last + 1, _width(_RESULTS, "", graph.results), *_heights(graph.results))
    return boxes


def _heights(rows: Sequence[ResultRow]) -> tuple[float, float]:
    return _HEAD + (_ROW * len(rows) + _FOOT if rows else 0), _HEAD / 2


def _row_middle(index: int) -> float:
    return _HEAD + _FOOT / 2 + _ROW * (index + 0.5)


def _width(name: str, outcome: str, rows: Sequence[ResultRow]) -> float:
    needed = [
        text_width(show.plain(name), _NAME_SIZE, bold=True),
        text_width(show.plain(outcome), _TEXT_SIZE),
    ]
    for row in rows:
        size = min(text_width(_size(row), _TEXT_SIZE), _SIZE_WIDTH)
        needed.append(text_width(show.plain(row.name), _TEXT_SIZE) + _BETWEEN + size)
    return min(max(_MIN_WIDTH, *needed), _MAX_WIDTH) + 2 * _PADDING


def _label(task: TaskNode) -> str:
    return f"{task.name} \u00d7 {task.runs}" if task.runs > 1 else task.name


def _outcome(task: TaskNode) -> str:
    return f"{task.outcome}: {task.detail}" if task.detail else str(task.outcome)


def _size(row: ResultRow) -> str:
    if row.size is None:
        return "none"
    return show.counted(row.size, "byte") + (f" in {row.count}" if row.count > 1 else "")


def _links(graph: Graph) -> dict[Link, list[Passed]]:
    """Return the lines, and what each stands for: a result, or only an order."""
    rows = {(task.name, row.name): index for task in graph.tasks for index, row in enumerate(task.results)}
    links: dict[Link, list[Passed]] = {}
    for edge in graph.edges:
        row = rows.get((edge.source, edge.result))
        leave = _HEAD / 2 if row is None else _row_middle(row)
        links.setdefault(Link(edge.source, edge.target or "", leave), []).append(edge.passed)
    return links


def _heading(name: str, verdict: show.Verdict) -> Element:
    colour = _COLOURS[
        Outcome.SUCCEEDED if verdict.succeeded else Outcome.FAILED if verdict.failed else Outcome.RUNNING
    ]
    return _text(
        (_MARGIN, 32),
        element("tspan", name, font_weight="bold"),
        " ",
        element("tspan", verdict.word, class_=verdict.word.replace(" ", "-"), fill=colour),
        size=_TITLE_SIZE,
    )


def _finally(layout: Layout, column: int) -> Iterator[Element]:
    x, width = layout.columns[column] - _PANEL_MARGIN, layout.widths[column] + 2 * _PANEL_MARGIN
    top = _TITLE - _MARGIN
    yield element(
        "rect",
        **{"class": "panel"},
        x=x,
        y=top,
        width=width,
        height=layout.bottom - top + _MARGIN / 2,
        rx=8,
        fill=_PANEL,
    )
    yield _text((x + _PANEL_MARGIN, _TITLE - 8), "finally", colour=_MUTED, class_="muted")


def _lines(
    boxes: Mapping[str, Box], links: Mapping[Link, Collection[Passed]], layout: Layout
) -> Iterator[Element]:
    """Yield the lines, first those that matter least.

    Lines between the same two boxes are separate only in their first part.
    """
    shared: dict[tuple[str, str], Passed] = {}
    arriving: dict[str, Passed] = {}
    drawn: list[tuple[Passed, list[Point]]] = []
    for link, found in links.items():
        passed = _foremost(found)
        pair = link.source, link.target
        shared[pair] = _foremost([passed, *([shared[pair]] if pair in shared else ())])
        arriving[link.target] = _foremost(
            [passed, *([arriving[link.target]] if link.target in arriving else ())]
        )
        x, y = layout.corners[link.source]
        start = (x + layout.widths[boxes[link.source].column], y + link.leave)
        lanes = layout.lanes[pair]
        drawn.append((passed, [start, lanes[0][0] if lanes else _entry(boxes, layout, link.target)]))
    for pair, passed in shared.items():
        if lanes := layout.lanes[pair]:
            inner = [point for lane in lanes for point in lane]
            drawn.append((passed, [*inner, _entry(boxes, layout, pair[1])]))
    for passed, points in sorted(drawn, key=lambda item: list(Passed).index(item[0]), reverse=True):
        yield _line(points, passed)
    for target, passed in arriving.items():
        x, y = _entry(boxes, layout, target)
        yield element(
            "path",
            class_=f"head {passed}",
            d=f"M{x:g} {y - 4:g}L{x + _ARROW:g} {y:g}L{x:g} {y + 4:g}z",
            fill=_stroke(passed),
        )


def _foremost(found: Collection[Passed]) -> Passed:
    """Return what a line stands for that stands for several things."""
    return next(passed for passed in Passed if passed in found)


def _entry(boxes: Mapping[str, Box], layout: Layout, name: str) -> Point:
    """Return where lines end, before the arrow at a box."""
    x, y = layout.corners[name]
    return x - _ARROW, y + boxes[name].entry


def _line(points: Sequence[Point], passed: Passed) -> Element:
    """Return a line through points: level across each column, curved from one to the next."""
    (x, y), *rest = points
    parts = [f"M{x:g} {y:g}"]
    for next_x, next_y in rest:
        middle = (x + next_x) / 2
        level = next_y == y
        parts.append(
            f"H{next_x:g}" if level else f"C{middle:g} {y:g} {middle:g} {next_y:g} {next_x:g} {next_y:g}"
        )
        x, y = next_x, next_y
    dashes = {"stroke_dasharray": _DASHES[passed]} if _DASHES[passed] else {}
    return element(
        "path",
        class_=f"line {passed}",
        d="".join(parts),
        fill="none",
        stroke=_stroke(passed),
        stroke_width=1.5,
        **dashes,
    )


def _stroke(passed: Passed) -> str:
    return _INK if passed is Passed.USED else _FAINT


def _task(graph: Graph, task: TaskNode, layout: Layout) -> Element:
    used = {edge.result for edge in graph.edges if edge.source == task.name}
    tooltip = f"{task.name}: {_outcome(task)}" + (f": {task.message}" if task.message else "")
    word = str(task.outcome).replace(" ", "-")
    width = layout.widths[task.column]
    started = task.outcome not in (Outcome.SKIPPED, Outcome.NOT_STARTED)
    return element(
        "g",
        element("title", tooltip),
        *_box(
            layout.corners[task.name],
            width,
            task.results,
            f"box {word}",
            _COLOURS[task.outcome],
            dashed=not started,
        ),
        *_heads(
            layout.corners[task.name],
            width,
            _label(task),
            _outcome(task),
            colour=_COLOURS[task.outcome],
            class_=word,
        ),
        *_rows(layout.corners[task.name], width, task.results, used),
    )


def _results(graph: Graph, layout: Layout) -> Element:
    corner, width = layout.corners[""], layout.widths[-1]
    return element(
        "g",
        *_box(corner, width, graph.results, "box", _MUTED),
        *_heads(corner, width, _RESULTS, "", colour=_MUTED, class_="muted"),
        *_rows(corner, width, graph.results, ()),
    )


def _box(
    corner: Point, width: float, rows: Sequence[ResultRow], class_: str, colour: str, *, dashed: bool = False
) -> Iterator[Element]:
    x, y = corner
    dashes = {"stroke_dasharray": "5 3"} if dashed else {}
    yield element(
        "rect",
        class_=class_,
        x=x,
        y=y,
        width=width,
        height=_heights(rows)[0],
        rx=6,
        fill=_PAPER,
        stroke=colour,
        stroke_width=1.5,
        **dashes,
    )
    if rows:
        yield element(
            "path", class_="rule", d=f"M{x:g} {y + _HEAD:g}h{width:g}", stroke="#d1d9e0", stroke_width=1
        )


def _heads(
    corner: Point, width: float, name: str, outcome: str, *, colour: str, class_: str
) -> Iterator[Element]:
    x, y = corner
    inner = width - 2 * _PADDING
    yield _text(
        (x + _PADDING, y + (19 if outcome else 28)),
        abbreviate(name, inner, _NAME_SIZE, bold=True),
        size=_NAME_SIZE,
        font_weight="bold",
    )
    if outcome:
        shown = abbreviate(outcome, inner, _TEXT_SIZE)
        yield _text((x + _PADDING, y + 37), shown, colour=colour, class_=class_)


def _rows(corner: Point, width: float, rows: Sequence[ResultRow], used: Collection[str]) -> Iterator[Element]:
    """Yield the results of a Task, each with a dot at its right side if another Task names it."""
    x, top = corner
    for index, row in enumerate(rows):
        y = top + _row_middle(index)
        size = abbreviate(_size(row), _SIZE_WIDTH, _TEXT_SIZE)
        inner = width - 2 * _PADDING - _BETWEEN - text_width(size, _TEXT_SIZE)
        colour, class_ = (_INK, "") if row.size is not None else (_MUTED, "muted")
        yield _text(
            (x + _PADDING, y + 4), abbreviate(row.name, inner, _TEXT_SIZE), colour=colour, class_=class_
        )
        yield _text((x + width - _PADDING, y + 4), size, colour=_MUTED, class_="muted", text_anchor="end")
        if row.name in used:
            yield element("circle", class_="dot", cx=x + width, cy=y, r=_DOT, fill=_INK)


def _legend(kind: Passed, y: float) -> Iterator[Element]:
    yield _line([(_MARGIN, y), (_MARGIN + _SAMPLE, y)], kind)
    yield _text((_MARGIN + _SAMPLE + _PADDING, y + 4), _MEANINGS[kind], colour=_MUTED, class_="muted")


def _text(
    place_: Point,
    *content: Element | str,
    size: float = _TEXT_SIZE,
    colour: str = _INK,
    class_: str = "",
    **more: str,
) -> Element:
    x, y = place_
    names = {"class_": class_} if class_ else {}
    return element("text", *content, x=x, y=y, font_size=size, fill=colour, **names, **more)
