"""SHA-256 by the interpreter's own code: hashlib would load OpenSSL, 2 ms and 4 MB at every start."""

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256  # Python 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256  # Python 3.11
        except ImportError:
            from hashlib import sha256  # an interpreter built without its own

__all__ = ["sha256"]
