"""Tekton's settings about signed results, as the extension `signed` fulfils them.

In Tekton, the flag ``enforce-nonfalsifiability: spire`` makes the Steps' entrypoint sign, and the ConfigMap
``config-spire`` names SPIRE's server, socket and trust domain. Here the flag is a promise that the extension
keeps, and the ConfigMap's keys are defaults of its options.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from resultsfw.errors import FlagError
from resultsfw.flags import Flags, parse_flags

__all__ = [
    "CONFIG_SPIRE",
    "EXTENSION",
    "SignedNamespaces",
    "signed_namespaces",
    "signing_fault",
    "with_spire",
]

EXTENSION: Final = "signed"
"""Name of the extension that signs and verifies results."""

CONFIG_SPIRE: Final = "config-spire"

_OFF: Final = (False, "off")
"""The policy of the extension that signs nothing; YAML reads the word without quotes as false."""

_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class SignedNamespaces:
    """In which namespaces results are signed.

    Attributes:
        elsewhere: Whether they are in every namespace that is not in ``named``.
        named: The namespaces with a policy of their own, each with whether results are signed there.
    """

    elsewhere: bool = False
    named: tuple[tuple[str, bool], ...] = ()

    def __contains__(self, namespace: str) -> bool:
        """Return whether results are signed in a namespace."""
        return dict(self.named).get(namespace, self.elsewhere)


def signed_namespaces(flags: Mapping[str, str]) -> SignedNamespaces:
    """Return where results are signed under the data of ``feature-flags``."""
    parsed = _parsed(flags)
    if EXTENSION not in parsed.extensions:
        return SignedNamespaces()
    options = parsed.config.get(EXTENSION, {})
    named = options.get("namespaces")
    policies = named if isinstance(named, dict) else {}
    return SignedNamespaces(
        options.get("policy") not in _OFF,
        tuple(sorted((str(name), policy not in _OFF) for name, policy in policies.items())),
    )


def signing_fault(flags: Mapping[str, str]) -> str:
    """Return why results are not signed in every namespace under ``feature-flags``; "" if they are."""
    if EXTENSION not in _parsed(flags).extensions:
        return f'only the extension "{EXTENSION}" signs results, and "extensions" does not name it'
    signed = signed_namespaces(flags)
    unsigned = [f'of the namespace "{name:.{_SHOWN}}"' for name, is_signed in signed.named if not is_signed]
    if not signed.elsewhere:
        unsigned.insert(0, "of all other namespaces" if signed.named else "of all namespaces")
    if unsigned:
        return (
            f'the policy {unsigned[0]} in "config.{EXTENSION}" is off, so that their results are not signed; '
            f"set it to fail or mark"
        )
    return ""


def _parsed(flags: Mapping[str, str]) -> Flags:
    """Return the flags, or the defaults if a flag is invalid: the code that loads them rejects the edit."""
    try:
        return parse_flags(flags)
    except FlagError:
        return Flags()


def with_spire(flags: Flags, spire: Mapping[str, str]) -> Flags:
    """Return flags whose options of the extension have the defaults that ``config-spire`` sets.

    Args:
        flags: As ``feature-flags`` sets them.
        spire: Data of ``config-spire``.
    """
    if EXTENSION not in flags.extensions:
        return flags
    options = dict(flags.config.get(EXTENSION, {}))
    for key, option in (("spire-trust-domain", "trust-domain"), ("spire-socket-path", "controller-socket")):
        if value := spire.get(key, "").strip():
            options.setdefault(option, value)
    entries = options.get("entries")
    if isinstance(entries, dict) and (server := spire.get("spire-server-addr", "").strip()):
        options["entries"] = {"server": server, **entries}
    return replace(flags, config={**flags.config, EXTENSION: options})
