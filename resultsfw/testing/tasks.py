"""Build the Tasks of the suite: what Steps write, the scripts that write it, and the declared results."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from resultsfw.cluster import Object
from resultsfw.types import ResultType, Value

__all__ = ["SPECIAL_FILES", "VALUE_MARK", "Write", "generated_content", "make_task"]

VALUE_MARK: Final = "s3cr3t-pa55"
"""Part of every value that is not empty: no message, error or log record may contain it."""

_FIRST: Final = 1_000_000
_LINE: Final = 8
_SAFE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;_/+=-")

Origin = tuple[str | None, str]
"""A result: the Step that declares it (``None``: the Task), and its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One declared result, and what a Step writes in place of its file.

    Attributes:
        name: The result's name.
        data: The file's bytes; ``None``: no Step writes it.
        type: The declared type.
        value: The value that must arrive; ``None``: the text.
        step: The Step that declares the result; ``None``: the Task does.
        special_file: What is made in place of a regular file: see `SPECIAL_FILES`.
        size: Bytes of `generated_content` to write instead of ``data``.
    """

    name: str
    data: bytes | None = None
    type: ResultType = "string"
    value: Value | None = None
    step: str | None = None
    special_file: Literal["", "fifo", "directory", "link"] = ""
    size: int = 0

    @property
    def origin(self) -> Origin:
        """Return the Step and the name."""
        return (self.step, self.name)

    @property
    def content(self) -> bytes | None:
        """Return the bytes that a Step writes."""
        return generated_content(self.size) if self.size else self.data

    @property
    def expected(self) -> Value | None:
        """Return the value that the status must contain; ``None``: no value."""
        content = self.content
        if self.special_file or content is None:
            return None
        try:
            return content.decode() if self.value is None else self.value
        except UnicodeDecodeError:
            return None

    def script(self) -> str:
        """Return the lines of a Step's script that write it."""
        where = f"$({'step.' if self.step else ''}results.{self.name}.path)"
        if self.special_file:
            return SPECIAL_FILES[self.special_file].format(where=where)
        if self.size:
            lines = f"{{ printf %s {VALUE_MARK}; seq {_FIRST} 9999999; }} 2> /dev/null"
            return f'{lines} | head -c {self.size} > "{where}"'
        return "" if self.data is None else f"printf '{_quoted(self.data)}' > \"{where}\""


SPECIAL_FILES: Final = {
    "fifo": 'mkfifo "{where}"',
    "directory": 'mkdir "{where}"',
    "link": f'printf {VALUE_MARK} > /workspace/elsewhere; ln -s /workspace/elsewhere "{{where}}"',
}
"""Shell commands that make something other than a regular file, which must be refused by name."""


@lru_cache(maxsize=16)
def generated_content(size: int) -> bytes:
    """Return ``size`` bytes without two equal lines, the mark first: what `Write.script` writes."""
    lines = b"".join(b"%d\n" % number for number in range(_FIRST, _FIRST + size // _LINE + 1))
    return (VALUE_MARK.encode() + lines)[:size]


def make_task(writes: Sequence[Write], *, blocked: bool = False, fails: bool = False) -> Object:
    """Return a Task whose Steps write these results: Step ``write`` the Task's, other Steps their own.

    Args:
        writes: Declared in this order.
        blocked: A last Step waits until there is a file ``/workspace/go``.
        fails: The first Step fails when it has written.
    """
    own = [write for write in writes if write.step is None]
    lines = [*(write.script() for write in own), "exit 3" if fails else ""]
    steps = [_step("write", lines)]
    for name in dict.fromkeys(write.step for write in writes if write.step is not None):
        theirs = [write for write in writes if write.step == name]
        steps.append(
            _step(name, [write.script() for write in theirs], results=[_declared(write) for write in theirs])
        )
    if blocked:
        steps.append(_step("hold", ["while [ ! -e /workspace/go ]; do sleep 0.02; done"]))
    return {"results": [_declared(write) for write in own], "steps": steps}


def _declared(write: Write) -> Object:
    declared: Object = {"name": write.name, "type": write.type}
    if isinstance(write.value, dict):
        declared["properties"] = {key: {"type": "string"} for key in write.value}
    return declared


def _step(name: str, lines: Sequence[str], **more: object) -> Object:
    script = "\n".join(["#!/bin/sh", *filter(None, lines), ""])
    return {"name": name, "image": "busybox:1", "script": script, **more}


def _quoted(data: bytes) -> str:
    """Return the bytes as a printf format without characters that a shell or Tekton interprets."""
    return "".join(chr(byte) if byte in _SAFE else f"\\{byte:03o}" for byte in data)
