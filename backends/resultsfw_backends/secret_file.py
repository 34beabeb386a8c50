"""Key provider ``secret-file``: RSA keys in the files of a folder, as a mounted Secret has them.

A key is a file ``NAME.pem`` with an unencrypted private key. Of several, the last by name seals; all unseal.
So a key is rotated by adding a file, such as ``2026-11.pem`` to ``2026-05.pem``.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from resultsfw.errors import CorruptError, ForbiddenError
from resultsfw.keys import SealingKey

try:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from resultsfw_transports.encryption import LEAST_RSA_BITS, OAEP
except ImportError as import_error:
    raise ImportError(
        f"{import_error}; install it with: pip install 'resultsfw[encryption]'"
    ) from import_error

__all__ = ["Options", "SecretFile"]

_FILE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,63})\.pem")
_BYTES: Final = 65_536
_FINGERPRINT: Final = 16


class Options(BaseModel):
    """Options of the key provider ``secret-file``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    folder: str = Field(default="/var/run/secrets/resultsfw.dev/keys", max_length=512)
    """Folder with the keys."""

    @field_validator("folder")
    @classmethod
    def _check_folder(cls, folder: str) -> str:
        if not Path(folder).is_absolute():
            raise ValueError("it must be an absolute path")
        return folder


class SecretFile:
    """Reads the keys at each use: a Secret may have changed."""

    Config = Options

    def __init__(self, config: Options) -> None:
        self._folder = Path(config.folder)

    def sealing_key(self) -> SealingKey:
        """Return the public key of the last key by name.

        Raises:
            ForbiddenError: There is none, or it cannot be read.
        """
        try:
            names = sorted(
                found[1] for path in self._folder.iterdir() if (found := _FILE.fullmatch(path.name))
            )
        except OSError as error:
            raise self._unreadable("", error) from error
        if not names:
            raise ForbiddenError(
                f"{self._folder} has no file NAME.pem with a key for encryption", subject=str(self._folder)
            )
        key = self._read(names[-1])
        return SealingKey(id=_id_of(names[-1], key), public_key=_public(key).decode())

    def unseal(self, key_id: str, sealed: bytes) -> bytes:
        """Return what was sealed with the key of that name.

        Raises:
            ForbiddenError: There is no such key, or another one has its name.
            CorruptError: It was not sealed with that key.
        """
        name = key_id.partition(":")[0]
        if not _FILE.fullmatch(f"{name}.pem"):
            raise ForbiddenError(f'there is no key "{key_id:.200}"', subject=key_id)
        key = self._read(name)
        if (known := _id_of(name, key)) != key_id:
            raise ForbiddenError(
                f'the value was encrypted for key "{key_id:.200}", and {self._folder}/{name}.pem is '
                f'"{known}", another one: add the former under a name of its own',
                subject=key_id,
            )
        try:
            return key.decrypt(sealed, OAEP)
        except ValueError:
            raise CorruptError(f'it was not sealed with key "{key_id}"', subject=key_id) from None

    def _read(self, name: str) -> RSAPrivateKey:
        """Return a private key.

        Raises:
            ForbiddenError: It cannot be read, or is none.
        """
        path = self._folder / f"{name}.pem"
        try:
            with path.open("rb") as file:
                text = file.read(_BYTES)
        except FileNotFoundError as error:
            raise ForbiddenError(
                f'there is no key "{name}" in {self._folder}: it was removed, or is not there yet',
                subject=name,
            ) from error
        except OSError as error:
            raise self._unreadable(f"/{name}.pem", error) from error
        if (key := _private_key(text)) is None:
            # Without the library's message, and without a cause: it may quote the file.
            raise ForbiddenError(
                f"{path} is no unencrypted private RSA key of {LEAST_RSA_BITS} bits or more in PEM",
                subject=name,
            )
        return key

    def _unreadable(self, name: str, error: OSError) -> ForbiddenError:
        return ForbiddenError(
            f"keys for encryption cannot be read: {self._folder}{name}: {error.strerror}",
            subject=str(self._folder),
        )


@lru_cache(maxsize=32)
def _private_key(text: bytes) -> RSAPrivateKey | None:
    """Return the key of a file's content; ``None`` if it is none. Cached: the library checks its primes."""
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (TypeError, ValueError):
        return None
    return key if isinstance(key, RSAPrivateKey) and key.key_size >= LEAST_RSA_BITS else None


def _public(key: RSAPrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def _id_of(name: str, key: RSAPrivateKey) -> str:
    """Return a key's id: its name, and the beginning of the SHA-256 of its public half in PEM."""
    return f"{name}:{hashlib.sha256(_public(key)).hexdigest()[:_FINGERPRINT]}"
