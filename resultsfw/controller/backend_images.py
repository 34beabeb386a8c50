"""Find the images that the backends and extensions of the flags put into pods."""

import contextlib

from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.images import located, missing_registry

__all__ = ["images_of_backends", "warn_of_images"]


def images_of_backends(core: ResultsManager, registry: str = "") -> dict[str, str]:
    """Return the images of allowed backends that have an option ``image``, by purpose.

    Args:
        core: A manager with the flags.
        registry: See `resultsfw.images.located`.
    """
    images = {}
    for name in sorted(core.flags.allowed_results_from):
        with contextlib.suppress(ResultsError):  # reported for the backend itself
            options = core.backend(name).configure(core.flags.config.get(name, {}))
            if image := getattr(options, "image", ""):
                images[f"backend {name}"] = located(str(image), registry)
    return images


def warn_of_images(core: ResultsManager) -> tuple[str, ...]:
    """Return a sentence if these images have no registry: no node can pull them."""
    warning = missing_registry(images_of_backends(core).values())
    return (warning,) if warning else ()
