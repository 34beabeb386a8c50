"""Replaces container paths in text by the folders of this machine that stand in for them.

There is no container file system: its paths are replaced in commands, arguments, environment and scripts. A
path that a program computes or has compiled in is not replaced. A result that is such a path names the
folder on this machine.
"""

import os
import re

_NOT_BEFORE = r"(?<![A-Za-z0-9_.~\\/})\]*])"
"""After one of these, a path is the end of another path: ``$HOME/workspace``, ``./workspace``."""

_GLUED = r"(?<=\s-[A-Za-z])|(?<=^-[A-Za-z])|(?<=file://)|(?<=unix://)"
"""After these, a path begins nevertheless: ``-I/workspace/include``."""

_NOT_AFTER = r"(?![A-Za-z0-9_-]|\.[A-Za-z0-9_])"
"""``/workspace-2`` and ``/workspace.old`` are other paths."""


class Paths:
    """Replaces paths by rules; the longest path that matches wins.

    Args:
        rules: Folders of this machine, by absolute path in the container.
    """

    def __init__(self, rules: dict[str, str]) -> None:
        self.rules = {path.rstrip("/"): folder for path, folder in rules.items()}
        longest_first = sorted(self.rules, key=len, reverse=True)
        anywhere = "|".join(re.escape(path) for path in longest_first)
        self._pattern = (
            re.compile(f"(?:{_NOT_BEFORE}|{_GLUED})({anywhere}){_NOT_AFTER}") if anywhere else None
        )

    def rewrite(self, text: str) -> str:
        """Return the text with every path replaced."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self.rules[match[1]], text)

    def restore(self, path: str) -> str:
        """Return the container path of a path of this machine, if a rule replaced it."""
        for mount, folder in sorted(self.rules.items(), key=lambda rule: len(rule[1]), reverse=True):
            if path == folder or path.startswith(f"{folder}/"):
                return mount + path[len(folder) :]
        return path


def encode(rules: dict[str, str]) -> str:
    """Return rules as the value of an environment variable."""
    return "\n".join(f"{path}\t{folder}" for path, folder in rules.items())


def decode(text: str) -> dict[str, str]:
    """Return the rules that `encode` encoded."""
    rules: dict[str, str] = {}
    for line in text.split("\n"):
        path, tab, folder = line.partition("\t")
        if tab:
            rules[path] = folder
    return rules


_ASH = re.compile(r"\A#!\s*(?:/usr)?/bin/(?:env\s+)?ash(?=\s)")
"""The shell of Alpine's images."""


def localized(file: str, scripts: str, scratch: str, paths: Paths, *, ash: str = "") -> str:
    """Copy a Task's script with its paths replaced and return the copy; return any other file unchanged.

    Args:
        file: The file to run.
        scripts: The folder of the Task's scripts.
        scratch: Folder for the copy.
        paths: The paths to replace.
        ash: The shell that runs scripts for ``ash``; empty where this machine has ``ash``.
    """
    if not (paths.rules and file.startswith(f"{scripts}/")):
        return file
    try:
        with open(file, encoding="utf-8", errors="surrogateescape", newline="") as script:  # noqa: PTH123
            text = script.read()
    except OSError:
        return file  # starting it reports the error
    local = f"{scratch}/{os.path.basename(file)}"  # noqa: PTH119 - pathlib costs 10 ms
    with open(local, "w", encoding="utf-8", errors="surrogateescape", newline="") as copy:  # noqa: PTH123
        copy.write(paths.rewrite(_ASH.sub(f"#!{ash}", text, count=1) if ash else text))
        os.fchmod(copy.fileno(), 0o755)
    return local
