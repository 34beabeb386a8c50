"""Extensions by hand, and when an instance is closed: once, when no call uses it any more."""

# ruff: noqa: ARG005 - lambdas have the arguments that are tested

import asyncio
import logging
import threading

import pytest
from extensions_harness import RUN, STAMP, VALUE, Mine, Watcher, collect
from pydantic import BaseModel, ConfigDict

from resultsfw import Capabilities, Reference, ResultsManager, hookimpl
from resultsfw.errors import BrokenBackendError, BrokenExtensionError, FlagError
from resultsfw.extensions import make_extension


class Options(BaseModel):
    """With one option."""

    model_config = ConfigDict(extra="forbid")
    number: int = 3


class Closing:
    """Remembers its instances and what became of them."""

    Config = Options
    made = ()

    def __init__(self, config):
        self.number = config.number
        self.closed = threading.Event()
        self.during = lambda: None
        self.made.append(self)

    @hookimpl
    def results_collected(self):
        self.during()

    @hookimpl
    def close(self):
        assert not self.closed.is_set()
        self.closed.set()


@pytest.fixture
def closing():
    return type("Fresh", (Closing,), {"made": []})


def manager(extension, backend=None, **flags):
    return ResultsManager.from_flags(
        {"results-from": "mine", **flags},
        register={"mine": Mine(VALUE) if backend is None else backend},
        register_extensions={"own": extension},
    )


def test_an_extension_by_hand_is_enabled_and_gets_its_options(closing):
    core = manager(closing, **{"config.own": "number: 8", "extensions": "own"})
    assert [instance.number for instance in closing.made] == [8]
    assert list(core.extensions) == ["own"]
    assert core.warnings() == ()
    with pytest.raises(FlagError, match=r"config[.]own.*numbr"):
        manager(closing, **{"config.own": "numbr: 8"})


def test_an_object_by_hand_sees_what_is_collected_and_is_left_to_who_made_it(closing):
    watcher = Watcher()
    with manager(watcher) as core:
        assert collect(core).ok
    assert watcher.seen == [("collected", ["a"])]
    mine = closing(Options())
    manager(mine).close()
    assert not mine.closed.is_set()
    with pytest.raises(BrokenExtensionError, match=r"it must be a class, to be created with config[.]own"):
        manager(mine, **{"config.own": "number: 8"})


def test_no_extension_by_hand_has_a_backends_name(closing):
    with pytest.raises(FlagError, match=r'"mine" is the name of a backend and of an extension'):
        ResultsManager.from_flags({}, register={"mine": Mine}, register_extensions={"mine": closing})


def test_closing_closes_once(closing):
    core = manager(closing)
    core.close()
    core.close()
    (instance,) = closing.made
    assert instance.closed.is_set()
    with pytest.raises(RuntimeError, match="this ResultsManager is closed"):
        collect(core)


def test_a_running_call_keeps_it_open(closing):
    core = manager(closing)
    (instance,) = closing.made
    open_during = []

    def closes():
        core.close()
        open_during.append(not instance.closed.is_set())

    instance.during = closes
    assert collect(core).ok
    assert open_during == [True]
    assert instance.closed.wait(10)


def test_a_value_that_is_being_read_keeps_it_open(closing):
    class Keeper(Mine):
        capabilities = Capabilities(summary="keeps", delivery="reference")

        @hookimpl
        def dereference(self):
            yield b"va"
            yield b"lue"

    core = manager(closing, Keeper())
    digest = "sha256:cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619"
    pieces = core.dereference(Reference(backend="mine", location="n/u/a", size=5, digest=digest), None)
    next(pieces)
    core.close()
    (instance,) = closing.made
    assert not instance.closed.is_set()
    assert list(pieces) == [b"lue"]
    assert instance.closed.wait(10)


def test_one_that_fails_or_never_returns_hinders_nobody(closing, caplog):
    hold = threading.Event()

    def bad(what):
        return type("Bad", (), {"results_collected": hookimpl(lambda self: None), "close": hookimpl(what)})

    def fails(self):
        raise asyncio.CancelledError

    def hangs(self):
        hold.wait(60)

    core = ResultsManager.from_flags(
        {"results-from": "mine"},
        register={"mine": Mine},
        register_extensions={"a": bad(fails), "b": closing, "c": bad(hangs)},
    )
    try:
        with caplog.at_level(logging.WARNING, "resultsfw"):
            core.close(0.01)
            assert closing.made[0].closed.wait(10)
        texts = [record.getMessage() for record in caplog.records]
        assert "extension 'a' failed in close; it is ignored" in texts
        assert any("not closed after 0.01 s" in text for text in texts)
    finally:
        hold.set()


def test_what_was_created_is_closed_if_the_manager_cannot_be_made(closing):
    with pytest.raises(BrokenExtensionError):
        ResultsManager.from_flags({}, register_extensions={"a": closing, "b": object()})
    assert closing.made[0].closed.wait(10)
    with pytest.raises(BrokenBackendError):
        ResultsManager.from_flags(
            {"results-from": "bad"}, register={"bad": object()}, register_extensions={"a": closing}
        )
    assert closing.made[1].closed.wait(10)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (
            {
                "close": hookimpl(wrapper=True)(lambda self: (yield)),
                "results_collected": hookimpl(lambda self: None),
            },
            "close is no hook of backends",
        ),
        ({"close": hookimpl(lambda self: None)}, "implements no hook but close"),
        ({"close": hookimpl(lambda self, run: None)}, r'"close" has no argument "run" .its arguments: none'),
        (
            {"changes_results": "no", "extract": hookimpl(wrapper=True)(lambda self: (yield))},
            "`changes_results` is 'no'",
        ),
        (
            {"__init__": lambda self, one, two: None},
            r"constructor takes .one, two., and is called with no arg",
        ),
        (
            {"Config": Options, "results_collected": hookimpl(lambda self: None)},
            "constructor takes ..*, and is called with one argument, its `Config`",
        ),
    ],
)
def test_what_cannot_be_an_extension_is_refused(attributes, reason):
    with pytest.raises(BrokenExtensionError, match=reason):
        make_extension("x", type("Wrong", (), attributes), {})


def test_a_module_of_an_entry_point_is_never_closed_and_so_may_not_ask_for_it(closing):
    with pytest.raises(BrokenExtensionError, match="it implements close and is no class"):
        make_extension("x", closing(Options()), origin="some distribution")


def test_a_backend_is_never_closed_and_so_may_not_ask_for_it():
    backend = type("Closes", (Mine,), {"close": hookimpl(lambda self: None)})
    with pytest.raises(BrokenBackendError, match="close is a hook of extensions"):
        ResultsManager.from_flags({"results-from": "x"}, register={"x": backend})


def test_a_wrong_argument_is_answered_with_those_of_the_hook():
    backend = type("Wrong", (Mine,), {"extract": hookimpl(lambda self, rn: None)})
    arguments = r"\(its arguments: run, pod, cluster, limits, config, wire.*\)"
    with pytest.raises(BrokenBackendError, match=f'no argument "rn"; did you mean "run"\\? {arguments}'):
        ResultsManager.from_flags({"results-from": "x"}, register={"x": backend})
    needs = type("Needs", (Mine,), {"__init__": lambda self, address: None})
    with pytest.raises(BrokenBackendError, match=r"constructor takes \(address\), and is called with no arg"):
        ResultsManager.from_flags({"results-from": "x"}, register={"x": needs})


def test_a_closed_manager_is_no_place_for_a_run(closing):
    core = manager(closing)
    core.close()
    for call in (
        lambda: core.prepare_pod(RUN, {}),
        lambda: core.is_ready(RUN, {}, stamp=STAMP),
        lambda: core.purge(RUN, {}, None, backend="mine"),
    ):
        with pytest.raises(RuntimeError, match="is closed"):
            call()
