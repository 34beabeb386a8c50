"""Keys of Tekton's ConfigMaps and the operator's policies: none is without effect in silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipelinerun_harness import PipelineRunHarness, pipeline_task
from taskrun_harness import TaskRunHarness
from tektonfields import recorded_keys

from resultsfw import PODS
from resultsfw.errors import FlagError
from resultsfw.flags import CONFIG_PREFIX
from resultsfw.flags import KEYS as OWN
from resultsfw.local.store import Store
from resultsfw.tekton.api.configmaps import CONFIG_DEFAULTS, CONFIG_EVENTS, FEATURE_FLAGS, KEYS, key_warnings
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES, TASKS
from resultsfw.tekton.api.policies import Policies, policies_of
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.pod.options import POD_FLAGS
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.tekton.taskrun.settings import settings_of

STEP = {"name": "s", "image": "i", "script": "true"}


def said(name=FEATURE_FLAGS, **data):
    """What is doubted of these keys, written with underscores."""
    own = {"own": OWN, "prefix": CONFIG_PREFIX} if name == FEATURE_FLAGS else {}
    return list(key_warnings(name, {key.replace("_", "-"): value for key, value in data.items()}, **own))


@pytest.mark.parametrize(("name", "key"), recorded_keys())
def test_each_key_that_tekton_reads_is_in_the_table(name, key):
    assert KEYS[name][key].meaning


def test_the_table_has_no_key_that_tekton_does_not_read():
    assert {(name, key) for name, rules in KEYS.items() for key in rules} == set(recorded_keys())


WARNED = [
    (name, key) for name, rules in KEYS.items() for key, rule in rules.items() if rule.verdict == "warned"
]


@pytest.mark.parametrize(("name", "key"), WARNED)
def test_a_key_without_effect_is_warned_about_by_name_unless_it_asks_for_nothing(name, key):
    (line,) = key_warnings(name, {key: "something-else"})
    assert line.startswith(f"{name}: {key} has no effect here: ")
    for harmless in ("", *KEYS[name][key].harmless):
        assert list(key_warnings(name, {key: f" {harmless.upper()} "})) == []


def test_booleans_are_read_as_go_reads_them():
    assert said(disable_creds_init="1") == []
    assert said(await_sidecar_readiness="T") == []
    assert len(said(await_sidecar_readiness="F")) == 1


def test_flags_of_pods_are_honoured_as_the_table_says():
    assert all(KEYS[FEATURE_FLAGS][key].verdict == "honoured" for key in POD_FLAGS)


def test_a_misspelt_key_is_pointed_out_with_the_nearest_name():
    (line,) = said(max_result_sise="5000")
    assert '"max-result-sise" is no key that is known here' in line
    assert line.endswith('did you mean "max-result-size"?')
    (line,) = said(alowed_results_from="x")
    assert line.endswith('did you mean "allowed-results-from"?')
    (line,) = said(CONFIG_DEFAULTS, default_forbiden_env="x")
    assert line.endswith('did you mean "default-forbidden-env"?')


def test_a_key_near_no_other_is_said_to_have_no_effect():
    (line,) = said(zzz="1")
    assert line.endswith("has no effect")


def test_own_keys_and_examples_are_not_warned_about():
    assert said(results_from="x", embedded_status="full") == []
    ours = {"config.http": "", "_example": ""}
    assert list(key_warnings(FEATURE_FLAGS, ours, own=OWN, prefix=CONFIG_PREFIX)) == []


def test_a_sink_of_cloud_events_is_warned_about_without_its_address():
    """An address may hold a password."""
    for name, key in ((CONFIG_EVENTS, "sink"), (CONFIG_DEFAULTS, "default-cloud-events-sink")):
        (line,) = key_warnings(name, {key: "https://user:secret@host"})
        assert "CloudEvents are not sent" in line
        assert "secret" not in line


ANY_KEY = st.sampled_from([key for rules in KEYS.values() for key in rules]) | st.text()


@given(st.dictionaries(ANY_KEY, st.text()))
def test_key_warnings_never_fail_whatever_a_configmap_holds(data):
    for name in KEYS:
        list(key_warnings(name, data, own=OWN, prefix=CONFIG_PREFIX))


def test_honoured_defaults_are_not_warned_about():
    found = settings_of({}, {"default-service-account": "bot", "default-forbidden-env": "A, B ,"})
    assert found.pods.service_account == "bot"
    assert found.policies.forbidden_env == {"A", "B"}


# Policies.


class Held(TaskRunHarness):
    """A TaskRun under policies."""

    def __init__(self, flags=None, defaults=None):
        super().__init__()
        policies = policies_of(flags or {}, defaults or {})
        core = self.reconciler.core
        self.reconciler = Reconciler(core, self.cluster, clock=self.clock, policies=policies)

    def refused(self, *words):
        self.reconcile()
        assert self.condition["status"] == "False"
        assert self.condition["reason"] == "TaskRunValidationFailed"
        for word in words:
            assert word in self.condition["message"]
        assert Store.list(self.cluster, PODS) == []


class HeldPipeline(PipelineRunHarness):
    """A PipelineRun under policies."""

    def __init__(self, *tasks, flags, defaults=None, **spec):
        super().__init__(*tasks, **spec)
        policies = policies_of(flags, defaults or {})
        self.reconciler = PipelineReconciler(self.core, self.store, clock=lambda: self.now, policies=policies)

    def refused(self, *words):
        self.reconcile()
        verdict, reason, message = self.condition
        assert (verdict, reason) == ("False", "PipelineValidationFailed")
        for word in words:
            assert word in message
        assert self.taskruns_made == []


UNENFORCED = [
    ("enforce-nonfalsifiability", "spire"),
    ("trusted-resources-verification-no-match-policy", "fail"),
]


@pytest.mark.parametrize(("key", "value"), UNENFORCED)
def test_a_security_policy_that_is_not_enforced_refuses_every_run(key, value):
    harness = Held({key: value})
    harness.submit()
    harness.refused(f'the feature flag "{key}" is "{value}"', "set the flag to")
    HeldPipeline(pipeline_task("a"), flags={key: value}).refused(f'the feature flag "{key}" is "{value}"')


@pytest.mark.parametrize(("key", "value"), UNENFORCED)
def test_a_security_policy_that_is_not_enforced_is_warned_about_as_well(key, value):
    (line,) = key_warnings(FEATURE_FLAGS, {key: value})
    assert "every run is refused" in line


@pytest.mark.parametrize(("key", "value"), UNENFORCED)
def test_policies_are_refused_at_their_next_pod_and_leave_running_ones_alone(key, value):
    harness = Held()
    harness.submit()
    harness.reconcile()
    assert harness.pod()
    policies = policies_of({key: value}, {})
    harness.reconciler = Reconciler(
        harness.reconciler.core, harness.cluster, clock=harness.clock, policies=policies
    )
    harness.finish()
    harness.reconcile()
    assert harness.condition["status"] == "True"


def test_policies_that_ask_for_nothing_let_runs_through():
    quiet = {"enforce-nonfalsifiability": "none", "trusted-resources-verification-no-match-policy": "ignore"}
    assert policies_of(quiet, {}) == Policies(artifacts=False, nonfalsifiability="none")
    warns = {"trusted-resources-verification-no-match-policy": "warn"}
    assert policies_of(warns, {}) == Policies(artifacts=False)
    assert "signatures of Tasks and Pipelines are not verified" in next(key_warnings(FEATURE_FLAGS, warns))


def test_an_inline_task_is_refused_where_the_flag_names_taskruns():
    harness = Held({"disable-inline-spec": "pipeline, taskrun"})
    harness.submit()
    harness.refused("must not set the field(s): spec.taskSpec", "taskRef")


@pytest.mark.parametrize("named", ["pipeline", "pipelinerun", "pipeline,pipelinerun"])
def test_an_inline_task_is_run_where_the_flag_names_others(named):
    harness = Held({"disable-inline-spec": named})
    harness.submit()
    harness.reconcile()
    assert harness.pod()


def test_a_task_by_reference_is_run_whatever_the_flag_names():
    harness = Held({"disable-inline-spec": "pipeline,pipelinerun,taskrun"})
    task = {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "default"}}
    Store.create(harness.cluster, TASKS, {**task, "spec": {"steps": [STEP]}})
    harness.submit(taskSpec=None, taskRef={"name": "t"})
    harness.reconcile()
    assert harness.pod()


def test_an_inline_pipeline_is_refused_where_the_flag_names_pipelineruns():
    harness = HeldPipeline(pipeline_task("a"), flags={"disable-inline-spec": "pipelinerun"})
    harness.refused("must not set the field(s): spec.pipelineSpec:")


def test_an_inline_task_of_a_pipeline_is_refused_where_the_flag_names_pipelines():
    harness = HeldPipeline(
        pipeline_task("a"), flags={"disable-inline-spec": "pipeline"}, last=(pipeline_task("z"),)
    )
    harness.refused("spec.pipelineSpec.tasks[0].taskSpec", "spec.pipelineSpec.finally[0].taskSpec")


def test_a_pipeline_within_a_pipeline_is_refused_where_the_flag_names_pipelines():
    nested = {"name": "n", "pipelineSpec": {"tasks": [pipeline_task("a")]}}
    harness = HeldPipeline(nested, flags={"disable-inline-spec": "pipeline"})
    harness.refused("spec.pipelineSpec.tasks[0].pipelineSpec:")


def test_an_inline_task_of_a_pipeline_by_reference_is_refused_too():
    harness = HeldPipeline(flags={"disable-inline-spec": "pipeline"})
    pipeline = {"apiVersion": "tekton.dev/v1", "kind": "Pipeline"}
    metadata = {"name": "release", "namespace": "default"}
    Store.create(
        harness.store, PIPELINES, {**pipeline, "metadata": metadata, "spec": {"tasks": [pipeline_task("a")]}}
    )
    patch = {"spec": {"pipelineSpec": None, "pipelineRef": {"name": "release"}}}
    Store.patch(harness.store, PIPELINERUNS, "default", "p", patch)
    harness.refused('Pipeline "release": spec.tasks[0].taskSpec')


def test_a_misspelt_kind_of_the_inline_policy_is_an_error():
    with pytest.raises(FlagError) as caught:
        policies_of({"disable-inline-spec": "taskruns"}, {})
    assert caught.value.subject == "disable-inline-spec"
    assert 'did you mean "taskrun"?' in caught.value.message


TEMPLATE = {"env": [{"name": "OK", "value": "1"}, {"name": "HTTP_PROXY", "value": "x"}]}
FORBIDDEN = {"default-forbidden-env": "HTTP_PROXY,NO_PROXY"}


def test_a_forbidden_variable_of_a_pod_template_is_refused():
    harness = Held({}, FORBIDDEN)
    harness.submit(podTemplate=TEMPLATE)
    harness.refused("spec.podTemplate.env[1].name", "HTTP_PROXY")


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"taskRunTemplate": {"podTemplate": TEMPLATE}}, "spec.taskRunTemplate.podTemplate.env[1]"),
        (
            {"taskRunSpecs": [{"pipelineTaskName": "a", "podTemplate": TEMPLATE}]},
            "spec.taskRunSpecs[0].podTemplate.env[1]",
        ),
    ],
)
def test_a_forbidden_variable_of_a_pipelinerun_is_refused(spec, path):
    HeldPipeline(pipeline_task("a"), flags={}, defaults=FORBIDDEN, **spec).refused(path)


@pytest.mark.parametrize(("text", "limit"), [("", 256), (" 2 ", 2), ("0", 0), ("1000", 1000)])
def test_the_combinations_of_a_matrix_are_limited_by_config_defaults(text, limit):
    assert policies_of({}, {"default-max-matrix-combinations-count": text}).max_combinations == limit


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "9" * 40, "\u0663"])
def test_a_limit_of_combinations_that_is_no_number_is_refused(text):
    with pytest.raises(
        FlagError, match=r"default-max-matrix-combinations-count is .*, which is not a number"
    ):
        policies_of({}, {"default-max-matrix-combinations-count": text})
