"""`examples/03-report-operator`: its logic over the engine's store and kubelet.

What the controller of Jobs does is played here; `tests/cluster/test_report_operator.py` runs the whole.
"""

import datetime as dt
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from resultsfw import PODS, ResultsManager
from resultsfw.errors import TooEarlyError, UnknownBackendError
from resultsfw.local.kubelet import Kubelet
from resultsfw.local.store import Store

FOLDER = Path(__file__).parents[2] / "examples" / "03-report-operator"
EXAMPLE: dict[str, Any] = runpy.run_path(str(FOLDER / "report_operator.py"))
REPORTS, JOBS = EXAMPLE["REPORTS"], EXAMPLE["JOBS"]
REPORT = yaml.safe_load((FOLDER / "report.yaml").read_text())


class World:
    """A store with one Report, and the operator as often as it is started."""

    def __init__(self, store, **flags):
        self.store = store
        self.core = ResultsManager.from_flags({"results-from": "sidecar-logs", **flags})

    def create(self, script=None, results=None):
        report = yaml.safe_load(yaml.safe_dump(REPORT))
        report["spec"] |= {"script": script} if script is not None else {}
        report["spec"] |= {"results": results} if results is not None else {}
        self.store.create(REPORTS, report)

    @property
    def report(self):
        return self.store.get(REPORTS, "default", "sizes")

    @property
    def job(self):
        return self.store.get(JOBS, "default", EXAMPLE["job_name"](self.report))

    @property
    def pod(self):
        pods = self.store.list(PODS)
        return pods[0] if pods else None

    def advance(self):
        EXAMPLE["advance"](self.core, self.store, self.report, self.pod)

    def play_job(self):
        """What the controller of Jobs does first."""
        template, job = self.job["spec"]["template"], self.job
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": "u"}
        metadata = {**template["metadata"], "name": "job-pod", "ownerReferences": [owner]}
        self.store.create(PODS, {"metadata": metadata, "spec": template["spec"]})

    def follow(self):
        """Look at every change, until there is a verdict; as a kopf timer does, only sooner."""
        with self.store.watch(PODS) as watch:
            while not EXAMPLE["has_verdict"](self.report):
                assert watch.get(10) is not None
                try:
                    self.advance()
                except TooEarlyError:
                    continue

    def condition(self):
        (condition,) = self.report["status"]["conditions"]
        return condition["status"], condition["reason"], condition["message"]

    def results(self):
        return {one["name"]: one["value"] for one in self.report["status"].get("results") or ()}


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def world(store, tmp_path):
    kubelet = Kubelet(store, workdir=tmp_path)
    yield World(store)
    kubelet.stop(0.2)


def test_the_results_land_in_the_status(world):
    world.create()
    world.advance()
    owner = world.job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Report", "sizes", True)
    world.play_job()
    world.follow()
    assert world.condition()[0] == "True"
    assert world.results()["programs"].isdigit()
    assert world.results()["system"][0] == "Linux"


def test_started_again_anywhere_it_goes_on(world):
    """Every look is that of another operator: nothing is kept. A second one begins nothing twice."""
    world.create()
    for _ in range(3):
        world.advance()
    assert len(world.store.list(JOBS)) == 1
    world.play_job()
    world.follow()
    before = world.report
    world.advance()
    assert world.report == before


def test_a_result_that_is_too_large_is_named(world):
    world.create(
        "head -c 5000 /dev/zero > $RESULTSFW_RESULTS/programs; printf [] > $RESULTSFW_RESULTS/system"
    )
    world.advance()
    world.play_job()
    world.follow()
    status, reason, message = world.condition()
    assert (status, reason) == ("False", "ResultTooLarge")
    assert 'result "programs" has 5000 bytes, over the limit of 4096 bytes' in message
    assert world.results() == {"system": []}


def test_a_script_that_fails_says_so_and_keeps_what_it_wrote(world):
    world.create("printf 3 > $RESULTSFW_RESULTS/programs; exit 4")
    world.advance()
    world.play_job()
    world.follow()
    assert world.condition() == ("False", "ReportFailed", "the script ended with exit code 4 (Error)")
    assert world.results() == {"programs": "3"}


def test_what_cannot_be_prepared_is_told_and_not_tried_again(world):
    world.create(results=[{"name": "a/b"}])
    world.advance()
    assert world.condition()[:2] == ("False", "ReportFailed")
    assert 'result "a/b"' in world.condition()[2]
    assert world.store.list(JOBS) == []


def test_a_job_whose_pod_is_gone_ends_the_report(world):
    world.create()
    world.advance()
    job = world.job
    for since, over in ((0, False), (60, True)):
        at = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=since)).strftime("%Y-%m-%dT%H:%M:%SZ")
        failed = {"type": "Failed", "status": "True", "lastTransitionTime": at}
        world.store.patch(
            JOBS,
            "default",
            job["metadata"]["name"],
            {"status": {"conditions": [failed]}},
            subresource="status",
        )
        world.advance()
        assert EXAMPLE["has_verdict"](world.report) is over
    assert world.condition()[2] == "its pod is gone, and the results with it"


def test_the_rights_are_those_it_needs(world):
    """What the backend says it needs is in the Role; nothing is asked for that nobody uses."""
    rules = next(
        one["rules"]
        for one in yaml.safe_load_all((FOLDER / "rbac.yaml").read_text())
        if one["kind"] == "Role"
    )
    given = {(verb, resource) for one in rules for resource in one["resources"] for verb in one["verbs"]}
    for one in world.core.backend("sidecar-logs").capabilities.permissions:
        assert (one.verb, one.resource) in given
    assert not any("*" in pair for pair in given)


def test_a_deleted_report_is_purged_whether_or_not_it_came_to_a_job(world):
    memo = SimpleNamespace(core=world.core, cluster=world.store)
    world.create()
    EXAMPLE["forget"](body=world.report, memo=memo)
    world.advance()
    EXAMPLE["forget"](body=world.report, memo=memo)
    # By the template's stamp, whatever the flags say by now: a backend that is gone is named.
    stamp = {"metadata": {"annotations": {"resultsfw.dev/stamp": "gone/0"}}}
    name = world.job["metadata"]["name"]
    world.store.patch(JOBS, "default", name, {"spec": {"template": stamp}})
    with pytest.raises(UnknownBackendError, match="gone"):
        EXAMPLE["forget"](body=world.report, memo=memo)
