"""Say where a Step failed because this machine's ``/bin/sh``, or its programs, are not those of the image."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["hint_for", "system_shell"]

_NOT_DASH: Final = re.compile(
    r": [0-9]+: (?:\[: .{0,200}unexpected operator$|Bad substitution$|(?:set: )?Illegal option -o pipefail$"
    r"|Syntax error: (?:\"\(\" unexpected|Bad for loop variable|redirection unexpected)"
    r"|(?:\[\[|source|declare|typeset|function|let|shopt|pushd|popd|mapfile|readarray): not found$)"
)
"""What dash prints of a script that is written for bash or BusyBox's ash."""
_MISSING: Final = re.compile(r": (?:line )?[0-9]+: ([A-Za-z0-9_.+/-]{1,80}): (?:command )?not found$")
"""What dash and bash print of a program that is not there."""

_DASH: Final = (
    "/bin/sh is dash on this machine, and bash or BusyBox's ash in many images: dash has no ==, [[, arrays, "
    "source, pipefail or echo -e; begin the script with #!/bin/bash, or write it for any sh"
)
_PROGRAMS: Final = (
    "Steps run with its programs, not with those of their images; install it, or run on a cluster"
)


def system_shell() -> str:
    """Return the name of the shell that is ``/bin/sh`` on this machine."""
    return Path("/bin/sh").resolve().name


def hint_for(lines: Sequence[str], shell: str) -> str:
    """Return what the log of a failed Step says of this machine; empty if nothing that is known.

    Args:
        lines: Of the log.
        shell: Name of the shell that is ``/bin/sh``.
    """
    for line in reversed(lines):
        if shell == "dash" and _NOT_DASH.search(line):
            return _DASH
        if (match := _MISSING.search(line)) is not None:
            return f"this machine has no {match[1]}: {_PROGRAMS}"
    return ""
