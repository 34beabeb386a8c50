"""Writes the value of a reference into a file of the pod, verified, before the pod's Steps start."""

import hashlib
from pathlib import Path

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resultsfw_sidecar.stop import Stop

MODE = 0o644
"""Steps may run as any user."""


class PlacingError(Exception):
    """A file cannot be placed; the message is for people and contains no secret."""


def place(file: str, digest: str, pieces: "Iterable[bytes]", stop: "Stop") -> None:
    """Writes one file; it appears under its name only when it is complete.

    Args:
        file: Its path.
        digest: `sha256:` and the digest that it must have, in hexadecimal.
        pieces: Its bytes.
        stop: Where signals are noticed.

    Raises:
        PlacingError: It has another digest, or the pod is being stopped.
        OSError: It cannot be written.
    """
    sha, part = hashlib.sha256(), Path(f"{file}.part")
    try:
        with part.open("wb", buffering=0) as target:
            part.chmod(MODE)
            for piece in pieces:
                if stop.requested:
                    raise PlacingError("the pod is being stopped")
                sha.update(piece)
                left = memoryview(piece)
                while left:
                    left = left[target.write(left) or 0 :]
        if f"sha256:{sha.hexdigest()}" != digest:
            raise PlacingError("it has another digest: it is not what was stored")
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
