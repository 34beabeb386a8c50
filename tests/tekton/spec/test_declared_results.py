"""What the core is told of a run, and the names of what belongs to it."""

import captures
import pytest

from resultsfw.tekton.api.names import child_name, container_name, pod_name
from resultsfw.tekton.spec.declared_results import run_of, step_result
from resultsfw.types import ResultSpec, Run, Step, StepResultRef


def taskrun():
    return {"metadata": {"name": "run", "namespace": "ns", "uid": "u-1"}, "spec": {}}


def test_everything_a_backend_may_know():
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


def test_a_task_without_results_or_steps():
    run = run_of(taskrun(), {}, attempt=0)
    assert (run.results, run.steps) == ((), ())


def test_steps_have_their_containers(capture):
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


@pytest.mark.parametrize("index", [0, 1])
def test_pods_are_named_as_tekton_names_them(index):
    capture = captures.load("tm-retries")
    assert pod_name("tm-retries", index) == captures.first_pods(capture)[index]["metadata"]["name"]


@pytest.mark.parametrize(
    ("parent", "suffix", "name"),
    [
        ("short", "-pod", "short-pod"),
        ("a" * 59, "-pod", "a" * 59 + "-pod"),
        # The MD5 of the parent, and as much of it as leaves room.
        ("a" * 60, "-pod", "a" * 27 + "cc7ed669cf88f201c3297c6a91e1d18d" + "-pod"),
        # The MD5 of both, when not even the suffix leaves room.
        ("run", "-" + "s" * 63, "run39276e8ddf1a86aa2e556dda34f1170d" + "-" + "s" * 27),
    ],
)
def test_names_that_are_too_long_are_cut_and_hashed(parent, suffix, name):
    assert child_name(parent, suffix) == name


def test_equal_beginnings_make_different_pods():
    assert pod_name("a" * 70 + "x", 0) != pod_name("a" * 70 + "y", 0)
    assert pod_name("a" * 70, 0) != pod_name("a" * 70, 1)


def test_a_containers_name_ends_in_a_letter_or_digit():
    assert container_name("step-" + "a" * 57 + "-b") == "step-" + "a" * 57
    assert container_name("step-a") == "step-a"
