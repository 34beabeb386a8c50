"""One run with results of every kind, the envelope that its pod signs, and ways to make wrong ones."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache

from resultsfw import ARTIFACTS, ExtractedResult, Extraction, Reference, ResultSpec, Run, Step
from resultsfw.signatures import TrustBundle, pod_identity, verify_results
from resultsfw.testing.signing_ca import Authority, Credential, new_authority, new_key
from resultsfw_signing import dsse, statement

DOMAIN = "example.org"
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
POD = "pod-uid-1"
SPEC = {"steps": [{"name": "build", "image": "busybox"}]}
RUN = Run(
    namespace="team-a",
    name="build-1",
    uid="run-uid-1",
    attempt=1,
    results=(
        ResultSpec(name="digest"),
        ResultSpec(name="tags", type="array"),
        ResultSpec(name="image", type="object"),
        ResultSpec(name="absent"),
        ResultSpec(name="log"),
    ),
    steps=(Step(name="build", container="step-build", results=(ResultSpec(name="digest"),), artifacts=True),),
    artifacts=True,
    spec=SPEC,
)
VALUES = {
    (None, "digest"): "sha256:1",
    (None, "tags"): '["a","b"]',
    (None, "image"): '{"url":"x"}',
    ("build", "digest"): "sha256:2",
    (None, ARTIFACTS): '{"outputs":[]}',
    ("build", ARTIFACTS): '{"inputs":[]}',
}
LOG = b"a large log" * 1000


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


REFERENCE = Reference(
    backend="object-store",
    location="bucket/team-a/run-uid-1/log",
    size=len(LOG),
    digest=f"sha256:{sha256(LOG)}",
)


@cache
def key(kind="ec-p256", number=0):
    """A private key, made once: those of RSA take long."""
    return new_key(kind)


@cache
def _authority(domain: str) -> Authority:
    return new_authority(domain, at=AT)


def authority(domain=DOMAIN) -> Authority:
    """The root authority of a trust domain, always the same."""
    return _authority(domain)


def bundle(*authorities: Authority, domain=DOMAIN) -> TrustBundle:
    return TrustBundle(domain, tuple(issuer.certificate for issuer in authorities or (authority(domain),)))


def subject_of(step, name):
    if name == ARTIFACTS:
        return statement.artifacts_subject(step)
    return statement.result_subject(name, step)


@dataclass(frozen=True)
class Signed:
    """What a pod signs about a run; `replace` changes the signer or the statement."""

    run: Run = RUN
    pod: str = POD
    values: tuple = tuple(VALUES.items())
    references: tuple = (((None, "log"), REFERENCE),)
    absent: tuple = ((None, "absent"),)
    refused: tuple = ()
    credential: Credential | None = None
    payload_type: str = statement.PAYLOAD_TYPE

    def statement(self) -> bytes:
        types = {
            subject_of(step, spec.name): spec.type
            for step, specs in [(None, self.run.results), *((s.name, s.results) for s in self.run.steps)]
            for spec in specs
            if spec.type != "string"
        }
        run = statement.RunIdentity(self.run.namespace, self.run.name, self.run.uid, self.run.attempt)
        made = statement.Statement(run, self.pod, spec_digest=self.run.spec_digest, types=types)
        for origin, value in self.values:
            made.deliver(subject_of(*origin), digest=sha256(value.encode()), size=len(value.encode()))
        for origin, reference in self.references:
            made.deliver(
                subject_of(*origin),
                digest=reference.digest.removeprefix("sha256:"),
                size=reference.size,
                encrypted=bool(reference.encryption),
            )
        for origin in self.absent:
            made.leave_out(subject_of(*origin))
        for origin, reason in self.refused:
            made.refuse(subject_of(*origin), reason)
        return made.payload()

    def signer(self) -> Credential:
        return self.credential or authority().issue_svid(str(pod_identity(DOMAIN, self.run, self.pod)), at=AT)

    def envelope(self, payload=None) -> str:
        return seal(self.statement() if payload is None else payload, self.signer(), self.payload_type)


def with_part(document: str | bytes, path, value) -> str:
    """A JSON document with one part replaced, or removed by ``...``."""
    changed = json.loads(document)
    *above, last = path
    part = changed
    for step in above:
        part = part[step]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return json.dumps(changed)


def seal(payload: bytes, signer: Credential, payload_type=statement.PAYLOAD_TYPE) -> str:
    """The envelope of a payload, signed."""
    return dsse.format_envelope(
        payload_type,
        payload,
        key_id="",
        signature=signer.sign(dsse.signed_bytes(payload_type, payload)),
        certificate=signer.der,
        intermediates=signer.intermediates_der,
    )


def arrived(envelope=None, /, *, without=(), **changes) -> Extraction:
    """What a backend reads of that run, unchanged.

    Args:
        envelope: The envelope; by default the pod's own.
        without: Results that did not arrive.
        changes: Other fields of the extraction.
    """
    values = {**VALUES, (None, "log"): REFERENCE}
    results = tuple(
        ExtractedResult(name=name, step=step, value=value, source="test")
        for (step, name), value in values.items()
        if (step, name) not in without
    )
    envelope = Signed().envelope() if envelope is None else envelope
    return replace(Extraction(results=results, envelope=envelope), **changes)


def with_value(extraction, origin, value) -> Extraction:
    """The extraction with another value of one result, or one more result."""
    step, name = origin
    others = tuple(result for result in extraction.results if (result.step, result.name) != origin)
    extracted = ExtractedResult(name=name, step=step, value=value, source="test")
    return replace(extraction, results=(*others, extracted))


def verify(extraction, *, run=RUN, pod=POD, at=AT, trusted=None):
    return verify_results(run, pod, extraction, trusted or bundle(), at=at)


def reasons(extraction, **changes) -> list[str]:
    """The reasons of all faults."""
    return [fault.reason for fault in verify(extraction, **changes).faults]
