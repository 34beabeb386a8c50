"""TaskRuns whose pods sign by identities of a real SPIRE, and what their conditions must say."""

import os

import pytest
from spire import VARIABLES, Spire
from written import a_run

VERIFIED = "SignedResultsVerified"
NET_IMAGE = os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE", "docker.io/resultsfw/sidecar-net:0.1.0")

WRITE = """
printf 'sha256:0123' > $(results.digest.path)
printf '["a,b","c"]' > $(results.images.path)
"""


@pytest.fixture
def spire():
    if missing := [name for name in VARIABLES if name not in os.environ]:
        pytest.skip(f"not set: {', '.join(missing)}")
    spire = Spire()
    spire.register_controller()
    yield spire
    spire.forget_controller()


def written(place, name, script=WRITE, **more):
    """A TaskRun that declares a string, an array, and a result that no Step writes."""
    run = a_run(place, name, script, ["digest", "images", "none"], **more)
    run["spec"]["taskSpec"]["results"][1]["type"] = "array"
    return run


def start(place, spire, *, backend="sidecar-logs", flags=(), **options):
    place.flags(**{"results-from": backend, **dict(flags), **spire.options(**options)})
    return place.start("--no-leader-elect", sidecar=False, prefix=spire.command)


def conditions(run):
    return {condition["type"]: condition for condition in run["status"]["conditions"]}


def results(run):
    return {result["name"]: result["value"] for result in run["status"].get("results", [])}


def check_verified(run):
    found = conditions(run)
    assert found["Succeeded"]["status"] == "True", found
    assert (found[VERIFIED]["status"], found[VERIFIED]["reason"]) == ("True", "TaskRunResultsVerified")
    return found[VERIFIED]["message"]


def check_not_verified(run, *words):
    found = conditions(run)
    assert found["Succeeded"]["reason"] == "TaskRunResultsVerificationFailed", found
    assert found[VERIFIED]["status"] == "False"
    for word in words:
        assert word in found[VERIFIED]["message"]
