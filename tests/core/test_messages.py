"""Termination messages: what is read of whole, cut and broken ones, and what the kubelet leaves of them."""

import base64
import json
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resultsfw.messages import (
    CONTAINER_MESSAGE_BYTES,
    INFLATED_BYTES,
    INTERNAL,
    STEP_RESULT,
    TASK_RESULT,
    entry_type,
    message_budget,
    read_message,
)

WHOLE = st.text(st.characters(exclude_categories=["Cs"]))
AWKWARD = st.text(st.sampled_from('",:{}[]\\<&\n\x00é\u2028😀'))
ENTRY = st.fixed_dictionaries(
    {"key": st.text(max_size=8) | AWKWARD, "value": WHOLE | AWKWARD}, optional={"type": st.integers(0, 10)}
)
ENTRIES = st.lists(ENTRY, max_size=6)


def go(entries):
    """The array as Go prints it: no blanks."""
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":"))


def compressed(text):
    """As Tekton's entrypoint compresses: raw deflate at its best, raw base64."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflate.compress(text.encode("utf-8", "surrogatepass")) + deflate.flush()
    return "tknz:" + base64.b64encode(packed).decode().rstrip("=")


def size_of(text):
    return len(text.encode("utf-8", "surrogatepass"))


def whole_in(prefix, entries):
    """The entries that stand whole in a prefix of `go(entries)`: an oracle that parses nothing."""
    end, count = 1, 0
    for number, entry in enumerate(entries):
        end += len(go(entry)) + (1 if number else 0)
        if end > len(prefix):
            break
        count += 1
    return entries[:count]


# Any text.


@given(st.text() | AWKWARD, st.integers(0, 5000))
@example("tknz:", 0)
@example("tknz:AAAA", 10)
@example("tknz:é", 10)
@example("tknz:a", 6)
@example("[", 0)
@example("[,", 0)
@example('[{"key":"a"}', 0)
@example("[" * 100_000, 10)
@example('[{"key":' + "[" * 50_000, 10)
@example("[" + "9" * 5000, 10)
@example("\ud800", 3)
def test_any_text_is_read_and_never_raises(text, budget):
    message = read_message(text, budget)
    assert message.size == size_of(text)
    assert all(isinstance(entry, dict) for entry in message.entries)
    if not message.entries:
        assert message.cut or message.garbage or "".join(text.split()) in {"", "[]"}
    if message.cut:
        assert message.size >= budget


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_bytes_behind_the_mark_of_compression_are_read(data, budget):
    for text in (base64.b64encode(data).decode(), base64.b64encode(data).decode().rstrip("=")):
        message = read_message("tknz:" + text, budget)
        assert message.size == len(text) + 5


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_no_message_is_an_empty_one(text):
    message = read_message(text, 0)
    assert (message.entries, message.cut, message.garbage) == ([], False, False)


# Whole ones.


@given(ENTRIES, st.integers(0, 10_000), st.sampled_from(["", " ", "\n"]))
def test_a_whole_array_round_trips_whatever_the_budget(entries, budget, blank):
    """Guarantee 6: awkward bytes survive. A message that ends as it must is whole, at the budget too."""
    for text in (go(entries), blank + json.dumps(entries, indent=1) + blank, compressed(go(entries))):
        message = read_message(text, budget)
        if any("\ud800" <= char <= "\udfff" for entry in entries for char in entry["key"]):
            continue  # Go writes none
        assert message.entries == entries
        assert (message.cut, message.garbage, message.rest) == (False, False, "")


def test_a_message_exactly_at_its_budget_is_whole():
    text = go([{"key": "a", "value": "x" * 100, "type": 1}])
    message = read_message(text, len(text))
    assert (message.cut, message.garbage) == (False, False)
    cut = read_message(text[:-1], len(text) - 1)
    assert (cut.cut, cut.garbage) == (True, False)
    short = read_message(text[:-1], len(text))
    assert (short.cut, short.garbage) == (False, True)


# Cut ones.


@given(st.lists(ENTRY, min_size=1, max_size=6), st.data())
def test_any_prefix_is_cut_and_yields_exactly_the_entries_that_stand_whole(entries, data):
    """Guarantee 1: a cut termination message is a failure, not an absence; what stands whole is kept."""
    entries = [{**entry, "key": entry["key"].encode("utf-8", "replace").decode()} for entry in entries]
    text = go(entries)
    prefix = text[: data.draw(st.integers(1, len(text) - 1))]
    message = read_message(prefix, size_of(prefix))
    assert message.cut
    assert not message.garbage
    assert message.entries == whole_in(prefix, entries)
    assert prefix.endswith(message.rest)
    below = read_message(prefix, size_of(prefix) + 1)
    assert below.garbage
    assert not below.cut
    assert below.entries == message.entries


def test_every_prefix_of_a_real_message():
    text = (
        '[{"key":"digest","value":"sha256:0123","type":1},{"key":"url","value":"a\\"b\\\\","type":4},'
        '{"key":"StartedAt","value":"2026-11-23T16:31:45.722Z","type":3}]'
    )
    entries = json.loads(text)
    for length in range(1, len(text)):
        message = read_message(text[:length], length)
        assert message.cut
        assert message.entries == whole_in(text[:length], entries)


@given(st.lists(ENTRY, min_size=1, max_size=6), st.data())
def test_a_cut_compressed_message_yields_a_beginning_of_the_entries(entries, data):
    entries = [{**entry, "key": entry["key"].encode("utf-8", "replace").decode()} for entry in entries]
    text = compressed(go(entries))
    prefix = text[: data.draw(st.integers(5, len(text) - 1))]
    message = read_message(prefix, size_of(prefix))
    assert message.cut
    assert message.entries == entries[: len(message.entries)]
    assert read_message(prefix, size_of(prefix) + 1).garbage


def test_a_cut_compressed_message_yields_what_comes_out_of_it():
    entries = [{"key": f"r{index}", "value": f"{index * 7919:x}" * 9, "type": 1} for index in range(200)]
    text = compressed(go(entries))
    message = read_message(text[: len(text) // 2], len(text) // 2)
    assert message.cut
    assert 50 < len(message.entries) < 150
    assert message.entries == entries[: len(message.entries)]


def test_a_bad_byte_in_a_compressed_message_is_never_passed_over():
    text = compressed(go([{"key": f"r{index}", "value": "v" * index, "type": 1} for index in range(40)]))
    for place in range(5, len(text)):
        bad = text[:place] + "!" + text[place + 1 :]
        assert read_message(bad, 4096).garbage


def test_a_compressed_message_grows_to_tektons_bound_and_no_further():
    """Guarantee 3: memory stays bounded, whatever a pod prints."""
    entry = {"key": "a", "value": "", "type": 1}
    room = INFLATED_BYTES - len(go([entry]))
    at = read_message(compressed(go([{**entry, "value": "x" * room}])), 4096)
    assert (at.cut, at.garbage) == (False, False)
    assert len(at.entries[0]["value"]) == room
    over = read_message(compressed(go([entry, {**entry, "value": "x" * room}])), 4096)
    assert over.garbage
    assert over.entries == [entry]
    assert len(over.rest) <= INFLATED_BYTES


def test_bytes_behind_a_compressed_message_are_noticed():
    text = compressed(go([{"key": "a", "value": "b", "type": 1}]))
    packed = base64.b64decode(text[5:] + "=" * (-len(text[5:]) % 4))
    more = "tknz:" + base64.b64encode(packed + b"more").decode().rstrip("=")
    assert read_message(more, 4096).garbage


# Broken ones.


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("OCI runtime create failed", 0),
        ('{"key":"a"}', 0),
        ('[{"key":"a"}] more', 1),
        ('[{"key":"a"}][]', 1),
        ('[{"key":"a"} {"key":"b"}]', 1),
        ('[{"key":"a"},]', 1),
        ('[{"key":"a"},"b"]', 1),
        ('[{"key":"a"},null]', 1),
        ("[1]", 0),
        ('[,{"key":"a"}]', 0),
        ('[{"key":"a"},,{"key":"b"}]', 1),
        ('[{"key":"a"},{key:"b"}]', 1),
        ('[{"key":"a"},{"key":"\n"}]', 1),
        ("tknz:", 0),
        ("tknz:====", 0),
        ("tknz:AAA", 0),
    ],
)
def test_what_is_no_array_of_entries_is_garbage_below_the_budget_and_cut_at_it(text, count):
    message = read_message(text, 4096)
    assert (len(message.entries), message.garbage, message.cut) == (count, True, False)
    message = read_message(text, len(text))
    assert (len(message.entries), message.cut) == (count, True)


# Types.


@pytest.mark.parametrize(
    ("given_type", "means"),
    [
        (1, TASK_RESULT),
        (3, INTERNAL),
        (4, STEP_RESULT),
        ("TaskRunResult", TASK_RESULT),
        ("InternalTektonResult", INTERNAL),
        ("PipelineResourceResult", None),
        ("", None),
        (None, None),
        (1.0, None),
        ([1], None),
        (10, 10),
    ],
)
def test_types_of_entries(given_type, means):
    assert entry_type({"key": "a", "type": given_type}) == means


def test_an_entry_without_a_type_says_nothing():
    assert entry_type({"key": "a"}) is None


def test_a_truth_value_is_no_type():
    """JSON's ``true`` is Python's 1."""
    assert entry_type({"key": "a", "type": True}) is None


# The budget.


def pod(**counts):
    return {"spec": {kind: [{"name": f"{kind}-{i}"} for i in range(n)] for kind, n in counts.items()}}


@pytest.mark.parametrize(
    ("counts", "budget"),
    [
        ({"containers": 1}, 4096),
        ({"containers": 3}, 4096),
        ({"containers": 4}, 3072),
        ({"containers": 2, "initContainers": 2}, 3072),
        ({"containers": 2, "initContainers": 2, "ephemeralContainers": 1}, 2457),
        ({"containers": 12_288}, 1),
        ({}, 4096),
    ],
)
def test_the_kubelet_shares_twelve_kibibytes_among_all_containers(counts, budget):
    assert message_budget(pod(**counts)) == budget


@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 5))
def test_the_shares_never_exceed_a_container_or_the_pod(containers, init, ephemeral):
    some = pod(containers=containers, initContainers=init, ephemeralContainers=ephemeral)
    budget = message_budget(some)
    count = containers + init + ephemeral
    assert budget * count <= 12_288 or budget == CONTAINER_MESSAGE_BYTES
    assert budget == CONTAINER_MESSAGE_BYTES or (budget + 1) * count > 12_288


def test_null_lists_of_containers_count_as_none():
    some = {"spec": {"containers": [{"name": "a"}], "initContainers": None, "ephemeralContainers": None}}
    assert message_budget(some) == 4096
