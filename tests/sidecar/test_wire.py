"""The encoders: any bytes and any text come back as they were, and no line is longer than promised."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw_sidecar import wire

ANY = st.text(st.characters())
"""Any text, half characters included: names need not be UTF-8."""

WHOLE = st.text()
BYTES = st.one_of(WHOLE.map(str.encode), st.binary())


@settings(deadline=None)
@given(ANY, WHOLE, st.sampled_from([wire.TYPE_TASK, wire.TYPE_STEP]))
def test_value(name, value, of):
    line = wire.value_line(name, value, of)
    whole = of.encode() + b"\0" + name.encode("utf-8", "surrogatepass") + b"\0" + value.encode()
    digest = hashlib.sha256(whole).hexdigest()
    assert json.loads(line) == {"name": name, "value": value, "type": of, "sha256": digest}
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert len(line) <= wire.max_line_bytes(
        len(value.encode()), max(len(name.encode("utf-8", "replace")) * 3, 511)
    )
    assert line == wire.value_line(name, value.encode(), of)
    plain = wire.value_line(name, value, of, wire=wire.TEKTON)
    assert json.loads(plain) == {"name": name, "value": value, "type": of}


@settings(deadline=None)
@given(WHOLE, WHOLE)
def test_value_is_what_json_writes(name, value):
    expected = json.dumps(
        {"name": name, "value": value, "type": "task"}, ensure_ascii=False, separators=(",", ":")
    )
    assert wire.value_line(name, value, "task", wire=0).decode() == expected + "\n"


@pytest.mark.parametrize("piece", [4, 5, 7, 64])
@settings(deadline=None)
@given(BYTES)
def test_text_pieces_are_the_text(piece, value):
    """However small the pieces are, so that characters lie across their borders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_PIECE", piece)
        assert _outcome(lambda: "".join(wire.text_pieces(value))) == _outcome(value.decode)


def _outcome(decode):
    try:
        return decode()
    except UnicodeDecodeError as error:
        return error.start


@settings(deadline=None)
@given(st.integers(0, 300))
def test_longest_value_line(size):
    line = wire.value_line("\0" * 511, b"\x01" * size, "task")
    assert len(line) <= wire.max_line_bytes(size)


@settings(deadline=None)
@given(ANY, ANY, st.none() | st.integers(0, 2**63), st.none() | st.integers(0, 2**63))
def test_other_records(name, message, size, limit):
    lines = [
        wire.start_line(name, wire.WATCH_POLL),
        wire.absent_line(name, wire.TYPE_STEP),
        wire.refused_line(name, "task", wire.TOO_LARGE, message, size=size, limit=limit),
        wire.error_line(wire.INTERNAL, message),
        wire.end_line(name, 3, "00", wire.WHY_STOPPED),
    ]
    start, absent, refused, error, end = map(json.loads, lines)
    assert start == {"type": "start", "wire": 1, "pod": name, "watch": "poll"}
    assert absent == {"name": name, "type": "absent", "of": "step"}
    assert refused.pop("message")[:299] == message[:299]
    assert refused == {
        "name": name, "type": "refused", "of": "task", "reason": "TooLarge", "bytes": size, "limit": limit,
    }  # fmt: skip
    assert error["message"][:299] == message[:299]
    assert end == {"type": "end", "wire": 1, "pod": name, "count": 3, "sha256": "00", "why": "stopped"}
    assert [line.count(b"\n") for line in lines] == [1] * 5


def test_longest_refusal():
    line = wire.refused_line("\0" * 511, "task", "NotRegularFile", "\0" * 9999, size=2**63, limit=2**63)
    assert len(line) <= wire.max_line_bytes(0)


def test_value_that_is_not_utf8():
    with pytest.raises(UnicodeError):
        wire.value_line("a", b"\xff", "task")
    with pytest.raises(UnicodeError):
        wire.value_line("a", "\ud800", "task")


def test_import_is_light():
    """The start-up is a measured feature."""
    code = """if True:
        import sys
        sys.path.insert(0, sys.argv[1])
        import resultsfw_sidecar.program
        heavy = "json re typing dataclasses hashlib ctypes pathlib argparse signal enum"
        print([name for name in heavy.split() if name in sys.modules])
    """
    command = [sys.executable, "-IS", "-c", code, str(Path(wire.__file__).parents[1])]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"
