"""Reading a results sidecar's log: in one pass, in bounded memory, one bad line at a time."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Line", "LogLines"]

_PREFIX: Final = 1024
"""Bytes kept of a line that is too long to keep, so that the result it speaks of can be named."""

_NAME: Final = re.compile(rb'\{"name":("(?:[^"\\]|\\.)*")')
_VALUE: Final = b'"value":"'
_ESCAPES: Final = re.compile(rb'\\u([0-9a-fA-F]{4})|\\[^u]|"')
_FIRST_HALVES: Final = range(0xD800, 0xDC00)
_SECOND_HALVES: Final = range(0xDC00, 0xE000)
_ALONE: Final = re.compile(
    rb"(unable to retrieve container logs for |container status is nil\Z|failed to get container status |"
    rb"failed to try resolving symlinks in path |failed to create fsnotify watcher: |"
    rb"failed to watch directory |failed to get parse function: |rpc error: code = )"
)
"""How errors begin that a kubelet finds before it has read any line (GetContainerLogs of
pkg/kubelet/kuberuntime, ReadLogs of k8s.io/cri-client/pkg/logs), or between two."""

_ANYWHERE: Final = re.compile(
    rb'(failed to (?:open|read|reset seek in|seek -?[0-9]+ in|tail -?[0-9]+ lines of) log file) "[^"\\]'
)
"""How errors begin that it finds while it reads; it may have written half a line before. No record of a
sidecar can hold this: in a JSON text the quote has a backslash before it."""

_UNFINISHED: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")


@dataclass(slots=True)
class Line:
    """One line of the log.

    Attributes:
        number: From 1.
        record: The JSON object it is, if it is one.
        fault: Why it is none.
        name: The result it speaks of, as far as that can be told.
        value_bytes: Of a line too long to keep, the bytes of its value.
        digest: SHA-256, in hexadecimal, of all bytes before this line.
        ended: Whether a line end follows it.
        kubelet_error: What the kubelet says in place of the rest of the log, if it is that.
    """

    number: int
    record: dict[str, Any] | None
    fault: str = ""
    name: str | None = None
    value_bytes: int | None = None
    digest: str = ""
    ended: bool = True
    kubelet_error: str = ""


class LogLines:
    """Splits a log into lines and says of each what it is. Iterate once.

    Args:
        chunks: The log's bytes, in pieces of any size.
        longest: Bytes of the longest line that is kept; a longer one is only measured.
        limit: Bytes of the whole log that are read; at one more, reading stops.

    Attributes:
        limit: As given.
        total: Bytes read.
        over: Whether the log has more bytes than ``limit``.
    """

    def __init__(self, chunks: Iterable[bytes], *, longest: int, limit: int) -> None:
        self._chunks = chunks
        self._longest = longest
        self.limit = limit
        self._sha = hashlib.sha256()
        self._whole = True
        self.total = 0
        self.over = False

    def __iter__(self) -> Iterator[Line]:
        held = _Held(self._longest)
        number = 0
        for chunk in self._bounded():
            start = 0
            while (end := chunk.find(b"\n", start)) >= 0:
                held.add(chunk[start:end])
                number += 1
                yield self._line(held, number, ended=True)
                held = _Held(self._longest)
                start = end + 1
            held.add(chunk[start:])
        if held.size:
            yield self._line(held, number + 1, ended=False)

    def _bounded(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            room = self.limit - self.total
            self.total += min(len(chunk), room)
            yield chunk[:room]
            if len(chunk) > room:
                self.over = True
                return

    def _line(self, held: "_Held", number: int, *, ended: bool) -> Line:
        # A sidecar with a digest prints no line that is too long to keep: behind one, no digest holds.
        digest = self._sha.hexdigest() if self._whole else ""
        if held.counter is not None:
            self._whole = False
            fault = f"it is longer than {self._longest} bytes"
            return Line(number, None, fault, _name_in(held.prefix), held.counter.size, digest, ended)
        text = bytes(held.kept)
        self._sha.update(text + b"\n" if ended else text)
        record, fault = _decode(text)
        name = record.get("name") if record is not None else _name_in(text[:_PREFIX])
        error = "" if ended or record is not None else _kubelet_error(text)
        return Line(
            number,
            record,
            fault,
            name if isinstance(name, str) else None,
            digest=digest,
            ended=ended,
            kubelet_error=error,
        )


class _Held:
    """One line in the making: kept up to a length, beyond it only measured."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self.kept = bytearray()
        self.prefix = b""
        self.size = 0
        self.counter: _ValueCounter | None = None

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.counter is not None:
            self.counter.feed(piece)
            return
        self.kept += piece
        if len(self.kept) > self._longest:
            self.prefix = bytes(self.kept[:_PREFIX])
            self.counter = _ValueCounter()
            self.counter.feed(bytes(self.kept))
            self.kept = bytearray()


class _ValueCounter:
    """Counts the UTF-8 bytes of the JSON string behind ``"value":`` as its text streams by."""

    def __init__(self) -> None:
        self.size: int | None = None
        self._rest = b""
        self._closed = False

    def feed(self, piece: bytes) -> None:
        if self._closed:
            return
        text = self._rest + piece
        start = 0
        if self.size is None:
            start = text.find(_VALUE)
            if start < 0:
                self._closed = True  # the first piece is longer than any name: there is no value
                return
            start += len(_VALUE)
            self.size = 0
        place = start
        for match in _ESCAPES.finditer(text, start):
            self.size += match.start() - place
            place = match.end()
            if match[0] == b'"':
                self._closed = True
                return
            self.size += _escaped_bytes(match[1])
        tail = _UNFINISHED.search(text, place)
        stop = tail.start() if tail else len(text)
        self.size += stop - place
        self._rest = text[stop:]


def _escaped_bytes(code: bytes | None) -> int:
    """UTF-8 bytes of an escape, a pair of surrogates counted with its first half."""
    if code is None:
        return 1
    point = int(code, 16)
    if point in _FIRST_HALVES:
        return 4
    return 0 if point in _SECOND_HALVES else len(chr(point).encode())


def _kubelet_error(text: bytes) -> str:
    """What the kubelet's error is that a log ends with; "" if it ends with none.

    A kubelet answers with HTTP 200 before it looks for the log, and can then only write its error where the
    log would go on, without a line end. A sidecar ends each of its lines. Only the error's fixed words are
    returned: what follows them may quote the log.
    """
    found = _ALONE.match(text) or _ANYWHERE.search(text)
    return found[1].decode().strip().rstrip(":") if found else ""


def _decode(text: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        record = json.loads(text.decode())
    except UnicodeDecodeError:
        return None, "it is not UTF-8"
    except (ValueError, RecursionError):
        return None, "it is not JSON"
    return (record, "") if isinstance(record, dict) else (None, "it is no JSON object")


def _name_in(text: bytes) -> str | None:
    """The name that a broken line still shows at its beginning."""
    if (match := _NAME.match(text)) is None:
        return None
    try:
        name = json.loads(match[1].decode())
    except ValueError:
        return None
    return name if isinstance(name, str) else None
