"""Check that the documents agree with the code, the tests and each other."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from resultsfw import PODS, Object, ResultsManager, errors

ROOT = Path(__file__).parents[1]
EMBED = ROOT / "examples" / "02-embedding" / "embed.py"
BARE: Object = {
    "apiVersion": PODS.api_version,
    "kind": "Pod",
    "metadata": {"name": "report", "namespace": "default"},
    "spec": {"containers": [{"name": "build", "image": "i"}]},
}


def test_embedding_example_is_short_and_shown_in_its_document():
    text = EMBED.read_text()
    assert len(text.splitlines()) < 25
    assert f"```python\n{text}```" in (ROOT / "docs" / "how-to" / "embedding.md").read_text()


def test_embedding_example_collects_the_results_of_a_run():
    """With a pod of the embedder's own, no entrypoint in it: a container that writes its own message."""
    example: dict[str, Any] = runpy.run_path(str(EMBED))
    pod = example["begin"](BARE)
    assert pod["metadata"]["annotations"]["resultsfw.dev/stamp"] == "termination-message/1"
    report: Object = {"metadata": {"name": "report", "resourceVersion": "7"}}
    cluster = object()  # this backend asks the cluster nothing
    assert example["follow"](report, pod, cluster, "2026-01-01T00:00:00Z") is None
    message = '[{"key":"digest","value":"d","type":1},{"key":"files","value":"[\\"a\\"]","type":1}]'
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": message}}
    pod["status"] = {"phase": "Succeeded", "containerStatuses": [{"name": "build", "state": ended}]}
    patch = example["follow"](report, pod, cluster, "2026-01-01T00:00:00Z")
    assert patch["metadata"] == {"resourceVersion": "7"}
    assert [result["value"] for result in patch["status"]["results"]] == ["d", ["a"]]
    assert patch["status"]["conditions"][0]["status"] == "True"


EMBEDDING = (ROOT / "docs" / "how-to" / "embedding.md").read_text()
SNIPPETS = re.findall(r"^```(python|sh)\n(.*?)^```$", EMBEDDING, re.MULTILINE | re.DOTALL)


def test_every_snippet_for_embedders_comes_from_a_tested_file_or_is_run_here():
    folders = ("examples", "tests/typing/good")
    tested = [file.read_text() for folder in folders for file in (ROOT / folder).rglob("*.py")]
    for kind, snippet in SNIPPETS:
        cut = any(textwrap.indent(snippet, " " * width) in text for text in tested for width in (0, 4))
        run = "/dev/termination-log" in snippet or "RESULTSFW_RESULTS" in snippet
        assert cut or run, snippet
        assert cut or kind == "sh" or "json.dumps" in snippet


@pytest.mark.parametrize("kind", ["python", "sh"])
def test_one_liners_for_containers_without_an_entrypoint_write_readable_messages(kind, tmp_path):
    (snippet,) = (text for of, text in SNIPPETS if of == kind and "/dev/termination-log" in text)
    file = tmp_path / "message"
    text = snippet.replace("/dev/termination-log", str(file))
    command = [sys.executable, "-c"] if kind == "python" else ["sh", "-c"]
    subprocess.run([*command, text], env={"digest": "sha256:0123", "PATH": os.environ["PATH"]}, check=True)
    example: dict[str, Any] = runpy.run_path(str(EMBED))
    pod = example["begin"](BARE)
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": file.read_text()}}
    pod["status"] = {"phase": "Succeeded", "containerStatuses": [{"name": "build", "state": ended}]}
    collected = example["core"].collect(example["run"], pod, None)
    assert collected.ok
    values = {"digest": "sha256:0123"} | ({"files": ["a.txt", "b.txt"]} if kind == "python" else {})
    assert {result.name: result.value for result in collected.results} == values


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
def test_jq_command_writes_any_value():
    (line,) = re.findall(r"`(jq [^`]+)`", " ".join(EMBEDDING.split()))
    value = 'quotes " and \\ and\nlines \ufffd'
    env = {"value": value, "PATH": os.environ["PATH"]}
    said = subprocess.run(["sh", "-c", line], env=env, check=True, capture_output=True, text=True).stdout
    assert json.loads(said) == [{"key": "digest", "value": value, "type": 1}]
    assert said.isascii()


def test_shell_snippet_writes_the_file_of_a_result(tmp_path):
    (snippet,) = (text for _, text in SNIPPETS if "RESULTSFW_RESULTS" in text and "/dev/" not in text)
    env = {"digest": "sha256:0123", "RESULTSFW_RESULTS": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run(["sh", "-c", snippet], env=env, check=True)
    assert (tmp_path / "digest").read_text() == "sha256:0123"


def test_every_error_and_every_call_is_documented_for_embedders():
    for name in errors.__all__:
        if name != "ResultsError":
            assert f"| `{name}` | `{getattr(errors, name).code}` |" in EMBEDDING
    for name in vars(ResultsManager):
        if not name.startswith("_"):
            end = "`" if isinstance(vars(ResultsManager)[name], property) else "("
            assert f"core.{name}{end}" in EMBEDDING.replace("ResultsManager.", "core."), name


@pytest.mark.parametrize(
    "document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda p: p.name
)
def test_link_targets_exist(document):
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def anchors(document):
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = [
        re.sub(r"[^\w -]", "", text.lower()) for text in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    ]
    return {heading.replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda p: p.name
)
def test_sections_that_are_linked_exist(document):
    for target, anchor in re.findall(r"\]\(((?!https?:)[^)#]*)#([^)]+)\)", document.read_text()):
        page = document.parent / target if target else document
        assert page.suffix != ".md" or anchor in anchors(page), f"{target}#{anchor}"


PATHS = re.compile(r"`([\w-]+(?:/[\w.*-]+)*/?)`")
PLACES = [ROOT, *(ROOT / name for name in ("resultsfw", "backends", "sidecar"))]


@pytest.mark.parametrize(
    "document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda p: p.name
)
def test_files_and_folders_that_a_document_names_exist(document):
    """A path of this repository has a folder, and an ending or a slash at its end."""
    for path in PATHS.findall(document.read_text()):
        if "/" in path and path.endswith(("/", ".py", ".yaml", ".toml", ".txt", ".json", ".md")):
            assert any(list(place.glob(path.rstrip("/"))) for place in PLACES), path


GUARANTEES = dict(
    re.findall(
        r"^## Guarantee (\d+)$(.*?)(?=^## |\Z)",
        (ROOT / "docs" / "explanation" / "guarantees.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)


@pytest.mark.parametrize("number", range(14))
def test_each_guarantee_names_tests_that_exist(number):
    named = re.findall(
        r"^- `((?:tests|resultsfw/testing)/[\w/]+\.py)::(test_\w+)`$", GUARANTEES[str(number)], re.MULTILINE
    )
    assert named
    for file, test in named:
        assert re.search(rf"^(    )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file}::{test}"


def test_guarantees_that_are_cited_exist():
    assert list(GUARANTEES) == [str(number) for number in range(14)]
    folders = ("docs", "resultsfw", "backends", "extensions", "sidecar", "tests")
    cited = re.compile(r"\b[Gg]uarantees? (\d+)")
    for file in (path for folder in folders for path in (ROOT / folder).rglob("*.[mp][dy]")):
        assert set(cited.findall(file.read_text())) <= set(GUARANTEES), file


def test_each_decision_is_in_the_index_under_its_title():
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    for page in (ROOT / "docs" / "decisions").glob("0*.md"):
        number, title = page.read_text().splitlines()[0].removeprefix("# ").split(": ", 1)
        assert f"| [{number}]({page.name}) | {title} |" in index
        assert page.name.startswith(f"{number}-")
