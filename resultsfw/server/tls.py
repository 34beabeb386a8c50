"""Load the server's certificate, and reload it when its files change."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from resultsfw.errors import InputError

__all__ = ["Certificate"]

log = logging.getLogger(__name__)


class Certificate:
    """A certificate and its private key.

    Args:
        cert: The file with the certificate chain.
        key: The file with the private key.
        on_reload: Called with whether a changed certificate was accepted.

    Raises:
        InputError: They cannot be loaded.

    Attributes:
        context: For the server; new connections use what it has loaded.
    """

    def __init__(self, cert: str, key: str, on_reload: Callable[[bool], None] = lambda _: None) -> None:
        self._cert = cert
        self._key = key
        self._on_reload = on_reload
        self._known = self._state()
        try:
            self.context = self._read()
        except (OSError, ValueError) as error:
            raise InputError(f"{cert}, {key}: cannot load the certificate: {error}", subject=cert) from error

    def refresh(self) -> None:
        """Reload the files if they changed; a certificate that does not match its key is rejected."""
        state = self._state()
        if state == self._known:
            return
        try:
            self._read()
            self.context.load_cert_chain(self._cert, self._key)
        except (OSError, ValueError) as error:
            # Two files are not replaced atomically: the next call may find both.
            log.error("%s, %s: the new certificate is rejected: %s", self._cert, self._key, error)  # noqa: TRY400
            self._on_reload(False)
            return
        self._known = state
        log.info("%s: reloaded the certificate", self._cert)
        self._on_reload(True)

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
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in files)
