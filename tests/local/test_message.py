"""The termination message: Tekton's format, never over its budget, nothing left out without a name."""

import base64
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw.local.step import message
from resultsfw.local.step.message import INTERNAL, REFUSED, STEP_RESULT, TASK_RESULT, Message

STARTED = ("StartedAt", "2026-11-23T16:31:45.722Z", INTERNAL)

texts = st.text(max_size=600) | st.text(st.sampled_from('<>&"\\\n\u2028x'), max_size=600)
entries = st.lists(st.tuples(st.text(min_size=1, max_size=12), texts, st.sampled_from([1, 4])), max_size=12)


def plain(data):
    if data.startswith(message.COMPRESSED):
        text = data.removeprefix(message.COMPRESSED)
        packed = base64.b64decode(text + b"=" * (-len(text) % 4))
        data = zlib.decompress(packed, -zlib.MAX_WBITS)
    return json.loads(data)


def refusals_in(listed):
    return [
        json.loads(one["value"]) for one in listed if one["key"] == REFUSED and one.get("type") == INTERNAL
    ]


def test_entries_that_compress_worse_without_the_names_stay_within_the_budget():
    """Found by the test below: in another order the rest took more room, and its end was cut off."""
    found = json.loads((Path(__file__).parents[1] / "data" / "message_that_grew.json").read_text())
    made = Message(found["budget"], compress=True)
    made.results, made.own = ([(*one,) for one in found[which]] for which in ("results", "own"))
    made.internal = [STARTED]
    data = made.build()
    listed = plain(data)
    assert len(data) <= found["budget"]
    assert {"key": "StartedAt", "value": STARTED[1], "type": INTERNAL} in listed
    there = [one for one in listed if one["type"] != INTERNAL]
    assert len(there) + len(made.refusals) == 24


@settings(max_examples=300)
@given(entries, entries, st.integers(400, 4096), st.booleans())
def test_every_result_is_whole_or_named_and_the_message_within_budget(results, own, budget, compress):
    made = Message(budget, compress=compress)
    made.results, made.own, made.internal = list(results), list(own), [STARTED]
    data = made.build()
    assert len(data) <= budget
    listed = plain(data)
    assert {"key": "StartedAt", "value": STARTED[1], "type": INTERNAL} in listed
    there = [(one["key"], one["value"], one["type"]) for one in listed if one["type"] != INTERNAL]
    assert len(there) + len(made.refusals) == len(results) + len(own)
    left = [*own, *results]
    for entry in there:
        left.remove(entry)  # exactly as given, or this fails
    assert sorted((name, kind) for name, _, kind in left) == sorted(
        (one["name"], one["type"]) for one in made.refusals
    )
    told = refusals_in(listed)
    if made.refusals:
        (named,) = told
        more = named.pop()["more"] if named and "more" in named[-1] else 0
        assert named == made.refusals[: len(named)]
        assert len(named) + more == len(made.refusals)
    else:
        assert told == []


@given(entries)
def test_a_written_message_is_read_back(results):
    data = message.pack([message.encode(one) for one in results], compress=False)
    assert message.unpack(data) == results
    squeezed = message.pack([message.encode(one) for one in results], compress=True)
    assert message.unpack(squeezed) == results
    assert len(squeezed) <= len(data)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b"tknz:" + data))
def test_any_bytes_in_the_termination_file_are_handled(data):
    found = message.unpack(data)
    assert found is None or all(isinstance(key, str) and isinstance(value, str) for key, value, _ in found)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"[]", []),
        (b'[{"key":"a","value":"b","type":1,"more":2}]', [("a", "b", 1)]),
        (b'[{"key":"a","value":"b","type":"TaskRunResult"}]', [("a", "b", 1)]),
        (b'[{"key":"a","value":"b","type":"NoSuchType"}]', [("a", "b", 10)]),
        (b'[{"key":"a","value":"b"}]', [("a", "b", 0)]),
        (b"[null]", []),
        (b'{"key":"a"}', None),
        (b'[{"key":1}]', None),
        (b'["a"]', None),
        (b"not json", None),
        (b"[" * 100_000, None),
        (b"tknz:!!!", None),
        (b"tknz:", None),
    ],
)
def test_a_message_of_the_step_is_read_as_tekton_reads_it(data, found):
    assert message.unpack(data) == found


def test_entries_are_in_tektons_order():
    made = Message(4096)
    made.own, made.results, made.internal = [("o", "1", TASK_RESULT)], [("r", "2", STEP_RESULT)], [STARTED]
    made.artifacts = [("/tekton/artifacts/provenance.json", "{}", 6)]
    assert [one["key"] for one in plain(made.build())] == [
        "o",
        "r",
        "StartedAt",
        "/tekton/artifacts/provenance.json",
    ]


def test_sizes_are_those_of_gos_json():
    assert message.encode(("a", '<>&\u2028"\n\x01é', 1)) == (
        rb'{"key":"a","value":"\u003c\u003e\u0026\u2028\"\n\u0001' + "é".encode() + b'","type":1}'
    )


def test_exactly_the_budget_fits():
    overhead = len(
        message.pack([message.encode(("r", "", TASK_RESULT)), message.encode(STARTED)], compress=False)
    )
    made = Message(4096)
    made.internal = [STARTED]
    made.results = [("r", "x" * (4096 - overhead), TASK_RESULT)]
    assert len(made.build()) == 4096
    assert made.refusals == []
    made.results = [("r", "x" * (4097 - overhead), TASK_RESULT)]
    assert len(made.build()) <= 4096
    assert [one["name"] for one in made.refusals] == ["r"]


def test_results_displace_entries_that_the_step_wrote():
    """A Step that floods the message cannot push a real result out."""
    made = Message(4096)
    made.own = [(f"junk-{index}", "x" * 100, TASK_RESULT) for index in range(60)]
    made.results = [("real", "y" * 2000, TASK_RESULT)]
    made.internal = [STARTED]
    assert {"key": "real", "value": "y" * 2000, "type": 1} in plain(made.build())


def test_on_refusal_entries_are_written_only_with_refusals():
    made = Message(4096)
    made.internal, made.on_refusal = [STARTED], [("Reason", REFUSED, INTERNAL)]
    made.results = [("r", "x", TASK_RESULT)]
    assert [one["key"] for one in plain(made.build())] == ["r", "StartedAt"]
    made.results = [("r", "x" * 5000, TASK_RESULT)]
    assert [one["key"] for one in plain(made.build())] == ["StartedAt", "Reason", REFUSED]


def test_compression_makes_more_results_fit():
    made = Message(4096, compress=True)
    made.results = [("big", "x" * 100_000, TASK_RESULT)]
    made.internal = [STARTED]
    data = made.build()
    assert data.startswith(b"tknz:")
    assert plain(data)[0]["value"] == "x" * 100_000
    made.results.append(("bigger", "x" * 40_000, TASK_RESULT))
    assert [one["key"] for one in plain(made.build())] == ["big", "StartedAt", REFUSED]


@pytest.mark.parametrize("budget", [2, 60, 100, 150, 200])
def test_a_budget_too_small_for_any_entry_still_gives_a_valid_message(budget):
    """Fifty containers and more: still JSON, still within."""
    made = Message(budget)
    made.results = [("r", "x" * 100, TASK_RESULT)]
    made.internal = [STARTED]
    data = made.build()
    assert len(data) <= budget
    assert isinstance(json.loads(data), list)
