"""`resultsfw explain -o html`: one page that says where each result went, and into which nothing leads."""

import base64
import contextlib
import copy
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resultsfw.cli import inspect
from resultsfw.cli.files.inputs import Document
from resultsfw.cli.graph import markup
from resultsfw.cli.graph.graph_data import MOST_TASKS
from resultsfw.cli.inspect.explain_html import page
from resultsfw.cli.inspect.explained import Explained
from resultsfw.cli.sources.saved_run import checked_status
from resultsfw.errors import InputError

TAGS = (
    "a article aside b body code dd div dl dt footer h1 h2 h3 h4 h5 h6 head html li main meta ol p pre "
    "section span style table tbody td th thead title tr svg g rect path circle text tspan"
)


class Page(HTMLParser):
    """What a browser takes a page for."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.style, self.words = set(), [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def values(self, tag, name):
        return [value for found, attribute, value in self.attributes if (found, attribute) == (tag, name)]


def check(text):
    """Check that a page leads nowhere else and contains nothing but our own elements."""
    found = Page(text)
    assert not found.open
    assert found.tags <= set(TAGS.split())
    names = {name for _, name, _ in found.attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style", "action")}
    assert all(link.startswith("#run-") for link in found.values("a", "href"))
    assert set(found.values("a", "href")) <= {f"#{value}" for value in found.values("section", "id")}
    policy = found.values("meta", "content")[0]
    digest = base64.b64encode(hashlib.sha256(found.style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    return found


def explained(cli, options):
    ran = cli("explain", *options, "-o", "html")
    assert ran.out.startswith('<!DOCTYPE html>\n<html lang="en">')
    return ran, check(ran.out)


def test_a_result_that_is_lost_stops_at_its_transport_and_the_page_says_what_to_do(cli, saved):
    ran, found = explained(cli, saved("tm-overflow"))
    assert ran.status == 1
    assert "big string lost Steps one, two passed file /tekton/results/big passed transport " in found.text
    assert "termination-message stopped status status.results not reached" in found.text
    assert "3072 bytes of 3072 (100 %), with small, and was cut short there" in found.text
    assert "What to do Set results-from: sidecar-logs, and max-result-size if " in found.text
    assert "kubectl patch cm feature-flags -n tekton-pipelines -p " in found.text


def test_a_result_that_the_run_has_no_space_for_stops_at_the_status(cli, saved):
    _, found = explained(cli, saved("sl-crd-overflow"))
    assert "status.results stopped all results together 1800000 bytes of 1572864 (114 %)" in found.text
    assert "this result 600000 bytes of 1000000 (60 %)" in found.text
    assert "all results in the status 1200000 bytes of 1572864 (76 %)" in found.text


def test_results_that_arrived_or_are_not_known_or_pending_are_told_apart(cli, saved):
    _, found = explained(cli, saved("sl-step-results"))
    assert "digest of Step build string arrived" in found.text
    assert "status.steps[build].results passed" in found.text
    _, found = explained(cli, saved("sl-basic", log=False))
    assert "transport sidecar-logs unknown" in found.text
    _, found = explained(cli, saved("tm-missing-result"))
    assert "gone string absent Step one stopped" in found.text
    _, found = explained(cli, saved("sl-reserved-sidecar"))
    assert "It was refused before a pod was created" in found.text


def a_pipelinerun(name="p", tasks=2, **status):
    conditions = [
        {"type": "Succeeded", "status": "True", "reason": "Completed", "message": "Tasks Completed"}
    ]
    steps = [{"name": "s", "image": "i"}]
    spec = {"tasks": [{"name": f"t{index}", "taskSpec": {"steps": steps}} for index in range(tasks)]}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": name, "namespace": "default"},
        "status": {"conditions": conditions, "pipelineSpec": spec, **status},
    }


def test_a_pipelinerun_has_its_graph_its_results_and_a_section_for_each_run(cli, write):
    task = {"results": [{"name": "r"}], "steps": [{"name": "s", "image": "i"}]}
    spec = {
        "tasks": [{"name": "t0", "taskSpec": task}],
        "results": [{"name": "whole", "value": "$(tasks.t0.results.r)"}, {"name": "none", "value": "x"}],
    }
    references = [
        {"name": name, "pipelineTaskName": "t0", "kind": "TaskRun", "apiVersion": "tekton.dev/v1"}
        for name in ("p-t0", "p-gone")
    ]
    run = a_pipelinerun(
        pipelineSpec=spec, childReferences=references, results=[{"name": "whole", "value": "12345"}]
    )
    child = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "p-t0", "namespace": "default"},
        "spec": {"taskSpec": task},
        "status": {
            "conditions": run["status"]["conditions"],
            "podName": "p-t0-pod",
            "taskSpec": task,
            "results": [{"name": "r", "type": "string", "value": "12345"}],
        },
    }
    listed = {"apiVersion": "v1", "kind": "List", "items": [run, child]}
    ran, found = explained(cli, ["-f", write("list.json", json.dumps(listed)), "pr/p"])
    assert ran.status == 0
    assert "svg" in found.tags
    for words in ("whole 5 $(tasks.t0.results.r)", "none absent x", "p-t0 succeeded 1 of 1"):
        assert words in found.text
    assert 'p-gone" cannot be read' in found.text
    assert found.values("a", "href") == ["#run-2"]
    assert "message calm" in found.values("p", "class") + found.values("div", "class")  # not as a failure


def test_a_pipelinerun_that_cannot_be_drawn_says_why():
    waits = [{"name": "a", "runAfter": ["a"], "taskRef": {"name": "x"}}]
    for run, why in (
        (a_pipelinerun(tasks=MOST_TASKS + 1), f"it has {MOST_TASKS + 1} Tasks, and at most"),
        (a_pipelinerun(pipelineSpec={"tasks": [{"name": 5}]}), "It is not drawn: "),
        (a_pipelinerun(pipelineSpec={"tasks": waits}), "cycle detected"),
        (a_pipelinerun(pipelineSpec=None), "its status has no Pipeline yet"),
    ):
        found = check(page([Explained(run=run)]))
        assert why in found.text
        assert "svg" not in found.tags


HOSTILE = st.text("<>&\"'/=a \n\x00\x1b\u202e\ud800-!]", max_size=30)
SHARP = "</style></title></text><script>alert(1)</script><img src=x onerror=y>-->\"' onload='&#60;\x1b[2J"


@given(HOSTILE, HOSTILE, HOSTILE)
@example(SHARP, SHARP, SHARP)
def test_no_name_or_message_becomes_an_element(name, task, message):
    run = a_pipelinerun(name)
    run["status"]["conditions"][0].update(status="False", reason=message, message=message)
    run["status"]["pipelineSpec"]["tasks"][0]["name"] = task
    run["status"]["pipelineSpec"]["results"] = [{"name": name, "value": message}]
    run["status"]["skippedTasks"] = [{"name": task, "reason": message}]
    found = check(page([Explained(run=run)]))
    assert all(char.isprintable() or char == "\n" for word in found.words for char in word)


def test_a_hostile_run_of_a_capture_becomes_no_element(cli, saved):
    def rename(run):
        run["metadata"]["namespace"] = "default"
        run["metadata"].setdefault("annotations", {})["a"] = SHARP

    options = saved("tm-overflow", change=rename)
    pod = json.loads(Path("pod.json").read_text())
    for status in pod["status"]["containerStatuses"]:
        if "terminated" in status["state"]:
            status["state"]["terminated"]["message"] = SHARP
            status["state"]["terminated"]["reason"] = SHARP
    Path("pod.json").write_text(json.dumps(pod))
    explained(cli, options)


def test_the_style_sheet_loads_nothing():
    text = Path(inspect.__file__).with_name("explain.css").read_text()
    assert "url(" not in text
    assert "@import" not in text
    assert "<" not in text


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "a\nb", "<b>"])
def test_an_element_has_its_text_escaped(text):
    built = markup.element("p", text, markup.element("b", "x"), text, title=text)
    found = Page(markup.as_html(built))
    assert found.tags == {"p", "b"}
    assert markup.as_svg(built).isascii()


def paths(value, path=()):
    """Yield the path of each part of plain data."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from paths(part, (*path, key))


WHOLE = a_pipelinerun(
    pipelineSpec={
        "tasks": [
            {"name": "a", "taskSpec": {"results": [{"name": "r"}], "steps": [{"name": "s", "image": "i"}]}},
            {
                "name": "b",
                "taskRef": {"name": "t"},
                "runAfter": ["a"],
                "params": [{"name": "p", "value": "x"}],
            },
            {
                "name": "c",
                "taskRef": {"name": "t"},
                "params": [{"name": "p", "value": "$(tasks.a.results.r)"}],
            },
        ],
        "finally": [{"name": "f", "taskRef": {"name": "t"}}],
        "results": [{"name": "w", "value": "$(tasks.a.results.r)"}],
    },
    childReferences=[{"name": "p-a", "pipelineTaskName": "a", "kind": "TaskRun"}],
    skippedTasks=[{"name": "b", "reason": "because"}],
    results=[{"name": "w", "value": {"k": ["v"]}}],
)
PATHS = [path for path in paths(WHOLE) if len(path) > 1]
VALUES = st.sampled_from(
    [None, 5, "", "x", "a", [], [5], ["a"], {}, {"name": "a"}, [{"name": "a"}], [{"x": 1}]]
)


@given(st.lists(st.tuples(st.sampled_from(PATHS), VALUES), min_size=1, max_size=3))
def test_whatever_a_saved_pipelinerun_is_it_is_drawn_or_refused(changes):
    run = copy.deepcopy(WHOLE)
    for path, value in changes:
        place = run
        with contextlib.suppress(LookupError, TypeError):  # the place itself was replaced before
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
    try:
        checked_status(Document("file", 1, run, ""))
    except InputError:
        return
    check(page([Explained(run=run)]))
