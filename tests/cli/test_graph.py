"""The picture of a PipelineRun: what flowed can be read, whatever lies between two Tasks."""

import itertools
from xml.etree import ElementTree as ET

from resultsfw.cli.graph import draw

SVG = "{http://www.w3.org/2000/svg}"


def drawn(spec, **results):
    runs = [
        {
            "metadata": {"name": f"p-{name}"},
            "status": {
                "conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded"}],
                "results": [{"name": key, "value": value} for key, value in given.items()],
            },
        }
        for name, given in results.items()
    ]
    children = [{"name": f"p-{name}", "pipelineTaskName": name} for name in results]
    status = {"pipelineSpec": spec, "childReferences": children, "conditions": []}
    return ET.fromstring(draw({"metadata": {"name": "p"}, "status": status}, runs))  # noqa: S314 - ours


def task(name, *results, after=()):
    params = [{"name": f"v{index}", "value": f"$(tasks.{one})"} for index, one in enumerate(results)]
    return {"name": name, "params": params, "runAfter": list(after)}


def boxes(picture):
    found = [one for one in picture.iter(f"{SVG}rect") if one.get("rx")]
    return [tuple(int(one.get(key)) for key in ("x", "y", "width", "height")) for one in found]


def labels(picture):
    """Words on lines, and about the room they take."""
    found = [one for one in picture.iter(f"{SVG}text") if one.get("text-anchor") == "middle"]
    places = {}
    for one in found:
        wide = 7 * len(one.text)
        places[one.text, one.get("x"), one.get("y")] = (
            *(int(one.get("x")) - wide // 2, int(one.get("y")) - 10),
            *(wide, 12),
        )
    return places


def overlap(one, other):
    return all(
        one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2]
        for axis in (0, 1)
    )


def test_labels_overlap_neither_boxes_nor_labels():
    spec = {
        "tasks": [
            task("a"),
            task("b"),
            task("c", "a.results.x", "b.results.y"),
            task("d", "a.results.x", "b.results.y"),
            task("e", "a.results.x", "a.results.z", after=["d"]),
        ],
        "finally": [task("last", "a.results.x", "e.results.v")],
    }
    picture = drawn(spec, a={"x": "1", "z": "22"}, b={"y": "333"}, e={"v": "4"})
    words = labels(picture)
    assert sorted(text for text, _, _ in words) == sorted(
        ["x: 1 byte"] * 4 + ["y: 3 bytes"] * 2 + ["z: 2 bytes", "v: 1 byte"]
    )
    for place in words.values():
        assert not [box for box in boxes(picture) if overlap(place, box)], words
    for one, other in itertools.combinations(words.values(), 2):
        assert not overlap(one, other), words
    wide, high = int(picture.get("width")), int(picture.get("height"))
    assert all(x + w <= wide and y + h <= high for x, y, w, h in [*words.values(), *boxes(picture)])
    assert "finally" in [one.text for one in picture.iter(f"{SVG}text")]


def test_a_result_that_was_not_written_is_labelled_none():
    picture = drawn({"tasks": [task("a"), task("b", "a.results.x")]}, a={})
    assert [text for text, _, _ in labels(picture)] == ["x: none"]
