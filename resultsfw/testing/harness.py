"""Run pods of a backend under test on the local engine, hook by hook."""

import contextlib
import inspect
import itertools
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Self

import pytest
import yaml

from resultsfw import jsons
from resultsfw.cluster import CONFIG_MAPS, PODS, Cluster, Kind, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, NotFoundError, ResultsError
from resultsfw.limits import effective_limits
from resultsfw.local.engine import Engine
from resultsfw.local.kubelet import Kubelet
from resultsfw.local.store import Store
from resultsfw.plugins import installed_plugins
from resultsfw.references import format_reference
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.pod.builder import PodOptions, build_pod
from resultsfw.tekton.pod.containers import PARAMS_MOUNT
from resultsfw.tekton.podstatus.pod_state import all_containers_ended
from resultsfw.tekton.podstatus.ready_signal import ready_signal
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.spec.param_references import resolve_references
from resultsfw.tekton.spec.substitution import apply
from resultsfw.tekton.taskrun.pod_lifecycle import mark_ready
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.testing.clusters import ClaimingCluster, RecordingCluster, Request, create_claims
from resultsfw.testing.imports import import_again, reimported
from resultsfw.testing.logs import captured_output
from resultsfw.testing.samples import ObjectKey, Outcome, SamplePod
from resultsfw.testing.secret_options import secret_options
from resultsfw.testing.tasks import Write, make_task
from resultsfw.types import Capabilities, Limits, Reference

__all__ = ["Harness", "Outcome", "SamplePod"]

TIMEOUT: Final = 60.0
"""Seconds after which a pod that has not ended is a failure; a correct backend needs less than one."""

_NUMBERS: Final = itertools.count(1)

_SECRETS: Final = Kind("", "v1", "secrets", "Secret")
_OURS: Final = ("resultsfw", "resultsfw_sidecar")


def _with_capabilities(plugin: object, capabilities: Capabilities) -> object:
    """Return a backend with other capabilities than its own."""
    names = [name for name in dir(plugin) if not name.startswith("__")]
    return SimpleNamespace(**{name: getattr(plugin, name) for name in names} | {"capabilities": capabilities})


class Harness:
    """A store, a kubelet and the core with the backend under test; a context manager that ends them.

    Args:
        backend: An installed name, or an object, class or module to register.
        config: The backend's options.
        name: The name under which a backend without an entry point is selected.
        external_state: Everything the backend keeps outside the cluster, by name; ``None``: unknown.
        claims: Folder of the PersistentVolumeClaims, ``NAMESPACE/NAME``; ``None``: a temporary one.
        tell_budget: Whether Steps know the limit of a termination message; else the kubelet cuts messages.

    Attributes:
        name: The backend's name.
        config: The backend's options.
        external_state: As given.
        store: The objects.
        requests: The backend's requests to the cluster, in order.
    """

    def __init__(
        self,
        backend: object,
        config: Mapping[str, Any],
        *,
        name: str = "under-test",
        external_state: MutableMapping[str, bytes] | None = None,
        claims: Path | None = None,
        tell_budget: bool = True,
    ) -> None:
        self._backend = backend
        self.name = backend if isinstance(backend, str) else name
        self._registered: dict[str, object] = {} if isinstance(backend, str) else {self.name: backend}
        self.config = dict(config)
        self.external_state = external_state
        self._claims = claims
        self._cores: dict[tuple[tuple[str, str], ...], ResultsManager] = {}
        self.requests: list[Request] = []
        self.core()  # a backend that cannot be loaded needs no kubelet
        self.store = Store()
        create_claims(self.store, claims)
        self.cluster = RecordingCluster(self.store, self.requests)
        self._kubelet = Kubelet(self.store, pass_budget=tell_budget, claims=claims)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kubelet.stop(grace_seconds=0.5)

    def with_cut_messages(self) -> "Harness":
        """Return another harness with the same backend, in which the kubelet cuts long messages."""
        return Harness(
            self._backend,
            self.config,
            name=self.name,
            external_state=self.external_state,
            claims=self._claims,
            tell_budget=False,
        )

    # Cores.

    def flags(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the data of a ``feature-flags`` ConfigMap that selects the backend."""
        return {"results-from": self.name, f"config.{self.name}": yaml.safe_dump(self.config), **more}

    def core(self, **more: str) -> ResultsManager:
        """Return the core with these further flags (``_`` for ``-``), the same one each time."""
        key = tuple(sorted(more.items()))
        if key not in self._cores:
            flags = self.flags({flag.replace("_", "-"): value for flag, value in more.items()})
            self._cores[key] = ResultsManager.from_flags(flags, register=self._registered)
        return self._cores[key]

    def scaled_core(self, *, result_bytes: int, run_bytes: int | None = None) -> ResultsManager:
        """Return a core in which a value, and a run, may have at most so many bytes.

        The operator's limit does it for values in a status. A limit of the backend's own that is larger is
        replaced in its capabilities: the backend gets it in ``limits`` as any other.
        """
        flags = {"max_result_size": str(result_bytes)}
        can = scaled = self.capabilities
        if can.delivery == "reference" and (can.result_bytes or 0) > result_bytes:
            scaled = replace(scaled, result_bytes=result_bytes)
        if run_bytes is not None and (can.run_bytes or 0) > run_bytes:
            scaled = replace(scaled, run_bytes=run_bytes)
        if scaled is can:
            return self.core(**flags)
        data = self.flags({flag.replace("_", "-"): value for flag, value in flags.items()})
        backend = _with_capabilities(self.plugin, scaled)
        return ResultsManager.from_flags(data, register={**self._registered, self.name: backend})

    def restarted_core(self) -> ResultsManager:
        """Return a core as a restarted process has it: the backend is imported and created again."""
        with reimported(self._modules()):
            registered = {name: import_again(plugin) for name, plugin in self._registered.items()}
            return ResultsManager.from_flags(self.flags({}), register=registered)

    @property
    def capabilities(self) -> Capabilities:
        """Return the backend's capabilities."""
        return self.core().backend(self.name).capabilities

    @property
    def secrets(self) -> dict[str, str]:
        """Return the values of the options that are secret, by the option's path."""
        return secret_options(self.core().backend(self.name).configure(self.config))

    @property
    def plugin(self) -> object:
        """Return the backend's object or module."""
        return self.core().backend(self.name).plugin

    def limits(self, core: ResultsManager | None = None) -> Limits:
        """Return the effective limits."""
        core = core or self.core()
        return effective_limits(core.flags.max_result_size, core.backend(self.name).capabilities)

    def _modules(self) -> list[str]:
        """Return the names of the backend's modules, as far as they are known."""
        by_hand = bool(self._registered)
        targets = (
            []
            if by_hand
            else [installed.target for installed in installed_plugins() if installed.name == self.name]
        )
        targets += [
            registered.__name__ for registered in self._registered.values() if inspect.ismodule(registered)
        ]
        found: list[str] = []
        for target in targets:
            module = target.partition(":")[0]
            package = module.rpartition(".")[0] or module
            if package.partition(".")[0] not in _OURS:
                found += [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
        return found

    # The lifecycle of a pod, hook by hook.

    def prepare(
        self,
        writes: Sequence[Write],
        *,
        core: ResultsManager | None = None,
        attempt: int = 0,
        of: SamplePod | None = None,
        params: Mapping[str, Reference] | None = None,
        namespace: str = "default",
        **task: bool,
    ) -> SamplePod:
        """Prepare the pod of a new run (or of a further attempt ``of`` one) and do not start it.

        Raises what `ResultsManager.prepare_pod` raises, and for parameters that are references (``params``)
        what `resultsfw.tekton.spec.param_references.resolved` raises.
        """
        core = core or self.core()
        given = [
            {"name": name, "value": format_reference(reference)} for name, reference in (params or {}).items()
        ]
        if of is None:
            taskrun = self.store.create(
                TASKRUNS,
                {
                    "apiVersion": TASKRUNS.api_version,
                    "kind": TASKRUNS.kind,
                    "metadata": {"name": f"run{next(_NUMBERS)}", "namespace": namespace},
                    "spec": {"taskSpec": make_task(writes, **task), "params": given},
                },
            )
        else:
            taskrun = of.taskrun
        spec = apply(make_task(writes, **task), taskrun)
        run = run_of(taskrun, spec, attempt=attempt)
        whole = resolve_references(core, self.cluster, taskrun, spec)
        original = build_pod(
            whole.taskrun, whole.task_spec, attempt=attempt, options=PodOptions(), files=whole.files
        )
        original = core.place_files(run, original, whole.files, PARAMS_MOUNT, cluster=self.cluster)
        before, kept = self.objects(), frozenset(self.external_state or ())
        prepared = core.prepare_pod(run, jsons.copy(original), cluster=self.cluster)
        created = {place: self.store.get(*place) for place in self.objects() - before}
        return SamplePod(taskrun, run, tuple(writes), original, prepared, prepared, before, created, kept)

    def start(self, *samples: SamplePod) -> None:
        """Create the pods, and the claims that they mount; the kubelet then runs them."""
        cluster = self._with_claims(self.store)
        for sample in samples:
            sample.pod = cluster.create(PODS, sample.prepared)

    def follow(
        self, *samples: SamplePod, until: Callable[[Object], bool] = all_containers_ended, what: str = "ended"
    ) -> None:
        """Let the pods' Steps run until each pod fulfils ``until``."""
        until_when = time.monotonic() + TIMEOUT
        remaining = {sample.name: sample for sample in samples}
        with self.store.watch(PODS) as watch:
            while remaining:
                event = watch.get(max(until_when - time.monotonic(), 0.001))
                if event is None:
                    self._fail_as_stuck(next(iter(remaining.values())), what)
                    return
                change, pod = event
                sample = remaining.get(pod["metadata"]["name"])
                if sample is None or change == "DELETED":
                    continue
                sample.pod = pod
                with contextlib.suppress(ClusterError):
                    now = datetime.now(UTC)
                    signal = ready_signal(pod, now)
                    if signal.is_due or signal.repeat_is_due:
                        mark_ready(self.store, pod, now, repeat=signal.repeat_is_due)
                if until(pod):
                    del remaining[sample.name]
        for sample in samples:
            sample.added = frozenset(self.external_state or ()) - sample.kept

    def run_pod(
        self, writes: Sequence[Write], *, core: ResultsManager | None = None, fails: bool = False
    ) -> SamplePod:
        """Run the pod of a new run to its end and return it."""
        sample = self.prepare(writes, core=core, fails=fails)
        self.start(sample)
        self.follow(sample)
        return sample

    def unblock(self, sample: SamplePod) -> None:
        """Let a blocked Step continue (see `make_task`)."""
        (folder,) = self._kubelet.workdir.glob(f"**/{sample.name}-*/root/workspace")
        (folder / "go").touch()

    def collect(
        self,
        sample: SamplePod,
        *,
        core: ResultsManager | None = None,
        cluster: Cluster | None = None,
        pod: Object | None = None,
        final: bool = False,
    ) -> Outcome:
        """Call `ResultsManager.collect` and return its outcome or its error."""
        outcome = Outcome()
        with captured_output() as output:
            try:
                outcome.collected = (core or self.core()).collect(
                    sample.run, pod or sample.pod, cluster or self.cluster, final=final
                )
            except Exception as error:  # noqa: BLE001 - the tests examine what is raised
                outcome.error = error
                output.append(f"{type(error).__name__}: {error}")
                if isinstance(error, ResultsError):
                    output.append(f"{error.message} {error.subject}")
        if outcome.collected is not None:
            for problem in outcome.collected.problems:
                output.append(f"{problem.message} {problem.hint} {problem.result} {problem.step}")
            output += [result.source for result in outcome.collected.results]
            output += outcome.collected.ignored
        outcome.output = output
        return outcome

    def purge(
        self, sample: SamplePod, *, core: ResultsManager | None = None, deleted: bool | None = None
    ) -> None:
        """Call `ResultsManager.purge` as the controller does at the end of a run; raises what that raises."""
        gone = self.capabilities.delivery == "reference" if deleted is None else deleted
        (core or self.core()).purge(sample.run, sample.prepared, self.cluster, deleted=gone)

    def remaining(self, sample: SamplePod) -> list[str]:
        """Return what exists of a run beside its pod and did not exist before it, in words."""
        objects = sorted(
            f"{kind.kind} {namespace}/{name}" for kind, namespace, name in self.objects() - sample.before
        )
        return objects + sorted(set(self.external_state or ()) - sample.kept)

    def objects(self) -> frozenset[ObjectKey]:
        """Return the objects other than runs and pods, of each kind that a backend is likely to create."""
        kinds = {CONFIG_MAPS, _SECRETS} | {
            request.kind for request in self.requests if request.kind is not None
        }
        return frozenset(
            (kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            for kind in kinds - {PODS, TASKRUNS}
            for obj in self.store.list(kind)
        )

    # Whole runs, as the controller does them.

    def reconcile(self, task: Object, *, name: str = "run", flags: Mapping[str, str] | None = None) -> Object:
        """Return a TaskRun as the reconciler leaves it, on an engine of its own."""
        with (
            ResultsManager.from_flags(self.flags(flags or {}), register=self._registered) as core,
            Engine(
                lambda cluster: Reconciler(core, self._with_claims(cluster)), claims=self._claims
            ) as engine,
        ):
            create_claims(engine.store, self._claims)
            engine.submit(
                {
                    "apiVersion": TASKRUNS.api_version,
                    "kind": TASKRUNS.kind,
                    "metadata": {"name": name, "namespace": "default"},
                    "spec": {"taskSpec": task},
                }
            )
            (final,) = engine.run_until_done(timeout=TIMEOUT)
        return final

    def _with_claims(self, cluster: Cluster) -> RecordingCluster:
        """Return a cluster in which each claim exists that the backend says its pods mount."""
        named = "persistentVolumeClaim" in self.capabilities.volumes
        return ClaimingCluster(cluster) if named else RecordingCluster(cluster)

    def _fail_as_stuck(self, sample: SamplePod, what: str) -> None:
        with contextlib.suppress(NotFoundError):
            sample.pod = self.store.get(PODS, sample.run.namespace, sample.name)
        status = sample.pod.get("status", {})
        states = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        still = [
            f"{state['name']}: {next(iter(state['state']), '?')}"
            for state in states
            if "terminated" not in state["state"]
        ]
        if states and all("waiting" in state["state"] for state in states):
            why = (
                "No container has started: a volume that the pod mounts may not exist. Claims are made for a "
                'backend with Capabilities(volumes=("persistentVolumeClaim",))'
            )
        else:
            why = (
                "A container that a backend adds is a native sidecar (an init container with restartPolicy "
                "Always) that ends on SIGTERM, or ends by itself when all Steps have"
            )
        pytest.fail(
            f"after {TIMEOUT:g} s the pod has not {what}; not terminated: {', '.join(still) or 'none'}. "
            f"{why}",
            pytrace=False,
        )
