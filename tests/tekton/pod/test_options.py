"""Tekton's own flags that change the pods we build."""

import pytest

from resultsfw import ResultsManager
from resultsfw.errors import FlagError
from resultsfw.tekton.pod.builder import PodOptions, build_pod
from resultsfw.tekton.pod.options import POD_FLAGS, pod_options
from resultsfw.tekton.spec.declared_results import run_of

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.mark.parametrize("key", POD_FLAGS)
@pytest.mark.parametrize(("text", "so"), [("true", True), (" T ", True), ("1", True), ("False", False)])
def test_each_flag_sets_its_option(key, text, so):
    assert getattr(pod_options({key: text}, PodOptions()), POD_FLAGS[key]) is so


@pytest.mark.parametrize("key", POD_FLAGS)
def test_a_flag_that_is_not_there_leaves_what_was_given(key):
    given = PodOptions(**{POD_FLAGS[key]: True}, nop_image="n")
    assert pod_options({}, given) == given
    assert pod_options({key: ""}, given) == given


@pytest.mark.parametrize("key", POD_FLAGS)
@pytest.mark.parametrize("text", ["yes", "tRUE", "2", "on"])
def test_what_tekton_would_refuse_is_refused(key, text):
    with pytest.raises(FlagError, match=f'"{key}": "{text}"') as caught:
        pod_options({key: text}, PodOptions())
    assert caught.value.subject == key


@pytest.mark.parametrize("backend", ["termination-message", "sidecar-logs"])
def test_a_pod_passes_the_restricted_level_where_its_steps_do(backend):
    """All of it is checked: what Tekton's containers, ours and the Task's own say."""
    step = {"name": "one", "image": "i", "script": "x", "workingDir": "sub", "securityContext": RESTRICTED}
    task = {"results": [{"name": "digest", "type": "string"}], "steps": [step]}
    taskrun = {"metadata": {"name": "r", "namespace": "n", "uid": "u"}, "spec": {"taskSpec": task}}
    flags = {"results-from": backend, "set-security-context": "true"}
    options = pod_options(flags, PodOptions())
    bare = build_pod(taskrun, task, attempt=0, options=options)
    pod = ResultsManager.from_flags(flags).prepare_pod(run_of(taskrun, task, attempt=0), bare)
    assert not violations(pod)
    assert violations(build_pod(taskrun, task, attempt=0, options=PodOptions()))


def violations(pod):
    """What the Pod Security Standards (restricted) find wrong with it."""
    spec = pod["spec"]
    found = [f"volume {one['name']}" for one in spec["volumes"] if not {"emptyDir", "downwardAPI"} & set(one)]
    found += [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    for one in (*spec["initContainers"], *spec["containers"]):
        context = one.get("securityContext", {})
        found += [f"{one['name']}: {key}" for key in RESTRICTED if context.get(key) != RESTRICTED[key]]
        found += [f"{one['name']}: {key}" for key in ("privileged",) if context.get(key)]
    return found
