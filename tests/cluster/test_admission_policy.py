"""The admission policies on a real API server, bound to a namespace of the test, under names of its own."""

import copy
import time
from contextlib import suppress

import pytest
from admission_harness import ANNOTATION, CASES, FLAGS, MANAGED_BY

from resultsfw.cluster import CONFIG_MAPS
from resultsfw.controller.manifests import Choices, kind_of, plan_of
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

KINDS = {kind.kind: kind for kind in (TASKRUNS, PIPELINERUNS)}


@pytest.fixture
def policies(place):
    """The policies and bindings of an installation that is limited to the namespace."""
    plan = plan_of(
        Choices(admission_policy=True, watch_namespaces=(place.namespace,), namespace=place.namespace)
    )
    made = []
    for found in plan.applied:
        if not found["kind"].startswith("ValidatingAdmissionPolicy"):
            continue
        obj = copy.deepcopy(found)
        obj["metadata"] = {"name": f"{obj['metadata']['name']}-{place.namespace}", "namespace": ""}
        if "policyName" in obj["spec"]:
            obj["spec"]["policyName"] += f"-{place.namespace}"
        place.server.create(kind_of(obj), obj)
        made.append(obj)
    yield made
    for obj in made:
        with suppress(NotFoundError):
            place.server.delete(kind_of(obj), "", obj["metadata"]["name"])


def apply(place, case, number):
    """Create a case's run, which nobody reconciles; return the message that refuses it."""
    run = copy.deepcopy(case.run)
    run["metadata"] |= {"name": f"run-{number}", "namespace": place.namespace}
    if run["spec"]["managedBy"] == MANAGED_BY:
        run["spec"]["managedBy"] = place.managed_by
    try:
        place.server.create(KINDS[run["kind"]], run)
    except ClusterError as error:
        return error.message
    place.server.delete(KINDS[run["kind"]], place.namespace, f"run-{number}")
    return ""


def check_cases(place, cases):
    for number, case in enumerate(cases):
        refusal = apply(place, case, number)
        assert bool(refusal) == bool(case.refused), (case.name, refusal)
        assert case.refused in refusal, case.name
        assert not refusal or "ValidatingAdmissionPolicy" in refusal


def waits_for(place, name, seconds=60):
    """Whether a case's run is refused in time: the server reads policies and flags with a delay."""
    case = next(case for case in CASES if case.name == name)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (refusal := apply(place, case, "first")) and case.refused in refusal:
            return True
        time.sleep(0.3)
    return False


def test_names_that_the_controller_would_refuse_are_refused_and_no_others(place, policies):
    assert waits_for(place, "sidecar")
    check_cases(place, [case for case in CASES if ANNOTATION not in case.run["metadata"]["annotations"]])
    for obj in policies:  # the expressions fit the API's types as far as the server knows them
        if obj["kind"] == "ValidatingAdmissionPolicy":
            status = place.server.get(kind_of(obj), "", obj["metadata"]["name"]).get("status", {})
            assert not status.get("typeChecking", {}).get("expressionWarnings"), status


@pytest.mark.usefixtures("policies")
def test_backends_that_the_flags_do_not_allow_are_refused_and_no_others(place):
    place.flags()
    if not waits_for(place, "no-flags", 30):
        pytest.skip("the API server reads no ConfigMaps for policies any more (kubernetes issue 130887)")
    cases = [case for case in CASES if ANNOTATION in case.run["metadata"]["annotations"]]
    check_cases(place, [case for case in cases if not case.flags])
    place.server.patch(CONFIG_MAPS, place.namespace, "feature-flags", {"data": FLAGS})
    assert waits_for(place, "not-allowed")
    check_cases(place, [case for case in cases if case.flags])
