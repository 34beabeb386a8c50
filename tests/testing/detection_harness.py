"""Run tests of the suite over a broken backend, without a pytest session for each.

Whatever is alike is shared by all broken backends: one store, one kubelet, and the pods that have ended.
"""

import inspect
import itertools
from functools import partial

import pytest
from sample_backends import Store as KeptStore

from resultsfw import PODS
from resultsfw.local.kubelet import Kubelet
from resultsfw.local.store import Store
from resultsfw.testing import BackendSuite, Folder, base, harness, store_faults

EXPECTED = {}
"""By the broken backend: the tests of the suite that must fail."""

SAMPLE = {
    "test_capabilities",
    "test_pod_is_valid",
    "test_value[quotes]",
    "test_typed[step-results]",
    "test_collect_twice",
    "test_two_runs_at_once",
    "test_in_plain_failures",
}
"""Tests that are run over each broken backend: they must find nothing that they are not meant for."""


def caught_by(*must):
    """Note which tests of the suite find what is wrong with a backend."""

    def note(broken):
        EXPECTED[broken] = set(must)
        return broken

    return note


def cases(suite=BackendSuite):
    """Return the tests of the suite, by the names that pytest gives them."""
    found = {}
    for name, method in inspect.getmembers(suite(), inspect.ismethod):
        if not name.startswith("test_"):
            continue
        marks = [mark for mark in getattr(method, "pytestmark", ()) if mark.name == "parametrize"]
        choices = [[(mark.args[0], _value(given)) for given in mark.args[1]] for mark in marks]
        for chosen in itertools.product(*choices):
            label = "-".join(value for _, value in chosen)
            found[f"{name}[{label}]" if label else name] = partial(_call, method, dict(chosen))
    return found


def _value(given):
    """Return the value of a parameter, which `pytest.param` may have wrapped."""
    return getattr(given, "values", [given])[0]


def _call(method, chosen, **fixtures):
    names = inspect.signature(method).parameters
    method(**chosen, **{name: value for name, value in fixtures.items() if name in names})


CASES = cases()


class Outcomes:
    """What became of each test: the message of a failed or skipped test, ``None`` of a passed one."""

    def __init__(self, tests=CASES):
        self._tests = tests
        self.failed = {}
        self.skipped = {}
        self.passed = set()

    def run(self, name, **fixtures):
        try:
            self._tests[name](**fixtures)
        except pytest.skip.Exception as skipped:
            self.skipped[name] = str(skipped)
        except pytest.fail.Exception as failed:
            self.failed[name] = str(failed)
        except Exception as error:  # noqa: BLE001 - pytest reports any other exception as a failure, too
            self.failed[name] = f"{type(error).__name__}: {error}"
        else:
            self.passed.add(name)


class Detection:
    """Runs tests over broken backends; all of them share a store, a kubelet and a folder for what is kept."""

    def __init__(self, folder):
        self.folder = folder
        self._store = Store()
        self._kubelet = Kubelet(self._store)
        self._ended = {}

    def close(self):
        self._kubelet.stop(0.2)

    def run(self, backend, names, monkeypatch, config=None):
        """Return the outcomes of those tests.

        Args:
            backend: A class; its attribute ``own_kubelet`` says that it cannot share the kubelet;
                ``patience``, how many seconds are waited for what it never does.
            names: Of tests, as pytest writes them.
            monkeypatch: pytest's.
            config: The backend's options.
        """
        if not getattr(backend, "own_kubelet", False):
            monkeypatch.setattr(harness, "Store", lambda: self._store)
            monkeypatch.setattr(harness, "Kubelet", lambda *_, **__: LastingKubelet(self._kubelet))
        if patience := getattr(backend, "patience", None):
            monkeypatch.setattr(store_faults, "PATIENCE", patience)
        for pod in self._store.list(PODS):
            if "-retry" in pod["metadata"]["name"]:  # of a run that the next backend shares
                self._store.delete(PODS, "default", pod["metadata"]["name"])
        outcomes, faults = Outcomes(), KeptStore(self.folder).faults
        with harness.Harness(backend, config or {}, external_state=Folder(self.folder)) as world:
            pods = SharedPods(world, self._ended)
            for name in sorted(names):
                outcomes.run(name, harness=world, finished_pods=pods, store_faults=faults)
        return outcomes


class SharedPods(base.FinishedPods):
    """Pods of backends that prepare them alike, run once for all of them."""

    def __init__(self, world, ended):
        super().__init__(world)
        alike = getattr(world.plugin, "pods", type(world.plugin))
        hooks = (alike.prepare, alike.prepare_pod, getattr(alike, "name_of", None))
        self._known = ended.setdefault((hooks, str(world.limits()), str(world.config)), {})


class LastingKubelet:
    """A kubelet that a harness does not stop."""

    def __init__(self, kubelet):
        self.workdir = kubelet.workdir

    def stop(self, grace_seconds):
        pass
