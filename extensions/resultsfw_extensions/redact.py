"""Extension ``redact``: what matches a pattern is replaced before anything is stored or logged.

The patterns are RE2's, which takes time in proportion to the text whatever the pattern and the text are: a
Step chooses the text, and with a backtracking engine it could hold up a worker for hours. What cannot be
searched, since it stayed where its backend keeps it, does not pass unless the operator says so.
"""

import json
import logging
import traceback
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from resultsfw import (
    ExtractedResult,
    Extraction,
    Problem,
    ProblemCode,
    Reference,
    Run,
    TransportUsage,
    hookimpl,
    result_label,
)
from resultsfw.errors import BackendError, ResultsError

try:
    import re2
except ImportError as error:
    raise ImportError('it needs google-re2: pip install "resultsfw[redact]"') from error

__all__ = ["Redact", "RedactConfig"]

log = logging.getLogger(__name__)

_MATCHES: Final = 10_000
"""Matches of one pattern in one text; with more, all of the text is replaced."""

Key = tuple[str | None, str]
"""A result: the Step whose own it is (``None``: the Task's), and its name."""


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _is_pattern(pattern: str) -> str:
    try:
        compiled = _compiled(pattern)
    except re2.error as error:
        why = error.args[0]
        told = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        # Behind the colon is the part of the pattern: who reads the log need not know what is looked for.
        raise ValueError(f"RE2 does not take it: {told.partition(':')[0]}") from None
    if compiled.search("") is not None:
        raise ValueError("it matches where there is no text, and so at every place")
    return pattern


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
Pattern = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_is_pattern)]
Mark = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,80}$")]


class RedactConfig(BaseModel):
    """Options of ``config.redact``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    patterns: Annotated[dict[Name, Pattern], Field(min_length=1, max_length=100, validate_default=True)] = {}
    """Regular expressions (RE2) by a name for each, which logs and marks show; at least one."""
    mark: Mark = "[redacted:NAME]"
    """What stands where something was; NAME becomes the pattern's."""
    references: Literal["refuse", "allow"] = "refuse"
    """What becomes of results that arrive by reference and so cannot be searched."""


class Redact:
    """Around every backend's ``extract``.

    Args:
        config: The operator's.
    """

    Config: ClassVar[type[BaseModel]] = RedactConfig

    def __init__(self, config: RedactConfig) -> None:
        self._patterns = {name: _compiled(pattern) for name, pattern in config.patterns.items()}
        self._mark = config.mark
        self._refuses = config.references == "refuse"

    @hookimpl(wrapper=True)
    def extract(self, run: Run) -> Generator[None, Extraction, Extraction]:
        """All that the extraction says, without what matches."""
        try:
            extraction = yield
        except Exception as error:
            if (clean := self._clean(error)) is None:
                raise
            raise clean from None
        known = _declared(run)
        found: list[ExtractedResult] = []
        refused: dict[Key, Problem] = {}
        for one in extraction.results:
            passed = self._passed(run, one, known)
            if isinstance(passed, Problem):
                refused[one.step, one.name] = passed
            else:
                refused.pop((one.step, one.name), None)  # of two the later one counts
                found.append(passed)
        return replace(
            extraction,
            results=tuple(one for one in found if (one.step, one.name) not in refused),
            problems=(*(self._problem(one, known) for one in extraction.problems), *refused.values()),
            transports=tuple(self._carrier(one, known) for one in extraction.transports),
        )

    def _passed(self, run: Run, one: ExtractedResult, known: Mapping[Key, bool]) -> ExtractedResult | Problem:
        """One value as it may pass, or why it may not."""
        key = (one.step, one.name)
        name = one.name if key in known else self._text(one.name)
        label = result_label(name, one.step)
        source = self._text(one.source)
        if isinstance(one.value, Reference):
            if self._refuses:
                why = "it arrived by reference and cannot be searched"
                hint = 'the option "references: allow" in "config.redact" lets such results pass'
                return _withheld(one, name, label, why, hint)
            return replace(one, name=name, source=source)
        counts: Counter[str] = Counter()
        text = self._value(one.value, counts, parse=known.get(key, False))
        if text is None:
            return _withheld(one, name, label, "two of its keys are the same once they are redacted")
        if counts:
            told = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
            log.warning("run %s/%s: %s is redacted by pattern: %s", run.namespace, run.name, label, told)
            source = f"{source}; redacted by pattern: {told}"
        return replace(one, name=name, value=text, source=source)

    def _value(self, text: str, counts: Counter[str], *, parse: bool) -> str | None:
        """A value without what matches; ``None`` if it cannot be made so.

        An array or object is searched in its elements, as whoever reads it will see them: in its text they
        may stand escaped. It keeps its type.
        """
        value = _parsed(text) if parse else None
        if isinstance(value, list):
            value = [self._text(one, counts) for one in value]
        elif isinstance(value, dict):
            items = [(self._text(key, counts), self._text(one, counts)) for key, one in value.items()]
            value = dict(items)
            if len(value) != len(items):
                return None
        else:
            return self._text(text, counts)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if counts else text

    def _text(self, text: str, counts: Counter[str] | None = None) -> str:
        """A text without what matches. Every pattern sees it as it was; overlapping matches become one."""
        raw = text.encode("utf-8", "surrogatepass")
        pieces: list[bytes] = []
        done = 0
        for start, end, names in _merged(self._spans(raw, counts)):
            mark = self._mark.replace("NAME", "+".join(sorted(names)))
            pieces += [raw[done:start], mark.encode()]
            done = end
        return b"".join([*pieces, raw[done:]]).decode("utf-8", "surrogatepass") if done else text

    def _spans(self, raw: bytes, counts: Counter[str] | None) -> Iterator[tuple[int, int, str]]:
        for name, pattern in self._patterns.items():
            spans = [one.span() for one in islice(pattern.finditer(raw), _MATCHES + 1)]
            if len(spans) > _MATCHES:
                spans = [(0, len(raw))]
            for start, end in spans:
                if start == end:
                    continue
                if counts is not None:
                    counts[name] += 1
                yield *_whole(raw, start, end), name

    def _problem(self, one: Problem, known: Mapping[Key, bool]) -> Problem:
        name = one.result
        if name is not None and not _is_known(name, known):
            name = self._text(name)
        return replace(one, message=self._text(one.message), hint=self._text(one.hint), result=name)

    def _carrier(self, one: TransportUsage, known: Mapping[Key, bool]) -> TransportUsage:
        names = {name if step is None else f"step-{step}.{name}" for step, name in known}
        return replace(
            one, results=tuple(name if name in names else self._text(name) for name in one.results)
        )

    def _clean(self, error: Exception) -> ResultsError | None:
        """What to raise instead, where a backend's own error, or what led to it, says what matches."""
        words = "".join(traceback.format_exception(error))
        if self._text(words) == words:
            return None
        if isinstance(error, ResultsError):
            try:
                return type(error)(self._text(error.message), subject=self._text(error.subject))
            except TypeError:  # made in a way of its own
                return BackendError(self._text(error.message))
        return BackendError(
            f"the backend failed in extract: {type(error).__name__}, in words that are redacted"
        )


def _declared(run: Run) -> dict[Key, bool]:
    """Every result that counts, and whether it is to be an array or object."""
    known: dict[Key, bool] = {
        (step.name, one.name): one.type != "string" for step in run.steps for one in step.results
    }
    for one in run.results:
        key = (None, one.name) if one.from_step is None else (one.from_step.step, one.from_step.result)
        known[key] = known.get(key, False) or one.type != "string"
        known.setdefault((None, one.name), False)
    return known


def _is_known(name: str, known: Mapping[Key, bool]) -> bool:
    return any(one == name for _, one in known)


def _withheld(one: ExtractedResult, name: str, label: str, why: str, hint: str = "") -> Problem:
    return Problem(
        code=ProblemCode.WITHHELD,
        message=f'{label} is withheld by the extension "redact": {why}',
        result=name,
        step=one.step,
        hint=hint,
    )


def _parsed(text: str) -> list[str] | dict[str, str] | None:
    """An array or object of strings; ``None`` for what is neither and will be refused as that."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [None]
    return value if all(isinstance(one, str) for one in inside) else None


def _whole(raw: bytes, start: int, end: int) -> tuple[int, int]:
    r"""A match widened to whole characters: RE2's ``\C`` is a byte."""
    while start > 0 and raw[start] & 0xC0 == 0x80:  # noqa: PLR2004 - a byte within a character of UTF-8
        start -= 1
    while end < len(raw) and raw[end] & 0xC0 == 0x80:  # noqa: PLR2004 - likewise
        end += 1
    return start, end


def _merged(spans: Iterator[tuple[int, int, str]]) -> Iterator[tuple[int, int, set[str]]]:
    """Matches in order, those that overlap as one."""
    held: tuple[int, int, set[str]] | None = None
    for start, end, name in sorted(spans):
        if held is not None and start < held[1]:
            held = (held[0], max(held[1], end), held[2] | {name})
            continue
        if held is not None:
            yield held
        held = (start, end, {name})
    if held is not None:
        yield held
