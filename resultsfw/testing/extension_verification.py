"""Test an extension that verifies signatures: its own hooks, and that it accepts nothing unsigned."""

import copy
from dataclasses import replace
from typing import Final

import pytest

from resultsfw.errors import ResultsError
from resultsfw.extensions import ATTESTING
from resultsfw.limits import OBJECT_BYTES, OBJECT_CAPACITY, OBJECT_HEADROOM, object_size
from resultsfw.testing.assertions import fail, skip
from resultsfw.testing.extension_base import ExtensionBase, needs
from resultsfw.testing.extension_harness import ExtensionHarness
from resultsfw.testing.extension_hooks import RETURNS, UNCHANGED, changed_arguments, drive
from resultsfw.testing.extension_samples import (
    ENVELOPES,
    EXTRACTIONS,
    extraction_of,
    sample_object,
    sample_pod,
    sample_run,
    sample_status,
)
from resultsfw.types import CollectionOutcome, Extraction

__all__ = ["VerificationCases"]

AGAIN: Final = "pod: pod_created is called again after a crash, and must return the same"
FITS: Final = "status: of the room that is kept free in an object, annotations take three quarters at most"
UNSIGNED: Final = "guarantee 13: unsigned results are never reported as verified"

_ANNOTATED: Final = OBJECT_BYTES - OBJECT_HEADROOM // 4
"""Bytes of an object with annotations."""


class VerificationCases(ExtensionBase):
    """Open to an extension with ``verifies_results = True``."""

    @pytest.mark.parametrize("hook", sorted(ATTESTING))
    def test_attesting(self, harness: ExtensionHarness, hook: str) -> None:
        """For an ordinary run it raises nothing and returns a value of the documented type."""
        needs(harness, hook)
        if error := harness.live(sample_run(10)).errors.get(hook):
            fail(RETURNS, f"{hook} of an ordinary run: {error!r:.300}")

    @pytest.mark.parametrize("hook", sorted(ATTESTING))
    def test_attesting_leaves_its_arguments_alone(self, harness: ExtensionHarness, hook: str) -> None:
        """It does not change the run, the pod and the status, which belong to the caller."""
        needs(harness, hook)
        given = harness.arguments(sample_run(11))
        del given["cluster"]
        before = copy.deepcopy(given)
        try:
            harness.call(hook, lambda: harness.raw(hook)(given))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - that is what is tested
            fail(RETURNS, f"{hook} raised {error!r:.200}")
        if changed := changed_arguments(before, given):
            fail(UNCHANGED, f"{hook} changed {', '.join(changed)}")

    def test_registered_twice(self, harness: ExtensionHarness) -> None:
        """The pod of a run is registered twice in the same way, by one instance and by another."""
        needs(harness, "pod_created")
        run = sample_run(12)
        answers = []
        with harness.new_core() as other:
            for core in (harness.core, harness.core, other):
                try:
                    answers.append(core.pod_created(run, sample_pod(run)))
                except ResultsError as error:
                    fail(AGAIN, f"call {len(answers) + 1} raises {error!r:.200}")
        if any(answer != answers[0] for answer in answers):
            fail(AGAIN, f"the answers differ: {answers!r:.300}")

    def test_annotations_fit(self, harness: ExtensionHarness) -> None:
        """Beside the largest status that the core writes there is room for the annotations, or an error."""
        needs(harness, "attest_status")
        run = sample_run(14)
        status, obj = sample_status(run), sample_object(run)
        status["results"][0]["value"] += "x" * (OBJECT_CAPACITY - object_size({**obj, "status": status}))
        try:
            annotations = harness.core.attest_status(run, status, obj=obj, collected=CollectionOutcome())
        except ResultsError:  # the run goes on without, and its condition says why
            return
        size = object_size({**obj, "status": {**status, "annotations": dict(annotations)}})
        if size > _ANNOTATED:
            fail(FITS, f"with the annotations the object has {size} bytes, more than {_ANNOTATED}")

    def test_unsigned_is_not_verified(self, harness: ExtensionHarness) -> None:
        """Whatever stands in place of an envelope, and without one, ``extract`` does not say "True"."""
        if not harness.extension.verifies_results or not harness.implements("extract"):
            skip("verifies_results", "it verifies no results")
        run = sample_run(13)
        extractions = {kind: extraction(run) for kind, extraction in EXTRACTIONS.items()}
        extractions |= {
            f"envelope-{kind}": replace(extraction_of(run), envelope=envelope)
            for kind, envelope in ENVELOPES.items()
        }
        for kind, extraction in extractions.items():
            became, value = drive(harness, "extract", send=extraction)
            if isinstance(value, ResultsError):  # it refuses the pod by name
                continue
            if became != "returned" or not isinstance(value, Extraction):
                fail(UNSIGNED, f"extract {became} {value!r:.200} [{kind}]")
            if value.verification is not None and value.verification.status == "True":
                fail(UNSIGNED, f"extract reports {value.verification!r:.200} [{kind}]")
