"""Run transactions on SQLite or PostgreSQL: with limits of time, and every failure as a refusal.

Nothing that is stored appears in a message: SQLAlchemy hides parameters, and only the first line of a
database's error is logged, since PostgreSQL writes rows into the others.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from resultsfw.errors import InputError
from resultsfw.server.database_schema import is_current, migrate
from resultsfw.server.store import first_line, unavailable

__all__ = ["POOL", "Database"]

POOL: Final[dict[str, Any]] = {
    "pool_size": 4,
    "max_overflow": 6,
    "pool_timeout": 5,
    "pool_recycle": 1800,
    "hide_parameters": True,
}
"""Arguments of every engine: as many connections as there are threads that use one, and two for cleanups."""

log = logging.getLogger(__name__)

_READ_ONLY: Final = "25006"
"""PostgreSQL's code for a server that takes no writes: a standby, or a primary that became one."""

_Answer = TypeVar("_Answer")


class Database:
    """A database with our tables. Safe for threads.

    Args:
        engine: Whose connections have limits of time.
    """

    def __init__(self, engine: Engine) -> None:
        self.dialect = engine.dialect.name
        self._engine = engine
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._migrated = False

    def open(self) -> None:
        """Bring the tables to this version, if the database can be reached: else the first use does.

        Raises:
            InputError: The tables are of a newer version, or the file is not a database that can be written.
        """
        try:
            self._migrate()
        except SQLAlchemyError as error:
            if isinstance(_cause(error), sqlite3.Error):  # a file of this machine: waiting does not help
                self.close()
                raise InputError(f"--store: {first_line(_cause(error))}", subject="--store") from error
            # The first use tries again, and logs why it fails.
        except BaseException:
            self.close()
            raise

    def read(self, do: Callable[[Connection], _Answer]) -> _Answer:
        """Call a function that reads with one statement.

        Raises:
            RefusalError: The database cannot be reached, or failed.
        """
        return self._run(self._reading, do)

    def write(self, do: Callable[[Connection], _Answer]) -> _Answer:
        """Call a function within a transaction, which is rolled back if it raises.

        It may be called a second time, if the database closed the connection that it had.

        Raises:
            RefusalError: The database cannot be reached or written, or failed.
        """
        with self._writer():
            return self._run(self._engine, do)

    @contextmanager
    def _writer(self) -> Iterator[None]:
        """Let the threads write one after the other to a file: they would wait by polling it otherwise."""
        if self.dialect != "sqlite":
            yield
            return
        if not self._writing.acquire(timeout=POOL["pool_timeout"]):
            raise unavailable(TimeoutError("other threads write to the database for too long"))
        try:
            yield
        finally:
            self._writing.release()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _run(self, engine: Engine, do: Callable[[Connection], _Answer]) -> _Answer:
        try:
            self._migrate()
            try:
                with engine.begin() as connection:
                    return do(connection)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            # The database closed connections that were idle, in a restart say. All of them are replaced now.
            with engine.begin() as connection:
                return do(connection)
        except InputError as error:
            raise unavailable(error) from error
        except SQLAlchemyError as error:
            if getattr(_cause(error), "sqlstate", None) == _READ_ONLY:
                self._engine.dispose()  # there may be another primary by now
            raise unavailable(_cause(error)) from error

    def _migrate(self) -> None:
        if self._migrated:
            return
        # While a database does not answer, its callers do not wait one after the other.
        if not self._lock.acquire(timeout=POOL["pool_timeout"]):
            raise unavailable(TimeoutError("the tables of the database could not be checked yet"))
        try:
            if not self._migrated:
                with self._reading.begin() as connection:
                    current = is_current(connection)
                if not current:
                    with self._engine.begin() as connection:
                        migrate(connection)
                    log.info("the tables of the database are of this version now")
                self._migrated = True
        finally:
            self._lock.release()


def _cause(error: SQLAlchemyError) -> BaseException:
    """Return the driver's error, which names no statement."""
    return error.orig or error if isinstance(error, DBAPIError) else error
