"""`resultsfw new-backend`: what it writes, and that a stranger can use it as it is."""

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from resultsfw import __name__ as ours
from resultsfw import cli
from resultsfw.errors import InputError
from resultsfw.plugins import make_backend

ROOT = Path(__file__).parents[2]


def made(capsys, folder, *arguments):
    """The command's exit status and what it printed."""
    status = cli.main(["new-backend", "--into", str(folder), *arguments])
    return status, capsys.readouterr()


def test_it_writes_a_distribution(tmp_path, capsys):
    status, said = made(capsys, tmp_path, "vault-kv")
    folder = tmp_path / "resultsfw-vault-kv"
    assert status == 0
    assert f"cd {folder}\n" in said.out
    assert "--results-from vault-kv" in said.out
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()) == [
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "example.yaml",
        "pyproject.toml",
        "resultsfw_vault_kv.py",
        "tests/test_backend.py",
    ]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "resultsfw-vault-kv"
    assert project["entry-points"] == {"resultsfw.backends": {"vault-kv": "resultsfw_vault_kv"}}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert project["dependencies"] == [f"{ours}>={version}"]
    assert "license" not in project


def test_nothing_of_the_template_is_left(tmp_path, capsys):
    made(capsys, tmp_path, "q")
    for file in (tmp_path / "resultsfw-q").rglob("*"):
        if file.is_file():
            text = f"{file.name}\n{file.read_text()}"
            assert "my-backend" not in text.lower()
            assert "my_backend" not in text
            assert "MyBackend" not in text
            assert "0.0.0" not in text


def test_its_tests_are_a_dozen_lines(tmp_path, capsys):
    made(capsys, tmp_path, "q")
    assert len((tmp_path / "resultsfw-q/tests/test_backend.py").read_text().splitlines()) <= 12


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Vault_KV", 'try "vault-kv"'),
        ("9x", 'try "x"'),
        ("a--b", 'try "a-b"'),
        ("-a", "is not a valid backend name"),
        ("../a", "is not a valid backend name"),
        ("", "is not a valid backend name"),
        ("é", "is not a valid backend name"),
        ("a\n", "is not a valid backend name"),
        ("a" * 41, "has 41 characters"),
        ("sidecar-logs", "is already a backend of resultsfw"),
    ],
)
def test_names_that_can_be_none(tmp_path, capsys, name, why):
    status, said = (
        made(capsys, tmp_path, "--", name) if name.startswith("-") else made(capsys, tmp_path, name)
    )
    assert status == 2
    assert why in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys):
    (tmp_path / "resultsfw-q").mkdir()
    (tmp_path / "resultsfw-q/mine").touch()
    status, said = made(capsys, tmp_path, "q")
    assert status == 2
    assert "already exists; nothing was written" in said.err
    assert [path.name for path in (tmp_path / "resultsfw-q").iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").touch()
    status, said = made(capsys, tmp_path / "file", "q")
    assert status == 2
    assert "Not a directory" in said.err


def test_what_it_writes_keeps_the_contract(tmp_path, capsys, monkeypatch):
    made(capsys, tmp_path, "q")
    monkeypatch.syspath_prepend(tmp_path / "resultsfw-q")
    import resultsfw_q  # noqa: PLC0415

    backend = make_backend("q", resultsfw_q)
    assert backend.capabilities.verified
    assert backend.configure({}).image == "busybox:1.37"


@pytest.mark.slow
def test_a_stranger_installs_tests_and_runs_it(wheel, environment, tmp_path):
    """In an environment with nothing of ours but the wheel."""
    python = str(environment / "bin/python")
    call(*pip_install(environment), "--no-deps", "--force-reinstall", str(wheel))
    resultsfw = str(environment / "bin/resultsfw")
    call(resultsfw, "new-backend", "vault-kv", "--into", str(tmp_path))
    folder = tmp_path / "resultsfw-vault-kv"
    call(*pip_install(environment), "--no-build-isolation", f"{folder}[test]")
    # `test_sound_backends` runs the whole suite over the same module.
    pytest = [python, "-m", "pytest", "-q", "-m", "quick", "-p", "no:cacheprovider"]
    assert " passed" in call(*pytest, cwd=folder)
    assert "get pods/log" in call(resultsfw, "backends", "vault-kv")
    ran = call(resultsfw, "run", "example.yaml", "--results-from", "vault-kv", cwd=folder)
    assert "example succeeded" in ran
    assert '["one","two"]' in ran


def call(*command, cwd=None):
    """What a command prints; it must succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(wheel, request, tmp_path_factory):
    """A virtual environment with what the wheel needs, from the package index; kept from run to run."""
    needs = (ROOT / "pyproject.toml").read_bytes() + sys.version.encode()
    name = f"stranger-{hashlib.sha256(needs).hexdigest()[:16]}"
    cache = getattr(request.config, "cache", None)
    folder = Path(cache.mkdir(name)) if cache else tmp_path_factory.mktemp(name)
    ready = folder / "ready"
    if not ready.exists():
        call(sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder))
        call(*pip_install(folder), f"resultsfw[testing] @ file://{wheel}", "hatchling>=1.27")
        ready.touch()
    call(*pip(folder), "uninstall", "--yes", "resultsfw-vault-kv")
    return folder


def pip(environment):
    """The command of this Python's pip for another environment, which then needs none of its own."""
    python = str(environment / "bin/python")
    return [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]


def pip_install(environment):
    """The command that installs there; what is imported is compiled then, and nothing else.

    It is uv's, with half of pip's work, where `.ci/environment` installed with uv, too.
    """
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        options = ["--quiet", "--native-tls", "--python", str(environment / "bin/python")]
        return [str(uv), "pip", "install", *options]
    return [*pip(environment), "install", "--no-compile"]


def test_input_errors_name_their_subject():
    from resultsfw.cli.new_project import BACKEND, write_project  # noqa: PLC0415

    with pytest.raises(InputError) as refused:
        write_project(BACKEND, "A", into="/nowhere")
    assert refused.value.subject == "A"
