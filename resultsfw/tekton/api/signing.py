"""Tekton's settings about signed results, as the extension `signed` fulfils them.

In Tekton, the flag ``enforce-nonfalsifiability: spire`` makes the Steps' entrypoint sign, and the ConfigMap
``config-spire`` says where SPIRE is. Here the flag is a promise that the extension keeps, and the ConfigMap's
keys are defaults of its options.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from resultsfw.errors import FlagError
from resultsfw.flags import Flags, parse_flags

__all__ = ["CONFIG_SPIRE", "EXTENSION", "signing_fault", "signs_results", "with_spire"]

EXTENSION: Final = "signed"
"""Name of the extension that signs and verifies results."""

CONFIG_SPIRE: Final = "config-spire"

_OFF: Final = (False, "off")
"""The policy of the extension that signs nothing; YAML reads the word without quotes as false."""

_SHOWN: Final = 60


def signs_results(flags: Mapping[str, str]) -> bool:
    """Return whether the extension that signs results is among those that ``feature-flags`` loads."""
    return EXTENSION in _parsed(flags).extensions


def signing_fault(flags: Mapping[str, str]) -> str:
    """Return why results are not signed in every namespace under ``feature-flags``; "" if they are."""
    parsed = _parsed(flags)
    if EXTENSION not in parsed.extensions:
        return f'only the extension "{EXTENSION}" signs results, and "extensions" does not name it'
    options = parsed.config.get(EXTENSION, {})
    unsigned = [f'of the namespace "{name:.{_SHOWN}}"' for name in sorted(_unsigned_namespaces(options))]
    if options.get("policy") in _OFF:
        unsigned.insert(0, "of all other namespaces" if options.get("namespaces") else "of all namespaces")
    if unsigned:
        return (
            f'the policy {unsigned[0]} in "config.{EXTENSION}" is off, so that their results are not signed; '
            f"set it to fail or mark"
        )
    return ""


def _unsigned_namespaces(options: Mapping[str, Any]) -> Iterator[str]:
    namespaces = options.get("namespaces")
    if isinstance(namespaces, dict):
        yield from (str(name) for name, policy in namespaces.items() if policy in _OFF)


def _parsed(flags: Mapping[str, str]) -> Flags:
    """Return the flags, or the defaults if one is invalid: whoever loads them rejects the edit."""
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
