"""Affinity assistants compared with those of a real Tekton (`tests/data/tekton/coscheduling.json`)."""

import json
from typing import Any

import pytest
from captures import FOLDER
from pipelinerun_harness import PipelineRunHarness, pipeline_task

from resultsfw import Object
from resultsfw.cluster import PODS
from resultsfw.errors import FlagError, ForbiddenError, NotFoundError, UnavailableError
from resultsfw.tekton.api.kinds import ASSISTANT_ANNOTATION, CLAIMS, TASKRUNS
from resultsfw.tekton.pipelinerun.affinity_assistant import assistants_of, bound_claim, claims_to_delete
from resultsfw.tekton.pipelinerun.assistants import (
    NODES,
    STATEFUL_SETS,
    create_assistants,
    leave_cordoned_nodes,
    remove_assistants,
)
from resultsfw.tekton.pipelinerun.task_workspaces import assistant_annotation, task_workspaces
from resultsfw.tekton.pod.affinity import affinity_events, with_affinity_assistant
from resultsfw.tekton.spec.coscheduling import Coscheduling, assistant_template_of, mode_of
from resultsfw.tekton.taskrun.settings import settings_of

CAPTURED: dict[str, Any] = json.loads((FOLDER.parent / "tekton" / "coscheduling.json").read_text())
MODES = list(CAPTURED)


def run_of(mode: str) -> Object:
    return CAPTURED[mode]["run"]


def coscheduling(mode: str, **given: Any) -> Coscheduling:
    return Coscheduling(mode=mode, image="tekton/nop:1", **given)


def bindings(mode: str) -> list[Object]:
    return run_of(mode)["spec"]["workspaces"]


@pytest.mark.parametrize("mode", MODES)
def test_stateful_sets_are_those_of_tekton(mode):
    made = assistants_of(run_of(mode), bindings(mode), coscheduling(mode))
    for stateful_set in made:
        stateful_set["metadata"].pop("namespace")
        assert stateful_set["spec"].pop("serviceName") == ""
        assert (stateful_set.pop("apiVersion"), stateful_set.pop("kind")) == ("apps/v1", "StatefulSet")
    by_name = sorted(made, key=lambda stateful_set: stateful_set["metadata"]["name"])
    captured = sorted(CAPTURED[mode]["statefulSets"], key=lambda found: found["metadata"]["name"])
    assert by_name == captured


@pytest.mark.parametrize("mode", MODES)
def test_taskruns_bind_and_name_what_tektons_do(mode):
    run = run_of(mode)
    bound = {binding["name"]: binding for binding in bindings(mode)}
    for task in run["spec"]["pipelineSpec"]["tasks"]:
        captured = CAPTURED[mode]["taskRuns"][task["name"]]
        annotation = assistant_annotation(run, bound, task, mode)
        assert task_workspaces(run, bound, task, mode) == captured["workspaces"]
        assert annotation.get(ASSISTANT_ANNOTATION) == captured["annotation"]
        taskrun = {"metadata": {"annotations": annotation}}
        assert with_affinity_assistant(taskrun, None) == CAPTURED[mode]["affinity"][task["name"]]


def test_a_runs_own_affinity_stays_and_gets_nothing_of_its_assistants():
    """Tekton appends to the run's own template, so that its TaskRuns must avoid the node they must be on."""
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
    own = {
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
    }
    run = {
        "metadata": {"name": "r", "uid": "u"},
        "spec": {"taskRunTemplate": {"podTemplate": {"affinity": own}}},
    }
    before = json.dumps(run)
    (made,) = assistants_of(run, [], coscheduling("isolate-pipelinerun"))
    affinity = made["spec"]["template"]["spec"]["affinity"]
    assert affinity["podAffinity"] == own["podAffinity"]
    assert affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0] == term
    assert len(affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]) == 2
    placed = with_affinity_assistant({"metadata": {"annotations": {ASSISTANT_ANNOTATION: "x"}}}, own)
    assert placed["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0] == term
    assert len(placed["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]) == 2
    assert placed["podAntiAffinity"] == own["podAntiAffinity"]
    assert json.dumps(run) == before


def test_a_template_with_an_affinity_of_its_own_is_reported_as_tekton_does():
    pod = {"metadata": {"name": "p"}}
    spec = {"podTemplate": {"affinity": {"podAffinity": {}}}}
    placed = {"metadata": {"annotations": {ASSISTANT_ANNOTATION: "x"}}, "spec": spec}
    ((reason, message),) = affinity_events(placed, pod)
    assert reason == "PodAffinityOverwrite"
    assert message == 'Pod template affinity is overwritten by affinity assistant for pod "p"'
    assert affinity_events({"metadata": {}, "spec": spec}, pod) == ()
    assert affinity_events({**placed, "spec": {}}, pod) == ()


@pytest.mark.parametrize("mode", MODES)
def test_the_claim_that_tasks_bind_is_the_one_that_is_made(mode):
    (template,) = [binding for binding in bindings(mode) if "volumeClaimTemplate" in binding]
    assert bound_claim(template, run_of(mode), mode) in CAPTURED[mode]["claims"]


def test_claims_end_with_the_run_where_an_assistant_made_them_or_on_request():
    assert claims_to_delete(run_of("workspaces"), "workspaces") == []
    for mode in ("pipelineruns", "isolate-pipelinerun"):
        assert claims_to_delete(run_of(mode), mode) == [
            name for name in CAPTURED[mode]["claims"] if name != "own-claim"
        ]
    run = run_of("workspaces")
    asked = {**run, "metadata": {**run["metadata"], "annotations": {"tekton.dev/auto-cleanup-pvc": "true"}}}
    assert claims_to_delete(asked, "workspaces") == [
        name for name in CAPTURED["workspaces"]["claims"] if name != "own-claim"
    ]
    assert claims_to_delete(asked, "disabled") == []


def test_a_claim_that_a_result_will_name_has_no_assistant():
    """Its pod would wait for a claim of that very name, and all pods for it."""
    run = run_of("workspaces")
    bound = {"own": {"name": "own", "persistentVolumeClaim": {"claimName": "$(tasks.a.results.claim)"}}}
    assert assistants_of(run, bound.values(), coscheduling("workspaces")) == []
    task = {"name": "b", "workspaces": [{"name": "own"}]}
    assert assistant_annotation(run, bound, task, "workspaces") == {}


def test_the_default_template_is_below_the_runs_but_its_account_is_above():
    template = {"tolerations": [], "priorityClassName": "low", "serviceAccountName": "assistant"}
    (made,) = assistants_of(
        run_of("pipelineruns"),
        [],
        coscheduling("pipelineruns", pod_template=template, security_context={"runAsNonRoot": True}),
    )
    pod = made["spec"]["template"]["spec"]
    assert pod["tolerations"] == [{"key": "x", "operator": "Exists"}]
    assert (pod["priorityClassName"], pod["serviceAccountName"]) == ("low", "assistant")
    assert pod["containers"][0]["securityContext"] == {"runAsNonRoot": True}


def test_flags_set_the_mode_and_the_template():
    defaults = {"default-affinity-assistant-pod-template": "nodeSelector: {disk: ssd}"}
    settings = settings_of({"coschedule": " pipelineruns "}, defaults)
    assert settings.coscheduling.mode == "pipelineruns"
    assert settings.coscheduling.pod_template == {"nodeSelector": {"disk": "ssd"}}
    assert not settings.policies.one_claim
    assert settings_of({"coschedule": "workspaces"}, {}).policies.one_claim
    assert mode_of({}) == mode_of({"coschedule": ""}) == "disabled"


def test_invalid_flags_are_refused_by_key():
    with pytest.raises(
        FlagError, match=r'"coschedule": "workspace" is not one of .*did you mean "workspaces"'
    ):
        mode_of({"coschedule": "workspace"})
    with pytest.raises(FlagError, match="hostNetwork: is not one of nodeSelector"):
        assistant_template_of({"default-affinity-assistant-pod-template": "hostNetwork: true"})


class Server:
    """An API server that holds objects by kind and name, and fails as told."""

    def __init__(self, **failures: Exception) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.failures = failures
        self.patches: list[Object] = []

    def _fail(self, verb: str) -> None:
        if verb in self.failures:
            raise self.failures[verb]

    def get(self, kind: Any, _namespace: str, name: str) -> Object:
        self._fail("get")
        if (kind.kind, name) not in self.objects:
            raise NotFoundError(f"{name} not found")
        return self.objects[kind.kind, name]

    def create(self, kind: Any, obj: Object) -> Object:
        self._fail("create")
        return self.objects.setdefault((kind.kind, obj["metadata"]["name"]), obj)

    def delete(self, kind: Any, _namespace: str, name: str) -> None:
        self._fail("delete")
        if self.objects.pop((kind.kind, name), None) is None:
            raise NotFoundError(f"{name} not found")

    def patch(self, _kind: Any, _namespace: str, _name: str, patch: Object) -> None:
        self.patches.append(patch)


def test_assistants_are_created_and_removed_with_the_claims_that_they_made():
    run, mode = run_of("pipelineruns"), "pipelineruns"
    server = Server()
    assert create_assistants(server, run, bindings(mode), coscheduling(mode)) is None
    ((kind, _),) = server.objects
    assert kind == STATEFUL_SETS.kind
    (claim,) = claims_to_delete(run, mode)
    finalizers = ["kubernetes.io/pvc-protection", "other"]
    server.create(CLAIMS, {"metadata": {"name": claim, "finalizers": finalizers}})
    assert remove_assistants(server, run, mode) == []
    assert server.objects == {}
    assert server.patches == [{"metadata": {"finalizers": ["other"]}}]
    assert remove_assistants(server, run, mode) == []


def test_a_run_ends_though_its_assistant_cannot_be_removed():
    server = Server(delete=ForbiddenError("no right"), get=UnavailableError("no answer"))
    left = remove_assistants(server, run_of("pipelineruns"), "pipelineruns")
    assert [line.split(" affinity")[0] for line in left[:1]] == ["failed to delete StatefulSet"]
    assert "no right" in left[0]
    assert "no answer" in left[1]


def test_a_creation_that_fails_is_named_as_tekton_names_it():
    server = Server(create=ForbiddenError("no right"))
    failure = create_assistants(
        server, run_of("pipelineruns"), bindings("pipelineruns"), coscheduling("pipelineruns")
    )
    assert failure is not None
    assert failure[0].startswith(
        "Failed to create StatefulSet for PipelineRun /beside correctly: Affinity Assistant creation error: "
        "[failed to create StatefulSet affinity-assistant-"
    )
    assert failure[0].endswith(": no right]")


@pytest.mark.parametrize("cordoned", [True, False])
def test_an_assistant_leaves_a_cordoned_node(cordoned):
    run, server = run_of("pipelineruns"), Server()
    create_assistants(server, run, [], coscheduling("pipelineruns"))
    ((_, name),) = server.objects
    server.create(PODS, {"metadata": {"name": f"{name}-0"}, "spec": {"nodeName": "n"}})
    server.create(NODES, {"metadata": {"name": "n"}, "spec": {"unschedulable": cordoned}})
    leave_cordoned_nodes(server, run, "pipelineruns")
    assert (("Pod", f"{name}-0") in server.objects) is not cordoned


def test_what_cannot_be_found_out_about_nodes_changes_nothing():
    leave_cordoned_nodes(Server(get=ForbiddenError("no right")), run_of("pipelineruns"), "pipelineruns")


def harness_of(mode: str) -> PipelineRunHarness:
    claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    return PipelineRunHarness(
        pipeline_task("a", workspaces=[{"name": "w"}]),
        coscheduling=coscheduling(mode),
        workspaces=[{"name": "w"}],
        run_workspaces=[{"name": "w", "volumeClaimTemplate": claim}],
    )


@pytest.mark.parametrize("mode", [*MODES, "disabled"])
@pytest.mark.parametrize("requested", ["", "Cancelled"])
def test_a_run_has_its_assistant_from_before_its_first_task_until_its_end(mode, requested):
    harness = harness_of(mode)
    harness.reconcile()
    sets = harness.store.list(STATEFUL_SETS)
    (taskrun,) = harness.store.list(TASKRUNS)
    annotation = (taskrun["metadata"].get("annotations") or {}).get(ASSISTANT_ANNOTATION, "")
    assert [stateful_set["metadata"]["name"] for stateful_set in sets] == [annotation] * (mode != "disabled")
    is_made_here = mode in {"workspaces", "disabled"}
    assert len(harness.store.list(CLAIMS)) == is_made_here
    if requested:
        harness.request_status(requested)
    else:
        harness.finish_task("a")
    harness.reconcile()
    harness.reconcile()
    assert harness.is_done
    assert harness.store.list(STATEFUL_SETS) == []
    assert len(harness.store.list(CLAIMS)) == is_made_here


def test_without_claims_nothing_is_asked_for():
    harness = PipelineRunHarness(pipeline_task("a"), coscheduling=coscheduling("workspaces"))
    harness.reconcile()
    assert {kind for _, kind in harness.store.calls} == {"PipelineRun", "TaskRun"}
