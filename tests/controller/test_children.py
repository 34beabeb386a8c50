"""Children that are no TaskRuns: what the cache holds of them, and when they are watched."""

import threading
from typing import Any

import pytest

from resultsfw.cluster import UNREADABLE
from resultsfw.controller import optional_watch
from resultsfw.controller.cache_transforms import trim_customrun, trim_pipelinerun
from resultsfw.controller.optional_watch import OptionalWatch
from resultsfw.controller.ownership import RunSelector
from resultsfw.errors import ForbiddenError
from resultsfw.tekton.api.kinds import CUSTOMRUNS

DONE = [{"type": "Succeeded", "status": "True", "reason": "Succeeded"}]
METADATA = {"name": "c", "namespace": "runs", "uid": "u", "managedFields": [1], "annotations": {"a": "b"}}


def customrun(status: Any) -> dict[str, Any]:
    spec = {"params": [{"name": "p", "value": "v"}], "status": "RunCancelled", "statusMessage": "m"}
    return {"kind": "CustomRun", "metadata": dict(METADATA), "spec": spec, "status": status}


def test_a_customrun_is_cached_without_params_and_results() -> None:
    kept = trim_customrun(lambda _: True, customrun({"conditions": DONE, "results": [{"name": "r"}]}))
    assert kept["spec"] == {"status": "RunCancelled", "statusMessage": "m"}
    assert kept["status"] == {"conditions": DONE}
    assert "managedFields" not in kept["metadata"]
    assert trim_customrun(lambda _: True, kept) == kept


def test_of_another_ones_customrun_only_the_identity_is_cached() -> None:
    kept = trim_customrun(lambda _: False, customrun({"conditions": DONE}))
    assert kept == {"metadata": {"name": "c", "namespace": "runs", "uid": "u"}}


@pytest.mark.parametrize("status", ["text", {"conditions": "text"}, {"conditions": ["text"]}])
def test_a_malformed_customrun_is_marked_in_the_cache(status: Any) -> None:
    assert trim_customrun(lambda _: True, customrun(status))[UNREADABLE] == "its status is malformed"


def test_a_finished_child_pipelinerun_is_cached_with_why_it_was_cancelled() -> None:
    why = {"resultsfw.dev/status-message": "why"}
    metadata = {"name": "c", "uid": "u", "annotations": {**why, "other": "x"}}
    run = {
        "metadata": metadata,
        "spec": {"managedBy": "m", "status": "Cancelled"},
        "status": {"conditions": DONE},
    }
    kept = trim_pipelinerun(RunSelector("m"), run)
    assert kept["metadata"]["annotations"] == why
    assert kept["spec"] == {"managedBy": "m", "status": "Cancelled"}


class FakeReflector:
    kind = CUSTOMRUNS

    def __init__(self) -> None:
        self.started = threading.Event()

    def start(self) -> None:
        self.started.set()


def test_a_kind_is_watched_from_when_the_server_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_watch, "_PAUSE", 0.001)
    answers = iter([False, ForbiddenError("no"), True])
    asked = []

    def is_served() -> bool:
        asked.append(answer := next(answers))
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    reflector = FakeReflector()
    OptionalWatch(reflector, is_served).start()  # type: ignore[arg-type]
    assert reflector.started.wait(30)
    assert len(asked) == 3


def test_a_watch_that_is_stopped_asks_no_more() -> None:
    reflector, asked = FakeReflector(), threading.Event()
    watch = OptionalWatch(reflector, lambda: asked.set() is not None)  # type: ignore[arg-type]
    watch.start()
    assert asked.wait(30)
    watch.stop()
    assert not reflector.started.is_set()
