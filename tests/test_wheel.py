"""What a user installs: the wheel, built and tested as it is, not the checkout."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from resultsfw import site

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as an installer lays it down."""
    folder = tmp_path_factory.mktemp("wheel") / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(unpacked: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A Python in which the wheel's packages come before any other."""
    environment = os.environ | {"PYTHONPATH": str(unpacked)} | environ
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=unpacked.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_holds_the_packages_and_their_papers(unpacked):
    names = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {
        "resultsfw",
        "resultsfw_backends",
        "resultsfw_extensions",
        "resultsfw_pytest",
        "resultsfw_sidecar",
        "resultsfw_signing",
        "resultsfw_transports",
    }
    assert (unpacked / "resultsfw" / "py.typed").exists()
    assert list(unpacked.glob("*.dist-info/licenses/LICENSE"))


def test_links_of_the_readme_on_a_package_index_are_pages_of_the_site(unpacked):
    """Each is absolute, and made of a file of this repository."""
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    links = re.findall(r"\]\(([^)#]+)", metadata.read_text())
    assert len(links) > 20
    for link in links:
        path = link.removeprefix(site.SITE).strip("/")
        if path == link.strip("/"):
            assert link.startswith("https://"), link
            continue
        place = path.removeprefix("repository/") if path.startswith("repository/") else f"docs/{path}"
        files = (place, f"{place}.md", f"{place}/README.md", f"{place}/index.md")
        assert any((ROOT / file).is_file() for file in files), link


def test_the_backends_are_found_in_it_by_entry_point(unpacked):
    code = (
        "from resultsfw.plugins import installed_plugins, load_backend; "
        "print(*(one.name for one in installed_plugins())); "
        "print(load_backend('sidecar-logs').plugin.__file__)"
    )
    done = run(unpacked, "-c", code)
    names, file = done.stdout.splitlines()
    backends = {"config-map", "custom-resource", "http", "object-store", "pvc", "self-update"}
    assert {*backends, "sidecar-logs", "termination-message"} <= set(names.split())
    assert Path(file).is_relative_to(unpacked)


def test_every_capture_is_judged_the_same_from_the_wheel(unpacked):
    """The verdicts of tests/tekton/taskrun/test_captured_verdicts.py, from the wheel's code."""
    tests = ROOT / "tests" / "tekton" / "taskrun" / "test_captured_verdicts.py"
    where = "import resultsfw, sys; sys.stdout.write(resultsfw.__file__)"
    assert Path(run(unpacked, "-c", where).stdout).is_relative_to(unpacked)
    done = run(unpacked, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", str(tests))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_the_manifests_are_in_it(unpacked):
    """The same files as in the repository: `resultsfw install` needs no checkout."""
    done = run(unpacked, "-m", "resultsfw.cli", "install", "--print", "--crds", "--monitoring")
    assert done.stdout.count("\n---\n") > 15, done.stderr
    for file in (ROOT / "config").rglob("*.yaml"):
        copy = unpacked / "resultsfw" / "manifests" / file.relative_to(ROOT / "config")
        assert copy.read_bytes() == file.read_bytes()
    assert not [path for path in unpacked.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize(
    "flags",
    [
        {"results-from": "sidecar-logs", "allowed-results-from": "termination-message"},
        {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"},
    ],
    ids=["both", "plain-sidecar"],
)
def test_the_built_in_backends_pass_the_suite_that_is_in_it(unpacked, flags, tmp_path):
    """Its quick tests: the checkout's own suites run all of them over the same code."""
    file = tmp_path / "flags.yaml"
    metadata = {"name": "feature-flags"}
    file.write_text(
        json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": flags})
    )
    environment = {"RESULTSFW_FEATURE_FLAGS": str(file)}
    command = [
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
        "-m",
        "quick",
    ]
    done = run(unpacked, *command, "--pyargs", "resultsfw.testing.compliance", **environment)
    backends = 1 + ("allowed-results-from" in flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 40 * backends


def test_the_sidecar_runs_from_it(unpacked):
    done = run(unpacked, "-m", "resultsfw_sidecar", "-no-such-flag")
    assert done.returncode != 0
