"""The suite finds what is wrong in a backend, says it in the fitting test, and nothing else."""

import shutil
import tempfile
from pathlib import Path

import pytest
import stand_ins
import wrongs

from resultsfw import PODS
from resultsfw.local.kubelet import Kubelet
from resultsfw.local.store import Store
from resultsfw.testing import base, world

HERE = Path(__file__).parent


class Outcomes:
    """A pytest plugin that keeps what became of each test."""

    def __init__(self):
        self.by_name = {}
        self.words = {}

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
    """One store and one kubelet for all wrong backends."""
    store = Store()
    kubelet = Kubelet(store)
    yield store, kubelet
    kubelet.stop(0.2)


_ENDED = {}


def prepares_as_sound(backend):
    hooks = (stand_ins.Sound.prepare, stand_ins.Sound.prepare_pod)
    return (backend.prepare, backend.prepare_pod) == hooks


RUN_PODS_OF_THEIR_OWN = (
    "test_whole_run",
    "test_not_before_the_steps_have_ended",
    "test_prepare_twice",
    "test_two_attempts",
)
"""Left out for backends that differ only in how they read, to save time; but for those they must catch."""


def left_out(backend, may):
    if not prepares_as_sound(backend) or backend.ready is not stand_ins.Sound.ready:
        return []
    return [name for name in RUN_PODS_OF_THEIR_OWN if name not in may]


class SharedRuns(base.Runs):
    """Pods of backends that prepare them alike are run once: they differ in how they are read."""

    def __init__(self, where):
        super().__init__(where)
        if prepares_as_sound(type(where.plugin)):
            self._known = _ENDED.setdefault((id(where.store), str(where.limits())), {})


@pytest.fixture
def outcomes_of(place, monkeypatch):
    """Runs the suite over a backend, in this process."""
    store, kubelet = place

    def outcomes(backend, may=()):
        if prepares_as_sound(backend):
            monkeypatch.setattr(world, "Store", lambda: store)
            monkeypatch.setattr(world, "Kubelet", lambda *_, **__: Lasting(kubelet))
            monkeypatch.setattr(base, "Runs", SharedRuns)
        for pod in store.list(PODS):
            if pod["metadata"]["name"].endswith("-retry1"):  # of a run that the next one shares
                store.delete(PODS, "default", pod["metadata"]["name"])
        folder = Path(tempfile.mkdtemp(prefix="suite-"))
        file = folder / f"{folder.name.replace('-', '_')}.py"
        file.write_text(SUITE.format(name=backend.__name__, folder=folder / "kept"))
        found = Outcomes()
        (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
        options = ["-p", "no:cacheprovider", "-p", "no:terminal", "-c", str(folder / "pytest.ini")]
        spared = " or ".join(left_out(backend, may))
        pytest.main([*options, *(["-k", f"not ({spared})"] if spared else []), str(file)], plugins=[found])
        shutil.rmtree(folder)
        assert len(found.by_name) > 80
        return found

    return outcomes


class Lasting:
    """A kubelet that a world does not stop."""

    def __init__(self, kubelet):
        self.workdir = kubelet.workdir

    def stop(self, grace_seconds):
        pass


SUITE = """
import pathlib, pytest, stand_ins, wrongs
from resultsfw.testing import BackendSuite, Folder

class TestIt(BackendSuite):
    backend = getattr(wrongs, "{name}", None) or getattr(stand_ins, "{name}")
    config = {{"folder": "{folder}"}} if issubclass(backend, stand_ins.Kept) else {{}}

@pytest.fixture(scope="module")
def backend_outside():
    return Folder(pathlib.Path("{folder}"))
"""


@pytest.mark.parametrize("wrong", wrongs.WRONGS, ids=lambda one: one.__name__)
def test_what_is_wrong_is_found(wrong, outcomes_of):
    must, may = wrongs.WRONGS[wrong]
    found = outcomes_of(wrong, may)
    told = "\n".join(f"{name}: {found.words[name]}" for name in sorted(found.failed ^ must))
    assert must <= found.failed <= may, told


def test_what_is_right_is_not_wrong(outcomes_of):
    assert outcomes_of(stand_ins.Sound).failed == set()


def test_a_failure_says_it_in_words(outcomes_of):
    """The law, what was written, what arrived: no traceback."""
    found = outcomes_of(wrongs.Strips)
    law, what = found.words["test_value[spaces]"].splitlines()
    assert law == "law 6: awkward bytes survive"
    assert what == (
        "  result \"a-spaces\": written '  \\t s3cr3t-pa55 leading and trailing \\t ' (39 bytes), arrived "
        "'\\t s3cr3t-pa55 leading and trailing \\t' (36 bytes) [no problem]"
    )


def test_a_skip_says_which_capability_closed_it(outcomes_of):
    found = outcomes_of(stand_ins.Sound)
    assert 'closed (by="value"): it hands out no references' in found.words["test_beyond_one_object"]
