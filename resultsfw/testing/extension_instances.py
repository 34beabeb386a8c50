"""Test one instance of an extension with many runs, and many instances after each other."""

import contextlib
import gc
import inspect
import itertools
import logging
import os
import re
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

from resultsfw.errors import ResultsError
from resultsfw.extensions import ATTESTING
from resultsfw.plugins import find_hooks
from resultsfw.testing.assertions import fail, skip
from resultsfw.testing.extension_base import ExtensionBase, needs
from resultsfw.testing.extension_harness import ExtensionHarness, Life
from resultsfw.testing.extension_samples import EXTRACTIONS, mark_of, sample_run
from resultsfw.testing.tasks import VALUE_MARK
from resultsfw.types import Extraction, Problem, ProblemCode, Run

__all__ = ["InstanceCases"]

APART: Final = "threads: one instance serves many runs at once, and none sees or delays another"
FLAT: Final = "memory: what an instance keeps does not grow with the number of runs"
QUIET: Final = "secrets: no option that is secret, and no value of a result, is logged, printed or raised"
CLOSES: Final = "close: releases everything, may be called again, and raises nothing"
ANEW: Final = "close: an instance that is replaced leaves nothing behind, at each change of the flags"

_RUNS: Final = 8
_ROUNDS: Final = 25

_MANY: Final = 15
"""How many times as long as one call some hundred may take."""

_WARM: Final = 150
_BATCH: Final = 60
_GROWTH: Final = 24
"""Bytes for each run that may be kept in each of three batches: less than one text takes."""

_INSTANCES: Final = 5

_OPTION: Final = "s3cr3t-0pt10n"
_CREDENTIAL: Final = re.compile(
    r"(^|[_-])(password|passwd|token|api[_-]?key|secret[_-]?key|private[_-]?key)$"
)
_VALUES: Final = "a value of a result"


class InstanceCases(ExtensionBase):
    """Use an instance as a controller does: for days, on all its workers, until the flags change."""

    def test_runs_at_once(self, harness: ExtensionHarness) -> None:
        """Runs in threads: each gets its own values, and a run waits for no other one."""
        numbers = range(100, 100 + _RUNS)
        alone = {number: harness.live(sample_run(number)) for number in numbers}
        together = self._live_together(harness, numbers)
        for number in numbers:
            for hook, text in together[number].stages.items():
                strange = [other for other in numbers if other != number and mark_of(other) in text]
                if strange:
                    fail(APART, f"{hook} of one run has what belongs to another run that ran meanwhile")
                before = alone[number].stages[hook]
                fault = together[number].faults.get(hook)
                if fault and hook not in alone[number].faults:
                    fail(APART, f"{hook} fails only if other runs are in it, too: {fault:.200}")
                if (mark_of(number) in text) != (mark_of(number) in before):
                    fail(APART, f"{hook} of a run gave something else than it does if no other run is in it")
        self._stress(harness)

    def test_state_does_not_grow(self, harness: ExtensionHarness) -> None:
        """After many runs, as many more take no more memory."""
        grown = harness.call("hundreds of runs", lambda: _growth(harness), times=_MANY)
        if min(grown) > _GROWTH * _BATCH:
            each = min(grown) // _BATCH
            fail(
                FLAT,
                f"each run leaves {each} bytes behind: keep data of one run in the wrapper's generator, or "
                f"limit what you keep",
            )

    def test_options_that_are_credentials(self, harness: ExtensionHarness) -> None:
        """A credential among the options is a `SecretStr`: else everything that prints options shows it."""
        plain = [
            name
            for name, option in harness.extension.config_type.model_fields.items()
            if _CREDENTIAL.search((option.alias or name).lower()) and _mentions(option.annotation, (str,))
        ]
        if plain:
            fail(QUIET, f"declare as pydantic.SecretStr: {', '.join(plain)}")

    def test_secret_options(self, harness: ExtensionHarness) -> None:
        """A secret option is in nothing that people read."""
        config, secrets = _secrets_in(harness)
        if not secrets:
            skip("options", "none of its options is a SecretStr")
        with harness.new_core(config) as core:
            lives = [harness.live_captured(sample_run(200), core=core)]
            lives += self._failing_lives(harness, core)
            plugin = core.extensions[harness.name].plugin
        for secret in secrets:
            _must_be_quiet(secret, "a secret option", lives, plugin)
            if any(secret in repr(life.prepared) for life in lives):
                fail(QUIET, "a secret option is in the pod, which its Steps and everybody who reads pods see")
            if any(secret in life.stages.get(hook, "") for life in lives for hook in ATTESTING):
                fail(QUIET, "a secret option is in the status, which every reader of runs sees")

    def test_values(self, harness: ExtensionHarness) -> None:
        """The value of a result is only in the results."""
        lives = []
        for extraction in EXTRACTIONS.values():
            harness.backend.extraction = extraction
            lives.append(harness.live_captured(sample_run(201), final=True))
        _must_be_quiet(VALUE_MARK, _VALUES, lives, harness.extension.plugin)

    def test_close(self, harness: ExtensionHarness) -> None:
        """An instance that was used is closed, and closed again."""
        needs(harness, "close")
        with harness.new_core() as core:
            harness.live(sample_run(300), core=core)
            close = find_hooks(core.extensions[harness.name].plugin)["close"].function
            for count in ("the first", "the second"):
                try:
                    harness.call(f"{count} call of close", close)
                except (Exception, SystemExit) as error:  # noqa: BLE001 - that is what is tested
                    fail(CLOSES, f"{count} call of close raised {error!r:.200}")

    def test_made_anew(self, harness: ExtensionHarness) -> None:
        """Five instances after each other: threads, open files and the instances themselves are gone."""
        if not inspect.isclass(harness.source):
            skip("close", "it is no class: there is one instance")
        instances = []
        counts: list[Mapping[str, int]] = []
        for number in range(_INSTANCES):
            core = harness.new_core()
            harness.live(sample_run(310 + number), core=core)
            with contextlib.suppress(TypeError):  # instances with __slots__ may have no weak references
                instances.append(weakref.ref(core.extensions[harness.name].plugin))
            core.close(harness.seconds)
            del core
            allowed = counts[1] if len(counts) > 1 else None
            counts.append(_settled(allowed, harness.seconds if number == _INSTANCES - 1 else 0))
        grown = {what: counts[-1][what] - count for what, count in counts[1].items()}
        more = {what: count for what, count in grown.items() if count > 0}
        if more:
            what = ", ".join(f"{count} {what}" for what, count in more.items())
            fail(ANEW, f"{_INSTANCES - 2} instances that were closed left behind {what}: implement close")
        gc.collect()
        if alive := sum(instance() is not None for instance in instances[:-1]):
            fail(ANEW, f"{alive} of {_INSTANCES - 1} instances that were closed are still referred to")

    def _live_together(self, harness: ExtensionHarness, numbers: Iterable[int]) -> dict[int, Life]:
        """Let runs meet within each hook of the backend: all wrappers have begun, and none has ended."""
        meeting = threading.Barrier(_RUNS)

        def meet(_: str) -> None:
            meeting.wait(harness.seconds)

        harness.backend.during = meet
        lives: dict[int, Life] = {}

        def live(number: int) -> None:
            lives[number] = harness.live(sample_run(number), bounded=False)

        harness.call(
            "a run that others meet in a hook of the backend",
            lambda: _in_threads([_bound(live, number) for number in numbers]),
            times=_MANY,
        )
        if meeting.broken:
            fail(APART, "no second run can be in a hook while one is: hold no lock while the backend works")
        return lives

    def _stress(self, harness: ExtensionHarness) -> None:
        """Let threads change as often as possible."""
        harness.backend.during = lambda _: None
        errors: list[str] = []
        usual = harness.live(sample_run(999)).faults

        def live(number: int) -> None:
            for turn in range(_ROUNDS):
                run = sample_run(1000 * number + turn)
                life = harness.live(run, bounded=False)
                errors.extend(
                    f"{hook}: {fault:.200}" for hook, fault in life.faults.items() if hook not in usual
                )

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with _observer_failures() as failures:
                harness.call(
                    "a run among others",
                    lambda: _in_threads([_bound(live, number) for number in range(1, _RUNS)]),
                    times=_MANY,
                )
        finally:
            sys.setswitchinterval(interval)
        if errors or failures:
            fail(APART, f"with runs on {_RUNS - 1} threads at once, {[*errors, *failures][0]}")

    def _failing_lives(self, harness: ExtensionHarness, core: Any) -> Iterator[Life]:
        for extraction in EXTRACTIONS.values():
            harness.backend.extraction = extraction
            yield harness.live_captured(sample_run(202), core=core, final=True)

        for failing in ({"prepare_pod"}, {"extract", "dereference", "place_files", "purge"}):
            harness.backend.during = _fails_in(failing)
            yield harness.live_captured(sample_run(203), core=core)
            yield harness.live_captured(sample_run(203), core=core, final=True)


def _fails_in(hooks: Collection[str]) -> Callable[[str], None]:
    def fail_in(hook: str) -> None:
        if hook in hooks:
            raise LookupError("the suite says: away")

    return fail_in


def _must_be_quiet(secret: str, what: str, lives: Iterable[Life], plugin: object) -> None:
    for life in lives:
        for text in life.output:
            if secret in text:
                at = text.index(secret)
                shown = text[max(at - 100, 0) : at].replace("\n", " ")
                fail(QUIET, f"{what} is logged, printed or raised: {shown!r}...")
    if secret in repr(plugin) or secret in str(plugin):
        fail(QUIET, f"{what} is in the repr of the instance")


def _secrets_in(harness: ExtensionHarness) -> tuple[dict[str, Any], list[str]]:
    """Return options with a secret in each `SecretStr`, and these secrets; none if that is refused."""
    config_type = harness.extension.config_type
    config = dict(harness.config)
    with contextlib.suppress(Exception):  # a validator of the author's may raise anything
        given = config_type.model_validate(config)
        for name, option in config_type.model_fields.items():
            is_secret = _mentions(option.annotation, (SecretStr, SecretBytes))
            if is_secret and not any(_secret_texts(getattr(given, name))):
                config[option.alias or name] = _OPTION
        with harness.new_core(config):
            return config, list(_secret_texts(config_type.model_validate(config)))
    with contextlib.suppress(Exception):
        return dict(harness.config), list(_secret_texts(config_type.model_validate(harness.config)))
    return {}, []


def _secret_texts(value: Any) -> Iterator[str]:
    """Yield each secret among validated options."""
    if isinstance(value, SecretStr):
        yield from filter(None, [value.get_secret_value()])
    elif isinstance(value, SecretBytes):
        yield from filter(None, [value.get_secret_value().decode("utf-8", "replace")])
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secret_texts(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secret_texts(inner)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _secret_texts(inner)


def _mentions(annotation: Any, kinds: tuple[type, ...]) -> bool:
    return annotation in kinds or any(_mentions(inner, kinds) for inner in get_args(annotation))


def _growth(harness: ExtensionHarness) -> list[int]:
    """Return by how many bytes the memory in use grew in each of three batches of runs."""
    failed = Extraction(problems=(Problem(code=ProblemCode.TRANSPORT_CORRUPT, message="damaged"),))

    def sometimes(run: Run) -> Extraction:
        return failed if run.name.endswith("0") else EXTRACTIONS["plain"](run)

    harness.backend.extraction = sometimes
    numbers = iter(range(500_000, 600_000))

    def batch(size: int) -> int:
        for _ in range(size):
            harness.live(sample_run(next(numbers)), bounded=False)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    logging.disable(logging.CRITICAL)  # pytest keeps what is logged
    tracemalloc.start()
    try:
        sizes = [batch(_WARM), batch(_BATCH), batch(_BATCH), batch(_BATCH)]
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)
    return [after - before for before, after in itertools.pairwise(sizes)]


def _settled(allowed: Mapping[str, int] | None, seconds: float) -> Mapping[str, int]:
    """Count threads and open files; wait until they are no more than allowed, as far as time permits."""
    until = time.monotonic() + seconds
    while True:
        gc.collect()
        files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112,PTH208
        counts = {"threads": threading.active_count(), "open files": files}
        if allowed is None or all(counts[what] <= allowed[what] for what in counts):
            return counts
        if time.monotonic() >= until:
            return counts
        time.sleep(0.05)


@contextlib.contextmanager
def _observer_failures() -> Iterator[list[str]]:
    """Collect what observers raise, which the core logs."""
    failures: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                error = record.exc_info[1]
                if not isinstance(error, ResultsError):
                    failures.append(f"an observer raises {error!r:.200}")

    logger, handler = logging.getLogger("resultsfw.plugins"), Handler(logging.ERROR)
    logger.addHandler(handler)
    try:
        yield failures
    finally:
        logger.removeHandler(handler)


def _in_threads(functions: Iterable[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _bound(function: Callable[[int], None], number: int) -> Callable[[], None]:
    return lambda: function(number)
