"""Programs as users write them, checked by mypy and pyright against the package as it is installed."""

import json
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = [
    ROOT / "examples" / "02-embedding" / "embed.py",
    ROOT / "examples" / "05-third-party-plugin" / "step_log.py",
]
"""Not the operator nor the plain script: what kopf's and the client's types say is no concern of ours."""

GOOD = [*sorted((HERE / "good").glob("*.py")), *EXAMPLES]
WRONG = HERE / "wrong" / "mistakes.py"


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the wheel installed: with py.typed, and without what only the checkout has."""
    folder = tmp_path_factory.mktemp("typed")
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # What it depends on is here; the checkout's own .pth file does not count in such a folder.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "venv" / "bin" / "python"


def mypy(python: Path, *files: Path) -> set[tuple[str, int, str]]:
    """What mypy finds: file, line and error code."""
    config = python.parents[2] / "mypy.ini"
    # The client's thousand files would take longer than all else.
    config.write_text("[mypy]\nstrict = true\n[mypy-kubernetes.*]\nfollow_imports = skip\n")
    options = [f"--config-file={config}", f"--python-executable={python}", "--cache-dir=.cache"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, files)],
        cwd=python.parents[2],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stderr == ""
    found = re.findall(r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert f"checked {len(files)} source files" in done.stdout, done.stdout
    return {(Path(file).name, int(line), code) for file, line, code in found}


def pyright(python: Path, *files: Path) -> set[tuple[str, int, str]]:
    """What pyright finds at its standard level: file, line and rule."""
    config = python.parents[2] / "pyrightconfig.json"
    asked = {"include": [str(one) for one in files], "typeCheckingMode": "standard", "pythonVersion": "3.11"}
    config.write_text(json.dumps(asked))
    command = [sys.executable, "-m", "basedpyright", "--outputjson"]
    command += ["--pythonpath", str(python), "--project", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    said = json.loads(done.stdout)
    assert said["summary"]["filesAnalyzed"] == len(files), done.stderr
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one.get("rule", ""))
        for one in said["generalDiagnostics"]
        if one["severity"] == "error"
    }


def marked(checker: int) -> set[tuple[str, int, str]]:
    """What must be found, as the lines themselves say."""
    lines = enumerate(WRONG.read_text().splitlines(), 1)
    return {
        (WRONG.name, number, line.split("# wrong: ")[1].split()[checker])
        for number, line in lines
        if "# wrong: " in line
    }


@pytest.mark.parametrize(("check", "checker"), [(mypy, 0), (pyright, 1)], ids=["mypy", "pyright"])
def test_what_is_right_passes_and_every_mistake_is_found(check, checker, python):
    assert check(python, *GOOD, WRONG) == marked(checker)
