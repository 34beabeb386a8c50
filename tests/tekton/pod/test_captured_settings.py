"""Pods with flags, config-defaults, breakpoints and no network, as Tekton's controller made them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pod_harness import OPTIONS, built
from test_against_tekton import without_defaults, without_random_names

from resultsfw.tekton.pod.container_resources import with_container_resources
from resultsfw.tekton.pod.options import pod_options
from resultsfw.tekton.spec.run_defaults import run_defaults_of, with_run_defaults

CASES = {
    case["name"]: case
    for case in json.loads(
        (Path(__file__).parents[2] / "data/tekton/run-settings.json").read_text(encoding="utf-8")
    )
}


@pytest.mark.parametrize("name", CASES)
def test_a_pod_is_the_one_that_tekton_made(name):
    """But for the text of the debug scripts, which is this project's own."""
    case = CASES[name]
    defaults = case["config-defaults"]
    options = pod_options(case["feature-flags"], replace(OPTIONS), defaults)
    run = with_run_defaults(case["taskrun"], run_defaults_of(defaults))
    ours = with_container_resources(built(run, options=options), options.container_resources)["spec"]
    if name == "debug":
        (place,) = [part for part in ours["initContainers"] if part["name"] == "place-scripts"]
        assert all(f'"/tekton/debug/scripts/debug-{script}"' in place["args"][1] for script in SCRIPTS)
        place["args"] = ["-c", ""]
    assert without_random_names(ours) == without_random_names(without_defaults(case["podSpec"]))


SCRIPTS = ("continue", "fail-continue", "beforestep-continue", "beforestep-fail-continue")
