"""With wire 2, a value that becomes smaller is printed compressed, and its record says what was written."""

import base64
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw_sidecar import compression, wire
from resultsfw_sidecar.compression import LEAST, compress

TEXT = b"".join(b'{"line":%d,"state":"passed"}\n' % number for number in range(40_000))


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 2000))
def test_what_is_compressed_is_small_enough_and_any_reader_of_gzip_reads_it(value, times, most):
    value *= times
    packed = compress(value, most)
    if packed is None:
        assert len(value) < LEAST or len(gzip.compress(value, 6, mtime=0)) > most - 3
    else:
        assert len(packed) <= most
        assert gzip.decompress(packed) == value


def test_the_same_value_is_compressed_the_same():
    assert compress(TEXT, len(TEXT)) == compress(TEXT, len(TEXT))


def test_a_value_that_does_not_shrink_is_given_up_before_all_of_it_is_compressed(monkeypatch):
    monkeypatch.setattr(compression, "_PIECE", 10)
    assert compress(bytes(range(256)) * 4, 10) is None


@pytest.mark.parametrize("variant", [["module", "inotify"]])
def test_large_values_are_printed_compressed_and_others_as_they_are(pod):
    noise = base64.b64encode(bytes(number * 7919 % 251 ^ number >> 8 & 255 for number in range(900)))
    texts = {"large": TEXT[:1_400_000], "small": b"x" * (LEAST - 1), "noise": noise, "empty": b""}
    for name, text in texts.items():
        pod.write(name, text)
    pod.write("not-utf8", b"\xff" * 5000)
    log = pod.print(*texts, "none", "not-utf8", variables={"RESULTSFW_WIRE": "2"})
    assert log.status == 0
    assert [record["wire"] for record in (log.records[0], log.records[-1])] == [2, 2]
    by_name = {record["name"]: record for record in log.results}
    large = by_name["large"]
    assert list(large) == ["name", "data", "encoding", "bytes", "type", "sha256"]
    assert (large["encoding"], large["bytes"], large["type"]) == ("gzip", len(texts["large"]), "task")
    assert large["sha256"] == wire.value_digest("task", "large", texts["large"])
    assert gzip.decompress(base64.b64decode(large["data"])) == texts["large"]
    assert len(json.dumps(large)) * 4 < len(texts["large"])
    for name in ("small", "noise", "empty"):
        assert by_name[name]["value"].encode() == texts[name]
    assert by_name["none"]["type"] == "absent"
    assert by_name["not-utf8"]["reason"] == wire.NOT_UTF8


@pytest.mark.parametrize("variant", [["zipapp", "inotify"]])
def test_limits_count_what_was_written(pod):
    pod.write("a", b"x" * 4000)
    pod.write("b", b"x" * 4001)
    pod.write("c", b"x" * 3000)
    sizes = {"RESULTSFW_MAX_RESULT_SIZE": "4000", "RESULTSFW_MAX_RUN_SIZE": "5000"}
    log = pod.print("a", "b", "c", variables={"RESULTSFW_WIRE": "2", **sizes})
    a, b, c = log.results
    assert (a["encoding"], a["bytes"]) == ("gzip", 4000)
    assert (b["reason"], b["bytes"], b["limit"]) == (wire.TOO_LARGE, 4001, 4000)
    assert (c["reason"], c["bytes"], c["limit"]) == (wire.RUN_TOO_LARGE, 7000, 5000)


@pytest.mark.parametrize("variant", [["module", "inotify"]])
def test_memory_stays_within_the_request(pod):
    pod.write("big", TEXT[:1_572_864])
    pod.end_all()
    sidecar = pod.start("big", flags=["-kubernetes-sidecar-mode", "true"], variables={"RESULTSFW_WIRE": "2"})
    sidecar.until("end")
    assert sidecar.status("VmHWM") < 25_000
