"""Find the images that the backends and extensions of the flags put into pods."""

import contextlib

from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.images import located, missing_registry

__all__ = ["images_of_plugins", "warn_of_images"]


def images_of_plugins(core: ResultsManager, registry: str = "") -> dict[str, str]:
    """Return the option ``image`` of the allowed backends and loaded extensions that have it, by purpose.

    Args:
        core: A manager with the flags.
        registry: See `resultsfw.images.located`.
    """
    images = {}
    for name in sorted(core.flags.allowed_results_from):
        with contextlib.suppress(ResultsError):  # reported for the backend itself
            options = core.backend(name).configure(core.flags.config.get(name, {}))
            images[f"backend {name}"] = str(getattr(options, "image", ""))
    for name, extension in core.extensions.items():
        options = extension.config_type.model_validate(core.flags.config.get(name, {}))
        images[f"extension {name}"] = str(getattr(options, "image", ""))
    return {purpose: located(image, registry) for purpose, image in images.items() if image}


def warn_of_images(core: ResultsManager) -> tuple[str, ...]:
    """Return a sentence if these images have no registry: no node can pull them."""
    warning = missing_registry(images_of_plugins(core).values())
    return (warning,) if warning else ()
