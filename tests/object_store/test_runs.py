"""Whole runs through the store on the local engine: real Steps, the real sidecar."""

import base64
import http.server
import json
import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from places import Place

from resultsfw import ResultsManager, read_reference
from resultsfw.cli import main
from resultsfw.errors import NotFoundError
from resultsfw.local.engine import Engine
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw_transports.store import Store, StoreError

pytestmark = pytest.mark.slow

PATIENCE = 20.0
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store", "namespace": "default"}}


@contextmanager
def engine(place, tmp_path):
    core = ResultsManager.from_flags(place.flags)
    with Engine(lambda cluster: Reconciler(core, cluster), workdir=tmp_path / "work") as one:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in place.env.items()}
        if data:
            one.submit({**SECRET, "data": data})
        yield one, core


def taskrun(script, *names, name="run", **more):
    results = [{"name": one, "type": "string"} for one in names]
    step = {"name": "one", "image": "busybox:1", "script": f"#!/bin/sh\n{script}", **more}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"taskSpec": {"results": results, "steps": [step]}},
    }


def values(run):
    return {one["name"]: one["value"] for one in run["status"].get("results", [])}


def verdict(run):
    [one] = [one for one in run["status"]["conditions"] if one["type"] == "Succeeded"]
    return one["status"], one["reason"], one["message"]


def fetched(core, value):
    return b"".join(core.dereference(read_reference(value), cluster=None))


def until(so):
    end = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


def filled(name, size):
    return f"head -c {size} /dev/zero | tr '\\0' {name[0]} > $(results.{name}.path)"


def test_a_run_from_the_step_to_the_consumer_to_nothing(place, tmp_path):
    with engine(place, tmp_path) as (one, core):
        script = (
            f"{filled('large', 12_000_000)}\nprintf small > $(results.small.path)\nenv > $(results.env.path)"
        )
        one.submit(taskrun(script, "large", "small", "never", "env"))
        [run] = one.run_until_done(timeout=60)
        assert verdict(run)[0] == "True", verdict(run)
        found = values(run)
        assert (found["small"], set(found)) == ("small", {"large", "small", "env"})
        assert fetched(core, found["large"]) == b"l" * 12_000_000
        assert found["large"]["location"].startswith(f"{place.url}/default/{run['metadata']['uid']}/")
        for words in place.env.values():
            assert words not in json.dumps(run)
            assert words not in found["env"]  # nor does the Step see it
        assert run["metadata"]["finalizers"] == ["resultsfw.dev/purge-object-store"]

        one.store.delete(TASKRUNS, "default", "run")
        until(lambda: not exists(one))
        with pytest.raises(NotFoundError):
            fetched(core, found["large"])


def exists(one):
    try:
        return one.store.get(TASKRUNS, "default", "run")
    except NotFoundError:
        return None


def test_two_runs_at_once_share_nothing(place, tmp_path):
    with engine(place, tmp_path) as (one, core):
        for name in ("run", "other"):
            one.submit(taskrun(filled("large", 100_000), "large", name=name))
        runs = one.run_until_done(timeout=60)
        first, second = (values(run)["large"] for run in runs)
        assert first["location"] != second["location"]
        one.store.delete(TASKRUNS, "default", "run")
        until(lambda: not exists(one))
        mine, theirs = (first, second) if runs[0]["metadata"]["name"] == "run" else (second, first)
        assert fetched(core, theirs) == b"l" * 100_000
        with pytest.raises(NotFoundError):
            fetched(core, mine)


def test_a_run_waits_for_its_store_before_it_goes(folder, tmp_path, monkeypatch):
    remove, refused = Store.remove, threading.Event()

    def down(_self, _folder):
        refused.set()
        raise StoreError("503 Slow Down", "unavailable")

    with engine(folder, tmp_path) as (one, core):
        one.submit(taskrun(filled("large", 100_000), "large"))
        [run] = one.run_until_done(timeout=60)
        monkeypatch.setattr(Store, "remove", down)
        one.store.delete(TASKRUNS, "default", "run")
        assert refused.wait(PATIENCE)
        assert exists(one)["metadata"]["deletionTimestamp"]
        assert fetched(core, values(run)["large"]) == b"l" * 100_000
        monkeypatch.setattr(Store, "remove", remove)
        until(lambda: not exists(one))
    assert not list((tmp_path / "a store").rglob("?" * 64))


def test_a_sidecar_that_is_killed_before_the_steps_end_starts_again(folder, tmp_path):
    with engine(folder, tmp_path) as (one, core):
        go = tmp_path / "go"
        script = f"{filled('large', 100_000)}\nwhile [ ! -e {go} ]; do sleep 0.02; done"
        one.submit(taskrun(script, "large"))
        until(lambda: sidecars(folder))
        [first] = sidecars(folder)
        os.kill(first, signal.SIGKILL)
        until(lambda: sidecars(folder) not in ([], [first]))
        go.touch()
        [run] = one.run_until_done(timeout=60)
        assert verdict(run)[0] == "True", verdict(run)
        assert fetched(core, values(run)["large"]) == b"l" * 100_000


def sidecars(place):
    """Processes that have the store in their environment and have begun to do their work."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            facts, status = (process / "environ").read_bytes(), (process / "status").read_text()
        except OSError:
            continue
        ours = f"RESULTSFW_STORE_URL={place.url}\0".encode() in facts
        caught = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
        if ours and int(caught[0], 16) & 1 << (signal.SIGTERM - 1):
            found.append(int(process.name))
    return found


@contextmanager
def stalling():
    """An S3 server that takes an upload and never answers; says when it has one."""
    uploading, over = threading.Event(), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(404)
            self.end_headers()

        def do_PUT(self):
            uploading.set()
            over.wait()
            self.close_connection = True

        do_POST = do_PUT  # noqa: N815 - the server's name

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    options = {"endpoint": f"http://127.0.0.1:{server.server_port}", "region": "x", "skip_signature": "true"}
    try:
        yield Place(f"s3://stalls/{server.server_port}", options, {}), uploading
    finally:
        over.set()
        server.shutdown()
        thread.join(60)
        server.server_close()


@pytest.mark.parametrize("size", [100_000, 12_000_000])
def test_a_sidecar_that_is_killed_in_an_upload_fails_the_run_and_names_what_is_lost(size, tmp_path):
    with stalling() as (place, uploading), engine(place, tmp_path) as (one, _):
        one.submit(taskrun(f"printf kept > $(results.a.path)\n{filled('large', size)}", "a", "large", "z"))
        assert uploading.wait(PATIENCE)
        [process] = sidecars(place)
        os.kill(process, signal.SIGKILL)
        [run] = one.run_until_done(timeout=60)
        status, reason, message = verdict(run)
        assert (status, reason) == ("False", "TaskRunResultsIncomplete")
        assert '"large"' in message
        assert "137" in message
        assert values(run) == {"a": "kept"}


def test_a_store_that_refuses_fails_the_run_and_names_the_result(s3, tmp_path):
    wrong = Place(s3.url, s3.options, {**s3.env, "AWS_SECRET_ACCESS_KEY": "wrong-secret"})
    with engine(wrong, tmp_path) as (one, _):
        one.submit(
            taskrun(f"{filled('large', 100_000)}\nprintf small > $(results.small.path)", "large", "small")
        )
        [run] = one.run_until_done(timeout=60)
    status, reason, message = verdict(run)
    assert (status, reason) == ("False", "TaskRunResultsUnreadable")
    for words in ('"large"', "100000 bytes", "403 Forbidden", s3.url):
        assert words in message
    assert "wrong-secret" not in json.dumps(run)
    assert values(run) == {"small": "small"}


def test_a_result_over_the_limit_is_told_with_both_numbers(folder, tmp_path):
    limited = Place(folder.url, {}, {})
    flags = {**limited.flags}
    flags["config.object-store"] += "max-object-size: 99999\n"
    core = ResultsManager.from_flags(flags)
    with Engine(lambda cluster: Reconciler(core, cluster), workdir=tmp_path / "work") as one:
        one.submit(taskrun(filled("large", 100_000), "large"))
        [run] = one.run_until_done(timeout=60)
    status, reason, message = verdict(run)
    assert (status, reason) == ("False", "TaskRunResultLargerThanAllowedLimit")
    for words in ('"large"', "100000 bytes", "99999 bytes", "max-object-size"):
        assert words in message


def test_a_secret_that_is_not_there_ends_the_run(s3, tmp_path):
    core = ResultsManager.from_flags(s3.flags)
    with Engine(lambda cluster: Reconciler(core, cluster), workdir=tmp_path / "work") as one:
        one.submit(taskrun("true", "large"))
        [run] = one.run_until_done(timeout=60)
    status, _, message = verdict(run)
    assert status == "False"
    assert "store" in message


def test_a_step_that_takes_the_secret_never_runs(s3, tmp_path):
    env = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "store", "key": "AWS_ACCESS_KEY_ID"}}}]
    with engine(s3, tmp_path) as (one, _):
        one.submit(taskrun("true", "large", env=env))
        [run] = one.run_until_done(timeout=60)
        status, reason, message = verdict(run)
        assert (status, reason) == ("False", "TaskRunValidationFailed")
        assert 'container "step-one" takes from the Secret "store"' in message
        assert not run["status"].get("podName")


def test_what_was_saved_is_judged_and_explained_without_the_store(folder, tmp_path, capsys):
    """`resultsfw collect` and `explain` ask nobody: the log says where the values are."""
    pods = {}
    core = ResultsManager.from_flags(folder.flags)

    def seen(_change, obj):
        pods[obj["kind"]] = obj

    with Engine(lambda cluster: Reconciler(core, cluster), workdir=tmp_path / "work", on_event=seen) as one:
        one.submit(taskrun(filled("large", 100_000), "large"))
        [run] = one.run_until_done(timeout=60)
        log = one.store.log_path("default", run["status"]["podName"], RESULTS_SIDECAR)
        (tmp_path / "log").write_bytes(log.read_bytes())
    Store(folder.url, {}, patience=1).remove("default")
    (tmp_path / "run.json").write_text(json.dumps(run))
    (tmp_path / "pod.json").write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", **pods["Pod"]}))
    flags = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "f"}, "data": folder.flags}
    (tmp_path / "flags.json").write_text(json.dumps(flags))
    options = [*("-f", str(tmp_path / "run.json")), *("-f", str(tmp_path / "pod.json"))]
    options += [
        *("--log", f"{RESULTS_SIDECAR}={tmp_path}/log"),
        *("--feature-flags", str(tmp_path / "flags.json")),
    ]
    assert main(["collect", *options, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"]["results"] == run["status"]["results"]
    assert main(["explain", *options]) == 0
    told = capsys.readouterr().out
    assert "it carries references" in told
    assert f'arrived in the log of container "{RESULTS_SIDECAR}": 100000 bytes\n' in told
