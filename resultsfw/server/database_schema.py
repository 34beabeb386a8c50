"""The tables of a database of deliveries, and the migrations that make them.

A released migration is never changed: a change of the tables is a further one, at the end. It must leave the
tables usable for the version before, whose replicas still serve while a Deployment is updated.
"""

from collections.abc import Callable
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
    text,
)

from resultsfw.errors import InputError

__all__ = ["DELIVERIES", "USAGE", "is_current", "migrate"]

_METADATA: Final = MetaData()

DELIVERIES: Final = Table(
    "resultsfw_deliveries",
    _METADATA,
    Column("namespace", String(63), primary_key=True),
    Column("pod", String(128), primary_key=True),
    Column("run", String(128), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("run_name", String(253), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("delivered", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""One row for each delivery. The key is the pod's, so that a pod delivers once, and not once for every run
that it names. ``size`` is that of ``body`` in bytes, ``delivered`` a time in seconds since 1970."""

USAGE: Final = Table(
    "resultsfw_usage",
    _METADATA,
    Column("namespace", String(63), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)
"""The bytes that each namespace has stored, changed in the transaction that changes its deliveries."""

_SCHEMA: Final = Table("resultsfw_schema", _METADATA, Column("version", Integer, primary_key=True))
"""One row: how many of the migrations are done."""

_LOCK: Final = 7_231_405_186
"""The key of PostgreSQL's advisory lock within which migrations run: any number that nobody else uses."""


def _create_tables(connection: Connection) -> None:
    postgresql = connection.dialect.name == "postgresql"
    connection.execute(
        text(
            "CREATE TABLE resultsfw_deliveries (namespace VARCHAR(63) NOT NULL, pod VARCHAR(128) NOT NULL, "
            "run VARCHAR(128) NOT NULL, attempt INTEGER NOT NULL, run_name VARCHAR(253) NOT NULL, "
            "sha256 VARCHAR(64) NOT NULL, size BIGINT NOT NULL, delivered BIGINT NOT NULL, "
            f"body {'BYTEA' if postgresql else 'BLOB'} NOT NULL, PRIMARY KEY (namespace, pod))"
        )
    )
    if postgresql:  # not compressed, so that a body takes no more than its size to read
        connection.execute(text("ALTER TABLE resultsfw_deliveries ALTER COLUMN body SET STORAGE EXTERNAL"))
    connection.execute(
        text("CREATE INDEX resultsfw_deliveries_run ON resultsfw_deliveries (namespace, run, attempt)")
    )
    connection.execute(text("CREATE INDEX resultsfw_deliveries_age ON resultsfw_deliveries (delivered)"))
    connection.execute(
        text(
            "CREATE TABLE resultsfw_usage (namespace VARCHAR(63) NOT NULL PRIMARY KEY, bytes BIGINT NOT NULL)"
        )
    )


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_create_tables,)


def is_current(connection: Connection) -> bool:
    """Return whether the tables are of this version, so that no right to change them is needed.

    Raises:
        InputError: They are of a newer version.
        sqlalchemy.exc.SQLAlchemyError: The database cannot be reached.
    """
    return not _pending(connection)


def migrate(connection: Connection) -> None:
    """Bring the tables to this version within a transaction, which waits for those of other servers.

    Raises:
        InputError: The tables are of a newer version.
        sqlalchemy.exc.SQLAlchemyError: The database cannot be reached or changed.
    """
    if connection.dialect.name == "postgresql":  # SQLite: the transaction itself is the lock
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    pending = _pending(connection)
    for migration in pending:
        migration(connection)
    if pending:
        _SCHEMA.create(connection, checkfirst=True)
        connection.execute(delete(_SCHEMA))
        connection.execute(insert(_SCHEMA).values(version=len(MIGRATIONS)))


def _pending(connection: Connection) -> tuple[Callable[[Connection], None], ...]:
    version = 0
    if inspect(connection).has_table(_SCHEMA.name):
        version = connection.execute(select(_SCHEMA.c.version)).scalar() or 0
    if version > len(MIGRATIONS):
        raise InputError(
            f"--store: the tables are of version {version}, and this server knows versions up to "
            f"{len(MIGRATIONS)}: a newer server has changed them; run that version",
            subject="--store",
        )
    return MIGRATIONS[version:]
