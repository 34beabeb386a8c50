"""Keep a server that hangs from holding more than a part of one worker thread.

A reconciler has few threads. If each of them waits for the same server, runs that do not need it wait, too.
"""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from resultsfw.errors import ResultsError, UnavailableError

__all__ = ["CircuitBreaker"]

_PAUSE: Final = 3.0
"""Seconds without a call after each second that a failed call took: a quarter of a thread is lost at most."""


class CircuitBreaker:
    """Lets calls through until one fails; then one at a time, each after a pause. Safe for several threads.

    A call that fails at once is followed by no pause.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error: ResultsError | None = None
        self._again = 0.0
        self._is_trying = False

    def call(self, function: Callable[[], None]) -> None:
        """Call a function, or fail like the last call.

        Raises:
            UnavailableError: The last call failed, and it is too soon for another one.
            ResultsError: What the function raises.
        """
        with self._lock:
            began = monotonic()
            if self._error is not None:
                if self._is_trying or began < self._again:
                    raise UnavailableError(self._error.message, subject=self._error.subject)
                self._is_trying = True
        try:
            function()
        except ResultsError as error:
            with self._lock:
                ended = monotonic()
                self._error, self._again = error, ended + _PAUSE * (ended - began)
            raise
        else:
            with self._lock:
                self._error = None
        finally:
            with self._lock:
                self._is_trying = False
