"""Wrappers: what they may change, and that one that fails fails the run by its own name."""

from dataclasses import replace

import pytest
from extensions_harness import POD, RUN, STAMP, VALUE, Mine, around, collect

from resultsfw import (
    Capabilities,
    ExtractedResult,
    Extraction,
    Problem,
    ProblemCode,
    Reference,
    Run,
    hookimpl,
)
from resultsfw.errors import (
    BackendError,
    ExtensionError,
    UnavailableError,
)


def wrapper(body, hook="extract", **attributes):
    """An extension that wraps one hook; ``body`` is the generator function."""
    return type("Wrapper", (), {hook: hookimpl(wrapper=True)(body), **attributes})()


def passes(self):
    return (yield)


def before(self):
    raise KeyError("inner")
    yield


def after(self):
    yield
    raise KeyError("inner")


def twice(self):
    yield
    yield


def nothing(self):
    yield


def leaves(self):
    if VALUE is None:
        yield


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (before, "KeyError"),
        (after, "KeyError"),
        (twice, "it yields twice"),
        (nothing, "it returned NoneType where the backend returned Extraction"),
        (leaves, "it returned NoneType where the backend returned Extraction"),
    ],
)
def test_a_wrapper_that_fails_fails_as_the_backend_does_by_its_own_name(body, why, caplog):
    """A redaction that fails open would let secrets through."""
    core = around(Mine(VALUE), bad=wrapper(body), good=wrapper(passes))
    collected = collect(core)  # not the last attempt: but another one would end the same way
    assert not collected.results
    assert collected.problems[0].code == "BackendFaulty"
    assert f'extension "bad" failed in extract: {why}' in collected.problems[0].message
    assert "inner" not in collected.problems[0].message
    assert any("'bad'" in record.getMessage() for record in caplog.records)


def test_a_wrapper_that_cannot_reach_something_is_asked_again():
    def away(self):
        yield
        raise ConnectionError("inner")

    core = around(Mine(VALUE), bad=wrapper(away))
    with pytest.raises(ExtensionError, match='extension "bad" failed in extract: ConnectionError') as raised:
        collect(core)
    assert raised.value.subject == "bad"
    assert isinstance(raised.value, BackendError)


def test_what_an_extension_makes_of_a_result_is_checked_again():
    def encodes(self):
        found = yield
        return replace(found, results=tuple(replace(result, value=b"inner") for result in found.results))

    [problem] = collect(around(Mine(VALUE), bad=wrapper(encodes))).problems
    assert problem.message.startswith(
        'the results could not be read: an extension ("bad") made of what extract'
    )
    assert "results[0].value: it is a value of type bytes" in problem.message


@pytest.mark.parametrize("hook", ["prepare_pod", "pod_ready", "purge"])
def test_a_wrapper_of_any_hook_that_fails_is_named(hook):
    class Outside(Mine):
        capabilities = Capabilities(summary="outside", external_state="owned")

        @hookimpl
        def purge(self):
            pass

    core = around(Outside(VALUE), bad=wrapper(after, hook))
    calls = {
        "prepare_pod": lambda: core.prepare_pod(RUN, POD, cluster=object()),
        "pod_ready": lambda: core.is_ready(RUN, {}, stamp=STAMP),
        "purge": lambda: core.purge(RUN, {}, None, backend="mine"),
    }
    with pytest.raises(ExtensionError, match=f'extension "bad" failed in {hook}: KeyError'):
        calls[hook]()


def test_what_the_backend_raises_is_the_backends_and_no_wrapper_can_hide_it():
    """Else a failed read would be a run that succeeded without results (guarantee 0)."""

    def hides(self):
        try:
            return (yield)
        except Exception:  # noqa: BLE001 - such an extension is what this is about
            return Extraction()

    def tells(self):
        try:
            return (yield)
        except UnavailableError as error:
            raise UnavailableError(f"told: {error.message}") from error

    core = around(Mine(error=UnavailableError("away")), h=wrapper(hides))
    with pytest.raises(UnavailableError, match=r"^away"):
        collect(core)
    core = around(Mine(error=KeyError("x")), h=wrapper(hides), i=wrapper(passes))
    assert 'backend "mine" failed in extract: KeyError' in collect(core).problems[0].message
    core = around(Mine(error=UnavailableError("away")), t=wrapper(tells))
    with pytest.raises(UnavailableError, match=r"^told: away"):
        collect(core)


def test_a_wrapper_cannot_change_the_wire_version():
    def other(self):
        return (yield) + 1

    with pytest.raises(ExtensionError, match="changed the wire version"):
        around(Mine(), w=wrapper(other, "prepare_pod")).prepare_pod(RUN, POD)


def test_a_wrapper_may_change_the_pod_and_sees_run_and_limits():
    def marks(self, run, pod, limits):
        wire = yield
        pod["marked"] = (run.name, limits.result_bytes)
        return wire

    pod = around(Mine(), w=wrapper(marks, "prepare_pod")).prepare_pod(RUN, POD)
    assert pod["marked"] == ("r", 4096)


def test_what_a_wrapper_changes_is_judged_as_what_the_backend_says():
    def grows(self):
        found = yield
        problem = Problem(code=ProblemCode.WITHHELD, message="no", result="b")
        more = ExtractedResult(name="a", value="y" * 100, source="here")
        return Extraction(results=(*found.results, more), problems=(problem,))

    collected = collect(around(Mine(VALUE), w=wrapper(grows)))
    assert [problem.code for problem in collected.problems] == ["Withheld", "ResultTooLarge"]


def test_who_changes_results_has_messages_withheld_and_who_says_no_is_held_to_it():
    def changes(self):
        yield
        return Extraction()

    assert around(Mine(VALUE), w=wrapper(changes)).redacting_extensions == ("w",)
    core = around(Mine(VALUE), w=wrapper(changes, changes_results=False))
    assert core.redacting_extensions == ()
    assert "says changes_results = False and changed them" in collect(core).problems[0].message


class Keeper(Mine):
    """Hands out references."""

    capabilities = Capabilities(summary="keeps", delivery="reference")

    @hookimpl
    def dereference(self):
        yield b"va"
        if self.error:
            raise self.error
        yield b"lue"

    @hookimpl
    def decrypt(self, pieces):
        yield from pieces


def dereferenced(body, hook, error=None):
    digest = "sha256:cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619"
    encryption = "v1.key" if hook == "decrypt" else ""
    reference = Reference(
        backend="mine", location="default/uid/l", size=5, digest=digest, encryption=encryption
    )
    return b"".join(around(Keeper(error=error), w=wrapper(body, hook)).dereference(reference, None))


@pytest.mark.parametrize("hook", ["dereference", "decrypt"])
def test_pieces_pass_through_a_wrapper_and_what_fails_between_them_is_named(hook):
    def maps(self):
        pieces = yield
        return (piece for piece in pieces)

    def fails(self):
        pieces = yield

        def some():
            yield next(iter(pieces))
            raise KeyError("x")

        return some()

    assert dereferenced(maps, hook) == b"value"
    with pytest.raises(ExtensionError, match=f'extension "w" failed in {hook}: KeyError'):
        dereferenced(fails, hook)
    with pytest.raises(BackendError, match='backend "mine" failed in dereference: LookupError'):
        dereferenced(maps, hook, LookupError("x"))
    with pytest.raises(ExtensionError, match=f"failed in {hook}: TypeError"):
        dereferenced(nothing, hook)


def test_two_runs_at_once_never_meet_in_a_wrapper():
    """What it holds of a run is in its generator, and there is one for each call."""

    def nests(self, run):
        if run.name == "outer":
            inner = core.collect(
                Run(namespace="n", name="inner", uid="v", results=RUN.results), {}, None, stamp=STAMP
            )
            assert inner.results[0].value == "1-inner"
        found = yield
        result = found.results[0]
        return Extraction(
            results=(ExtractedResult(name=result.name, value=f"{result.value}-{run.name}", source="w"),)
        )

    core = around(Mine(VALUE), w=wrapper(nests))
    outer = Run(namespace="n", name="outer", uid="u", results=RUN.results)
    assert core.collect(outer, {}, None, stamp=STAMP).results[0].value == "1-outer"
