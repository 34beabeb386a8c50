"""How a contract that changes reaches who wrote a plugin, told by one that has changed.

There is no deprecated hook yet. Here are one, an argument that goes and one that is new, in a module like
`hookspecs`.
"""

import inspect
import types
import warnings

import pluggy
import pytest
from pydantic import BaseModel

from resultsfw import (
    Capabilities,
    Extraction,
    HookDeprecationWarning,
    ResultsManager,
    ResultSpec,
    Run,
    Stamp,
    hookimpl,
)
from resultsfw import hookspecs as now
from resultsfw.cluster import Cluster, Object
from resultsfw.errors import BrokenBackendError, BrokenExtensionError
from resultsfw.extensions import make_extension
from resultsfw.plugins import make_backend
from resultsfw.types import Limits

hookspec = pluggy.HookspecMarker("resultsfw")


@hookspec(firstresult=True, warn_on_impl=DeprecationWarning("gone in 3; return it from extract"))
def pod_ready(run: Run, pod: Object, config: BaseModel, wire: int) -> bool:
    """As it was."""


@hookspec(
    firstresult=True, warn_on_impl_args={"limits": DeprecationWarning("gone in 3; the core judges sizes")}
)
def extract(  # noqa: PLR0917 - as the contract's own
    run: Run, pod: Object, cluster: Cluster, limits: Limits, config: BaseModel, wire: int, brand_new: int = 0
) -> Extraction:
    """With an argument more, and one that goes."""


@pytest.fixture
def later(monkeypatch):
    """The contract of a later version, in which two things go and one is new."""
    module = types.ModuleType("later")
    vars(module).update(vars(now))
    module.pod_ready, module.extract = pod_ready, extract
    monkeypatch.setattr("resultsfw.plugins.hookspecs", module)
    return module


class Good:
    """Uses nothing that goes."""

    capabilities = Capabilities(summary="x")

    @hookimpl
    def prepare_pod(self):
        return 1

    @hookimpl
    def extract(self, run):
        assert run
        return Extraction()


class Old(Good):
    """Uses both."""

    @hookimpl
    def pod_ready(self):
        return True

    @hookimpl
    def extract(self, run, limits):
        assert run
        assert limits
        return Extraction()


WHERE = f"registered by hand, {__file__}"
RUN = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="a"),))


def test_the_author_hears_of_hook_and_argument_at_their_place(later):
    with pytest.warns(HookDeprecationWarning) as told:
        make_backend("old", Old, origin="mine 1.2, old, /there/old.py")
    words = [str(one.message) for one in told]
    who = 'backend "old" (mine 1.2, old, /there/old.py): '
    assert words == [
        f'{who}argument "limits" of hook "extract" is deprecated: gone in 3; the core judges sizes',
        f'{who}hook "pod_ready" is deprecated: gone in 3; return it from extract',
    ]
    lines, first = inspect.getsourcelines(Old.extract)
    assert told[0].filename == __file__
    assert first <= told[0].lineno < first + len(lines)


def test_a_run_goes_on(later):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(HookDeprecationWarning):
            core = ResultsManager.from_flags({"results-from": "old"}, register={"old": Old})
    # All that comes after the loading is under this suite's filter: a warning would be an error.
    assert core.is_ready(RUN, {}, stamp=Stamp("old", 1, 9))
    assert core.collect(RUN, {}, None, stamp=Stamp("old", 1, 9)).ok


def test_an_author_may_have_it_as_an_error(later):
    with warnings.catch_warnings():
        warnings.simplefilter("error", HookDeprecationWarning)
        with pytest.raises(HookDeprecationWarning, match=r"pod_ready|limits"):
            make_backend("old", Old)


def test_who_does_not_name_a_new_argument_works_as_before_and_who_uses_nothing_old_hears_nothing(later):
    class Fine(Good):
        @hookimpl
        def pod_ready(self):
            return True

    later.pod_ready = now.pod_ready  # not deprecated in this one
    core = ResultsManager.from_flags({"results-from": "fine"}, register={"fine": Fine})
    assert core.collect(RUN, {}, None, stamp=Stamp("fine", 1, 9)).ok


def test_extensions_hear_too(later):
    class Wraps:
        @hookimpl(wrapper=True)
        def extract(self, limits):
            assert limits
            return (yield)

    with pytest.warns(HookDeprecationWarning, match='extension "wraps" .*"limits" of hook "extract"'):
        make_extension("wraps", Wraps, {})


def test_a_plugin_may_have_a_hook_of_a_later_version():
    class Ahead(Old):
        @hookimpl(optionalhook=True)
        def clean_up(self, run):
            """For later."""

    assert make_backend("ahead", Ahead).name == "ahead"


def test_the_versions_that_are_loaded_stand_in_one_place(later):
    later.API_VERSIONS = range(2, 4)

    def of(version):
        return type("Versioned", (Good,), {"capabilities": Capabilities(summary="x", api_version=version)})

    later.pod_ready = now.pod_ready
    for version in (1, 4):
        with pytest.raises(BrokenBackendError, match=f"API version {version}, .* loads versions 2 to 3"):
            make_backend("x", of(version))
    for version in (2, 3):
        with pytest.raises(BrokenBackendError, match="implements no pod_ready"):
            make_backend("x", of(version))
    with pytest.raises(BrokenExtensionError, match=r"API version 1, .* loads versions 2 to 3"):
        make_extension("x", type("Ext", (), {"results_collected": hookimpl(lambda _self: None)}), {})
