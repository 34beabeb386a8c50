"""Extensions: who is loaded, in which order, with which options, and what becomes of one that fails."""

import logging
import textwrap

import pytest
from pydantic import BaseModel, ConfigDict

from resultsfw import (
    Capabilities,
    Core,
    Declared,
    Extraction,
    Found,
    Problem,
    ProblemCode,
    Reference,
    Run,
    Stamp,
    hookimpl,
)
from resultsfw.errors import (
    BackendError,
    BrokenExtensionError,
    ExtensionError,
    FlagError,
    UnavailableError,
    UnknownExtensionError,
)
from resultsfw.extensions import load_extensions, wrap_extension
from resultsfw.plugins import wrap_backend

RUN = Run(namespace="n", name="r", uid="u", results=(Declared(name="a"),))
STAMP = Stamp("mine", 1, 99)
VALUE = Found(name="a", value="1", source="here")

OBSERVER = """
from resultsfw import hookimpl

@hookimpl
def results_collected(run, collected):
    print("{name} saw", collected.results[0].value)
"""

WRAPPER = """
from dataclasses import replace
from pydantic import BaseModel, ConfigDict
from resultsfw import hookimpl

class Extension:
    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")
        letter: str = "?"

    def __init__(self, config):
        self.letter = config.letter

    @hookimpl(wrapper=True)
    def extract(self, run):
        found = yield
        return replace(found, found=tuple(replace(o, value=o.value + self.letter) for o in found.found))
"""


class Mine:
    """A backend whose words are given."""

    capabilities = Capabilities(summary="mine")

    def __init__(self, *found, error=None):
        self.found = found
        self.error = error

    @hookimpl
    def prepare_pod(self):
        return 1

    @hookimpl
    def pod_ready(self):
        return True

    @hookimpl
    def extract(self):
        if self.error:
            raise self.error
        return Extraction(found=self.found)

    @hookimpl
    def purge(self):
        return None


def around(backend, **extensions):
    """A core whose backend has these extensions, classes or objects, around it."""
    core = Core.from_flags({"results-from": "mine"}, register={"mine": backend})
    core.extensions = {name: wrap_extension(name, one, {}) for name, one in extensions.items()}
    hooks = {name: one.hooks for name, one in core.extensions.items()}
    core._backends["mine"] = wrap_backend("mine", backend, extensions=hooks)
    return core


def collect(core, **more):
    return core.collect(RUN, {}, None, stamp=STAMP, **more)


# Loading.


def test_only_allow_listed_extensions_are_imported_and_called_in_name_order(site):
    site.backend("mine", "from pluginsite_good import *")
    (site.path / "pluginsite_good.py").write_text(textwrap.dedent(GOOD_MODULE))
    for name in "zam":
        site.extension(name, OBSERVER.format(name=name))
    site.extension("b", "raise RuntimeError('not allowed')")
    out = site.run("""
        import sys
        from resultsfw import Core, Declared, Run, Stamp
        core = Core.from_flags({"results-from": "mine", "extensions": "Z, a,m,"})
        run = Run(namespace="n", name="r", uid="u", results=(Declared(name="a"),))
        core.collect(run, {}, None, stamp=Stamp("mine", 3, 99))
        print([n for n in sys.modules if n.startswith("ext_b")])
    """)
    assert out.splitlines() == ["a saw 1", "m saw 1", "z saw 1", "[]"]


GOOD_MODULE = """
from resultsfw import Capabilities, Extraction, Found, hookimpl
capabilities = Capabilities(summary="a good one")
@hookimpl
def prepare_pod(): return 3
@hookimpl
def pod_ready(): return True
@hookimpl
def extract(): return Extraction(found=(Found(name="a", value="1", source="here"),))
"""


def test_a_value_passes_through_wrappers_in_name_order_each_with_its_own_options(site):
    site.backend("mine", GOOD_MODULE)
    for name in "cab":
        site.extension(name, WRAPPER, target=f"ext_{name}:Extension")
    out = site.run("""
        from resultsfw import Core, Declared, Run, Stamp
        options = {"config.a": "letter: A", "config.c": "letter: C"}
        flags = {"results-from": "mine", "extensions": "b,c,a", **options}
        run = Run(namespace="n", name="r", uid="u", results=(Declared(name="a"),))
        print(Core.from_flags(flags).collect(run, {}, None, stamp=Stamp("mine", 3, 99)).results[0].value)
    """)
    assert out == "1A?C"


HEAD = "from resultsfw import hookimpl\n"
BROKEN = {
    "raises": ("raise RuntimeError('broken')", "RuntimeError: broken"),
    "exits": ("raise SystemExit", "SystemExit"),
    "misspelt": (HEAD + "@hookimpl\ndef results_colected(): pass", 'did you mean "results_collected"?'),
    "argument": (HEAD + "@hookimpl\ndef results_collected(colected): pass", "colected"),
    "plain": (HEAD + "@hookimpl\ndef extract(run): pass", "extract is the backend's"),
    "old": (HEAD + "@hookimpl(hookwrapper=True)\ndef extract(run): yield", "extract is the backend's"),
    "heard": (HEAD + "@hookimpl(wrapper=True)\ndef results_collected(): yield", "leave `wrapper=True` out"),
    "first": (HEAD + "@hookimpl(wrapper=True, tryfirst=True)\ndef extract(): return (yield)", "name order"),
    "nosy": (HEAD + "@hookimpl(wrapper=True)\ndef extract(config): return (yield)", "which is the backend's"),
    "empty": ("x = 1", "implements no hook"),
    "version": (HEAD + "api_version = 9\n@hookimpl\ndef results_collected(): pass", "API version 9"),
    "dict": ("Config = {}", "no pydantic model"),
    "module": (
        HEAD
        + "from pydantic import BaseModel, ConfigDict\nclass Config(BaseModel):\n"
        + "    model_config = ConfigDict(extra='forbid')\n@hookimpl\ndef results_collected(): pass",
        "it must be a class",
    ),
}


def test_an_allow_listed_extension_that_is_broken_stops_the_start_with_all_that_is_known(site):
    """Distribution, version, target, file and reason; each is tried, none is left out in silence."""
    for name, (text, _) in BROKEN.items():
        site.extension(name, text)
    out = site.run(f"""
        from resultsfw import Core
        from resultsfw.errors import BrokenExtensionError
        for name in {list(BROKEN)!r}:
            try:
                Core.from_flags({{}}, extensions=[name])
            except BrokenExtensionError as error:
                assert error.subject == name
                print(error.message)
    """)
    for line, (name, (_, reason)) in zip(out.splitlines(), BROKEN.items(), strict=True):
        file = site.path / f"ext_{name}.py"
        who = f'extension "{name}" (dist-ext-{name} 0.3, ext_{name}, {file}) cannot be used: '
        assert line.startswith(who), line
        assert reason in line, line


def test_a_broken_extension_that_nobody_lists_is_no_matter(site):
    site.extension("bad", "raise RuntimeError")
    assert site.run("from resultsfw import Core; print(Core.from_flags({}).extensions)") == "{}"


def test_an_unknown_extension_is_refused_with_the_nearest(site):
    site.extension("watcher", OBSERVER)
    out = site.run("""
        from resultsfw import Core
        from resultsfw.errors import UnknownExtensionError
        try:
            Core.from_flags({"extensions": "wacher"})
        except UnknownExtensionError as error:
            print(error.subject, error.message)
    """)
    assert out.startswith('wacher invalid value for feature flag "extensions": "wacher" is no installed')
    assert out.endswith('did you mean "watcher"?')
    with pytest.raises(UnknownExtensionError):
        load_extensions(["nothing"])


def test_an_extension_that_two_distributions_claim_is_refused_with_both(site):
    site.extension("twice", OBSERVER)
    site.install("other", "7", "[resultsfw.extensions]\ntwice = ext_other\n", {"ext_other": OBSERVER})
    out = site.run("""
        from resultsfw.errors import BrokenExtensionError
        from resultsfw.extensions import load_extensions
        try:
            load_extensions(["twice"])
        except BrokenExtensionError as error:
            print(error.message)
    """)
    assert "claimed by more than one distribution: dist-ext-twice 0.3, " in out
    assert "other 7, ext_other" in out


def test_no_extension_is_loaded_where_none_is_allowed():
    assert load_extensions([]) == {}


class Options(BaseModel):
    """With one."""

    model_config = ConfigDict(extra="forbid")
    number: int = 3


class Made:
    """Made with its options."""

    Config = Options

    def __init__(self, config):
        self.number = config.number

    @hookimpl
    def results_collected(self):
        assert self.number


@pytest.mark.parametrize(
    ("options", "said"), [({"numbr": 1}, "numbr: Extra inputs"), ({"number": "x"}, "number: Input should be")]
)
def test_options_are_refused_by_their_key(options, said):
    with pytest.raises(FlagError, match=said) as told:
        wrap_extension("made", Made, options)
    assert told.value.subject == "config.made"


def test_options_for_one_that_has_none_are_refused():
    with pytest.raises(FlagError, match="number: Extra inputs"):
        wrap_extension("watcher", Watcher, {"number": 3})


def test_a_name_cannot_be_a_backends_and_an_extensions():
    with pytest.raises(FlagError, match=r'"config[.]termination-message" cannot be for both'):
        Core.from_flags({"extensions": "termination-message"})


# Observers.


class Watcher:
    """An observer that remembers what it saw."""

    def __init__(self, error=None):
        self.seen = []
        self.error = error

    def see(self, *what):
        self.seen.append(what)
        if self.error:
            raise self.error

    @hookimpl
    def results_collected(self, collected):
        self.see("collected", [one.name for one in collected.results])

    @hookimpl
    def collection_failed(self, run, problems):
        self.see("failed", run.name, [str(one.code) for one in problems])


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3)], ids=repr)
def test_a_failing_observer_is_logged_and_the_others_still_hear(error, caplog):
    watchers = {"b": Watcher(error), "a": Watcher(), "c": Watcher()}
    with caplog.at_level(logging.ERROR, "resultsfw"):
        assert collect(around(Mine(VALUE), **watchers)).ok
    assert all(one.seen == [("collected", ["a"])] for one in watchers.values())
    [record] = caplog.records
    assert "extension b" in record.getMessage()
    assert "results_collected" in record.getMessage()


def test_observers_hear_of_failures():
    watcher = Watcher()
    collect(around(Mine(Found(name="a", value="x" * 100, source="here")), w=watcher))
    assert watcher.seen == [("failed", "r", ["ResultTooLarge"])]


def test_an_observer_withholds_nothing():
    assert around(Mine(VALUE), w=Watcher()).withholds == ()


# Wrappers.


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
    with pytest.raises(ExtensionError, match=f'extension "bad" failed in extract: {why}') as told:
        collect(core)
    assert told.value.subject == "bad"
    assert isinstance(told.value, BackendError)
    collected = collect(core, final=True)
    assert not collected.results
    assert f'extension "bad" failed in extract: {why}' in collected.problems[0].message
    assert "inner" not in collected.problems[0].message
    assert any("'bad'" in one.getMessage() for one in caplog.records)


@pytest.mark.parametrize("hook", ["prepare_pod", "pod_ready", "purge"])
def test_a_wrapper_of_any_hook_that_fails_is_named(hook):
    class Outside(Mine):
        capabilities = Capabilities(summary="outside", outside="owned")

    core = around(Outside(VALUE), bad=wrapper(after, hook))
    calls = {
        "prepare_pod": lambda: core.prepare_pod(RUN, {}, cluster=object()),
        "pod_ready": lambda: core.ready(RUN, {}, stamp=STAMP),
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
    with pytest.raises(BackendError, match='backend "mine" failed in extract: KeyError'):
        collect(core)
    core = around(Mine(error=UnavailableError("away")), t=wrapper(tells))
    with pytest.raises(UnavailableError, match=r"^told: away"):
        collect(core)


def test_a_wrapper_cannot_change_the_wire_version():
    def other(self):
        return (yield) + 1

    with pytest.raises(ExtensionError, match="changed the wire version"):
        around(Mine(), w=wrapper(other, "prepare_pod")).prepare_pod(RUN, {})


def test_a_wrapper_may_change_the_pod_and_sees_run_and_limits():
    def marks(self, run, pod, limits):
        wire = yield
        pod["marked"] = (run.name, limits.result)
        return wire

    pod = around(Mine(), w=wrapper(marks, "prepare_pod")).prepare_pod(RUN, {})
    assert pod["marked"] == ("r", 4096)


def test_what_a_wrapper_changes_is_judged_as_what_the_backend_says():
    def grows(self):
        found = yield
        problem = Problem(code=ProblemCode.WITHHELD, message="no", result="b")
        more = Found(name="a", value="y" * 100, source="here")
        return Extraction(found=(*found.found, more), problems=(problem,))

    collected = collect(around(Mine(VALUE), w=wrapper(grows)))
    assert [one.code for one in collected.problems] == ["Withheld", "ResultTooLarge"]


def test_who_changes_results_has_messages_withheld_and_who_says_no_is_held_to_it():
    def changes(self):
        yield
        return Extraction()

    assert around(Mine(VALUE), w=wrapper(changes)).withholds == ("w",)
    core = around(Mine(VALUE), w=wrapper(changes, changes_results=False))
    assert core.withholds == ()
    with pytest.raises(ExtensionError, match="says changes_results = False and changed them"):
        collect(core)


class Keeper(Mine):
    """Hands out references."""

    capabilities = Capabilities(summary="keeps", by="reference")

    @hookimpl
    def dereference(self):
        yield b"va"
        if self.error:
            raise self.error
        yield b"lue"


def dereferenced(body, error=None):
    digest = "sha256:cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619"
    reference = Reference(backend="mine", location="l", size=5, digest=digest)
    return b"".join(around(Keeper(error=error), w=wrapper(body, "dereference")).dereference(reference, None))


def test_pieces_pass_through_a_wrapper_and_what_fails_between_them_is_named():
    def maps(self):
        pieces = yield
        return (one for one in pieces)

    def fails(self):
        pieces = yield

        def some():
            yield next(iter(pieces))
            raise KeyError("x")

        return some()

    assert dereferenced(maps) == b"value"
    with pytest.raises(ExtensionError, match='extension "w" failed in dereference: KeyError'):
        dereferenced(fails)
    with pytest.raises(BackendError, match='backend "mine" failed in dereference: LookupError'):
        dereferenced(maps, LookupError("x"))
    with pytest.raises(ExtensionError, match="failed in dereference: TypeError"):
        dereferenced(nothing)


def test_two_runs_at_once_never_meet_in_a_wrapper():
    """What it holds of a run is in its generator, and there is one for each call."""

    def nests(self, run):
        if run.name == "outer":
            inner = core.collect(
                Run(namespace="n", name="inner", uid="v", results=RUN.results), {}, None, stamp=STAMP
            )
            assert inner.results[0].value == "1-inner"
        found = yield
        one = found.found[0]
        return Extraction(found=(Found(name=one.name, value=f"{one.value}-{run.name}", source="w"),))

    core = around(Mine(VALUE), w=wrapper(nests))
    outer = Run(namespace="n", name="outer", uid="u", results=RUN.results)
    assert core.collect(outer, {}, None, stamp=STAMP).results[0].value == "1-outer"


def test_a_broken_extension_by_hand_says_so():
    with pytest.raises(BrokenExtensionError, match=r"registered by hand, .*test_extensions[.]py"):
        wrap_extension("x", Options())
