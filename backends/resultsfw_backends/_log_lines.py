"""Read a results sidecar's log in one pass and in bounded memory; a bad line affects only itself."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Line", "LogLines"]

_PREFIX: Final = 1024
"""Bytes kept of a line that is too long to keep, so that its result can be named."""

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
"""Beginnings of errors that a kubelet finds before or between lines (GetContainerLogs of
pkg/kubelet/kuberuntime, ReadLogs of k8s.io/cri-client/pkg/logs)."""

_ANYWHERE: Final = re.compile(
    rb'(failed to (?:open|read|reset seek in|seek -?[0-9]+ in|tail -?[0-9]+ lines of) log file) "[^"\\]'
)
"""Beginnings of errors that a kubelet finds while it reads; it may have written half a line before. No record
of a sidecar can contain this: in a JSON text the quote has a backslash before it."""

_UNFINISHED: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")


@dataclass(slots=True)
class Line:
    """One line of the log.

    Attributes:
        number: From 1.
        record: Its JSON object; ``None`` if it is not one.
        fault: Why it is not a JSON object.
        name: The name of its result, if it can be read.
        value_bytes: For a line too long to keep, the bytes of its value.
        digest: SHA-256, in hexadecimal, of all bytes before this line.
        ended: Whether a line end follows it.
        kubelet_error: The kubelet's error in place of the rest of the log; "" if there is none.
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
    """Split a log into lines and decode each. Iterate once.

    Args:
        chunks: The log's bytes, in pieces of any size.
        longest: Maximum bytes of a line that is kept; a longer line is only measured.
        limit: Maximum bytes of the log; at one more, reading stops.

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
        self._all_kept = True
        self.total = 0
        self.over = False

    def __iter__(self) -> Iterator[Line]:
        partial = _PartialLine(self._longest)
        number = 0
        for chunk in self._bounded():
            start = 0
            while (end := chunk.find(b"\n", start)) >= 0:
                partial.add(chunk[start:end])
                number += 1
                yield self._line(partial, number, ended=True)
                partial = _PartialLine(self._longest)
                start = end + 1
            partial.add(chunk[start:])
        if partial.size:
            yield self._line(partial, number + 1, ended=False)

    def _bounded(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            rest = self.limit - self.total
            self.total += min(len(chunk), rest)
            yield chunk[:rest]
            if len(chunk) > rest:
                self.over = True
                return

    def _line(self, partial: "_PartialLine", number: int, *, ended: bool) -> Line:
        # A sidecar with digests prints no line that is too long; after such a line no digest is valid.
        digest = self._sha.hexdigest() if self._all_kept else ""
        if partial.counter is not None:
            self._all_kept = False
            fault = f"it is longer than {self._longest} bytes"
            return Line(number, None, fault, _name_in(partial.prefix), partial.counter.size, digest, ended)
        text = bytes(partial.kept)
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


class _PartialLine:
    """Collect the pieces of one line: keep them up to a length, beyond it only measure."""

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
    """Count the UTF-8 bytes of the JSON string after ``"value":`` as its pieces arrive."""

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
                self._closed = True  # the first piece is longer than any name: the line has no value
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
    """Return the UTF-8 bytes of an escape; a surrogate pair counts with its first half."""
    if code is None:
        return 1
    point = int(code, 16)
    if point in _FIRST_HALVES:
        return 4
    return 0 if point in _SECOND_HALVES else len(chr(point).encode())


def _kubelet_error(text: bytes) -> str:
    """Return the kubelet's error at the end of a log; "" if there is none.

    A kubelet answers with HTTP 200 before it opens the log, and can then only write its error in place of the
    rest of the log, without a line end. A sidecar ends each of its lines. Only the error's fixed words are
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
    return (record, "") if isinstance(record, dict) else (None, "it is not a JSON object")


def _name_in(text: bytes) -> str | None:
    """Return the name at the beginning of a broken line, if it is complete."""
    if (match := _NAME.match(text)) is None:
        return None
    try:
        name = json.loads(match[1].decode())
    except ValueError:
        return None
    return name if isinstance(name, str) else None
