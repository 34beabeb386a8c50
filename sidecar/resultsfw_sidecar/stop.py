"""Notices SIGTERM and SIGINT, at any instant, without a race and without interrupting anything.

The handler only takes a note, so no line is ever broken, however many signals come. The interpreter
writes a byte into a pipe for each, so a wait that began a moment too late ends at once.

A process with number 1 ignores a signal it has no handler for: a SIGTERM that comes before this module
ran (the interpreter's own start, about 10 ms) is lost to it, in any language. The kubelet sends SIGKILL
when the pod's grace period is over.
"""

import os
import select
import time

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # signal itself makes enumerations for 2 ms, in which a SIGTERM would kill us

_SIGNALS = (_signal.SIGTERM, _signal.SIGINT)


class Stop:
    """Whether we were asked to stop.

    Attributes:
        requested: True from the first signal on.
    """

    def __init__(self) -> None:
        self.requested = False
        for number in _SIGNALS:
            _signal.signal(number, self._request)
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        # A parent may have blocked them so that none is lost before this line; now they may come.
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, _SIGNALS)

    def wait(self, seconds: float | None, *files: int) -> None:
        """Waits for a signal, for one of the files to be readable, or for the time to pass."""
        poll = select.poll()
        for file in (self._reader, *files):
            poll.register(file, select.POLLIN)
        poll.poll(None if seconds is None else seconds * 1000)
        drain(self._reader)

    def wait_until_requested(self, seconds: float | None = None) -> None:
        """Waits for a signal; with ``seconds`` not longer than that."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self.requested:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return
            self.wait(left)

    def _request(self, *_: object) -> None:
        self.requested = True


def drain(file: int) -> bytes:
    """Reads all that a non-blocking file holds; returns the last of it."""
    last = b""
    try:
        while data := os.read(file, 65_536):
            last = data
    except BlockingIOError:
        pass
    return last
