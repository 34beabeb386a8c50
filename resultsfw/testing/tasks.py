"""What the suite has Steps write: the bytes, the script that writes them, and the Task that declares them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from resultsfw.cluster import Object
from resultsfw.types import ResultType, Value

__all__ = ["MARK", "ODDITIES", "Write", "body", "task_of"]

MARK: Final = "s3cr3t-pa55"
"""Stands in every value that is not empty: no message, no error and no log record may ever show it."""

_FIRST: Final = 1_000_000
_LINE: Final = 8
_SAFE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;_/+=-")

Origin = tuple[str | None, str]
"""Whose result: of which Step (``None``: the Task's own), and its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One declared result, and what a Step puts where its file should be.

    Attributes:
        name: Of the result.
        data: The file's bytes; ``None``: no Step writes it.
        type: As declared.
        value: What must arrive, where that is not the text itself; ``None``: the text.
        step: The Step whose own result it is; ``None``: a result of the Task.
        odd: Not a file of its own: see `ODDITIES`.
        size: Bytes of `body` instead of ``data``.
    """

    name: str
    data: bytes | None = None
    type: ResultType = "string"
    value: Value | None = None
    step: str | None = None
    odd: Literal["", "fifo", "directory", "link"] = ""
    size: int = 0

    @property
    def origin(self) -> Origin:
        """As the core names it."""
        return (self.step, self.name)

    @property
    def content(self) -> bytes | None:
        """The bytes that a Step writes."""
        return body(self.size) if self.size else self.data

    @property
    def truth(self) -> Value | None:
        """What must stand in the status, by the suite's own knowledge; ``None``: nothing."""
        content = self.content
        if self.odd or content is None:
            return None
        try:
            return content.decode() if self.value is None else self.value
        except UnicodeDecodeError:
            return None

    def script(self) -> str:
        """The lines of a Step's script that write it."""
        where = f"$({'step.' if self.step else ''}results.{self.name}.path)"
        if self.odd:
            return ODDITIES[self.odd].format(where=where)
        if self.size:
            lines = f"{{ printf %s {MARK}; seq {_FIRST} 9999999; }} 2> /dev/null"
            return f'{lines} | head -c {self.size} > "{where}"'
        return "" if self.data is None else f"printf '{_quoted(self.data)}' > \"{where}\""


ODDITIES: Final = {
    "fifo": 'mkfifo "{where}"',
    "directory": 'mkdir "{where}"',
    "link": f'printf {MARK} > /workspace/elsewhere; ln -s /workspace/elsewhere "{{where}}"',
}
"""What stands in place of a file, and must be refused by name."""


@lru_cache(maxsize=16)
def body(size: int) -> bytes:
    """So many bytes in which no two lines are the same, the mark first; what `Write.script` writes."""
    lines = b"".join(b"%d\n" % number for number in range(_FIRST, _FIRST + size // _LINE + 1))
    return (MARK.encode() + lines)[:size]


def task_of(writes: Sequence[Write], *, held: bool = False, fails: bool = False) -> Object:
    """A Task whose Steps write all that: Step ``write`` the Task's results, others their own.

    Args:
        writes: Declared in this order.
        held: A last Step waits until there is a file ``/workspace/go``.
        fails: The first Step fails when it has written.
    """
    own = [one for one in writes if one.step is None]
    lines = [*(one.script() for one in own), "exit 3" if fails else ""]
    steps = [_step("write", lines)]
    for name in dict.fromkeys(one.step for one in writes if one.step is not None):
        theirs = [one for one in writes if one.step == name]
        steps.append(
            _step(name, [one.script() for one in theirs], results=[_declared(one) for one in theirs])
        )
    if held:
        steps.append(_step("hold", ["while [ ! -e /workspace/go ]; do sleep 0.02; done"]))
    return {"results": [_declared(one) for one in own], "steps": steps}


def _declared(one: Write) -> Object:
    declared: Object = {"name": one.name, "type": one.type}
    if isinstance(one.value, dict):
        declared["properties"] = {key: {"type": "string"} for key in one.value}
    return declared


def _step(name: str, lines: Sequence[str], **more: object) -> Object:
    script = "\n".join(["#!/bin/sh", *filter(None, lines), ""])
    return {"name": name, "image": "busybox:1", "script": script, **more}


def _quoted(data: bytes) -> str:
    """The bytes as a format of printf: nothing in it means anything to a shell, or to Tekton."""
    return "".join(chr(byte) if byte in _SAFE else f"\\{byte:03o}" for byte in data)
