"""Keep the commands of images that are named by digest: they never change."""

import threading
from collections import OrderedDict
from typing import Final

from resultsfw.tekton.pod.image_commands import ImageCommands

__all__ = ["CommandCache"]

MOST_IMAGES: Final = 1024
MOST_BYTES: Final = 16 << 20


class CommandCache:
    """The images that were used last, by namespace: none learns of another's private image.

    Args:
        most: Images that are kept.
        most_bytes: Bytes of their names and commands.
    """

    def __init__(self, most: int = MOST_IMAGES, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._images: OrderedDict[tuple[str, str], tuple[ImageCommands, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, namespace: str, reference: str) -> ImageCommands | None:
        """Return an image of a namespace by its name with digest; ``None`` if it is not known."""
        with self._lock:
            found = self._images.get((namespace, reference))
            if found is None:
                return None
            self._images.move_to_end((namespace, reference))
            return found[0]

    def put(self, namespace: str, image: ImageCommands) -> None:
        """Keep an image of a namespace, and forget those that were not used for longest."""
        size = len(image.reference) + sum(
            len(word) for found in image.platforms.values() for word in (*found.entrypoint, *found.cmd)
        )
        with self._lock:
            _, before = self._images.pop((namespace, image.reference), (None, 0))
            self._images[namespace, image.reference] = image, size
            self._bytes += size - before
            while len(self._images) > self._most or self._bytes > self._most_bytes:
                _, (_, freed) = self._images.popitem(last=False)
                self._bytes -= freed
