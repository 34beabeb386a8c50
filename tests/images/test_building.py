"""The programs that build, describe and check the images, as far as they need no build."""

import json
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import bases
import build
import check
import pytest
import sbom
import trim

from resultsfw.tekton.pod.builder import PodOptions

IMAGES = Path(__file__).parents[2] / "images"


@pytest.mark.slow
def test_what_is_removed_from_an_image_is_never_imported():
    code = (
        "import pathlib, sys, resultsfw, resultsfw_backends, resultsfw_extensions\n"
        "for package in (resultsfw, resultsfw_backends, resultsfw_extensions):\n"
        "  root = pathlib.Path(package.__path__[0])\n"
        "  for file in root.rglob('*.py'):\n"
        "    parts = file.relative_to(root.parent).with_suffix('').parts\n"
        # pytest, which the suites for authors of plugins need, is in no image.
        "    if not {'testing', 'template', 'template_extension', '__main__'} & {*parts}:\n"
        "      __import__('.'.join(parts).removesuffix('.__init__'))\n"
        "print(*(module.__file__ for module in sys.modules.values() if getattr(module, '__file__', None)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    site = Path(sysconfig.get_path("purelib"))
    loaded = {Path(file) for file in done.stdout.split()}
    removed = {path for pattern in trim.UNUSED[1:] for path in site.glob(pattern)}
    assert site / "kubernetes/client/configuration.py" in loaded
    assert site / "kubernetes/client/models/v1_pod.py" in removed
    assert not removed & {*loaded, *(parent for path in loaded for parent in path.parents)}
    others = [site / name for names in trim.UNUSED_WITH.values() for name in names]
    assert not [path for path in loaded if any(map(path.is_relative_to, others))]


def test_a_folder_of_packages_is_trimmed_and_compiled_to_the_same_bytes(tmp_path):
    def prepared(place):
        folder = tmp_path / place
        for path in (
            "bin/tool",
            "kubernetes/aio/a.py",
            "kubernetes/client/api/__init__.py",
            "kubernetes/client/api/core.py",
            "kubernetes/client/models/pod.py",
            "kubernetes/config/some_test.py",
            "aiohappyeyeballs/__init__.py",
            "aiohttp-1.dist-info/METADATA",
            "mine/__init__.py",
            "mine/fast.pyx",
            "mine-1.dist-info/RECORD",
            "mine-1.dist-info/direct_url.json",
            "mine-1.dist-info/METADATA",
        ):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text("x = {'a', 'b'}")
        for name in trim.UNUSED_WITH["kubernetes"][1:]:
            (folder / name).mkdir(exist_ok=True)
        command = [sys.executable, IMAGES / "trim.py", folder, "--at", "/app"]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": "0"})
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    first = prepared("a")
    assert first == prepared("b")
    cache = f"__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
    packages = ("kubernetes/client/api", "mine")
    compiled = {f"{package}/{name}" for package in packages for name in ("__init__.py", cache)}
    assert set(first) == {*compiled, "mine-1.dist-info/METADATA"}
    assert b"/app/mine/__init__.py" in first[f"mine/{cache}"]


def test_a_package_that_changed_stops_the_build(tmp_path):
    (tmp_path / "kubernetes" / "client").mkdir(parents=True)
    command = [sys.executable, IMAGES / "trim.py", tmp_path, "--at", "/app"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "kubernetes/client/models" in done.stderr


def member(name, mode=0o644, size=1, kind=tarfile.REGTYPE):
    found = tarfile.TarInfo(name)
    found.mode, found.size, found.type = mode, size, kind
    return found


GOOD = {"config": {"User": check.USER, "Labels": dict.fromkeys(check.LABELS, "x")}}


def test_a_correct_image_has_no_problem():
    files = [member("app/a.py"), member("tmp", 0o1777, kind=tarfile.DIRTYPE), member("bin/tool", 0o755)]
    files.append(member("bin/sh", 0o777, kind=tarfile.SYMTYPE))
    found = check.problems({file.name: file for file in files}, GOOD, check.Expected(1, ()))
    assert list(found) == []


@pytest.mark.parametrize(
    ("file", "config", "problem"),
    [
        (member("a", size=1_000_001), GOOD, "over the limit of 1 MB"),
        (member("bin/busybox", 0o755), GOOD, "/bin/busybox: a shell"),
        (member("a", 0o4755), GOOD, "/a: setuid"),
        (member("a", 0o666), GOOD, "/a: everyone may write it"),
        (member("d", 0o777, kind=tarfile.DIRTYPE), GOOD, "/d: everyone may write it"),
        (member("dev/x", kind=tarfile.CHRTYPE), GOOD, "/dev/x: a device"),
        (member("a"), {"config": {**GOOD["config"], "User": "0"}}, "runs as 0"),
        (member("a"), {"config": {**GOOD["config"], "Labels": {}}}, "has no label"),
    ],
)
def test_each_problem_of_an_image_is_named(file, config, problem):
    (found,) = check.problems({file.name: file}, config, check.Expected(1, ()))
    assert problem in found


def test_every_image_has_limits_and_starts():
    names = {file.name.removesuffix(".Containerfile") for file in IMAGES.glob("*.Containerfile")}
    assert check.EXPECTED.keys() == names
    assert all(expected.starts for expected in check.EXPECTED.values())


def test_the_page_names_the_limits():
    text = (IMAGES.parent / "docs" / "how-to" / "build-images.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| ([0-9]+) \|$", text, re.MULTILINE)
    assert {name: int(most) for name, most in rows} == {
        name: expected.megabytes for name, expected in check.EXPECTED.items()
    }


def test_base_images_are_pinned_by_digest_or_named_as_not_pinned(tmp_path):
    pins = bases.load()
    texts = "".join(file.read_text() for file in IMAGES.glob("*.Containerfile"))
    for key in ("PYTHON", "BASE"):
        assert set(re.findall(rf"^ARG {key}=(.*)$", texts, re.MULTILINE)) == {pins[key]["image"]}
    digest = f"sha256:{'0' * 64}"
    pins["BASE"]["digest"] = digest
    assert bases.reference(pins["BASE"]) == f"gcr.io/distroless/python3-debian12@{digest}"
    assert pins["BASE"]["image"] not in bases.unpinned(pins)
    file = tmp_path / "bases.json"
    file.write_text(json.dumps({"BASE": {"image": "a:1", "digest": "latest"}}))
    with pytest.raises(ValueError, match="is not a digest"):
        bases.load(file)


def test_tektons_images_are_those_that_pods_get():
    options = {f"{key.replace('-', '_')}": pin["image"] for key, pin in bases.load().items() if "-" in key}
    assert all(getattr(PodOptions(), name) == image for name, image in options.items())


def test_what_is_in_an_image_is_listed(tmp_path):
    for path, text in {
        "app/a_b-1.dist-info/METADATA": "Name: a.b\nVersion: 1\nLicense-Expression: MIT\n",
        "var/lib/dpkg/status.d/libc6": "Package: libc6\nVersion: 1:2-3\nArchitecture: amd64\n",
        "usr/local/lib/python3.11/VERSION": "3.11.9\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    document = sbom.sbom(tmp_path, "controller", "0.1.0")
    assert [found["purl"] for found in document["components"]] == [
        "pkg:deb/debian/libc6@1%3A2-3?arch=amd64",
        "pkg:generic/python@3.11.9",
        "pkg:pypi/a-b@1",
    ]
    assert document == sbom.sbom(tmp_path, "controller", "0.1.0")
    assert document["components"][2]["licenses"] == [{"license": {"name": "MIT"}}]


def test_the_time_of_an_image_is_the_commits_in_any_time_zone(monkeypatch):
    times = []
    for zone in ("UTC", "Pacific/Kiritimati"):
        monkeypatch.setenv("TZ", zone)
        times.append(build.commit_time())
    assert len(set(times)) == 1


def test_a_folder_whose_name_would_be_an_archive_and_its_tag_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["build.py", "--into", f"{tmp_path}/a:b"])
    with pytest.raises(SystemExit):
        build.main()
    assert 'contains ":"' in capsys.readouterr().err
