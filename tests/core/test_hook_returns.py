"""What hooks return is checked before anything uses it: as types, and by meaning."""

import asyncio
import hashlib
import itertools
import json
import types
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import (
    ARTIFACTS,
    Capabilities,
    ExtractedResult,
    Extraction,
    Problem,
    ProblemCode,
    Reference,
    ResultsManager,
    ResultSpec,
    Run,
    Stamp,
    Step,
    TransportUsage,
    hookimpl,
)
from resultsfw.errors import BackendError, BrokenBackendError, CorruptError, FaultyBackendError
from resultsfw.plugins import make_backend
from resultsfw.references import format_reference, location_fault, read_reference

RUN = Run(
    namespace="team",
    name="run",
    uid="0001",
    results=(ResultSpec(name="a"),),
    steps=(Step(name="s", container="step-s", results=(ResultSpec(name="own"),)),),
)
POD = {
    "metadata": {"name": "run-pod", "uid": "0002", "annotations": {}},
    "spec": {"containers": [{"name": "step-s", "image": "i"}]},
}
STAMP = Stamp("mine", 1, 4096)
REFERENCE = Reference(
    backend="mine", location="store://bucket/team/0001/a", size=5, digest=f"sha256:{'0' * 64}"
)
FOUND = ExtractedResult(name="a", value="1", source="s")


class Mine:
    """A backend by reference; each hook returns what it is given."""

    capabilities = Capabilities(summary="mine", delivery="reference", plain_pods=True)

    def __init__(self, **returns) -> None:
        self.returns = returns
        self.asked: list[str] = []

    @hookimpl
    def prepare_pod(self, backend):
        self.asked.append(backend)
        return self.returns.get("prepare_pod", 1)

    @hookimpl
    def pod_ready(self, backend):
        self.asked.append(backend)
        return self.returns.get("pod_ready", True)

    @hookimpl
    def extract(self, backend):
        self.asked.append(backend)
        return self.returns.get("extract", Extraction())

    @hookimpl
    def dereference(self, backend):
        self.asked.append(backend)
        return self.returns.get("dereference", iter([b"value"]))

    @hookimpl
    def place_files(self, backend):
        self.asked.append(backend)
        return self.returns.get("place_files")

    @hookimpl
    def purge(self, backend):
        self.asked.append(backend)
        return self.returns.get("purge")


class ByValue(Mine):
    capabilities = Capabilities(summary="mine")


class Keeping(Mine):
    capabilities = replace(Mine.capabilities, external_state="elsewhere")


def core_of(plugin):
    return ResultsManager.from_flags({"results-from": "mine"}, register={"mine": plugin})


def problem_of(plugin, run=RUN):
    """The one problem of a collection that is not to be repeated, although it is not the last attempt."""
    collected = core_of(plugin).collect(run, POD, None, stamp=STAMP)
    [problem] = collected.problems
    assert not collected.results
    assert problem.code is ProblemCode.BACKEND_FAULTY
    assert 'backend "mine" returned from extract' in problem.message
    assert "hunter2" not in problem.message
    return problem.message


async def a_coroutine():
    """Something that is never awaited; Python warns of it unless it is closed."""


def with_result(**changed):
    return Extraction(results=(replace(FOUND, **changed),))


PROBLEM = Problem(code=ProblemCode.TRANSPORT_CUT, message="m")
USAGE = TransportUsage(container="c", transport="log", used=1)

WRONG = {
    "nothing": (None, "it returned nothing (None) and not an Extraction"),
    "a dict": ({"results": ()}, "it returned a value of type dict and not an Extraction"),
    "results in a dict": (Extraction(results={"a": FOUND}), "results: it is a value of type dict"),
    "results in a list": (Extraction(results=[FOUND]), "results: it is a value of type list"),
    "a bare value": (Extraction(results=("hunter2",)), "results[0]: it is a value of type str"),
    "a second": (Extraction(results=(FOUND, replace(FOUND, value=b"hunter2"))), "results[1].value: it is a"),
    "bytes": (
        with_result(value=b"hunter2"),
        "results[0].value: it is a value of type bytes and must be a str",
    ),
    "None": (with_result(value=None), "results[0].value: it is nothing (None) and must be a str"),
    "a number": (with_result(value=4), "results[0].value: it is a value of type int"),
    "an array": (with_result(value=["hunter2"]), "results[0].value: it is a value of type list"),
    "a name in bytes": (with_result(name=b"a"), "results[0].name: it is a value of type bytes"),
    "a Step's number": (with_result(step=0), "results[0].step: it is a value of type int"),
    "no source": (with_result(source=None), "results[0].source: it is nothing (None)"),
    "artifacts by reference": (with_result(name=ARTIFACTS, value=REFERENCE), "results[0].value: it is a Ref"),
    "problems in a list": (Extraction(problems=[PROBLEM]), "problems: it is a value of type list"),
    "a code as text": (Extraction(problems=(replace(PROBLEM, code="Cut"),)), "problems[0].code: it is a"),
    "no message": (Extraction(problems=(replace(PROBLEM, message=""),)), "problems[0].message: it is empty"),
    "a size as text": (
        Extraction(problems=(replace(PROBLEM, size="9"),)),
        "problems[0].size: it is a value of",
    ),
    "a negative limit": (Extraction(problems=(replace(PROBLEM, limit=-1),)), "problems[0].limit: it is -1"),
    "usage without numbers": (
        Extraction(transports=(replace(USAGE, used=None),)),
        "transports[0].used: it is",
    ),
    "usage with a text": (
        Extraction(transports=(replace(USAGE, results="a"),)),
        "transports[0].results: it is",
    ),
    "too_early as text": (Extraction(too_early="no"), "too_early: it is a value of type str"),
    "another error": (Extraction(read_error=OSError("hunter2")), "read_error: it is a value of type OSError"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_extraction_is_refused_with_the_field(kind):
    extraction, why = WRONG[kind]
    assert why in problem_of(Mine(extract=extraction))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"backend": "object-store"}, '.backend: it names backend "object-store" and must be "mine"'),
        ({"digest": "0" * 64}, ".digest: it must be"),
        ({"digest": f"sha256:{'A' * 64}"}, ".digest: it must be"),
        ({"digest": None}, ".digest: it must be"),
        ({"size": -1}, ".size: it is -1, which is no size"),
        ({"size": "5"}, ".size: it is a value of type str"),
        ({"size": True}, ".size: it is a value of type bool"),
        ({"size": 10**18}, ".size: it is too large"),
        ({"media_type": ""}, ".media_type: it must be"),
        ({"location": "team/0001"}, ".location: it must be [ROOT/]NAMESPACE/UID/NAME"),
        ({"location": "store://user:pw@bucket/team/0001/a"}, ".location: what precedes"),
        ({"location": "theirs/0001/a"}, ".location: it must end in team/0001/NAME"),
        ({"location": "team/0009/a"}, ".location: it must end in team/0001/NAME"),
        ({"location": 7}, ".location: it is a value of type int"),
    ],
)
def test_an_invalid_reference_is_refused(changed, why):
    assert f"results[0].value{why}" in problem_of(
        Mine(extract=with_result(value=replace(REFERENCE, **changed)))
    )


def test_the_largest_reference_is_read_back_from_a_status():
    largest = replace(REFERENCE, size=10**18 - 1)
    collected = core_of(Mine(extract=with_result(value=largest))).collect(RUN, POD, None, stamp=STAMP)
    assert read_reference(format_reference(collected.results[0].value)) == largest


class Otherwise(str):
    """A name that cannot be looked up."""

    __slots__ = ()
    __hash__ = None

    def __eq__(self, _other):
        raise RuntimeError("compared")


@pytest.mark.parametrize(
    "extraction",
    [
        with_result(name=Otherwise("a")),
        with_result(step=Otherwise("s")),
        Extraction(problems=(replace(PROBLEM, result=Otherwise("a")),)),
        Extraction(transports=(replace(USAGE, results=(Otherwise("a"),)),)),
    ],
)
def test_a_text_that_compares_otherwise_is_refused(extraction):
    assert "must be" in (why := problem_of(Mine(extract=extraction))) or "compares otherwise" in why


@pytest.mark.parametrize(
    "extraction",
    [
        with_result(value=replace(REFERENCE, backend="\ud800")),
        Extraction(problems=(replace(PROBLEM, message="\ud800", hint="\ud800", result="a", step="\ud800"),)),
    ],
)
def test_no_lone_surrogate_keeps_a_run_from_ending(extraction):
    collected = core_of(Mine(extract=extraction)).collect(RUN, POD, None, stamp=STAMP)
    patch = ResultsManager.status_patch(collected, {"metadata": {"name": "run"}}, now="2026-01-01T00:00:00Z")
    assert b"\\ud800" in json.dumps(patch, ensure_ascii=False).encode()
    assert all("\ud800" not in f"{problem.step}{problem.hint}" for problem in collected.problems)


class Panic(BaseException):
    """What libraries in Rust raise."""


@pytest.mark.parametrize("error", [Panic("hunter2"), asyncio.CancelledError(), SystemExit(3)], ids=repr)
def test_whatever_a_hook_raises_is_the_backends(error):
    """Nothing else would end the run, and the worker would end with it."""

    class Panics(Mine):
        @hookimpl
        def extract(self):
            raise error

        @hookimpl
        def dereference(self):
            yield b"v"
            raise error

    core = core_of(Panics())
    [problem] = core.collect(RUN, POD, None, stamp=STAMP).problems
    assert problem.code is ProblemCode.BACKEND_FAULTY
    assert f"{type(error).__name__}, at line" in problem.message
    assert "hunter2" not in problem.message
    with pytest.raises(FaultyBackendError, match=type(error).__name__):
        list(core.dereference(REFERENCE, None))


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_what_others_raise_within_a_hook_is_passed_on(error):
    class Interrupted(Mine):
        @hookimpl
        def extract(self):
            raise error

    with pytest.raises(error):
        core_of(Interrupted()).collect(RUN, POD, None, stamp=STAMP)


class Short(bytes):
    """Bytes that hide how many they are."""

    __slots__ = ()

    def __len__(self):
        return 0


@pytest.mark.parametrize("piece", [b"", Short(b"value")])
def test_pieces_that_never_end_are_given_up(piece):
    core = core_of(Mine(dereference=itertools.repeat(piece)))
    with pytest.raises(FaultyBackendError, match=r"empty pieces in a row|of type Short"):
        list(core.dereference(REFERENCE, None))


def test_a_reference_of_a_backend_by_value_is_refused():
    assert 'results[0].value: it is a Reference, and `capabilities` say delivery="value"' in problem_of(
        ByValue(extract=with_result(value=REFERENCE))
    )


def test_what_is_right_passes():
    extraction = Extraction(
        results=(
            FOUND,
            replace(FOUND, name="own", step="s", value=replace(REFERENCE, location="team/0001/x")),
        ),
        transports=(USAGE,),
    )
    collected = core_of(Mine(extract=extraction)).collect(RUN, POD, None, stamp=STAMP)
    assert collected.ok
    assert collected.results[0].value == "1"
    assert collected.step_results["s"][0].value.name == "x"


CALLS = {
    "prepare_pod": lambda core: core.prepare_pod(RUN, POD, cluster=object()),
    "pod_ready": lambda core: core.is_ready(RUN, POD, stamp=STAMP),
    "dereference": lambda core: list(core.dereference(REFERENCE, None, namespace="team")),
    "place_files": lambda core: core.place_files(RUN, POD, {"/f": REFERENCE}, {}),
    "purge": lambda core: core.purge(RUN, POD, None, backend="mine", deleted=True),
}


@pytest.mark.parametrize(
    ("hook", "returned", "why"),
    [
        ("prepare_pod", None, "it returned nothing (None) and not the version"),
        ("prepare_pod", True, "it returned a value of type bool and not the version"),
        ("prepare_pod", -1, "not the version of its format, an integer from 0"),
        ("prepare_pod", "1", "it returned a value of type str"),
        ("pod_ready", None, "it is nothing (None) and must be True or False"),
        ("pod_ready", "yes", "it is a value of type str and must be True or False"),
        ("dereference", None, "it returned nothing (None), and must yield"),
        ("dereference", b"value", "it returned a value of type bytes, and must yield"),
        ("dereference", ["value"], "it yielded a value of type str, and must yield bytes"),
        ("dereference", [b"va", 7], "it yielded a value of type int, and must yield bytes"),
        (
            "place_files",
            {"metadata": {}},
            "it returned a value of type dict, which nothing uses: change `pod`",
        ),
        ("purge", True, "it returned a value of type bool, which nothing uses"),
    ],
)
def test_a_hook_that_returns_something_else_is_named(hook, returned, why):
    with pytest.raises(FaultyBackendError, match="for its author") as raised:
        CALLS[hook](core_of(Keeping(**{hook: returned})))
    assert why in raised.value.message
    assert f'backend "mine" returned from {hook}' in raised.value.message
    assert (raised.value.subject, raised.value.hook) == ("mine", hook)
    assert isinstance(raised.value, BackendError)


@pytest.mark.parametrize("hook", CALLS)
def test_a_coroutine_is_refused_by_every_hook_and_leaves_no_warning(hook):
    with pytest.raises(FaultyBackendError, match="hooks are plain functions"):
        CALLS[hook](core_of(Keeping(**{hook: a_coroutine()})))


def test_a_coroutine_is_no_extraction():
    assert "it returned a coroutine" in problem_of(Mine(extract=a_coroutine()))


def test_a_hook_with_a_yield_in_it_is_refused():
    """Nothing of it would be executed, and the files would silently not be there."""
    with pytest.raises(FaultyBackendError, match="nor with `yield`"):
        CALLS["place_files"](core_of(Keeping(place_files=(piece for piece in ()))))


def test_an_extension_sees_only_what_was_checked():
    """Else it would fail in the backend's place, and be named for it."""
    seen = []

    class Watching:
        @hookimpl(wrapper=True)
        def extract(self):
            seen.append((yield))
            return seen[-1]

    backend = make_backend("mine", Mine(extract=None), extensions={"watching": Watching()})
    with pytest.raises(FaultyBackendError):
        backend.hook.extract(run=RUN, pod=POD, cluster=None, limits=None, config=None, wire=1, backend="mine")
    assert seen == []


def test_a_backend_is_told_its_name():
    plugin = Keeping(extract=Extraction())
    core = core_of(plugin)
    core.collect(RUN, POD, None, stamp=STAMP)
    for hook, call in CALLS.items():
        if hook != "dereference":
            call(core)
    list(core.dereference(replace(REFERENCE, digest=sha(b"value")), None))
    assert plugin.asked == ["mine"] * 6


def test_external_state_without_purge_is_refused_at_load():
    class Leaves(Keeping):
        purge = None

    with pytest.raises(BrokenBackendError, match=r'no purge, which external_state="elsewhere" of its'):
        core_of(Leaves())


# Whose value it is.


@pytest.mark.parametrize("hook", ["dereference", "place_files"])
@pytest.mark.parametrize(
    "location",
    [
        "store://bucket/theirs/0001/a",
        "store://bucket/team/0001/../../theirs/0001/a",
        "store://bucket/theirs/0001/team/..//a",
        "team/0001/a/..",
        "team/a",
        "",
        "store://bucket/team/0001/a?x=theirs",
        "store://u:p@bucket/team/0001/a",
        "store://bucket/../team/0001/a",
        "store://bucket/team/0001/a b",
    ],
)
def test_the_core_refuses_a_foreign_reference_before_the_backend_is_called(hook, location):
    plugin = Mine()
    reference = replace(REFERENCE, location=location)
    core = core_of(plugin)
    calls = {
        "dereference": lambda: core.dereference(reference, None, namespace="team"),
        "place_files": lambda: core.place_files(RUN, POD, {"/right": REFERENCE, "/wrong": reference}, {}),
    }
    with pytest.raises(CorruptError, match="the reference leads to"):
        calls[hook]()
    assert plugin.asked == []


def test_who_may_read_every_namespace_still_needs_a_location():
    core = core_of(Mine())
    assert b"".join(core.dereference(replace(REFERENCE, digest=sha(b"value")), None)) == b"value"
    with pytest.raises(CorruptError):
        core.dereference(replace(REFERENCE, location="/etc/passwd"), None)


def sha(value: bytes) -> str:
    return f"sha256:{hashlib.sha256(value).hexdigest()}"


SEGMENTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,20}", fullmatch=True)


@given(
    st.sampled_from(["", "s3://bucket/", "file:///a/b/", "oci://host:5000/base/"]),
    SEGMENTS,
    SEGMENTS,
    SEGMENTS,
)
def test_the_parts_of_a_location_are_those_it_was_made_of(root, namespace, uid, name):
    location = f"{root}{namespace}/{uid}/{name}"
    assert location_fault(location) == ""
    reference = replace(REFERENCE, location=location)
    parts = (reference.root, reference.namespace, reference.uid, reference.name)
    assert parts == (root.removesuffix("/"), namespace, uid, name)


@given(st.text(max_size=80))
def test_a_location_without_fault_leads_nowhere_else(location):
    if location_fault(location):
        return
    reference = replace(REFERENCE, location=location)
    assert not {"", ".", ".."} & {reference.namespace, reference.uid, reference.name}
    assert not set(location) & set("?#@\\ ")


def test_a_module_is_checked_like_an_object():
    module = types.ModuleType("module_backend")
    plugin = ByValue(extract=None)
    for name in ("prepare_pod", "pod_ready", "extract"):
        setattr(module, name, getattr(plugin, name))
    module.capabilities = plugin.capabilities
    assert "not an Extraction" in problem_of(module)
