"""Whole runs by ConfigMap on the engine: the real sidecar, its token, its Role, the server's walls."""

import json
from typing import Any

import pytest
from localpods import await_true

from resultsfw import CONFIG_MAPS, PODS, Object, ResultsManager
from resultsfw.local.engine import Engine
from resultsfw.local.rbac import ROLE_BINDINGS, ROLES
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.reconciler import Reconciler

pytestmark = pytest.mark.slow

MiB = 1_048_576
SIDECARS = ["native", "plain"]
TOO_LARGE = "TaskRunResultLargerThanAllowedLimit"


class Machine:
    """Runs one TaskRun by ConfigMap; what it left behind is looked at before it stops."""

    def __init__(self, folder):
        self.folder = folder
        self.seen = lambda _engine, _obj: None

    def run(self, script: str, *results: str, sidecar: str = "native", more: Any = (), **spec: Any) -> Any:
        flags = {"results-from": "config-map", "max-result-size": str(MiB + 1)}
        core = ResultsManager.from_flags({**flags, "config.config-map": f"sidecar: {sidecar}"})
        box: list[Engine] = []

        def on_event(_change: str, obj: Object) -> None:
            if box:
                self.seen(box[0], obj)

        steps = [{"name": "one", "image": "i", "script": f"#!/bin/sh\n{script}"}, *more]
        declared = [{"name": name, "type": "string"} for name in results]
        with Engine(
            lambda cluster: Reconciler(core, cluster), workdir=self.folder, on_event=on_event
        ) as engine:
            box.append(engine)
            metadata = {"name": "run", "namespace": "default"}
            body = {"taskSpec": {"results": declared, "steps": steps}, **spec}
            engine.submit(
                {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata, "spec": body}
            )
            (final,) = engine.run_until_done(timeout=60)
            kinds = (CONFIG_MAPS, ROLES, ROLE_BINDINGS)
            await_true(lambda: not any(engine.store.list(kind) for kind in kinds))
        (verdict,) = final["status"]["conditions"]
        return verdict, {one["name"]: one["value"] for one in final["status"].get("results", [])}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_results_arrive_and_the_config_map_is_removed(machine, sidecar):
    script = "printf 'a\\n\"b\\001' > $(results.digest.path); printf '' > $(results.empty.path)"
    verdict, values = machine.run(script, "digest", "empty", "never", sidecar=sidecar)
    assert verdict["status"] == "True", verdict
    assert values == {"digest": 'a\n"b\1', "empty": ""}


def test_one_mebibyte_arrives_and_one_byte_more_fails_with_both_numbers(machine):
    half = f"head -c {MiB // 2} /dev/zero | tr '\\0' x"
    verdict, values = machine.run(
        f"{half} > $(results.a.path)\n{half} > $(results.b.path)\n"
        f"printf x > $(results.c.path); head -c {MiB + 1} /dev/zero > $(results.d.path)",
        *"abcd",
    )
    assert verdict["reason"] == TOO_LARGE
    for words in ('"c"', '"d"', f"{MiB + 1} bytes", f"{MiB} bytes"):
        assert words in verdict["message"]
    assert {name: len(value) for name, value in values.items()} == {"a": MiB // 2, "b": MiB // 2}


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_results_are_kept_if_a_step_fails_or_the_run_times_out(machine, sidecar):
    later = [{"name": "two", "image": "i", "script": "#!/bin/sh\nexec sleep 600"}]
    verdict, values = machine.run(
        "printf early > $(results.digest.path)", "digest", sidecar=sidecar, more=later, timeout="2s"
    )
    assert (verdict["reason"], values) == ("TaskRunTimeout", {"digest": "early"})


def test_results_are_kept_if_the_run_is_cancelled(machine):
    def cancel(engine, obj):
        steps = {one["name"]: one for one in obj.get("status", {}).get("steps", [])}
        if obj["kind"] == "TaskRun" and "terminated" in steps.get("one", {}):
            engine.store.patch(TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})

    machine.seen = cancel
    later = [{"name": "two", "image": "i", "script": "#!/bin/sh\nexec sleep 600"}]
    verdict, values = machine.run("printf early > $(results.digest.path)", "digest", more=later)
    assert (verdict["reason"], values) == ("TaskRunCancelled", {"digest": "early"})


FORGE = """
import base64, http.client, json, os
who = {"namespace": "default", "service_account": "default", "pod": "run-pod", "audience": ""}
who["pod_uid"] = os.environ["POD_UID"]
token = "resultsfw-local." + base64.urlsafe_b64encode(json.dumps(who).encode()).decode()
where = [os.environ[f"KUBERNETES_SERVICE_{part}"] for part in ("HOST", "PORT")]
server = http.client.HTTPConnection(*where)
head = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
path = "/api/v1/namespaces/default/configmaps/resultsfw-$(context.taskRun.uid)-0"
server.request("PATCH", path, json.dumps({"data": {"digest": "forged"}, "immutable": True}), head)
assert server.getresponse().status == 200
open("$(results.digest.path)", "w").write("real")
"""


def test_a_step_that_writes_the_config_map_itself_fails_its_run(machine):
    """Its service account is the sidecar's."""
    uid = {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    forger = {"name": "two", "image": "i", "script": f"#!/usr/bin/env python3\n{FORGE}", "env": [uid]}
    verdict, values = machine.run("true", "digest", more=[forger])
    assert verdict["reason"] == "TaskRunResultsIncomplete"
    assert "field is immutable" in verdict["message"]
    assert '"digest"' in verdict["message"]
    assert values == {}


def test_each_attempt_has_its_own_config_map(machine):
    made = set()

    def seen(engine, obj):
        if obj["kind"] == "Pod":
            made.update(one["metadata"]["name"] for one in engine.store.list(CONFIG_MAPS))

    machine.seen = seen
    verdict, values = machine.run(
        "printf $(context.task.retry-count) > $(results.digest.path); exit 1", "digest", retries=1
    )
    assert (verdict["reason"], values) == ("StepFailed", {"digest": "1"})
    assert {name[-2:] for name in made} == {"-0", "-1"}


def test_the_prepared_pod_is_json(machine):
    """Nothing of a run's values is ever in its pod."""
    pods = []
    machine.seen = lambda _engine, obj: pods.append(obj) if obj["kind"] == "Pod" else None
    machine.run("printf $((6 * 7))-secret > $(results.digest.path)", "digest")
    assert pods
    assert PODS.kind == pods[-1]["kind"]
    assert "42-secret" not in json.dumps(pods)
