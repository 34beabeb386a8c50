"""The engine: work comes when something changes, ends when all is done, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from localpods import await_true, make_pod, over, processes_with

from resultsfw.cluster import CONFIG_MAPS, PODS
from resultsfw.errors import ClusterError, ConflictError, InputError, NotFoundError, UnavailableError
from resultsfw.local.engine import Engine, kind_of, work_queue
from resultsfw.tekton.api.kinds import TASKRUNS, TASKS


def taskrun(name, script="true"):
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": name},
        "spec": {"script": script},
    }


class SmallReconciler:
    """A pod for each TaskRun, and its phase for a verdict."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.looks = []

    def reconcile(self, namespace, name):
        self.looks.append(name)
        run = self.cluster.get(TASKRUNS, namespace, name)
        if run.get("status"):
            return
        try:
            pod = self.cluster.get(PODS, namespace, f"{name}-pod")
        except NotFoundError:
            pod = make_pod(run["spec"]["script"], name=f"{name}-pod")
            owner = {"kind": "TaskRun", "name": name, "uid": run["metadata"]["uid"]}
            pod["metadata"]["ownerReferences"] = [owner]
            pod = self.cluster.create(PODS, pod)
        if over(pod):
            verdict = "True" if pod["status"]["phase"] == "Succeeded" else "False"
            status = {"conditions": [{"type": "Succeeded", "status": verdict}]}
            self.cluster.patch(TASKRUNS, namespace, name, {"status": status}, subresource="status")
        return


def verdicts(runs):
    return {run["metadata"]["name"]: run["status"]["conditions"][0]["status"] for run in runs}


def nothing_left(folder):
    return not folder.exists() or list(folder.iterdir()) == []


def test_submitted_runs_are_returned_done(tmp_path):
    seen = []
    with Engine(
        SmallReconciler, tmp_path, on_event=lambda change, obj: seen.append((change, obj["kind"]))
    ) as engine:
        engine.submit({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}})
        engine.submit(taskrun("good"))
        engine.submit(taskrun("bad", "exit 1"))
        done = engine.run_until_done(10)
        assert list(verdicts(done).items()) == [("good", "True"), ("bad", "False")]
        assert engine.store.get(CONFIG_MAPS, "default", "c")
    assert seen[0] == ("ADDED", "TaskRun")
    assert ("MODIFIED", "Pod") in seen
    assert ("ADDED", "ConfigMap") not in seen
    assert nothing_left(tmp_path)
    assert processes_with(str(tmp_path)) == []


def test_without_runs_it_is_done_at_once():
    with Engine(SmallReconciler) as engine:
        assert engine.run_until_done(1) == []
        assert engine.workdir.is_dir()
    assert not engine.workdir.exists()


def test_reconciling_happens_only_after_changes():
    """While a Step sleeps, no one looks."""
    with Engine(SmallReconciler) as engine:
        engine.submit(taskrun("slow", "sleep 0.5"))
        engine.run_until_done(10)
        assert len(engine._reconcilers[TASKRUNS].looks) < 20


def test_a_timeout_names_the_runs_that_are_not_done(tmp_path):
    with Engine(SmallReconciler, tmp_path) as engine:
        engine.submit(taskrun("quick"))
        engine.run_until_done(60)
        engine.submit(taskrun("slow", "sleep 100"))
        with pytest.raises(TimeoutError, match=r"not done: TaskRun default/slow$"):
            engine.run_until_done(0.5)
    assert nothing_left(tmp_path)
    assert processes_with(str(tmp_path)) == []


def test_keep_keeps_the_folders(tmp_path):
    with Engine(SmallReconciler, tmp_path, keep=True) as engine:
        engine.submit(taskrun("run", "echo kept"))
        engine.run_until_done(10)
    (log,) = tmp_path.rglob("step-s0/log")
    assert log.read_text() == "kept\n"


def test_a_conflict_is_retried():
    class Conflicting(SmallReconciler):
        def reconcile(self, namespace, name):
            if len(self.looks) < 3:
                self.looks.append(name)
                raise (ConflictError if len(self.looks) % 2 else UnavailableError)("again")
            return super().reconcile(namespace, name)

    with Engine(Conflicting) as engine:
        engine.submit(taskrun("run"))
        assert verdicts(engine.run_until_done(10)) == {"run": "True"}


@pytest.mark.parametrize("error", [ClusterError("no use"), RuntimeError("a mistake")])
def test_an_error_that_is_not_retryable_is_raised(error):
    class Failing(SmallReconciler):
        def reconcile(self, *_):
            raise error

    with Engine(Failing) as engine:
        engine.submit(taskrun("run"))
        with pytest.raises(type(error), match=str(error)):
            engine.run_until_done(10)


def test_an_exception_in_on_event_is_raised():
    def on_event(change, obj):
        raise ValueError("mine")

    with Engine(SmallReconciler, on_event=on_event) as engine:
        engine.submit(taskrun("run"))
        with pytest.raises(ValueError, match="mine"):
            engine.run_until_done(10)


def test_a_run_is_reconciled_again_after_the_requested_pause():
    class Later(SmallReconciler):
        def reconcile(self, namespace, name):
            self.looks.append(time.monotonic())
            if len(self.looks) == 1:
                return 0.2
            status = {"conditions": [{"type": "Succeeded", "status": "True"}]}
            self.cluster.patch(TASKRUNS, namespace, name, {"status": status}, subresource="status")
            return None

    with Engine(Later) as engine:
        engine.submit(taskrun("run"))
        engine.run_until_done(10)
        first, second, *_ = engine._reconcilers[TASKRUNS].looks
        assert second - first >= 0.2


def test_stop_ends_run_until_done():
    engine = Engine(SmallReconciler)
    engine.submit(taskrun("slow", "sleep 100"))
    timer = threading.Timer(0.2, engine.stop, [0.1])
    timer.start()
    with pytest.raises(TimeoutError, match="was stopped"):
        engine.run_until_done(10)
    timer.join(60)
    engine.stop()


def test_a_deleted_run_is_done_and_its_pod_is_deleted():
    with Engine(SmallReconciler) as engine:
        engine.submit(taskrun("slow", "sleep 100"))
        await_true(lambda: engine.store.list(PODS))
        engine.store.delete(TASKRUNS, "default", "slow")
        (run,) = engine.run_until_done(10)
        assert "status" not in run
        await_true(lambda: not engine.store.list(PODS))


def test_other_platforms_than_linux_are_refused(monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(InputError, match="needs Linux"):
        Engine(SmallReconciler)


def test_the_kind_of_an_object_has_its_plural():
    assert kind_of(taskrun("x")) == TASKRUNS
    assert kind_of({"apiVersion": "tekton.dev/v1", "kind": "Task"}) == TASKS
    assert kind_of({"apiVersion": "v1", "kind": "ConfigMap"}) == CONFIG_MAPS
    assert kind_of({"apiVersion": "v1", "kind": "Pod"}) == PODS


_VICTIM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_engine import SmallReconciler, taskrun
from resultsfw.local.engine import Engine
script = '''
trap "" TERM
setsid sh -c 'trap "" TERM; while :; do sleep 0.02; done' &
daemon='trap "" TERM HUP; cd {0}; touch {0}/daemon; while :; do sleep 0.02; done'
(setsid env -i PATH="$PATH" sh -c "$daemon" &) &
while :; do sleep 0.02; done
'''.format(sys.argv[2])
with Engine(SmallReconciler, Path(sys.argv[2])) as engine:
    engine.submit(taskrun("run", script))
    engine.run_until_done()
"""


def victim(tmp_path):
    """An engine of its own process, with Steps that want to stay, one that left session, parent and mark."""
    process = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(Path(__file__).parent), str(tmp_path / "work")],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    await_true((tmp_path / "work/daemon").exists)
    (tmp_path / "work/daemon").unlink()
    assert len(_inside(tmp_path)) > 3
    return process


def _inside(folder):
    """Processes that have the folder in their arguments or environment, or stand in it."""
    found = set(processes_with(str(folder)))
    for one in Path("/proc").iterdir():
        try:
            if one.name.isdigit() and str((one / "cwd").readlink()).startswith(str(folder)):
                found.add(int(one.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_no_process_or_folder(tmp_path, number):
    """SIGKILL leaves it no time; Ctrl-C is how people end it."""
    process = victim(tmp_path)
    os.kill(process.pid, number)
    process.wait(10)
    await_true(lambda: not _inside(tmp_path))
    await_true(lambda: nothing_left(tmp_path / "work"))


def test_a_killed_shim_fails_the_pods_and_the_engine_goes_on(tmp_path):
    """Nothing hangs when the parent of all containers is gone."""
    with Engine(SmallReconciler, tmp_path) as engine:
        engine.submit(taskrun("run", "setsid sleep 300 & sleep 300"))
        await_true(lambda: any(pod["status"]["phase"] == "Running" for pod in engine.store.list(PODS)))
        os.kill(engine.kubelet._runtime.pid, signal.SIGKILL)
        engine.submit(taskrun("late"))
        assert verdicts(engine.run_until_done(10)) == {"run": "False", "late": "False"}
    await_true(lambda: not processes_with(str(tmp_path)))
    assert nothing_left(tmp_path)


class TestWorkQueue:
    def test_a_key_is_processed_by_one_worker_at_a_time(self):
        queue = work_queue()
        queue.add("a")
        queue.add("a")
        assert queue.get() == "a"
        queue.add("a")
        queue.add("b")
        assert queue.get() == "b"
        queue.done("a")
        assert queue.get() == "a"

    def test_a_key_added_for_later_arrives_later(self):
        queue = work_queue()
        queue.add_after("later", 0.05)
        queue.add_after("sooner", 0.01)
        before = time.monotonic()
        assert [queue.get(), queue.get()] == ["sooner", "later"]
        assert time.monotonic() - before >= 0.05

    def test_pauses_grow_until_success(self):
        queue = work_queue()
        assert [queue.add_rate_limited("a") for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
        queue.forget("a")
        assert queue.add_rate_limited("a") == 0.005
        for _ in range(50):
            queue.add_rate_limited("a")
        assert queue.add_rate_limited("a") == 5.0

    def test_closing_wakes_waiting_workers(self):
        queue = work_queue()
        got = []
        thread = threading.Thread(target=lambda: got.append(queue.get()))
        thread.start()
        queue.shut_down()
        thread.join(5)
        assert got == [None]
