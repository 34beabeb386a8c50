"""Workspaces on the local engine: claims are folders that all pods of a call share."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resultsfw import Object, ResultsManager
from resultsfw.local import process_spec, read_only
from resultsfw.local.claims import ClaimFolders
from resultsfw.local.engine import Engine
from resultsfw.local.store import Store
from resultsfw.local.volumes import MountError, PodFolder
from resultsfw.tekton.api.kinds import CLAIMS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler

CLAIM: Object = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "cache", "namespace": "default"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


def pod_of(volume: Object, **mount: Any) -> Object:
    mounts = [{"name": "v", "mountPath": "/data", **mount}]
    return {
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {"containers": [{"name": "c", "volumeMounts": mounts}], "volumes": [{"name": "v", **volume}]},
    }


def make(tmp_path: Path, pod: Object, *objects: Object, name: str = "pod") -> PodFolder:
    store = Store()
    for obj in objects:
        store.create(CLAIMS, obj)
    folder = PodFolder(tmp_path / name, ClaimFolders(tmp_path / "claims"))
    folder.make(pod, store)
    return folder


def place_of(folder: PodFolder, path: str) -> Path:
    return Path(folder.rules({"name": "c"})[path])


BOUND = {"persistentVolumeClaim": {"claimName": "cache"}}


def test_two_pods_see_one_claim_each_below_its_sub_path(tmp_path):
    whole = make(tmp_path, pod_of(BOUND), CLAIM, name="one")
    part = make(tmp_path, pod_of(BOUND, subPath="a/b"), CLAIM, name="two")
    (place_of(whole, "/data") / "a/b/file").write_text("seen")
    assert (place_of(part, "/data") / "file").read_text() == "seen"
    assert place_of(part, "/data").resolve() == (tmp_path / "claims/default/cache/a/b").resolve()


def test_the_workload_api_is_the_one_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", f"unix://{tmp_path}/agent/spire-agent.sock")
    folder = make(tmp_path, pod_of({"csi": {"driver": "csi.spiffe.io", "readOnly": True}}, readOnly=True))
    assert place_of(folder, "/data") == tmp_path / "agent"


def test_a_volume_mounted_below_a_claim_leaves_nothing_in_the_claim(tmp_path):
    pod = pod_of(BOUND)
    pod["spec"]["volumes"].append({"name": "own", "emptyDir": {}})
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "own", "mountPath": "/data/own"})
    for name in ("one", "two"):
        folder = make(tmp_path, pod, CLAIM, name=name)
        (place_of(folder, "/data/own") / "file").touch(exist_ok=False)
    assert list((tmp_path / "claims/default/cache").iterdir()) == []


def test_a_step_does_not_see_what_only_others_mount(tmp_path):
    mount = {"name": "v", "mountPath": "/workspace/signals"}
    named = ("step-a", "step-b", "sidecar-c", "sidecar-tekton-log-results")
    pod = pod_of({"emptyDir": {}})
    pod["spec"]["containers"] = [
        {"name": name, "volumeMounts": [mount] if name in {"step-a", "sidecar-c"} else []} for name in named
    ]
    folder = make(tmp_path, pod)
    seen = {name: folder.rules({"name": name}).get("/workspace/signals") for name in named}
    (Path(seen["step-a"]) / "file").touch()
    assert (Path(seen["sidecar-c"]) / "file").exists()
    assert seen["step-b"] is None
    common = Path(folder.rules({"name": "step-b"})["/workspace"])
    assert not (common / "signals").exists()
    for container in pod["spec"]["containers"][:3]:
        container["volumeMounts"] = [mount]
    folder = make(tmp_path, pod, name="again")  # all of the Task's mount it: one folder for all
    assert len({folder.rules({"name": name})["/workspace/signals"] for name in named[:3]}) == 1


@pytest.mark.parametrize("path", ["../x", "/etc", "a/../../x", "a\0b"])
def test_a_sub_path_that_leads_out_of_the_claim_is_refused(tmp_path, path):
    with pytest.raises(MountError, match="relative path"):
        make(tmp_path, pod_of(BOUND, subPath=path), CLAIM)


def test_a_sub_path_through_a_link_out_of_the_claim_is_refused(tmp_path):
    make(tmp_path, pod_of(BOUND), CLAIM, name="one")
    (tmp_path / "claims/default/cache/link").symlink_to(tmp_path)
    with pytest.raises(MountError, match="symbolic link"):
        make(tmp_path, pod_of(BOUND, subPath="link/x"), CLAIM, name="two")


@pytest.mark.parametrize(
    ("volume", "objects", "why"),
    [
        (BOUND, [], '"cache" not found; add it to the files'),
        (BOUND, [{**CLAIM, "spec": {"volumeMode": "Block"}}], "volumeMode Block"),
        ({"persistentVolumeClaim": {"claimName": "../up"}}, [], "not found"),
        (
            {"persistentVolumeClaim": {"claimName": "../up"}},
            [{**CLAIM, "metadata": {"name": "../up", "namespace": "default"}}],
            "invalid name",
        ),
        ({"csi": {"driver": "x.example"}}, [], "of kind csi, which only a cluster has"),
        ({"csi": {"driver": "csi.spiffe.io"}}, [], "set it to unix:///FOLDER/spire-agent.sock"),
        ({"projected": {"sources": [{"downwardAPI": {"items": [{"path": "f"}]}}]}}, [], "no fieldRef"),
        (
            {"downwardAPI": {"items": [{"path": "../f", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            [],
            "relative path",
        ),
    ],
)
def test_what_cannot_be_mounted_is_named(tmp_path, volume, objects, why):
    with pytest.raises(MountError, match=why):
        make(tmp_path, pod_of(volume), *objects)


def test_modes_of_files_are_those_of_the_volume_or_the_item(tmp_path):
    field = {"fieldRef": {"fieldPath": "metadata.name"}}
    items = [{"path": "a", **field}, {"path": "b", "mode": 0o400, **field}]
    projected = {"projected": {"defaultMode": 0o640, "sources": [{"downwardAPI": {"items": items}}]}}
    place = place_of(make(tmp_path, pod_of(projected)), "/data")
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in place.iterdir()} == {
        "a": "0o640",
        "b": "0o400",
    }


NO_NAMESPACES = """
import runpy, sys
module = runpy.run_path({program!r})
def refuse():
    raise PermissionError(1, "not here")
module["main"].__globals__["enter_namespace"] = refuse
module["main"](sys.argv[1:])
"""


def test_without_mount_namespaces_a_read_only_folder_is_a_link_and_the_log_has_no_line_of_it(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    code = NO_NAMESPACES.format(program=read_only.__file__)
    words = [tmp_path / "from", tmp_path / "to", "--", "/bin/sh", "sh", "-c", "echo on"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("on\n", "")
    assert (tmp_path / "to").readlink() == tmp_path / "from"


@pytest.mark.slow
def test_results_arrive_by_log_without_mount_namespaces_and_a_warning_names_what_differs(
    tmp_path, monkeypatch, caplog
):
    """A line of this engine's own in the log of the results sidecar would be damage."""
    program = tmp_path / "read_only.py"
    program.write_text(NO_NAMESPACES.format(program=read_only.__file__))
    monkeypatch.setattr(process_spec, "_READ_ONLY", program)
    core = ResultsManager.from_flags({"results-from": "sidecar-logs"})
    mount = {"name": "data", "mountPath": "/data", "readOnly": True}
    script = "#!/bin/sh\nprintf v > $(results.r.path)"
    step = {"name": "s", "image": "busybox", "script": script, "volumeMounts": [mount]}
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "build", "namespace": "default"},
        "spec": {
            "taskSpec": {
                "results": [{"name": "r"}],
                "steps": [step],
                "volumes": [{"name": "data", "emptyDir": {}}],
            }
        },
    }
    with Engine(lambda cluster: Reconciler(core, cluster), workdir=tmp_path / "work") as engine:
        engine.submit(run)
        (final,) = engine.run_until_done(timeout=60)
    assert [result["value"] for result in final["status"].get("results", ())] == ["v"], final["status"]
    assert "this machine allows no mount namespaces" in caplog.text


def _has_mount_namespaces() -> bool:
    code = f"import runpy; runpy.run_path({read_only.__file__!r})['enter_namespace']()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_clone_build_and_push_share_a_claim_and_read_only_is_kept(tmp_path):
    """A claim from a file, one from a template, subPath, an isolated workspace, and removal at the end."""
    core = ResultsManager.from_flags({"results-from": "termination-message"})
    refused = "" if _has_mount_namespaces() else "|| true"
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "build", "namespace": "default"},
        "spec": {
            "workspaces": [
                {"name": "source", "persistentVolumeClaim": {"claimName": "cache"}, "subPath": "src"},
                {"name": "scratch", "volumeClaimTemplate": {"spec": CLAIM["spec"]}},
            ],
            "pipelineSpec": {
                "workspaces": [{"name": "source"}, {"name": "scratch"}],
                "tasks": [
                    _task("clone", "echo code > $(workspaces.source.path)/f; ls $(workspaces.scratch.path)"),
                    _task(
                        "build",
                        "cat $(workspaces.source.path)/f > $(workspaces.scratch.path)/out\n"
                        f"! (echo > $(workspaces.source.path)/f) 2>/dev/null {refused}",
                        read_only=True,
                        after="clone",
                    ),
                    _task(
                        "push",
                        "tr -d '\\n' < $(workspaces.scratch.path)/out > $(results.r.path)",
                        after="build",
                    ),
                ],
                "results": [{"name": "pushed", "value": "$(tasks.push.results.r)"}],
            },
        },
    }
    engine = Engine(
        lambda cluster: Reconciler(core, cluster),
        workdir=tmp_path / "work",
        pipelines=lambda cluster: PipelineReconciler(core, cluster),
    )
    with engine:
        engine.submit(CLAIM)
        engine.submit(run)
        (final,) = engine.run_until_done(timeout=60)
        assert final["status"].get("results") == [{"name": "pushed", "value": "code"}], final["status"]
    assert list((tmp_path / "work").iterdir()) == []


def _task(name: str, script: str, *, read_only: bool = False, after: str = "") -> Object:
    return {
        "name": name,
        "workspaces": [{"name": "source"}, {"name": "scratch"}],
        **({"runAfter": [after]} if after else {}),
        "taskSpec": {
            "workspaces": [{"name": "source", "readOnly": read_only}, {"name": "scratch"}],
            "results": [{"name": "r"}] if name == "push" else [],
            "steps": [{"name": "s", "image": "busybox", "script": f"#!/bin/sh\nset -e\n{script}"}],
        },
    }
