"""The admission policies of ``config/admission-policy/`` refuse what the controller refuses, and no more.

Whether an API server evaluates them in the same way, ``tests/cluster`` shows.
"""

import copy

import pytest
from admission_harness import ANNOTATION, CASES, MANAGED_BY, evaluate, taskrun
from celpy import celtypes, json_to_cel

from resultsfw.controller.manifests import load
from resultsfw.errors import FlagError
from resultsfw.flags import choose_backend, parse_flags
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid

POLICIES = {
    obj["metadata"]["name"]: obj["spec"]
    for obj in load("admission-policy")
    if obj["kind"] == "ValidatingAdmissionPolicy"
}
BINDINGS = [obj for obj in load("admission-policy") if obj["kind"] == "ValidatingAdmissionPolicyBinding"]


def functions():
    """The functions of Kubernetes' CEL that cel-python lacks."""
    text = celtypes.StringType
    return {
        "trim": lambda value: text(value.strip()),
        "lowerAscii": lambda value: text(value.lower()),
        "split": lambda value, by: celtypes.ListType(map(text, value.split(by))),
        "join": lambda values, by: text(by.join(values)),
        "substring": lambda value, begin, end: text(value[begin:end]),
    }


def refusal(run, flags):
    """Return the messages of the validations that refuse a run."""
    found = []
    for policy in POLICIES.values():
        context = {
            "object": json_to_cel(run),
            "params": json_to_cel({"data": flags} if flags else {}),
            "variables": celtypes.MapType(),
        }
        if not all(evaluate(each["expression"], context, functions()) for each in policy["matchConditions"]):
            continue
        for variable in policy["variables"]:
            value = evaluate(variable["expression"], context, functions())
            context["variables"][celtypes.StringType(variable["name"])] = value
        found += [
            str(evaluate(validation["messageExpression"], context, functions()))
            for validation in policy["validations"]
            if not evaluate(validation["expression"], context, functions())
        ]
    return found


def tasks_of(run):
    """Yield the TaskRuns that the controller makes, at once, of a run."""
    if run["kind"] == "TaskRun":
        yield run
        return
    spec = run["spec"]["pipelineSpec"]
    for task in [*spec["tasks"], *spec.get("finally", [])]:
        if "when" not in task:
            yield taskrun(run["metadata"]["annotations"]) | {
                "spec": {"managedBy": MANAGED_BY, "taskSpec": task["taskSpec"]}
            }


def is_refused_by_the_controller(run, flags):
    if run["spec"]["managedBy"] != MANAGED_BY:
        return False
    try:
        choose_backend(parse_flags(flags), run["metadata"]["annotations"])
        for child in tasks_of(run):
            refuse_invalid(child, copy.deepcopy(child["spec"]["taskSpec"]))
    except (FlagError, RefusedRun):
        return True
    return False


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_run_is_refused_by_the_policies_if_and_only_if_the_controller_refuses_it(case):
    messages = refusal(case.run, case.flags)
    assert bool(messages) == is_refused_by_the_controller(case.run, case.flags)
    assert [case.refused in message for message in messages] == [True] * bool(case.refused)


def test_a_run_that_the_controller_made_itself_passes():
    run = taskrun({ANNOTATION: "oci"}, volumes=[{"name": "resultsfw-x", "emptyDir": {}}])
    run["metadata"]["ownerReferences"] = [{"kind": "PipelineRun", "name": "p"}]
    assert refusal(run, {}) == []


def test_a_run_without_embedded_tasks_passes():
    run = taskrun()
    run["spec"] = {"managedBy": MANAGED_BY, "taskRef": {"name": "t"}}
    assert refusal(run, {}) == []
    assert refusal({**run, "spec": {"managedBy": MANAGED_BY, "pipelineSpec": {}}}, {}) == []


def test_what_cannot_be_evaluated_is_left_to_the_controller():
    for policy in POLICIES.values():
        assert policy["failurePolicy"] == "Ignore"
        (rule,) = policy["matchConstraints"]["resourceRules"]
        assert (rule["operations"], rule["resources"]) == (["CREATE"], ["taskruns", "pipelineruns"])
    assert {binding["spec"]["policyName"] for binding in BINDINGS} == set(POLICIES)
    assert all(binding["spec"]["validationActions"] == ["Deny"] for binding in BINDINGS)
