"""Store deliveries in a database: one row for each pod, and the stored bytes of each namespace beside it.

A transaction changes the rows of deliveries first, in the order of their keys, then those of the usage. So no
two wait for each other, and a namespace's quota holds whatever number of servers share the database: its row
is locked from the check to the end of the transaction.
"""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from resultsfw.server.database import Database
from resultsfw.server.database_schema import DELIVERIES, USAGE
from resultsfw.server.refusals import RefusalError
from resultsfw.server.store import ORPHAN_SECONDS, AttemptKey, unavailable
from resultsfw.server.usage import cost, quota_exceeded

__all__ = ["DatabaseResults"]

log = logging.getLogger(__name__)

_BATCH: Final = 500
"""Rows that one transaction removes: its locks are held for a short time."""

_ROW = DELIVERIES.c
_USAGE = USAGE.c

_ATTEMPT = (_ROW.namespace, _ROW.run, _ROW.attempt)
_OF_POD = and_(*(column == bindparam(column.name) for column in (*_ATTEMPT, _ROW.pod)))

# Built once: building takes as long as running them.
_length = func.length(_ROW.body)
_GET = select(
    _ROW.sha256, _length.label("length"), case((_length <= bindparam("most"), _ROW.body)).label("body")
).where(_OF_POD)
_SIZE = select(_length.label("length")).where(_OF_POD)
_STORED = select(_USAGE.bytes).where(_USAGE.namespace == bindparam("namespace"))


class DatabaseUsage:
    """See `resultsfw.server.store.StoredBytes`; the last figures while the database does not answer.

    Args:
        database: The database.
        quota: Bytes of one namespace; 0 for no limit.
    """

    def __init__(self, database: Database, quota: int) -> None:
        self.quota = quota
        self._database = database
        self._total = 0
        self._largest: list[tuple[str, int]] = []

    @property
    def total(self) -> int:
        """See `resultsfw.server.store.StoredBytes`."""
        try:
            stored = self._database.read(lambda run: run.execute(select(func.sum(_USAGE.bytes))).scalar())
        except RefusalError:
            return self._total
        self._total = int(stored or 0)
        return self._total

    def largest(self, number: int) -> list[tuple[str, int]]:
        """See `resultsfw.server.store.StoredBytes`."""
        found = select(_USAGE.namespace, _USAGE.bytes).where(_USAGE.bytes > 0)
        found = found.order_by(_USAGE.bytes.desc()).limit(number)
        try:
            rows = self._database.read(lambda run: run.execute(found).all())
        except RefusalError:
            return self._largest
        self._largest = [(row.namespace, row.bytes) for row in rows]
        return self._largest


class DatabaseResults:
    """See `resultsfw.server.store.Store`.

    Args:
        database: The database.
        quota: Bytes of one namespace; 0 for no limit.

    Attributes:
        usage: The stored bytes of each namespace, and its quota.
    """

    def __init__(self, database: Database, quota: int = 0) -> None:
        self._database = database
        insert: Any = postgresql.insert if database.dialect == "postgresql" else sqlite.insert
        changed = _USAGE.bytes + bindparam("change", type_=BigInteger)
        self._deliver = insert(DELIVERIES).on_conflict_do_nothing()
        self._count = insert(USAGE).on_conflict_do_update(
            index_elements=[_USAGE.namespace], set_={"bytes": case((changed > 0, changed), else_=0)}
        )
        self.usage = DatabaseUsage(database, quota)

    def admit(self, attempt_key: AttemptKey, pod: str, size: int) -> None:
        """See `resultsfw.server.store.Store`."""
        if not self.usage.quota:
            return
        namespace, quota = attempt_key.namespace, self.usage.quota
        stored = self._database.read(lambda run: _stored(run, namespace))
        if stored + _cost(size) > quota:
            try:
                self.size(attempt_key, pod)  # the same body again takes no more bytes
            except RefusalError as error:
                if error.code != "NotFound":
                    raise
                raise quota_exceeded(namespace, stored, _cost(size), quota) from None

    def put(self, attempt_key: AttemptKey, pod: str, body: bytes, name: str = "") -> tuple[str, bool]:
        """See `resultsfw.server.store.Store`."""
        sha256 = hashlib.sha256(body).hexdigest()
        row = {
            "namespace": attempt_key.namespace,
            "pod": pod,
            "run": attempt_key.run,
            "attempt": attempt_key.attempt,
            "run_name": name,
            "sha256": sha256,
            "size": len(body),
            "delivered": int(time.time()),
            "body": body,
        }
        return sha256, self._database.write(lambda run: self._put(run, row))

    def _put(self, run: Connection, row: dict[str, Any]) -> bool:
        """Insert a delivery; return whether it is new."""
        if run.execute(self._deliver, row, execution_options={"preserve_rowcount": True}).rowcount == 1:
            self._reserve(run, row["namespace"], _cost(row["size"]))
            return True
        of_pod = and_(_ROW.namespace == row["namespace"], _ROW.pod == row["pod"])
        found = run.execute(
            select(_ROW.run, _ROW.attempt, _ROW.sha256, _ROW.body).where(of_pod)
        ).one_or_none()
        if found is None:
            raise unavailable(LookupError("a delivery was removed while its pod repeated it"))
        if (found.run, found.attempt, found.sha256) != (row["run"], row["attempt"], row["sha256"]):
            raise RefusalError(
                "AlreadyWritten",
                f'pod "{row["pod"]}" delivered other results before, or for another run; those stay',
            )
        if found.body == row["body"]:
            return False
        run.execute(update(DELIVERIES).where(of_pod).values(body=row["body"], size=row["size"]))
        log.warning("the results of pod %s were damaged and are written again", row["pod"])
        return True

    def get(self, attempt_key: AttemptKey, pod: str, *, most: int) -> tuple[bytes, str]:
        """See `resultsfw.server.store.Store`."""
        found = self._row(_GET, attempt_key, pod, most=most)
        if found.body is None:
            raise RefusalError("Damaged", f"the stored results have {found.length} bytes, over {most}")
        if hashlib.sha256(found.body).hexdigest() != found.sha256:
            raise RefusalError("Damaged", "the stored results are damaged: their digest has changed")
        return found.body, found.sha256

    def size(self, attempt_key: AttemptKey, pod: str) -> int:
        """See `resultsfw.server.store.Store`."""
        return int(self._row(_SIZE, attempt_key, pod).length)

    def remove(self, attempt_key: AttemptKey) -> int:
        """See `resultsfw.server.store.Store`."""
        return self._remove(and_(*(column == getattr(attempt_key, column.name) for column in _ATTEMPT)))

    def recount(self) -> None:
        """Correct the counts that do not match the deliveries, after a restored backup say."""
        counted = select(_ROW.namespace, _sum().label("bytes")).group_by(_ROW.namespace)
        found = {row.namespace: int(row.bytes) for row in self._rows(counted)}
        known = {row.namespace: row.bytes for row in self._rows(select(_USAGE.namespace, _USAGE.bytes))}
        for namespace in sorted(found.keys() | known.keys()):
            if found.get(namespace, 0) != known.get(namespace):
                self._database.write(partial(self._recount, namespace))
        if self._database.dialect == "sqlite":
            self._database.read(_vacuum)

    def _recount(self, namespace: str, run: Connection) -> None:
        # First the lock, then the sum: who stores or removes results meanwhile changes the count after us.
        self._add(run, namespace, 0)
        found = run.execute(select(_sum()).where(_ROW.namespace == namespace)).scalar() or 0
        of_namespace = _USAGE.namespace == namespace
        if found:
            run.execute(update(USAGE).where(of_namespace).values(bytes=int(found)))
        else:
            run.execute(delete(USAGE).where(of_namespace))

    def orphans(self, exists: Callable[[str, str, str], bool]) -> int:
        """See `resultsfw.server.store.Store`."""
        settled = _ROW.delivered < int(time.time() - ORPHAN_SECONDS)
        key = _ROW.namespace, _ROW.run, _ROW.run_name  # a pod may have named a run by another's name
        runs = select(*key).distinct().where(settled, _ROW.run_name != "").order_by(*key).limit(_BATCH)
        last, removed = ("", "", ""), 0
        while True:
            found = self._rows(runs.where(tuple_(*key) > last))
            for row in found:
                if not exists(row.namespace, row.run_name, row.run):
                    removed += self._remove(and_(settled, tuple_(*key) == tuple(row)))
            if len(found) < _BATCH:
                return removed
            last = tuple(found[-1])

    def sweep(self, seconds: float) -> int:
        """See `resultsfw.server.store.Store`."""
        return self._remove(_ROW.delivered < int(time.time() - seconds))

    def probe(self) -> None:
        """See `resultsfw.server.store.Store`."""
        self._rows(select(_USAGE.bytes).limit(1))

    def close(self) -> None:
        """See `resultsfw.server.store.Store`."""
        self._database.close()

    def _rows(self, found: Select[Any]) -> Sequence[Row[Any]]:
        return self._database.read(lambda run: run.execute(found).all())

    def _row(self, found: Select[Any], attempt_key: AttemptKey, pod: str, **values: Any) -> Any:
        """Return the row of a pod's delivery."""
        values |= {**asdict(attempt_key), "pod": pod}
        row = self._database.read(lambda run: run.execute(found, values).one_or_none())
        if row is None:
            raise RefusalError("NotFound", "this pod has delivered nothing")
        return row

    def _remove(self, condition: ColumnElement[bool]) -> int:
        """Remove deliveries, and uncount their bytes; return how many."""
        total = 0
        while removed := self._database.write(lambda run: self._remove_some(run, condition)):
            total += removed
            if removed < _BATCH:
                break
        return total

    def _remove_some(self, run: Connection, condition: ColumnElement[bool]) -> int:
        key = _ROW.namespace, _ROW.pod
        found = select(*key, _ROW.size).where(condition).order_by(*key).limit(_BATCH).with_for_update()
        freed: Counter[str] = Counter()
        pods: dict[str, list[str]] = {}
        for row in run.execute(found).all():
            freed[row.namespace] += _cost(row.size)
            pods.setdefault(row.namespace, []).append(row.pod)
        for namespace, names in pods.items():
            run.execute(delete(DELIVERIES).where(_ROW.namespace == namespace, _ROW.pod.in_(names)))
        for namespace in sorted(freed):
            self._add(run, namespace, -freed[namespace])
        return sum(map(len, pods.values()))

    def _reserve(self, run: Connection, namespace: str, size: int) -> None:
        """Count bytes, or raise RefusalError if they exceed the quota; the namespace's row is locked then."""
        self._add(run, namespace, size)
        stored, quota = _stored(run, namespace), self.usage.quota
        if quota and stored > quota:
            raise quota_exceeded(namespace, stored - size, size, quota)

    def _add(self, run: Connection, namespace: str, size: int) -> None:
        """Change the count of a namespace, and lock it until the transaction ends."""
        run.execute(self._count, {"namespace": namespace, "bytes": max(0, size), "change": size})


def _stored(run: Connection, namespace: str) -> int:
    """Return the stored bytes of a namespace."""
    return run.execute(_STORED, {"namespace": namespace}).scalar() or 0


def _cost(size: int) -> int:
    """Return the bytes that a delivery of that size counts: as in a folder, where it has two files."""
    return cost(size) + cost(0)


def _sum() -> Any:
    """Return the expression for the bytes that deliveries count."""
    return func.sum(_ROW.size + _cost(0))


def _vacuum(run: Connection) -> None:
    """Return the free pages of a SQLite file to the file system."""
    connection: Any = run.connection.driver_connection
    connection.executescript(
        "PRAGMA incremental_vacuum"
    )  # of `execute`, which stops at a row, it is one page
