"""Pods without Tekton's entrypoint, and Jobs, through both built-in backends on a real cluster."""

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plainpods
import pytest
from api import ApiServer
from place import NAMESPACES
from plainpods import BACKENDS, CASES, RUN, values_of, written

from resultsfw import PODS, CollectionOutcome, Kind, Object, ResultsManager, cli
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.errors import ClusterError, NotFoundError, TooEarlyError
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS

DEADLINE = 120  # seconds for one pod
JOBS = Kind("batch", "v1", "jobs", "Job")


@pytest.fixture(scope="module")
def namespace(server: ApiServer) -> Iterator[str]:
    name = f"plain-{os.getpid()}-{os.environ.get('PYTEST_XDIST_WORKER', 'one')}"
    server.create(NAMESPACES, {"metadata": {"name": name, "namespace": ""}})
    until(lambda: there(server, name))
    yield name
    server.delete(NAMESPACES, "", name)


def there(server: ApiServer, namespace: str) -> bool:
    try:
        server.get(SERVICE_ACCOUNTS, namespace, "default")
    except NotFoundError:
        return False
    return True


def until(so: Callable[[], Any], seconds: float = DEADLINE) -> Any:
    """Wait until it is so; what it is."""
    end = time.monotonic() + seconds
    while not (found := so()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def core_of(backend: str) -> ResultsManager:
    image = os.environ.get("RESULTSFW_SIDECAR_IMAGE")
    config = {"config.sidecar-logs": f"image: {image}"} if image else {}
    return ResultsManager.from_flags({"results-from": backend, **config})


def verdict(core: ResultsManager, server: ApiServer, find: Callable[[], Object]) -> CollectionOutcome:
    """As an embedder without a watch does: look again and again."""

    def look() -> CollectionOutcome | None:
        pod = find()
        try:
            return core.collect(RUN, pod, server) if core.is_ready(RUN, pod) else None
        except TooEarlyError:
            return None

    found: CollectionOutcome = until(look)
    return found


def logged(server: ApiServer, namespace: str, pod: str, text: bytes) -> bool:
    try:
        return text in b"".join(server.read_log(namespace, pod, "main", limit=1000))
    except ClusterError:  # it has not started
        return False


def job(core: ResultsManager, script: str, name: str, namespace: str, **spec: Any) -> Object:
    """A Job of the pod, its template prepared."""
    bare = plainpods.pod(script)
    template = {"metadata": {"labels": {"mine": "kept"}}, "spec": bare["spec"]}
    metadata = {"name": name, "namespace": namespace}
    return {"metadata": metadata, "spec": {"template": core.prepare_pod(RUN, template), **spec}}


def pods_of(server: ApiServer, namespace: str, name: str) -> list[Object]:
    """The pods of a Job, the youngest last."""
    pods = server.list(PODS, namespace)
    mine = [pod for pod in pods if pod["metadata"]["labels"].get("batch.kubernetes.io/job-name") == name]
    return sorted(mine, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_a_pod(case, backend, server, namespace, name):
    core = core_of(backend)
    pod = plainpods.pod(CASES[case].script(backend), name=name, namespace=namespace)
    server.create(PODS, core.prepare_pod(RUN, pod))
    collected = verdict(core, server, lambda: server.get(PODS, namespace, name))
    plainpods.check(CASES[case], case, backend, collected)
    over = ("Failed",) if CASES[case].exit_code else ("Succeeded",)
    until(lambda: server.get(PODS, namespace, name)["status"]["phase"] in over)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pod_that_is_deleted_says_what_it_wrote_on_sigterm(backend, server, namespace, name):
    core = core_of(backend)
    late = f"late() {{ sleep 1\n{written(backend, a='late')}exit 0\n}}\ntrap late TERM\n"
    pod = plainpods.pod(late + "echo up\nwhile :; do sleep 0.1; done", name=name, namespace=namespace)
    server.create(PODS, core.prepare_pod(RUN, pod))
    until(lambda: logged(server, namespace, name, b"up"))
    last: Object = {}
    server.delete(PODS, namespace, name)

    def find() -> Object:
        # The pod as last seen: it goes as soon as its containers have ended.
        try:
            last.update(server.get(PODS, namespace, name))
        except NotFoundError:
            pytest.fail(f"it was gone before it was read: {last.get('status')}")
        return last

    collected = verdict(core, server, find)
    assert collected.ok, collected.problems
    assert values_of(collected) == {"a": "late"}


def test_a_container_that_takes_all_of_its_grace_is_reported(server, namespace, name):
    core = core_of("sidecar-logs")
    script = "trap '' TERM\necho up\nwhile :; do sleep 0.1; done"
    prepared = core.prepare_pod(RUN, plainpods.pod(script, name=name, namespace=namespace))
    prepared["metadata"]["finalizers"] = ["resultsfw.dev/test"]
    server.create(PODS, prepared)
    until(lambda: logged(server, namespace, name, b"up"))
    server.delete(PODS, namespace, name, grace_seconds=1)
    try:
        collected = verdict(core, server, lambda: server.get(PODS, namespace, name))
    finally:
        server.patch(PODS, namespace, name, {"metadata": {"finalizers": None}})
    assert [problem.code for problem in collected.problems][:1] in (
        ["TransportIncomplete"],
        ["TransportUnreadable"],
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_out_of_memory(backend, server, namespace, name):
    core = core_of(backend)
    script = written(backend, a="kept") + "exec tail /dev/zero"
    pod = plainpods.pod(script, name=name, namespace=namespace)
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "24Mi"}}
    server.create(PODS, core.prepare_pod(RUN, pod))
    collected = verdict(core, server, lambda: server.get(PODS, namespace, name))
    assert (collected.problems, values_of(collected)) == ((), {"a": "kept"})
    (status,) = server.get(PODS, namespace, name)["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 137


def test_files_that_only_root_may_read_are_refused_by_name(server, namespace, name):
    core = core_of("sidecar-logs")
    pod = plainpods.pod("umask 077\n" + written("sidecar-logs", a="x"), name=name, namespace=namespace)
    pod["spec"]["securityContext"] = {"runAsUser": 0}
    server.create(PODS, core.prepare_pod(RUN, pod))
    (problem,) = verdict(core, server, lambda: server.get(PODS, namespace, name)).problems
    assert (problem.code, problem.result) == ("FileUnreadable", "a")


@pytest.mark.parametrize("backend", BACKENDS)
def test_containers_that_end_at_once(backend, server, namespace, name):
    """The sidecar must have its handler before the kubelet tells it to stop."""
    core = core_of(backend)
    for number in range(5):
        pod = plainpods.pod(written(backend, a="x"), name=f"{name}-{number}", namespace=namespace)
        server.create(PODS, core.prepare_pod(RUN, pod))
    for number in range(5):
        collected = verdict(core, server, lambda: server.get(PODS, namespace, f"{name}-{number}"))  # noqa: B023
        assert values_of(collected) == {"a": "x"}, collected.problems


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_job(backend, server, namespace, name):
    core = core_of(backend)
    script = written(backend, a="1", own_own="2")
    server.create(JOBS, job(core, script, name, namespace))
    (pod,) = until(lambda: pods_of(server, namespace, name))
    assert pod["metadata"]["labels"]["mine"] == "kept"
    collected = verdict(core, server, lambda: pods_of(server, namespace, name)[-1])
    assert (collected.problems, values_of(collected)) == ((), {"a": "1", "one.own": "2"})
    until(lambda: server.get(JOBS, namespace, name)["status"].get("succeeded") == 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_job_that_tries_again_in_a_new_pod(backend, server, namespace, name):
    core = core_of(backend)
    script = (
        f"{written(backend, a='first')}[ $(cat /try/number) = 1 ] || exit 1\n{written(backend, a='second')}"
    )
    obj = job(core, script, name, namespace, backoffLimit=1)
    spec = obj["spec"]["template"]["spec"]
    spec["containers"][0].setdefault("volumeMounts", []).append({"name": "try", "mountPath": "/try"})
    spec.setdefault("volumes", []).append({"name": "try", "configMap": {"name": name}})
    # Which try it is: the Job's controller waits ten seconds before the second.
    number = {"metadata": {"name": name, "namespace": namespace}, "data": {"number": "0"}}
    server.create(CONFIG_MAPS, number)
    server.create(JOBS, obj)
    until(lambda: pods_of(server, namespace, name))
    first = verdict(core, server, lambda: pods_of(server, namespace, name)[0])
    assert (first.problems, values_of(first)) == ((), {"a": "first"})
    server.patch(CONFIG_MAPS, namespace, name, {"data": {"number": "1"}})
    until(lambda: len(pods_of(server, namespace, name)) == 2)
    second = verdict(core, server, lambda: pods_of(server, namespace, name)[1])
    assert (second.problems, values_of(second)) == ((), {"a": "second"})


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_container_that_is_started_again_in_its_pod_counts_when_it_has_ended_for_good(
    backend, server, namespace, name
):
    core = core_of(backend)
    folder = {"name": "state", "mountPath": "/state"}
    again = written(backend, a="again")
    script = f"if [ ! -e /state/x ]; then touch /state/x\n{written(backend, a='first')}exit 1; fi\n{again}"
    bare = plainpods.pod(script, name=name, namespace=namespace, restartPolicy="OnFailure")
    bare["spec"]["volumes"] = [{"name": "state", "emptyDir": {}}]
    bare["spec"]["containers"][0]["volumeMounts"] = [folder]
    server.create(PODS, core.prepare_pod(RUN, bare))
    collected = verdict(core, server, lambda: server.get(PODS, namespace, name))
    assert (collected.problems, values_of(collected)) == ((), {"a": "again"})


def core_of_scaffold() -> ResultsManager:
    """The backend that `resultsfw new-backend` writes."""
    file = Path(cli.__file__).parent / "template" / "resultsfw_my_backend.py"
    spec = importlib.util.spec_from_file_location("scaffold", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    flags = {"results-from": "scaffold", "config.scaffold": "image: busybox:1"}
    return ResultsManager.from_flags(flags, register={"scaffold": module})


def test_the_scaffolds_sidecar_has_its_handler_before_a_container_ends(server, namespace, name):
    """Some start slowly: without the hook, the kernel would drop their SIGTERM."""
    core = core_of_scaffold()
    for number in range(4):
        pod = plainpods.pod(written("", a="x", own_own="y"), name=f"{name}-{number}", namespace=namespace)
        prepared = core.prepare_pod(RUN, pod)
        (sidecar,) = prepared["spec"]["initContainers"]
        sidecar["command"][2] = f"{'sleep 3' if number % 2 else ''}\n{sidecar['command'][2]}"
        server.create(PODS, prepared)
    for number in range(4):
        collected = verdict(core, server, lambda: server.get(PODS, namespace, f"{name}-{number}"))  # noqa: B023
        assert values_of(collected) == {"a": "x", "one.own": "y"}, collected.problems
