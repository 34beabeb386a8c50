"""Open a SQLite file as the server's database: for one machine, without another service."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection, create_engine, event

from resultsfw.errors import InputError
from resultsfw.server.database import POOL, Database

__all__ = ["default_url", "open_sqlite"]

_BUSY_SECONDS: Final = 5.0
"""How long a transaction waits while another one writes."""

_PAUSE: Final = 0.01
"""Seconds between attempts to change the mode of a file."""

_PRAGMAS: Final = (
    "auto_vacuum = INCREMENTAL",  # before all others: it takes effect in a new file only
    "journal_mode = WAL",  # reads wait for no writer
    "synchronous = FULL",  # what was answered with 201 survives a crash of the machine
    "journal_size_limit = 16777216",
)


def default_url() -> str:
    """Return the URL of the file that ``results-server --local`` uses.

    Raises:
        InputError: There is no home folder.
    """
    try:
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    except RuntimeError as error:
        raise InputError("there is no home folder: give --store", subject="--store") from error
    return f"sqlite://{Path(state, 'resultsfw', 'results.sqlite')}"


def open_sqlite(url: str) -> Database:
    """Open the database at ``sqlite:///PATH``; the file is made, readable by its owner only.

    Raises:
        InputError: The URL is invalid, or the file cannot be opened, or is of a newer version.
    """
    parts = urlsplit(url)
    file = Path(unquote(parts.path))
    if parts.netloc or parts.query or not file.is_absolute() or not file.name:
        raise InputError(f"--store {url}: a SQLite file is given as sqlite:///PATH", subject="--store")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise InputError(f"--store {url}: {error.strerror}", subject="--store") from error
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=os.fspath(file)),
        connect_args={"timeout": _BUSY_SECONDS},
        **POOL,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    database = Database(engine)
    database.open()
    return database


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    until = time.monotonic() + _BUSY_SECONDS
    for pragma in _PRAGMAS:
        while True:
            try:
                connection.execute(f"PRAGMA {pragma}")
                break
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself where it changes the mode of a file that others open, too.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
            time.sleep(_PAUSE)


def _begin(connection: Connection) -> None:
    """Begin a transaction that writes: it waits for others now; once it has read something, it could not."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
