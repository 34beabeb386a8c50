"""Paths in text: which are replaced, which are others."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.local.step.command_runner import shell_for_ash
from resultsfw.local.step.paths import Paths, decode, encode, localized

RULES = {
    "/tekton": "/P/tekton",
    "/tekton/creds": "/C/creds",
    "/workspace": "/P/workspace",
    "/data.d": "/P/data.d",
}


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/tekton/results/x", "/P/tekton/results/x"),
        ("/tekton/creds/a", "/C/creds/a"),
        ("/tekton/credsx", "/P/tekton/credsx"),
        ("echo >/workspace/out", "echo >/P/workspace/out"),
        ("a=/workspace:/workspace/b", "a=/P/workspace:/P/workspace/b"),
        ("'/workspace' \"/workspace/\"", "'/P/workspace' \"/P/workspace/\""),
        ("cc -I/workspace/include -o/workspace/a", "cc -I/P/workspace/include -o/P/workspace/a"),
        ("-C/workspace", "-C/P/workspace"),
        ("${DIR:-/workspace}", "${DIR:-/P/workspace}"),
        ("file:///workspace/x", "file:///P/workspace/x"),
        ('{"socket":"unix:///workspace/x"}', '{"socket":"unix:///P/workspace/x"}'),
        ("in /workspace.", "in /P/workspace."),
        ("(/workspace)", "(/P/workspace)"),
        ("/data.d/x", "/P/data.d/x"),
        # Other paths that contain the words.
        (
            "/workspaces /workspace-2 /workspace_3 /workspace.old",
            "/workspaces /workspace-2 /workspace_3 /workspace.old",
        ),
        (
            "./workspace ../workspace ~/workspace $HOME/workspace",
            "./workspace ../workspace ~/workspace $HOME/workspace",
        ),
        ("${ROOT}/workspace $(pwd)/workspace */workspace", "${ROOT}/workspace $(pwd)/workspace */workspace"),
        ("https://host/workspace/x", "https://host/workspace/x"),
        ("/dataxd /home/tekton/results", "/dataxd /home/tekton/results"),
        (r"s/\/workspace\//x/", r"s/\/workspace\//x/"),
    ],
)
def test_paths_in_text_are_replaced(text, rewritten):
    assert Paths(RULES).rewrite(text) == rewritten


@given(st.text())
def test_text_without_the_paths_is_unchanged(text):
    assert Paths({"/no-such-mount": "/x"}).rewrite(text) == text.replace("/no-such-mount", "/x")


@given(st.text(st.characters(exclude_characters="/")))
def test_no_rules_change_nothing(text):
    assert Paths({}).rewrite(text) == text
    assert Paths(RULES).rewrite(text) == text


def test_a_local_path_becomes_the_container_path():
    paths = Paths(RULES)
    assert paths.restore("/P/tekton/run/0/status/artifacts/p.json") == "/tekton/run/0/status/artifacts/p.json"
    assert paths.restore("/elsewhere") == "/elsewhere"


def test_rules_are_read_back_from_the_environment():
    assert decode(encode(RULES)) == RULES
    assert decode("") == {}


@pytest.mark.parametrize(
    ("shebang", "shell"),
    [("#!/usr/bin/env ash", "#!/bin/sh"), ("#!/bin/ash -e", "#!/bin/sh -e"), ("#!/bin/bash", "#!/bin/bash")],
)
def test_a_script_for_ash_is_run_by_another_shell_where_there_is_no_ash(tmp_path, shebang, shell):
    """Images of Alpine have ash; 17 of Tekton's own examples ask for it."""
    script = tmp_path / "script"
    script.write_text(f"{shebang}\necho '#!/bin/ash '\n")
    rules = Paths({"/workspace": "/w"})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for ash, first in (("/bin/sh", shell), ("", shebang)):
        copy = localized(str(script), str(tmp_path), str(scratch), rules, ash=ash)
        assert Path(copy).read_text() == f"{first}\necho '#!/bin/ash '\n"


def test_the_shell_for_ash_is_ash_itself_or_bash_or_sh(tmp_path):
    search = str(tmp_path)
    assert shell_for_ash(search) == "/bin/sh"
    for name, shell in (("bash", f"{tmp_path}/bash"), ("ash", "")):
        (tmp_path / name).touch(mode=0o755)
        assert shell_for_ash(search) == shell
