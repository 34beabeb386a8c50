"""Places, prints or removes values of a mounted claim, in a container that does nothing else.

Which of them follows from the variables that are set. The container's termination message says what failed;
that of a value that is gone begins with `GONE`.
"""

import base64
import json
import os

from .placing import PlacingError, keys_in, place, unplaced, words_of
from .value_folder import pieces, remove, size

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from resultsfw_sidecar.stop import Stop

ENV_PLACE = "RESULTSFW_CLAIM_PLACE"
"""JSON: a list of `{"file", "folder", "name", "bytes", "digest", "encrypted", "location"}`."""
ENV_PRINT = "RESULTSFW_CLAIM_PRINT"
"""JSON: `{"folder", "name", "bytes"}`: the value is printed in base64, in lines."""
ENV_REMOVE = "RESULTSFW_CLAIM_REMOVE"
"""JSON: `{"folder", "name"}`: the folder of that name below the folder is removed."""

GONE = "Gone: "
"""Begins the termination message of a value that is not there."""

_STDOUT = 1
LINE = 9_216
"""Bytes of a value in a line: with its base64, container runtimes split no line."""


def fetch(variables: "Mapping[bytes, bytes]", stop: "Stop") -> list[str]:
    """Does what the variables say.

    Args:
        variables: The environment.
        stop: Where signals are noticed.

    Returns:
        What failed, for people; empty if nothing did.
    """
    texts = {
        key.decode("utf-8", "replace"): text.decode("utf-8", "replace") for key, text in variables.items()
    }

    def place_all(wanted: "list[Mapping[str, Any]]", stop: "Stop") -> list[str]:
        return _place_all(wanted, stop, keys_in(texts))

    for name, do in ((ENV_PLACE, place_all), (ENV_PRINT, _print), (ENV_REMOVE, _remove)):
        if text := variables.get(name.encode()):
            try:
                return do(json.loads(text), stop)
            except (KeyError, TypeError, ValueError) as error:
                return [f"{name}: {error}"]
    return [f"none of {ENV_PLACE}, {ENV_PRINT} and {ENV_REMOVE} is set"]


def _place_all(wanted: "list[Mapping[str, Any]]", stop: "Stop", keys: "Mapping[str, bytes]") -> list[str]:
    """Places files; stops at the first that cannot be placed."""
    for value in wanted:
        try:
            there = size(value["folder"], value["name"])
            if there is None:
                raise PlacingError("it is gone: somebody removed it")  # noqa: TRY301 - one message for all
            if there != value["bytes"]:
                raise PlacingError(f"it has {there} bytes there: it is not what was stored")  # noqa: TRY301
            content = pieces(value["folder"], [value["name"]], value["bytes"])
            place(value, content, stop, keys)
        except (OSError, PlacingError) as error:
            return unplaced(value, value["location"], words_of(error))
    return []


def _print(wanted: "Mapping[str, Any]", stop: "Stop") -> list[str]:
    """Prints a value, and one byte more than it should have if there is one."""
    held = b""
    try:
        for piece in pieces(wanted["folder"], [wanted["name"]], wanted["bytes"] + 1):
            if stop.requested:
                return ["the pod is being stopped"]
            held += piece
            whole = len(held) - len(held) % LINE
            _write_lines(held[:whole])
            held = held[whole:]
        _write_lines(held)
    except FileNotFoundError:
        return [f"{GONE}somebody removed it"]
    except OSError as error:
        return [words_of(error)]
    return []


def _write_lines(data: bytes) -> None:
    for at in range(0, len(data), LINE):
        left = base64.b64encode(data[at : at + LINE]) + b"\n"
        while left:
            left = left[os.write(_STDOUT, left) :]


def _remove(wanted: "Mapping[str, Any]", _stop: "Stop") -> list[str]:
    try:
        remove(wanted["folder"], [wanted["name"]])
    except OSError as error:
        return [words_of(error)]
    return []
