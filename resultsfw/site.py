"""Addresses of pages of the documentation, for messages: whoever installed a wheel has no folder docs/."""

from typing import Final

SITE: Final = "https://docs.resultsfw.dev"


def page(path: str, section: str = "") -> str:
    """Return the address of a page.

    Args:
        path: Its file below ``docs/`` without ``.md``, such as ``how-to/signed-results``.
        section: The anchor of a heading of it, such as ``set-up``.
    """
    return f"{SITE}/{path}/" + (f"#{section}" if section else "")
