"""Tables fit their width, say what they leave out, and obey nothing that a value brings along."""

import io
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from resultsfw.cli.output import show
from resultsfw.cli.output.advice import Advice
from resultsfw.limits import result_too_large
from resultsfw.types import CollectionOutcome
from resultsfw.values import escape_surrogates


def printed(taskrun, width=60, collected=None):
    out = io.StringIO()
    show.print_taskrun(Console(file=out, width=width), taskrun, collected)
    return out.getvalue().splitlines()


def ended(results, *, status="True", reason="Succeeded", message="", declared=None, **more):
    declared = declared or [{"name": one["name"], "type": one["type"]} for one in results]
    condition = {"type": "Succeeded", "status": status, "reason": reason, "message": message}
    return {
        "metadata": {"name": "r"},
        "status": {
            "conditions": [condition],
            "taskSpec": {"results": declared, "steps": [{"name": "s", "results": [{"name": "own"}]}]},
            "results": results,
            **more,
        },
    }


def result(value, name="x", kind="string"):
    return {"name": name, "type": kind, "value": value}


def test_a_reference_shows_its_bytes_and_location():
    location = "s3://bucket/" + "a" * 64
    keys = {"backend": "b", "location": location, "size": "20000000", "mediaType": "text/plain"}
    value = {"resultsfw-reference": "1", "digest": f"sha256:{'0' * 64}", **keys}
    line = printed(ended([result(value)]))[2]
    assert line == f"  x       string  20000000  {location}"  # whole, to be copied
    edited = printed(ended([result({**value, "size": "many"})]))[2]
    assert '{"resultsfw' in edited


def test_results_of_each_type_show_their_bytes():
    results = [result("é\n"), result(["a", "b"], "list", "array"), result({"k": "v"}, "map", "object")]
    steps = [{"name": "s", "results": [result("1", "own")]}]
    assert printed(ended(results, steps=steps)) == [
        "r succeeded",
        "  result  type    bytes  value",
        "  x       string      3  é\\n",
        '  list    array       9  ["a","b"]',
        '  map     object      9  {"k":"v"}',
        "  s.own   string      1  1",
    ]


def test_a_declared_result_without_a_value_shows_none():
    lines = printed(
        ended([], declared=[{"name": "gone", "properties": {}}, {"name": "too", "type": "array"}])
    )
    assert "  gone    string      -  none" in lines
    assert "  too     array       -  none" in lines


@pytest.mark.parametrize(
    ("value", "kind", "end"),
    [
        ("x" * 500, "string", " ... 500 characters"),
        (["x" * 50] * 10, "array", " ... 10 elements"),
        ({"k": "x" * 500}, "object", " ... 1 key"),
        ("界" * 300, "string", " ... 300 characters"),
    ],
)
def test_a_long_value_is_cut_and_shows_its_length(value, kind, end):
    line = printed(ended([result(value, kind=kind)]))[2]
    assert line.endswith(end)
    assert show.cell_len(line) <= 60


def test_control_characters_in_a_value_are_escaped():
    lines = printed(ended([result("\x1b[31m[red]\u202e\x9b")]), width=80)
    assert lines[2].endswith("\\x1b[31m[red]\\u202e\\x9b")


def test_a_failure_message_is_wrapped_and_without_its_hints():
    message = "one two three four five six seven eight nine ten eleven twelve\nthirteen"
    over = result_too_large("x", 9, 8)
    taskrun = ended([], status="False", reason="Why", message=f"{message}; {over.hint}")
    lines = printed(taskrun, collected=CollectionOutcome(problems=(over,)))
    assert lines[0] == "r failed Why"
    assert lines[-3:] == [
        "  one two three four five six seven eight nine ten eleven",
        "  twelve",
        "  thirteen",
    ]


def test_a_run_without_status_is_not_finished():
    assert printed({"metadata": {"name": "r"}}) == ["r not finished"]
    bare = ended([])
    del bare["status"]["taskSpec"]
    assert printed(bare) == ["r succeeded", "  it declares no results"]


def test_commands_are_never_wrapped():
    out = io.StringIO()
    advice = Advice("do " + "this " * 20, (("here", ("command " * 20,)),))
    show.print_advice(Console(file=out, width=40), [advice])
    lines = out.getvalue().splitlines()
    assert lines[-2:] == ["  here:", "  " + "command " * 20]
    assert all(len(line) <= 40 for line in lines[:-1])


@pytest.mark.parametrize(
    "text", ["1e3", "0E0", "12e4567", "089", "yes", "n", "~", "", "null", "0x1f", ".inf"]
)
def test_text_that_yaml_reads_as_another_type_is_quoted(text):
    assert show.as_yaml({"v": text}) == f"v: '{text}'\n"


def test_multi_line_text_is_a_yaml_block():
    assert show.as_yaml({"script": "a\n  b\n"}) == "script: |\n  a\n    b\n"
    same = ["x"]
    assert "&" not in show.as_yaml({"a": same, "b": same})


def test_artifacts_and_what_was_left_out_of_them_are_shown():
    artifacts = {
        "inputs": [{"name": "source", "values": [{"uri": "pkg:git/a@1"}, {"uri": "pkg:git/b@1"}]}],
        "outputs": [{"values": [{"digest": {"sha256": "2b"}}]}, {"name": "n\x1b[31m"}]
        + [{"name": "more"}] * 20,
    }
    message = 'All Steps have completed executing; artifacts of Step "s": left out'
    lines = printed(ended([], artifacts=artifacts, message=message), width=80)
    assert "  input artifact source: pkg:git/a@1 and 1 more" in lines
    assert any("2b" in line for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert lines[-2:] == ["  and 3 more artifacts", '  artifacts of Step "s": left out']
    assert sum("artifact " in line for line in lines) == 20


ODD = "a :#'\"\\\n\t\r\x00\x1b\x7f\x85\x9b\u2028\u202e\ufeff\ud800\udfff\U000e0001\U0001f600é"
TEXTS = st.text(st.sampled_from(ODD), max_size=8)


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS, max_size=2), max_size=2))
def test_json_and_yaml_steer_no_terminal_and_keep_their_texts(value):
    as_json, as_yaml = show.as_json(value), show.as_yaml(value)
    for text in (as_json, as_yaml):
        assert all(line.isprintable() for line in text.split("\n"))
    assert json.loads(as_json) == json.loads(json.dumps(value))
    assert yaml.safe_load(as_yaml) == plain_copy(value)


def plain_copy(value):
    """The value with lone surrogates escaped, which YAML cannot express."""
    if isinstance(value, dict):
        return {escape_surrogates(key): plain_copy(inner) for key, inner in value.items()}
    return list(map(plain_copy, value)) if isinstance(value, list) else escape_surrogates(value)
