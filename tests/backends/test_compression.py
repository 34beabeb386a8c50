"""Compressed values arrive as they were written, or the run ends and says why; hostile ones stay bounded."""

import base64
import gzip
import hashlib
import json
import tracemalloc
import zlib
from types import SimpleNamespace

import pytest
from configmaps import Life
from configmaps import values_of as config_map_values
from hypothesis import given, settings
from hypothesis import strategies as st
from sidecarlogs import UID, a_pod, a_run, codes, collect, prepared, values_of

from resultsfw import ProblemCode, ResultsManager
from resultsfw.errors import FlagError
from resultsfw.limits import OBJECT_BYTES
from resultsfw.testing.corruption import CORRUPTIONS, change_types
from resultsfw_sidecar import compression, wire
from resultsfw_sidecar.transports import LogTransport

LIMIT = 20_000
RUN = a_run("a", "b", own=["one.a"])


def record(name, value, of="task"):
    """The record that the sidecar prints of a value under wire 2."""
    transport = LogTransport()
    transport._environment = SimpleNamespace(wire=wire.COMPRESSED)
    return b"".join(transport.record(SimpleNamespace(name=name, of=of), value))


def log_of(*lines, uid=UID):
    before = wire.start_line(uid, wire.WATCH_INOTIFY, wire=wire.COMPRESSED) + b"".join(lines)
    digest = hashlib.sha256(before).hexdigest()
    end = wire.end_line(uid, before.count(b"\n"), digest, wire.WHY_STEPS_DONE, wire=wire.COMPRESSED)
    return before + end


def collected(*lines, run=RUN, size=LIMIT, speaks=wire.COMPRESSED):
    return collect(run, log_of(*lines), size=size, speaks=speaks)


def packed(value):
    """A value as another program compresses it, at any time the same."""
    return gzip.compress(value, mtime=0)


def forged(value=b"", data=None, **changed):
    """A record with the right digest of a value, and whatever else is given."""
    fields = {
        "name": "a",
        "data": base64.b64encode(packed(value) if data is None else data).decode(),
        "encoding": "gzip",
        "bytes": len(value),
        "type": "task",
        "sha256": wire.value_digest("task", "a", value),
    }
    return json.dumps(fields | changed).encode() + b"\n"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=80), min_size=2, max_size=2), st.integers(1, 60))
def test_any_value_arrives_as_it_was_written(texts, times):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "LEAST", 1)
        values = [(text * times).encode() for text in texts]
        lines = record("a", values[0]), record("step-one.a", values[1], "step")
        outcome = collected(*lines, wire.absent_line("b", "task"))
    assert values_of(outcome) == {"a": texts[0] * times, "one.a": texts[1] * times}
    assert outcome.ok


TRUE = {"a": "a line of a report\n" * 60, "b": '{"é": "x"}' * 120}
TRUE_LINES = [record(name, value.encode()) for name, value in TRUE.items()]
LOG = log_of(*TRUE_LINES, wire.absent_line("step-one.a", "step"))
OTHER = log_of(record("a", b"of another" * 200), record("b", b"run " * 300), uid="another")


def judge(log):
    """Hold what the reader promises of damaged bytes."""
    outcome = collect(RUN, log, size=LIMIT, speaks=wire.COMPRESSED)
    assert outcome.problems or values_of(outcome) == TRUE


def test_the_log_that_is_damaged_here_is_sound():
    outcome = collect(RUN, LOG, size=LIMIT, speaks=wire.COMPRESSED)
    assert (values_of(outcome), outcome.problems) == (TRUE, ())
    assert all(b'"encoding":"gzip"' in line for line in TRUE_LINES)
    [usage] = outcome.transports
    assert (usage.used, usage.written) == (len(LOG), sum(len(text.encode()) for text in TRUE.values()))
    assert usage.used < usage.written


@settings(deadline=None, max_examples=100)
@given(st.integers(0, len(LOG) - 1), st.integers(1, 255))
def test_a_changed_byte_is_a_problem_or_changes_nothing(place, difference):
    judge(LOG[:place] + bytes([LOG[place] ^ difference]) + LOG[place + 1 :])


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_damage_of_any_kind_is_a_problem(kind):
    for number, log in enumerate(CORRUPTIONS[kind](LOG, OTHER)):
        if number % 3 == 0:  # the whole of it is tried with values as they are
            judge(log)


def test_a_part_of_another_type_is_a_problem():
    """The end record's digest is right: only the record itself is wrong."""
    for line in change_types(TRUE_LINES[0]):
        outcome = collected(line + b"\n", TRUE_LINES[1], wire.absent_line("step-one.a", "step"))
        assert outcome.problems, line
        assert values_of(outcome) == {"b": TRUE["b"]}, line


TEXT = b"0123456789" * 200


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (forged(TEXT, packed(TEXT)[:-1]), "cut"),
        (forged(TEXT, packed(TEXT)[:40]), "cut"),
        (forged(TEXT, b""), "cut"),
        (forged(TEXT, packed(TEXT) + b"\0"), "something follows"),
        (forged(TEXT, packed(TEXT[:1000]) + packed(TEXT[1000:])), "has 1000 bytes"),
        (forged(TEXT, packed(TEXT) * 2), "something follows"),
        (forged(TEXT, zlib.compress(TEXT)), "cannot be decompressed"),
        (forged(TEXT, TEXT), "cannot be decompressed"),
        (forged(TEXT, packed(TEXT)[:-5] + b"\0\0\0\0\0"), "cannot be decompressed"),
        (forged(TEXT, bytes=1999), "more than the 1999 bytes"),
        (forged(TEXT, bytes=2001), "has 2000 bytes"),
        (forged(TEXT, bytes=0), "more than the 0 bytes"),
        (forged(TEXT, bytes=10**30), "none that a results sidecar writes"),
        (forged(TEXT, bytes=-1), "none that a results sidecar writes"),
        (forged(TEXT, bytes=True), "none that a results sidecar writes"),
        (forged(TEXT, bytes="2000"), "none that a results sidecar writes"),
        (forged(TEXT, encoding="zstd"), "none that a results sidecar writes"),
        (forged(TEXT, encoding=["gzip"]), "none that a results sidecar writes"),
        (forged(TEXT, packed(b"\xff" * 2000)), "not UTF-8"),
        (forged(TEXT, packed(b"y" * 2000)), "does not have its digest"),
        (forged(TEXT).replace(b'"data": "', b'"data": "!'), "not a string"),
    ],
)
def test_a_record_that_lies_is_named(line, why):
    [problem, *_] = collected(line, wire.absent_line("b", "task")).problems
    assert problem.code == ProblemCode.TRANSPORT_CORRUPT
    assert 'result "a"' in problem.message or "line 2" in problem.message
    assert why in problem.message


def test_a_declared_size_over_the_limit_is_named_and_not_decompressed(monkeypatch):
    bomb = zlib.compressobj(9, wbits=31)
    data = b"".join([*(bomb.compress(bytes(1_000_000)) for _ in range(30)), bomb.flush()])
    calls = []
    real = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", lambda *args: calls.append(args) or real(*args))
    for declared in (30_000_000, LIMIT + 1, 2**63 - 1):
        outcome = collected(forged(b"", data, bytes=declared), size=LIMIT)
        [problem] = [problem for problem in outcome.problems if (problem.step, problem.result) == (None, "a")]
        assert problem.code == ProblemCode.RESULT_TOO_LARGE
        assert str(declared) in problem.message
        assert str(LIMIT) in problem.message
    assert calls == []
    # With a size within the limit, no more than that is inflated.
    tracemalloc.start()
    try:
        outcome = collected(forged(b"", data, bytes=LIMIT), size=LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "more than the 20000 bytes" in outcome.problems[0].message
    assert peak < 1_000_000


def test_all_values_together_inflate_no_further_than_a_run_may_have(monkeypatch):
    """Whether they are of one result again and again, or of results that nobody declared."""
    inflated = []
    real = zlib.decompressobj

    def counting(wbits):
        stream = real(wbits)

        def decompress(data, most):
            plain = stream.decompress(data, most)
            inflated.append(len(plain))
            return plain

        return SimpleNamespace(decompress=decompress, eof=True, unused_data=b"")

    monkeypatch.setattr(zlib, "decompressobj", counting)
    half = b"x" * (OBJECT_BYTES // 2 + 1)
    names = ["a", "a", *(f"stranger-{number}" for number in range(5)), "b"]
    lines = [forged(half, name=name, sha256=wire.value_digest("task", name, half)) for name in names]
    outcome = collected(*lines, size=OBJECT_BYTES)
    assert sum(inflated) <= OBJECT_BYTES
    assert not outcome.ok
    [problem] = [problem for problem in outcome.problems if problem.result == "b"]
    assert (problem.code, problem.limit) == (ProblemCode.RUN_TOO_LARGE, OBJECT_BYTES)


def test_a_sidecar_of_wire_1_has_no_compressed_values():
    lines = TRUE_LINES[0], wire.absent_line("b", "task"), wire.absent_line("step-one.a", "step")
    outcome = collected(*lines, speaks=wire.WIRE)
    [problem] = outcome.problems
    assert (problem.code, problem.result) == (ProblemCode.TRANSPORT_CORRUPT, "a")
    assert "wire version 1 has no compressed values" in problem.message


def test_the_option_asks_for_the_wire_version_in_stamp_and_environment():
    for config, number in (("", "1"), ("compress: true", "2"), ("wire: tekton", "0")):
        pod, sidecar, _ = prepared(config)
        asked = [variable["value"] for variable in sidecar["env"] if variable["name"] == wire.ENV_WIRE]
        assert asked == ([number] if number != "0" else [])
        assert pod["metadata"]["annotations"]["resultsfw.dev/stamp"] == f"sidecar-logs/{number}"


def test_tektons_sidecar_cannot_compress():
    flags = {"results-from": "sidecar-logs", "config.sidecar-logs": "compress: true\nwire: tekton"}
    with pytest.raises(FlagError, match="Tekton's"):
        ResultsManager.from_flags(flags)


def test_a_sidecar_that_knows_no_compression_fails_the_run_by_name():
    """An older image prints this and ends, again and again, before any Step starts."""
    log = wire.error_line(wire.BAD_ENVIRONMENT, "RESULTSFW_WIRE: this sidecar knows 0 and 1, not '2'")
    outcome = collect(RUN, log, pod=a_pod(1), speaks=wire.COMPRESSED)
    assert codes(outcome) == [ProblemCode.TRANSPORT_INCOMPLETE]
    assert "this sidecar knows 0 and 1, not '2'" in outcome.problems[0].message


# In a ConfigMap.


def life(values, config="compress: true"):
    run = Life(values, config=config)
    return run, run.collect(run.ended(run.deliver()))


REPORT = b"".join(b'{"test":%d,"outcome":"passed"}\n' % number for number in range(48_000))[:1_400_000]


def test_a_config_map_takes_more_than_its_limit_if_it_is_written_compressed():
    values = {"report": REPORT, "step-one.small": b"s", "empty": b""}
    run, outcome = life(values)
    assert config_map_values(outcome) == {name: value.decode() for name, value in values.items()}
    assert outcome.problems == ()
    assert run.config_map["data"] == {"step-one.small": "s", "empty": ""}
    stored = base64.b64decode(run.config_map["binaryData"]["report"])
    assert gzip.decompress(stored) == REPORT
    [usage] = outcome.transports
    assert (usage.used, usage.budget, usage.written) == (len(stored) + 1, 1_048_576, len(REPORT) + 1)


def test_without_the_option_the_limit_is_that_of_the_config_map():
    run, outcome = life({"report": REPORT, "small": b"s"}, "")
    [problem] = outcome.problems
    assert (problem.result, problem.size, problem.limit) == ("report", len(REPORT), 1_048_576)
    assert config_map_values(outcome) == {"small": "s"}
    assert not run.config_map.get("binaryData")


def test_what_does_not_fit_compressed_is_named_with_its_bytes_and_the_rest_arrives():
    text = base64.b64encode(hashlib.shake_256(b"").digest(1_120_000))  # nothing in it repeats
    values = {"small": b"s" * 100, "noise": text, "last": b"l" * 200_000}
    _, outcome = life(values)
    assert config_map_values(outcome) == {"small": "s" * 100, "last": "l" * 200_000}
    [problem] = outcome.problems
    assert (problem.code, problem.result) == (ProblemCode.RUN_TOO_LARGE, "noise")
    assert (problem.limit, problem.size > problem.limit) == (1_048_576, True)
    assert f"its {len(text)} bytes" in problem.message
    assert "1048576" in problem.message


@pytest.mark.parametrize(
    "stored",
    [b"", b"\0", packed(b"y" * 5000), packed(b"x" * 4999), packed(bytes(10**7))],
)
def test_a_compressed_value_that_was_changed_is_named(stored):
    run = Life({"a": b"x" * 5000, "b": b"b"}, config="compress: true")
    message = run.deliver()
    found = run.config_map
    run.damage({**found, "binaryData": {"a": base64.b64encode(stored).decode()}})
    outcome = run.collect(run.ended(message))
    [problem] = outcome.problems
    assert (problem.code, problem.result) == (ProblemCode.TRANSPORT_CORRUPT, "a")
    assert config_map_values(outcome) == {"b": "b"}
