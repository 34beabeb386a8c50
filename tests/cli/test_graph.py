"""The picture of a PipelineRun: all of it can be read, whatever lies between two Tasks."""

import itertools
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.cli.graph.drawing import draw
from resultsfw.cli.graph.layout import Box, Link, place
from resultsfw.cli.graph.markup import abbreviate, text_width

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"-?[0-9.]+")


def drawn(spec, *, skipped=(), results=(), verdict="True", status="True", matrix=1, **written):
    """Draw a PipelineRun whose Tasks wrote results: ``TASK={RESULT: VALUE}``; the others did not start."""
    condition = {"type": "Succeeded", "status": status, "reason": "Because", "message": "of <this>"}
    names = [(name, f"p-{name}-{index}") for name in written for index in range(matrix)]
    runs = [
        {
            "metadata": {"name": run},
            "status": {
                "conditions": [condition],
                "results": [{"name": key, "value": value} for key, value in written[name].items()],
            },
        }
        for name, run in names
    ]
    whole = {
        "pipelineSpec": spec,
        "childReferences": [{"name": run, "pipelineTaskName": name} for name, run in names],
        "conditions": [{**condition, "status": verdict}],
        "skippedTasks": [{"name": name, "reason": "When Expressions evaluated to false"} for name in skipped],
        "results": [{"name": name, "value": value} for name, value in results],
    }
    return ET.fromstring(draw({"metadata": {"name": "p"}, "status": whole}, runs))  # noqa: S314 - ours


def task(name, *results, after=()):
    params = [{"name": f"v{index}", "value": f"$(tasks.{result})"} for index, result in enumerate(results)]
    return {"name": name, "params": params, "runAfter": list(after)}


def texts(picture):
    return ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]


def boxes(picture):
    found = [rect for rect in picture.iter(f"{SVG}rect") if rect.get("class", "").startswith("box")]
    return [tuple(float(rect.get(key)) for key in ("x", "y", "width", "height")) for rect in found]


def places(picture):
    """Return about the space that each text takes."""
    found = {}
    for text in picture.iter(f"{SVG}text"):
        size = float(text.get("font-size"))
        bold = "bold" in ET.tostring(text, encoding="unicode")
        width = text_width("".join(text.itertext()), size, bold=bold)
        x = float(text.get("x")) - (width if text.get("text-anchor") == "end" else 0)
        found[x, float(text.get("y"))] = (x, float(text.get("y")) - size * 0.8, width, size)
    return list(found.values())


def lines(picture):
    return [path for path in picture.iter(f"{SVG}path") if path.get("class", "").startswith("line")]


def dashes(picture):
    """Return how lines are dashed, without those of the legend."""
    legend = sum(text.get("class") == "muted" and text.text.startswith("a result") for text in picture.iter())
    legend += "order only" in texts(picture)
    found = [line.get("stroke-dasharray", "") for line in lines(picture)]
    return found[: len(found) - legend]


def overlap(first, second):
    return all(
        first[axis] < second[axis] + second[axis + 2] and second[axis] < first[axis] + first[axis + 2]
        for axis in (0, 1)
    )


def within(inner, outer):
    return all(
        inner[axis] >= outer[axis] - 0.1
        and inner[axis] + inner[axis + 2] <= outer[axis] + outer[axis + 2] + 0.1
        for axis in (0, 1)
    )


def check(picture):
    """Check that all texts are in the picture, none over another or over the side of a box."""
    whole = tuple(float(number) for number in picture.get("viewBox").split())
    assert whole[2:] == (float(picture.get("width")), float(picture.get("height")))
    found = places(picture)
    for place_ in [*found, *boxes(picture)]:
        assert within(place_, whole)
    for first, second in itertools.combinations(found, 2):
        assert not overlap(first, second), (first, second)
    for place_ in found:
        touched = [box for box in boxes(picture) if overlap(place_, box)]
        assert all(within(place_, box) for box in touched)
    for first, second in itertools.combinations(boxes(picture), 2):
        assert not overlap(first, second)


FIVE = {
    "tasks": [
        task("a"),
        task("b"),
        task("c", "a.results.x", "b.results.y"),
        task("d", "a.results.x", "b.results.y"),
        task("e", "a.results.x", "a.results.z", after=["d"]),
    ],
    "finally": [task("last", "a.results.x", "e.results.v")],
    "results": [{"name": "image", "value": "at $(tasks.e.results.v)"}],
}


def test_each_result_stands_once_in_its_task_with_its_bytes():
    picture = drawn(
        FIVE,
        a={"x": "1", "z": "22"},
        b={"y": "333"},
        c={},
        d={},
        e={"v": "4"},
        last={},
        results=[("image", "at 4")],
    )
    check(picture)
    for name, size in (
        ("x", "1 byte"),
        ("y", "3 bytes"),
        ("z", "2 bytes"),
        ("v", "1 byte"),
        ("image", "4 bytes"),
    ):
        assert texts(picture)[texts(picture).index(name) + 1] == size
    assert texts(picture).count("x") == 1
    assert "finally" in texts(picture)
    assert "results of the PipelineRun" in texts(picture)


def test_a_result_that_was_not_written_is_labelled_none_and_its_line_is_dashed():
    picture = drawn({"tasks": [task("a"), task("b", "a.results.x")]}, a={}, b={})
    assert texts(picture)[texts(picture).index("x") + 1] == "none"
    assert dashes(picture) == ["7 4"]
    check(picture)


def test_a_line_to_a_skipped_task_is_dashed_and_the_legend_says_why():
    spec = {"tasks": [task("a"), task("b", "a.results.x"), task("c", "a.results.x"), task("d", after=["a"])]}
    picture = drawn(spec, skipped=["b"], a={"x": "1"}, c={}, d={})
    assert sorted(dashes(picture)) == ["", "1.5 4", "7 4"]
    assert texts(picture)[-3:] == [
        "a result that was not used: it was not written, or the Task did not start",
        "a result that was used",
        "order only",
    ]
    assert "skipped: When Expressions evaluated to false" in texts(picture)
    check(picture)


def test_a_picture_without_results_has_no_legend_of_results():
    picture = drawn({"tasks": [task("a"), task("b")]}, a={}, b={})
    assert texts(picture) == ["p succeeded", "a", "succeeded", "b", "succeeded"]
    check(picture)


def test_forty_results_of_one_task_are_rows_of_its_box():
    names = [f"result-number-{index}" for index in range(40)]
    spec = {"tasks": [task("a"), task("b", *(f"a.results.{name}" for name in names))]}
    picture = drawn(spec, a=dict.fromkeys(names, "x" * 3000), b={})
    check(picture)
    assert set(names) <= set(texts(picture))
    assert dashes(picture) == [""] * 40


def test_of_a_matrix_runs_and_bytes_are_counted():
    picture = drawn({"tasks": [task("a"), task("b", "a.results.x[*]")]}, matrix=3, a={"x": "12345"})
    assert "a \u00d7 3" in texts(picture)
    assert "15 bytes in 3" in texts(picture)
    check(picture)


def test_a_failed_task_says_why_and_a_run_that_is_not_given_counts_as_running():
    picture = drawn({"tasks": [task("a")]}, status="False", verdict="False", a={})
    assert "failed: Because" in texts(picture)
    assert "p failed" in texts(picture)
    assert "a: failed: Because: of <this>" in [title.text for title in picture.iter(f"{SVG}title")]
    status = {
        "pipelineSpec": {"tasks": [task("a")]},
        "childReferences": [{"name": "p-a", "pipelineTaskName": "a"}],
    }
    assert ">running<" in draw({"metadata": {"name": "p"}, "status": status}, [])


@pytest.mark.parametrize(
    "name", ["\u65e5\u672c\u8a9e" * 30, "W" * 80, "</text><script>\x1b[2J", "\ud800", "\u202eabc"]
)
def test_a_long_or_hostile_name_stays_in_its_box(name):
    picture = drawn({"tasks": [task(name), task("b")]}, **{name: {name: "x"}})
    check(picture)
    assert {element.tag for element in picture.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "title", "rect", "text", "tspan", "g", "path", "circle")
    }


def test_the_picture_uses_nothing_that_simple_viewers_lack():
    picture = drawn(FIVE, a={"x": "1"}, b={}, c={}, d={})
    ground = next(picture.iter(f"{SVG}rect"))
    assert (ground.get("width"), ground.get("fill")) == (picture.get("width"), "#ffffff")
    names = {name for element in picture.iter() for name in element.keys()}  # noqa: SIM118 - no mapping
    assert not names & {"style", "paint-order", "marker-end", "textLength", "href", "dominant-baseline"}
    assert picture.get("font-family") == "sans-serif"


@given(st.data())
def test_no_line_that_passes_a_column_crosses_a_box(data):
    count = data.draw(st.integers(1, 12))
    boxes = {
        str(index): Box(data.draw(st.integers(0, 4)), 100, data.draw(st.integers(20, 200)), 10)
        for index in range(count)
    }
    pairs = [(a, b) for a in boxes for b in boxes if boxes[a].column < boxes[b].column]
    links = (
        [Link(*pair, 5) for pair in data.draw(st.lists(st.sampled_from(pairs), max_size=12))] if pairs else []
    )
    columns = 1 + max(box.column for box in boxes.values())
    layout = place(boxes, links, [50] * columns, (10, 20))
    areas = [(*layout.corners[name], 100, box.height) for name, box in boxes.items()]
    for first, second in itertools.combinations(areas, 2):
        assert not overlap(first, second)
    heights = []
    for (left, y), (right, other) in (lane for lanes in layout.lanes.values() for lane in lanes):
        assert y == other
        heights.append((left, y))
        for x, top, width, height in areas:
            assert right < x or left > x + width or y < top or y > top + height
    assert len(set(heights)) == len(heights)
    assert all(y >= 20 and y + height <= layout.bottom for _, y, _, height in areas)


@given(st.text("aWm-\u65e5\u0301\x1b\n\u202e", max_size=60), st.integers(20, 400))
def test_an_abbreviated_text_is_as_narrow_as_it_must_be(text, width):
    shown = abbreviate(text, width, 12)
    assert text_width(shown, 12) <= width + 1
    assert shown.isprintable()
