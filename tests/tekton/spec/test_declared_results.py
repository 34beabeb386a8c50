"""What the core is given of a run: its Steps and its declared results."""

import captures
import pytest

from resultsfw.tekton.spec.declared_results import run_of, step_result
from resultsfw.types import ResultSpec, Run, Step, StepResultRef


def taskrun():
    return {"metadata": {"name": "run", "namespace": "ns", "uid": "u-1"}, "spec": {}}


def test_a_run_has_the_declared_results_and_steps_of_its_task():
    spec = {
        "results": [
            {"name": "text"},
            {"name": "list", "type": "array"},
            {"name": "map", "properties": {"url": {}, "digest": {"type": "string"}}},
            {"name": "taken", "value": "$(steps.build.results.digest)"},
        ],
        "steps": [
            {
                "name": "build",
                "results": [{"name": "digest"}, {"name": "o", "type": "object", "properties": {}}],
            },
            {"image": "i"},
        ],
    }
    assert run_of(taskrun(), spec, attempt=2) == Run(
        namespace="ns",
        name="run",
        uid="u-1",
        attempt=2,
        results=(
            ResultSpec(name="text"),
            ResultSpec(name="list", type="array"),
            ResultSpec(name="map", type="object", properties=("url", "digest")),
            ResultSpec(name="taken", from_step=StepResultRef("build", "digest")),
        ),
        steps=(
            Step(
                name="build",
                container="step-build",
                results=(ResultSpec(name="digest"), ResultSpec(name="o", type="object")),
            ),
            Step(name="unnamed-1", container="step-unnamed-1"),
        ),
    )


def test_a_task_without_results_or_steps_gives_a_run_without_them():
    run = run_of(taskrun(), {}, attempt=0)
    assert (run.results, run.steps) == ((), ())


def test_each_step_names_a_container_of_tektons_pod(capture):
    """The container named for each Step is in the pod that Tekton built."""
    created = captures.created(capture)
    run = run_of(created, created["spec"]["taskSpec"], attempt=0)
    for pod in captures.first_pods(capture):
        containers = [container["name"] for container in pod["spec"]["containers"]]
        assert [step.container for step in run.steps] == containers[: len(run.steps)]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("$(steps.build.results.digest)", StepResultRef("build", "digest")),
        ("$(steps.build-1.results.a.b)", StepResultRef("build-1", "a.b")),
        ("$(results.digest.path)", None),
        ("", None),
    ],
)
def test_step_result_of_a_value(value, found):
    assert step_result(value) == found
