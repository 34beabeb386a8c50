"""Parameters that do not fit into a pod: placed from ConfigMaps of the run's own."""

import base64
import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taskrun_harness import KilledError, TaskRunHarness

from resultsfw import CONFIG_MAPS, PODS
from resultsfw.errors import ForbiddenError
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.local.store import Store
from resultsfw.tekton.pod.builder import PodOptions, build_pod, build_pod_and_maps
from resultsfw.tekton.pod.param_maps import MAP_BYTES, param_maps
from resultsfw.tekton.pod.scripts import place_scripts
from resultsfw.tekton.spec.substitution import apply

NAMES = ("a", "b", "c")
THREE = {name: name * 500_000 for name in NAMES}
NAMED = "wc -c /tekton/params/a /tekton/params/b /tekton/params/c"


def a_run(script, **params):
    spec = {
        "params": [{"name": name, "type": "string"} for name in params],
        "results": [{"name": "digest", "type": "string"}],
        "steps": [{"name": "build", "image": "i", "script": script}],
    }
    return {
        "metadata": {"name": "run", "namespace": "default", "uid": "u"},
        "spec": {"taskSpec": spec, "params": [{"name": n, "value": v} for n, v in params.items()]},
    }


def built(run):
    return build_pod_and_maps(run, apply(run["spec"]["taskSpec"], run), attempt=0, options=PodOptions())


def contents(config_maps, paths):
    data = {key: base64.b64decode(text) for one in config_maps for key, text in one["binaryData"].items()}
    return b"".join(data[path.rpartition("/")[2]] for path in paths)


def shell_at(shell, folder):
    """The init container's shell in a folder of the test's."""
    decode = folder / "entrypoint"
    decode.write_text('#!/bin/sh\nbase64 -d "$2" > "$2.x" && mv "$2.x" "$2"\n')
    decode.chmod(0o755)
    for name in ("scripts", "params", "param-pieces"):
        (folder / name).mkdir(exist_ok=True)
    places = {
        "/tekton/bin/entrypoint": str(decode),
        "/dev/termination-log": str(folder / "message"),
        "/tekton/": f"{folder}/",
    }
    words = list(shell)
    for old, new in places.items():
        words = [word.replace(old, new) for word in words]
    return ["sh", *words]


# The pod.


def test_three_large_parameters_that_nothing_uses_take_no_room():
    """They made a pod that the server refuses; Tekton runs it."""
    pod, maps = built(a_run("true", **THREE))
    assert object_size(pod) < 10_000
    assert maps == ()
    pod, maps = built(a_run("echo '$(params.a)'", **THREE))
    assert object_size(pod) < OBJECT_BYTES
    assert maps == ()


def test_three_large_parameters_that_all_are_named_lie_in_config_maps():
    run = a_run(NAMED, **THREE)
    pod, maps = built(run)
    assert object_size(pod) < 20_000
    assert len(maps) == 2
    for one in maps:
        assert sum(len(base64.b64decode(text)) for text in one["binaryData"].values()) <= MAP_BYTES
        assert one["immutable"] is True
        (owner,) = one["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("TaskRun", "u", False)
        assert one["metadata"]["namespace"] == "default"
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "resultsfw-param-pieces"]
    names = [one["configMap"]["name"] for one in volume["projected"]["sources"]]
    assert names == [one["metadata"]["name"] for one in maps]
    for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]):
        mounted = "resultsfw-param-pieces" in [one["name"] for one in container["volumeMounts"]]
        assert mounted is (container["name"] == "place-scripts")
    assert built(run) == (pod, maps), "a controller that restarts makes the same"


def test_scripts_with_large_parameters_in_them_take_them_from_there():
    pod, maps = built(a_run("# $(params.a)\n# $(params.b)\n# $(params.c)", **THREE))
    assert object_size(pod) < 20_000
    assert len(maps) == 2


def test_a_pod_that_fits_is_as_it_was():
    run = a_run(NAMED, a="a" * 500_000, b="b" * 400_000, c="c")
    pod, maps = built(run)
    assert maps == ()
    assert pod == build_pod(run, apply(run["spec"]["taskSpec"], run), attempt=0, options=PodOptions())


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.sampled_from([0, 1, 7, 400_000, MAP_BYTES - 1, MAP_BYTES, MAP_BYTES + 1, 1_500_000]), max_size=5
    )
)
def test_config_maps_hold_every_byte_once_and_none_too_many(sizes):
    params = {f"p{number}": bytes([65 + number]) * size for number, size in enumerate(sizes)}
    maps = param_maps({"metadata": {"name": "r", "namespace": "n", "uid": "u"}}, params)
    assert {name: contents(maps.config_maps, paths) for name, paths in maps.sources.items()} == params
    for one in maps.config_maps:
        assert 0 < sum(len(base64.b64decode(text)) for text in one["binaryData"].values()) <= MAP_BYTES
        assert object_size(one) < OBJECT_BYTES
    assert len(maps.config_maps) == -(-sum(sizes) // MAP_BYTES)


def test_other_runs_and_other_values_have_other_config_maps():
    run = {"metadata": {"name": "r", "namespace": "n", "uid": "u"}}
    other = {"metadata": {"name": "r", "namespace": "n", "uid": "v"}}
    names = [
        param_maps(who, {"p": value}).config_maps[0]["metadata"]["name"]
        for who, value in ((run, b"1"), (run, b"2"), (other, b"1"))
    ]
    assert len(set(names)) == 3


# The init container.


def place(folder, maps, shell):
    for one in maps.config_maps:
        for key, text in one["binaryData"].items():
            (folder / "param-pieces").mkdir(exist_ok=True)
            (folder / "param-pieces" / key).write_bytes(base64.b64decode(text))
    return subprocess.run(shell_at(shell, folder), capture_output=True, text=True, check=False)


PARAMS = {"a": b"0123456789\n" * 120_000, "b": "\u00e9$(x) $$ '".encode() * 4_000, "c": b""}
SCRIPT = "#!/bin/sh\n: '" + PARAMS["b"].decode() + "'\n" + PARAMS["a"].decode()


def a_place():
    maps = param_maps({"metadata": {"name": "r", "uid": "u"}}, PARAMS)
    placed = place_scripts([{"script": SCRIPT}], [], seed="s", params=PARAMS, sources=maps.sources)
    return maps, placed


def test_files_and_scripts_come_whole_and_a_second_start_changes_nothing(tmp_path):
    """A pod whose sandbox is made anew runs its init containers again, with its volumes as they were."""
    maps, placed = a_place()
    for _ in range(2):
        done = place(tmp_path, maps, placed.shell)
        assert (done.returncode, done.stderr) == (0, "")
        assert {name: (tmp_path / "params" / name).read_bytes() for name in PARAMS} == PARAMS
        (script,) = (tmp_path / "scripts").iterdir()
        assert script.read_bytes() == SCRIPT.encode()


def test_a_second_start_without_config_maps_changes_nothing_either(tmp_path):
    placed = place_scripts([{"script": SCRIPT}], [], seed="s", params=PARAMS)
    for _ in range(2):
        subprocess.run(shell_at(placed.shell, tmp_path), check=True)
        assert {name: (tmp_path / "params" / name).read_bytes() for name in PARAMS} == PARAMS


def test_what_somebody_changed_on_the_way_ends_the_pod_by_name(tmp_path):
    """A ConfigMap of that name can be made by anybody who may make ConfigMaps there."""
    maps, placed = a_place()
    key, text = next(iter(maps.config_maps[0]["binaryData"].items()))
    changed = base64.b64encode(b"x" + base64.b64decode(text)[1:]).decode()
    maps.config_maps[0]["binaryData"][key] = changed
    done = place(tmp_path, maps, placed.shell)
    assert done.returncode == 1
    assert "params/a is not the parameter as the run has it" in (tmp_path / "message").read_text()


# The run.


def submit(harness, script=NAMED):
    run = a_run(script, **THREE)
    harness.submit(taskSpec=run["spec"]["taskSpec"], params=run["spec"]["params"])


def made(harness):
    return Store.list(harness.cluster, CONFIG_MAPS, "default")


def test_config_maps_are_there_before_the_pod_that_mounts_them():
    harness = TaskRunHarness()
    submit(harness)
    harness.reconcile()
    creations = [kind for verb, kind in harness.cluster.calls if verb == "created"]
    assert creations == ["ConfigMap", "ConfigMap", "Pod"]
    uid = harness.taskrun["metadata"]["uid"]
    assert [one["metadata"]["ownerReferences"][0]["uid"] for one in made(harness)] == [uid, uid]
    assert harness.taskrun["status"]["podName"] == "run-pod"


@pytest.mark.slow
def test_a_controller_killed_at_any_call_makes_the_same_pod_and_no_config_map_more():
    def run(fail_at):
        harness = TaskRunHarness()
        submit(harness)
        harness.cluster.fail_at = fail_at
        try:
            harness.reconcile()
        except KilledError:
            harness.cluster.fail_at = None
            harness.restart()
            harness.reconcile()
            return harness, True
        return harness, False

    whole, _ = run(None)
    calls = len(whole.cluster.calls)
    assert calls > 6
    for fail_at in range(1, calls + 1):
        harness, killed = run(fail_at)
        assert killed
        assert len(made(harness)) == 2
        volumes = json.dumps(harness.pod()["spec"]["volumes"])
        assert all(one["metadata"]["name"] in volumes for one in made(harness))


def test_a_controller_that_may_make_no_config_map_says_so_and_waits(monkeypatch):
    harness = TaskRunHarness()
    submit(harness)
    create = harness.cluster.create

    def refuse(kind, obj):
        if kind == CONFIG_MAPS:
            raise ForbiddenError('cannot create resource "configmaps"', subject="ConfigMap default/x")
        return create(kind, obj)

    monkeypatch.setattr(harness.cluster, "create", refuse)
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert harness.condition["reason"] == "Pending"
    assert "configmaps" in harness.condition["message"]
    assert Store.list(harness.cluster, PODS, "default") == []
    monkeypatch.undo()
    harness.reconcile()
    assert harness.taskrun["status"]["podName"] == "run-pod"
