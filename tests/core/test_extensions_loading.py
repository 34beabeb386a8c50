"""Which extensions are loaded, in which order, with which options, and how a broken one is refused."""

import textwrap

import pytest
from extensions_harness import Watcher
from pydantic import BaseModel, ConfigDict

from resultsfw import (
    Permission,
    ResultsManager,
    hookimpl,
)
from resultsfw.errors import (
    BrokenExtensionError,
    FlagError,
    UnknownExtensionError,
)
from resultsfw.extensions import load_extensions, make_extension

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
        return replace(found, results=tuple(replace(o, value=o.value + self.letter) for o in found.results))
"""


@pytest.mark.parametrize("permissions", [["x"], ("get pods",), "get pods/log", 7])
def test_permissions_of_another_type_are_refused(permissions):
    plugin = type("Asks", (Watcher,), {"permissions": permissions})
    with pytest.raises(BrokenExtensionError, match="`permissions` is not a tuple of Permission"):
        make_extension("asks", plugin, {})


def test_permissions_are_known_when_it_is_loaded():
    permission = Permission(verb="get", resource="pods/log", why="to read")
    plugin = type("Asks", (Watcher,), {"permissions": (permission,)})
    assert make_extension("asks", plugin, {}).permissions == (permission,)
    assert make_extension("watches", Watcher, {}).permissions == ()


def test_only_allow_listed_extensions_are_imported_and_called_in_name_order(site):
    site.backend("mine", "from pluginsite_good import *")
    (site.path / "pluginsite_good.py").write_text(textwrap.dedent(GOOD_MODULE))
    for name in "zam":
        site.extension(name, OBSERVER.format(name=name))
    site.extension("b", "raise RuntimeError('not allowed')")
    out = site.run("""
        import sys
        from resultsfw import ResultsManager, ResultSpec, Run, Stamp
        core = ResultsManager.from_flags({"results-from": "mine", "extensions": "Z, a,m,"})
        run = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="a"),))
        core.collect(run, {}, None, stamp=Stamp("mine", 3, 99))
        print([n for n in sys.modules if n.startswith("ext_b")])
    """)
    assert out.splitlines() == ["a saw 1", "m saw 1", "z saw 1", "[]"]


GOOD_MODULE = """
from resultsfw import Capabilities, Extraction, ExtractedResult, hookimpl
capabilities = Capabilities(summary="a good one")
@hookimpl
def prepare_pod(): return 3
@hookimpl
def pod_ready(): return True
@hookimpl
def extract(): return Extraction(results=(ExtractedResult(name="a", value="1", source="here"),))
"""


def test_a_value_passes_through_wrappers_in_name_order_each_with_its_own_options(site):
    site.backend("mine", GOOD_MODULE)
    for name in "cab":
        site.extension(name, WRAPPER, target=f"ext_{name}:Extension")
    out = site.run("""
        from resultsfw import ResultsManager, ResultSpec, Run, Stamp
        options = {"config.a": "letter: A", "config.c": "letter: C"}
        flags = {"results-from": "mine", "extensions": "b,c,a", **options}
        run = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="a"),))
        core = ResultsManager.from_flags(flags)
        print(core.collect(run, {}, None, stamp=Stamp("mine", 3, 99)).results[0].value)
    """)
    assert out == "1A?C"


HEAD = "from resultsfw import hookimpl\n"
BROKEN = {
    "raises": ("raise RuntimeError('broken')", "RuntimeError: broken"),
    "exits": ("raise SystemExit", "SystemExit"),
    "misspelt": (HEAD + "@hookimpl\ndef results_colected(): pass", 'did you mean "results_collected"?'),
    "argument": (HEAD + "@hookimpl\ndef results_collected(colected): pass", "colected"),
    "plain": (HEAD + "@hookimpl\ndef extract(run): pass", "extract is a hook of backends"),
    "old": (HEAD + "@hookimpl(hookwrapper=True)\ndef extract(run): yield", "extract is a hook of backends"),
    "heard": (HEAD + "@hookimpl(wrapper=True)\ndef results_collected(): yield", "remove `wrapper=True`"),
    "first": (HEAD + "@hookimpl(wrapper=True, tryfirst=True)\ndef extract(): return (yield)", "name order"),
    "nosy": (HEAD + "@hookimpl(wrapper=True)\ndef extract(config): return (yield)", "which is the backend's"),
    "empty": ("x = 1", "implements no hook"),
    "version": (HEAD + "api_version = 9\n@hookimpl\ndef results_collected(): pass", "API version 9"),
    "dict": ("Config = {}", "not a pydantic model"),
    "module": (
        HEAD
        + "from pydantic import BaseModel, ConfigDict\nclass Config(BaseModel):\n"
        + "    model_config = ConfigDict(extra='forbid')\n@hookimpl\ndef results_collected(): pass",
        "it must be a class",
    ),
}


@pytest.mark.slow
def test_an_allow_listed_extension_that_is_broken_stops_the_start_with_all_that_is_known(site):
    """Distribution, version, target, file and reason; each is tried, none is left out in silence."""
    for name, (text, _) in BROKEN.items():
        site.extension(name, text)
    out = site.run(f"""
        from resultsfw import ResultsManager
        from resultsfw.errors import BrokenExtensionError
        for name in {list(BROKEN)!r}:
            try:
                ResultsManager.from_flags({{}}, extensions=[name])
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
    assert (
        site.run("from resultsfw import ResultsManager; print(ResultsManager.from_flags({}).extensions)")
        == "{}"
    )


def test_an_unknown_extension_is_refused_with_the_nearest(site):
    site.extension("watcher", OBSERVER)
    out = site.run("""
        from resultsfw import ResultsManager
        from resultsfw.errors import UnknownExtensionError
        try:
            ResultsManager.from_flags({"extensions": "wacher"})
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
    ("options", "said"),
    [({"numbr": 1}, "numbr: is no option; did you"), ({"number": "x"}, "number: Input should be")],
)
def test_options_are_refused_by_their_key(options, said):
    with pytest.raises(FlagError, match=said) as told:
        make_extension("made", Made, options)
    assert told.value.subject == "config.made"


def test_options_for_one_that_has_none_are_refused():
    with pytest.raises(FlagError, match="number: is no option"):
        make_extension("watcher", Watcher, {"number": 3})


def test_a_name_cannot_be_a_backends_and_an_extensions():
    with pytest.raises(FlagError, match=r'"config[.]termination-message" cannot be for both'):
        ResultsManager.from_flags({"extensions": "termination-message"})


def test_a_broken_extension_by_hand_says_so():
    with pytest.raises(BrokenExtensionError, match=r"registered by hand, .*test_extensions_loading[.]py"):
        make_extension("x", Options())


def test_options_of_an_extension_that_is_not_enabled_are_warned_about():
    warned = ResultsManager.from_flags({"config.redact": "patterns: {aws: AKIA}"}).warnings()
    [line] = warned
    assert line == (
        'feature-flags: "config.redact" has no effect: add the extension to the feature flag "extensions" to '
        "enable it"
    )
    assert not ResultsManager.from_flags(
        {"config.redact": "patterns: {aws: AKIA}", "extensions": "redact"}
    ).warnings()
