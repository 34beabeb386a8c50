"""What the sidecar prints: one JSON object a line, made here and nowhere else.

Wire 1, in this order:

1. `start`, when the sidecar is ready to wait.
2. When the Steps have ended, one record for every declared result, Task results first, and then for
   provenance of artifacts (`ARTIFACTS`): its value, or `absent` (no Step wrote it), or `refused` with the
   reason.
3. Where results are signed (`ENV_SIGNING`), `signature`: an envelope over all of them, or why it is missing.
4. `end`, with the number of lines before it and the SHA-256 of all their bytes.

An `error` record is the sidecar's own failure; no `end` follows it, and it may be the first line.

A value may stand elsewhere than in its record: under a key of what carries the records (`kept_line`), or in
a store (`reference_line`). Its digest is in the record all the same.

Wire 2 is wire 1 in which a value may be compressed (`compression`). Its record then has an `encoding`, and
the bytes of the value as it was written; the digest is that of the value as it was written, too.

Wire 0 is Tekton's: value lines only, without the digest. It cannot say that a result was refused.

The reader imports its constants from here. There is no parser here: that is the reader's.
"""

from .digest import sha256

TYPE_CHECKING = False  # typing itself would cost the sidecar's start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from json.encoder import encode_basestring as _quoted
else:
    try:
        from _json import encode_basestring as _quoted  # json itself costs 3 ms, most of it for parsing
    except ImportError:
        from json.encoder import encode_basestring as _quoted

TEKTON = 0
WIRE = 1
COMPRESSED = 2
WIRES = (TEKTON, WIRE, COMPRESSED)

GZIP = "gzip"
"""Wire 2: encoding of a compressed value, RFC 1952; in a record its bytes are base64."""

ENV_WIRE = "RESULTSFW_WIRE"
ENV_MAX_RESULT_SIZE = "RESULTSFW_MAX_RESULT_SIZE"
ENV_MAX_RUN_SIZE = "RESULTSFW_MAX_RUN_SIZE"
ENV_POD_UID = "RESULTSFW_POD_UID"
ENV_TEKTON_ROOT = "RESULTSFW_TEKTON_ROOT"
ENV_TERMINATION_LOG = "RESULTSFW_TERMINATION_LOG"
ENV_WATCH = "RESULTSFW_WATCH"
ENV_LINGER = "RESULTSFW_LINGER"
ENV_TRANSPORT = "RESULTSFW_TRANSPORT"
ENV_TASK_ARTIFACTS = "RESULTSFW_TASK_ARTIFACTS"
ENV_SIGNING = "RESULTSFW_SIGNING"
"""JSON: for which run, and with whose identity, results are signed; only some images can."""
ENV_POLLING_INTERVAL = "SIDECAR_LOG_POLLING_INTERVAL"

CEILING = 1_572_864
"""Bytes one value, and all together, may have: what one API object holds (1.5 MiB)."""

TYPE_START = "start"
TYPE_TASK = "task"
TYPE_STEP = "step"
TYPE_STEP_ARTIFACT = "stepArtifact"
"""Wire 0: type of the line with a Step's artifacts; its name is that of the Step's container."""
TYPE_TASK_ARTIFACT = "taskArtifact"
"""Wire 0: type of the line with the Task's artifacts, which Tekton's reader takes and no sidecar prints."""
TYPE_ABSENT = "absent"
TYPE_REFUSED = "refused"
TYPE_SIGNATURE = "signature"
"""Wire 1: type of the record with the envelope over all results, printed only where `ENV_SIGNING` asks for
it: an older reader would take the line for a damaged one."""
TYPE_ERROR = "error"
TYPE_END = "end"

ARTIFACTS = "artifacts/provenance.json"
"""Wire 1: name of the record with provenance of the Task's artifacts; a Step's has `step-build.` before it.
No result can have this name. An older reader ignores the record."""

WATCH_INOTIFY = "inotify"
WATCH_POLL = "poll"
WATCH_SIGNAL = "signal"

WHY_STEPS_DONE = "steps-done"
WHY_STEP_FAILED = "step-failed"
WHY_STEP_BLOCKED = "step-blocked"
WHY_STOPPED = "stopped"

TOO_LARGE = "TooLarge"
RUN_TOO_LARGE = "RunTooLarge"
NOT_UTF8 = "NotUtf8"
NOT_REGULAR_FILE = "NotRegularFile"
OUTSIDE_FOLDER = "OutsideFolder"
UNREADABLE = "Unreadable"
TRANSPORT_FULL = "TransportFull"
"""Wire 2: what carries the values has no room for it, although the run's limit has."""

BAD_FLAG = "BadFlag"
BAD_ENVIRONMENT = "BadEnvironment"
NO_RUN_FOLDER = "NoRunFolder"
UNDELIVERED = "Undelivered"
INTERNAL = "Internal"

NAME_LIMIT = 255
"""Bytes a file name has at most on Linux; a result's longer name is refused before any open."""

MESSAGE_LIMIT = 300
"""Characters of a message; a longer one is cut, so that every line has an upper bound."""

_PIECE = 65_536  # bytes of a value escaped at once: what bounds the memory of a large line
_THREES = 49_152  # bytes written as base64 at once: a multiple of three, so that the pieces are one text
_WIDEST = 6  # bytes JSON needs at most for one byte (\u0001) or one character
_FRAME = 512  # keys, punctuation, digest and numbers of any record


def start_line(pod: str, watch: str, *, wire: int = WIRE) -> bytes:
    """Returns the first record.

    Args:
        pod: The pod's uid, or nothing.
        watch: `WATCH_INOTIFY`, `WATCH_POLL` or `WATCH_SIGNAL`.
        wire: `WIRE` or `COMPRESSED`.
    """
    return _line(f'{{"type":"start","wire":{wire},"pod":{_quoted(pod)},"watch":{_quoted(watch)}}}')


def value_line(name: str, value: bytes | str, of: str, *, wire: int = WIRE) -> bytes:
    """Returns the record of one value.

    Args:
        name: The result's name; a Step's is `step-build.digest`.
        value: Its UTF-8 bytes, or the text.
        of: `TYPE_TASK` or `TYPE_STEP`; in wire 0 also `TYPE_STEP_ARTIFACT`.
        wire: `TEKTON` for a line without digest.

    Raises:
        UnicodeError: The value is not UTF-8, or the text cannot be.
    """
    return b"".join(value_pieces(name, value.encode() if isinstance(value, str) else value, of, wire=wire))


def value_pieces(name: str, value: bytes, of: str, *, wire: int = WIRE) -> "Iterator[bytes]":
    """Yields the same record in pieces, which never need several times the value's memory at once."""
    head = f'{{"name":{_quoted(name)},"value":'
    digest = f',"sha256":"{value_digest(of, name, value)}"' if wire else ""
    tail = f',"type":{_quoted(of)}{digest}}}'
    if len(value) <= _PIECE:
        yield _line(head + _quoted(value.decode()) + tail)
        return
    yield _bytes(head + '"')
    for text in text_pieces(value):
        yield _quoted(text)[1:-1].encode()
    yield _line('"' + tail)


def value_digest(of: str, name: str, value: bytes) -> str:
    """Returns the digest in a value's record: SHA-256, in hexadecimal, over type, name and value.

    Type and name count too, so that a damaged record cannot hand one result's value to another.
    """
    hashed = sha256(f"{of}\0{name}\0".encode("utf-8", "surrogatepass"))
    hashed.update(value)
    return hashed.hexdigest()


def text_pieces(value: bytes) -> "Iterator[str]":
    """Yields a value's text in pieces.

    Raises:
        UnicodeDecodeError: It is not UTF-8; `start` counts from the value's first byte.
    """
    at = 0
    while at < len(value):
        # A character may lie across the border: it has up to three bytes on the other side.
        stop = at + _PIECE
        while stop < len(value) and stop > at + _PIECE - 4 and value[stop] & 0xC0 == 0x80:  # noqa: PLR2004 - UTF-8
            stop -= 1
        piece = value[at:stop]
        try:
            yield piece.decode()
        except UnicodeDecodeError as error:
            raise UnicodeDecodeError("utf-8", value, at + error.start, at + error.end, error.reason) from None
        at = stop


def compressed_pieces(name: str, value: bytes, packed: bytes, of: str) -> "Iterator[bytes]":
    """Yields the record of a compressed value in pieces.

    Args:
        name: The result's name.
        value: Its UTF-8 bytes, for size and digest.
        packed: The same compressed, as `GZIP` is.
        of: `TYPE_TASK` or `TYPE_STEP`.
    """
    from binascii import b2a_base64  # noqa: PLC0415 - for few runs

    yield _bytes(f'{{"name":{_quoted(name)},"data":"')
    for at in range(0, len(packed), _THREES):
        yield b2a_base64(packed[at : at + _THREES], newline=False)
    yield _line(
        f'","encoding":"{GZIP}","bytes":{len(value)},"type":{_quoted(of)}'
        f',"sha256":"{value_digest(of, name, value)}"}}'
    )


def kept_line(name: str, value: bytes, of: str, key: str, encoding: str = "") -> bytes:
    """Returns the record of a value that is kept beside the records.

    Args:
        name: The result's name.
        value: Its UTF-8 bytes, for the digest.
        of: `TYPE_TASK` or `TYPE_STEP`.
        key: The key of the value there.
        encoding: `GZIP` if the value is compressed there.
    """
    encoded = f',"encoding":{_quoted(encoding)}' if encoding else ""
    return _line(
        f'{{"name":{_quoted(name)},"key":{_quoted(key)}{encoded},"type":{_quoted(of)}'
        f',"bytes":{len(value)},"sha256":"{value_digest(of, name, value)}"}}'
    )


def reference_line(
    name: str, of: str, *, location: str, size: int, digest: str, media_type: str, encryption: str = ""
) -> bytes:
    """Returns the record of a value that was stored elsewhere.

    Args:
        name: The result's name.
        of: `TYPE_TASK` or `TYPE_STEP`.
        location: Where, in the terms of the backend, without credentials.
        size: Bytes of the value.
        digest: `sha256:` and the hexadecimal digest of the stored bytes.
        media_type: Of the value.
        encryption: How the stored bytes are decrypted; empty if they are the value.
    """
    proof = value_digest(of, name, reference_text(location, size, digest, media_type, encryption).encode())
    how = f',"encryption":{_quoted(encryption)}' if encryption else ""
    return _line(
        f'{{"name":{_quoted(name)},"location":{_quoted(location)},"bytes":{size},"digest":{_quoted(digest)}'
        f',"media":{_quoted(media_type)}{how},"type":{_quoted(of)},"sha256":"{proof}"}}'
    )


def reference_text(location: str, size: int, digest: str, media_type: str, encryption: str = "") -> str:
    """Returns the text over which the digest of a reference's record is taken, in place of a value."""
    text = f"{location}\0{size}\0{digest}\0{media_type}"
    return f"{text}\0{encryption}" if encryption else text


def absent_line(name: str, of: str) -> bytes:
    """Returns the record of a declared result that no Step wrote."""
    return _line(f'{{"name":{_quoted(name)},"type":"absent","of":{_quoted(of)}}}')


def refused_line(
    name: str, of: str, reason: str, message: str, *, size: int | None = None, limit: int | None = None
) -> bytes:
    """Returns the record of a result that was written and is not printed.

    Args:
        name: The result's name.
        of: `TYPE_TASK` or `TYPE_STEP`.
        reason: One of `TOO_LARGE` to `UNREADABLE`.
        message: The same for a person.
        size: The bytes it has, or the run would have; none where that makes no sense.
        limit: The bytes allowed, likewise.
    """
    return _line(
        f'{{"name":{_quoted(name)},"type":"refused","of":{_quoted(of)},"reason":{_quoted(reason)}'
        f',"bytes":{_number(size)},"limit":{_number(limit)},"message":{_quoted(_truncate(message))}}}'
    )


def signature_line(envelope: str, tekton: "Mapping[str, str] | None" = None) -> bytes:
    """Returns the record with the signature over all results, the last but the end record.

    Args:
        envelope: The text of a DSSE envelope.
        tekton: Tekton's keys and their values, if they are asked for.
    """
    keys = ",".join(f"{_quoted(key)}:{_quoted(value)}" for key, value in (tekton or {}).items())
    also = f',"tekton":{{{keys}}}' if tekton else ""
    return _line(f'{{"type":"signature","envelope":{_quoted(envelope)}{also}}}')


def signature_fault_line(fault: str) -> bytes:
    """Returns the record that takes the signature's place if there is none.

    Args:
        fault: A reason such as `NoIdentity`, a colon and a message for people.
    """
    return _line(f'{{"type":"signature","fault":{_quoted(_truncate(fault))}}}')


def error_line(reason: str, message: str) -> bytes:
    """Returns the record of the sidecar's own failure; the last of its log."""
    return _line(f'{{"type":"error","reason":{_quoted(reason)},"message":{_quoted(_truncate(message))}}}')


def end_line(pod: str, count: int, digest: str, why: str, *, wire: int = WIRE) -> bytes:
    """Returns the last record.

    Args:
        pod: The pod's uid, or nothing.
        count: The lines before this one.
        digest: SHA-256 of all their bytes, in hexadecimal.
        why: One of `WHY_STEPS_DONE`, `WHY_STEP_FAILED`, `WHY_STOPPED`.
        wire: `WIRE` or `COMPRESSED`.
    """
    return _line(
        f'{{"type":"end","wire":{wire},"pod":{_quoted(pod)},"count":{count}'
        f',"sha256":{_quoted(digest)},"why":{_quoted(why)}}}'
    )


def max_line_bytes(limit: int, name_bytes: int = 2 * NAME_LIMIT + 1) -> int:
    """Returns the bytes that no record exceeds, line end included.

    Args:
        limit: Bytes a value may have.
        name_bytes: Bytes of the longest name; only a longer one than the default makes a longer line.
    """
    return _WIDEST * (limit + name_bytes + MESSAGE_LIMIT) + _FRAME


def _line(text: str) -> bytes:
    return _bytes(text + "\n")


def _bytes(text: str) -> bytes:
    # A lone surrogate (a name that is not UTF-8) has no bytes; as \udc80 it is valid JSON.
    return text.encode("utf-8", "backslashreplace")


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


def _truncate(message: str) -> str:
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
