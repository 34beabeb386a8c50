"""A controller with one worker reconciles other runs while a registry lets an image wait."""

import threading

import pytest
from controllerharness import condition
from registry_harness import IMAGE, FakeRegistry

from resultsfw.cluster import PODS

pytestmark = pytest.mark.slow


@pytest.fixture
def registry():
    made = FakeRegistry()
    yield made
    made.close()


def test_a_registry_that_is_slow_keeps_no_other_run_waiting(harness, registry):
    digest, go = registry.push("1", entrypoint=["/e"]), threading.Event()
    path = "/v2/team/image/manifests/1"
    body = registry.content[path][1]

    def answer(handler):
        assert go.wait(60)
        handler.reply(200, body, **{"Content-Type": IMAGE})

    registry.answers[path] = answer
    harness.start("--threads", "1")
    step = {"name": "one", "image": f"{registry.name}:1"}
    harness.create("waits", taskSpec={"results": [{"name": "digest"}], "steps": [step]})
    harness.until(lambda: registry.asked("/manifests/1"))
    harness.create("other")
    harness.until(lambda: harness.done("other"))
    waiting = condition(harness.run("waits"))
    assert waiting["status"] == "Unknown"
    assert f'the command of image "{registry.name}:1"' in waiting["message"]
    go.set()
    harness.until(lambda: harness.done("waits"))
    harness.assert_all_succeeded("other", "waits")
    (pod,) = [pod for pod in harness.store.list(PODS) if pod["metadata"]["name"] == "waits-pod"]
    assert pod["spec"]["containers"][0]["image"] == f"{registry.name}@{digest}"
    assert registry.asked("/manifests/1") == [path]
