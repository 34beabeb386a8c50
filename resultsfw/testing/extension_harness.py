"""Drive the hooks of an extension under test, around a backend that does what a test says; no pod runs."""

import inspect
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

import pytest

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.extensions import Extension
from resultsfw.flags import Flags
from resultsfw.hookspecs import hookimpl
from resultsfw.limits import effective_limits
from resultsfw.local.store import Store
from resultsfw.plugins import find_hooks
from resultsfw.testing.extension_samples import (
    BACKEND,
    extraction_of,
    reference_of,
    sample_object,
    sample_pod,
    sample_status,
)
from resultsfw.testing.logs import captured_output
from resultsfw.types import Capabilities, CollectionOutcome, Extraction, Run

__all__ = ["KEPT", "WIRE", "ExtensionHarness", "Life", "ScriptedBackend", "within"]

WIRE: Final = 7
"""The wire version of the backend."""

KEPT: Final = b"a value that is stored elsewhere, in two pieces"

_MOUNT: Final[Object] = {"name": "params", "mountPath": "/tekton/params"}

_ReturnT = TypeVar("_ReturnT")


class BlockedError(Exception):
    """A call did not return in time."""


def within(seconds: float, function: Callable[[], _ReturnT]) -> _ReturnT:
    """Call a function on a thread of its own, return what it returns and raise what it raises.

    Raises:
        BlockedError: It has not returned after these seconds.
    """
    returned: list[_ReturnT] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=work, name="call of the suite", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not returned:
        raise BlockedError
    return returned[0]


class ScriptedBackend:
    """A backend whose hooks do what a test says.

    Attributes:
        extraction: Returns what is extracted from a run's pod.
        during: Called in each hook, with its name; may raise.
        pieces: Returns the pieces of a referenced value.
    """

    capabilities = Capabilities(
        summary="returns what a test says",
        delivery="reference",
        external_state="elsewhere",
        verified=True,
        artifacts=True,
    )

    def __init__(self) -> None:
        self.extraction: Callable[[Run], Extraction] = extraction_of
        self.during: Callable[[str], object] = lambda _: None
        self.pieces: Callable[[], Iterator[bytes]] = lambda: iter((KEPT[:9], KEPT[9:]))

    @hookimpl
    def prepare_pod(self, pod: Object) -> int:
        """Add a container."""
        self.during("prepare_pod")
        pod["spec"]["initContainers"].append({"name": "sidecar", "image": "sidecar:1"})
        return WIRE

    @hookimpl
    def pod_ready(self) -> bool:
        """Say that the pod is ready."""
        self.during("pod_ready")
        return True

    @hookimpl
    def extract(self, run: Run) -> Extraction:
        """Return the extraction of the script."""
        self.during("extract")
        return self.extraction(run)

    @hookimpl
    def dereference(self) -> Iterator[bytes]:
        """Return the pieces of the script."""
        self.during("dereference")
        return self.pieces()

    @hookimpl
    def place_files(self, pod: Object) -> None:
        """Add a container."""
        self.during("place_files")
        pod["spec"]["initContainers"].append({"name": "place", "image": "sidecar:1"})

    @hookimpl
    def purge(self) -> None:
        """Do nothing."""
        self.during("purge")


@dataclass(slots=True)
class Life:
    """What became of one run.

    Attributes:
        stages: What each call returned or raised, as text, by the hook.
        output: What was logged and printed meanwhile, with the tracebacks of errors.
        errors: What each call raised, by the hook.
        collected: The outcome of the collection.
        prepared: The prepared pod.
    """

    stages: dict[str, str] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)
    collected: CollectionOutcome | None = None
    prepared: Object = field(default_factory=dict)

    @property
    def faults(self) -> dict[str, str]:
        """Return what went wrong by hook, in words: what was raised, or the problems of the outcome."""
        found = {hook: repr(error) for hook, error in self.errors.items()}
        if self.collected is not None and not self.collected.ok:
            found["extract"] = "; ".join(problem.message for problem in self.collected.problems)
        return found


class ExtensionHarness:
    """The core with the extension under test around a `ScriptedBackend`; a context manager that closes it.

    Args:
        extension: An installed name, or a class, module or object to register.
        config: The extension's options.
        seconds: How long a call may take.

    Attributes:
        name: The extension's name.
        config: The extension's options.
        seconds: As given.
        backend: The backend.
        core: The core.
        cluster: The cluster that hooks get: a store in memory.
        blocked: The call that did not return; "" while all have.
    """

    def __init__(self, extension: object, config: Mapping[str, Any], *, seconds: float) -> None:
        self._extension = extension
        self.name = extension if isinstance(extension, str) else "under-test"
        self.config = dict(config)
        self.seconds = seconds
        self.backend = ScriptedBackend()
        self.cluster: Cluster = Store()
        self.blocked = ""
        self.core = self.new_core()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.core.close(self.seconds)

    def new_core(self, config: Mapping[str, Any] | None = None) -> ResultsManager:
        """Return a core with an instance of its own; raises what `ResultsManager` raises."""
        installed = isinstance(self._extension, str)
        flags = Flags(results_from=BACKEND, config={self.name: self.config if config is None else config})
        return self.call(
            "its creation",
            lambda: ResultsManager(
                flags,
                register={BACKEND: self.backend},
                extensions=[self.name] if installed else (),
                register_extensions={} if installed else {self.name: self._extension},
            ),
        )

    def plain_core(self) -> ResultsManager:
        """Return a core with the backend and without the extension."""
        return ResultsManager(Flags(results_from=BACKEND), register={BACKEND: self.backend})

    @property
    def extension(self) -> Extension:
        """Return the extension as the core loaded it."""
        return self.core.extensions[self.name]

    @property
    def source(self) -> object:
        """Return what the instance is created from: a class, or the module or object itself."""
        plugin = self.extension.plugin
        by_hand = not isinstance(self._extension, str)
        if by_hand:
            return self._extension
        return plugin if inspect.ismodule(plugin) else type(plugin)

    def implements(self, hook: str) -> bool:
        """Return whether the extension implements a hook."""
        return hook in self.extension.implements

    def raw(self, hook: str) -> Callable[[Mapping[str, Any]], Any]:
        """Return the extension's own function, without the guard of the core, to be called with arguments."""
        impl = find_hooks(self.extension.plugin)[hook]
        return lambda arguments: impl.function(*(arguments[name] for name in impl.argnames))

    def arguments(self, run: Run) -> dict[str, Any]:
        """Return an argument of each name that a hook of an extension may take."""
        reference = reference_of(run, KEPT)
        return {
            "run": run,
            "pod": sample_pod(run),
            "cluster": self.cluster,
            "limits": effective_limits(4096, self.backend.capabilities),
            "wire": WIRE,
            "reference": reference,
            "namespace": run.namespace,
            "files": {"/tekton/params/large": reference},
            "mount": dict(_MOUNT),
            "backend": BACKEND,
            "status": sample_status(run),
            "obj": sample_object(run),
            "collected": CollectionOutcome(),
        }

    def call(self, what: str, function: Callable[[], _ReturnT], *, times: int = 1) -> _ReturnT:
        """Call a function that must return in time; raise what it raises.

        Fails the test if it does not return; all later tests are skipped then.

        Args:
            what: What is called, for the message.
            function: The function.
            times: How many times as long as one call it may take, because it makes many.
        """
        seconds = self.seconds * times
        try:
            return within(seconds, function)
        except BlockedError:
            self.blocked = what
            pytest.fail(
                f"returns: no hook waits without a limit, a worker waits for it\n"
                f"  {what} did not return within {seconds:g} s",
                pytrace=False,
            )

    def live(
        self, run: Run, *, core: ResultsManager | None = None, bounded: bool = True, final: bool = False
    ) -> Life:
        """Call every hook for a run as the controller does, and return what came of it."""
        used, life = core or self.core, Life()
        pod: Object = sample_pod(run)
        reference = reference_of(run, KEPT)

        def collect() -> str:
            life.collected = used.collect(run, life.prepared or pod, self.cluster, final=final)
            return repr(life.collected)

        def prepare() -> str:
            life.prepared = used.prepare_pod(run, pod, cluster=self.cluster)
            return repr(life.prepared)

        calls: dict[str, Callable[[], str]] = {
            "place_files": lambda: repr(
                used.place_files(run, pod, {"/tekton/params/large": reference}, dict(_MOUNT))
            ),
            "prepare_pod": prepare,
            "pod_created": lambda: repr(used.pod_created(run, life.prepared or pod)),
            "pod_ready": lambda: repr(used.is_ready(run, life.prepared)),
            "extract": collect,
            "attest_status": lambda: repr(
                used.attest_status(run, sample_status(run), obj=sample_object(run), collected=life.collected)
            ),
            "dereference": lambda: repr(
                b"".join(used.dereference(reference, self.cluster, namespace=run.namespace))
            ),
            "purge": lambda: repr(used.purge(run, life.prepared, self.cluster, deleted=True)),
        }
        for hook, call in calls.items():
            try:
                life.stages[hook] = self.call(f"a call of {hook}", call) if bounded else call()
            except Exception as error:  # noqa: BLE001 - the tests examine it
                life.errors[hook] = error
                life.stages[hook] = f"{type(error).__name__}: {error}"
        return life

    def live_captured(self, run: Run, *, core: ResultsManager | None = None, final: bool = False) -> Life:
        """Do as `live`, and keep what is logged and printed, and what errors and problems say."""
        with captured_output() as output:
            life = self.live(run, core=core, final=final)
        for error in life.errors.values():
            output += traceback.format_exception(error)
            if isinstance(error, ResultsError):
                output.append(f"{error.message} {error.subject}")
        if life.collected is not None:
            for problem in life.collected.problems:
                output.append(f"{problem.message} {problem.hint} {problem.result} {problem.step}")
            output += [*life.collected.ignored, *life.collected.warnings]
            output += [result.source for result in life.collected.results]
        life.output = output
        return life
