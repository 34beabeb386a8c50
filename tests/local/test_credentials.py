"""The engine's entrypoint writes credentials as Tekton's does, into the pod's folders and nowhere else."""

import json
import os
from pathlib import Path

import pytest
from entrypoint_harness import EntrypointHarness

from resultsfw.core import ResultsManager
from resultsfw.flags import parse_flags
from resultsfw.local.engine import Engine
from resultsfw.local.step import credentials
from resultsfw.local.step.flags import FlagsError
from resultsfw.tekton.taskrun.reconciler import Reconciler

PASSWORD = {"password": "p"}
CAPTURE = json.loads((Path(__file__).parents[1] / "data" / "tekton" / "credentials.json").read_text())


@pytest.fixture
def place(tmp_path):
    """Folders of a pod with Secrets in them; the function writes one and returns the folder of all."""

    def write(name="s", **keys):
        folder = tmp_path / "pod" / "secrets" / name
        folder.mkdir(parents=True, exist_ok=True)
        for key, text in keys.items():
            (folder / key.replace("_", "-")).write_text(text)
        return tmp_path / "pod"

    return write


def written(pod, *given):
    """Write credentials; the folder, and what was logged."""
    said = []
    folder = pod / "creds"
    folder.mkdir(exist_ok=True)
    found = credentials.Credentials(list(given), lambda secret: f"{pod}/secrets/{secret}")
    found.write(str(folder), said.append)
    return folder, said


@pytest.mark.slow
def test_the_files_are_those_that_tekton_wrote(tmp_path, caplog):
    """A run of the capture on the engine: two Steps, four Secrets, all files."""
    with Engine(
        lambda cluster: Reconciler(ResultsManager(parse_flags({})), cluster), workdir=tmp_path / "w"
    ) as engine:
        for obj in (*CAPTURE["secrets"], CAPTURE["account"], CAPTURE["taskrun"]):
            engine.submit({**obj, "metadata": {"namespace": "default", **obj["metadata"]}})
        (run,) = engine.run_until_done(timeout=60)
    assert run["status"]["conditions"][0]["status"] == "True", run["status"]
    files = {result["name"]: result["value"] for result in run["status"]["results"]}
    folder = next(line[:-1] for line in files["files"].splitlines() if line.endswith("/creds:"))
    assert {name: text.replace(folder, "/tekton/creds") for name, text in files.items()} == CAPTURE["files"]
    assert "p@ss" not in caplog.text + json.dumps(run["status"]["conditions"])


def test_a_step_without_the_keys_of_its_secret_does_not_start(tmp_path):
    code, output = EntrypointHarness(tmp_path).sh("echo ran", "-basic-git=absent=https://x")
    assert code == 2
    assert 'Secret "absent" has no key "username"' in output
    assert "ran" not in output


def test_a_home_outside_the_pod_keeps_its_files(tmp_path, place):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("mine")
    pod = place(username="u", **PASSWORD)
    folder, _ = written(pod, ("basic-git", "s=https://x"))
    said = []
    credentials.copy_to_home(str(folder), str(home), str(pod), said.append)
    assert (home / ".gitconfig").read_text() == "mine"
    assert sorted(home.iterdir()) == [home / ".gitconfig"]
    assert "is not a folder of the pod" in said[0]
    inside = pod / "home"
    inside.mkdir()
    credentials.copy_to_home(str(folder), str(inside), str(pod), said.append)
    assert (inside / ".git-credentials").read_text() == "https://u:p@x\n"
    assert (inside / ".git-credentials").stat().st_mode & 0o777 == 0o600


def test_what_a_step_left_in_the_way_neither_blocks_nor_leads_elsewhere(tmp_path, place):
    pod = place(username="u", **PASSWORD)
    folder, _ = written(pod, ("basic-git", "s=https://x"))
    home, target = pod / "home", tmp_path / "target"
    home.mkdir()
    target.write_text("mine")
    os.mkfifo(home / ".gitconfig")
    (home / ".git-credentials").symlink_to(target)
    said = []
    credentials.copy_to_home(str(folder), str(home), str(pod), said.append)
    assert len(said) == 2
    assert target.read_text() == "mine"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("basic-git", "s"), "expect entries of the form secret=url"),
        (("basic-docker", "s=https://x=y"), "expect entries of the form secret=url"),
        (("ssh-git", "../s=x"), 'has no key "ssh-privatekey"'),
    ],
)
def test_malformed_flags_are_refused(place, given, why):
    with pytest.raises(FlagsError, match=why):
        written(place(username="u", **PASSWORD), given)


def test_a_url_has_one_user(place):
    pair = ("basic-git", "s=https://x")
    with pytest.raises(FlagsError, match="multiple entries for url: https://x"):
        written(place(username="u", **PASSWORD), pair, pair)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("[1]", False),
        ("nothing", False),
        ("[" * 100_000, False),
        ('{"auths": {"a": [1]}}', True),
        ('{"auths": {"a": {"auth": "eA==", "identitytoken": "t"}}}', True),
    ],
)
def test_a_docker_configuration_of_any_shape_is_reported_or_taken(place, text, taken):
    pod = place()
    (pod / "secrets" / "s" / ".dockerconfigjson").write_text(text)
    folder, said = written(pod, ("docker-config", "s"))
    assert (folder / ".docker" / "config.json").exists() is taken
    assert ("is not a JSON object" in "".join(said)) is not taken
    assert text not in "".join(said)


def test_a_secret_over_the_limit_is_not_read(place, monkeypatch):
    monkeypatch.setattr(credentials, "SECRET_BYTES", 10)
    with pytest.raises(FlagsError, match="has 11 bytes, and a Secret at most 10"):
        written(place(ssh_privatekey="x" * 11), ("ssh-git", "s=host"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("host", ("host", "22", "")),
        ("host:2222", ("host", "2222", "")),
        ("host:2222/org/repo", ("host", "2222", "org/repo")),
        ("[::1]:2222", ("::1", "2222", "")),
        ("::1", ("::1", "22", "")),
    ],
)
def test_parts_of_an_ssh_annotation(url, expected):
    assert credentials._ssh_parts(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com", "https://u%2F:p%40+@github.com"),
        ("https://x@github.com:8443/a/b", "https://u%2F:p%40+@github.com:8443/a/b"),
        ("github.com/a", "//u%2F:p%40+@github.com/a"),
    ],
)
def test_user_and_password_are_escaped_in_a_url(url, expected):
    assert credentials._with_user(url, "u/", "p@+") == expected


def test_a_text_of_several_lines_adds_no_settings(place):
    pod = place(username="u\n[core]\n\tsshCommand = x", ssh_privatekey="k", **PASSWORD)
    with pytest.raises(FlagsError, match='"username" has a line break') as caught:
        written(pod, ("basic-git", "s=https://x"))
    assert "sshCommand" not in str(caught.value)
    with pytest.raises(FlagsError, match='the URL of Secret "s" has a line break'):
        written(pod, ("ssh-git", "s=host\nProxyCommand x"))
    pod = place(username="u\n", **PASSWORD)
    folder, said = written(pod, ("basic-git", "s=https://x"))  # "echo" writes one at the end
    assert "username = u\n" in (folder / ".gitconfig").read_text()
    assert said == []
