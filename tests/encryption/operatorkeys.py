"""Makes keys as an operator does, with few bits, for the sake of time."""

from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def private_pem(name):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def add_key(folder, name, *, of=None):
    """Adds NAME.pem; with `of`, the key that has that name elsewhere."""
    (folder / f"{name}.pem").write_bytes(private_pem(of or name))
