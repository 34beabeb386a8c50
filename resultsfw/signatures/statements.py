"""Parse the statement that a pod signed about its results; `resultsfw_signing.statement` writes it.

Source: https://github.com/in-toto/attestation, spec/v1/statement.md, which has unknown fields ignored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.signatures.reasons import Reason, refusal, shown
from resultsfw.signatures.strict_json import StrictJsonError, parse_object
from resultsfw_signing.statement import (
    ARRAY,
    ARTIFACTS,
    OBJECT,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    STRING,
    TASK_SPEC,
)

__all__ = ["SignedResult", "SignedStatement", "parse_statement"]

_TYPES: Final = frozenset({STRING, ARRAY, OBJECT, ARTIFACTS})
_HEX: Final = re.compile("[0-9a-f]{64}")
_WHOLE: Final = range(2**63)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedResult:
    """A delivered result, as it was signed.

    Attributes:
        digest: SHA-256 in hexadecimal: of the value, or of the stored bytes, if it is a reference.
        size: Bytes of the value.
        type: ``string``, ``array``, ``object`` or ``artifacts``.
        encrypted: Whether the stored bytes are the encrypted value.
    """

    digest: str
    size: int
    type: str
    encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedStatement:
    """What a pod signed. The names of results are those of subjects: ``results/NAME``.

    Attributes:
        namespace: The run's namespace.
        name: The run's name.
        uid: The run's uid.
        attempt: The run's attempt.
        pod_uid: The uid of its pod.
        spec_digest: SHA-256 of the Task's spec in hexadecimal.
        results: The delivered results.
        absent: Results that no Step wrote.
        refused: Results that were written and are not delivered, each with the reason.
    """

    namespace: str
    name: str
    uid: str
    attempt: int
    pod_uid: str
    spec_digest: str
    results: Mapping[str, SignedResult]
    absent: frozenset[str]
    refused: Mapping[str, str]

    @property
    def subjects(self) -> frozenset[str]:
        """Return the names of all results that it is about."""
        return frozenset(self.results) | self.absent | frozenset(self.refused)


def parse_statement(payload: bytes, *, limit: int) -> SignedStatement:
    """Return the statement in a payload.

    Args:
        payload: The payload.
        limit: Bytes that it may have, as `resultsfw_signing.statement.longest_payload` computes them.

    Raises:
        SignatureError: It is not a statement about results.
    """
    try:
        return _statement(parse_object(payload, limit=limit))
    except StrictJsonError as error:
        raise refusal(
            Reason.MALFORMED_STATEMENT, f"what was signed is not a statement about results: {error}"
        ) from None


def _statement(document: dict[str, Any]) -> SignedStatement:
    if document.get("_type") != STATEMENT_TYPE or document.get("predicateType") != PREDICATE_TYPE:
        raise StrictJsonError(f"it is not of type {STATEMENT_TYPE} with a predicate {PREDICATE_TYPE}")
    predicate = _field(document, "predicate", dict)
    run = _field(predicate, "run", dict)
    subjects = _subjects(_field(document, "subject", list))
    spec = subjects.pop(TASK_SPEC, None)
    if spec is None:
        raise StrictJsonError(f'it has no subject "{TASK_SPEC}"')
    absent = _field(predicate, "absent", list)
    refused = _field(predicate, "refused", dict)
    if not all(isinstance(text, str) for text in (*absent, *refused.values())):
        raise StrictJsonError("an absent or refused result is not named by a text")
    results = {name: _result(name, subject) for name, subject in subjects.items()}
    names = [*results, *absent, *refused]
    if len(set(names)) != len(names):
        raise StrictJsonError("it has a result twice")
    return SignedStatement(
        namespace=_field(run, "namespace", str),
        name=_field(run, "name", str),
        uid=_field(run, "uid", str),
        attempt=_whole(run, "attempt"),
        pod_uid=_field(_field(predicate, "pod", dict), "uid", str),
        spec_digest=_digest(TASK_SPEC, spec),
        results=results,
        absent=frozenset(absent),
        refused=refused,
    )


def _subjects(subjects: list[Any]) -> dict[str, dict[str, Any]]:
    by_name = {}
    for subject in subjects:
        if not isinstance(subject, dict):
            raise StrictJsonError("one of its subjects is not an object")
        by_name[_field(subject, "name", str)] = subject
    if len(by_name) != len(subjects):
        raise StrictJsonError("it has a subject twice")
    return by_name


def _result(name: str, subject: Mapping[str, Any]) -> SignedResult:
    annotations = _field(subject, "annotations", dict)
    kind, encrypted = annotations.get("type"), annotations.get("encrypted", False)
    if not isinstance(kind, str) or kind not in _TYPES or not isinstance(encrypted, bool):
        raise StrictJsonError(f"the annotations of {shown(name)} are not those of a result")
    return SignedResult(
        digest=_digest(name, subject), size=_whole(annotations, "bytes"), type=kind, encrypted=encrypted
    )


def _digest(name: str, subject: Mapping[str, Any]) -> str:
    digest = _field(subject, "digest", dict).get("sha256")
    if not isinstance(digest, str) or not _HEX.fullmatch(digest):
        raise StrictJsonError(f"{shown(name)} has no SHA-256 digest")
    return digest


def _field(parent: Mapping[str, Any], key: str, kind: type) -> Any:
    value = parent.get(key)
    if not isinstance(value, kind):
        raise StrictJsonError(f'its "{key}" is not a {kind.__name__}')
    return value


def _whole(parent: Mapping[str, Any], key: str) -> int:
    value = parent.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value not in _WHOLE:
        raise StrictJsonError(f'its "{key}" is not a whole number')
    return value
