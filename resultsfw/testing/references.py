"""Test delivery by reference: the reference in the status, its lifetime, and the bytes it refers to."""

import hashlib
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import pytest

from resultsfw.core import ResultsManager
from resultsfw.errors import CorruptError, NotFoundError, ResultsError
from resultsfw.references import format_reference, read_reference
from resultsfw.tekton.spec.param_files import PARAMS_DIR
from resultsfw.testing.assertions import assert_collected, assert_intact, fail, skip
from resultsfw.testing.base import Base, FinishedPods
from resultsfw.testing.corruption import CORRUPTIONS
from resultsfw.testing.harness import Harness, SamplePod
from resultsfw.testing.robustness import traced
from resultsfw.testing.secret_options import secrets_in
from resultsfw.testing.tasks import VALUE_MARK, Write
from resultsfw.types import Reference

__all__ = ["ReferenceCases", "read_error"]

GIVEN: Final = "by reference: the status says what the value is, and dereference gives it, byte for byte"
CORRUPT: Final = "by reference: what is not as it was stored is noticed, and never handed out as whole"
KEPT: Final = "by reference: the value is there as long as its run, and gone with it"
OPEN: Final = "by reference: a reference is in a status that many may read, and gives no access"

_SIZE: Final = 2_500_003
"""Bytes: more than one API object holds, ending in a newline."""

_ENDLESS: Final = 64 * 1024 * 1024
_HELD: Final = 32 * 1024 * 1024
"""Bytes of memory that may be held to read a value of any size in pieces."""

_CREDENTIALS: Final = re.compile(
    r"://[^/@]*@|[?&](sig|signature|token|se|sp|x-amz-[a-z-]+|x-goog-[a-z-]+|awsaccesskeyid|googleaccessid)=",
    re.IGNORECASE,
)


class ReferenceCases(Base):
    """Open to backends with ``delivery="reference"``."""

    @pytest.mark.quick
    def test_beyond_one_object(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """A value larger than one API object arrives as a reference to it, and is given back."""
        sample, reference = _large(harness, finished_pods)
        wrong = []
        content = sample.writes[0].content or b""
        if reference.backend != harness.name:
            wrong.append(f'backend is "{reference.backend}", not "{harness.name}"')
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if reference.encryption:  # size and digest are those of what is stored
            if reference.digest == digest:
                wrong.append("it is of an encrypted value, and its digest is that of the value itself")
        elif reference.size != len(content):
            wrong.append(f"size is {reference.size}, written were {len(content)} bytes")
        elif reference.digest != digest:
            wrong.append(f"digest is {reference.digest}, that of the value is {digest}")
        if read_reference(format_reference(reference)) != reference:
            wrong.append("it does not survive a status")
        if wrong:
            fail(GIVEN, "; ".join(wrong))
        given = b"".join(harness.core().dereference(reference, harness.cluster))
        if given != content:
            fail(GIVEN, f"dereference gives {len(given)} bytes that are not the {len(content)} written ones")

    def test_restart_before_dereference(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """The process that dereferences is not the process that collected, and has only the status."""
        sample, reference = _large(harness, finished_pods)
        if _bytes(harness.restarted_core(), harness, reference) != sample.writes[0].content:
            fail(GIVEN, "a process that was just started gets other bytes")

    @pytest.mark.quick
    def test_changed_reference(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """A reference with another digest or size, or that leads elsewhere, gives an error."""
        _, reference = _large(harness, finished_pods)
        for what, changed in (
            ("another digest", replace(reference, digest=f"sha256:{'0' * 64}")),
            ("another size", replace(reference, size=reference.size - 1)),
            ("a larger size", replace(reference, size=reference.size + 1)),
            ("another location", replace(reference, location=f"{reference.location}-not-there")),
            ("a location outside", replace(reference, location="../../../../etc/passwd")),
            ("no location", replace(reference, location="")),
        ):
            try:
                given = _bytes(harness.core(), harness, changed)
            except ResultsError as error:
                if "failed in dereference" in error.message:
                    fail(CORRUPT, f"{what}: dereference raised {type(error.__cause__).__name__}")
            else:
                fail(CORRUPT, f"{what}: dereference gives {len(given)} bytes without a word")

    def test_damaged_store(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """What is kept is damaged: dereference says so."""
        sample, reference = _large(harness, finished_pods)
        kept = harness.external_state
        if kept is None:
            skip(
                'external_state="elsewhere"',
                'give a fixture "backend_external_state" to show what is kept there',
            )
        content = sample.writes[0].content or b""
        mine = [key for key in sample.added if kept.get(key) == content]
        if not mine:
            skip("backend_external_state", "no entry of it is the value as it was written")
        for key in mine:
            for kind in ("cut", "bit-flipped", "nul-bytes", "nothing"):
                damaged = next(iter(CORRUPTIONS[kind](content, b"")))
                kept[key] = damaged
                try:
                    given = _bytes(harness.core(), harness, reference)
                except CorruptError:
                    continue
                except ResultsError as error:
                    fail(CORRUPT, f"{kind}: {type(error).__name__} instead of CorruptError: {error}")
                finally:
                    kept[key] = content
                fail(CORRUPT, f"{kind}: dereference gives {len(given)} bytes without a word")

    def test_endless_store(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """What is kept has grown to 64 MB: dereference stops at the first byte too many, and holds little."""
        sample, reference = _large(harness, finished_pods)
        kept, content = harness.external_state or {}, sample.writes[0].content
        for key in [key for key in sample.added if kept.get(key) == content]:
            kept[key] = b"x" * _ENDLESS
            try:
                error, peak = traced(partial(read_error, harness, reference))
            finally:
                kept[key] = content or b""
            if error is None:
                fail(CORRUPT, f"dereference gives all {_ENDLESS} bytes of a value of {reference.size} bytes")
            if peak > _HELD:
                fail(
                    CORRUPT,
                    f"dereference holds {peak} bytes of memory; yield pieces as you read them",
                )

    @pytest.mark.quick
    def test_another_namespace(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """A value is found by namespace, uid and name: a reference with another namespace gives nothing.

        The core compares the namespace in the reference with that of the reader; a reader can write its own.
        """
        sample, reference = _large(harness, finished_pods)
        given = harness.core().dereference(reference, harness.cluster, namespace=sample.run.namespace)
        if b"".join(given) != sample.writes[0].content:
            fail(OPEN, "on behalf of the namespace whose run left it, dereference gives other bytes")
        for what, forged in _forged(reference).items():
            try:
                b"".join(harness.core().dereference(forged, harness.cluster, namespace=forged.namespace))
            except ResultsError:
                continue
            fail(OPEN, f"dereference gives a value to a reference with another {what} in place of its own")

    def test_placed_as_a_file(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """The next Task has the value as a file, byte for byte; with another it does not run."""
        _, reference = _large(harness, finished_pods)
        if not harness.core().can_place_files(reference):
            skip("place_files", "it places no files")
        copy = _Copy(name="large", size=_SIZE)
        user = harness.prepare([copy], params={"large": reference})
        harness.start(user)
        harness.follow(user)
        copied = _reference(harness, user)
        if reference.encryption:  # each copy has a key of its own
            same = _bytes(harness.core(), harness, copied) == _bytes(harness.core(), harness, reference)
        else:
            same = copied.digest == reference.digest
        if not same:
            fail(GIVEN, "the file that a Task is given has other bytes than the value")
        wrong = replace(reference, digest=f"sha256:{'0' * 64}")
        try:
            user = harness.prepare([copy], params={"large": wrong})
        except ResultsError:
            return
        harness.start(user)
        harness.follow(user)
        outcome = harness.collect(user)
        if outcome.collected is not None and any(
            result.name == "large" for result in outcome.collected.results
        ):
            fail(CORRUPT, "a Task ran with a file that is not what its reference says")

    def test_placed_for_another_namespace(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """A reference with the reader's namespace in place of its own places no file."""
        _, reference = _large(harness, finished_pods)
        if not harness.core().can_place_files(reference):
            skip("place_files", "it places no files")
        forged = _forged(reference)["namespace"]
        copy = _Copy(name="large", size=_SIZE)
        try:
            user = harness.prepare([copy], params={"large": forged}, namespace=forged.namespace)
        except ResultsError:
            return
        harness.start(user)
        harness.follow(user)
        collected = harness.collect(user).collected
        if collected is not None and any(result.name == "large" for result in collected.results):
            fail(OPEN, f'a Task of namespace "{forged.namespace}" has a value of "{reference.namespace}"')

    @pytest.mark.quick
    def test_no_credentials_in_a_reference(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Neither user and password, nor a signature, nor a secret option of the backend's."""
        _, reference = _large(harness, finished_pods)
        location = reference.location
        if found := _CREDENTIALS.search(location):
            fail(OPEN, f"its location has {found[0]!r} in it")
        if secrets := secrets_in([location], harness.secrets):
            fail(OPEN, f'its location has the option "{secrets[0]}" in it')

    def test_kept_until_the_run_is_deleted(self, harness: Harness) -> None:
        """The value outlives its pod and the verdict, and goes when the run does."""
        _skip(harness)
        sample = harness.run_pod([Write(name="large", size=_SIZE)])
        reference = _reference(harness, sample)
        harness.purge(sample, deleted=False)
        if _bytes(harness.core(), harness, reference) != sample.writes[0].content:
            fail(KEPT, "the run is over and not deleted, and the value is not there any more")
        harness.purge(sample, deleted=True)
        try:
            given = _bytes(harness.core(), harness, reference)
        except NotFoundError:
            return
        except ResultsError as error:
            fail(
                KEPT, f"the run is deleted, and dereference raises {type(error).__name__}, not NotFoundError"
            )
        fail(KEPT, f"the run is deleted, and dereference gives {len(given)} bytes")

    def test_same_value_in_two_runs(self, harness: Harness) -> None:
        """Two runs write the same bytes: purging one leaves the other its own."""
        _skip(harness)
        same = [Write(name="large", size=_SIZE), Write(name="small", data=VALUE_MARK.encode())]
        samples = [harness.prepare(same), harness.prepare(same)]
        harness.start(*samples)
        harness.follow(*samples)
        references = [_reference(harness, sample) for sample in samples]
        harness.purge(samples[0], deleted=True)
        if _bytes(harness.core(), harness, references[1]) != same[0].content:
            fail(KEPT, "purging one run took away what another one's status refers to")
        harness.purge(samples[1], deleted=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy(Write):
    """A result with the content of the file of a parameter of its name."""

    def script(self) -> str:
        """Return the line that copies it."""
        return f'cat "{PARAMS_DIR}/{self.name}" > "$(results.{self.name}.path)"'


def _forged(reference: Reference) -> dict[str, Reference]:
    """Return the reference with another namespace, and with another uid, than those of the value's run."""
    uid = "00000000-0000-4000-8000-000000000000"
    segments = {
        "namespace": ("another", reference.uid, reference.name),
        "uid": (reference.namespace, uid, reference.name),
    }
    root = (reference.root,) if reference.root else ()
    return {
        what: replace(reference, location="/".join((*root, *places))) for what, places in segments.items()
    }


def _skip(harness: Harness) -> None:
    if harness.capabilities.delivery != "reference":
        skip('delivery="value"', "it hands out no references")
    limit = harness.capabilities.result_bytes
    if limit is not None and limit < _SIZE:
        skip(f"result_bytes={limit}", "a value fits into one API object")


def _large(harness: Harness, finished_pods: FinishedPods) -> tuple[SamplePod, Reference]:
    _skip(harness)
    sample = finished_pods(
        "large", [Write(name="large", size=_SIZE), Write(name="small", data=f"small {VALUE_MARK}".encode())]
    )
    return sample, _reference(harness, sample)


def _reference(harness: Harness, sample: SamplePod) -> Reference:
    """Return the reference that the large value's result carries."""
    collected = assert_collected(GIVEN, outcome := harness.collect(sample))
    assert_intact(GIVEN, harness, sample, outcome)
    value = next(result.value for result in collected.results if result.name == "large")
    if not isinstance(value, Reference):
        fail(GIVEN, f"a value of {_SIZE} bytes arrives itself: no API object holds it")
    return value


def read_error(harness: Harness, reference: Reference) -> ResultsError | None:
    """Return the error of reading a value to its end without keeping it; ``None`` without one."""
    try:
        for _ in harness.core().dereference(reference, harness.cluster):
            pass
    except ResultsError as error:
        return error
    return None


def _bytes(core: ResultsManager, harness: Harness, reference: Reference) -> bytes:
    return b"".join(core.dereference(reference, harness.cluster))
