"""Splitting a log into lines: any bytes in any pieces, in bounded memory."""

import hashlib
import itertools
import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resultsfw_backends._log_lines import LogLines
from resultsfw_sidecar import wire

LOG = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from([b"\n", b"{", b'{"name":"a"', b',"value":"', b"\\", b"u00e9", b'"', b"}", b"\xe9"])
    ).map(b"".join),
)


def pieces(data, cuts):
    """The data cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:stop] for start, stop in itertools.pairwise(places)]


def lines_of(chunks, *, longest=1 << 20, limit=1 << 30):
    return list(LogLines(chunks, longest=longest, limit=limit))


@given(LOG, st.lists(st.integers(0, 1000), max_size=8), st.integers(0, 60), st.integers(0, 400))
@example(b'{"name":"a","value":"\\u00e9"}', [24, 25, 26], 10, 400)
def test_chunking_changes_nothing(data, cuts, longest, limit):
    whole = LogLines([data], longest=longest, limit=limit)
    cut = LogLines(pieces(data, cuts), longest=longest, limit=limit)
    expected, got = list(whole), list(cut)
    for one, other in zip(expected, got, strict=True):
        # How much of a long value was seen when the line turned out too long depends on the pieces only
        # where the value begins behind the first of them.
        assert (one.number, one.record, one.fault, one.digest, one.ended) == (
            (other.number, other.record, other.fault, other.digest, other.ended)
        )
    assert (whole.total, whole.over) == (cut.total, cut.over)
    assert whole.total == min(len(data), limit)
    assert whole.over == (len(data) > limit)


@given(LOG)
def test_lines_are_the_log(data):
    """Against an oracle that splits the whole: each line, its record, and the digest before it."""
    parts = data.split(b"\n")
    expected = [(part, True) for part in parts[:-1]] + ([(parts[-1], False)] if parts[-1] else [])
    place = 0
    for number, (line, (part, ended)) in enumerate(zip(lines_of([data]), expected, strict=True), 1):
        assert (line.number, line.ended) == (number, ended)
        assert line.digest == hashlib.sha256(data[:place]).hexdigest()
        place += len(part) + 1
        try:
            record = json.loads(part.decode())
        except ValueError:
            record = None
        if isinstance(record, dict):
            assert line.record == record
        else:
            assert line.record is None
            assert line.fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "not JSON"),
        (b"log line", "not JSON"),
        (b'{"name":"a"', "not JSON"),
        (b'"text"', "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"name":"\xe9"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
def test_a_line_that_is_no_record_says_why(text, fault):
    [line] = lines_of([text + b"\n"])
    assert line.record is None
    assert line.fault == f"it is {fault}"


def test_only_a_line_feed_ends_a_line():
    data = b'{"a":"\xe2\x80\xa8\xc2\x85"}\r\n{"b":"\\u000b"}\x0c\n'
    assert [line.record for line in lines_of([data])] == [{"a": "\u2028\x85"}, None]


@pytest.mark.parametrize("name", ["digest", "é", 'a"b\\c', "\u2028", "\ud800"])
def test_a_broken_line_still_shows_its_name(name):
    whole = wire.value_line(name, "value", "task")
    [line] = lines_of([whole[:-9]])
    assert line.record is None
    assert line.name == name
    [line] = lines_of([whole])
    assert line.name == name


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.lists(st.integers(0, 5000), max_size=6)
)
def test_the_value_of_a_line_too_long_is_measured_in_its_own_bytes(text, cuts):
    """Guarantee 2: limits count the value's bytes, in a line too long to keep as well."""
    value = text * (700 // len(text.encode()) + 1)
    for line in (
        wire.value_line("big", value, "task"),
        json.dumps({"name": "big", "value": value, "type": "task"}, separators=(",", ":")).encode() + b"\n",
    ):
        for chunks in ([line], pieces(line, cuts), [bytes([byte]) for byte in line]):
            [got] = lines_of(chunks, longest=600)
            assert got.record is None
            assert got.name == "big"
            assert got.value_bytes == len(value.encode())


def test_behind_a_line_too_long_no_digest_is_given():
    first, second = lines_of([b"x" * 20 + b"\n{}\n"], longest=10)
    assert first.fault == "it is longer than 10 bytes"
    assert (second.record, second.digest) == ({}, "")


def test_a_line_of_exactly_the_longest_is_kept():
    text = b'{"a":"' + b"x" * 92 + b'"}'
    assert len(text) == 100
    assert lines_of([text + b"\n"], longest=100)[0].record is not None
    assert lines_of([text + b"\n"], longest=99)[0].record is None


# Memory and reading.


def endless(pulled, piece):
    while True:
        pulled.append(len(piece))
        yield piece


def test_reading_stops_at_the_first_byte_too_many():
    """Guarantee 3: stop reading at the first byte too many."""
    pulled = []
    lines = LogLines(endless(pulled, b"x" * 1000), longest=100, limit=50_000)
    assert len(list(lines)) == 1
    assert lines.over
    assert lines.total == 50_000
    assert sum(pulled) == 51_000


def test_a_log_of_exactly_the_limit_is_not_over():
    lines = LogLines([b"{}\n" * 10], longest=100, limit=30)
    assert len(list(lines)) == 10
    assert not lines.over


@pytest.mark.parametrize(
    "piece", [b"x" * 65_536, b"\\u00e9" * 10_000, b'{"name":"a","value":"' + b"x" * 65_536]
)
def test_a_line_of_64_mebibytes_takes_no_more_memory_than_the_longest_line_may_have(piece):
    """Guarantee 3: memory stays bounded by the limits, whatever a pod prints."""
    count = 64 * 1024 * 1024 // len(piece)
    tracemalloc.start()
    try:
        [line] = lines_of((piece for _ in range(count)), longest=100_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert line.record is None
    assert peak < 2 * 1024 * 1024
