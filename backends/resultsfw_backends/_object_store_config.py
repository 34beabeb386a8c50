"""Define and check the options of the backend ``object-store``, and open the store that they name."""

import re
from functools import lru_cache
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from resultsfw.images import SIDECAR_OBJECT_STORE
from resultsfw.option_types import Quantity
from resultsfw_backends._results_sidecar import SidecarImage, fetch_container
from resultsfw_backends._stored_values import StoringConfig

try:
    from resultsfw_transports.store import MOST, Store, local_path
except ImportError as error:
    raise ImportError(f"{error}; install it with: pip install 'resultsfw[object-store]'") from error

__all__ = ["FETCH", "NAME", "URL_BYTES", "Config", "option_text", "store_of"]

NAME: Final = "object-store"

FETCH: Final = fetch_container(NAME)


_SCHEMES: Final = ("s3", "gs", "az", "file")


URL_BYTES: Final = 512


_PATIENCE: Final = 10.0
"""Seconds for which the controller retries a request; after that, the run itself is retried."""


_SECRET: Final = re.compile(
    r"secret|password|access_key|account_key|master_key|customer_key|service_account_key|sas_|bearer|token$"
)
"""Secret options of the library, which do not belong into a ConfigMap."""


_CLIENT: Final = re.compile(r"allow_|default_content|http[12]_|pool_|proxy_|randomize_|.*timeout|user_agent")
"""Options of the library's HTTP client, which are not options of a store."""


class Config(StoringConfig):
    """Options of ``config.object-store``."""

    image: SidecarImage = SIDECAR_OBJECT_STORE
    """The sidecar's image, with the library for object stores."""
    memory: Quantity = "128Mi"
    """Memory request and limit of the sidecar."""
    url: str = Field(default="", max_length=URL_BYTES, validate_default=True)
    """Location of the objects: s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, az://CONTAINER/FOLDER or file:///FOLDER."""
    options: dict[str, str | bool | int] = Field(default={})
    """The library's own options, such as endpoint and region. Nothing secret."""
    secret: str = ""
    """Secret in the run's namespace whose keys are the library's variables, such as AWS_ACCESS_KEY_ID."""
    max_object_size: int = Field(default=1024**3, ge=1, le=MOST)
    """Maximum bytes of one result."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not url:
            raise _refused("say where results go, such as s3://BUCKET/FOLDER or file:///FOLDER")
        url = url.rstrip("/")
        if fault := _url_fault(url):
            raise _refused(fault)
        return url

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: dict[str, str | bool | int]) -> dict[str, str | bool | int]:
        for key, value in options.items():
            if fault := _option_fault(key.lower(), str(value)):
                raise _refused(f"{key}: {fault}")
        return options

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Let the library validate the options, without a request, before any pod is created."""
        if self.options and local_path(self.url) is not None:
            raise _refused("a folder takes no options")
        try:
            store_of(self)
        except ValueError as error:
            raise _refused(f"the library takes url and options not so: {error}") from None
        return self


def store_of(config: Config) -> Store:
    """Return the store for the controller, whose credentials are in its environment.

    Raises:
        ValueError: The library does not accept the configuration.
    """
    options = tuple(sorted((key, option_text(value)) for key, value in config.options.items()))
    return _store(config.url, options)


@lru_cache(maxsize=8)
def _store(url: str, options: tuple[tuple[str, str], ...]) -> Store:
    """Return a cached store, because it keeps connections."""
    return Store(url, dict(options), patience=_PATIENCE)


def _refused(why: str) -> PydanticCustomError:
    """Return an error without the value, which may contain a secret."""
    return PydanticCustomError("refused", "{why}", {"why": why})


def _url_fault(url: str) -> str:
    """Return what is wrong with a URL; it is not quoted, because it may contain a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "it is not a URL"
    if parts.scheme not in _SCHEMES:
        return f"it must begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}"
    if "@" in url or "?" in url or "#" in url:
        return "it must hold no user, query or fragment; credentials go into the Secret"
    if re.search(r"[\x00-\x20\x7f\\]", url):
        return "it must hold no blank and no backslash: write them as %20 and %5C"
    if (folder := local_path(url)) is not None:
        if parts.netloc or not folder.is_absolute() or ".." in folder.parts or len(folder.parts) < 2:  # noqa: PLR2004 - "/" and a name
            return "of a folder it must be file:///ABSOLUTE/PATH"
        return ""
    if not parts.netloc or ":" in parts.netloc:
        return "it names no bucket"
    if "" in parts.path[1:].split("/")[:-1] or ".." in parts.path.split("/"):
        return "its path has an empty part"
    return ""


def _option_fault(key: str, value: str) -> str:
    if _SECRET.search(key):
        return 'it is secret: put it into the Secret that "secret" names, as a variable of the library'
    if _CLIENT.match(key):
        return "it is no option of a store"
    if "@" in value or ("://" in value and "?" in value):
        return "its value holds a user or a query, which may be secret"
    if key.endswith("endpoint") and not value.startswith(("http://", "https://")):
        return "it must begin with http:// or https://"
    return ""


def option_text(value: str | bool | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
