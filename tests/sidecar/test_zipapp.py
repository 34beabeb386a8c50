"""The single file: the same bytes from the same sources, and runnable alone."""

import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

BUILDER = Path(__file__).parents[2] / "sidecar" / "build_zipapp.py"


def test_reproducible(zipapp, tmp_path):
    variables = {**os.environ, "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7"}
    target = tmp_path / "deep" / "again.pyz"
    subprocess.run([sys.executable, BUILDER, target], check=True, env=variables, cwd=tmp_path)
    assert target.read_bytes() == zipapp.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_interpreter(tmp_path):
    target = tmp_path / "x.pyz"
    line = f"{sys.executable} -IS"
    subprocess.run([sys.executable, BUILDER, target, "--interpreter", line], check=True)
    assert target.read_bytes().startswith(f"#!{line}\n".encode())
    done = subprocess.run(
        [target, "-nonsense", "x"], env={"RESULTSFW_WIRE": "1"}, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert b'"type":"error"' in done.stdout


def test_another_python_takes_the_source(zipapp, tmp_path):
    """What is compiled for this Python has another's magic number there."""
    other = tmp_path / "other.pyz"
    with zipfile.ZipFile(zipapp) as archive, zipfile.ZipFile(other, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            copy.writestr(name, b"\0\0\r\n" + content[4:] if name.endswith(".pyc") else content)
    done = subprocess.run(
        [sys.executable, "-IS", other, "-nonsense", "x"],
        env={"RESULTSFW_WIRE": "3"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"BadEnvironment" in done.stdout
