"""Replaces the paths a container mounts by the folders that stand for them on this machine, in text.

A container has its own file system; here its paths are only text that is found in commands, arguments,
environment and scripts. A path that a program puts together itself, or has compiled in, is not found; and
a result whose text is such a path says where it is on this machine.
"""

import os
import re

_NOT_BEFORE = r"(?<![A-Za-z0-9_.~\\/})\]*])"
"""A path that begins behind one of these is the rest of another: ``$HOME/workspace``, ``./workspace``."""

_GLUED = r"(?<=\s-[A-Za-z])|(?<=^-[A-Za-z])|(?<=file://)"
"""Behind these it does begin: ``-I/workspace/include``."""

_NOT_AFTER = r"(?![A-Za-z0-9_-]|\.[A-Za-z0-9_])"
"""``/workspace-2`` and ``/workspace.old`` are other paths."""


class Paths:
    """Rules: the folder for each path. The longest path that matches wins.

    Args:
        rules: Folders of this machine by absolute paths of the container.
    """

    def __init__(self, rules: dict[str, str]) -> None:
        self.rules = {path.rstrip("/"): folder for path, folder in rules.items()}
        longest_first = sorted(self.rules, key=len, reverse=True)
        anywhere = "|".join(re.escape(path) for path in longest_first)
        self._pattern = (
            re.compile(f"(?:{_NOT_BEFORE}|{_GLUED})({anywhere}){_NOT_AFTER}") if anywhere else None
        )

    def rewrite(self, text: str) -> str:
        """The text with every path replaced."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: self.rules[found[1]], text)

    def restore(self, path: str) -> str:
        """The container's name for a path of this machine, as far as a rule made it."""
        for mount, folder in sorted(self.rules.items(), key=lambda rule: len(rule[1]), reverse=True):
            if path == folder or path.startswith(f"{folder}/"):
                return mount + path[len(folder) :]
        return path


def encode(rules: dict[str, str]) -> str:
    """Rules as the value of an environment variable."""
    return "\n".join(f"{path}\t{folder}" for path, folder in rules.items())


def decode(text: str) -> dict[str, str]:
    """What `encode` made."""
    rules: dict[str, str] = {}
    for line in text.split("\n"):
        path, tab, folder = line.partition("\t")
        if tab:
            rules[path] = folder
    return rules


def localized(file: str, scripts: str, scratch: str, paths: Paths) -> str:
    """A copy of a Task's script with the paths of this machine; any other file as it is.

    Args:
        file: What is to be run.
        scripts: The folder of the Task's scripts.
        scratch: Where the copy goes.
        paths: To be replaced.
    """
    if not (paths.rules and file.startswith(f"{scripts}/")):
        return file
    try:
        with open(file, encoding="utf-8", errors="surrogateescape", newline="") as script:  # noqa: PTH123
            text = script.read()
    except OSError:
        return file  # whoever starts it will say why not
    local = f"{scratch}/{os.path.basename(file)}"  # noqa: PTH119 - pathlib costs 10 ms
    with open(local, "w", encoding="utf-8", errors="surrogateescape", newline="") as copy:  # noqa: PTH123
        copy.write(paths.rewrite(text))
        os.fchmod(copy.fileno(), 0o755)
    return local
