"""The suite's world: the engine with no cluster, the backend under test in it, and pods driven by hand."""

import contextlib
import importlib.util
import inspect
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.spec.param_references import resolved
from resultsfw.tekton.spec.substitution import apply
from resultsfw.tekton.taskrun.pod_lifecycle import mark_ready
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.testing.clusters import Asked, Noted
from resultsfw.testing.tasks import Write, task_of
from resultsfw.types import Capabilities, CollectionOutcome, Limits, Reference, Run

__all__ = ["Life", "Outcome", "World"]

PATIENCE: Final = 60.0
"""Seconds until a pod that does not end is a failure; a sound one takes less than one."""

_NUMBERS: Final = itertools.count(1)

_SECRETS: Final = Kind("", "v1", "secrets", "Secret")
_OURS: Final = ("resultsfw", "resultsfw_sidecar")

Place = tuple[Kind, str, str]
"""An object: kind, namespace, name."""


@dataclass(slots=True)
class Life:
    """One pod under the backend, from before it is made.

    Attributes:
        taskrun: Whose, as it is in the store.
        run: What the backend may know of it.
        writes: What its Steps write.
        bare: The pod before the backend saw it.
        prepared: The pod as the backend and the core made it.
        pod: As last seen.
        before: The objects there were before the backend saw it.
        fresh: Those that preparing it made, as they then were.
        kept: Names of what was outside the cluster before.
        added: Names of what was there more when its pod had ended.
    """

    taskrun: Object
    run: Run
    writes: tuple[Write, ...]
    bare: Object
    prepared: Object
    pod: Object
    before: frozenset[Place]
    fresh: dict[Place, Object]
    kept: frozenset[str]
    added: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Of the pod."""
        return str(self.prepared["metadata"]["name"])

    @property
    def truth(self) -> dict[tuple[str | None, str], Any]:
        """What must be in the status, by whose it is."""
        return {one.origin: one.truth for one in self.writes if one.truth is not None}


@dataclass(slots=True)
class Outcome:
    """What a call gave, and everything it said.

    Attributes:
        collected: The verdict, if there is one.
        error: What was raised instead.
        said: Log records, messages of errors and problems, tracebacks.
    """

    collected: CollectionOutcome | None = None
    error: Exception | None = None
    said: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the run may succeed."""
        return self.collected is not None and self.collected.ok


class _Listener(logging.Handler):
    """Keeps every log record of a while, tracebacks too."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._said = said
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it as it would be printed."""
        self._said.append(self.format(record))


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """All that is logged meanwhile, at every level."""
    said: list[str] = []
    root, listener = logging.getLogger(), _Listener(said)
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield said
    finally:
        root.setLevel(level)
        root.removeHandler(listener)


class World:
    """A store, a kubelet, and cores with the backend under test. A context manager: leaving ends it all.

    Args:
        backend: An installed name, or an object, class or module to register by hand.
        config: Its options.
        outside: Everything it keeps outside the cluster, by name; ``None``: the suite cannot see that.
        tell_budget: Whether Steps know what the kubelet leaves of a message; else messages are cut.

    Attributes:
        name: The backend's.
        config: Its options.
        outside: As given.
        store: The objects.
        asked: What backends asked of the cluster, in order.
    """

    def __init__(
        self,
        backend: object,
        config: Mapping[str, Any],
        *,
        outside: MutableMapping[str, bytes] | None = None,
        tell_budget: bool = True,
    ) -> None:
        self._backend = backend
        self.name = backend if isinstance(backend, str) else "under-test"
        self._registered: dict[str, object] = {} if isinstance(backend, str) else {self.name: backend}
        self.config = dict(config)
        self.external_state = outside
        self._cores: dict[tuple[tuple[str, str], ...], ResultsManager] = {}
        self.asked: list[Asked] = []
        self.core()  # a backend that cannot be loaded needs no kubelet
        self.store = Store()
        self.cluster = Noted(self.store, self.asked)
        self._kubelet = Kubelet(self.store, pass_budget=tell_budget)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kubelet.stop(grace_seconds=0.5)

    def cutting(self) -> "World":
        """Another world with the same backend, in which Steps do not know what the kubelet cuts off."""
        return World(self._backend, self.config, outside=self.external_state, tell_budget=False)

    # Cores.

    def flags(self, more: Mapping[str, str]) -> dict[str, str]:
        """A ``feature-flags`` ConfigMap's data that selects the backend."""
        return {"results-from": self.name, f"config.{self.name}": yaml.safe_dump(self.config), **more}

    def core(self, **more: str) -> ResultsManager:
        """The core with these further flags (``_`` for ``-``), the same one each time."""
        key = tuple(sorted(more.items()))
        if key not in self._cores:
            flags = self.flags({flag.replace("_", "-"): value for flag, value in more.items()})
            self._cores[key] = ResultsManager.from_flags(flags, register=self._registered)
        return self._cores[key]

    def restarted(self) -> ResultsManager:
        """A core as a process that was just started has it: the backend is imported, and made, anew."""
        with _forgotten(self._modules()):
            registered = {name: _anew(one) for name, one in self._registered.items()}
            return ResultsManager.from_flags(self.flags({}), register=registered)

    @property
    def capabilities(self) -> Capabilities:
        """The backend's."""
        return self.core().backend(self.name).capabilities

    @property
    def plugin(self) -> object:
        """The backend's object or module."""
        return self.core().backend(self.name).plugin

    def limits(self, core: ResultsManager | None = None) -> Limits:
        """The limits in force."""
        return effective_limits((core or self.core()).flags.max_result_size, self.capabilities)

    def _modules(self) -> list[str]:
        """Names of the modules that are the backend's, as far as that can be told."""
        by_hand = bool(self._registered)
        targets = [] if by_hand else [one.target for one in installed_plugins() if one.name == self.name]
        targets += [one.__name__ for one in self._registered.values() if inspect.ismodule(one)]
        found: list[str] = []
        for target in targets:
            module = target.partition(":")[0]
            package = module.rpartition(".")[0] or module
            if package.partition(".")[0] not in _OURS:
                found += [one for one in sys.modules if one == package or one.startswith(f"{package}.")]
        return found

    # The life of a pod, hook by hook.

    def prepare(
        self,
        writes: Sequence[Write],
        *,
        core: ResultsManager | None = None,
        attempt: int = 0,
        of: Life | None = None,
        params: Mapping[str, Reference] | None = None,
        **task: bool,
    ) -> Life:
        """Prepare the pod of a new run (or of a further attempt ``of`` one); nothing is started.

        Raises what `ResultsManager.prepare_pod` raises, and for parameters that are references (``params``)
        what `resultsfw.tekton.spec.param_references.resolved` raises.
        """
        core = core or self.core()
        given = [{"name": name, "value": format_reference(one)} for name, one in (params or {}).items()]
        if of is None:
            taskrun = self.store.create(
                TASKRUNS,
                {
                    "apiVersion": TASKRUNS.api_version,
                    "kind": TASKRUNS.kind,
                    "metadata": {"name": f"run{next(_NUMBERS)}", "namespace": "default"},
                    "spec": {"taskSpec": task_of(writes, **task), "params": given},
                },
            )
        else:
            taskrun = of.taskrun
        spec = apply(task_of(writes, **task), taskrun)
        run = run_of(taskrun, spec, attempt=attempt)
        whole = resolved(core, self.cluster, taskrun, spec)
        bare = build_pod(
            whole.taskrun, whole.task_spec, attempt=attempt, options=PodOptions(), files=whole.files
        )
        bare = core.place_files(run, bare, whole.files, PARAMS_MOUNT)
        before, kept = self.objects(), frozenset(self.external_state or ())
        prepared = core.prepare_pod(run, jsons.copy(bare), cluster=self.cluster)
        fresh = {place: self.store.get(*place) for place in self.objects() - before}
        return Life(taskrun, run, tuple(writes), bare, prepared, prepared, before, fresh, kept)

    def start(self, *lives: Life) -> None:
        """Create the pods; the kubelet runs them from here on."""
        for life in lives:
            life.pod = self.store.create(PODS, life.prepared)

    def follow(
        self, *lives: Life, until: Callable[[Object], bool] = all_containers_ended, what: str = "ended"
    ) -> None:
        """Let the pods' Steps run, until each pod is as wanted."""
        until_when = time.monotonic() + PATIENCE
        left = {life.name: life for life in lives}
        with self.store.watch(PODS) as watch:
            while left:
                event = watch.get(max(until_when - time.monotonic(), 0.001))
                if event is None:
                    self._stuck(next(iter(left.values())), what)
                    return
                change, pod = event
                life = left.get(pod["metadata"]["name"])
                if life is None or change == "DELETED":
                    continue
                life.pod = pod
                with contextlib.suppress(ClusterError):
                    mark_ready(self.store, pod, datetime.now(UTC))
                if until(pod):
                    del left[life.name]
        for life in lives:
            life.added = frozenset(self.external_state or ()) - life.kept

    def ended(
        self, writes: Sequence[Write], *, core: ResultsManager | None = None, fails: bool = False
    ) -> Life:
        """The pod of a new run when it is over."""
        life = self.prepare(writes, core=core, fails=fails)
        self.start(life)
        self.follow(life)
        return life

    def let_go(self, life: Life) -> None:
        """Let a Step go on that was held (`task_of`)."""
        (folder,) = self._kubelet.workdir.glob(f"**/{life.name}-*/root/workspace")
        (folder / "go").touch()

    def collect(
        self,
        life: Life,
        *,
        core: ResultsManager | None = None,
        cluster: Cluster | None = None,
        pod: Object | None = None,
        final: bool = False,
    ) -> Outcome:
        """`ResultsManager.collect`, whatever comes of it."""
        outcome = Outcome()
        with listening() as said:
            try:
                outcome.collected = (core or self.core()).collect(
                    life.run, pod or life.pod, cluster or self.cluster, final=final
                )
            except Exception as error:  # noqa: BLE001 - what may be raised is what the tests are about
                outcome.error = error
                said.append(f"{type(error).__name__}: {error}")
                if isinstance(error, ResultsError):
                    said.append(f"{error.message} {error.subject}")
        if outcome.collected is not None:
            for problem in outcome.collected.problems:
                said.append(f"{problem.message} {problem.hint} {problem.result} {problem.step}")
            said += outcome.collected.ignored
        outcome.said = said
        return outcome

    def purge(self, life: Life, *, core: ResultsManager | None = None, deleted: bool | None = None) -> None:
        """`ResultsManager.purge`, as the end of the run's life asks for it. Raises what that raises."""
        gone = self.capabilities.delivery == "reference" if deleted is None else deleted
        (core or self.core()).purge(life.run, life.prepared, self.cluster, deleted=gone)

    def left(self, life: Life) -> list[str]:
        """What is there of a run, beside its pod, that was not there before it; in words."""
        objects = sorted(
            f"{kind.kind} {namespace}/{name}" for kind, namespace, name in self.objects() - life.before
        )
        return objects + sorted(set(self.external_state or ()) - life.kept)

    def objects(self) -> frozenset[Place]:
        """The objects there are but for runs and pods: of each kind that a backend is likely to make."""
        kinds = {CONFIG_MAPS, _SECRETS} | {one.kind for one in self.asked if one.kind is not None}
        return frozenset(
            (kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            for kind in kinds - {PODS, TASKRUNS}
            for obj in self.store.list(kind)
        )

    # Whole runs, as the controller does them.

    def reconciled(
        self, task: Object, *, name: str = "run", flags: Mapping[str, str] | None = None
    ) -> Object:
        """A TaskRun as the reconciler leaves it, on an engine of its own."""
        core = ResultsManager.from_flags(self.flags(flags or {}), register=self._registered)
        with Engine(lambda cluster: Reconciler(core, Noted(cluster, []))) as engine:
            engine.submit(
                {
                    "apiVersion": TASKRUNS.api_version,
                    "kind": TASKRUNS.kind,
                    "metadata": {"name": name, "namespace": "default"},
                    "spec": {"taskSpec": task},
                }
            )
            (final,) = engine.run_until_done(timeout=PATIENCE)
        return final

    def _stuck(self, life: Life, what: str) -> None:
        with contextlib.suppress(NotFoundError):
            life.pod = self.store.get(PODS, life.run.namespace, life.name)
        status = life.pod.get("status", {})
        states = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        still = [
            f"{one['name']}: {next(iter(one['state']), '?')}"
            for one in states
            if "terminated" not in one["state"]
        ]
        pytest.fail(
            f"after {PATIENCE:g} s the pod has not {what}; not terminated: {', '.join(still) or 'none'}. A "
            f"container that a backend adds is a native sidecar (an init container with restartPolicy "
            f"Always) that ends on SIGTERM, or ends by itself when all Steps have",
            pytrace=False,
        )


@contextlib.contextmanager
def _forgotten(names: Iterable[str]) -> Iterator[None]:
    """Importing meanwhile makes these modules anew; afterwards all is as it was."""
    kept = {name: sys.modules.pop(name) for name in names}
    try:
        yield
    finally:
        for name in kept:
            sys.modules.pop(name, None)
        sys.modules.update(kept)


def _anew(plugin: object) -> object:
    """A module imported again; a class is instantiated by the core, an object stays what it is."""
    spec = plugin.__spec__ if inspect.ismodule(plugin) else None
    if spec is None or spec.loader is None:
        return plugin
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
