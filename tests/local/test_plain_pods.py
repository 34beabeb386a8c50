"""Pods without Tekton's entrypoint through both built-in backends, in the local engine."""

import contextlib
import time

import plainpods
import pytest
from localpods import await_pod, await_true, log_of, over, running, state
from plainpods import BACKENDS, CASES, RUN, values_of, written

from resultsfw import PODS, ResultsManager, ResultSpec, Run, Step
from resultsfw.errors import TooEarlyError, UnavailableError


def start(store, backend, script, **spec):
    """A core, and its pod as it was created."""
    core = ResultsManager.from_flags({"results-from": backend})
    return core, store.create(PODS, core.prepare_pod(RUN, plainpods.pod(script, **spec)))


def ready(core):
    return lambda pod: core.is_ready(RUN, pod)


def collect(core, pod, store):
    """As an embedder does: too early means a moment later."""
    until = time.monotonic() + 10
    while True:
        with contextlib.suppress(TooEarlyError):
            return core.collect(RUN, store.get(PODS, "default", pod["metadata"]["name"]), store)
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_a_result_arrives_whole_or_is_named(name, backend, kubelet, store):
    case = CASES[name]
    core, _ = start(store, backend, case.script(backend))
    pod = await_pod(store, "report", ready(core))
    plainpods.check(case, name, backend, collect(core, pod, store))
    pod = await_pod(store, "report", over)
    assert state(pod, "main")["terminated"]["exitCode"] == case.exit_code
    assert pod["status"]["phase"] == ("Failed" if case.exit_code else "Succeeded")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pod_is_not_ready_while_its_container_runs(backend, kubelet, store):
    core, _ = start(store, backend, written(backend, a="early") + "sleep 100")
    pod = await_pod(store, "report", lambda pod: running(pod, "main"))
    assert not core.is_ready(RUN, pod)


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_written_on_sigterm_of_a_deleted_pod_arrive(backend, kubelet, store):
    trap = f"late() {{ sleep 0.2\n{written(backend, a='late')}exit 0\n}}\ntrap late TERM\n"
    pod = plainpods.pod(trap + "echo up\nwhile :; do sleep 0.02; done")
    pod["metadata"]["finalizers"] = ["test/keep"]
    core = ResultsManager.from_flags({"results-from": backend})
    store.create(PODS, core.prepare_pod(RUN, pod))
    await_true(lambda: "up" in _log(store))
    everyone = store.get(PODS, "default", "report")["spec"]
    names = [one["name"] for one in (*everyone["containers"], *everyone.get("initContainers", ()))]
    # As it is first seen with all ended: the kubelet's own deletion leaves nothing of the grace to compare.
    with store.watch(PODS) as watch:
        store.delete(PODS, "default", "report")
        while (event := watch.get(10)) is not None:
            _, pod = event
            if all("terminated" in state(pod, name) for name in names):
                break
    assert core.is_ready(RUN, pod)
    collected = core.collect(RUN, pod, store)
    assert collected.ok, collected.problems
    assert values_of(collected) == {"a": "late"}
    store.patch(PODS, "default", "report", {"metadata": {"finalizers": None}})


def test_a_container_that_uses_its_whole_grace_period_is_named(kubelet, store):
    """The kubelet waits no longer before it tells the sidecar: nobody knows what came after."""
    core, _ = start(store, "sidecar-logs", "trap '' TERM\necho up\nwhile :; do sleep 0.02; done")
    await_true(lambda: "up" in _log(store))
    store.patch(PODS, "default", "report", {"metadata": {"finalizers": ["test/keep"]}})
    store.delete(PODS, "default", "report", grace_seconds=1)
    pod = await_pod(store, "report", over)
    (problem,) = collect(core, pod, store).problems
    assert problem.code == "TransportIncomplete"
    assert "told to stop while a Step still ran" in problem.message
    store.patch(PODS, "default", "report", {"metadata": {"finalizers": None}})


def test_steps_do_not_see_each_others_folders(kubelet, store):
    run = Run(
        namespace="default",
        name="report",
        uid="u",
        results=(ResultSpec(name="a"),),
        steps=tuple(
            Step(name=name, container=name, results=(ResultSpec(name="own"),)) for name in ("one", "two")
        ),
    )
    pod = plainpods.pod("")
    script = "printf $0 > $RESULTSFW_STEP_RESULTS/own; echo $0 >> $RESULTSFW_RESULTS/a"
    pod["spec"]["containers"] = [
        {"name": name, "image": "i", "command": ["sh", "-c", script, name]} for name in ("one", "two")
    ]
    core = ResultsManager.from_flags({"results-from": "sidecar-logs"})
    prepared = core.prepare_pod(run, pod)
    paths = [[one["mountPath"] for one in each["volumeMounts"]] for each in prepared["spec"]["containers"]]
    assert paths == [
        ["/resultsfw/results", f"/resultsfw/steps/step-{name}/results"] for name in ("one", "two")
    ]
    store.create(PODS, prepared)
    collected = core.collect(run, await_pod(store, "report", over), store)
    assert sorted(str(values_of(collected).pop("a")).split()) == ["one", "two"]
    assert values_of(collected)["one.own"] == "one"
    assert values_of(collected)["two.own"] == "two"


def _log(store):
    """What the container printed, nothing before it runs."""
    try:
        return log_of(store, "report", "main")
    except UnavailableError:
        return ""


@pytest.mark.parametrize("backend", ["config-map", "object-store"])
def test_other_transports_than_the_log_work_with_plain_pods(backend, kubelet, store, tmp_path):
    """What puts the sidecar into a pod is the same for all of them."""
    flags = {
        "results-from": backend,
        "config.object-store": f"{{url: 'file://{tmp_path}/store', inline-bytes: 3}}",
    }
    core = ResultsManager.from_flags(flags)
    script = written("sidecar-logs", a="a value")
    store.create(PODS, core.prepare_pod(RUN, plainpods.pod(script), cluster=store))
    pod = await_pod(store, "report", over)
    collected = collect(core, pod, store)
    assert collected.ok, collected.problems
    [value] = [one.value for one in collected.results]
    text = value if isinstance(value, str) else b"".join(core.dereference(value, store)).decode()
    assert text == "a value"
    core.purge(RUN, pod, store, deleted=True)
