"""The volumes and claims of workspaces, and names that are too long."""

import pytest
from pod_harness import built, container, taskrun

from resultsfw.tekton.spec.workspaces import claims_of, workspace_volumes


@pytest.mark.parametrize(
    ("names", "volumes"),
    [
        (["custom"], ["ws-20573"]),
        # Four names of one hash, from Tekton's tests.
        (
            ["test-01097628", "test-01617609", "test-01675975", "test-01809743"],
            ["ws-f32ff", "ws-a0814", "ws-b2d09", "ws-60320"],
        ),
    ],
)
def test_volumes_are_named_as_tekton_names_them(names, volumes):
    bound = [{"name": name, "emptyDir": {}} for name in names]
    assert [volume["name"] for volume in workspace_volumes(bound).values()] == volumes


def test_a_claim_bound_twice_is_one_volume():
    claim = {"persistentVolumeClaim": {"claimName": "c"}}
    run = taskrun(workspaces=[{"name": "a", **claim}, {"name": "b", **claim, "subPath": "sub"}])
    pod = built(run)
    claims = [v for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
    assert len(claims) == 1
    mounts = [m for m in container(pod, "step-s")["volumeMounts"] if m["name"] == claims[0]["name"]]
    assert mounts == [
        {"name": claims[0]["name"], "mountPath": "/workspace/a"},
        {"name": claims[0]["name"], "mountPath": "/workspace/b", "subPath": "sub"},
    ]


def test_claims_to_make_before_the_pod():
    template = {"metadata": {"name": "cache"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    run = taskrun(workspaces=[{"name": "w", "volumeClaimTemplate": template}, {"name": "e", "emptyDir": {}}])
    (claim,) = claims_of(run)
    assert claim["metadata"]["name"] == "cache-dc5ff9daf0"
    assert claim["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert claim["spec"] == template["spec"]
    volumes = built(run)["spec"]["volumes"]
    assert {"claimName": "cache-dc5ff9daf0"} in [v.get("persistentVolumeClaim") for v in volumes]


def test_names_that_are_too_long():
    run = taskrun({"steps": [{"name": "a" * 63, "image": "i", "script": "x"}]})
    run["metadata"]["name"] = "r" * 63
    pod = built(run)
    assert len(pod["metadata"]["name"]) <= 63
    assert pod["spec"]["containers"][0]["name"] == "step-" + "a" * 58
