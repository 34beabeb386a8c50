"""Extension ``redact``: replace text that matches a pattern before anything is stored or logged.

The patterns are RE2's, whose time is proportional to the text for every pattern: a Step chooses the text, and
with a backtracking engine it could block a worker for hours. Results by reference cannot be searched, and are
refused unless the operator allows them.
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
    ARTIFACTS,
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
from resultsfw.option_types import in_words

try:
    import re2
except ImportError as error:
    raise ImportError('it needs google-re2: pip install "resultsfw[redact]"') from error

__all__ = ["Redact", "RedactConfig"]

log = logging.getLogger(__name__)

_MATCHES: Final = 10_000
"""Maximum matches of one pattern in one text; with more, the whole text is replaced."""

Key = tuple[str | None, str]
"""Identifies a result: its Step (``None`` for the Task's results) and its name."""


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _is_pattern(pattern: str) -> str:
    try:
        compiled = _compiled(pattern)
    except re2.error as error:
        reason = error.args[0]
        message = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        # After the colon RE2 quotes the pattern, which readers of the log need not know.
        raise ValueError(f"RE2 does not accept it: {message.partition(':')[0]}") from None
    if compiled.search("") is not None:
        raise ValueError("it matches the empty text, and so at every place")
    return pattern


Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$"),
    in_words('must be a name of at most 40 letters, digits, "_", "." and "-" that begins with none of these'),
]
Pattern = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_is_pattern)]
Mark = Annotated[
    str,
    StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,80}$"),
    in_words("must be 1 to 80 characters of one line"),
]


class RedactConfig(BaseModel):
    """Options of ``config.redact``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    patterns: Annotated[dict[Name, Pattern], Field(min_length=1, max_length=100, validate_default=True)] = {}
    """Regular expressions (RE2) by name; logs and marks show the name; at least one."""
    mark: Mark = "[redacted:NAME]"
    """The replacement; NAME becomes the pattern's name."""
    references: Literal["refuse", "allow"] = "refuse"
    """Whether to refuse or allow results by reference, which cannot be searched."""


class Redact:
    """Wrap every backend's ``extract``.

    Args:
        config: The operator's options.
    """

    Config: ClassVar[type[BaseModel]] = RedactConfig

    def __init__(self, config: RedactConfig) -> None:
        self._patterns = {name: _compiled(pattern) for name, pattern in config.patterns.items()}
        self._mark = config.mark
        self._refuses = config.references == "refuse"

    @hookimpl(wrapper=True)
    def extract(self, run: Run) -> Generator[None, Extraction, Extraction]:
        """Return the extraction with all matches replaced."""
        try:
            extraction = yield
        except Exception as error:
            if (clean := self._clean(error)) is None:
                raise
            raise clean from None
        known = _declared(run)
        found: list[ExtractedResult] = []
        refused: dict[Key, Problem] = {}
        for result in extraction.results:
            redacted = self._redact(run, result, known)
            if isinstance(redacted, Problem):
                refused[result.step, result.name] = redacted
            else:
                refused.pop((result.step, result.name), None)  # of two with one name, the later counts
                found.append(redacted)
        return replace(
            extraction,
            results=tuple(result for result in found if (result.step, result.name) not in refused),
            problems=(*(self._problem(problem, known) for problem in extraction.problems), *refused.values()),
            transports=tuple(self._transport(usage, known) for usage in extraction.transports),
        )

    def _redact(
        self, run: Run, result: ExtractedResult, known: Mapping[Key, bool]
    ) -> ExtractedResult | Problem:
        """Return the redacted result, or the problem for which it is withheld."""
        key = (result.step, result.name)
        name = result.name if key in known else self._text(result.name)
        label = result_label(name, result.step)
        source = self._text(result.source)
        if isinstance(result.value, Reference):
            if self._refuses:
                why = "it arrived by reference and cannot be searched"
                hint = 'the option "references: allow" in "config.redact" lets such results pass'
                return _withheld(result, name, label, why, hint)
            return replace(result, name=name, source=source)
        counts: Counter[str] = Counter()
        if result.name == ARTIFACTS:
            text = self._document(result.value, counts)
        else:
            text = self._value(result.value, counts, parse=known.get(key, False))
        if text is None:
            return _withheld(result, name, label, "two of its keys are the same once they are redacted")
        if counts:
            matches = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
            log.warning("run %s/%s: %s is redacted by pattern: %s", run.namespace, run.name, label, matches)
            source = f"{source}; redacted by pattern: {matches}"
        return replace(result, name=name, value=text, source=source)

    def _value(self, text: str, counts: Counter[str], *, parse: bool) -> str | None:
        """Return a value with all matches replaced; ``None`` if two keys of an object become the same.

        An array or object is searched in its elements, as a reader will see them: in the JSON text they may
        be escaped. The value keeps its type.
        """
        value = _parse_strings(text) if parse else None
        if isinstance(value, list):
            value = [self._text(element, counts) for element in value]
        elif isinstance(value, dict):
            items = [(self._text(key, counts), self._text(text, counts)) for key, text in value.items()]
            value = dict(items)
            if len(value) != len(items):
                return None
        else:
            return self._text(text, counts)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if counts else text

    def _document(self, text: str, counts: Counter[str]) -> str | None:
        """Return provenance of artifacts, or any other JSON, with its strings redacted.

        What is not JSON is searched as text: the core leaves it out. ``None`` if two keys become the same.
        """

        def redacted(value: Any) -> Any:
            if isinstance(value, str):
                return self._text(value, counts)
            if isinstance(value, list):
                return [redacted(element) for element in value]
            if isinstance(value, dict):
                changed = {self._text(key, counts): redacted(element) for key, element in value.items()}
                if len(changed) != len(value):
                    raise KeyError
                return changed
            return value

        try:
            document = redacted(json.loads(text))
        except KeyError:
            return None
        except (ValueError, RecursionError):
            return self._text(text, counts)
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")) if counts else text

    def _text(self, text: str, counts: Counter[str] | None = None) -> str:
        """Return a text with all matches replaced; overlapping matches of the original are merged."""
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
            spans = [match.span() for match in islice(pattern.finditer(raw), _MATCHES + 1)]
            if len(spans) > _MATCHES:
                spans = [(0, len(raw))]
            for start, end in spans:
                if start == end:
                    continue
                if counts is not None:
                    counts[name] += 1
                yield *_whole_characters(raw, start, end), name

    def _problem(self, problem: Problem, known: Mapping[Key, bool]) -> Problem:
        name = problem.result
        if name is not None and not _is_known(name, known):
            name = self._text(name)
        return replace(
            problem, message=self._text(problem.message), hint=self._text(problem.hint), result=name
        )

    def _transport(self, usage: TransportUsage, known: Mapping[Key, bool]) -> TransportUsage:
        names = {name if step is None else f"step-{step}.{name}" for step, name in known}
        return replace(
            usage, results=tuple(name if name in names else self._text(name) for name in usage.results)
        )

    def _clean(self, error: Exception) -> ResultsError | None:
        """Return the error to raise instead; ``None`` if neither the error nor its causes match."""
        texts = "".join(traceback.format_exception(error))
        if self._text(texts) == texts:
            return None
        if isinstance(error, ResultsError):
            try:
                return type(error)(self._text(error.message), subject=self._text(error.subject))
            except TypeError:  # its class takes other arguments
                return BackendError(self._text(error.message))
        return BackendError(
            f"the backend failed in extract: {type(error).__name__}, with a message that is redacted"
        )


def _declared(run: Run) -> dict[Key, bool]:
    """Return every declared result, and whether it is an array or object."""
    known: dict[Key, bool] = {
        (step.name, result.name): result.type != "string" for step in run.steps for result in step.results
    }
    for result in run.results:
        origin = result.from_step
        key = (None, result.name) if origin is None else (origin.step, origin.result)
        known[key] = known.get(key, False) or result.type != "string"
        known.setdefault((None, result.name), False)
    return known | dict.fromkeys(
        ((step, ARTIFACTS) for step in (None, *(step.name for step in run.steps))), True
    )


def _is_known(name: str, known: Mapping[Key, bool]) -> bool:
    return any(known_name == name for _, known_name in known)


def _withheld(extracted: ExtractedResult, name: str, label: str, why: str, hint: str = "") -> Problem:
    return Problem(
        code=ProblemCode.WITHHELD,
        message=f'{label} is withheld by the extension "redact": {why}',
        result=name,
        step=extracted.step,
        hint=hint,
    )


def _parse_strings(text: str) -> list[str] | dict[str, str] | None:
    """Return an array or object of strings; ``None`` for anything else, which the core refuses later."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    elements = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [None]
    return value if all(isinstance(element, str) for element in elements) else None


def _whole_characters(raw: bytes, start: int, end: int) -> tuple[int, int]:
    r"""Return a match extended to whole characters, because RE2's ``\C`` matches a byte."""
    while start > 0 and raw[start] & 0xC0 == 0x80:  # noqa: PLR2004 - a byte within a character of UTF-8
        start -= 1
    while end < len(raw) and raw[end] & 0xC0 == 0x80:  # noqa: PLR2004 - as above
        end += 1
    return start, end


def _merged(spans: Iterator[tuple[int, int, str]]) -> Iterator[tuple[int, int, set[str]]]:
    """Yield matches in order, with overlapping ones merged."""
    merged: tuple[int, int, set[str]] | None = None
    for start, end, name in sorted(spans):
        if merged is not None and start < merged[1]:
            merged = (merged[0], max(merged[1], end), merged[2] | {name})
            continue
        if merged is not None:
            yield merged
        merged = (start, end, {name})
    if merged is not None:
        yield merged
