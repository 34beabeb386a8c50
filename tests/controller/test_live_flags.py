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
    for live in made:
        live.flags.close()


def test_a_valid_edit_takes_effect(make_flags):
    live = make_flags()
    live.edit(results_from="termination-message")
    live.wait(lambda: len(live.managers) == 1)
    assert live.flags.ready.wait(5)
    live.edit(results_from="sidecar-logs", max_result_size="9000")
    live.wait(lambda: len(live.managers) == 2)
    assert live.managers[1].flags.results_from == "sidecar-logs"
    assert live.managers[1].flags.max_result_size == 9000


def test_tektons_pod_flags_take_effect(make_flags):
    live = make_flags(pods=PodOptions(nop_image="mine"))
    live.edit(results_from="termination-message")
    live.edit(results_from="termination-message", set_security_context="true", keep_pod_on_cancel="True")
    live.wait(lambda: live.pods and live.pods[-1].security_context)
    assert live.pods[-1] == PodOptions(nop_image="mine", security_context=True, keep_pod_on_cancel=True)
    live.edit(results_from="termination-message", set_security_context="false")
    live.wait(lambda: not live.pods[-1].security_context)
    assert live.pods[-1] == PodOptions(nop_image="mine")


def test_an_edit_of_another_components_flag_changes_nothing(make_flags):
    live = make_flags()
    live.edit()
    live.wait(lambda: len(live.managers) == 1)
    live.edit(enable_api_fields="beta")
    live.edit(results_from="sidecar-logs")
    live.wait(lambda: len(live.managers) == 2)


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
    live = make_flags()
    live.edit(results_from="sidecar-logs")
    live.wait(lambda: live.managers)
    live.edit(**{"results_from": "sidecar-logs", **data})
    live.wait(lambda: live.sent)
    (obj, event) = live.sent[0]
    assert (obj["kind"], obj["apiVersion"]) == ("ConfigMap", "v1")
    assert (event.type, event.reason) == ("Warning", "FlagsRefused")
    assert word in event.message
    assert "the previous flags stay in effect" in caplog.text
    assert live.failures() == 1
    assert live.metrics.flags_rejected._value.get() == 1
    assert len(live.managers) == 1
    live.edit(results_from="sidecar-logs")  # taken back
    live.edit(results_from="termination-message")
    live.wait(lambda: len(live.managers) == 2)
    assert live.metrics.flags_rejected._value.get() == 0


def test_data_that_is_not_text_is_rejected():
    with pytest.raises(FlagError, match="not text"):
        flags_of({"data": {"max-result-size": 9}})


def test_no_flags_take_effect_until_an_invalid_first_configmap_is_corrected(make_flags):
    live = make_flags()
    live.edit(results_from="nonsense")
    live.wait(lambda: live.sent)
    assert "no run is reconciled" in live.sent[0][1].message
    assert not live.flags.ready.is_set()
    live.edit()
    assert live.flags.ready.wait(5)


@pytest.mark.parametrize("error", [BrokenBackendError, BrokenExtensionError])
def test_a_broken_plugin_ends_the_process_at_the_start_and_is_rejected_later(make_flags, caplog, error):
    given_up = []
    live = make_flags(on_unusable_plugin=lambda: given_up.append(1))
    live.fault = error("it is broken")
    live.edit()
    live.wait(lambda: live.sent)
    live.fault = None
    live.edit()
    assert live.flags.ready.wait(5)
    live.fault = error("it is broken, too")
    live.edit(results_from="sidecar-logs")
    live.wait(lambda: len(live.sent) == 2)
    assert given_up == [1]
    assert "it is broken; the process exits" in caplog.text
    assert "it is broken, too; the previous flags stay in effect" in caplog.text


def test_extensions_are_logged_when_they_take_effect(make_flags, caplog):
    caplog.set_level("INFO", "resultsfw")
    live = make_flags()
    live.edit(**{"extensions": "redact", "config.redact": "patterns: {a: b}"})
    live.wait(lambda: live.managers)
    assert live.flags.ready.wait(5)
    assert "max-result-size=4096, extensions=redact" in caplog.text
    live.edit(**{"extensions": "redact", "config.redact": "patterns: {}"})
    live.wait(lambda: live.sent)
    assert "config.redact" in live.sent[0][1].message


def test_defaults_take_effect_without_a_configmap_and_are_logged_once(make_flags, caplog):
    live = make_flags()
    live.flags.on_feature_flags(None)
    live.wait(lambda: live.managers)
    live.flags.on_feature_flags(None)
    live.edit(results_from="sidecar-logs")
    live.wait(lambda: len(live.managers) == 2)
    assert caplog.text.count("the defaults are in effect") == 1


def test_edit_is_rejected_until_the_backends_permission_is_granted(make_flags, monkeypatch):
    monkeypatch.setattr("resultsfw.controller.live_flags._RECHECK", 0.02)
    live = make_flags()
    live.edit()
    live.wait(lambda: live.managers)
    live.missing = ["get pods/log: not allowed; kubectl apply -f ..."]
    live.edit(results_from="sidecar-logs")
    live.wait(lambda: live.sent)
    assert "get pods/log" in live.sent[0][1].message
    live.missing = []
    live.wait(lambda: len(live.managers) == 2)
    assert (live.failures(), len(live.sent)) == (1, 1)


def test_a_missing_permission_at_the_start_is_logged_and_flags_take_effect(make_flags, caplog):
    live = make_flags()
    live.missing = ["get pods/log: not allowed"]
    live.edit(results_from="sidecar-logs")
    assert live.flags.ready.wait(5)
    assert "get pods/log: not allowed" in caplog.text


@pytest.mark.parametrize("fault", [UnavailableError("gone"), RuntimeError("bug")])
def test_an_edit_rejected_for_a_temporary_cause_is_tried_again(make_flags, monkeypatch, fault):
    monkeypatch.setattr("resultsfw.controller.live_flags._RECHECK", 0.02)
    live = make_flags()
    live.fault = fault
    live.edit()
    live.wait(lambda: live.sent)
    live.fault = None
    assert live.flags.ready.wait(5)


def test_the_sidecar_image_option_overrides_the_flag():
    data = {"data": {"config.sidecar-logs": "image: one\ncpu: 5m"}}
    assert flags_of(data, sidecar_image="two").config["sidecar-logs"] == {"image": "two", "cpu": "5m"}
    assert flags_of(data).config["sidecar-logs"]["image"] == "one"


def test_doubtful_flags_take_effect_and_are_reported_once(make_flags, caplog):
    live = make_flags()
    live.edit(embedded_status="both", results_from="sidecar-logs")
    live.wait(lambda: live.managers and live.sent)
    ((obj, event),) = live.sent
    assert (obj["kind"], event.type, event.reason) == ("ConfigMap", "Warning", "FlagsDoubtful")
    assert "embedded-status is both, and results-from sidecar-logs" in event.message
    assert event.message in caplog.text
    live.edit(embedded_status="both")
    live.wait(lambda: len(live.managers) == 2)
    assert len(live.sent) == 1


def test_a_misspelt_key_is_reported_once_in_log_event_and_metric(make_flags, caplog):
    live = make_flags()
    live.edit(max_result_sise="5000")
    live.wait(lambda: live.sent)
    ((obj, event),) = live.sent
    assert (obj["metadata"]["name"], event.reason) == ("feature-flags", "FlagsDoubtful")
    assert 'did you mean "max-result-size"?' in event.message
    assert event.message in caplog.text
    live.edit(max_result_sise="5000", max_result_size="9000")
    live.wait(lambda: len(live.managers) == 2)
    live.edit(max_result_size="9000")
    live.edit(max_result_size="9001")
    live.wait(lambda: len(live.managers) == 3)
    assert len(live.sent) == 1
    assert live.flags.ready.wait(5)


def test_options_of_a_backend_that_is_not_installed_are_a_warning(make_flags):
    live = make_flags()
    live.edit(**{"config.sidecar-log": "image: x"})
    live.wait(lambda: live.sent)
    assert 'did you mean "sidecar-logs"?' in live.sent[0][1].message


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("config-events", {"sink": "https://host"}, "CloudEvents are not sent"),
        ("config-defaults", {"default_cloud_events_sink": "https://host"}, "CloudEvents are not sent"),
    ],
)
def test_keys_without_effect_are_reported_on_their_own_configmap(make_flags, name, data, said):
    live = make_flags()
    live.edit()
    live.wait(lambda: len(live.managers) == 1)
    live.other(name, **data)
    live.wait(lambda: live.sent)
    ((obj, event),) = live.sent
    assert obj["metadata"]["name"] == name
    assert said in event.message
    live.flags.on_other_configmap(name, None)
    live.edit(max_result_size="9000")
    live.wait(lambda: len(live.managers) == 2)
    live.flags.close()  # its last words are said
    assert live.doubtful() == 0


def test_config_spire_has_defaults_of_the_options_of_signed(make_flags):
    live = make_flags()
    live.edit(extensions="signed", enforce_nonfalsifiability="spire")
    live.wait(lambda: live.sent)
    assert "trust-domain" in live.sent[0][1].message
    live.other("config-spire", spire_trust_domain="tekton.org", spire_node_alias_prefix="/node/")
    live.wait(lambda: live.managers)
    assert live.managers[0].flags.config["signed"] == {"trust-domain": "tekton.org"}
    assert live.policies.unenforced == ()
    live.wait(lambda: len(live.sent) == 2)
    obj, event = live.sent[1]
    assert obj["metadata"]["name"] == "config-spire"
    assert "spire-node-alias-prefix has no effect here" in event.message


def test_config_defaults_that_come_before_the_flags_take_effect_with_them(make_flags):
    live = make_flags()
    live.other("config-defaults", default_service_account="bot", default_forbidden_env="A,B")
    live.edit()
    live.wait(lambda: live.pods)
    assert live.pods[0].service_account == "bot"
    assert live.policies.forbidden_env == {"A", "B"}


def test_an_edit_of_config_defaults_alone_takes_effect(make_flags):
    live = make_flags()
    live.edit()
    live.wait(lambda: len(live.pods) == 1)
    live.other("config-defaults", default_service_account="bot")
    live.wait(lambda: len(live.pods) == 2)
    assert live.pods[1].service_account == "bot"


def test_an_invalid_default_is_rejected_on_its_own_configmap_and_the_settings_before_stay(make_flags):
    live = make_flags()
    live.edit()
    live.wait(lambda: len(live.pods) == 1)
    live.other("config-defaults", default_timeout_minutes="ten")
    live.wait(lambda: live.sent)
    ((obj, event),) = live.sent
    assert obj["metadata"]["name"] == "config-defaults"
    assert event.reason == "FlagsRefused"
    assert '"default-timeout-minutes": "ten" is not a whole number' in event.message
    assert len(live.pods) == 1


def test_security_policies_take_effect_and_are_reported(make_flags):
    live = make_flags()
    live.edit(enforce_nonfalsifiability="spire", disable_inline_spec="taskrun")
    live.wait(lambda: live.sent)
    assert live.policies.no_inline == {"taskrun"}
    assert "spire" in live.policies.unenforced[0]
    assert "every run is refused" in live.sent[0][1].message


def test_an_edit_with_a_misspelt_policy_is_rejected(make_flags):
    live = make_flags()
    live.edit()
    live.wait(lambda: live.managers)
    live.edit(disable_inline_spec="taskruns")
    live.wait(lambda: live.sent)
    assert live.sent[0][1].reason == "FlagsRefused"
    assert live.failures() == 1


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
            with live.changed:
                closed.append(self.number)
                live.changed.notify_all()

    instances = []
    live = make_flags()
    live.build = lambda flags: ResultsManager(flags, register_extensions={"watches": Watches})
    live.edit(max_result_size="1000")
    live.wait(lambda: len(live.managers) == 1)
    live.edit(max_result_size="2000")
    live.wait(lambda: closed == [0])
    live.missing = ["cannot read logs"]
    live.edit(max_result_size="3000")
    live.wait(lambda: closed == [0, 2])
    live.flags.close()
    live.wait(lambda: closed == [0, 2, 1])
