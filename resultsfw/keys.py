"""Find what holds the operator's keys for encrypted results; public for backends and key providers.

A key provider is found by its entry point in the group ``resultsfw.keys``: a class whose ``Config`` has its
options, as a backend's has. Pods seal with a public key, so a provider needs to unseal only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from resultsfw.errors import BackendError, FlagError, ResultsError
from resultsfw.options import NoConfig, PluginFault, get_config_type, instantiate, validate_config
from resultsfw.plugins import find_claims, import_plugin

__all__ = ["KEYS", "KeyProvider", "SealingKey", "open_keys"]

KEYS: Final = "resultsfw.keys"
"""The entry-point group of key providers."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:-]{0,199}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """The public key with which pods seal new data keys.

    Attributes:
        id: Its name in references: letters, digits and ``_ : -``. Never used for two keys.
        public_key: The RSA key, of at least 2048 bits, in PEM.
    """

    id: str
    public_key: str

    def __post_init__(self) -> None:
        """Check the id, which becomes part of references.

        Raises:
            ValueError: It has other characters.
        """
        if not _ID.fullmatch(self.id):
            raise ValueError(
                f'the id of a sealing key must be of letters, digits and "_ : -": {self.id!a:.80}'
            )


class KeyProvider(Protocol):
    """Seals and unseals data keys: a folder with private keys, or a key management service.

    Used from several threads at once. No message may contain a key.
    """

    def sealing_key(self) -> SealingKey:
        """Return the key that seals from now on.

        Raises:
            ForbiddenError: There is none, or it cannot be read.
            UnavailableError: A later attempt may succeed.
        """

    def unseal(self, key_id: str, sealed: bytes) -> bytes:
        """Return what was sealed with a key: RSA-OAEP with SHA-256, MGF1 with SHA-256, and no label.

        Args:
            key_id: As `SealingKey.id` was, or any text of that form: it is from a status.
            sealed: The sealed bytes, or any others.

        Raises:
            ForbiddenError: There is no such key (any more), or it may not be used. The message has its id.
            CorruptError: It was not sealed with that key. The message has its id.
            UnavailableError: A later attempt may succeed.
        """


def open_keys(name: str, options: Mapping[str, Any]) -> KeyProvider:
    """Return a key provider.

    The import runs the provider's code: take the name from the operator's flags.

    Args:
        name: The name of its entry point.
        options: Its options.

    Raises:
        BackendError: No installed distribution has it, it cannot be loaded, or its options are rejected.
    """
    claims, names = find_claims(KEYS, name)
    if not claims:
        known = ", ".join(sorted(names)) or "none"
        raise BackendError(
            f'no installed distribution has a key provider "{name}" (known: {known})', subject=name
        )
    try:
        plugin: Any = import_plugin(KEYS, name, claims)
        config_type = get_config_type(plugin)
        config = validate_config(name, config_type, options)
        made = instantiate(plugin, *(() if config_type is NoConfig else (config,)))
    except FlagError as error:
        raise BackendError(error.message.partition(": ")[2], subject=name) from error
    except PluginFault as fault:
        raise BackendError(
            f'key provider "{name}" ({claims[0].origin}) cannot be used: {fault}', subject=name
        ) from fault.__cause__
    except ResultsError:
        raise
    except Exception as error:
        raise BackendError(
            f'key provider "{name}" ({claims[0].origin}) cannot be used: {type(error).__name__}', subject=name
        ) from error
    for method in ("sealing_key", "unseal"):
        if not callable(getattr(made, method, None)):
            raise BackendError(
                f'key provider "{name}" ({claims[0].origin}) cannot be used: it has no method {method}',
                subject=name,
            )
    return cast("KeyProvider", made)
