"""Controllers that are limited to namespaces, with an API server that refuses everything beyond."""

import json

import pytest
from controllerharness import NAMESPACE, condition, taskrun

from resultsfw.controller.namespace_watches import NamespaceWatches
from resultsfw.controller.namespaces import parse_namespaces
from resultsfw.errors import InputError
from resultsfw.tekton.api.kinds import TASKRUNS

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
    assert any("not allowed in closed, but needed to watch TaskRuns" in line for line in first.lines)

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


def test_a_namespace_that_is_refused_is_waited_for_only_if_no_other_is_synced():
    watches = NamespaceWatches(("a", "b"))
    watches.on_restart("a", "fault")
    watches.on_restart("b", "cut")  # is retried: no reason to go on without
    watches.on_restart("b", "forbidden")
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
