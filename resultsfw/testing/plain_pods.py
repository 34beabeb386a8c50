"""Test guarantees 1 and 5 in pods without Tekton's entrypoint, or that the core refuses such pods."""

import itertools
import json
import time
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from resultsfw import jsons
from resultsfw.cluster import PODS, Object
from resultsfw.errors import BackendError, ClusterError, InputError, TooEarlyError
from resultsfw.messages import STEP_RESULT, TASK_RESULT
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.testing.assertions import assert_intact, fail, skip
from resultsfw.testing.base import Base
from resultsfw.testing.harness import TIMEOUT, Harness, Outcome, SamplePod
from resultsfw.testing.tasks import VALUE_MARK, Write
from resultsfw.types import ResultSpec, Run, Step

__all__ = ["PlainPodCases", "PlainScripts", "end_plain_pod"]

WHOLE: Final = "guarantee 1: a result of a pod without Tekton's entrypoint arrives whole"
REFUSED: Final = "guarantee 1: a pod that the backend does not serve is refused before it is created"

_CONTAINERS: Final = ("one", "two")
_NUMBERS: Final = itertools.count(1)
_STARTED: Final = "started"
_KEEP: Final = "resultsfw.dev/testing"
"""Finalizer that keeps a deleted pod readable, as a consumer of results needs it."""

_VALUES: Final = (f"{VALUE_MARK} quotes \"'", f"{VALUE_MARK} \N{PARTY POPPER}\u2028 newline at the end\n")


class PlainScripts(Base):
    """What the containers of a pod without Tekton's entrypoint run."""

    def plain_script(self, writes: Sequence[Write]) -> str:
        """Return a shell script that writes results in a container without Tekton's entrypoint.

        It writes files into the folders that the environment names, or else the container's termination
        message (docs/how-to/embedding.md). Override it for a backend to which Steps hand results in another
        way.
        """
        files, entries = [], []
        for write in writes:
            text = (write.content or b"").decode()
            folder = "RESULTSFW_RESULTS" if write.step is None else "RESULTSFW_STEP_RESULTS"
            files.append(f"printf '{_octal(write.content or b'')}' > \"${folder}/{write.name}\"")
            kind = TASK_RESULT if write.step is None else STEP_RESULT
            entries.append({"key": write.name, "value": text, "type": kind})
        message = _octal(json.dumps(entries).encode())
        return (
            f'if [ "$RESULTSFW_RESULTS" ]; then\n{chr(10).join(files)}\n'
            f"else printf '{message}' > /dev/termination-log; fi\n"
        )


class PlainPodCases(PlainScripts):
    """Pods that an embedder makes: each container that writes results is a Step."""

    @pytest.mark.quick
    def test_plain_pod(self, harness: Harness) -> None:
        """Two containers that end at once deliver results of the run and of their own, whole."""
        sample, outcome = end_plain_pod(harness, self.plain_script)
        assert_intact(WHOLE, harness, sample, outcome)
        harness.purge(sample, deleted=True)

    def test_plain_pod_stopped(self, harness: Harness) -> None:
        """Of a pod that is deleted, the results arrive that its containers write on SIGTERM."""
        _skip_without(harness)
        scripts = {
            name: f"end() {{ sleep 0.1\n{self.plain_script(writes)}exit 0; }}\ntrap end TERM\n"
            f"echo {_STARTED}\nwhile :; do sleep 0.05; done\n"
            for name, writes in _writes().items()
        }
        sample = _prepare_or_skip(harness, scripts)
        sample.prepared["metadata"]["finalizers"] = [_KEEP]
        harness.start(sample)
        _await_start(harness, sample)
        outcome = _first_outcome(harness, sample, delete=True)
        harness.store.patch(PODS, sample.run.namespace, sample.name, {"metadata": {"finalizers": None}})
        assert_intact(WHOLE, harness, sample, outcome)
        harness.purge(sample, deleted=True)

    @pytest.mark.quick
    def test_plain_pod_refused(self, harness: Harness) -> None:
        """Without the capability, the core refuses such a pod, and says what to do."""
        if harness.capabilities.plain_pods:
            skip("plain_pods=True", "the backend serves pods without Tekton's entrypoint")
        try:
            _prepare(harness, dict.fromkeys(_CONTAINERS, "true"))
        except BackendError as error:
            if harness.name not in error.message:
                fail(REFUSED, f"the error does not name the backend: {error.message}")
            return
        fail(REFUSED, "the pod was prepared, and its results would be lost")


def end_plain_pod(harness: Harness, script: Callable[[Sequence[Write]], str]) -> tuple[SamplePod, Outcome]:
    """Return a pod with two containers that ended at once, and its outcome; skip without the capability.

    Args:
        harness: Runs the pod.
        script: Returns what a container runs, as `PlainScripts.plain_script` does.
    """
    _skip_without(harness)
    sample = _prepare_or_skip(harness, {name: script(writes) for name, writes in _writes().items()})
    harness.start(sample)
    return sample, _first_outcome(harness, sample)


def _skip_without(harness: Harness) -> None:
    if not harness.capabilities.plain_pods:
        skip("plain_pods=False", "the backend serves only pods with Tekton's entrypoint")


def _prepare_or_skip(harness: Harness, scripts: dict[str, str]) -> SamplePod:
    """Return the prepared pod; skip if the backend's options are for Tekton's pods only."""
    try:
        return _prepare(harness, scripts)
    except InputError as error:
        skip("config", error.message)


def _writes() -> dict[str, tuple[Write, ...]]:
    """Return what each container writes: a result of the run, and one of its own."""
    return {
        name: (
            Write(name=f"of-{name}", data=value.encode()),
            Write(name="own", step=name, data=f"{name} {value}".encode()),
        )
        for name, value in zip(_CONTAINERS, _VALUES, strict=True)
    }


def _prepare(harness: Harness, scripts: dict[str, str]) -> SamplePod:
    """Prepare a pod of an embedder's own, with a container for each script.

    Raises what `ResultsManager.prepare_pod` raises.
    """
    name = f"plain{next(_NUMBERS)}"
    owner = harness.store.create(TASKRUNS, {"metadata": {"name": name, "namespace": "default"}, "spec": {}})
    uid, writes = owner["metadata"]["uid"], _writes()
    run = Run(
        namespace="default",
        name=name,
        uid=uid,
        results=tuple(ResultSpec(name=f"of-{container}") for container in scripts),
        steps=tuple(
            Step(name=container, container=container, results=(ResultSpec(name="own"),))
            for container in scripts
        ),
    )
    reference = {"apiVersion": TASKRUNS.api_version, "kind": TASKRUNS.kind, "name": name, "uid": uid}
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-pod", "namespace": "default", "ownerReferences": [reference]},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {"name": container, "image": "busybox:1", "command": ["sh", "-c", script]}
                for container, script in scripts.items()
            ],
        },
    }
    before, kept = harness.objects(), frozenset(harness.external_state or ())
    prepared = harness.core().prepare_pod(run, jsons.copy(pod), cluster=harness.cluster)
    created = {place: harness.store.get(*place) for place in harness.objects() - before}
    written = tuple(write for container in scripts for write in writes[container])
    return SamplePod(owner, run, written, pod, prepared, prepared, before, created, kept)


def _await_start(harness: Harness, sample: SamplePod) -> None:
    """Wait until the containers have handlers for SIGTERM: they print `_STARTED` then."""
    until = time.monotonic() + TIMEOUT
    for name in _CONTAINERS:
        while _STARTED not in _log(harness, sample, name):
            if time.monotonic() > until:
                fail(WHOLE, f'after {TIMEOUT:g} s container "{name}" has not started')
            time.sleep(0.01)


def _log(harness: Harness, sample: SamplePod, container: str) -> str:
    """Return the start of a container's log, nothing before it runs."""
    try:
        pieces = harness.store.read_log(sample.run.namespace, sample.name, container, limit=1000)
        return b"".join(pieces).decode("utf-8", "replace")
    except ClusterError:
        return ""


def _first_outcome(harness: Harness, sample: SamplePod, *, delete: bool = False) -> Outcome:
    """Collect as soon as the backend says that the pod can be read, as an embedder does.

    Args:
        harness: Runs the pod.
        sample: The pod; it becomes the pod as it was read.
        delete: Whether to delete the pod first.
    """
    outcome: Outcome | None = None
    until = time.monotonic() + TIMEOUT
    with harness.store.watch(PODS) as watch:
        if delete:
            harness.store.delete(PODS, sample.run.namespace, sample.name)
        while outcome is None and (event := watch.get(max(until - time.monotonic(), 0.001))) is not None:
            change, pod = event
            if pod["metadata"]["name"] != sample.name or change == "DELETED":
                continue
            if delete and "deletionTimestamp" not in pod["metadata"]:
                continue
            if harness.core().is_ready(sample.run, pod):
                sample.pod = pod
                found = harness.collect(sample)
                outcome = None if isinstance(found.error, TooEarlyError) else found
    if outcome is None:
        fail(WHOLE, f"after {TIMEOUT:g} s the backend has not said that the pod can be read (pod_ready)")
    return outcome


def _octal(data: bytes) -> str:
    """Return the bytes as a format of the shell's printf."""
    return "".join(f"\\{byte:03o}" for byte in data)
