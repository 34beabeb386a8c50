"""A harness for tests of the TaskRun reconciler: a store, a clock; tests play kubelet and sidecar."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from resultsfw import PODS, Kind, Object, ResultsManager
from resultsfw.errors import NotFoundError, ResultsError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.tekton.taskrun.requeue import Timing
from resultsfw_sidecar import wire

SIDECAR = "sidecar-tekton-log-results"


class Clock:
    def __init__(self) -> None:
        # The store stamps creations with the time there is.
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class RecordingCluster(Store):
    """A store that records every call, with logs that tests give it. It can kill the controller at a call."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock=clock)
        self.logs: dict[str, bytes | ResultsError] = {}
        self.calls: list[tuple[str, str]] = []
        self.fail_at: int | None = None
        self.log_reads = 0

    def _record(self, verb: str, kind: str) -> None:
        self.calls.append((verb, kind))
        if self.fail_at is not None and len(self.calls) == self.fail_at:
            raise KilledError

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        self._record("get", kind.kind)
        return super().get(kind, namespace, name)

    def create(self, kind: Kind, obj: Object) -> Object:
        self._record("create", kind.kind)
        made = super().create(kind, obj)
        self._record("created", kind.kind)
        return made

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        self._record("patch", kind.kind + ("/" + subresource if subresource else ""))
        changed = super().patch(kind, namespace, name, patch, subresource=subresource)
        self._record("patched", kind.kind)
        return changed

    def read_log(
        self,
        namespace: str,  # noqa: ARG002 - there is one pod
        pod: str,  # noqa: ARG002 - likewise
        container: str,
        *,
        limit: int,
    ) -> Iterator[bytes]:
        self._record("log", container)
        self.log_reads += 1
        log = self.logs.get(container, NotFoundError("no such log"))
        if isinstance(log, ResultsError):
            raise log
        yield log[:limit]


class KilledError(KeyboardInterrupt):
    """The controller is killed at this very call."""


class TaskRunHarness:
    """One TaskRun ``run``, its cluster and clock, and a reconciler that can be restarted at any time.

    Args:
        flags: Data of ``feature-flags``.
        register: Backends by name.
    """

    def __init__(self, flags: dict[str, str] | None = None, **register: object) -> None:
        self.clock = Clock()
        self.cluster = RecordingCluster(self.clock)
        self.flags = flags or {"results-from": "sidecar-logs"}
        self.register = register
        self.restart()

    def restart(self) -> None:
        """Start the controller anew, with the flags as they are now."""
        core = ResultsManager.from_flags(self.flags, register=self.register)
        self.reconciler = Reconciler(core, self.cluster, timing=Timing(), clock=self.clock)

    def submit(self, **spec: Any) -> None:
        task = {
            "results": [{"name": "digest", "type": "string"}],
            "steps": [{"name": "build", "image": "i", "script": "#!/bin/sh\ntrue"}],
        }
        annotations = spec.pop("annotations", {})
        body = {"taskSpec": task, **spec}
        Store.create(
            self.cluster,
            TASKRUNS,
            {
                "apiVersion": "tekton.dev/v1",
                "kind": "TaskRun",
                "metadata": {"name": "run", "namespace": "default", "annotations": annotations},
                "spec": {key: value for key, value in body.items() if value is not None},
            },
        )

    def start_pod(self, **spec: Any) -> None:
        """Submit a run and let its pod start: Step and sidecar run, and the pod is marked ready."""
        self.submit(**spec)
        self.reconcile()
        self.kubelet("Running", {"step-build": self.running(), SIDECAR: self.running()})
        self.reconcile()

    def create_foreign_pod(self) -> None:
        """Create a pod under the name of the run's pod that does not belong to the run."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "run-pod", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
        Store.create(self.cluster, PODS, pod)

    def reconcile(self) -> float | None:
        return self.reconciler.reconcile("default", "run")

    @property
    def taskrun(self) -> Object:
        return Store.get(self.cluster, TASKRUNS, "default", "run")

    @property
    def condition(self) -> Object:
        (found,) = [c for c in self.taskrun["status"]["conditions"] if c["type"] == "Succeeded"]
        return found

    def pod(self, name: str = "run-pod") -> Object:
        return Store.get(self.cluster, PODS, "default", name)

    def kubelet(self, phase: str, states: dict[str, Object], name: str = "run-pod", **status: Any) -> None:
        def known(kind: str) -> list[Object]:
            return [
                {"name": c["name"], "image": c["image"], "imageID": "", "ready": True, "restartCount": 0}
                | {"state": states[c["name"]]}
                for c in self.pod(name)["spec"].get(kind, ())
                if c["name"] in states
            ]

        # Scheduled: from now on only a kubelet can make the pod go.
        Store.patch(self.cluster, PODS, "default", name, {"spec": {"nodeName": "node1"}})
        reported = {
            "initContainerStatuses": known("initContainers"),
            "containerStatuses": known("containers"),
        }
        patch = {"status": {"phase": phase, **reported, **status}}
        Store.patch(self.cluster, PODS, "default", name, patch, subresource="status")

    def at(self, seconds: float = 0) -> str:
        return (self.clock.now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def running(self) -> Object:
        return {"running": {"startedAt": self.at()}}

    def ended(self, code: int = 0, reason: str = "", message: str = "") -> Object:
        reason = reason or ("Error" if code else "Completed")
        end = {"exitCode": code, "reason": reason, "startedAt": self.at(), "finishedAt": self.at()}
        return {"terminated": end | ({"message": message} if message else {})}

    def sidecar_prints(self, value: str | None, *, pod: str = "run-pod", end: bool = True) -> None:
        uid = self.pod(pod)["metadata"]["uid"]
        lines = [wire.start_line(uid, wire.WATCH_POLL)]
        lines.append(
            wire.absent_line("digest", wire.TYPE_TASK)
            if value is None
            else wire.value_line("digest", value, wire.TYPE_TASK)
        )
        if end:
            digest = hashlib.sha256(b"".join(lines)).hexdigest()
            lines.append(wire.end_line(uid, len(lines), digest, wire.WHY_STEPS_DONE))
        self.cluster.logs[SIDECAR] = b"".join(lines)

    def finish(self, value: str = "d", code: int = 0) -> None:
        """The Step ends, the sidecar prints, the kubelet reports it."""
        self.sidecar_prints(value)
        phase = "Failed" if code else "Succeeded"
        self.kubelet(phase, {"step-build": self.ended(code), SIDECAR: self.ended()})

    def drive(self, finish: Callable[["TaskRunHarness"], None] | None = None) -> None:
        """Take a submitted run to its end, with the controller started anew each time it is killed.

        Args:
            finish: Ends Steps and sidecar of a pod that runs; else `TaskRunHarness.finish`.
        """
        for _ in range(40):
            try:
                self.reconcile()
            except KilledError:
                self.restart()
                continue
            if is_done(self.taskrun):
                return
            pods = self.cluster.list(PODS)
            if not pods or not self.taskrun.get("status", {}).get("podName"):
                continue
            if not pods[0]["metadata"].get("annotations", {}).get("tekton.dev/ready"):
                self.kubelet("Running", {"step-build": self.running(), SIDECAR: self.running()})
            elif finish is None:
                self.finish()
            elif pods[0]["status"]["phase"] == "Running":
                finish(self)
        raise AssertionError("no end")
