"""Reads and writes the JSON file of a measurement: machine, versions, command, figures of each round."""

import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measuring.cases import Case

Object = dict[str, Any]

CASE = ("part", "backend", "bytes", "runs", "round", "side")


@dataclass(kw_only=True)
class Record:
    """One measurement.

    Attributes:
        place: ``cluster`` or ``engine``.
        label: State of the code: ``now``, or a word for an earlier state.
        command: The command that was typed.
        when: UTC time of the last round.
        machine: Facts about the machine.
        versions: Versions by name.
        rounds: The fields of a `Case` with its figures, for each round.
    """

    place: str
    label: str
    command: str
    machine: Object = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    when: str = ""
    rounds: list[Object] = field(default_factory=list)

    def add(self, case: Case, figures: Object) -> None:
        """Add the figures of a round."""
        self.when = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
        self.rounds.append({**asdict(case), **figures})

    def done(self) -> set[Case]:
        """Return the cases of all rounds."""
        return {Case(**{key: figures[key] for key in CASE}) for figures in self.rounds}

    def write(self, path: Path) -> None:
        """Write the file, with one line for each round, so that files can be compared."""
        head = {key: value for key, value in asdict(self).items() if key != "rounds"}
        rounds = ",\n".join(json.dumps(figures, separators=(",", ":")) for figures in self.rounds)
        text = json.dumps(head, indent=1)[:-2] + f',\n "rounds": [\n{rounds}\n]\n}}\n'
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)


def read(path: Path) -> Record:
    """Read a file written before.

    Raises:
        SystemExit: It is none.
    """
    try:
        return Record(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise SystemExit(f"{path}: no record of a measurement: {error}") from error


def open_record(path: Path | None, place: str, label: str, *, resume: bool) -> Record:
    """Return a new record, or the interrupted record of the file.

    Raises:
        SystemExit: The file exists and ``resume`` is not set.
    """
    if path is not None and path.exists():
        if not resume:
            raise SystemExit(f"{path} exists: use --resume to do what is missing in it, or remove it")
        return read(path)
    # The record must not contain paths of this machine.
    words = ["python", *(_nameless(word) for word in sys.argv if word != "--resume")]
    return Record(place=place, label=label, command=shlex.join(words), machine=machine())


def _nameless(word: str) -> str:
    """Return an argument without the path of a Python of this machine: ``BEFORE/bin/python``."""
    return "BEFORE/bin/python" if word.startswith("/") and word.endswith("/bin/python") else word


def machine() -> Object:
    """Return facts about this machine."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": model, "processors": os.cpu_count(), "memory_gb": round(pages / 1e9, 1)}


def versions(python: str) -> dict[str, str]:
    """Return the versions of Python and of the resultsfw in an environment, with the commit of a checkout."""
    code = "import platform, resultsfw, importlib.metadata as m; print(platform.python_version(), "
    code += "m.version('resultsfw'), resultsfw.__file__)"
    ran = subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=True)
    python_version, version, file = ran.stdout.split(maxsplit=2)
    folder = Path(file.strip()).parent
    ran = subprocess.run(
        ["git", "-C", folder, "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    commit = f" ({ran.stdout.strip()})" if ran.returncode == 0 else ""
    return {"resultsfw": version + commit, "Python": python_version, "Linux": platform.release()}
