"""Find which options of a backend are secret, and texts that contain one of them."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import BaseModel, SecretBytes, SecretStr

__all__ = ["secret_options", "secrets_in", "texts_of"]

_SECRET_NAME: Final = re.compile(
    r"(^|[-_.])(pass(word|wd|phrase)|pwd|token|credentials?|(client|shared)[-_]?secret"
    r"|((api|access|account|private|signing|encryption)[-_]?)?key)$",
    re.IGNORECASE,
)
"""Names of options that are secret. ``secret`` is not: it is the name of a Secret. Nor is ``token-file``."""

_LONG_ENOUGH: Final = 6
"""Characters from which on an option's value occurs in a text by no chance."""


def secret_options(config: BaseModel) -> dict[str, str]:
    """Return the values of the options that are secret, by path: of such a type, or such a name."""
    return {
        path: text
        for path, text, is_secret in _options(config, "")
        if len(text) >= _LONG_ENOUGH and (is_secret or _SECRET_NAME.search(path))
    }


def _options(value: object, path: str) -> Iterator[tuple[str, str, bool]]:
    """Yield path and text of each option, and whether its type says that it is secret."""
    match value:
        case SecretStr():
            yield path, value.get_secret_value(), True
        case SecretBytes():
            yield path, value.get_secret_value().decode("utf-8", "replace"), True
        case str():
            yield path, value, False
        case BaseModel():
            for name in type(value).model_fields:
                yield from _options(getattr(value, name), f"{path}.{name}" if path else name)
        case Mapping():
            for name, item in value.items():
                yield from _options(item, f"{path}.{name}" if path else str(name))
        case list() | tuple():
            for item in value:
                yield from _options(item, path)
        case _:
            return


def secrets_in(texts: Iterable[str], secrets: Mapping[str, str]) -> list[str]:
    """Return the paths of the options whose value is in one of the texts, as it is or in base64."""
    whole = "\n".join(texts)
    return [
        path
        for path, secret in secrets.items()
        if secret in whole or base64.b64encode(secret.encode()).decode().rstrip("=") in whole
    ]


def texts_of(value: object) -> Iterator[str]:
    """Yield all texts of an object, names of fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)
