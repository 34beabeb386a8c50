"""Look up images on threads of their own, namespaces in turn, so that a slow registry holds no worker.

A run that needs the command of an image asks, and is reconciled again when the answer is there.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from resultsfw.errors import ResultsError
from resultsfw.registry.cache import CommandCache
from resultsfw.registry.client import RegistryClient
from resultsfw.registry.http import Connections, RequestError
from resultsfw.registry.keyring import Login, entries_of, login_for
from resultsfw.registry.references import ImageName, ImageNameError, parse_image_name
from resultsfw.tekton.pod.image_commands import ImageCommands
from resultsfw.tekton.taskrun.image_lookup import (
    FoundImages,
    ImageLookupError,
    ImageRequest,
)

__all__ = ["LookupPool", "look_up_image", "look_up_images"]

log = logging.getLogger(__name__)

LOOKUP_SECONDS: Final = 30.0
"""For one image with all its platforms, tries included."""

REQUEST_SECONDS: Final = 60.0
"""For all images of one run: a thread is not held for longer."""

THREADS: Final = 8
THREADS_OF_NAMESPACE: Final = 3
MOST_WAITING: Final = 2_000
"""Requests that wait at once; of one namespace, a quarter. A run beyond them asks again."""

MOST_ANSWERS: Final = 500
"""Answers that nobody has asked for yet, for instance of runs that were deleted."""

_PAUSES: Final = (0.3, 1.0)
"""Seconds before the second and the third try, after an error that may pass."""

Clock = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of a request: images, or the error."""

    images: FoundImages | None = None
    error: ResultsError | None = None


class LookupPool:
    """Looks up the images of runs. Safe for threads; see `resultsfw.tekton.taskrun.image_lookup.ImageLookup`.

    Args:
        look_up: Looks up all images of one request; raises ImageLookupError or ClusterError.
        notify: Called with namespace and name of a run when its answer is there.
        threads: At most; they start when they are needed.
        threads_of_namespace: At most for runs of one namespace.
    """

    def __init__(
        self,
        look_up: Callable[[ImageRequest], FoundImages],
        notify: Callable[[str, str], None],
        *,
        threads: int = THREADS,
        threads_of_namespace: int = THREADS_OF_NAMESPACE,
    ) -> None:
        self._look_up = look_up
        self._notify = notify
        self._threads = threads
        self._of_namespace = threads_of_namespace
        self._changed = threading.Condition()
        self._queues: OrderedDict[str, deque[ImageRequest]] = OrderedDict()
        self._running: dict[str, int] = {}
        self._known: set[str] = set()
        self._answers: OrderedDict[str, _Outcome] = OrderedDict()
        self._started = self._idle = 0

    def look_up(self, request: ImageRequest) -> FoundImages | None:
        """Return the images of a request; ``None``: the run is reconciled again when they are there.

        Raises:
            ImageLookupError: One could not be looked up.
            ClusterError: The pull secrets cannot be read now.
        """
        with self._changed:
            outcome = self._answers.pop(request.key, None)
            if outcome is None:
                self._enqueue(request)
                return None
        if outcome.error is not None:
            raise outcome.error
        return outcome.images

    def _enqueue(self, request: ImageRequest) -> None:
        """Add a request, unless it is known, or too many wait: the run's next reconciliation asks again."""
        queue = self._queues.get(request.namespace, ())
        if request.key in self._known or len(queue) >= MOST_WAITING // 4 or len(self._known) >= MOST_WAITING:
            return
        self._known.add(request.key)
        self._queues.setdefault(request.namespace, deque()).append(request)
        if self._idle:
            self._changed.notify()
        elif self._started < self._threads:
            self._started += 1
            threading.Thread(target=self._work, name="image-lookup", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                while (request := self._next()) is None:
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
            outcome = self._outcome(request)
            with self._changed:
                self._running[request.namespace] -= 1
                if not self._running[request.namespace]:
                    del self._running[request.namespace]
                self._known.discard(request.key)
                self._answers[request.key] = outcome
                while len(self._answers) > MOST_ANSWERS:
                    self._answers.popitem(last=False)
                self._changed.notify()
            self._notify(request.namespace, request.name)

    def _next(self) -> ImageRequest | None:
        """Return the first request of the namespace whose turn it is, and that has not too many running."""
        for namespace, queue in self._queues.items():
            if self._running.get(namespace, 0) < self._of_namespace:
                request = queue.popleft()
                self._running[namespace] = self._running.get(namespace, 0) + 1
                del self._queues[namespace]
                if queue:
                    self._queues[namespace] = queue  # behind the others
                return request
        return None

    def _outcome(self, request: ImageRequest) -> _Outcome:
        try:
            return _Outcome(images=self._look_up(request))
        except ResultsError as error:
            return _Outcome(error=error)
        except Exception:
            log.exception("internal error while images of run %s/%s are looked up", *request.run)
            return _Outcome(error=ImageLookupError("an internal error, which the controller logged"))


def look_up_images(cache: CommandCache, request: ImageRequest, *, wait: Clock) -> FoundImages:
    """Return the images of a request, with the credentials of its pull secrets.

    Args:
        cache: Of images by digest.
        request: What is asked for.
        wait: Waits between two tries, in seconds.

    Raises:
        ImageLookupError: One could not be looked up.
        ClusterError: The pull secrets cannot be read now.
    """
    secrets, note = request.read_secrets()
    entries = entries_of(secrets)
    until = time.monotonic() + REQUEST_SECONDS
    found: FoundImages = {}
    for image in request.images:
        try:
            name = parse_image_name(image)
            login = login_for(name.path, entries)
            found[image] = look_up_image(
                name,
                login,
                partial(cache.get, request.namespace),
                wait=wait,
                seconds=min(LOOKUP_SECONDS, until - time.monotonic()),
            )
        except (ImageNameError, RequestError) as error:
            raise ImageLookupError(
                f'the command of image "{image[:300]}" could not be looked up: {error}{note}'
            ) from error
        cache.put(request.namespace, found[image])
    return found


def look_up_image(
    name: ImageName,
    login: Login | None,
    known: Callable[[str], ImageCommands | None],
    *,
    wait: Clock,
    seconds: float = LOOKUP_SECONDS,
) -> ImageCommands:
    """Return an image from its registry; attempts that fail temporarily are repeated.

    Args:
        name: Of the image.
        login: For its registry.
        known: Returns an image by its name with digest, if it was looked up before.
        wait: Waits between two tries, in seconds.
        seconds: That it may take.

    Raises:
        RequestError: It could not be looked up.
    """
    if name.digest and (found := known(name.pinned(name.digest))) is not None:
        return found
    with Connections(seconds) as connections:
        for pause in _PAUSES:
            try:
                return RegistryClient(name, login, connections).commands(known)
            except RequestError as error:
                if not error.temporary:
                    raise
            wait(min(pause, connections.left()))
        return RegistryClient(name, login, connections).commands(known)
