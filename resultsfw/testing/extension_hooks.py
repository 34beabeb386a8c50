"""Test what the hooks of an extension do to one run: nothing that they may not."""

import copy
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

import pytest

from resultsfw.cluster import Object
from resultsfw.errors import (
    BackendError,
    CorruptError,
    ForbiddenError,
    NotFoundError,
    ResultsError,
    TooEarlyError,
    UnavailableError,
)
from resultsfw.extensions import OBSERVERS
from resultsfw.testing.assertions import fail, skip
from resultsfw.testing.extension_base import WRAPPED, ExtensionBase, needs
from resultsfw.testing.extension_harness import KEPT, WIRE, ExtensionHarness
from resultsfw.testing.extension_samples import EXTRACTIONS, sample_pod, sample_run
from resultsfw.types import CollectionOutcome, Extraction

__all__ = ["RETURNS", "UNCHANGED", "HookCases", "changed_arguments", "drive"]

RETURNS: Final = "returns: a hook returns for a plain run, and raises nothing"
AWKWARD: Final = "returns: whatever a Step wrote, a hook raises nothing"
NOT_HIDDEN: Final = "errors: what a backend raises is raised, and of the same kind"
OBSERVES: Final = "observers: an observer raises nothing; its failure is only logged"
UNCHANGED: Final = "arguments: a hook changes nothing that it is given, but the pod where it is prepared"
DECLARED: Final = "results: an extension with changes_results = False changes no result"
POD: Final = "pod: an extension may add to the pod, and leaves what is there"
STABLE: Final = "pod: prepare_pod is called again after a crash, and must change the pod in the same way"
BOUNDED: Final = "memory: a referenced value passes in pieces, and is never complete in memory"

_ERRORS: Final[dict[str, Callable[[], Exception]]] = {
    "unavailable": lambda: UnavailableError("the suite says: away", subject="pods/log"),
    "forbidden": lambda: ForbiddenError("the suite says: forbidden"),
    "not-found": lambda: NotFoundError("the suite says: gone"),
    "too-early": lambda: TooEarlyError("the suite says: too early"),
    "corrupt": lambda: CorruptError("the suite says: corrupt"),
    "backend": lambda: BackendError("the suite says: unusable"),
    "foreign": lambda: LookupError("the suite says: a fault"),
}

_PIECE: Final = 1 << 16
_PIECES: Final = 1000
_AHEAD: Final = 64
"""Pieces that may be read before the first one is passed on: 4 MiB."""


class HookCases(ExtensionBase):
    """Call each hook with what a controller gives it."""

    def test_returns(self, harness: ExtensionHarness) -> None:
        """Every hook returns in time. A hook that waits for ever is found here; the rest is skipped."""
        harness.live(sample_run(1))
        harness.live(sample_run(2), final=True)

    @pytest.mark.parametrize("hook", WRAPPED)
    def test_plain_run(self, harness: ExtensionHarness, hook: str) -> None:
        """A wrapper lets a plain run pass: it yields once, returns what it may, and raises nothing."""
        needs(harness, hook)
        kind, value = drive(harness, hook, send=_returned_by_backend(hook))
        if kind == "raised":
            fail(RETURNS, f"{hook} raises {value!r:.200}")
        if kind == "yielded":
            fail(RETURNS, f"{hook} yields twice")
        wanted = type(_returned_by_backend(hook))
        if hook in ("pod_ready", "extract") and not isinstance(value, wanted):
            fail(RETURNS, f"{hook} returns {type(value).__name__}, and the backend {wanted.__name__}")
        if fault := harness.live(sample_run(3)).faults.get(hook):
            fail(RETURNS, f"{hook} of a plain run: {fault:.300}")

    def test_wire_version(self, harness: ExtensionHarness) -> None:
        """The wire version is the backend's: a pod is read in the format that it was created with."""
        needs(harness, "prepare_pod")
        kind, value = drive(harness, "prepare_pod", send=WIRE)
        if kind == "returned" and value != WIRE:
            fail(RETURNS, f"prepare_pod returned {value!r:.80}, and the backend {WIRE}: return what you got")

    @pytest.mark.parametrize("kind", EXTRACTIONS)
    def test_extraction(self, harness: ExtensionHarness, kind: str) -> None:
        """Awkward values, damaged ones, problems and references raise nothing in ``extract``."""
        needs(harness, "extract")
        became, value = drive(harness, "extract", send=EXTRACTIONS[kind](sample_run(4)))
        if isinstance(value, ResultsError):  # it refuses the value by name
            return
        if became != "returned":
            fail(AWKWARD, f"extract raises {value!r:.200} [{kind}]")
        if not isinstance(value, Extraction):
            fail(AWKWARD, f"extract returns {type(value).__name__} and not the Extraction [{kind}]")

    @pytest.mark.parametrize("kind", EXTRACTIONS)
    @pytest.mark.parametrize("hook", sorted(OBSERVERS))
    def test_observer(self, harness: ExtensionHarness, hook: str, kind: str) -> None:
        """An observer copes with every outcome."""
        needs(harness, hook)
        run = sample_run(5)
        collected = _collected(harness, kind)
        if hook == "collection_failed" and collected.ok:
            skip("hooks", "nothing failed")
        given: dict[str, Any] = {"run": run, "collected": collected, "problems": collected.problems}
        before = copy.deepcopy(given)
        try:
            harness.call(hook, lambda: harness.raw(hook)(given))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - that is what is tested
            fail(OBSERVES, f"{hook} raised {error!r:.200} [{kind}]")
        if changed := changed_arguments(before, given):
            fail(UNCHANGED, f"{hook} changed {changed} [{kind}]")

    @pytest.mark.parametrize("error", _ERRORS)
    @pytest.mark.parametrize("hook", WRAPPED)
    def test_backend_error(self, harness: ExtensionHarness, hook: str, error: str) -> None:
        """An error of the backend is not hidden, and is still retried if it was to be, and not otherwise."""
        needs(harness, hook)
        raised = _ERRORS[error]()
        kind, value = drive(harness, hook, throw=raised)
        if kind == "returned":
            fail(NOT_HIDDEN, f"{hook} hides {raised!r} and returns; raise it, or another one from it")
        if kind == "yielded":
            fail(NOT_HIDDEN, f"{hook} yields twice, after {raised!r}")
        if isinstance(raised, ResultsError) and _judged_as(value) != _judged_as(raised):
            fail(NOT_HIDDEN, f"{hook} raises {value!r:.200} for {raised!r}, which is retried differently")

    @pytest.mark.parametrize("hook", [hook for hook in WRAPPED if hook not in ("prepare_pod", "place_files")])
    def test_arguments_are_left_alone(self, harness: ExtensionHarness, hook: str) -> None:
        """The run, the pod and all else is the caller's."""
        needs(harness, hook)
        self._leaves_alone(harness, hook, but=())

    @pytest.mark.parametrize("hook", ["prepare_pod", "place_files"])
    def test_arguments_but_the_pod_are_left_alone(self, harness: ExtensionHarness, hook: str) -> None:
        """The run and all else but the pod is the caller's."""
        needs(harness, hook)
        self._leaves_alone(harness, hook, but=("pod",))

    def test_changes_results_is_true(self, harness: ExtensionHarness) -> None:
        """An extension that says that it changes no results returns the extraction that it got."""
        needs(harness, "extract")
        if harness.extension.changes_results:
            skip("changes_results", "it may change results")
        for kind, extraction in EXTRACTIONS.items():
            given = extraction(sample_run(6))
            before = copy.deepcopy(given)
            _, value = drive(harness, "extract", send=given)
            same = isinstance(value, Extraction) and repr(given) == repr(before)
            if value is not given or not same:
                fail(DECLARED, f"extract returned another extraction than it got [{kind}]")

    def test_pod_keeps_its_parts(self, harness: ExtensionHarness) -> None:
        """Containers, volumes, labels and annotations that were there stay as they were."""
        needs(harness, "prepare_pod", "place_files")
        run = sample_run(7)
        pod = harness.core.prepare_pod(run, sample_pod(run), cluster=harness.cluster)
        before = sample_pod(run)
        before["spec"]["initContainers"].append({"name": "sidecar", "image": "sidecar:1"})
        faults = [
            f"{part[:-1]} {thing['name']!r} is changed or gone"
            for part in ("containers", "initContainers", "volumes")
            for thing in before["spec"][part]
            if not _extended(thing, _named(pod["spec"].get(part), thing["name"]))
        ]
        faults += [
            f"{part} {key!r} is changed or gone"
            for part in ("labels", "annotations")
            for key, value in before["metadata"][part].items()
            if (pod["metadata"].get(part) or {}).get(key) != value
        ]
        if faults:
            fail(POD, "; ".join(faults))

    def test_prepare_twice(self, harness: ExtensionHarness) -> None:
        """The pod of a run is prepared twice in the same way, by one instance and by another."""
        needs(harness, "prepare_pod")
        run = sample_run(8)
        with harness.new_core() as other:
            first, again, anew = (
                core.prepare_pod(run, sample_pod(run), cluster=harness.cluster)
                for core in (harness.core, harness.core, other)
            )
        if not first == again == anew:
            fail(STABLE, "the second pod differs from the first")

    def test_pieces(self, harness: ExtensionHarness) -> None:
        """A large value is passed on while it arrives."""
        needs(harness, "dereference")
        pulled = 0

        def pieces() -> Iterator[bytes]:
            nonlocal pulled
            for _ in range(_PIECES):
                pulled += 1
                yield bytes(_PIECE)

        _, value = drive(harness, "dereference", send=pieces())
        first = harness.call("the first piece of dereference", lambda: next(iter(value), None))
        if first is None or pulled > _AHEAD:
            fail(BOUNDED, f"{pulled} pieces of {_PIECE} bytes were read before the first one was passed on")

    def _leaves_alone(self, harness: ExtensionHarness, hook: str, *, but: tuple[str, ...]) -> None:
        given = {name: thing for name, thing in harness.arguments(sample_run(9)).items() if name != "cluster"}
        before = copy.deepcopy(given)
        drive(harness, hook, send=_returned_by_backend(hook), given=given)
        changed = [name for name in changed_arguments(before, given) if name not in but]
        if changed:
            fail(UNCHANGED, f"{hook} changed {', '.join(changed)}")


def drive(
    harness: ExtensionHarness,
    hook: str,
    *,
    send: Any = None,
    throw: Exception | None = None,
    given: dict[str, Any] | None = None,
) -> tuple[str, Any]:
    """Run a wrapper's own generator once, without the guard of the core, which would correct it.

    Returns:
        "returned" and the value, "raised" and the exception, or "yielded" if it yields twice.
    """
    arguments = {**harness.arguments(sample_run(9)), **(given or {})}

    def run() -> tuple[str, Any]:
        around: Generator[None, Any, Any] = harness.raw(hook)(arguments)
        try:
            next(around)
            if throw is not None:
                around.throw(throw)
            else:
                around.send(send)
        except StopIteration as end:
            return "returned", end.value
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the tests examine it
            return "raised", error
        return "yielded", None

    return harness.call(f"a call of {hook}", run)


def _returned_by_backend(hook: str) -> Any:
    values = {
        "prepare_pod": WIRE,
        "pod_ready": True,
        "extract": EXTRACTIONS["plain"](sample_run(9)),
        "dereference": iter([KEPT]),
    }
    return values.get(hook)


def _collected(harness: ExtensionHarness, kind: str) -> CollectionOutcome:
    """Return the outcome of an extraction, as the core judges it without the extension."""
    run = sample_run(5)
    with harness.plain_core() as core:
        harness.backend.extraction = EXTRACTIONS[kind]
        pod = core.prepare_pod(run, sample_pod(run), cluster=harness.cluster)
        return core.collect(run, pod, harness.cluster, final=True)


def _judged_as(error: Any) -> tuple[str, bool]:
    """Return what decides how the core goes on after an error."""
    return getattr(error, "code", type(error).__name__), bool(getattr(error, "retryable", False))


def changed_arguments(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the names of the arguments that a hook changed."""
    return sorted(name for name in before if repr(before[name]) != repr(now[name]))


def _named(things: Any, name: str) -> Object:
    return next((thing for thing in things or () if thing["name"] == name), {})


def _extended(before: Object, now: Object) -> bool:
    """Return whether all of a container or volume is still there; lists may have got more entries."""
    return all(
        (now.get(key) or [])[: len(value)] == value if isinstance(value, list) else now.get(key) == value
        for key, value in before.items()
    )
