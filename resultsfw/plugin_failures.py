"""Classify and locate what the code of a plugin raises, other than the errors of this package."""

import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

import pluggy

__all__ = ["INTERRUPTS", "ExcInfo", "describe_place", "is_programming_error", "traceback_in_plugin"]

INTERRUPTS: Final = (KeyboardInterrupt, GeneratorExit)
"""What somebody else raises within a hook: a person, and who closes a generator. All other exceptions are the
plugin's own, whatever they derive from: SystemExit, ``asyncio.CancelledError`` or the panic of a library in
Rust would silently end a worker thread.
"""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
"""An exception as ``logging`` takes it."""

_PROGRAMMING: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)

_CALLERS: Final = (Path(__file__).parent, Path(pluggy.__file__).parent)
"""Folders whose code calls hooks: of no interest to a plugin's author."""


def is_programming_error(error: BaseException) -> bool:
    """Return whether an exception is one that code raises by mistake: repeating does not help.

    Others may pass: those of the operating system, and those that libraries define.
    """
    if not isinstance(error, Exception):
        return True  # no error that anybody is to handle
    return isinstance(error, _PROGRAMMING) and not isinstance(error, OSError)


def traceback_in_plugin(error: BaseException) -> ExcInfo:
    """Return the exception with its traceback from the first frame of the plugin on."""
    found = error.__traceback__
    while found is not None and _is_of_a_caller(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return type(error), error, found or error.__traceback__


def describe_place(plugin: object, error: BaseException) -> str:
    """Return where an exception was raised: the innermost line in the plugin's folder, if there is any."""
    frames = traceback.extract_tb(traceback_in_plugin(error)[2])
    module = getattr(plugin, "__name__", type(plugin).__module__)
    file = getattr(sys.modules.get(module), "__file__", None)
    folder = Path(file).parent if file else None
    own = [frame for frame in frames if folder and folder in Path(frame.filename).parents] or frames
    if not own:
        return "an unknown place"
    return f"line {own[-1].lineno} of {Path(own[-1].filename).name}"


def _is_of_a_caller(file: str) -> bool:
    return any(folder in Path(file).parents for folder in _CALLERS)
