"""Define and check the options of the backend ``oci``, and find the repository and the tags of a run."""

import os
import re
from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, field_validator

from resultsfw import Object, Run
from resultsfw.errors import BackendError
from resultsfw.images import SIDECAR_NET
from resultsfw.option_types import Quantity, in_words
from resultsfw_backends._results_sidecar import Certificates, SidecarImage, fetch_container
from resultsfw_backends._stored_values import StoringConfig
from resultsfw_transports.logins import login_for, own_logins
from resultsfw_transports.registry import Registry

__all__ = [
    "FETCH",
    "MOST",
    "NAME",
    "PER",
    "PER_ANNOTATION",
    "SUBJECT_ANNOTATION",
    "Config",
    "Per",
    "registry_of",
    "repository_of",
    "repository_per",
    "tag_prefix",
]

NAME: Final = "oci"

FETCH: Final = fetch_container(NAME)

PER_ANNOTATION: Final = "oci.resultsfw.dev/repository-per"
"""On a run: "namespace" or "run", in place of the option ``repository-per``."""

SUBJECT_ANNOTATION: Final = "oci.resultsfw.dev/subject"
"""On a run: the results that name an image, in place of the option ``subject``."""

MOST: Final = 50 * 1024**3
"""Bytes of one value. Registries differ; none that is known takes a larger layer."""

Per = Literal["namespace", "run"]
PER: Final[tuple[Per, ...]] = ("namespace", "run")

_PATIENCE: Final = 10.0
"""Seconds for which the controller retries a request at most; after that, the run itself is retried."""

_QUIET: Final = 30.0
"""Seconds that the controller waits for a byte at most: a registry may need some to delete."""

_REGISTRY: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_BASE: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_COMPONENT: Final = re.compile(_PART)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""A uid that begins a tag, which has at most 128 characters."""


Subject = Annotated[
    str,
    StringConstraints(pattern="^[^,]*(,[^,]+)?$"),
    in_words('must be the name of a result, or two with "," between them: IMAGE_URL,IMAGE_DIGEST'),
]


class Config(StoringConfig):
    """Options of ``config.oci``."""

    image: SidecarImage = SIDECAR_NET
    """The sidecar's image; it needs TLS."""
    memory: Quantity = "64Mi"
    """Memory request and limit of the sidecar, which never holds a complete value."""
    repository: str = Field(default="", max_length=200, validate_default=True)
    """What precedes a namespace in the names of repositories: REGISTRY/PATH, such as quay.io/acme/results."""
    repository_per: Per = "namespace"
    """A repository for each namespace, REGISTRY/PATH/NAMESPACE, or for each run, with /UID after it."""
    secret: str = ""
    """Secret with registry logins (.dockerconfigjson) in the run's namespace; else the pod's pull secrets."""
    subject: Subject = ""
    """A result with an image by digest, or two with its name and its digest (IMAGE_URL,IMAGE_DIGEST)."""
    max_object_size: int = Field(default=1024**3, ge=1, le=MOST)
    """Maximum bytes of one result."""
    patience: int = Field(default=60, ge=1, le=3600)
    """Seconds for which the sidecar retries a request to a registry that does not answer."""
    plain_http: bool = False
    """Ask the registry without TLS."""
    ca: Certificates = ""
    """PEM certificates that the registry's certificate must chain to, for pods and for the controller."""

    @field_validator("repository")
    @classmethod
    def _check_repository(cls, value: str) -> str:
        registry, _, base = value.partition("/")
        if not value:
            raise ValueError("say where results go, such as quay.io/acme/results")
        if not (_REGISTRY.fullmatch(registry) and _BASE.fullmatch(base)):
            raise ValueError("must be REGISTRY/PATH, without tag and in lower case, as quay.io/acme/results")
        return value

    @property
    def host(self) -> str:
        """Return the registry."""
        return self.repository.partition("/")[0]

    @property
    def root(self) -> str:
        """Return what precedes namespace, uid and name in a reference's location."""
        return f"oci://{self.repository}"


def registry_of(config: Config) -> Registry:
    """Return the registry for the controller, whose logins are in its environment or its user's files."""
    return _registry(config.host, config.plain_http, config.ca, config.patience)


@lru_cache(maxsize=8)
def _registry(host: str, plain: bool, ca: str, patience: int) -> Registry:
    """Return a cached registry, because it keeps tokens."""

    def login(path: str) -> object:
        return login_for(path, own_logins(os.environ, files=True))

    return Registry(
        host,
        login=login,  # type: ignore[arg-type]
        plain=plain,
        ca=ca,
        patience=min(_PATIENCE, patience),
        quiet=min(_QUIET, 3 * patience),
    )


def repository_per(pod: Object, config: Config) -> Per:
    """Return whether a run has a repository of its own.

    Raises:
        BackendError: The run's annotation has another value.
    """
    asked = (pod["metadata"].get("annotations") or {}).get(PER_ANNOTATION, config.repository_per)
    if asked == "namespace":
        return "namespace"
    if asked == "run":
        return "run"
    raise BackendError(f'annotation {PER_ANNOTATION}: must be "namespace" or "run"', subject=NAME)


def repository_of(namespace: str, uid: str, per: Per, config: Config) -> str:
    """Return the repository of a run, without the registry.

    Raises:
        BackendError: Namespace or uid cannot be part of it.
    """
    base = config.repository.partition("/")[2]
    parts = (namespace,) if per == "namespace" else (namespace, uid)
    if not all(_COMPONENT.fullmatch(part) for part in parts):
        raise BackendError(
            f'a run of namespace "{namespace:.64}" (uid "{uid:.64}") cannot have a repository: both must '
            f'be of lower-case letters and digits, with "-", "_" or "." between them',
            subject=NAME,
        )
    return "/".join((base, *parts))


def tag_prefix(run: Run) -> str:
    """Return what precedes the number in the tags of a run's attempt.

    Raises:
        BackendError: The uid cannot be part of a tag.
    """
    if not _TAG.fullmatch(run.uid):
        raise BackendError(
            f'run "{run.namespace}/{run.name}" (uid "{run.uid:.64}") cannot have tags in a registry: it '
            f"needs a uid of at most 100 letters, digits, dots and hyphens",
            subject=NAME,
        )
    return f"{run.uid}-{run.attempt}-"
