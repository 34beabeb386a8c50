"""The captured situations: what each ends with on a live cluster, however our reconciler is driven."""

import copy
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import captures
from api import ApiServer

from resultsfw import PODS, Object, Reference, read_reference
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.tekton.api.kinds import TASKRUNS

if TYPE_CHECKING:
    from place import Place

End = tuple[str, dict[str, Any], tuple[str, ...]]

TOO_LARGE = "TaskRunResultLargerThanAllowedLimit"

_DIGEST = "0123456789abcdef" * 4

# What each ends with: reason, results, words of the message. Where this is not Tekton's verdict, the
# design says why.
ENDS: dict[str, End] = {
    "sl-100k": ("Succeeded", {"big": "x" * 100_000}, ()),
    "sl-array-object": (
        "Succeeded",
        {"images": ["a", "b", ""], "image": {"url": "r/app", "digest": "sha256:1"}},
        (),
    ),
    "sl-artifacts": (
        "Succeeded",
        {"seen": '[{"digest":{"sha1":"1a","sha256":"2b"},"uri":"pkg:git/app@1"}]'},
        (),
    ),
    "sl-awkward-bytes": (
        "TaskRunResultRefused",
        {"lines": 'a\nb\t"c"\\d\r\n', "emoji": "\U0001f680", "html": "<a>&</a>"},
        ('"latin1"',),
    ),
    "sl-basic": ("Succeeded", {"digest": "sha256:0123", "url": "registry/app\n"}, ()),
    "sl-cancelled": ("TaskRunCancelled", {"digest": "d"}, ("was cancelled",)),
    "sl-crd-overflow": (
        TOO_LARGE,
        {"a": "a" * 600_000, "b": "b" * 600_000},
        ('"c"', "1800000 bytes", "1572864 bytes"),
    ),
    "sl-exactly-4096": ("Succeeded", {"big": "x" * 4096}, ()),
    "sl-forged": ("Succeeded", {"digest": "real"}, ()),
    "sl-oversize": (TOO_LARGE, {"small": "s"}, ('"big"', "5000 bytes", "4096 bytes")),
    "sl-reserved-sidecar": ("PodCreationFailed", {}, ("cannot use reserved sidecar name",)),
    "sl-step-fails": ("StepFailed", {"digest": "d"}, ('"step-two" exited with code 3: Error',)),
    "sl-step-oom": ("StepOOM", {"digest": "d"}, ('"step-one" exited with code 137: OOMKilled',)),
    "sl-step-results": ("Succeeded", {"digest": "sha256:9"}, ()),
    "sl-step-results-only": ("Succeeded", {}, ()),
    "sl-user-sidecar": ("Succeeded", {"digest": "d"}, ()),
    "tm-array-object": (
        "Succeeded",
        {"images": ["a", "b", ""], "image": {"url": "r/app", "digest": "sha256:1"}},
        (),
    ),
    "tm-artifacts": (
        "Succeeded",
        {"seen": '[{"uri":"pkg:git/app@1"}]'},
        ('artifacts of Step "report" left out, as in Tekton: not JSON',),
    ),
    "tm-basic": ("Succeeded", {"digest": "sha256:0123", "url": "registry/app\n"}, ()),
    "tm-compressed": (
        "Succeeded",
        {f"digest-{n}": f"registry.example/team/app-{n}@sha256:{_DIGEST}" for n in range(39)}
        | {"digest-39": "again"},
        (),
    ),
    "tm-missing-result": ("Succeeded", {"here": "d"}, ()),
    "tm-onerror-continue": ("Succeeded", {"digest": "d"}, ()),
    "tm-overflow": (TOO_LARGE, {"small": "hello"}, ('"big"', "3072 bytes", '"step-one"')),
    "tm-overflow-entrypoint": ("StepFailed", {}, ('"step-one" exited with code 1',)),
    "tm-retries": ("StepFailed", {"digest": "first"}, ('"step-one" exited with code 1',)),
    "tm-step-fails": ("StepFailed", {"digest": "d"}, ('"step-two" exited with code 3: Error',)),
}


def taskrun(situation: str, namespace: str, name: str, managed_by: str) -> Object:
    """A run in that situation, to be created."""
    made: Object = copy.deepcopy(captures.load(situation)["taskrun"])
    made["metadata"] |= {"name": name, "namespace": namespace}
    made["spec"]["managedBy"] = managed_by
    return with_user(made)


def submit(server: ApiServer, situation: str, made: Object) -> bool:
    """Create the run; whether the server takes it.

    Tekton's webhook, where one runs, refuses some situations before any controller sees them. What it says
    then is what the run's message would have said.
    """
    reason, _, words = ENDS[situation]
    try:
        server.create(TASKRUNS, made)
    except ClusterError as error:
        if "admission webhook" not in error.message:
            raise
        refusal = error.message
    else:
        return True
    assert reason == "PodCreationFailed", (situation, refusal)
    for word in words:
        assert word in refusal, situation
    return False


def with_user(taskrun: Object) -> Object:
    """The run, whose pod has a user where the images do not name one."""
    if user := os.environ.get("RESULTSFW_RUN_AS_USER"):
        template = {"securityContext": {"runAsUser": int(user)}}
        taskrun["spec"]["podTemplate"] = {**taskrun["spec"].get("podTemplate", {}), **template}
    return taskrun


def check(situation: str, final: Object, end: End | None = None) -> None:
    """That a run which is over ended as it should."""
    reason, results, words = end or ENDS[situation]
    (condition,) = [one for one in final["status"]["conditions"] if one["type"] == "Succeeded"]
    assert condition["reason"] == reason, (situation, condition)
    found = {one["name"]: one["value"] for one in final["status"].get("results", [])}
    assert found == results, (situation, condition)
    for word in words:
        assert word in condition["message"], situation
    if situation.endswith("-artifacts"):
        theirs = captures.load(situation)["tekton_final"]["status"]
        assert final["status"]["artifacts"] == theirs["artifacts"], situation
        for kind in ("inputs", "outputs"):
            assert [step.get(kind) for step in final["status"]["steps"]] == [
                step.get(kind) for step in theirs["steps"]
            ], situation
    if situation == "sl-step-results-only":
        assert final["status"]["steps"][0]["results"][0]["value"] == "sha256:9"


def cancel_when_the_second_step_runs(server: ApiServer, taskrun: Object) -> None:
    """What somebody does in ``sl-cancelled``."""
    metadata = taskrun["metadata"]
    try:
        pod = server.get(PODS, metadata["namespace"], taskrun.get("status", {}).get("podName") or "none")
    except NotFoundError:
        return
    states = {one["name"]: one["state"] for one in pod["status"].get("containerStatuses", [])}
    if "terminated" in states.get("step-one", {}) and taskrun["spec"].get("status") is None:
        patch = {"spec": {"status": "TaskRunCancelled"}}
        server.patch(TASKRUNS, metadata["namespace"], metadata["name"], patch)


BEYOND_AN_OBJECT: Final[Mapping[str, set[str]]] = {
    "sl-crd-overflow": {"a", "b", "c"},
    "sl-oversize": {"small", "big"},
}
"""Situations that fail by value, with the results that arrive by reference: no object limits these."""


def check_all_by_reference(place: "Place", read: Callable[[str, str, Reference], str]) -> None:
    """That every situation of sidecar logs ends as it should where large values arrive by reference.

    Args:
        place: With its flags set and its controller started.
        read: Returns a value as text, of a run, a result and its reference.
    """
    situations = [name for name in ENDS if name.startswith("sl-")]
    submitted = [
        name
        for name in situations
        if submit(place.server, name, taskrun(name, place.namespace, name, place.managed_by))
    ]

    def cancel(run: Object) -> None:
        if run["metadata"]["name"] == "sl-cancelled":
            cancel_when_the_second_step_runs(place.server, run)

    finals = place.until_done(400, cancel)
    for name in submitted:
        final = finals[name]
        if name in BEYOND_AN_OBJECT:
            [condition] = final["status"]["conditions"]
            assert condition["status"] == "True", condition
            assert {result["name"] for result in final["status"]["results"]} == BEYOND_AN_OBJECT[name]
            continue
        for result in final["status"].get("results", ()):
            if (reference := read_reference(result["value"])) is not None:
                result["value"] = read(name, result["name"], reference)
        check(name, final)
    place.assert_none_doubled()
