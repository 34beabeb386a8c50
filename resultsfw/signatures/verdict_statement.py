"""Parse the statement of a verdict; `resultsfw.signatures.verdict` writes it. Unknown fields are ignored."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from resultsfw.limits import OBJECT_BYTES
from resultsfw.signatures.reasons import Reason, refusal
from resultsfw.signatures.strict_json import StrictJsonError, parse_object
from resultsfw.signatures.verdict import STATUS, VERDICT_TYPE, Verdict
from resultsfw_signing.statement import STATEMENT_TYPE

__all__ = ["parse_verdict"]

_HEX: Final = re.compile("[0-9a-f]{64}")
_TIME: Final = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z")
_ATTEMPTS: Final = range(2**31)


def parse_verdict(payload: bytes) -> Verdict:
    """Return the verdict in a payload. It is not verified.

    Raises:
        SignatureError: It is not a verdict over a run.
    """
    try:
        return _verdict(parse_object(payload[: OBJECT_BYTES + 1].decode(), limit=OBJECT_BYTES))
    except UnicodeDecodeError:
        why = "it is not UTF-8"
    except StrictJsonError as error:
        why = str(error)
    raise refusal(Reason.MALFORMED_STATEMENT, f"what was signed is not a verdict over a run: {why}")


def _verdict(document: Mapping[str, Any]) -> Verdict:
    if document.get("_type") != STATEMENT_TYPE or document.get("predicateType") != VERDICT_TYPE:
        raise StrictJsonError(f"it is not of type {STATEMENT_TYPE} with a predicate {VERDICT_TYPE}")
    predicate = _field(document, "predicate", dict)
    run = _field(predicate, "run", dict)
    attempt = _field(run, "attempt", int)
    if attempt not in _ATTEMPTS:
        raise StrictJsonError("its attempt is not the number of an attempt")
    subjects = _subjects(_field(document, "subject", list))
    status = subjects.pop(STATUS, None)
    if status is None:
        raise StrictJsonError(f'it has no subject "{STATUS}"')
    listed = _field(predicate, "listed", bool)
    if subjects and not listed:
        raise StrictJsonError('it lists results although "listed" is false')
    return Verdict(
        namespace=_field(run, "namespace", str),
        name=_field(run, "name", str),
        uid=_field(run, "uid", str),
        attempt=attempt,
        pod=_field(predicate, "pod", str),
        status=status,
        results=subjects if listed else None,
        succeeded=_texts(predicate, "succeeded"),
        verification=_texts(predicate, "verification"),
        envelope=_field(predicate, "envelope", str),
        time=_time(_field(predicate, "time", str)),
    )


def _subjects(subjects: list[Any]) -> dict[str, str]:
    """Return the digest of each subject."""
    digests: dict[str, str] = {}
    for subject in subjects:
        if not isinstance(subject, dict):
            raise StrictJsonError("one of its subjects is not an object")
        digest = _field(_field(subject, "digest", dict), "sha256", str)
        if not _HEX.fullmatch(digest):
            raise StrictJsonError("one of its subjects has no SHA-256 digest")
        digests[_field(subject, "name", str)] = digest
    if len(digests) != len(subjects):
        raise StrictJsonError("it has a subject twice")
    return digests


def _texts(parent: Mapping[str, Any], key: str) -> dict[str, str]:
    texts: dict[str, str] = _field(parent, key, dict)
    if not all(isinstance(text, str) for text in texts.values()):
        raise StrictJsonError(f'its "{key}" has a value that is not a text')
    return texts


def _time(text: str) -> datetime:
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise StrictJsonError("its time is not RFC 3339 in seconds of UTC")


def _field(parent: Mapping[str, Any], key: str, kind: type) -> Any:
    value = parent.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise StrictJsonError(f'its "{key}" is not a {kind.__name__}')
    return value
