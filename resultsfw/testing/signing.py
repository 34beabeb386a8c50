"""Test that results of a backend are signed in its pods and verified, without code of the backend's own.

The complete test file of an author, beside that of `resultsfw.testing`::

    from resultsfw.testing.signing import SigningSuite

    class TestMineSigned(SigningSuite):
        backend = "mine"

Needs ``pip install 'resultsfw[testing,signed]'``.
"""

from typing import ClassVar, Final, cast

import pytest

from resultsfw.signatures import verify_taskrun
from resultsfw.status import VERIFIED, status_patch
from resultsfw.tekton.api.reasons import reason_and_message
from resultsfw.testing.assertions import (
    assert_collected,
    assert_intact,
    collected_values,
    describe_problems,
    differences,
    fail,
    leaks,
)
from resultsfw.testing.harness import Harness, Outcome, SamplePod
from resultsfw.testing.plain_pods import PlainScripts, end_plain_pod
from resultsfw.testing.signing_attacks import ABSENT, ATTACKS, REFUSED, TYPED, with_intermediate
from resultsfw.testing.signing_harness import SignedHarness
from resultsfw.testing.tasks import VALUE_MARK, Write
from resultsfw.types import CollectionOutcome, ProblemCode

__all__ = ["SigningSuite", "signed_writes"]

SIGNED: Final = "guarantee 13: what a pod delivers is signed in it, whatever its backend, and verifies"
WRONG: Final = "guarantee 13: results that are not those that their pod signed do not count, and are named"
LATER: Final = "guarantee 13: the status of a run verifies as it is stored, and no longer once it is changed"
MARKED: Final = "guarantee 13: with the policy mark, results stay and the condition says what is wrong"
QUIET: Final = "guarantee 6: no value is in a message, an error or a log record"

_NOW: Final = "2026-01-02T03:04:05Z"

_LARGE: Final = 2_500_003
"""Bytes of a value that no API object holds."""

_WRITES: Final = (
    Write(name="first", data=f'first\n"{VALUE_MARK}" \u00e9'.encode()),
    Write(name="second", data=f'SECOND\n{VALUE_MARK}" \u00e9'.encode()),
    Write(name=TYPED, data=f'["{VALUE_MARK},b"]'.encode(), type="array", value=[f"{VALUE_MARK},b"]),
    Write(name="map", data=f'{{"key":"{VALUE_MARK}"}}'.encode(), type="object", value={"key": VALUE_MARK}),
    Write(name="empty", data=b""),
    Write(name=ABSENT),
    Write(name=REFUSED, special_file="directory"),
    Write(name="own", data=f"of a Step {VALUE_MARK}".encode(), step="second"),
)

_OF_STEP: Final = '{"inputs":[{"name":"source","values":[{"uri":"pkg:git/source"}]}]}'


class SigningSuite(PlainScripts):
    """Test that the pods of a backend sign, and that the wrong signer is found. Attributes as `BackendSuite`.

    A change between the pod and the core stands for each wrong signer: no further pod runs for it.
    """

    harness_type: ClassVar[type[Harness]] = SignedHarness

    @pytest.fixture
    def signed(self, harness: Harness) -> SignedHarness:
        """Provide the harness."""
        return cast("SignedHarness", harness)

    @pytest.fixture(scope="class")
    @classmethod
    def _signed_pods(cls) -> dict[str, SamplePod]:
        """Provide a place for the pod that all tests of the class read."""
        return {}

    @pytest.fixture
    def sample(self, signed: SignedHarness, _signed_pods: dict[str, SamplePod]) -> SamplePod:
        """Provide a pod that has signed results of all kinds, absences and refusals, and has ended."""
        if not _signed_pods:
            _signed_pods["sample"] = signed.run_pod(signed_writes(signed))
        return _signed_pods["sample"]

    @pytest.mark.quick
    def test_signed(self, signed: SignedHarness, sample: SamplePod) -> None:
        """Values of all types, references, absences and refusals verify, and arrive as without signatures."""
        _assert_verified(signed, sample, signed.collect(sample))

    def test_signed_by_way_of_an_intermediate(self, signed: SignedHarness, sample: SamplePod) -> None:
        """An authority between the pod's certificate and the bundle is part of the envelope."""
        changed = with_intermediate(signed.scene(sample), signed.delivered(sample))
        _assert_verified(signed, sample, signed.collect_changed(sample, changed))

    @pytest.mark.parametrize("wrong", ATTACKS)
    def test_wrong_signer(self, signed: SignedHarness, sample: SamplePod, wrong: str) -> None:
        """Whatever is wrong, the run fails and names it, and what does not verify is withheld."""
        attack = ATTACKS[wrong]
        changed = attack.change(signed.scene(sample), signed.delivered(sample))
        outcome = signed.collect_changed(sample, changed)
        collected = _assert_unverified(sample, outcome, attack.names)
        kept = {name for _, name in collected_values(signed, collected)}
        if wrongly := kept if attack.all_withheld else kept & set(attack.names):
            fail(WRONG, f"kept in spite of that: {', '.join(sorted(wrongly))}")
        if differ := differences(signed, sample, collected, missing=False):
            fail(WRONG, "; ".join(differ))

    def test_pod_made_without_signing(self, signed: SignedHarness, sample: SamplePod) -> None:
        """Results of a pod that was made while nothing was signed do not count once they must be signed."""
        unsigned = signed.unsigned_pod(sample)
        changed = ATTACKS["envelope-stripped"].change(signed.scene(sample), signed.delivered(sample))
        genuine, sample.pod = sample.pod, unsigned
        try:
            outcome = signed.collect_changed(sample, changed)
        finally:
            sample.pod = genuine
        if kept := collected_values(signed, _assert_unverified(sample, outcome, ())):
            fail(WRONG, f"kept in spite of that: {len(kept)} results")

    def test_wrong_signer_marked(self, signed: SignedHarness, sample: SamplePod) -> None:
        """Under the policy mark the condition names what is wrong, and nothing is withheld."""
        core = signed.core(policy="mark")
        changed = ATTACKS["values-swapped"].change(signed.scene(sample), signed.delivered(sample))
        collected = assert_collected(MARKED, signed.collect_changed(sample, changed, core))
        verification = collected.verification
        if verification is None or verification.status != "False":
            fail(MARKED, f"the condition is {verification!r:.300}")
        if any(problem.code is ProblemCode.UNVERIFIED for problem in collected.problems):
            fail(MARKED, f"the run fails for it: {describe_problems(collected)}")
        if not {"first", "second"} <= {name for _, name in collected_values(signed, collected, core)}:
            fail(MARKED, "results that do not verify are withheld")

    def test_signed_run(self, signed: SignedHarness) -> None:
        """A whole run, as the controller does it: it succeeds and verifies, and so does its status later."""
        artifacts = signed.capabilities.artifacts
        lines = [f"printf '{VALUE_MARK}' > $(results.first.path)"]
        if artifacts:
            lines.append(f"printf '%s' '{_OF_STEP}' > $(step.artifacts.path)")
        script = "\n".join(["#!/bin/sh", *lines])
        task = {
            "results": [{"name": "first"}, {"name": ABSENT}],
            "steps": [{"name": "build", "image": "busybox:1", "script": script}],
        }
        flags = {"enable-artifacts": "true"} if artifacts else {}
        taskrun = signed.reconcile(task, flags=flags)
        conditions = {condition["type"]: condition for condition in taskrun["status"]["conditions"]}
        for kind in ("Succeeded", VERIFIED):
            condition = conditions.get(kind, {})
            if condition.get("status") != "True":
                fail(SIGNED, f"the condition {kind} is {condition!r:.500}")
        if faults := verify_taskrun(taskrun, signed.bundle).faults:
            fail(LATER, "; ".join(fault.message for fault in faults))
        taskrun["status"]["results"][0]["value"] = "forged"
        if not any(fault.result == "first" for fault in verify_taskrun(taskrun, signed.bundle).faults):
            fail(LATER, 'the value of "first" was changed in the status, and no fault names it')

    def test_signed_plain_pod(self, signed: SignedHarness) -> None:
        """Results of a pod without Tekton's entrypoint are signed in it and verify, too."""
        sample, outcome = end_plain_pod(signed, self.plain_script)
        collected = assert_intact(SIGNED, signed, sample, outcome)
        if (verification := collected.verification) is None or verification.status != "True":
            fail(SIGNED, f"the condition is {verification!r:.500}")
        signed.purge(sample, deleted=True)


def signed_writes(harness: Harness) -> list[Write]:
    """Return what the Steps of the pod write that all tests read."""
    can = harness.capabilities
    is_stored = can.delivery == "reference" and (can.result_bytes or _LARGE) >= _LARGE
    return [*_WRITES, *([Write(name="large", size=_LARGE)] if is_stored else [])]


def _assert_verified(harness: Harness, sample: SamplePod, outcome: Outcome) -> None:
    """Fail unless everything verifies, and the only problem is what the pod refused."""
    collected = assert_collected(SIGNED, outcome)
    verification = collected.verification
    if verification is None or verification.status != "True":
        fail(SIGNED, f"the condition is {verification!r:.500} [{describe_problems(collected)}]")
    if differ := differences(harness, sample, collected, damaged=False):
        fail(SIGNED, f"{'; '.join(differ)} [{describe_problems(collected)}]")
    if {problem.result for problem in collected.problems} != {REFUSED}:
        fail(SIGNED, f'only "{REFUSED}" is refused: {describe_problems(collected)}')


def _assert_unverified(sample: SamplePod, outcome: Outcome, names: tuple[str, ...]) -> CollectionOutcome:
    """Fail unless the outcome and both conditions are that the results do not verify, and name these."""
    collected = assert_collected(WRONG, outcome)
    verification = collected.verification
    if verification is None or verification.status != "False":
        fail(WRONG, f"the condition is {verification!r:.300} [{describe_problems(collected)}]")
    unverified = [problem for problem in collected.problems if problem.code is ProblemCode.UNVERIFIED]
    if collected.ok or not unverified:
        fail(WRONG, f"the run does not fail for it: {describe_problems(collected)}")
    if unnamed := [name for name in names if f'"{name}"' not in verification.message]:
        fail(WRONG, f"the condition does not name {', '.join(unnamed)}: {verification.message[:500]}")
    patch = status_patch(collected, sample.taskrun, now=_NOW, reason_and_message=reason_and_message)
    for condition in patch["status"]["conditions"]:
        if condition["status"] != "False":
            fail(WRONG, f"the condition {condition['type']} is {condition!r:.300}")
    if found := leaks([outcome]):
        fail(QUIET, found[0][:300].replace(VALUE_MARK, "(the value)"))
    return collected
