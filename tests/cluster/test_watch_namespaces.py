"""A controller that has Roles only, those of an installation limited to a team's namespaces."""

import pytest
from rights import as_user, token, write_kubeconfig

from resultsfw import PODS
from resultsfw.controller.manifests import Choices, kind_of, plan_of
from resultsfw.errors import ForbiddenError
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

STEP = {"name": "one", "image": "busybox:1", "script": "printf ok > $(results.digest.path)"}
TASK = {"results": [{"name": "digest"}], "steps": [STEP]}


def run_of(place, kind, name, **spec):
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": place.namespace},
        "spec": {"managedBy": place.managed_by, **spec},
    }


def test_a_team_without_any_right_across_the_cluster_runs_a_controller_of_its_own(make_place, tmp_path):
    team, other, foreign = make_place(), make_place(), make_place()
    team.flags()
    choices = Choices(
        watch_namespaces=(team.namespace, other.namespace, "t-does-not-exist"),
        namespace=team.namespace,
        controller_namespace=team.namespace,
    )
    applied = [obj for obj in plan_of(choices).applied if obj["kind"] != "Deployment"]
    assert {obj["kind"] for obj in applied} == {"Role", "RoleBinding", "Service", "ServiceAccount"}
    for obj in applied:
        if obj["metadata"]["namespace"] != "t-does-not-exist":
            team.server.create(kind_of(obj), obj)
    limited = as_user(team.server, text := token(team.server, team.namespace, "resultsfw-controller"))
    for namespace in ("", foreign.namespace):
        with pytest.raises(ForbiddenError):
            limited.list(PODS, namespace)

    watched = ",".join(choices.watch_namespaces)
    controller = team.start(
        *("--kubeconfig", str(write_kubeconfig(text, tmp_path)), "--watch-namespaces", watched),
        *("--lease-namespace", team.namespace),
    )
    for place in (team, other, foreign):
        run = run_of(place, TASKRUNS, "run", taskSpec=TASK)
        run["spec"]["managedBy"] = team.managed_by
        place.server.create(TASKRUNS, run)
    tasks = [{"name": "a", "taskSpec": TASK}]
    team.server.create(PIPELINERUNS, run_of(team, PIPELINERUNS, "pipeline", pipelineSpec={"tasks": tasks}))
    team.until_done(180)
    other.until_done(180)

    def pipelinerun():
        return team.server.get(PIPELINERUNS, team.namespace, "pipeline")

    team.until(lambda: succeeded(pipelinerun()).get("status") == "True", 60)
    for place in (team, other):
        assert place.runs()["run"]["status"]["results"][0]["value"] == "ok"
    assert "status" not in foreign.runs()["run"]
    assert any("t-does-not-exist" in line and "is not watched" in line for line in controller.lines)
    refused = [line for line in controller.lines if "forbidden" in line or "not allowed" in line]
    assert not [line for line in refused if "t-does-not-exist" not in line]
    team.assert_none_doubled()
