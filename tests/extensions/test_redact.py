"""`redact`: nothing that matches is stored or logged, by whatever way; what cannot be searched is named."""

import json
import logging
import time

import pytest
from around import STAMP, Keeper, Mine, around
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import (
    ARTIFACTS,
    ExtractedResult,
    Problem,
    ProblemCode,
    Reference,
    ResultSpec,
    Run,
    Step,
    TransportUsage,
)
from resultsfw.errors import BackendError, FlagError, NotFoundError, UnavailableError
from resultsfw.extensions import load_extensions
from resultsfw_extensions.redact import Redact, RedactConfig

SECRET = "AKIAIOSFODNN7EXAMPLE"  # noqa: S105 - of AWS's own documents
OPTIONS = {"patterns": {"aws": "AKIA[0-9A-Z]{16}", "pin": "pin=[0-9]{4}"}}
RUN = Run(
    namespace="n",
    name="r",
    uid="u",
    results=(
        ResultSpec(name="text"),
        ResultSpec(name="list", type="array"),
        ResultSpec(name="map", type="object"),
        ResultSpec(name="taken", type="array"),
    ),
    steps=(Step(name="s", container="step-s", results=(ResultSpec(name="own"),)),),
)


def found(name, value, step=None, source="here"):
    return ExtractedResult(name=name, value=value, step=step, source=source)


def collect(backend, options=OPTIONS, run=RUN, **more):
    return around(backend, "redact", Redact, options).collect(run, {}, None, stamp=STAMP, **more)


def values(collected):
    return {result.name: result.value for result in collected.results}


def test_a_value_is_replaced_before_it_is_judged_and_both_log_and_source_say_so(caplog):
    with caplog.at_level(logging.INFO):
        collected = collect(
            Mine(found("text", f"id {SECRET}, pin=1234 and pin=4321 é"), found("own", SECRET, "s"))
        )
    assert collected.ok
    assert values(collected) == {"text": "id [redacted:aws], [redacted:pin] and [redacted:pin] é"}
    [own] = collected.step_results["s"]
    assert own.value == "[redacted:aws]"
    assert collected.results[0].source == "here; redacted by pattern: aws (1), pin (2)"
    assert collected.results[0].size == len(collected.results[0].value.encode())
    assert [record.getMessage() for record in caplog.records] == [
        'run n/r: result "text" is redacted by pattern: aws (1), pin (2)',
        'run n/r: result "own" of Step "s" is redacted by pattern: aws (1)',
    ]
    assert SECRET not in caplog.text


def test_what_does_not_match_passes_byte_for_byte():
    text = '{"a" :  "\\u0041"}\n'
    collected = collect(Mine(found("text", text), found("map", text), found("list", '[ "x" ]')))
    assert values(collected) == {"text": text, "map": {"a": "A"}, "list": ["x"]}
    assert {result.source for result in collected.results} == {"here"}


def test_arrays_and_objects_are_searched_as_their_readers_see_them_and_keep_their_type():
    escaped = "".join(f"\\u{ord(char):04x}" for char in SECRET)
    text = f'["a", "{escaped}", "pin=1234"]'
    both = {"k": f"x{SECRET}y", SECRET: "v"}
    collected = collect(Mine(found("list", text), found("map", json.dumps(both))))
    assert collected.ok
    assert values(collected)["list"] == ["a", "[redacted:aws]", "[redacted:pin]"]
    assert values(collected)["map"] == {"k": "x[redacted:aws]y", "[redacted:aws]": "v"}


def test_a_pattern_that_spans_the_brackets_breaks_no_type():
    collected = collect(Mine(found("list", '["a","b"]')), {"patterns": {"all": r"(?s)\[.*\]|a"}})
    assert values(collected) == {"list": ["[redacted:all]", "b"]}


def test_an_object_whose_keys_fall_together_is_named():
    two = {SECRET: "1", SECRET[:-1] + "Q": "2"}
    collected = collect(Mine(found("map", json.dumps(two))))
    [problem] = collected.problems
    assert problem.code is ProblemCode.WITHHELD
    assert problem.result == "map"
    assert 'result "map" is withheld by the extension "redact": two of its keys' in problem.message


def test_a_task_result_taken_from_a_step_is_searched_as_both_are_read():
    from resultsfw import StepResultRef  # noqa: PLC0415 - only here

    run = Run(
        namespace="n",
        name="r",
        uid="u",
        results=(ResultSpec(name="task", type="array", from_step=StepResultRef("s", "own")),),
        steps=(Step(name="s", container="c", results=(ResultSpec(name="own"),)),),
    )
    collected = collect(Mine(found("own", '["\\u0070in=1234"]', "s")), run=run)
    assert values(collected) == {"task": ["[redacted:pin]"]}
    assert collected.step_results["s"][0].value == '["[redacted:pin]"]'


def test_overlapping_matches_become_one_mark_that_names_both():
    options = {"patterns": {"b": "bcd", "a": "abc", "e": "e"}, "mark": "<NAME>"}
    assert values(collect(Mine(found("text", "xabcdex")), options)) == {"text": "x<a+b><e>x"}


def test_limits_count_the_redacted_value():
    collected = collect(Mine(found("text", "pin=1234" * 1000)), {"patterns": {"pin": "(pin=[0-9]{4})+"}})
    assert collected.ok
    grows = collect(Mine(found("text", "x" * 4000)), {"patterns": {"x": "x"}})
    assert [problem.code for problem in grows.problems] == ["ResultTooLarge"]


def test_what_the_backend_says_of_losses_is_searched_too():
    problem = Problem(
        code=ProblemCode.TRANSPORT_CORRUPT, message=f"line {SECRET}", hint=SECRET, result=f"no-{SECRET}"
    )
    transports = (
        TransportUsage(container="c", transport="log", used=1, results=("text", "step-s.own", SECRET)),
    )
    backend = Mine(
        found(SECRET, "undeclared"),
        found("text", "x", source=f"by {SECRET}"),
        problems=(problem,),
        transports=transports,
    )
    collected = collect(backend)
    assert SECRET not in repr(collected)
    assert collected.ignored == ("[redacted:aws]",)
    assert collected.transports[0].results == ("text", "step-s.own", "[redacted:aws]")


def reference(name="text"):
    ref = Reference(backend="mine", location="n/u/l", size=5, digest="sha256:" + "0" * 64)
    return ExtractedResult(name=name, value=ref, source="kept")


def test_what_arrives_by_reference_is_refused_by_name_unless_it_is_allowed():
    collected = collect(Keeper(found("text", "an earlier one"), reference(), found("own", "1", "s")))
    [problem] = collected.problems
    assert (problem.code, problem.result) == (ProblemCode.WITHHELD, "text")
    assert 'result "text" is withheld by the extension "redact": it arrived by reference' in problem.message
    assert "references: allow" in problem.hint
    assert not collected.results
    assert collected.step_results
    allowed = collect(Keeper(reference()), {**OPTIONS, "references": "allow"})
    assert isinstance(values(allowed)["text"], Reference)
    later = collect(Keeper(reference(), found("text", f"v{SECRET}")))
    assert values(later) == {"text": "v[redacted:aws]"}
    assert later.ok


def test_a_backends_own_error_is_searched_before_anybody_logs_it(caplog):
    with pytest.raises(UnavailableError, match=r"^away: \[redacted:aws\]") as told:
        collect(Mine(error=UnavailableError(f"away: {SECRET}", subject=SECRET)))
    assert told.value.subject == "[redacted:aws]"
    cause = KeyError("plain")
    cause.__cause__ = ValueError(SECRET)
    with pytest.raises(BackendError, match="the backend failed in extract: KeyError, with a message that is"):
        collect(Mine(error=cause))
    gone = collect(Mine(error=NotFoundError(f"gone: {SECRET}")))
    assert gone.problems[0].message == "the results could not be read: gone: [redacted:aws]"
    harmless = collect(Mine(error=LookupError("harmless")))
    assert 'backend "mine" failed in extract: LookupError' in harmless.problems[0].message
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "patterns: must have 1 or more entries"),
        ({"patterns": {"a": "("}}, "patterns.a: .*RE2 does not accept it: missing"),
        ({"patterns": {"a": r"(x)\1"}}, "RE2 does not accept it: invalid escape"),
        ({"patterns": {"a": "x*"}}, "matches the empty text"),
        ({"patterns": {"a b": "x"}}, "patterns.a b"),
        ({"patterns": {"a": "x"}, "mark": ""}, "mark"),
        ({"patterns": {"a": "x"}, "reference": "allow"}, "reference: is no option; did you mean"),
    ],
)
def test_options_that_would_let_things_through_are_refused(options, said):
    with pytest.raises(FlagError, match=said):
        load_extensions(["redact"], {"redact": options})


def test_no_text_that_a_step_chooses_can_hold_a_worker_up():
    """With Python's engine the first pattern takes 2^n steps; that it ends at all is what is tested."""
    began = time.process_time()
    options = {"patterns": {"evil": "(a+)+$", "worse": "(x|x)*y", "each": "b"}}
    redact = Redact(RedactConfig.model_validate(options))
    assert redact._text("a" * 1_000_000 + "!") == "a" * 1_000_000 + "!"
    assert redact._text("b" * 1_000_000) == "[redacted:each]"
    assert time.process_time() - began < 60


def test_a_byte_of_a_character_is_no_place_to_cut():
    redact = Redact(RedactConfig.model_validate({"patterns": {"byte": r"a\C"}}))
    assert redact._text("éaéé") == "é[redacted:byte]é"


@given(st.text(), st.lists(st.sampled_from([SECRET, "pin=0000", "é", "\ud800", '"', "\\"]), max_size=5))
def test_no_match_is_left_and_nothing_else_is_changed(text, more):
    redact = Redact(RedactConfig.model_validate(OPTIONS))
    whole = text + "".join(more)
    expected = whole
    for name, secret in (("aws", SECRET), ("pin", "pin=0000")):
        expected = expected.replace(secret, f"[redacted:{name}]")
    assert redact._text(whole) == expected


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4))
def test_an_object_without_matches_is_the_same_object(value):
    text = json.dumps(value)
    run = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="map", type="object"),))
    assert values(collect(Mine(found("map", text)), run=run)) == {"map": value}


@pytest.mark.parametrize("escaped", [SECRET, SECRET.replace("A", "\\u0041")])
def test_strings_of_artifacts_are_replaced_however_they_are_escaped(escaped, caplog):
    document = (
        f'{{"outputs": [{{"name": "i-{escaped}", "values": [{{"uri": "{escaped}"}}]}}], "more": [[1]]}}'
    )
    collected = collect(Mine(found(ARTIFACTS, document, "s"), found(ARTIFACTS, f"{{bad {SECRET}")))
    value = {"uri": "[redacted:aws]"}
    assert collected.artifacts == {"s": {"outputs": [{"name": "i-[redacted:aws]", "values": [value]}]}}
    assert collected.warnings[0].startswith("provenance of the Task's artifacts left out")
    assert SECRET not in caplog.text + repr(collected)


def test_artifacts_with_two_keys_that_become_the_same_are_withheld():
    digests = {SECRET: "1", SECRET.replace("7", "8"): "2"}
    document = json.dumps({"inputs": [{"values": [{"digest": digests}]}]})
    collected = collect(Mine(found(ARTIFACTS, document, "s")))
    assert [problem.code for problem in collected.problems] == [ProblemCode.WITHHELD]
    assert collected.artifacts == {}
