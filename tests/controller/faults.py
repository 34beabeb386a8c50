"""Faults of an API server, on request or at random."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Dice", "Faults", "Strike"]

Fault = int | str
"""Of a request: a status that refuses it before anything happens; "lost": carried out, and no answer;
"half": carried out, and half an answer. Of a watch, at one of its events: "cut" within the object, "slow" a
byte at a time, "pause" in the middle of the line, "expired" (an ERROR event with 410), "end", "bookmark".
"""


@dataclass
class Strike:
    """An action against a client when one of its writes arrives, or after it was carried out."""

    writes: int
    after: bool
    do: Callable[[], object]
    done: bool = False


class Dice:
    """Faults drawn at random. One seed draws one sequence; which request meets which is up to threads.

    Args:
        seed: To be printed by the test.
        faults: So many at most: then the server is well, as servers in the end are.
    """

    REQUEST: tuple[Fault, ...] = (500, 500, 503, 504, "lost", "lost", "half")
    PATCH: tuple[Fault, ...] = (*REQUEST, 409)
    WATCH: tuple[Fault, ...] = (410, 500, 429)
    EVENT: tuple[Fault, ...] = ("cut", "cut", "slow", "pause", "expired", "end", "bookmark")

    def __init__(self, seed: int, *, faults: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.left = faults

    def request(self, method: str, target: str) -> Fault | None:
        if "?watch=" in target:
            return self._draw(0.2, self.WATCH)
        return self._draw(0.25, self.PATCH if method == "PATCH" else self.REQUEST)

    def event(self) -> Fault | None:
        return self._draw(0.12, self.EVENT)

    def _draw(self, rate: float, faults: tuple[Fault, ...]) -> Fault | None:
        if self.left <= 0 or self.random.random() >= rate:
            return None
        self.left -= 1
        return self.random.choice(faults)


class Faults:
    """Those that were asked for, each so many times, and behind them the dice.

    Attributes:
        suffered: How often each was handed out.
        release: While it is not set, a "pause" lasts; ``longest`` seconds at most.
        mark: Counts up, and every watch that is idle sends a bookmark.
    """

    def __init__(self) -> None:
        self.dice: Dice | None = None
        self.strike: Strike | None = None
        self.suffered: Counter[Fault] = Counter()
        self.release = threading.Event()
        self.longest = 60.0
        self.mark = 0
        self._requests: list[tuple[str, str, list[Fault]]] = []
        self._events: list[tuple[str, list[Fault]]] = []
        self._lock = threading.Lock()

    def fail(self, method: str, part: str, fault: Fault, times: int) -> None:
        """For the next requests of a method whose path and query have a part."""
        with self._lock:
            self._requests.append((method, part, [fault] * times))

    def upset(self, plural: str, fault: Fault, times: int) -> None:
        """For the next events of the watches of a kind."""
        with self._lock:
            self._events.append((plural, [fault] * times))

    def of_request(self, method: str, target: str) -> Fault | None:
        with self._lock:
            fitting = (left for of, part, left in self._requests if of == method and part in target and left)
            left = next(fitting, None)
            drawn = left.pop() if left else self.dice and self.dice.request(method, target)
            return self._suffer(drawn)

    def of_event(self, plural: str) -> Fault | None:
        with self._lock:
            left = next((left for of, left in self._events if of == plural and left), None)
            return self._suffer(left.pop() if left else self.dice and self.dice.event())

    def struck(self, method: str, *, after: bool) -> bool:
        """Whether whoever sent this request is gone now. A write counts when it arrives."""
        with self._lock:
            strike = self.strike
            if method == "GET" or strike is None or strike.done:
                return False
            if not after:
                strike.writes -= 1
            if strike.writes > 0 or strike.after != after:
                return False
            strike.done = True
        strike.do()
        return True

    def _suffer(self, fault: Fault | None) -> Fault | None:
        if fault is not None:
            self.suffered[fault] += 1
        return fault
