"""Edits of Tekton's ConfigMaps take effect or are rejected, and each is reported once."""

import asyncio
import threading

import pytest

from resultsfw import hookimpl
from resultsfw.controller.live_flags import LiveFlags, flags_of
from resultsfw.controller.metrics import Metrics
from resultsfw.core import ResultsManager
from resultsfw.errors import BrokenBackendError, BrokenExtensionError, FlagError, UnavailableError
from resultsfw.tekton.pod.builder import PodOptions


class FlagsHarness:
    """Everything `LiveFlags` is given, and what came of it."""

    def __init__(self, **more):
        self.managers, self.pods, self.sent, self.missing = [], [], [], []
        self.metrics = Metrics([])
        self.changed = threading.Condition()
        self.fault = None
        self.build = ResultsManager
        self.version = 0
        self.flags = LiveFlags(
            build=self._build,
            check=lambda _: list(self.missing),
            swap=self._swap,
            send_event=self._tell,
            metrics=self.metrics,
            **more,
        )

    def _build(self, flags):
        if self.fault is not None:
            raise self.fault
        return self.build(flags)

    def _swap(self, core, settings):
        with self.changed:
            self.managers.append(core)
            self.pods.append(settings.pods)
            self.policies = settings.policies
            self.changed.notify_all()

    def _tell(self, obj, event):
        with self.changed:
            self.sent.append((obj, event))
            self.changed.notify_all()

    def other(self, name, **data):
        self.version += 1
        metadata = {"name": name, "namespace": "n", "uid": name, "resourceVersion": str(self.version)}
        data = {key.replace("_", "-"): value for key, value in data.items()}
        self.flags.on_other_configmap(name, {"metadata": metadata, "data": data})

    def doubtful(self):
        return self.metrics.flags_doubtful._value.get()

    def edit(self, **data):
        self.version += 1
        metadata = {
            "name": "feature-flags",
            "namespace": "n",
            "uid": "u",
            "resourceVersion": str(self.version),
        }
        self.flags.on_feature_flags(
            {"metadata": metadata, "data": {k.replace("_", "-"): v for k, v in data.items()}}
        )

    def wait(self, so):
        with self.changed:
            assert self.changed.wait_for(so, 5)

    def failures(self):
        return self.metrics.flags_failures._value.get()


@pytest.fixture
def make_flags():
    made = []

    def make(**more):
        made.append(FlagsHarness(**more))
        return made[-1]

    yield make
    for one in made:
        one.flags.close()


def test_a_valid_edit_takes_effect(make_flags):
    one = make_flags()
    one.edit(results_from="termination-message")
    one.wait(lambda: len(one.managers) == 1)
    assert one.flags.ready.wait(5)
    one.edit(results_from="sidecar-logs", max_result_size="9000")
    one.wait(lambda: len(one.managers) == 2)
    assert one.managers[1].flags.results_from == "sidecar-logs"
    assert one.managers[1].flags.max_result_size == 9000


def test_tektons_pod_flags_take_effect(make_flags):
    one = make_flags(pods=PodOptions(nop_image="mine"))
    one.edit(results_from="termination-message")
    one.edit(results_from="termination-message", set_security_context="true", keep_pod_on_cancel="True")
    one.wait(lambda: one.pods and one.pods[-1].security_context)
    assert one.pods[-1] == PodOptions(nop_image="mine", security_context=True, keep_pod_on_cancel=True)
    one.edit(results_from="termination-message", set_security_context="false")
    one.wait(lambda: not one.pods[-1].security_context)
    assert one.pods[-1] == PodOptions(nop_image="mine")


def test_an_edit_of_another_components_flag_changes_nothing(make_flags):
    one = make_flags()
    one.edit()
    one.wait(lambda: len(one.managers) == 1)
    one.edit(enable_api_fields="beta")
    one.edit(results_from="sidecar-logs")
    one.wait(lambda: len(one.managers) == 2)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"results_from": "nonsense"}, "nonsense"),
        ({"max_result_size": "many"}, "many"),
        ({"config.sidecar-logs": "colour: red"}, "colour"),
        ({"config.sidecar-logs": "["}, "config.sidecar-logs"),
        ({"set_security_context": "yes"}, "set-security-context"),
    ],
)
def test_an_invalid_edit_keeps_the_previous_flags_and_is_reported(make_flags, caplog, data, word):
    one = make_flags()
    one.edit(results_from="sidecar-logs")
    one.wait(lambda: one.managers)
    one.edit(**{"results_from": "sidecar-logs", **data})
    one.wait(lambda: one.sent)
    (obj, event) = one.sent[0]
    assert (obj["kind"], obj["apiVersion"]) == ("ConfigMap", "v1")
    assert (event.type, event.reason) == ("Warning", "FlagsRefused")
    assert word in event.message
    assert "the previous flags stay in effect" in caplog.text
    assert one.failures() == 1
    assert one.metrics.flags_rejected._value.get() == 1
    assert len(one.managers) == 1
    one.edit(results_from="sidecar-logs")  # taken back
    one.edit(results_from="termination-message")
    one.wait(lambda: len(one.managers) == 2)
    assert one.metrics.flags_rejected._value.get() == 0


def test_data_that_is_not_text_is_rejected():
    with pytest.raises(FlagError, match="not text"):
        flags_of({"data": {"max-result-size": 9}})


def test_no_flags_take_effect_until_an_invalid_first_configmap_is_corrected(make_flags):
    one = make_flags()
    one.edit(results_from="nonsense")
    one.wait(lambda: one.sent)
    assert "no run is reconciled" in one.sent[0][1].message
    assert not one.flags.ready.is_set()
    one.edit()
    assert one.flags.ready.wait(5)


@pytest.mark.parametrize("error", [BrokenBackendError, BrokenExtensionError])
def test_a_broken_plugin_ends_the_process_at_the_start_and_is_rejected_later(make_flags, caplog, error):
    given_up = []
    one = make_flags(on_unusable_plugin=lambda: given_up.append(1))
    one.fault = error("it is broken")
    one.edit()
    one.wait(lambda: one.sent)
    one.fault = None
    one.edit()
    assert one.flags.ready.wait(5)
    one.fault = error("it is broken, too")
    one.edit(results_from="sidecar-logs")
    one.wait(lambda: len(one.sent) == 2)
    assert given_up == [1]
    assert "it is broken; the process exits" in caplog.text
    assert "it is broken, too; the previous flags stay in effect" in caplog.text


def test_extensions_are_logged_when_they_take_effect(make_flags, caplog):
    caplog.set_level("INFO", "resultsfw")
    one = make_flags()
    one.edit(**{"extensions": "redact", "config.redact": "patterns: {a: b}"})
    one.wait(lambda: one.managers)
    assert one.flags.ready.wait(5)
    assert "max-result-size=4096, extensions=redact" in caplog.text
    one.edit(**{"extensions": "redact", "config.redact": "patterns: {}"})
    one.wait(lambda: one.sent)
    assert "config.redact" in one.sent[0][1].message


def test_defaults_take_effect_without_a_configmap_and_are_logged_once(make_flags, caplog):
    one = make_flags()
    one.flags.on_feature_flags(None)
    one.wait(lambda: one.managers)
    one.flags.on_feature_flags(None)
    one.edit(results_from="sidecar-logs")
    one.wait(lambda: len(one.managers) == 2)
    assert caplog.text.count("the defaults are in effect") == 1


def test_edit_is_rejected_until_the_backends_permission_is_granted(make_flags, monkeypatch):
    monkeypatch.setattr("resultsfw.controller.live_flags._RECHECK", 0.02)
    one = make_flags()
    one.edit()
    one.wait(lambda: one.managers)
    one.missing = ["get pods/log: not allowed; kubectl apply -f ..."]
    one.edit(results_from="sidecar-logs")
    one.wait(lambda: one.sent)
    assert "get pods/log" in one.sent[0][1].message
    one.missing = []
    one.wait(lambda: len(one.managers) == 2)
    assert (one.failures(), len(one.sent)) == (1, 1)


def test_a_missing_permission_at_the_start_is_logged_and_flags_take_effect(make_flags, caplog):
    one = make_flags()
    one.missing = ["get pods/log: not allowed"]
    one.edit(results_from="sidecar-logs")
    assert one.flags.ready.wait(5)
    assert "get pods/log: not allowed" in caplog.text


@pytest.mark.parametrize("fault", [UnavailableError("gone"), RuntimeError("bug")])
def test_an_edit_rejected_for_a_temporary_cause_is_tried_again(make_flags, monkeypatch, fault):
    monkeypatch.setattr("resultsfw.controller.live_flags._RECHECK", 0.02)
    one = make_flags()
    one.fault = fault
    one.edit()
    one.wait(lambda: one.sent)
    one.fault = None
    assert one.flags.ready.wait(5)


def test_the_sidecar_image_option_overrides_the_flag():
    data = {"data": {"config.sidecar-logs": "image: one\ncpu: 5m"}}
    assert flags_of(data, sidecar_image="two").config["sidecar-logs"] == {"image": "two", "cpu": "5m"}
    assert flags_of(data).config["sidecar-logs"]["image"] == "one"


def test_doubtful_flags_take_effect_and_are_reported_once(make_flags, caplog):
    one = make_flags()
    one.edit(embedded_status="both", results_from="sidecar-logs")
    one.wait(lambda: one.managers and one.sent)
    ((obj, event),) = one.sent
    assert (obj["kind"], event.type, event.reason) == ("ConfigMap", "Warning", "FlagsDoubtful")
    assert "embedded-status is both, and results-from sidecar-logs" in event.message
    assert event.message in caplog.text
    one.edit(embedded_status="both")
    one.wait(lambda: len(one.managers) == 2)
    assert len(one.sent) == 1


def test_a_misspelt_key_is_reported_once_in_log_event_and_metric(make_flags, caplog):
    one = make_flags()
    one.edit(max_result_sise="5000")
    one.wait(lambda: one.sent)
    ((obj, event),) = one.sent
    assert (obj["metadata"]["name"], event.reason) == ("feature-flags", "FlagsDoubtful")
    assert 'did you mean "max-result-size"?' in event.message
    assert event.message in caplog.text
    one.edit(max_result_sise="5000", max_result_size="9000")
    one.wait(lambda: len(one.managers) == 2)
    one.edit(max_result_size="9000")
    one.edit(max_result_size="9001")
    one.wait(lambda: len(one.managers) == 3)
    assert len(one.sent) == 1
    assert one.flags.ready.wait(5)


def test_options_of_a_backend_that_is_not_installed_are_a_warning(make_flags):
    one = make_flags()
    one.edit(**{"config.sidecar-log": "image: x"})
    one.wait(lambda: one.sent)
    assert 'did you mean "sidecar-logs"?' in one.sent[0][1].message


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("config-events", {"sink": "https://host"}, "CloudEvents are not sent"),
        ("config-defaults", {"default_cloud_events_sink": "https://host"}, "CloudEvents are not sent"),
    ],
)
def test_keys_without_effect_are_reported_on_their_own_configmap(make_flags, name, data, said):
    one = make_flags()
    one.edit()
    one.wait(lambda: len(one.managers) == 1)
    one.other(name, **data)
    one.wait(lambda: one.sent)
    ((obj, event),) = one.sent
    assert obj["metadata"]["name"] == name
    assert said in event.message
    one.flags.on_other_configmap(name, None)
    one.edit(max_result_size="9000")
    one.wait(lambda: len(one.managers) == 2)
    one.flags.close()  # its last words are said
    assert one.doubtful() == 0


def test_config_defaults_that_come_before_the_flags_take_effect_with_them(make_flags):
    one = make_flags()
    one.other("config-defaults", default_service_account="bot", default_forbidden_env="A,B")
    one.edit()
    one.wait(lambda: one.pods)
    assert one.pods[0].service_account == "bot"
    assert one.policies.forbidden_env == {"A", "B"}


def test_an_edit_of_config_defaults_alone_takes_effect(make_flags):
    one = make_flags()
    one.edit()
    one.wait(lambda: len(one.pods) == 1)
    one.other("config-defaults", default_service_account="bot")
    one.wait(lambda: len(one.pods) == 2)
    assert one.pods[1].service_account == "bot"


def test_an_invalid_default_is_rejected_on_its_own_configmap_and_the_settings_before_stay(make_flags):
    one = make_flags()
    one.edit()
    one.wait(lambda: len(one.pods) == 1)
    one.other("config-defaults", default_timeout_minutes="ten")
    one.wait(lambda: one.sent)
    ((obj, event),) = one.sent
    assert obj["metadata"]["name"] == "config-defaults"
    assert event.reason == "FlagsRefused"
    assert '"default-timeout-minutes": "ten" is not a whole number' in event.message
    assert len(one.pods) == 1


def test_security_policies_take_effect_and_are_reported(make_flags):
    one = make_flags()
    one.edit(enforce_nonfalsifiability="spire", disable_inline_spec="taskrun")
    one.wait(lambda: one.sent)
    assert one.policies.no_inline == {"taskrun"}
    assert "spire" in one.policies.unenforced[0]
    assert "every run is refused" in one.sent[0][1].message


def test_an_edit_with_a_misspelt_policy_is_rejected(make_flags):
    one = make_flags()
    one.edit()
    one.wait(lambda: one.managers)
    one.edit(disable_inline_spec="taskruns")
    one.wait(lambda: one.sent)
    assert one.sent[0][1].reason == "FlagsRefused"
    assert one.failures() == 1


def test_settings_without_a_right_are_adapted_and_the_lacking_right_is_reported(make_flags):
    def adapt(settings):
        return settings.without_coscheduling(), ["create statefulsets.apps is not granted"]

    harness = make_flags(adapt=adapt)
    harness.edit(coschedule="workspaces")
    harness.wait(lambda: harness.sent)
    assert not harness.policies.one_claim
    assert [event.message for _, event in harness.sent] == ["create statefulsets.apps is not granted"]


@pytest.mark.parametrize("where", ["build", "swap"])
def test_whatever_an_edit_raises_the_next_one_is_applied(make_flags, monkeypatch, where):
    """A plugin's constructor may raise anything; nobody would notice that the thread had ended."""
    harness = make_flags()
    harness.edit(max_result_size="1000")
    harness.wait(lambda: len(harness.managers) == 1)

    def panics(*_):
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        if where == "build":
            patch.setattr(harness, "build", panics)
        else:
            patch.setattr(harness.flags, "_swap", panics)
        harness.edit(max_result_size="2000")
        harness.wait(lambda: harness.failures() == 1)
    assert "internal error (CancelledError)" in harness.sent[-1][1].message
    harness.edit(max_result_size="3000")
    harness.wait(lambda: len(harness.managers) == 2)


def test_extensions_of_replaced_and_rejected_flags_are_closed(make_flags):
    closed = []

    class Watches:
        def __init__(self):
            self.number = len(instances)
            instances.append(self)

        @hookimpl
        def results_collected(self):
            pass

        @hookimpl
        def close(self):
            with one.changed:
                closed.append(self.number)
                one.changed.notify_all()

    instances = []
    one = make_flags()
    one.build = lambda flags: ResultsManager(flags, register_extensions={"watches": Watches})
    one.edit(max_result_size="1000")
    one.wait(lambda: len(one.managers) == 1)
    one.edit(max_result_size="2000")
    one.wait(lambda: closed == [0])
    one.missing = ["cannot read logs"]
    one.edit(max_result_size="3000")
    one.wait(lambda: closed == [0, 2])
    one.flags.close()
    one.wait(lambda: closed == [0, 2, 1])
