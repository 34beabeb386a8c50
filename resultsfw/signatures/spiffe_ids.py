"""Parse SPIFFE IDs, and name the identity of a run's pod.

Source: https://github.com/spiffe/spiffe, standards/SPIFFE-ID.md.
"""

import re
from dataclasses import dataclass
from typing import Final

from resultsfw.errors import InputError
from resultsfw.signatures.reasons import shown
from resultsfw.types import Run
from resultsfw_signing.statement import pod_path

__all__ = ["SpiffeId", "check_trust_domain", "parse_spiffe_id", "pod_identity"]

_BYTES: Final = 2048
_SPIFFE_ID: Final = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]{1,2048}){0,1024})")
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A SPIFFE ID.

    Attributes:
        trust_domain: The trust domain: ``example.org``.
        path: "", or a slash and what follows it: ``/ns/default/taskrun/build``.
    """

    trust_domain: str
    path: str = ""

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"


def parse_spiffe_id(text: str) -> SpiffeId:
    """Return the SPIFFE ID in a text (SPIFFE-ID, 2.1 to 2.4).

    Raises:
        InputError: It has another form, other letters than the specification allows, or more than 2048 bytes.
    """
    found = _SPIFFE_ID.fullmatch(text) if len(text) <= _BYTES else None
    if found is None or {".", ".."} & set(found[2].split("/")):
        raise InputError(
            f"{shown(text)} is not a SPIFFE ID: spiffe://, a trust domain of lower-case letters, digits and "
            f'". - _", and a path of letters, digits and ". - _" without empty, "." and ".." segments',
            subject="SPIFFE ID",
        )
    return SpiffeId(found[1], found[2])


def check_trust_domain(text: str) -> str:
    """Return the name of a trust domain.

    Raises:
        InputError: The text is not a trust domain, such as a SPIFFE ID.
    """
    if not _TRUST_DOMAIN.fullmatch(text):
        raise InputError(
            f"{shown(text)} is not a trust domain: at most 255 lower-case letters, digits and "
            f'". - _", such as example.org',
            subject="trust domain",
        )
    return text


def pod_identity(trust_domain: str, run: Run, pod_uid: str) -> SpiffeId:
    """Return the SPIFFE ID with which the pod of a run signs."""
    return SpiffeId(trust_domain, pod_path(run.namespace, run.name, pod_uid))
