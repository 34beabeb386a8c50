"""Change what a pod delivered and signed: each wrong signer, forger or replayer does one thing wrong.

Most of them have the pod's own key, as only the results sidecar should have: so every rule of the verifier
is tested alone, behind a signature that is valid.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from resultsfw.signatures import pod_identity
from resultsfw.testing.signing_ca import Template, ca_template, new_authority, svid_template
from resultsfw.testing.signing_forgery import Scene, resigned, statement_of
from resultsfw.types import ExtractedResult, Extraction, Reference
from resultsfw_signing.statement import result_subject

__all__ = ["ABSENT", "ATTACKS", "REFUSED", "TYPED", "Attack", "with_intermediate"]

ABSENT: Final = "never"
REFUSED: Final = "refused"
TYPED: Final = "list"
"""Names of the results of `signing.WRITES` that no Step writes, that is refused, and that is an array."""

_ANOTHER_UID: Final = "00000000-0000-4000-8000-000000000000"
_ANOTHER_DOMAIN: Final = "example.com"
_UNDECLARED: Final = "undeclared"
_PAST: Final = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Attack:
    """A change of what a pod delivered, with which it must not verify.

    Attributes:
        change: Maps what was delivered to what arrives.
        names: Results that the condition must name.
        all_withheld: Whether no result may be kept; else those named may not.
    """

    change: Callable[[Scene, Extraction], Extraction]
    names: tuple[str, ...] = ()
    all_withheld: bool = True


ATTACKS: Final[dict[str, Attack]] = {}
"""The attacks, by the name that their test has in a report."""

_Change: TypeAlias = Callable[[Scene, Extraction], Extraction]


def _attack(*names: str, all_withheld: bool = False) -> Callable[[_Change], _Change]:
    """Note an attack under the name of its function."""

    def note(change: _Change) -> _Change:
        name = change.__name__.strip("_").replace("_", "-")
        ATTACKS[name] = Attack(change, names, all_withheld or not names)
        return change

    return note


# Values that are not those that were signed.


@_attack("first", "second")
def _values_swapped(_: Scene, found: Extraction) -> Extraction:
    return _swap(found, "first", "second")


@_attack("first", "second")
def _values_swapped_with_their_tekton_signatures(_: Scene, found: Extraction) -> Extraction:
    keys = dict(found.tekton_signatures)
    keys["first.sig"], keys["second.sig"] = keys.get("second.sig", ""), keys.get("first.sig", "")
    return replace(_swap(found, "first", "second"), tekton_signatures=keys)


@_attack("first")
def _value_changed(_: Scene, found: Extraction) -> Extraction:
    value = _value(found, "first")
    if isinstance(value, Reference):
        return _with_value(found, "first", replace(value, digest=f"sha256:{'0' * 64}"))
    return _with_value(found, "first", value.swapcase())


@_attack(TYPED)
def _array_joined_with_commas(_: Scene, found: Extraction) -> Extraction:
    """Two arrays that are equal in Tekton's format, which joins the elements with commas."""
    return _with_value(found, TYPED, '["s3cr3t-pa55","b"]')


@_attack(ABSENT)
def _absent_result_added(_: Scene, found: Extraction) -> Extraction:
    return _with_value(found, ABSENT, "forged")


@_attack(REFUSED)
def _refused_result_added(_: Scene, found: Extraction) -> Extraction:
    added = _with_value(found, REFUSED, "forged")
    return replace(added, problems=tuple(problem for problem in found.problems if problem.result != REFUSED))


@_attack("first")
def _result_dropped(_: Scene, found: Extraction) -> Extraction:
    return replace(found, results=tuple(result for result in found.results if result.name != "first"))


@_attack(REFUSED)
def _refusal_dropped(_: Scene, found: Extraction) -> Extraction:
    return replace(found, problems=())


@_attack(_UNDECLARED)
def _undeclared_result_added(_: Scene, found: Extraction) -> Extraction:
    return _with_value(found, _UNDECLARED, "forged")


# No signature.


@_attack()
def _envelope_stripped(_: Scene, found: Extraction) -> Extraction:
    return replace(found, envelope="", tekton_signatures={})


@_attack()
def _envelope_stripped_but_tekton_signatures(_: Scene, found: Extraction) -> Extraction:
    return replace(found, envelope="")


@_attack()
def _signer_without_identity(_: Scene, found: Extraction) -> Extraction:
    return replace(found, envelope="", envelope_fault="NoIdentity: the suite says so", tekton_signatures={})


@_attack()
def _envelope_truncated(_: Scene, found: Extraction) -> Extraction:
    return replace(found, envelope=found.envelope[: len(found.envelope) * 3 // 4])


@_attack()
def _envelope_too_large(scene: Scene, found: Extraction) -> Extraction:
    """A valid one, with more text around it than any backend keeps room for."""
    return resigned(scene, found, more={"padding": "A" * 200_000})


@_attack()
def _signature_doubled(_: Scene, found: Extraction) -> Extraction:
    document = json.loads(found.envelope)
    return replace(found, envelope=json.dumps({**document, "signatures": document["signatures"] * 2}))


@_attack()
def _payload_of_another_type(scene: Scene, found: Extraction) -> Extraction:
    return resigned(scene, found, payload_type="application/json")


@_attack()
def _payload_changed(_: Scene, found: Extraction) -> Extraction:
    """A result's signature is stripped: the statement lacks it, and nothing was signed anew."""
    statement = statement_of(found)
    statement["subject"] = [subject for subject in statement["subject"] if not _is(subject, "first")]
    payload = b64encode(json.dumps(statement, separators=(",", ":")).encode()).decode()
    return replace(found, envelope=json.dumps({**json.loads(found.envelope), "payload": payload}))


@_attack()
def _key_of_another_certificate(scene: Scene, found: Extraction) -> Extraction:
    """The pod's certificate, and a signature by another key."""
    stranger = scene.root.issue_svid(scene.spiffe_id)
    return resigned(scene, found, signer=replace(scene.credential, key=stranger.key))


# Identities that are not the pod's.


@_attack()
def _foreign_domain(scene: Scene, found: Extraction) -> Extraction:
    name = str(pod_identity(_ANOTHER_DOMAIN, scene.run, scene.pod_uid))
    return resigned(scene, found, signer=new_authority(_ANOTHER_DOMAIN).issue_svid(name))


@_attack()
def _foreign_domain_by_our_authority(scene: Scene, found: Extraction) -> Extraction:
    name = str(pod_identity(_ANOTHER_DOMAIN, scene.run, scene.pod_uid))
    return resigned(scene, found, signer=scene.root.issue_svid(name))


@_attack()
def _foreign_authority(scene: Scene, found: Extraction) -> Extraction:
    return resigned(scene, found, signer=scene.foreign.issue_svid(scene.spiffe_id))


@_attack()
def _identity_of_another_run(scene: Scene, found: Extraction) -> Extraction:
    name = pod_identity(scene.domain, replace(scene.run, name="another"), scene.pod_uid)
    return resigned(scene, found, signer=scene.root.issue_svid(str(name)))


@_attack()
def _identity_of_another_pod(scene: Scene, found: Extraction) -> Extraction:
    name = pod_identity(scene.domain, scene.run, _ANOTHER_UID)
    return resigned(scene, found, signer=scene.root.issue_svid(str(name)))


@_attack()
def _identity_of_the_run_without_its_pod(scene: Scene, found: Extraction) -> Extraction:
    """The identity that Tekton's format has."""
    name = scene.spiffe_id.partition("/pod/")[0]
    return resigned(scene, found, signer=scene.root.issue_svid(name))


@_attack()
def _certificate_expired(scene: Scene, found: Extraction) -> Extraction:
    return _with_certificate(scene, found, svid_template(scene.spiffe_id, at=datetime.now(UTC) - _PAST))


@_attack()
def _certificate_not_yet_valid(scene: Scene, found: Extraction) -> Extraction:
    return _with_certificate(scene, found, svid_template(scene.spiffe_id, at=datetime.now(UTC) + _PAST))


@_attack()
def _certificate_of_an_authority(scene: Scene, found: Extraction) -> Extraction:
    return _with_certificate(scene, found, replace(svid_template(scene.spiffe_id), ca=True))


@_attack()
def _certificate_that_may_not_sign(scene: Scene, found: Extraction) -> Extraction:
    return _with_certificate(scene, found, replace(svid_template(scene.spiffe_id), usages=("key_agreement",)))


@_attack()
def _intermediate_missing(scene: Scene, found: Extraction) -> Extraction:
    issued = scene.root.subordinate(ca_template(scene.domain, serial_number="2")).issue_svid(scene.spiffe_id)
    return resigned(scene, found, signer=replace(issued, intermediates=()))


# Statements that were signed, and are about something else.


@_attack()
def _replayed_from_another_run(scene: Scene, found: Extraction) -> Extraction:
    """A run of the same name: the identity is the same, as far as the name goes."""
    return _with_predicate(scene, found, "run", uid=_ANOTHER_UID)


@_attack()
def _replayed_from_another_attempt(scene: Scene, found: Extraction) -> Extraction:
    return _with_predicate(scene, found, "run", attempt=scene.run.attempt + 1)


@_attack()
def _replayed_from_another_pod(scene: Scene, found: Extraction) -> Extraction:
    return _with_predicate(scene, found, "pod", uid=_ANOTHER_UID)


@_attack()
def _replayed_from_another_namespace(scene: Scene, found: Extraction) -> Extraction:
    return _with_predicate(scene, found, "run", namespace="another")


@_attack()
def _replayed_with_its_identity(scene: Scene, found: Extraction) -> Extraction:
    """Everything of another run's pod: what it delivered, signed, and its identity."""
    other = replace(scene.run, name="another", uid=_ANOTHER_UID)
    statement = statement_of(found)
    statement["predicate"]["run"] |= {"name": other.name, "uid": other.uid}
    statement["predicate"]["pod"] = {"uid": _ANOTHER_UID}
    signer = scene.root.issue_svid(str(pod_identity(scene.domain, other, _ANOTHER_UID)))
    return resigned(scene, found, statement, signer=signer)


@_attack()
def _another_spec(scene: Scene, found: Extraction) -> Extraction:
    statement = statement_of(found)
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    return resigned(scene, found, statement)


@_attack("first")
def _result_left_out_of_the_statement(scene: Scene, found: Extraction) -> Extraction:
    statement = statement_of(found)
    statement["subject"] = [subject for subject in statement["subject"] if not _is(subject, "first")]
    return resigned(scene, found, statement)


@_attack(ABSENT)
def _absence_left_out_of_the_statement(scene: Scene, found: Extraction) -> Extraction:
    statement = statement_of(found)
    statement["predicate"]["absent"].remove(result_subject(ABSENT))
    return resigned(scene, found, statement)


@_attack(result_subject(_UNDECLARED), all_withheld=True)
def _undeclared_result_in_the_statement(scene: Scene, found: Extraction) -> Extraction:
    statement = statement_of(found)
    first = next(subject for subject in statement["subject"] if _is(subject, "first"))
    statement["subject"].append({**first, "name": result_subject(_UNDECLARED)})
    return resigned(scene, found, statement)


@_attack(TYPED)
def _result_of_another_type(scene: Scene, found: Extraction) -> Extraction:
    statement = statement_of(found)
    for subject in statement["subject"]:
        if _is(subject, TYPED):
            subject["annotations"]["type"] = "string"
    return resigned(scene, found, statement)


@_attack("first")
def _value_signed_as_absent(scene: Scene, found: Extraction) -> Extraction:
    statement = statement_of(found)
    statement["subject"] = [subject for subject in statement["subject"] if not _is(subject, "first")]
    statement["predicate"]["absent"].append(result_subject("first"))
    return resigned(scene, found, statement)


@_attack(ABSENT)
def _absence_signed_as_a_value(scene: Scene, found: Extraction) -> Extraction:
    statement = statement_of(found)
    first = next(subject for subject in statement["subject"] if _is(subject, "first"))
    statement["predicate"]["absent"].remove(result_subject(ABSENT))
    statement["subject"].append({**first, "name": result_subject(ABSENT)})
    return resigned(scene, found, statement)


def with_intermediate(scene: Scene, found: Extraction) -> Extraction:
    """Sign with a certificate that an intermediate authority issued: nothing is wrong with that."""
    intermediate = scene.root.subordinate(ca_template(scene.domain, serial_number="2"))
    return resigned(scene, found, signer=intermediate.issue_svid(scene.spiffe_id))


def _with_certificate(scene: Scene, found: Extraction, template: Template) -> Extraction:
    return resigned(scene, found, signer=scene.root.issue(template))


def _with_predicate(scene: Scene, found: Extraction, part: str, **changes: object) -> Extraction:
    statement = statement_of(found)
    statement["predicate"][part] |= changes
    return resigned(scene, found, statement)


def _is(subject: Mapping[str, object], name: str) -> bool:
    return subject["name"] == result_subject(name)


def _value(found: Extraction, name: str) -> str | Reference:
    return next(result.value for result in found.results if (result.step, result.name) == (None, name))


def _with_value(found: Extraction, name: str, value: str | Reference) -> Extraction:
    """Return what was delivered with another value of a Task's result, or with one more."""
    kept = tuple(result for result in found.results if (result.step, result.name) != (None, name))
    return replace(found, results=(*kept, ExtractedResult(name=name, value=value, source="the suite")))


def _swap(found: Extraction, first: str, second: str) -> Extraction:
    values = _value(found, first), _value(found, second)
    return _with_value(_with_value(found, first, values[1]), second, values[0])
