"""The hooks of an extension that verifies signatures, in the life of a TaskRun."""

import contextlib
from dataclasses import replace

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS, Extraction, ResultsManager, Verification, hookimpl
from resultsfw.errors import FlagError, InputError, UnavailableError
from resultsfw.local.store import Store
from resultsfw.status import VERIFIED
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun import completion
from resultsfw.tekton.taskrun.offline import taskrun_from_pod
from resultsfw.tekton.taskrun.reconciler import Reconciler

AWAITED = Verification(status="Unknown", reason="AwaitingTaskRunResults", message="not read yet")
RIGHT = Verification(status="True", reason="TaskRunResultsVerified", message="all of them")


class Verifier:
    verifies_results = True

    def __init__(self, *, registration_failures=0, attestation_failures=0, verdict=RIGHT):
        self.registration_failures = registration_failures
        self.attestation_failures = attestation_failures
        self.verdict = verdict
        self.registered = []
        self.attested = []

    @hookimpl
    def pod_created(self, run, pod):
        self.registered.append((run.attempt, pod["metadata"]["uid"]))
        if len(self.registered) <= self.registration_failures:
            raise UnavailableError("the registry is away")
        return AWAITED

    @hookimpl(wrapper=True)
    def extract(self):
        extraction: Extraction = yield
        return replace(extraction, verification=self.verdict)

    @hookimpl
    def attest_status(self, run, status, obj, collected):
        assert obj["metadata"]["name"] == run.name
        assert collected.verification == self.verdict
        self.attested.append(status)
        if len(self.attested) <= self.attestation_failures:
            raise UnavailableError("the agent is away")
        values = [result["value"] for result in status.get("results", ())]
        return {"example.org/hash": " ".join([run.name, *values])}


def harness_with(verifier):
    harness = TaskRunHarness()

    def restart():
        core = ResultsManager.from_flags(harness.flags, register_extensions={"verifier": verifier})
        harness.reconciler = Reconciler(core, harness.cluster, clock=harness.clock)

    harness.restart = restart
    restart()
    return harness


def verified(harness):
    [found] = [entry for entry in harness.taskrun["status"]["conditions"] if entry["type"] == VERIFIED]
    return found["status"], found["reason"], found["message"]


def test_a_run_awaits_its_verdict_and_gets_it():
    harness = harness_with(verifier := Verifier())
    harness.start_pod()
    assert verified(harness) == ("Unknown", "AwaitingTaskRunResults", "not read yet")
    harness.finish("d")
    harness.reconcile()
    assert harness.condition["status"] == "True"
    assert verified(harness) == ("True", "TaskRunResultsVerified", "all of them")
    assert verifier.registered == [(0, harness.pod()["metadata"]["uid"])]
    assert harness.taskrun["status"]["annotations"] == {"example.org/hash": "run d"}


def test_what_is_attested_is_the_status_as_it_is_stored():
    harness = harness_with(verifier := Verifier())
    harness.start_pod()
    harness.finish()
    harness.reconcile()
    stored = {key: value for key, value in harness.taskrun["status"].items() if key != "annotations"}
    assert verifier.attested[-1] == stored


def test_a_registration_that_fails_is_repeated_while_the_run_goes_on():
    harness = harness_with(verifier := Verifier(registration_failures=2))
    harness.submit()
    harness.reconcile()
    assert verified(harness)[:2] == ("Unknown", "PodNotRegistered")
    assert "the registry is away" in verified(harness)[2]
    assert len(verifier.registered) == 1
    harness.kubelet("Running", {"step-build": harness.running(), SIDECAR: harness.running()})
    harness.clock.forward(5)
    assert harness.reconcile() <= 5  # nothing else would wake it
    harness.clock.forward(5)
    harness.reconcile()
    assert verified(harness)[1] == "AwaitingTaskRunResults"
    harness.reconcile()
    assert len(verifier.registered) == 3


def test_a_run_whose_pod_is_never_registered_ends():
    harness = harness_with(Verifier(registration_failures=99))
    harness.start_pod()
    harness.finish()
    harness.reconcile()
    assert is_done(harness.taskrun)


def test_an_attestation_that_fails_is_repeated_before_the_run_ends():
    harness = harness_with(Verifier(attestation_failures=1))
    harness.start_pod()
    harness.finish()
    with pytest.raises(UnavailableError):
        harness.reconcile()
    assert not is_done(harness.taskrun)
    harness.reconcile()
    assert harness.taskrun["status"]["annotations"] == {"example.org/hash": "run d"}


def test_a_status_that_cannot_be_signed_in_time_says_so():
    harness = harness_with(Verifier(attestation_failures=99))
    harness.start_pod()
    harness.finish()
    for _ in range(30):
        with contextlib.suppress(UnavailableError):
            harness.reconcile()
        harness.clock.forward(30)
    assert is_done(harness.taskrun)
    assert "annotations" not in harness.taskrun["status"]
    message = harness.condition["message"]
    assert message.endswith("this status is not signed (Unavailable): the agent is away")


def test_a_status_that_can_never_be_signed_is_not_waited_for():
    class Unable(Verifier):
        @hookimpl
        def attest_status(self):
            raise InputError("the key signs nothing", subject="key")

    harness = harness_with(Unable())
    harness.start_pod()
    harness.finish()
    harness.reconcile()
    assert is_done(harness.taskrun)
    assert "not signed (" in harness.condition["message"]
    assert harness.condition["message"].endswith("the key signs nothing")


def test_an_archived_attempt_has_no_annotation_of_its_own():
    harness = harness_with(Verifier())
    harness.start_pod(retries=1)
    harness.finish("wrong", code=1)
    harness.reconcile()
    status = harness.taskrun["status"]
    assert "annotations" not in status
    assert "annotations" not in status["retriesStatus"][0]


def test_a_run_whose_pod_vanished_does_not_await_a_verdict_for_ever():
    harness = harness_with(Verifier())
    harness.start_pod()
    harness.cluster.delete(PODS, "default", "run-pod")
    harness.reconcile()
    assert is_done(harness.taskrun)
    assert verified(harness)[:2] == ("False", "TaskRunResultsVerificationFailed")


def test_a_run_that_nothing_verifies_any_more_does_not_await_a_verdict_for_ever():
    harness = harness_with(verifier := Verifier())
    harness.start_pod()
    verifier.verdict = None
    harness.finish("d")
    harness.reconcile()
    assert harness.condition["status"] == "True"
    assert verified(harness)[:2] == ("False", "TaskRunResultsVerificationFailed")
    assert "nothing verifies signatures any more" in verified(harness)[2]


def test_conditions_of_others_survive_while_a_run_goes_on():
    harness = harness_with(Verifier())
    harness.start_pod()
    theirs = {"type": "Scanned", "status": "True"}
    conditions = [theirs, *harness.taskrun["status"]["conditions"]]
    Store.patch(
        harness.cluster,
        TASKRUNS,
        "default",
        "run",
        {"status": {"conditions": conditions}},
        subresource="status",
    )
    harness.clock.forward(1)
    harness.kubelet("Running", {"step-build": harness.running(), SIDECAR: harness.running()})
    harness.reconcile()
    assert theirs in harness.taskrun["status"]["conditions"]
    harness.finish()
    harness.reconcile()
    assert theirs in harness.taskrun["status"]["conditions"]
    assert verified(harness)[0] == "True"


def test_an_extension_that_changes_results_is_refused_beside_it():
    class Changer:
        @hookimpl(wrapper=True)
        def extract(self):
            return (yield)

    with pytest.raises(FlagError) as refused:
        ResultsManager.from_flags({}, register_extensions={"verifier": Verifier(), "changer": Changer()})
    assert '"verifier" and "changer" exclude each other' in str(refused.value)


@pytest.mark.parametrize(("hook", "returned"), [("pod_created", "yes"), ("attest_status", {"a": 1})])
def test_a_wrong_return_names_the_extension(hook, returned, caplog):
    class Wrong(Verifier):
        @hookimpl
        def pod_created(self):
            return returned if hook == "pod_created" else None

        @hookimpl
        def attest_status(self):
            return returned if hook == "attest_status" else {}

    harness = harness_with(Wrong())
    harness.start_pod()
    harness.finish()
    if hook == "pod_created":
        assert f'extension "verifier" failed in {hook}' in verified(harness)[2]
    harness.reconcile()
    assert is_done(harness.taskrun)  # repeating it would not mend it
    assert f"extension 'verifier' failed in {hook}" in caplog.text


def test_a_saved_run_that_is_judged_again_is_not_attested():
    harness = harness_with(verifier := Verifier())
    harness.start_pod()
    harness.finish()
    saved = harness.taskrun, harness.pod()
    core = ResultsManager.from_flags(harness.flags, register_extensions={"verifier": verifier})
    judged = taskrun_from_pod(*saved, core, harness.cluster, now=harness.clock.now)
    assert is_done(judged.taskrun)
    assert not verifier.attested
    assert "annotations" not in judged.taskrun["status"]


def test_without_an_extension_that_signs_no_status_is_assembled_for_it(monkeypatch):
    assembled = []
    monkeypatch.setattr(completion, "merge_patch", lambda *documents: assembled.append(documents))
    harness = TaskRunHarness()
    harness.start_pod()
    harness.finish()
    harness.reconcile()
    assert is_done(harness.taskrun)
    assert not assembled
