"""Count the attempts of a TaskRun."""

from collections.abc import Mapping
from typing import Any

__all__ = ["attempt_number"]


def attempt_number(taskrun: Mapping[str, Any]) -> int:
    """Return the number of the attempt that runs, or ran last: 0 for the first.

    Earlier ones are archived in ``status.retriesStatus``.
    """
    return len((taskrun.get("status") or {}).get("retriesStatus") or ())
