"""The suite fails the right tests, and no others, for backends that are wrong in one thing each."""

import re
import shutil
import tempfile
import uuid
from pathlib import Path

import broken_backends
import pytest
import sample_backends

from resultsfw import PODS
from resultsfw.local.kubelet import Kubelet
from resultsfw.local.store import Store
from resultsfw.testing import base, harness

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


class Outcomes:
    """A pytest plugin that keeps what became of each test."""

    def __init__(self, wanted):
        self._wanted = wanted
        self.by_name = {}
        self.words = {}

    def pytest_collection_modifyitems(self, items):
        items[:] = [one for one in items if self._wanted(one.name)]

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.rpartition("::")[2]
        if report.when == "call" or report.outcome != "passed":
            self.by_name[name] = report.outcome
            self.words[name] = str(report.longrepr)

    @property
    def failed(self):
        return {name for name, outcome in self.by_name.items() if outcome == "failed"}


@pytest.fixture(scope="module")
def place():
    """One store, one kubelet and one folder for all wrong backends."""
    folder = Path(tempfile.mkdtemp(prefix="suite-"))
    (folder / "pytest.ini").write_text("[pytest]\n")
    store = Store()
    kubelet = Kubelet(store)
    yield store, kubelet, folder
    kubelet.stop(0.2)
    shutil.rmtree(folder)


RUN_PODS_OF_THEIR_OWN = re.compile("test_(whole_run|not_before_the_steps|prepare_twice|two_attempts|purge)")
DAMAGE = re.compile(r"test_(damaged\b|damaged_at|in_damage|fault|an_endless|objects_of|a_message_that)")


def chosen_for(wrong, must_run):
    """Which tests are run: to save time not those about hooks that are as those of a sound backend."""
    own = vars(wrong).keys()
    reads = {"read", "extract"} & own
    lives = {"prepare", "ready", "remove", "name_of"} & own

    def wanted(name):
        about_other_hooks = (not lives and RUN_PODS_OF_THEIR_OWN.match(name)) or (
            not reads and DAMAGE.match(name)
        )
        return name in must_run or not about_other_hooks

    return wanted


_ENDED = {}


class SharedPods(base.FinishedPods):
    """Pods of backends that prepare them alike are run once for all of them."""

    def __init__(self, where):
        super().__init__(where)
        alike = getattr(where.plugin, "pods", type(where.plugin))
        hooks = (alike.prepare, alike.prepare_pod, getattr(alike, "name_of", None))
        self._known = _ENDED.setdefault((hooks, str(where.limits())), {})


@pytest.fixture
def outcomes_of(place, monkeypatch):
    """Runs the suite over a backend, in this process."""
    store, kubelet, folder = place

    def outcomes(backend, must_run=()):
        if not issubclass(backend, broken_backends.Messages):  # they need a kubelet of another kind, too
            monkeypatch.setattr(harness, "Store", lambda: store)
            monkeypatch.setattr(harness, "Kubelet", lambda *_, **__: Lasting(kubelet))
            monkeypatch.setattr(base, "FinishedPods", SharedPods)
        for pod in store.list(PODS):
            if pod["metadata"]["name"].endswith("-retry1"):  # of a run that the next one shares
                store.delete(PODS, "default", pod["metadata"]["name"])
        file = folder / f"suite_{uuid.uuid4().hex}.py"
        file.write_text(SUITE.format(name=backend.__name__, folder=folder / "kept"))
        found = Outcomes(chosen_for(backend, must_run))
        # What is left to the garbage collector is reported by the session around: each of this plugin's own
        # collections of the whole heap takes as long as a test.
        options = [
            "-p",
            "no:cacheprovider",
            "-p",
            "no:terminal",
            "-p",
            "no:unraisableexception",
            "-W",
            "error",
        ]
        pytest.main([*options, str(file)], plugins=[found])
        assert len(found.by_name) > 40
        return found

    return outcomes


class Lasting:
    """A kubelet that a harness does not stop."""

    def __init__(self, kubelet):
        self.workdir = kubelet.workdir

    def stop(self, grace_seconds):
        pass


SUITE = """
import pathlib, pytest, sample_backends, broken_backends
from resultsfw.testing import BackendSuite, Folder

class TestIt(BackendSuite):
    backend = getattr(broken_backends, "{name}", None) or getattr(sample_backends, "{name}")
    config = {{"folder": "{folder}"}} if issubclass(backend, sample_backends.Kept) else {{}}

@pytest.fixture(scope="module")
def backend_external_state():
    return Folder(pathlib.Path("{folder}"))
"""


@pytest.mark.parametrize("wrong", broken_backends.WRONGS, ids=lambda one: one.__name__)
def test_a_broken_backend_fails_the_tests_of_what_it_breaks(wrong, outcomes_of):
    must, may = broken_backends.WRONGS[wrong]
    found = outcomes_of(wrong, may)
    told = "\n".join(f"{name}: {found.words[name]}" for name in sorted(found.failed ^ must))
    assert must <= found.failed <= may, told


def test_a_correct_backend_fails_no_test(outcomes_of):
    assert outcomes_of(sample_backends.Sound).failed == set()


def test_a_failure_names_guarantee_written_and_arrived_value(outcomes_of):
    """The guarantee, what was written, what arrived: no traceback."""
    found = outcomes_of(broken_backends.Strips)
    guarantee, what = found.words["test_value[spaces]"].splitlines()
    assert guarantee == "guarantee 6: awkward bytes survive"
    assert what == (
        "  result \"a-spaces\": written '  \\t s3cr3t-pa55 leading and trailing \\t ' (39 bytes), arrived "
        "'\\t s3cr3t-pa55 leading and trailing \\t' (36 bytes) [no problem]"
    )


def test_a_skip_says_which_capability_closed_it(outcomes_of):
    found = outcomes_of(sample_backends.Sound)
    assert 'closed (delivery="value"): it hands out no references' in found.words["test_beyond_one_object"]
