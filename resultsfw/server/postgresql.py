"""Open a PostgreSQL database as the server's: shared by several replicas.

libpq reads the URL and the environment (``PGPASSWORD``, ``PGPASSFILE``, ``PGSSLMODE``, ``PGSSLROOTCERT``), as
for ``psql``. Beyond that, TLS with a verified name is the default, and nothing is waited for without a limit.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import create_engine

from resultsfw.errors import InputError
from resultsfw.server.database import POOL, Database

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError as missing:
    raise InputError(
        "--store: PostgreSQL needs psycopg, which is not installed: "
        "pip install 'resultsfw[results-server-postgresql]'",
        subject="--store",
    ) from missing

__all__ = ["open_postgresql"]

_CONNECT_SECONDS: Final = 5

_ANSWER_SECONDS: Final = 15.0
"""Seconds within which the server must answer: a stopped one does not obey its own timeouts either."""

_TIMEOUTS: Final = (
    "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=20s"
    " -c client_min_messages=error"
)

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class _Cursor(psycopg.Cursor[Any]):
    """Receives bytes as they are: as text they would take twice the memory."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.format = psycopg.pq.Format.BINARY


class _Connection(psycopg.Connection[Any]):
    """Ends a connection whose server does not answer."""

    def wait(self, *args: Any, **named: Any) -> Any:
        """Wait for the server; see `psycopg.Connection.wait`."""
        with _cut(self.pgconn.socket):
            return super().wait(*args, **named)


@contextmanager
def _cut(descriptor: int) -> Iterator[None]:
    """Shut the socket down unless the context ends in time: whoever waits for an answer reads its end."""
    with socket.socket(fileno=os.dup(descriptor)) as sock:

        def shut() -> None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(_ANSWER_SECONDS, shut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def open_postgresql(url: str, password_file: str | None) -> Database:
    """Open the database at ``postgresql://[USER@]HOST[:PORT]/NAME[?OPTION=VALUE]``.

    A database that cannot be reached now is opened, too: the server is not ready until it can.

    Args:
        url: As libpq knows it, but without a password.
        password_file: A file with the password, read for each connection.

    Raises:
        InputError: The URL is invalid or has a password, or the tables are of a newer version.
    """
    settings = _settings(url)

    def connect() -> psycopg.Connection[Any]:
        password: dict[str, Any] = {}
        if password_file is not None:
            try:
                password = {"password": Path(password_file).read_text(encoding="utf-8").rstrip("\r\n")}
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or "is not UTF-8"
                raise psycopg.OperationalError(f"--store-password-file {password_file}: {why}") from None
        return _Connection.connect(**settings, **password, cursor_factory=_Cursor, prepare_threshold=None)

    engine = create_engine("postgresql+psycopg://", creator=connect, use_native_hstore=False, **POOL)
    database = Database(engine)
    database.open()
    return database


def _settings(url: str) -> dict[str, Any]:
    """Return the arguments of a connection."""
    if "password" in parse_qs(urlsplit(url).query) or ":" in urlsplit(url).netloc.rpartition("@")[0]:
        raise InputError(
            "--store: the URL has a password, which others on this machine could read: give it by "
            "--store-password-file, PGPASSFILE or PGPASSWORD",
            subject="--store",
        )
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise InputError(f"--store {url}: {str(error).strip()}", subject="--store") from error
    settings: dict[str, Any] = {
        "fallback_application_name": "resultsfw-results-server",
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 10_000,
        **given,
    }
    settings["options"] = f"{given.get('options') or os.environ.get('PGOPTIONS', '')} {_TIMEOUTS}".strip()
    if "sslmode" not in given and "PGSSLMODE" not in os.environ and not _is_local(given):
        settings["sslmode"] = "verify-full"
    return settings


def _is_local(settings: dict[str, Any]) -> bool:
    """Return whether connections do not leave this machine."""
    hosts = settings.get("hostaddr") or settings.get("host") or os.environ.get("PGHOST", "")
    return all(host in _LOOPBACK or host[:1] in ("", "/", "@") for host in str(hosts).split(","))
