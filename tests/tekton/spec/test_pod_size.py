"""What no pod could hold is refused before it is built; nothing else is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pod.builder import PodOptions, build_pod
from resultsfw.tekton.spec.pod_size import least_pod_bytes
from resultsfw.tekton.spec.substitution import apply
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid
from resultsfw.tekton.spec.workspaces import workspace_volumes

STEP = {"image": "i", "script": "t"}


def a_run(**spec):
    return {"metadata": {"name": "r", "namespace": "ns", "uid": "u"}, "spec": {"taskSpec": {}, **spec}}


def variables(count):
    return [{"name": f"v{number}", "value": ""} for number in range(count)]


def bound(count):
    return [{"name": f"w{number}", "emptyDir": {}} for number in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "run"),
    [
        ({"steps": [STEP] * 40_000}, {}),
        ({"steps": [STEP] * 600}, {}),
        ({"steps": [STEP] * 100, "stepTemplate": {"env": variables(40_000)}}, {}),
        ({"steps": [STEP] * 100, "stepTemplate": {"args": ["x" * 100_000]}}, {}),
        (
            {
                "steps": [STEP] * 100,
                "stepTemplate": {"computeResources": {"requests": {"x" * 100_000: "1"}}},
            },
            {},
        ),
        ({"steps": [STEP] * 100, "results": [{"name": f"result-{n}"} for n in range(20_000)]}, {}),
        ({"steps": [STEP] * 100}, {"podTemplate": {"env": variables(40_000)}}),
        (
            {"steps": [STEP] * 100},
            {"computeResources": {"requests": {f"x.io/{n}": "1" for n in range(30_000)}}},
        ),
        (
            {"steps": [STEP], "sidecars": [{"name": f"s{n}", **STEP} for n in range(5_000)]},
            {"workspaces": bound(10_000)},
        ),
    ],
)
def test_a_pod_that_multiplies_what_its_task_says_is_refused_with_both_numbers_before_it_is_built(task, run):
    with pytest.raises(RefusedRun) as caught:
        refuse_invalid(a_run(**run), task)
    assert str(OBJECT_BYTES) in caught.value.message
    assert str(least_pod_bytes(a_run(**run), task)) in caught.value.message


counts = st.integers(0, 4)


@settings(deadline=None, max_examples=60)
@given(
    st.fixed_dictionaries(
        {part: st.integers(0, 4) for part in ("steps", "sidecars", "env", "bound", "results")}
    ),
    st.booleans(),
)
def test_the_bytes_that_are_counted_are_never_more_than_those_of_the_pod(counts, own):
    step = {**STEP, **({"env": variables(2), "args": ["own"]} if own else {})}
    env = variables(counts["env"])
    task = {
        "steps": [step] * (1 + counts["steps"]),
        "sidecars": [{"name": f"s{n}", **STEP} for n in range(counts["sidecars"])],
        "stepTemplate": {"env": env, "args": ["template"], "securityContext": {"runAsUser": 1}},
        "results": [{"name": f"r{n}"} for n in range(counts["results"])],
    }
    run = a_run(
        workspaces=bound(counts["bound"]),
        podTemplate={"env": env},
        computeResources={"requests": {"cpu": "8", "memory": "1Gi"}},
    )
    pod = build_pod(run, apply(task, run), attempt=0, options=PodOptions())
    assert least_pod_bytes(run, task) <= object_size(pod)


def test_workspaces_whose_names_hash_in_a_circle_have_volumes_of_their_own():
    """``w56576`` and ``wbec2d`` have the same hash, and so has that hash itself."""
    names = ["w56576", "wbec2d"]
    volumes = workspace_volumes([{"name": name, "emptyDir": {}} for name in names])
    assert len({volume["name"] for volume in volumes.values()}) == 2
