"""The suite fails the right tests, and no others, for backends that are broken in one thing each."""

import shutil
import tempfile
from pathlib import Path

import pytest
import sample_backends
from broken_backends import EXPECTED
from broken_reading import Strips
from detection_harness import CASES, SAMPLE, Detection

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def detection():
    folder = Path(tempfile.mkdtemp(prefix="suite-"))
    shared = Detection(folder / "kept")
    yield shared
    shared.close()
    shutil.rmtree(folder)


@pytest.fixture
def outcomes_of(detection, monkeypatch):
    """Runs tests of the suite over a backend."""

    def outcomes(backend, names):
        is_kept = issubclass(backend, sample_backends.Kept)
        config = {"folder": str(detection.folder)} if is_kept else {}
        return detection.run(backend, names, monkeypatch, config)

    return outcomes


@pytest.mark.parametrize("broken", EXPECTED, ids=lambda broken: broken.__name__)
def test_a_broken_backend_fails_the_tests_of_what_it_breaks(broken, outcomes_of):
    must = EXPECTED[broken]
    outcomes = outcomes_of(broken, must | SAMPLE)
    messages = "\n".join(
        f"{name}: {outcomes.failed.get(name) or outcomes.skipped.get(name) or 'passed'}"
        for name in sorted(outcomes.failed.keys() ^ must)
    )
    assert outcomes.failed.keys() == must, messages


@pytest.mark.parametrize("sound", [sample_backends.Sound, sample_backends.Owned, sample_backends.Kept])
def test_a_sound_backend_fails_no_test_of_the_sample(sound, outcomes_of):
    """Its whole suite is run by `test_sound_backends`."""
    assert outcomes_of(sound, SAMPLE).failed == {}


def test_all_expected_tests_exist():
    assert set().union(*EXPECTED.values(), SAMPLE) <= CASES.keys()


def test_a_failure_names_guarantee_written_and_arrived_value(outcomes_of):
    """The guarantee, what was written, what arrived."""
    failed = outcomes_of(Strips, {"test_value[spaces]"}).failed
    guarantee, what = failed["test_value[spaces]"].splitlines()
    assert guarantee == "guarantee 6: awkward bytes survive"
    assert what == (
        "  result \"a-spaces\": written '  \\t s3cr3t-pa55 leading and trailing \\t ' (39 bytes), arrived "
        "'\\t s3cr3t-pa55 leading and trailing \\t' (36 bytes) [no problem]"
    )


def test_a_skip_says_which_capability_closed_it(outcomes_of):
    skipped = outcomes_of(sample_backends.Sound, {"test_beyond_one_object"}).skipped
    assert 'closed (delivery="value"): it hands out no references' in skipped["test_beyond_one_object"]
