"""Compute the room that the records of a run need beside the values, and refuse a run without that room."""

from dataclasses import dataclass

from resultsfw import Object, Run
from resultsfw.errors import BackendError
from resultsfw.jsons import go_json
from resultsfw_backends._sidecar_log import declared_names
from resultsfw_backends._signatures import signature_room
from resultsfw_sidecar import wire as wires

__all__ = ["RecordBytes", "longest_records", "refuse_too_many"]


@dataclass(frozen=True, slots=True)
class RecordBytes:
    """The bytes that the records of a run can have at most.

    Attributes:
        results: Of the records of results.
        signature: Of the signature's record; 0 if nothing is signed.
    """

    results: int
    signature: int

    @property
    def total(self) -> int:
        """Bytes of all records."""
        return self.results + self.signature

    def __str__(self) -> str:
        """Return the bytes, for a message."""
        return f"{self.total} bytes" + (
            f", {self.signature} of them for the signature" if self.signature else ""
        )


def longest_records(run: Run, pod: Object, *, escaped: bool = False, each: int = 0) -> RecordBytes:
    """Return the bytes that the records of a run can have at most.

    Args:
        run: The run.
        pod: The pod; its annotation says whether its results are signed.
        escaped: Whether the records are stored as a text in a JSON document.
        each: Further bytes for each result beside its name, which is stored once more; 0: it is not.
    """
    size = _escaped_size if escaped else len
    total = size(wires.start_line("x" * 36, wires.WATCH_INOTIFY)) + 512  # and the end record
    declared = declared_names(run)
    for of, name in declared:
        longest = wires.refused_line(
            name, of, wires.NOT_REGULAR_FILE, "x" * wires.MESSAGE_LIMIT, size=10**7, limit=10**7
        )
        total += max(size(longest), size(wires.kept_line(name, b"x" * 10, of, name)) + 8)
        total += each + len(name.encode()) if each else 0
    return RecordBytes(total, signature_room(pod, declared.values(), escaped=escaped))


def refuse_too_many(run: Run, records: RecordBytes, room: int, *, where: str, backend: str) -> None:
    """Refuse a Task whose records might not fit, before anything is created.

    Args:
        run: The run.
        records: Bytes of its records at most.
        room: Bytes that there are for them.
        where: What has that room: ``the annotations of a ConfigMap have``.
        backend: The backend's name, for the error's subject.

    Raises:
        BackendError: The message has both numbers.
    """
    if records.total > room:
        raise BackendError(
            f"the Task declares {len(declared_names(run))} results, whose records beside the values can "
            f"have {records}, and {where} room for {room}: declare fewer results, or put "
            f"several into one of type object or array",
            subject=backend,
        )


def _escaped_size(text: bytes) -> int:
    """Return the bytes of a record in a JSON document, as Go writes it."""
    return len(go_json(text.decode()).encode())
