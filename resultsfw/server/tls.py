"""The server's certificate: read from files, and again when they change."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from resultsfw.errors import InputError

__all__ = ["Certificate"]

log = logging.getLogger(__name__)


class Certificate:
    """A certificate with its key.

    Args:
        cert: The file with the chain.
        key: The file with the private key.
        tell: Told whether a changed one was taken.

    Raises:
        InputError: They cannot be read.

    Attributes:
        context: For the server; connections made from now on get what is in it.
    """

    def __init__(self, cert: str, key: str, tell: Callable[[bool], None] = lambda _: None) -> None:
        self._cert = cert
        self._key = key
        self._tell = tell
        self._known = self._state()
        try:
            self.context = self._read()
        except (OSError, ValueError) as error:
            raise InputError(f"{cert}, {key}: no certificate with its key: {error}", subject=cert) from error

    def refresh(self) -> None:
        """Take what the files hold now, if they changed; a pair that does not fit is not taken."""
        state = self._state()
        if state == self._known:
            return
        try:
            self._read()
            self.context.load_cert_chain(self._cert, self._key)
        except (OSError, ValueError) as error:
            # Two files are not replaced at once: the next look may find both.
            log.error("%s, %s: the new certificate is rejected: %s", self._cert, self._key, error)  # noqa: TRY400
            self._tell(False)
            return
        self._known = state
        log.info("%s: reloaded the certificate", self._cert)
        self._tell(True)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key)
        return context

    def _state(self) -> tuple[tuple[int, int], ...]:
        try:
            files = (Path(self._cert).stat(), Path(self._key).stat())
        except OSError:
            return ()
        return tuple((one.st_mtime_ns, one.st_ino) for one in files)
