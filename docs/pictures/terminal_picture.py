"""Record what a command shows on a terminal, and draw it as SVG."""

# ruff: noqa: INP001

import contextlib
import os
import pty
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, parse, tostring

COLUMNS: Final = 100

_CELL: Final = 8.4
_LINE: Final = 19
_SIZE: Final = 14
_MARGIN: Final = 18
_BAR: Final = 30
_FONTS: Final = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"

_PAPER: Final = "#0d1117"
_INK: Final = "#e6edf3"
_DIM: Final = "#8b949e"
_COLOURS: Final = {31: "#ff7b72", 32: "#56d364", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff", 36: "#76e3ea"}

_TOKENS: Final = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+|\x1b")
_SECONDS: Final = re.compile(r"[0-9]+\.[0-9] s\b")
_WORDS: Final = re.compile(r"\S+(?: \S+)*")


@dataclass(frozen=True, slots=True)
class Style:
    """How a character looks."""

    colour: str = ""
    bold: bool = False
    dim: bool = False


Cells = list[tuple[str, Style]]


@dataclass(slots=True)
class Screen:
    """A terminal without end, as far as rich uses it: it goes up, erases lines, and has colours."""

    lines: list[Cells] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    style: Style = Style()

    def write(self, text: str) -> None:
        """Take what a command prints."""
        for token in _TOKENS.finditer(text):
            if token[0] == "\r":
                self.column = 0
            elif token[0] == "\n":
                self.row, self.column = self.row + 1, 0
                self.lines += [[] for _ in range(self.row + 1 - len(self.lines))]
            elif token[2]:
                self._control(token[1], token[2])
            else:
                self._print(token[0])

    def _control(self, values: str, name: str) -> None:
        if name == "A":
            self.row = max(self.row - int(values or 1), 0)
        elif name == "K":
            self.lines[self.row] = []
        elif name == "m":
            for value in values.split(";"):
                self.style = _styled(self.style, int(value or 0))

    def _print(self, text: str) -> None:
        line = self.lines[self.row]
        line += [(" ", Style())] * (self.column - len(line))
        line[self.column : self.column + len(text)] = [(char, self.style) for char in text]
        self.column += len(text)

    @property
    def text(self) -> str:
        """Return the text on the screen, without spaces at ends of lines."""
        return "\n".join("".join(char for char, _ in line).rstrip() for line in self.lines).strip("\n")


def _styled(style: Style, code: int) -> Style:
    match code:
        case 0:
            return Style()
        case 1:
            return replace(style, bold=True)
        case 2:
            return replace(style, dim=True)
        case _:
            return replace(style, colour=_COLOURS.get(code, style.colour))


@dataclass(frozen=True, slots=True)
class Recording:
    """What came of a command.

    Attributes:
        status: Its exit status.
        screen: The terminal at its end.
    """

    status: int
    screen: Screen


def record(command: Sequence[str | Path], *, folder: Path, columns: int = COLUMNS) -> Recording:
    """Run a command in a folder on a terminal of its own."""
    ours, its = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    env = {**kept, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "60"}
    with subprocess.Popen(
        list(map(str, command)), stdin=its, stdout=its, stderr=its, cwd=folder, env=env
    ) as process:
        os.close(its)
        data = b"".join(_read(ours))
        os.close(ours)
    screen = Screen()
    screen.write(data.decode("utf-8", "replace"))
    return Recording(process.returncode, screen)


def _read(descriptor: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # a terminal whose last process has ended
        while data := os.read(descriptor, 65536):
            yield data


def draw(screen: Screen, *, title: str) -> str:
    """Return the screen as an SVG document.

    Args:
        screen: What is shown.
        title: For readers that do not see it.
    """
    lines = screen.lines[: len(screen.text.split("\n"))]
    columns = max(COLUMNS, *(len(line) for line in screen.text.split("\n")))
    width, height = columns * _CELL + 2 * _MARGIN, len(lines) * _LINE + _BAR + 1.5 * _MARGIN
    size = {"width": f"{width:g}", "height": f"{height:g}"}
    fonts = {"font-family": _FONTS, "font-size": str(_SIZE)}
    root = Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", **size, "viewBox": f"0 0 {width:g} {height:g}", **fonts},
    )
    SubElement(root, "title").text = title
    SubElement(root, "rect", {**size, "rx": "8", "fill": _PAPER})
    for index, colour in enumerate(("#ff5f56", "#ffbd2e", "#27c93f")):
        SubElement(
            root, "circle", {"cx": str(_MARGIN + 4 + 20 * index), "cy": "18", "r": "6", "fill": colour}
        )
    for index, line in enumerate(lines):
        _draw_line(root, line, _BAR + _MARGIN + _LINE * index + _SIZE / 2)
    indent(root, "")
    return tostring(root, encoding="unicode") + "\n"


def _draw_line(root: Element, line: Cells, y: float) -> None:
    """Draw words one by one, each at its column, so that columns are straight in any font."""
    text = "".join(char for char, _ in line)
    prompt = text.startswith("$ ")
    start = 0
    while start < len(line):
        style = line[start][1]
        end = start
        while end < len(line) and line[end][1] == style:
            end += 1
        for words in _WORDS.finditer(text, start, end):
            attributes = {"x": f"{_MARGIN + words.start() * _CELL:g}", "y": f"{y:g}"}
            attributes["fill"] = style.colour or (_DIM if style.dim else _INK)
            if style.bold or prompt:
                attributes["font-weight"] = "bold"
            SubElement(root, "text", attributes).text = words[0]
        start = end


def text_of(picture: Path) -> str:
    """Return the text of a file that `draw` made, each line without spaces that only align its columns."""
    lines: dict[str, list[str]] = {}
    for text in parse(picture).iter("{http://www.w3.org/2000/svg}text"):  # noqa: S314 - ours
        lines.setdefault(text.get("y", ""), []).append(text.text or "")
    return "\n".join(" ".join(words) for words in lines.values())


def comparable(text: str) -> str:
    """Return a text without what differs from run to run, and from terminal to picture: times and spaces."""
    lines = (" ".join(_SECONDS.sub("N s", line).split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
