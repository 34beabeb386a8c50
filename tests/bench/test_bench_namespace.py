"""What a benchmark counts and changes on a cluster."""

import os
import tempfile

import pytest

from measuring import configmaps
from measuring.bench_namespace import requests_of
from measuring.configmaps import BEFORE, NAME, OwnFlags, tekton_flags
from measuring.exclusive import exclusive
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.local import Store

TEKTON = f"tekton-pipelines-{os.getpid()}"  # a benchmark may be at work on this machine
COUNTS = """\
# TYPE apiserver_request_total counter
apiserver_request_total{group="tekton.dev",resource="taskruns",subresource="status",verb="PATCH"} 5
apiserver_request_total{group="tekton.dev",resource="taskruns",subresource="",verb="WATCH"} 100
apiserver_request_total{group="tekton.dev",resource="pipelineruns",subresource="",verb="DELETE"} 100
apiserver_request_total{group="",resource="pods",subresource="",verb="POST"} 3
apiserver_request_total{group="",resource="pods",subresource="",verb="GET"} 100
apiserver_request_total{group="",resource="pods",subresource="status",verb="PATCH"} 100
apiserver_request_total{group="",resource="pods",subresource="log",verb="GET"} 2e+00
apiserver_request_total{group="",resource="nodes",subresource="",verb="PATCH"} 100
apiserver_request_duration_seconds_count{group="tekton.dev",resource="taskruns",verb="PATCH"} 100
"""


def test_only_what_controllers_ask_is_counted():
    assert requests_of(COUNTS) == 10


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(configmaps, "SETTLE", 0)
    store = Store()
    metadata = {"name": NAME, "namespace": TEKTON}
    store.create(CONFIG_MAPS, {"metadata": metadata, "data": {"results-from": "x", "other": "y"}})
    return store


def config(cluster, namespace=TEKTON):
    return cluster.get(CONFIG_MAPS, namespace, NAME)


def as_before(cluster):
    found = config(cluster)
    return found["data"] == {"results-from": "x", "other": "y"} and not found["metadata"].get("annotations")


def test_tektons_flags_are_put_back_whatever_happens(cluster):
    def interrupted():
        with tekton_flags(cluster, TEKTON) as flags:
            flags.set("sidecar-logs", 5000)
            expected = {"results-from": "sidecar-logs", "max-result-size": "5000", "other": "y"}
            assert config(cluster)["data"] == expected
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert as_before(cluster)


def test_the_next_one_puts_back_what_a_killed_one_left(cluster):
    killed = configmaps.TektonFlags(cluster, TEKTON)
    killed.keep()
    killed.set("sidecar-logs", 5000)
    with tekton_flags(cluster, TEKTON) as flags:
        assert config(cluster)["metadata"]["annotations"][BEFORE]
        flags.set("termination-message", 4096)
    assert as_before(cluster)


def test_our_flags_are_our_own(cluster):
    flags = OwnFlags(cluster, "mine", {"config.sidecar-logs": "cpu: 10m"})
    flags.set("sidecar-logs", 5000)
    assert config(cluster, "mine")["data"] == {
        "config.sidecar-logs": "cpu: 10m",
        "results-from": "sidecar-logs",
        "max-result-size": "5000",
    }
    assert as_before(cluster)
    assert OwnFlags(cluster, "mine", {}).data["results-from"] == "termination-message"
    assert set(config(cluster, "mine")["data"]) == {"results-from", "max-result-size"}


def test_two_at_once_are_refused_and_one_after_the_other_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        exclusive("tests"),
        pytest.raises(SystemExit, match="another benchmark runs in namespace tests"),
    ):
        exclusive("tests").__enter__()
    with exclusive("tests"):
        pass
