"""What is refused before a pod exists, with Tekton's reasons and messages."""

import gzip
import json
import re
from pathlib import Path

import captures
import pytest

from resultsfw.errors import ResultsError
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid
from resultsfw.tekton.spec.variables import texts_in

TEKTON = Path(__file__).parents[2] / "data" / "tekton" / "pods.jsonl.gz"
STEP = {"name": "s", "image": "i", "script": "true"}


def from_tekton():
    lines = gzip.decompress(TEKTON.read_bytes()).decode().splitlines()
    return list(map(json.loads, lines))


def taskrun(**spec):
    return {"metadata": {"name": "run", "namespace": "ns", "uid": "u"}, "spec": {"taskSpec": {}, **spec}}


def refusal(task, run=None, **arguments):
    with pytest.raises(RefusedRun) as caught:
        refuse_invalid(run or taskrun(), task, **arguments)
    return caught.value


def creation_failed(why):
    return f'failed to create task run pod "run": {why}. Maybe invalid TaskSpec'


# Against Tekton


def test_what_tekton_ran_is_valid(capture):
    if capture["name"] == "sl-reserved-sidecar":
        return
    run = captures.created(capture)
    refuse_invalid(run, run["spec"]["taskSpec"])


def test_a_reserved_sidecar_is_refused_as_by_tekton():
    capture = captures.load("sl-reserved-sidecar")
    run = captures.created(capture)
    (condition,) = capture["tekton_final"]["status"]["conditions"]
    refused = refusal(run["spec"]["taskSpec"], run)
    assert (refused.reason, refused.message) == (condition["reason"], condition["message"])


@pytest.mark.parametrize("case", range(len(from_tekton())))
def test_a_refusal_has_the_message_of_tektons_own_code(case):
    """TaskRuns made at random, run through Tekton's own validation (``data/tekton``).

    Where Tekton lets a variable reach the pod as it is written, ours is a refusal that names it.
    """
    theirs = from_tekton()[case]
    run = theirs["taskrun"]
    if "pod" in theirs:
        try:
            refuse_invalid(run, run["spec"]["taskSpec"])
        except RefusedRun as refused:
            variables = re.findall(r"variable (\$\(.*?\)) stands for nothing here", refused.message)
            assert variables
            texts = list(texts_in([theirs["taskSpec"], theirs["pod"]]))
            assert all(any(variable in text for text in texts) for variable in variables)
        return
    refused = refusal(run["spec"]["taskSpec"], run)
    # But for the value of a field, which may be a parameter's: ours shows none.
    message = re.sub(r'(invalid value): "[^"]*"(?=: steps\[[0-9]+\]\.onError)', r"\1", theirs["message"])
    # Ours names the variable, too, and the nearest there is.
    said = re.sub(r"\nvariable .* stands for nothing here(; did you mean \$\(.*\)\?)?", "", refused.message)
    assert (refused.reason, said) == (theirs["reason"], message)


def test_a_refusal_is_an_error_of_ours():
    refused = refusal({})
    assert isinstance(refused, ResultsError)
    assert refused.code == "RunRefused"
    assert refused.subject == "TaskRun ns/run"


# The Task


def test_a_refusal_names_a_task_by_reference():
    refused = refusal({"steps": []}, taskrun(taskSpec=None, taskRef={"name": "build"}))
    assert refused.message == (
        'failed to create task run pod "run": missing field(s): steps. Maybe missing or invalid Task ns/build'
    )


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ({"steps": [STEP, STEP]}, "expected exactly one, got both: steps[1].name"),
        ({"steps": [{**STEP, "command": ["c"]}]}, "script cannot be used with command: steps[0].script"),
        ({"steps": [{**STEP, "image": ""}]}, "missing field(s): steps[0].Image"),
        (
            {"steps": [{**STEP, "onError": "ignore"}]},
            ('invalid value: steps[0].onError\nTask step onError must be either "continue" or "stopAndFail"'),
        ),
        ({"steps": [{**STEP, "timeout": "-5s"}]}, "invalid value: -5s: steps[0].negative timeout"),
        (
            {"steps": [{**STEP, "script": "echo $(results.nope.path)"}]},
            (
                'non-existent variable in "echo $(results.nope.path)": steps[0].script\n'
                "variable $(results.nope.path) stands for nothing here"
            ),
        ),
        (
            {"steps": [{**STEP, "script": "echo $(context.taskRun.nope)"}]},
            (
                'non-existent variable in "echo $(context.taskRun.nope)": steps[0].script\n'
                "variable $(context.taskRun.nope) stands for nothing here"
            ),
        ),
        (
            {"steps": [{**STEP, "script": "echo $(steps.a.results.b)"}]},
            (
                "stepResult substitutions are only allowed in env, command and args. Found usage in: "
                "steps[0].script"
            ),
        ),
        (
            {"steps": [STEP], "results": [{"name": "o", "type": "object"}]},
            "missing field(s): results[0].o.properties",
        ),
        (
            {"steps": [STEP], "results": [{"name": "o", "properties": {"k": {"type": "array"}}}]},
            (
                "The value type specified for these keys [k] is invalid, the type must be string: "
                "results[0].o.properties"
            ),
        ),
        (
            {"steps": [STEP], "results": [{"name": "r", "type": "number"}]},
            "invalid value: number: results[0].type\ntype must be string",
        ),
        (
            {"steps": [STEP], "results": [{"name": "r", "value": "text"}]},
            (
                "Could not extract step name and result name. Expected value to look like "
                '$(steps.<stepName>.results.<resultName>) but got "text": results[0].r.value'
            ),
        ),
        (
            {"steps": [STEP], "results": [{"name": "r", "value": ["$(steps.s.results.r)"]}]},
            'Invalid Type. Wanted string but got: "array": results[0].r.type',
        ),
        (
            {"steps": [STEP], "sidecars": [{"name": "w", "image": "i", "script": "x", "command": ["c"]}]},
            "script cannot be used with command: sidecars.script",
        ),
        # What Tekton does not check, or not here.
        (
            {"steps": [STEP], "results": [{"name": "r"}, {"name": "r"}]},
            'result name "r" must be unique: results[1].name',
        ),
        (
            {"steps": [{**STEP, "results": [{"name": "r"}, {"name": "r"}]}]},
            'result name "r" must be unique: steps[0].results[1].name',
        ),
        (
            {"steps": [STEP], "results": [{"name": "r", "value": "$(steps.nope.results.r)"}]},
            '$(steps.nope.results.r) names a Step that does not exist: "nope": results[0].r.value',
        ),
        (
            {"steps": [STEP], "results": [{"name": "r", "value": "$(steps.s.results.r)"}]},
            '$(steps.s.results.r) names a result that Step "s" does not declare: "r": results[0].r.value',
        ),
        (
            {"steps": [{**STEP, "script": "#!win pwsh"}]},
            "Windows scripts are not supported: steps[0].script",
        ),
        (
            {"steps": [{**STEP, "timeout": "soon"}]},
            (
                'invalid value: no duration: write hours, minutes and seconds such as "1h30m": '
                "steps[0].timeout"
            ),
        ),
    ],
)
def test_an_invalid_task_is_refused(task, why):
    refused = refusal(task)
    assert refused.reason == "PodCreationFailed"
    assert refused.message == creation_failed(why)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a/b", "é", "a\n"])
def test_an_invalid_result_name_is_refused(name):
    refused = refusal({"steps": [STEP], "results": [{"name": name}]})
    assert f"invalid key name {json.dumps(name, ensure_ascii=False)}: results[0].name\n" in refused.message


@pytest.mark.parametrize("name", ["a", "A.b_c-d9", "9"])
def test_a_valid_result_name_is_accepted(name):
    refuse_invalid(taskrun(), {"steps": [STEP], "results": [{"name": name}]})


def test_all_errors_are_in_one_message():
    refused = refusal(
        {"steps": [{**STEP, "onError": "x"}, {**STEP, "name": "t", "onError": "x"}], "results": [{}]}
    )
    assert refused.message.count("invalid") == 3
    assert ": steps[0].onError, steps[1].onError\n" in refused.message


def test_further_reserved_sidecars_are_refused():
    task = {"steps": [STEP], "sidecars": [{"name": "mine", "image": "i"}]}
    refuse_invalid(taskrun(), task)
    refused = refusal(task, reserved_sidecars={"mine"})
    assert refused.message == creation_failed(
        "Invalid: cannot use reserved sidecar name mine : sidecars.name"
    )


def test_a_step_is_validated_with_its_template():
    refuse_invalid(taskrun(), {"stepTemplate": {"image": "i"}, "steps": [{"script": "x"}]})
    refused = refusal({"stepTemplate": {"image": "i", "command": ["c"]}, "steps": [{"script": "x"}]})
    assert refused.message == creation_failed("script cannot be used with command: steps[0].script")


# The run against its Task


@pytest.mark.parametrize(
    ("task", "spec", "message"),
    [
        (
            {"params": [{"name": "a"}, {"name": "b", "default": ""}, {"name": "c"}]},
            {},
            (
                "[User error] invalid input params for task run: missing values for these params "
                "which have no default values: [a c]"
            ),
        ),
        (
            {"params": [{"name": "a", "type": "array"}]},
            {"params": [{"name": "a", "value": "text"}]},
            (
                "[User error] invalid input params for task run: param types don't match the user-specified "
                "type: [a]"
            ),
        ),
        (
            {"params": [{"name": "o", "type": "object", "properties": {"k": {}, "l": {}, "m": {}}}]},
            {"params": [{"name": "o", "value": {"l": "x"}}]},
            (
                "[User error] invalid input params for task run: missing keys for these params which are "
                "required in ParamSpec's properties map[o:[k m]]"
            ),
        ),
        (
            {"params": [{"name": "a", "type": "array", "default": ["x"]}]},
            {},
            "[User error] non-existent param references:[$(params.a[1])]",
        ),
        (
            {"params": [{"name": "e", "enum": ["x", "y"]}]},
            {"params": [{"name": "e", "value": "z"}]},
            "[User error] param `e` value: (1 bytes, not shown) is not in the enum list",
        ),
        ({}, {"timeout": "-1h"}, "invalid value: -1h0m0s should be >= 0: spec.timeout"),
        (
            {},
            {"timeout": "1y"},
            ('invalid value: no duration: write hours, minutes and seconds such as "1h30m": spec.timeout'),
        ),
        ({}, {"retries": -1}, "invalid value: -1 should be >= 0: spec.retries"),
        (
            {},
            {"params": [{"name": "a", "value": ""}, {"name": "A", "value": ""}]},
            "expected exactly one, got both: spec.params[A].name",
        ),
        (
            {"workspaces": [{"name": "w"}]},
            {},
            '[User error] declared workspace "w" is required but has not been bound',
        ),
        (
            {},
            {"workspaces": [{"name": "w", "configMap": {}}]},
            '[User error] binding "w" is invalid: missing field(s): configmap.name',
        ),
        (
            {},
            {"stepSpecs": [{"name": "nope"}], "sidecarSpecs": [{"name": "nor"}]},
            (
                "[User error] invalid StepOverride: No Step named nope\n"
                "invalid SidecarOverride: No Sidecar named nor"
            ),
        ),
    ],
)
def test_a_run_that_does_not_fit_its_task_is_refused(task, spec, message):
    script = "$(params.a[1])" if "[1]" in message else "true"
    refused = refusal({"steps": [{**STEP, "script": script}], **task}, taskrun(**spec))
    assert refused.message == message
    assert refused.reason == ("InvalidParamValue" if "enum" in message else "TaskRunValidationFailed")


def test_a_binding_that_the_task_does_not_declare_is_refused():
    bound = {"workspaces": [{"name": "w", "emptyDir": {}}]}
    refuse_invalid(taskrun(**bound), {"steps": [STEP]})
    refused = refusal({"steps": [STEP]}, taskrun(taskSpec=None, taskRef={"name": "t"}, **bound))
    assert refused.message == '[User error] workspace binding "w" does not match any declared workspace'


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("$(params.imgae)", "$(params.image)"),
        ("$(params['imgae'])", "$(params['image'])"),
        ("$(params.shape.widht)", "$(params.shape.width)"),
        ("$(context.taskRun.nmae)", "$(context.taskRun.name)"),
        ("$(context.task.nmae)", "$(context.task.name)"),
        ("$(results.digets.path)", "$(results.digest.path)"),
        ("$(step.results.onw.path)", "$(step.results.own.path)"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest_there_is(text, meant):
    params = [{"name": "image"}, {"name": "shape", "type": "object", "properties": {"width": {}}}]
    step = {**STEP, "results": [{"name": "own"}], "script": f"$(params.image) {text}"}
    task = {"params": params, "results": [{"name": "digest"}], "steps": [step]}
    message = refusal(task, taskrun(params=[{"name": "image", "value": "i"}, SHAPE])).message
    assert f"variable {text} stands for nothing here; did you mean {meant}?" in message


SHAPE = {"name": "shape", "value": {"width": "1"}}


def test_a_reference_stands_for_an_array_until_it_is_resolved():
    task = {"steps": [STEP], "params": [{"name": "a", "type": "array"}]}
    refuse_invalid(taskrun(params=[{"name": "a", "value": "$(tasks.t.results.r[*])"}]), task)


def test_parameters_the_task_does_not_declare_reach_it():
    """Tekton hands a run's parameters on to an embedded Task."""
    task = {"steps": [{**STEP, "script": "echo $(params.extra)"}]}
    refuse_invalid(taskrun(params=[{"name": "extra", "value": "x"}]), task)
    assert re.search("non-existent variable", refusal(task).message)


LONG = "q" * 500_000


@pytest.mark.parametrize("reference", ["$(params.nope)", "$(params.a.b.c)"])
def test_a_message_does_not_hold_all_of_a_script_with_a_large_value(reference):
    task = {"steps": [{**STEP, "script": f"echo $(params.extra) {reference} $(params.extra)"}]}
    given = [{"name": "extra", "value": LONG}]
    message = refusal(task, taskrun(params=given)).message
    assert reference in message
    assert "(cut from 10000" in message
    assert len(message) < 1000


def test_a_message_does_not_hold_all_of_a_value_that_is_not_allowed():
    task = {"params": [{"name": "e", "enum": ["x"]}], "steps": [STEP]}
    message = refusal(task, taskrun(params=[{"name": "e", "value": LONG}])).message
    assert message.endswith("value: (500000 bytes, not shown) is not in the enum list")
    assert len(message) < 1200


# Volumes that are not for Steps and Sidecars.


SIDECAR = {"name": "side", "image": "i"}


def mounting(name):
    return {"volumeMounts": [{"name": name, "mountPath": "/x"}]}


@pytest.mark.parametrize("volume", ["resultsfw-results-server", "resultsfw-account", "tekton-internal-run-0"])
@pytest.mark.parametrize("where", ["steps", "stepTemplate", "sidecars"])
def test_a_mount_of_a_reserved_volume_is_refused(volume, where):
    task = {"steps": [STEP], "sidecars": [SIDECAR]}
    if where == "stepTemplate":
        task[where] = mounting(volume)
    else:
        task[where] = [{**task[where][0], **mounting(volume)}]
    prefix = "resultsfw-" if volume.startswith("resultsfw-") else "tekton-internal-"
    refused = refusal(task)
    path = "sidecars" if where == "sidecars" else "steps"
    assert refused.message == creation_failed(
        f'volumeMount name "{volume}" cannot start with "{prefix}": {path}[0].volumeMounts[0].name'
    )


@pytest.mark.parametrize("where", ["steps", "sidecars"])
def test_a_reserved_volume_whose_name_substitution_makes_is_refused(where):
    task = {
        "params": [{"name": "v", "default": "resultsfw-"}],
        "steps": [STEP],
        "sidecars": [SIDECAR],
    }
    task[where] = [{**task[where][0], **mounting("$(params.v)account")}]
    assert 'cannot start with "resultsfw-"' in refusal(task).message


def test_a_reserved_volume_cannot_be_declared_by_a_task():
    task = {"steps": [STEP], "volumes": [{"name": "resultsfw-account", "emptyDir": {}}]}
    message = 'volume name "resultsfw-account" cannot start with "resultsfw-": volumes[0].name'
    assert refusal(task).message == creation_failed(message)
