"""A Step without a command runs that of its image, in the pod that Tekton builds."""

import json
from pathlib import Path

import pytest

from resultsfw.errors import ResultsError
from resultsfw.tekton.pod.builder import PodOptions, build_pod
from resultsfw.tekton.pod.image_commands import (
    ImageCommand,
    ImageCommands,
    images_without_command,
    with_image_command,
)

CAPTURE = json.loads((Path(__file__).parents[2] / "data" / "tekton" / "images.json").read_text())
REGISTRY = "registry.example.org/images/"


def found():
    images = {}
    for name, image in CAPTURE["images"].items():
        repository = name.partition("@")[0].partition(":")[0]
        platforms = {
            platform: ImageCommand(tuple(entrypoint), tuple(cmd))
            for platform, (entrypoint, cmd) in image["platforms"].items()
        }
        images[REGISTRY + name] = ImageCommands(f"{REGISTRY}{repository}@{image['digest']}", platforms)
    return images


def test_the_containers_are_those_that_tekton_made():
    run, images = CAPTURE["taskrun"], found()
    spec = run["spec"]["taskSpec"]
    assert set(images_without_command(spec)) == set(images)
    pod = build_pod(run, spec, attempt=0, options=PodOptions(), images=images)
    ours = [
        {
            field: container[field]
            for field in ("name", "image", "command", "args", "env")
            if field in container
        }
        for container in pod["spec"]["containers"]
    ]
    assert ours == CAPTURE["containers"]


def test_without_a_look_up_the_step_is_refused_by_name():
    with pytest.raises(ResultsError, match='Step "no-args" has neither script nor command'):
        build_pod(CAPTURE["taskrun"], CAPTURE["taskrun"]["spec"]["taskSpec"], attempt=0, options=PodOptions())


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        (ImageCommand(("e",), ("c",)), [], '{"p":["e","c"]}'),
        (ImageCommand(("e",), ("c",)), ["a"], '{"p":["e"]}'),
        (ImageCommand((), ("c",)), ["a"], '{"p":["c"]}'),
        (ImageCommand(), [], '{"p":null}'),
        (ImageCommand(("<&>",)), [], '{"p":["\\u003c\\u0026\\u003e"]}'),
    ],
)
def test_a_steps_arguments_replace_those_of_its_image(command, args, expected):
    """Also if the same image is in another Step without arguments: Tekton's cache mixes the two up."""
    images = {"i": ImageCommands("i@sha256:0", {"p": command})}
    step = with_image_command({"image": "i", "args": args}, images)
    assert step["env"] == [{"name": "TEKTON_PLATFORM_COMMANDS", "value": expected}]
    assert step["image"] == "i@sha256:0"


def test_a_step_with_a_command_of_its_own_keeps_image_and_tag():
    images = {"i": ImageCommands("i@sha256:0", {"p": ImageCommand(("e",))})}
    for step in ({"image": "i", "script": "x"}, {"image": "i", "command": ["x"]}):
        assert with_image_command(step, images) == step
    template = {"stepTemplate": {"command": ["x"]}, "steps": [{"image": "i"}, {"image": "j", "script": "x"}]}
    assert images_without_command(template) == ()
