"""Build ResolutionRequests as Tekton's controller does, and read what resolvers wrote into them. Pure.

The name of a request is a digest of who asks for what, so that the PipelineRun which validates a Task and the
TaskRun which runs it share one request, and none is made twice. It is Tekton's own (pkg/resolution/resource,
GenerateDeterministicNameFromSpec).
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cluster import Kind, Object
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.kinds import RESOLUTION_REQUESTS
from resultsfw.tekton.api.owners import owner_reference
from resultsfw.tekton.resolution.outcomes import ResolutionFailed
from resultsfw.tekton.resolution.references import Reference
from resultsfw.tekton.resolution.terms import FAILED, Terms
from resultsfw.tekton.spec.params import param_value

__all__ = [
    "ASKED_LABEL",
    "POLL_SECONDS",
    "Requester",
    "build_request",
    "condition_of",
    "content_of",
    "is_answered",
    "ref_source_of",
    "request_name",
]

ASKED_LABEL: Final = "resultsfw.dev/asked"
"""A label of our own requests, by which the watch excludes the requests of Tekton's runs."""

_SOURCE_BYTES: Final = 32_768
"""Of where something was found: addresses and a few digests."""

TYPE_LABEL: Final = "resolution.tekton.dev/type"
"""By this each of Tekton's resolvers finds the requests that are its own."""

_LONGEST: Final = 63
_FNV_OFFSET: Final = 0x6C62272E07BB014262B821756295C58D
_FNV_PRIME: Final = 0x0000000001000000000000000000013B
_WORD: Final = (1 << 128) - 1


POLL_SECONDS: Final = 5.0
"""Seconds between two checks for an answer, if no watch reports it."""


@dataclass(frozen=True, slots=True)
class Requester:
    """The run that asks a resolver.

    Attributes:
        run: The run; requests are deleted with it.
        kind: Of the run.
        name: From which the request's name is made: of the run itself, or of the TaskRun that it will create.
        terms: Of resolvers; ``None``: they may take until the run's timeout.
    """

    run: Object
    kind: Kind
    name: str
    terms: Terms | None = None

    @property
    def namespace(self) -> str:
        """The namespace of the run and of its requests."""
        return str(self.run["metadata"].get("namespace", ""))


def request_name(reference: Reference, requester: Requester) -> str:
    """Return the name of a request: the resolver's, and a digest (FNV-1a, 128 bits)."""
    texts = [f"{requester.namespace}/{requester.name}"]
    for param in sorted(reference.params, key=lambda param: param["name"].encode()):
        texts += (param["name"], _hashed(param["value"]))
    digest = f"{_fnv1a(''.join([*texts, reference.name]).encode('utf-8', 'surrogatepass')):032x}"
    return f"{reference.resolver[: _LONGEST - len(digest) - 1]}-{digest}"


def build_request(reference: Reference, requester: Requester) -> Object:
    """Return the ResolutionRequest for a reference with a resolver.

    Its owner reference does not name the run as its controller, as Tekton's does: Tekton's controller would
    reconcile the run, whoever manages it (docs/decisions/0006).
    """
    spec: Object = {"params": [dict(param) for param in reference.params]} if reference.params else {}
    if reference.name:
        spec["url"] = reference.name
    return {
        "apiVersion": RESOLUTION_REQUESTS.api_version,
        "kind": RESOLUTION_REQUESTS.kind,
        "metadata": {
            "name": request_name(reference, requester),
            "namespace": requester.namespace,
            "labels": {TYPE_LABEL: reference.resolver, ASKED_LABEL: "true"},
            "ownerReferences": [owner_reference(requester.run, requester.kind, controller=False)],
        },
        "spec": spec,
    }


def is_answered(request: Object, wanted: Object) -> bool:
    """Return whether a request has its answer, which may be an error.

    Args:
        request: As the server has it.
        wanted: As `build_request` builds it.

    Raises:
        ResolutionFailed: The resolver failed, or the request asks for something else.
    """
    if _asked(request) != _asked(wanted):
        # Names are digests that can be forged: an answer to other params is not accepted.
        name = request["metadata"]["name"]
        raise ResolutionFailed(
            f'{FAILED}the ResolutionRequest "{name}" has other params than expected; delete it', subject=name
        )
    state = condition_of(request)
    if state.get("status") == "False":
        raise ResolutionFailed(
            FAILED + str(state.get("message") or state.get("reason") or ""),
            subject=request["metadata"]["name"],
        )
    return state.get("status") == "True"


def condition_of(request: Object) -> Object:
    """Return the Succeeded condition of a request; empty without one.

    Tekton's CRD says nothing of the shape of a status: whoever may write one may write anything.
    """
    status = request.get("status")
    given = status.get("conditions") if isinstance(status, dict) else None
    conditions = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
    return succeeded({"status": {"conditions": conditions}})


def content_of(request: Object) -> str:
    """Return the text that a resolver found.

    Raises:
        ResolutionFailed: It is not base64 of a text, or is larger than an API object can be.
    """
    name, data = request["metadata"]["name"], (request.get("status") or {}).get("data") or ""
    try:
        content = base64.b64decode(data.encode("ascii"), validate=True)
        if len(content) > OBJECT_BYTES:
            raise ResolutionFailed(
                f"{FAILED}it has {len(content)} bytes, over the limit of {OBJECT_BYTES} bytes of an object",
                subject=name,
            )
        return content.decode("utf-8")
    except (binascii.Error, UnicodeError, AttributeError) as error:
        raise ResolutionFailed(
            "error accessing data from remote resource: error decoding data from base64 to text",
            subject=name,
        ) from error


def ref_source_of(request: Object) -> Object | None:
    """Return where the resolver found it: ``uri``, ``digest`` and ``entryPoint``, as far as it says.

    Raises:
        ResolutionFailed: It is so large that it would take the space of results in the run's status.
    """
    source = (request.get("status") or {}).get("refSource")
    if not isinstance(source, dict):
        return None
    found: Object = {key: source[key] for key in ("uri", "entryPoint") if isinstance(source.get(key), str)}
    digest = source.get("digest")
    if isinstance(digest, dict) and all(isinstance(value, str) for value in digest.values()):
        found["digest"] = digest
    if (size := object_size(found)) > _SOURCE_BYTES:
        raise ResolutionFailed(
            f"its refSource has {size} bytes, over the limit of {_SOURCE_BYTES} bytes; the resolver has to "
            f"name the source in fewer",
            subject=request["metadata"]["name"],
        )
    return found or None


def _asked(request: Object) -> tuple[Any, ...]:
    """Return what a request asks for."""
    spec, labels = request.get("spec") or {}, request["metadata"].get("labels") or {}
    spec = spec if isinstance(spec, dict) else {}
    given = spec.get("params")
    params = [
        (param.get("name"), param_value(param.get("value")))
        for param in (given if isinstance(given, list) else ())
        if isinstance(param, dict)
    ]
    return (labels.get(TYPE_LABEL, ""), spec.get("url") or "", params)


def _hashed(value: Any) -> str:
    """Return a value as it goes into the digest: lists and objects as Go encodes them."""
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _fnv1a(data: bytes) -> int:
    digest = _FNV_OFFSET
    for byte in data:
        digest = ((digest ^ byte) * _FNV_PRIME) & _WORD
    return digest
