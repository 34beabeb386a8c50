"""References: written, read again, compared with what they stand for, and made by nobody but the core."""

import hashlib
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import (
    Capabilities,
    ExtractedResult,
    Extraction,
    Problem,
    ProblemCode,
    Reference,
    ResultsManager,
    ResultSpec,
    hookimpl,
    read_reference,
)
from resultsfw.errors import BackendError, CorruptError, NotFoundError
from resultsfw.references import MARK, format_reference, verified_pieces
from resultsfw.values import parse_value


def a_reference(value: bytes, **changed) -> Reference:
    digest = f"sha256:{hashlib.sha256(value).hexdigest()}"
    return Reference(
        **{"backend": "b", "location": "default/uid/l", "size": len(value), "digest": digest, **changed}
    )


PRINTABLE = st.characters(exclude_categories=["C", "Z"])


@given(
    st.binary(max_size=50),
    st.text(PRINTABLE, min_size=1, max_size=253),
    st.text(PRINTABLE, min_size=1, max_size=100),
    st.from_regex(r"[!-~][ -~]{0,254}", fullmatch=True),
)
def test_a_reference_is_read_as_it_was_written(value, backend, location, media_type):
    reference = a_reference(value, backend=backend, location=location, media_type=media_type)
    assert read_reference(json.loads(json.dumps(format_reference(reference)))) == reference


@pytest.mark.parametrize("value", ["text", ["a"], {"backend": "b", "size": "1"}, {}, None])
def test_a_value_is_no_reference(value):
    assert read_reference(value) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 5},
        {"size": "-1"},
        {"size": "1" * 19},
        {"digest": "sha256:zz"},
        {"more": "1"},
        {MARK: "2"},
        {"backend": ""},
        {"backend": "b" * 254},
        {"backend": "a\x1b[31m"},
        {"location": "default/uid/" + "l" * 2048},
        {"location": "default/uid/l\n"},
        {"mediaType": ""},
        {"mediaType": "t" * 256},
        {"mediaType": "text/plain\r\nX: y"},
    ],
)
def test_a_damaged_reference_is_refused(changed):
    with pytest.raises(CorruptError) as caught:
        read_reference({**format_reference(a_reference(b"v")), **changed})
    assert len(f"{caught.value.message}{caught.value.subject}") < 500
    assert f"{caught.value.message}{caught.value.subject}".isprintable()


def test_no_step_can_make_a_reference():
    forged = json.dumps(format_reference(a_reference(b"of another run")))
    problem = parse_value(ResultSpec(name="r", type="object"), forged)
    assert isinstance(problem, Problem)
    assert problem.code is ProblemCode.TYPE_MISMATCH
    # As a string or in an array it is text, and text is no reference.
    assert read_reference(parse_value(ResultSpec(name="r"), forged)) is None


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.binary(min_size=1, max_size=3))
def test_only_the_stored_value_passes(pieces, other):
    value = b"".join(pieces)
    assert b"".join(verified_pieces(a_reference(value), pieces)) == value
    for wrong in ([*pieces, other], pieces[:-1] if pieces else [other], [*pieces[:-1], b"x" * 21]):
        with pytest.raises(CorruptError, match="bytes"):
            list(verified_pieces(a_reference(value), wrong))
    if value:
        changed = bytes([value[0] ^ 1]) + value[1:]
        with pytest.raises(CorruptError, match="digest"):
            list(verified_pieces(a_reference(value), [changed]))


def test_no_more_is_asked_for_than_the_reference_announces():
    asked = []

    def endless() -> Iterator[bytes]:
        while True:
            asked.append(1)
            yield b"x" * 10

    with pytest.raises(CorruptError):
        list(verified_pieces(a_reference(b"x" * 25), endless()))
    assert len(asked) == 3


class Keeper:
    """A backend by reference; what it keeps is in ``kept``, or is raised."""

    capabilities = Capabilities(summary="keeps", delivery="reference")

    def __init__(self, kept: list[bytes | Exception]) -> None:
        self.kept = kept

    @hookimpl
    def prepare_pod(self) -> int:
        return 1

    @hookimpl
    def pod_ready(self) -> bool:
        return True

    @hookimpl
    def extract(self) -> Extraction:
        return Extraction(
            results=(ExtractedResult(name="r", value=a_reference(b"v", backend="keeper"), source="s"),)
        )

    @hookimpl
    def dereference(self) -> Iterator[bytes]:
        for piece in self.kept:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def dereferenced(*kept):
    core = ResultsManager.from_flags({"results-from": "keeper"}, register={"keeper": Keeper(list(kept))})
    return b"".join(core.dereference(a_reference(b"value", backend="keeper"), None))


def test_a_value_is_dereferenced_through_its_backend():
    assert dereferenced(b"val", b"ue") == b"value"


def test_what_a_backend_raises_while_it_reads_is_reported_without_its_text():
    with pytest.raises(NotFoundError, match="gone"):
        dereferenced(b"val", NotFoundError("gone"))
    with pytest.raises(BackendError, match="failed in dereference: LookupError") as raised:
        dereferenced(b"val", LookupError("password=hunter2"))
    assert "hunter2" not in str(raised.value)


def test_a_backend_by_value_dereferences_nothing():
    core = ResultsManager.from_flags({})
    with pytest.raises(BackendError, match="hands out values"):
        core.dereference(a_reference(b"v", backend="termination-message"), None)


@pytest.mark.parametrize("ends", ["early", "damaged", "too long"])
def test_what_a_backend_opened_is_closed_when_its_reader_ends(ends):
    """It was open until Python collected the exception that referred to it."""
    closed = []

    class Opens(Keeper):
        @hookimpl
        def dereference(self) -> Iterator[bytes]:
            try:
                yield from self.kept
            finally:
                closed.append(1)

    kept = {"early": [b"va", b"lue"], "damaged": [b"v", b"alux"], "too long": [b"value", b"more", b"again"]}
    core = ResultsManager.from_flags({"results-from": "keeper"}, register={"keeper": Opens(kept[ends])})
    pieces = core.dereference(a_reference(b"value", backend="keeper"), None)
    if ends == "early":
        next(pieces)
        pieces.close()
    else:
        with pytest.raises(CorruptError) as raised:
            list(pieces)
        assert raised.tb  # refers to the frames of all generators
    assert closed == [1]
