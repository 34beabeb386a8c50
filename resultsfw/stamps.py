"""Write and read the stamp of a pod: the backend and format by which its results are read."""

import re
from typing import Final

from resultsfw.cluster import Object
from resultsfw.errors import BackendError
from resultsfw.types import Stamp

__all__ = ["LIMIT_ANNOTATION", "STAMP_ANNOTATION", "read_stamp", "write_stamp"]

STAMP_ANNOTATION: Final = "resultsfw.dev/stamp"
"""Annotation of a pod: ``BACKEND/WIRE``, written when the pod is prepared, followed when it is read."""

LIMIT_ANNOTATION: Final = "resultsfw.dev/max-result-size"
"""Annotation of a pod: the flag ``max-result-size`` at the time the pod was prepared, in bytes."""

_NUMBER: Final = re.compile("[0-9]{1,18}")


def read_stamp(pod: Object) -> Stamp | None:
    """Return the pod's stamp, or ``None`` if it has none.

    Raises:
        BackendError: The pod's annotations cannot be read as a stamp.
    """
    annotations = pod.get("metadata", {}).get("annotations") or {}
    text = annotations.get(STAMP_ANNOTATION)
    if text is None:
        return None
    backend, _, wire = text.rpartition("/")
    limit = annotations.get(LIMIT_ANNOTATION, "")
    if not (backend and _NUMBER.fullmatch(wire) and _NUMBER.fullmatch(limit)):
        raise BackendError(
            f'the pod\'s annotations {STAMP_ANNOTATION}="{text:.80}", {LIMIT_ANNOTATION}="{limit:.80}" '
            f"cannot be read; they are not for editing",
            subject=text[:80],
        )
    return Stamp(backend=backend, wire=int(wire), max_result_size=int(limit))


def write_stamp(pod: Object, stamp: Stamp) -> None:
    """Add the stamp to the pod's annotations. Changes the pod."""
    metadata = pod.setdefault("metadata", {})
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        STAMP_ANNOTATION: f"{stamp.backend}/{stamp.wire}",
        LIMIT_ANNOTATION: str(stamp.max_result_size),
    }
