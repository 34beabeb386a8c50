"""A value never reaches a message, wherever in a document it stands and however wrong it is there.

Names are shown: of fields, parameters, Steps, results. Values are not.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.core import ResultsManager
from resultsfw.documents import DocumentError, read
from resultsfw.errors import ResultsError
from resultsfw.tekton.api.models import validate_task_document, validate_taskrun_document
from resultsfw.tekton.api.quantities import parse_quantity
from resultsfw.tekton.pod.builder import PodOptions, build_pod
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid

PLANTED = "hunter2"
PIN = 987654321

TASK = {
    "params": [{"name": "p", "type": "string", "default": "a", "enum": ["a", "b"]}],
    "results": [{"name": "r", "type": "string", "description": "d"}],
    "stepTemplate": {"env": [{"name": "T", "value": "t"}]},
    "steps": [
        {
            "name": "s",
            "image": "i",
            "script": "true",
            "env": [{"name": "E", "value": "e"}],
            "timeout": "5m",
            "onError": "continue",
            "computeResources": {"requests": {"cpu": "1"}},
        }
    ],
    "workspaces": [{"name": "w", "optional": True}],
}
RUN = {
    "apiVersion": "tekton.dev/v1",
    "kind": "TaskRun",
    "metadata": {"name": "run", "namespace": "default"},
    "spec": {
        "taskSpec": TASK,
        "params": [{"name": "p", "value": "a"}],
        "timeout": "1h",
        "retries": 1,
        "computeResources": {"requests": {"cpu": "1"}},
        "podTemplate": {"env": [{"name": "X", "value": "x"}]},
    },
}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        found += paths(part, (*path, key))
    return found


def said(action: Callable[[], object]) -> str:
    """The message of what an action refuses; "" if it refuses nothing."""
    try:
        action()
    except (ResultsError, DocumentError) as error:
        return str(error)
    return ""


def shows_nothing(message: str) -> None:
    assert PLANTED not in message
    assert str(PIN) not in message


def planted(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    place = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return changed


NAMED = ("name", "kind", "apiVersion")
PLACES = [path for path in paths(RUN) if path[-1] not in NAMED]
WRONG = [
    PLANTED,
    f"x: {PLANTED}",
    f'"{PLANTED}',
    [PLANTED],
    [[PLANTED]],
    {"a": PLANTED},
    {"name": "n", "value": [PLANTED]},
    PIN,
    -PIN,
    PIN + 0.5,
    f"$(params.{PLANTED})"[:9] + f"p) {PLANTED}",
]


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_no_wrong_value_of_a_run_reaches_a_message(path):
    for value in WRONG:
        document = planted(RUN, path, value)
        shows_nothing(said(lambda: start(document)))  # noqa: B023 - called at once


def start(taskrun: Any) -> None:
    """What is done with a run before there is a pod."""
    validate_taskrun_document(taskrun)
    spec = taskrun["spec"]["taskSpec"]
    refuse_invalid(taskrun, spec)
    build_pod(taskrun, spec, attempt=0, options=PodOptions())


@pytest.mark.parametrize("path", [path for path in paths(TASK) if path[-1] not in NAMED], ids=str)
def test_no_wrong_value_of_a_task_reaches_a_message(path):
    for value in WRONG:
        document = {
            "apiVersion": "tekton.dev/v1",
            "kind": "Task",
            "metadata": {"name": "t"},
            "spec": planted(TASK, path, value),
        }
        shows_nothing(said(lambda: validate_task_document(document)))  # noqa: B023 - called at once


@given(
    st.lists(
        st.sampled_from(
            ["a: ", "- ", "*", "!", "&", "'", '"', "|", "%", "{", "[", "\n", "\t", ": ", "0x", "@"]
        ),
        max_size=8,
    ).map("".join),
    st.lists(st.sampled_from(["'", '"', "}", "]", "\n", ": ", "\\q", "b"]), max_size=4).map("".join),
)
def test_no_text_that_is_no_yaml_reaches_a_message(before, behind):
    """An unquoted password may begin with what YAML takes for an alias or a tag."""
    shows_nothing(said(lambda: read(f"a: {before}{PLANTED}{behind}")))


@pytest.mark.parametrize(
    ("backend", "option"),
    [
        *(("sidecar-logs", one) for one in ("image", "polling-interval", "cpu", "memory", "sidecar", "wire")),
        *(("http", one) for one in ("url", "ca", "ca-config-map", "audience", "memory")),
        *(("object-store", one) for one in ("url", "secret", "options", "grace")),
    ],
)
@pytest.mark.parametrize(
    "value", [PLANTED, f"[{PLANTED}]", f"{{a: {PLANTED}}}", str(PIN), f"https://{PLANTED}@x"]
)
def test_no_option_of_a_backend_reaches_a_message(backend, option, value):
    flags = {"results-from": backend, f"config.{backend}": f"{option}: {value}"}
    shows_nothing(said(lambda: ResultsManager.from_flags(flags)))


@pytest.mark.parametrize("text", [PLANTED, f"a: *{PLANTED}", f"a: !{PLANTED} b", f"[{PLANTED}"])
def test_no_configuration_that_is_no_mapping_reaches_a_message(text):
    shows_nothing(said(lambda: ResultsManager.from_flags({"config.sidecar-logs": text})))


def test_no_amount_that_is_no_quantity_reaches_a_message():
    with pytest.raises(ValueError, match="no quantity") as caught:
        parse_quantity(PLANTED)
    assert PLANTED not in str(caught.value)
