"""Encrypts values before they are stored, and decrypts them; the format of both sides.

Each process that stores values makes a data key, and seals it with the operator's public key (RSA-OAEP with
SHA-256, which key management services unseal, too): it can seal and not unseal. Each value has a key of its
own, derived from the data key, a random salt and the owner of the value.

A value is cut into chunks of `CHUNK` bytes, and each is encrypted with AES-256-GCM. The nonce is the chunk's
number and whether it is the last one (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar): a
value that is cut, extended or put together otherwise is noticed, in the memory of one chunk.
"""

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VERSION = "v1"
CHUNK = 65_536
"""Bytes of a value in a chunk."""
TAG = 16
"""Bytes that a chunk has more when it is encrypted."""

_KEY = 32
_SALT = 16
_OWNER = 32
LEAST_RSA_BITS = 2048

OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
"""How data keys are sealed."""


class EncryptionError(Exception):
    """A key or a value is not what it must be; the message is for people and contains no secret."""


class Encryptor:
    """Encrypts the values of one owner.

    Args:
        key_id: Name of the operator's key: letters, digits and ``_ : -``.
        public_key: The operator's public key in PEM.
        owner: Whose values they are: ``NAMESPACE/UID``.

    Raises:
        EncryptionError: The key is none for RSA.
    """

    def __init__(self, key_id: str, public_key: str, owner: str) -> None:
        self._owner = owner
        self._data_key = os.urandom(_KEY)
        sealed = public_key_of(public_key).encrypt(self._data_key + _digest(owner), OAEP)
        self._sealed = f"{VERSION}.{key_id}.{_encode(sealed)}"

    def value(self) -> "tuple[bytes, str]":
        """Returns the key for another value, and the text by which its reader finds that key."""
        salt = os.urandom(_SALT)
        return value_key(self._data_key, salt, self._owner), f"{self._sealed}.{_encode(salt)}"


def public_key_of(pem: str) -> RSAPublicKey:
    """Returns a public key.

    Raises:
        EncryptionError: It is none of RSA with enough bits.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except ValueError:
        raise EncryptionError("it is no public key in PEM") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_RSA_BITS:
        raise EncryptionError(f"it is no RSA key of {LEAST_RSA_BITS} bits or more")
    return key


def parse(text: str) -> "tuple[str, bytes, bytes]":
    """Returns the name of the operator's key, the sealed data key, and the salt of a value.

    Args:
        text: As `Encryptor.value` returns it, or anything.

    Raises:
        EncryptionError: It is no such text.
    """
    try:
        version, key_id, sealed, salt = text.split(".")
        parsed = key_id, _decode(sealed), _decode(salt)
    except (ValueError, binascii.Error):
        version, parsed = "", ("", b"", b"")
    if version != VERSION or len(parsed[2]) != _SALT:
        raise EncryptionError("what it says of its encryption cannot be read: it was edited, or is newer")
    return parsed


def data_key_of(unsealed: bytes, owner: str) -> bytes:
    """Returns the data key in what was sealed.

    Whoever can read a status has the sealed data keys in it: one of another owner is refused, so that nobody
    gets a key by a reference of his own making.

    Args:
        unsealed: What `Encryptor` sealed, or anything.
        owner: Whose values the data key must be for.

    Raises:
        EncryptionError: It is none, or of another owner.
    """
    if len(unsealed) != _KEY + _OWNER or unsealed[_KEY:] != _digest(owner):
        raise EncryptionError(f"its data key is not one of {owner}")
    return unsealed[:_KEY]


def value_key(data_key: bytes, salt: bytes, owner: str) -> bytes:
    """Returns the key of one value."""
    info = f"resultsfw {VERSION} {owner}".encode()
    return HKDF(hashes.SHA256(), _KEY, salt=salt, info=info).derive(data_key)


def encrypted(key: bytes, pieces: "Iterable[bytes]") -> "Iterator[bytes]":
    """Yields a value encrypted.

    Args:
        key: Of this value; never of two.
        pieces: Its bytes, in pieces of any size.
    """
    cipher = AESGCM(key)
    for number, chunk, last in _chunks(pieces, CHUNK):
        yield cipher.encrypt(_nonce(number, last=last), chunk, None)


def decrypted(key: bytes, pieces: "Iterable[bytes]") -> "Iterator[bytes]":
    """Yields a value that `encrypted` encrypted; all that is yielded is as it was.

    Raises:
        EncryptionError: Something was changed, or it is cut, or encrypted with another key.
    """
    cipher = AESGCM(key)
    for number, chunk, last in _chunks(pieces, CHUNK + TAG):
        try:
            yield cipher.decrypt(_nonce(number, last=last), chunk, None)
        except InvalidTag:
            raise EncryptionError(
                f"it cannot be decrypted from byte {number * CHUNK} on: it was changed or cut, or encrypted "
                f"with another key"
            ) from None


def encrypted_size(size: int) -> int:
    """Returns the bytes that a value of a size has when it is encrypted."""
    return size + TAG * max(-(-size // CHUNK), 1)


def value_size(stored: int) -> int:
    """Returns the bytes of a value of which so many are stored, encrypted."""
    return stored - TAG * max(-(-stored // (CHUNK + TAG)), 1)


def _chunks(pieces: "Iterable[bytes]", size: int) -> "Iterator[tuple[int, bytes, bool]]":
    """Yields number, bytes, and whether it is the last one; there is at least one, perhaps empty."""
    held, number = bytearray(), 0
    for piece in pieces:
        held += piece
        at = 0
        while len(held) - at > size:  # a full chunk may be the last one
            yield number, bytes(held[at : at + size]), False
            at += size
            number += 1
        del held[:at]
    yield number, bytes(held), True


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _digest(owner: str) -> bytes:
    return hashlib.sha256(owner.encode()).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
