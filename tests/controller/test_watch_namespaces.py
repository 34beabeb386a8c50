"""Controllers that are limited to namespaces, with an API server that refuses everything beyond."""

import json

import pytest
from controllerharness import NAMESPACE, condition, taskrun

from resultsfw.cluster import CONFIG_MAPS, PODS
from resultsfw.controller.cluster_checks import check_namespace
from resultsfw.controller.namespace_watches import NamespaceWatches
from resultsfw.controller.namespaces import parse_namespaces
from resultsfw.controller.permissions import (
    LOG_ACCESS,
    controller_permissions,
    missing_for_plugins,
    usable_settings,
)
from resultsfw.core import ResultsManager
from resultsfw.errors import ForbiddenError, InputError, NotFoundError
from resultsfw.operations.access import RequiredPermission, check_access, lacking_permissions
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.settings import settings_of

ALL = {"*"}
FLAGS = {"configmaps", "leases", "events"}


def create(harness, namespace, name):
    run = taskrun(name)
    run["metadata"]["namespace"] = namespace
    harness.store.create(TASKRUNS, run)


def reason(harness, namespace, name):
    return condition(harness.store.get(TASKRUNS, namespace, name)).get("reason")


@pytest.mark.slow
def test_two_controllers_reconcile_their_namespaces_alone_and_one_that_refuses_delays_no_other(harness):
    # No request beyond the namespaces: not even one that would only list.
    harness.server.granted = {NAMESPACE: FLAGS, "runs": ALL, "other": ALL, "closed": set()}
    for namespace in ("runs", "other", "closed", "foreign"):
        create(harness, namespace, "before")
    first = harness.start(
        watch_namespaces=("runs", "closed"), settings={"resultsfw.kube.reflector._LONGEST_PAUSE": 0.2}
    )
    second = harness.start("--watch-namespaces", "other", "--lease-name", "second")
    for process in (first, second):
        process.wait_for("this replica is the leader", seconds=60)
    for namespace in ("runs", "other", "closed", "foreign"):
        create(harness, namespace, "after")
    harness.until(
        lambda: all(
            reason(harness, namespace, name) == "Succeeded"
            for namespace in ("runs", "other")
            for name in ("before", "after")
        )
    )
    assert process.page("/readyz") == (200, "leader\n")
    first.wait_for("is not watched: its runs wait")
    assert reason(harness, "closed", "after") is None
    missing = "get taskruns.tekton.dev in closed: not allowed, but needed to watch TaskRuns"
    assert any(missing in line for line in first.lines)

    # Flags are changed although one namespace grants nothing; then it grants what is needed.
    harness.flags(results_from="sidecar-logs")
    first.wait_for("results-from=sidecar-logs", seconds=60)
    harness.flags(results_from="termination-message")
    first.wait_for("results-from=termination-message", times=2, seconds=60)
    harness.server.granted["closed"] = ALL
    first.wait_for("is watched from now on", seconds=60)
    harness.until(lambda: reason(harness, "closed", "after") == "Succeeded")
    assert reason(harness, "foreign", "after") is None
    assert harness.server.trespasses == []
    pods = [json.loads(line).get("run") for line in second.lines]
    assert {str(run).partition("/")[0] for run in pods if run} == {"other"}
    assert sorted(harness.kubelet.created.values()) == [3, 3]


class Group:
    """Stands for the reflectors of a kind."""

    def reflector(self, namespace):
        del namespace


def test_a_namespace_that_cannot_be_listed_is_waited_for_only_if_no_other_is_synced():
    watches = NamespaceWatches(("a", "b"))
    watches.on_restart("a", "fault")
    watches.on_restart("b", "cut")
    assert watches.missing() == 2
    watches.start([Group()])
    watches.wait()
    assert watches.missing() < 2


@pytest.mark.parametrize(
    ("text", "namespaces"),
    [("", ()), ("a", ("a",)), (" a , team-b,a,", ("a", "team-b"))],
)
def test_namespaces_are_separated_by_commas_and_each_counts_once(text, namespaces):
    assert parse_namespaces(text) == namespaces


@pytest.mark.parametrize(
    "text", ["a b", "A", "a,-b", "a/b", "é", "a" * 64, ",".join(f"n{i}" for i in range(101))]
)
def test_what_is_no_namespace_is_refused(text):
    with pytest.raises(InputError) as caught:
        parse_namespaces(text)
    assert caught.value.subject == "--watch-namespaces"


class Rights:
    """Answers access reviews; grants everything in the namespaces of a set, or with "" in all."""

    def __init__(self, *granted):
        self.granted = granted
        self.asked = []

    def can(self, verb, kind, namespace, subresource="", /, *, name=""):
        self.asked.append((verb, kind.plural, subresource, namespace, name))
        return namespace in self.granted


def test_permissions_are_asked_for_in_each_namespace_and_a_missing_one_names_those_that_lack_it():
    needs = [need for need in controller_permissions("flags", None) if need.kind in (PODS, CONFIG_MAPS)]
    rights = Rights("a", "flags")
    findings = list(check_access(rights, needs, ("a", "b")))
    assert {namespace for *_, namespace, _ in rights.asked} == {"a", "b", "flags"}
    assert "" not in {namespace for *_, namespace, _ in rights.asked}
    lacking = {finding.what for finding in findings if finding.well is False}
    assert "get pods in b" in lacking
    assert all(what.endswith(" in b") for what in lacking)
    assert {finding.fix for finding in findings if finding.well is False} == {
        "resultsfw install --watch-namespaces a,b, and your other options"
    }
    logs = RequiredPermission(verb="get", kind=PODS, subresource="log", why="", fix=LOG_ACCESS)
    assert [finding.fix for finding in check_access(rights, [logs], ("b",))] == [
        "resultsfw install --enable-log-access --watch-namespaces b, and your other options"
    ]
    everywhere = [lack.everywhere for lack in lacking_permissions(rights, needs, ("a", "b"))]
    assert set(everywhere) == {False}
    assert {lack.everywhere for lack in lacking_permissions(Rights("flags"), needs, ("a", "b"))} == {True}


def test_a_namespace_that_does_not_grant_a_backends_permission_keeps_no_flags_from_the_others(caplog):
    core = ResultsManager.from_flags({"results-from": "sidecar-logs"})
    assert missing_for_plugins(Rights("a"), core, ("a", "b")) == []
    assert "get pods/log in b" in caplog.text
    (line,) = missing_for_plugins(Rights(), core, ("a", "b"))
    assert line.startswith("get pods/log in a, b: not allowed")
    settings = settings_of({"coschedule": "workspaces"}, {})
    assert usable_settings(Rights("a"), settings, ("a", "b"))[0] == settings
    assert usable_settings(Rights(), settings, ("a", "b"))[0] != settings


@pytest.mark.parametrize(
    ("names", "well", "words"),
    [(["a"], True, "exists"), ([], False, "not found"), (None, None, "cannot be read")],
)
def test_doctor_says_of_each_namespace_whether_it_exists(names, well, words):
    class Cluster:
        def get(self, kind, namespace, name):
            assert (kind.kind, namespace) == ("Namespace", "")
            if names is None:
                raise ForbiddenError("no", subject=name)
            if name not in names:
                raise NotFoundError("no", subject=name)
            return {}

    finding = check_namespace(Cluster(), "a")
    assert (finding.well, words in finding.detail) == (well, True)
