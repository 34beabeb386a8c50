"""Finding, checking and loading plugins: real distributions made on the fly, each in a process of its own."""

import json
import textwrap
from pathlib import Path

import pytest
from pluginsite import BROKEN, GOOD, Site
from pydantic import BaseModel, ConfigDict

from resultsfw import (
    Capabilities,
    ExtractedResult,
    Extraction,
    ResultsManager,
    ResultSpec,
    Run,
    Stamp,
    Step,
    hookimpl,
)
from resultsfw.errors import BackendError, BrokenBackendError, UnknownBackendError
from resultsfw.flags import DEFAULT_BACKEND
from resultsfw.plugins import installed_plugins, load_backend, make_backend

ROOT = Path(__file__).parents[2]

# Listing.


def test_listing_names_imports_nothing_and_tells_who_brings_them(site):
    site.backend("mine", "raise SystemExit('imported')")
    site.install("ext", "3", "[resultsfw.extensions]\nwatch = plugin_x:Y\n", {"plugin_x": "1 / 0"})
    out = site.run("""
        import json, sys
        from resultsfw.plugins import EXTENSIONS, installed_plugins
        backends = [(i.name, i.target, i.distribution, i.version) for i in installed_plugins()]
        others = [(i.name, i.target, i.distribution, i.version) for i in installed_plugins(EXTENSIONS)]
        foreign = ("plugin_", "resultsfw_backends", "resultsfw_extensions")
        imported = [name for name in sys.modules if name.startswith(foreign)]
        print(json.dumps([backends, others, imported]))
    """)
    backends, others, imported = json.loads(out)
    assert ["mine", "plugin_mine", "dist-mine", "1.2"] in backends
    assert {name for name, *_ in backends} >= {"mine", "sidecar-logs", "termination-message"}
    assert ["watch", "plugin_x:Y", "ext", "3"] in others
    assert {name for name, *_ in others} == {"opentelemetry", "redact", "signed", "watch"}
    assert imported == []


def test_the_built_in_backends_stand_where_a_strangers_do():
    ours = {
        plugin.name: plugin.target for plugin in installed_plugins() if plugin.distribution == "resultsfw"
    }
    assert ours.keys() == {
        "config-map",
        "custom-resource",
        "http",
        "object-store",
        "oci",
        "pvc",
        "self-update",
        "sidecar-logs",
        "termination-message",
    }
    for name, target in ours.items():
        assert target == f"resultsfw_backends.{name.replace('-', '_')}"


def test_what_an_interrupted_pip_leaves_behind_is_no_obstacle(site):
    (site.path / "~esultsfw-0.1.dist-info").mkdir()
    (site.path / "~ther-0.1.dist-info").mkdir()
    assert "sidecar-logs" in site.run("""
        from resultsfw.plugins import installed_plugins, load_backend
        load_backend("termination-message")
        print([plugin.name for plugin in installed_plugins()])
    """)


def test_a_distribution_without_metadata_is_listed_as_nameless(site):
    """Where a name is missing, Python 3.12 warns of it, and a later one will raise."""
    folder = site.path / "~roken-0.1.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text("[resultsfw.backends]\nleft-over = nowhere\n")
    assert (
        site.run("""
        from resultsfw.plugins import installed_plugins
        found = [plugin for plugin in installed_plugins() if plugin.name == "left-over"]
        print([(plugin.distribution, plugin.version) for plugin in found])
    """)
        == "[('nameless', 'unknown')]"
    )


def test_of_a_distribution_on_the_path_twice_the_first_counts(site, tmp_path):
    site.backend("mine", GOOD, dist="some_dist", version="2")
    older = tmp_path / "older"
    older.mkdir()
    Site(older).backend("mine", GOOD, dist="Some-Dist", version="1")
    out = site.run(f"""
        import sys
        sys.path.append({str(older)!r})
        from resultsfw.plugins import installed_plugins, load_backend
        found = [plugin for plugin in installed_plugins() if plugin.name == "mine"]
        print([(plugin.distribution, plugin.version) for plugin in found])
        load_backend("mine")
    """)
    assert out == "[('some_dist', '2')]"


# Loading.


def test_a_strangers_backend_is_loaded_by_name_and_no_other_is_imported(site):
    site.backend("mine", GOOD)
    site.backend("broken", "raise RuntimeError('never import me')")
    out = site.run("""
        import sys
        from resultsfw import ResultsManager, ResultSpec, Run
        flags = {"results-from": "mine", "allowed-results-from": "broken, sidecar-logs"}
        core = ResultsManager.from_flags(flags)
        run = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="a"),))
        pod = core.prepare_pod(run, {"spec": {"volumes": [{"name": "tekton-internal-results"}]}})
        print(pod["metadata"]["annotations"]["resultsfw.dev/stamp"])
        print(core.collect(run, pod, None).results[0].value)
        print([n for n in sys.modules if n.startswith(("plugin_", "resultsfw_backends"))])
    """)
    assert out.splitlines() == ["mine/3", "1", "['plugin_mine']"]


@pytest.mark.slow
def test_a_backend_installed_while_we_run_is_found(site):
    """Stevedore keeps what it once saw, in memory and on disk."""
    site.run("from resultsfw.plugins import load_backend; load_backend('termination-message')")
    site.backend("other", GOOD, target="plugin_gone")
    out = site.run(f"""
        import sys
        sys.path.remove({str(site.path)!r})
        from resultsfw.plugins import load_backend
        load_backend("termination-message")
        sys.path.insert(0, {str(site.path)!r})
        points = "[resultsfw.backends]\\nother = plugin_other\\n"
        open({str(site.path / "dist_other-1.2.dist-info/entry_points.txt")!r}, "w").write(points)
        print(load_backend("other").capabilities.summary)
    """)
    assert out == "a good one"


@pytest.mark.slow
def test_a_broken_backend_is_refused_with_distribution_version_target_and_reason(site):
    for name, (text, _) in BROKEN.items():
        site.backend(name, text)
    site.backend("nowhere", GOOD, target="plugin_nowhere:Missing")
    out = site.run("""
        import json
        from resultsfw.errors import BrokenBackendError
        from resultsfw.plugins import installed_plugins, load_backend
        messages = {}
        for plugin in installed_plugins():
            try:
                load_backend(plugin.name)
            except BrokenBackendError as error:
                assert error.subject == plugin.name
                messages[plugin.name] = error.message
        print(json.dumps(messages))
    """)
    messages = json.loads(out)
    assert messages.keys() == {*BROKEN, "nowhere"}
    for name, (_, reason) in BROKEN.items():
        file = site.path / f"plugin_{name}.py"
        who = f'backend "{name}" (dist-{name} 1.2, plugin_{name}, {file}) cannot be used: '
        assert messages[name].startswith(who), messages[name]
        assert "\n" not in messages[name]
        assert reason in messages[name]
    assert "plugin_nowhere:Missing" in messages["nowhere"]


def test_a_name_that_two_distributions_claim_is_refused_with_both(site):
    site.backend("mine", GOOD, dist="one-dist", version="1")
    site.backend("other", GOOD)
    site.backend("mine", GOOD, dist="two-dist", version="2")
    messages = site.refusal("mine")
    ours = [f"{word}-dist {n}, plugin_{word}_dist, {site.path}" for n, word in ((1, "one"), (2, "two"))]
    for part in ('"mine"', *ours, "uninstall"):
        assert part in messages


def test_a_backend_of_a_built_ins_name_does_not_take_its_place(site):
    site.backend("sidecar-logs", GOOD, dist="evil")
    assert "claimed by more than one distribution" in site.refusal("sidecar-logs")


def test_without_the_built_in_backends_the_core_still_imports_and_says_what_is_missing(site):
    out = site.run("""
        import sys
        class Deleted:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("resultsfw_backends", "resultsfw_sidecar"):
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Deleted())
        import resultsfw, pkgutil, importlib
        for one in pkgutil.iter_modules(resultsfw.__path__):
            if not one.ispkg:
                importlib.import_module(f"resultsfw.{one.name}")
        from resultsfw.errors import BrokenBackendError
        try:
            resultsfw.ResultsManager.from_flags({})
        except BrokenBackendError as error:
            print(error.message)
    """)
    assert out.startswith('backend "termination-message" (resultsfw ')
    assert "ModuleNotFoundError" in out


def test_no_module_of_the_core_mentions_a_backend_but_the_flags_default():
    for path in (ROOT / "resultsfw").glob("*.py"):
        text = path.read_text()
        assert "resultsfw_backends" not in text, path
        if path.name == "flags.py":
            text = text.replace(f'DEFAULT_BACKEND: Final = "{DEFAULT_BACKEND}"', "")
            text = text.replace('"enable-termination-message-compression"', "")  # a flag of Tekton's
        for name in ("sidecar-logs", "sidecar_logs", "termination-message", "termination_message"):
            assert name not in text, (path, name)


# By hand.


class ByHand:
    """A backend as an embedder would write it."""

    capabilities = Capabilities(summary="by hand")

    def __init__(self, found=()):
        self.found = found

    @hookimpl
    def prepare_pod(self):
        return 1

    @hookimpl
    def pod_ready(self):
        return True

    @hookimpl
    def extract(self):
        return Extraction(results=tuple(self.found))


class Falsy(ByHand):
    """An instance that says False of itself."""

    def __bool__(self):
        return False

    def __len__(self):
        return 0


RUN = Run(
    namespace="n",
    name="r",
    uid="u",
    results=(ResultSpec(name="a"),),
    steps=(Step(name="s", container="c"),),
)
POD = {"metadata": {"name": "p"}, "spec": {"volumes": [{"name": "tekton-internal-results", "emptyDir": {}}]}}
VALUE = ExtractedResult(name="a", value="1", source="here")


@pytest.mark.parametrize(
    "plugin", [ByHand, ByHand(), Falsy, Falsy()], ids=["class", "object", "f-class", "f-object"]
)
def test_class_and_object_are_taken_by_hand_and_a_falsy_one_too(plugin):
    core = ResultsManager.from_flags({"results-from": "mine"}, register={"mine": plugin})
    assert core.prepare_pod(RUN, POD)["metadata"]["annotations"]["resultsfw.dev/stamp"] == "mine/1"
    assert core.collect(RUN, {}, None, stamp=Stamp("mine", 1, 9)).ok


def test_a_falsy_object_behind_an_entry_point_is_taken(site):
    text = GOOD + textwrap.dedent("""
        class Falsy:
            capabilities = capabilities
            prepare_pod = hookimpl(lambda self: 7)
            pod_ready = hookimpl(lambda self: True)
            extract = hookimpl(lambda self: Extraction())
            def __bool__(self):
                return False
        thing = Falsy()
    """)
    site.backend("obj", text, target="plugin_obj:thing")
    out = site.run("""
        from resultsfw import ResultsManager, ResultSpec, Run
        run = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="a"),))
        pod = {"spec": {"volumes": [{"name": "tekton-internal-run-0"}]}}
        pod = ResultsManager.from_flags({"results-from": "obj"}).prepare_pod(run, pod)
        print(pod["metadata"]["annotations"]["resultsfw.dev/stamp"])
    """)
    assert out == "obj/7"


def test_a_registered_backend_hides_an_installed_one_of_its_name():
    core = ResultsManager.from_flags({}, register={DEFAULT_BACKEND: ByHand([VALUE])})
    assert core.collect(RUN, {}, None, stamp=Stamp(DEFAULT_BACKEND, 0, 9)).results[0].value == "1"


def test_a_hook_may_be_implemented_under_another_name():
    """By pluggy's ``specname``."""

    class Renamed(ByHand):
        @hookimpl(specname="purge")
        def clean_up(self):
            return None

    assert make_backend("mine", Renamed).name == "mine"


class Misspelt(ByHand):
    """Its hook is none."""

    @hookimpl
    def prugge(self):
        return None


class Unmakeable(ByHand):
    """It cannot be made."""

    def __init__(self):
        raise RuntimeError("no luck")


class Lax(ByHand):
    """Its options are not checked."""

    class Config(BaseModel):
        """Allows anything."""

        model_config = ConfigDict(extra="allow")


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (Misspelt, "prugge"),
        (Unmakeable, "RuntimeError: no luck"),
        (Lax, "forbid"),
        (object(), "`capabilities`"),
    ],
)
def test_what_is_registered_by_hand_is_checked_as_well(plugin, reason):
    with pytest.raises(BrokenBackendError) as caught:
        make_backend("mine", plugin)
    assert reason in caught.value.message
    assert "registered by hand" in caught.value.message


def test_a_backend_nobody_selects_may_be_broken():
    core = ResultsManager.from_flags(
        {"allowed-results-from": "bad"}, register={"bad": Unmakeable, "worse": object()}
    )
    assert core.flags.results_from == DEFAULT_BACKEND
    with pytest.raises(BrokenBackendError):
        core.backend("bad")


def test_unknown_names_raise_their_own_error():
    with pytest.raises(UnknownBackendError, match="no installed backend"):
        load_backend("nothing-like-it")


# A backend that fails.


@pytest.mark.parametrize("final", [False, True])
def test_a_selected_backend_that_fails_does_so_loudly(final, caplog):
    class Failing(ByHand):
        @hookimpl
        def extract(self):
            raise ConnectionError("inner")

    core = ResultsManager.from_flags({"results-from": "mine"}, register={"mine": Failing})
    if final:
        collected = core.collect(RUN, {}, None, stamp=Stamp("mine", 1, 9), final=True)
        assert not collected.ok
        assert 'backend "mine" failed in extract: ConnectionError' in collected.problems[0].message
    else:
        with pytest.raises(BackendError, match="ConnectionError") as caught:
            core.collect(RUN, {}, None, stamp=Stamp("mine", 1, 9))
        assert caught.value.subject == "mine"
    assert caplog.records[0].exc_info
