"""Open the store that an operator names by its URL."""

from typing import Final
from urllib.parse import urlsplit

from resultsfw.errors import InputError
from resultsfw.server.object_results import open_object_store
from resultsfw.server.store import Store

__all__ = ["open_store"]

_POSTGRESQL: Final = ("postgresql", "postgres")


def open_store(url: str, *, quota: int = 0, password_file: str | None = None) -> Store:
    """Open the store at a URL: ``file:``, ``s3:``, ``gs:``, ``az:``, ``sqlite:`` or ``postgresql:``.

    Args:
        url: Of the store.
        quota: Bytes of one namespace; 0 for no limit.
        password_file: A file with the password of a PostgreSQL database.

    Raises:
        InputError: The URL is invalid, or the store cannot be opened.
    """
    scheme = urlsplit(url).scheme
    if password_file is not None and scheme not in _POSTGRESQL:
        raise InputError(
            "--store-password-file is for a store postgresql://... only", subject="--store-password-file"
        )
    if scheme != "sqlite" and scheme not in _POSTGRESQL:
        return open_object_store(url, quota)
    # Imported where a database is used: SQLAlchemy takes time, psycopg is an extra of its own.
    from resultsfw.server.database_results import DatabaseResults  # noqa: PLC0415

    if scheme == "sqlite":
        from resultsfw.server.sqlite import open_sqlite  # noqa: PLC0415

        return DatabaseResults(open_sqlite(url), quota)
    from resultsfw.server.postgresql import open_postgresql  # noqa: PLC0415

    return DatabaseResults(open_postgresql(url, password_file), quota)
