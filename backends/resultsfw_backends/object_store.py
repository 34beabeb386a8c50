"""Backend ``object-store``: the sidecar uploads large values, and the run's status references them.

For results that no API object can hold. The sidecar's log has small values, and references to large ones. A
damaged log is detected as with ``sidecar-logs``; a changed object is detected when it is dereferenced.
Objects are named ``NAMESPACE/UID OF THE RUN/SHA-256`` below the configured URL, and are deleted with the run.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from resultsfw import (
    Capabilities,
    Cluster,
    Extraction,
    Limits,
    Object,
    Permission,
    Problem,
    ProblemCode,
    Reference,
    Run,
    hookimpl,
    read_stamp,
)
from resultsfw.errors import (
    BackendError,
    ClusterError,
    CorruptError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_backends._exposure import refuse_shared_processes
from resultsfw_backends._results_sidecar import (
    SidecarConfig,
    add_fetch,
    add_sidecar,
    may_be_read,
    read_log,
    refuse_to_read,
)
from resultsfw_backends._sidecar_log import declared_names, value_of
from resultsfw_sidecar import wire as wires

try:
    from resultsfw_transports.fetch import ENV_FETCH
    from resultsfw_transports.store import (
        ENV_FOLDER,
        ENV_INLINE,
        ENV_JSON,
        ENV_OPTIONS,
        ENV_URL,
        MOST,
        Store,
        StoreError,
        local_path,
    )
except ImportError as error:
    raise ImportError(f"{error}; install it with: pip install 'resultsfw[object-store]'") from error

__all__ = [
    "Config",
    "capabilities",
    "dereference",
    "extract",
    "place_files",
    "pod_ready",
    "prepare_pod",
    "purge",
]

NAME: Final = "object-store"

FETCH: Final = "fetch-results"
"""Name of the init container that places files. Containers of Tasks have other prefixes."""

_SCHEMES: Final = ("s3", "gs", "az", "file")
_URL_BYTES: Final = 512
_RECORD_BYTES: Final = 4096
"""Minimum bytes for a value in the log's limits, enough for a location."""

_PATIENCE: Final = 10.0
"""Seconds for which the controller retries a request; after that, the run itself is retried."""

_SECRET: Final = re.compile(
    r"secret|password|access_key|account_key|master_key|customer_key|service_account_key|sas_|bearer|token$"
)
"""Secret options of the library, which do not belong into a ConfigMap."""

_CLIENT: Final = re.compile(r"allow_|default_content|http[12]_|pool_|proxy_|randomize_|.*timeout|user_agent")
"""Options of the library's HTTP client, which are not options of a store."""

_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


class Config(SidecarConfig):
    """Options of ``config.object-store``."""

    image: str = "resultsfw/sidecar-object-store:0.1.0"
    """The sidecar's image, with the library for object stores."""
    memory: str = "128Mi"
    """Memory request and limit of the sidecar."""
    url: str = Field(default="", max_length=_URL_BYTES, validate_default=True)
    """Location of the objects: s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, az://CONTAINER/FOLDER or file:///FOLDER."""
    options: dict[str, str | bool | int] = Field(default={})
    """The library's own options, such as endpoint and region. Nothing secret."""
    secret: str = ""
    """Secret in the run's namespace whose keys are the library's variables, such as AWS_ACCESS_KEY_ID."""
    inline_bytes: int = Field(default=4096, ge=0, le=65_536)
    """Maximum bytes of a value that is stored in the status itself."""
    max_object_size: int = Field(default=1024**3, ge=1, le=MOST)
    """Maximum bytes of one result."""
    grace: int = Field(default=300, ge=30, le=86_400)
    """Seconds after the end of the Steps that Kubernetes gives a native sidecar for its uploads."""

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


capabilities = Capabilities(
    summary="large results in an object store (S3, GCS, Azure, a folder), references in the status",
    delivery="reference",
    result_bytes=MOST,
    permissions=(
        Permission(
            verb="get",
            resource="pods/log",
            why="small values and references are in the log of the results sidecar",
        ),
    ),
    external_state="elsewhere",
    verified=True,
)


@hookimpl
def prepare_pod(run: Run, pod: Object, limits: Limits, config: Config) -> int:
    """Add the sidecar, the only container with the credentials."""
    _refuse_exposed(pod, config.secret)
    add_sidecar(
        run,
        pod,
        config,
        limits=Limits(result_bytes=config.max_object_size, run_bytes=limits.run_bytes),
        transport="resultsfw_transports.object_store",
        env=[
            *_store_env(config),
            {"name": ENV_FOLDER, "value": _folder(run)},
            {"name": ENV_INLINE, "value": str(config.inline_bytes)},
            {"name": ENV_JSON, "value": json.dumps(_mappings(run))},
        ],
    )
    spec = pod["spec"]
    if config.secret:
        _sidecar(pod)["envFrom"] = [{"secretRef": {"name": config.secret}}]
    # Kubernetes kills the sidecar this long after the last Step, or after the pod is terminated.
    spec["terminationGracePeriodSeconds"] = max(spec.get("terminationGracePeriodSeconds") or 0, config.grace)
    return wires.WIRE


@hookimpl
def pod_ready(run: Run, pod: Object, wire: int) -> bool:
    """Return whether the sidecar has ended for good, or should have printed all: the Steps have ended."""
    return may_be_read(run, pod, wire=wire)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, wire: int) -> Extraction:
    """Read the log without any request to the store, which confirmed each upload to the sidecar.

    The pod says where its values were stored, whatever the flags say now.
    """
    if (nothing := refuse_to_read(pod, wire=wire, known=(wires.WIRE,))) is not None:
        return nothing
    given = {variable["name"]: variable.get("value", "") for variable in _sidecar(pod).get("env") or ()}
    inline = int(given[ENV_INLINE]) if given.get(ENV_INLINE, "").isdecimal() else 0
    below = f"{given.get(ENV_URL, '')}/{_folder(run)}"

    stamp = read_stamp(pod)
    backend = stamp.backend if stamp else NAME

    def resolve(record: dict[str, Any]) -> str | Reference | None:
        return _reference(record, below, backend) if "location" in record else value_of(record)

    most = max(inline, _RECORD_BYTES)
    limits = Limits(result_bytes=most, run_bytes=most * len(declared_names(run)))
    extraction = read_log(run, pod, cluster, limits=limits, wire=wire, resolve=resolve)
    return replace(extraction, problems=tuple(map(_hinted, extraction.problems)))


@hookimpl
def dereference(reference: Reference, config: Config, namespace: str) -> Iterator[bytes]:
    """Yield the object's bytes; the core compares them with the reference."""
    return _pieces(reference, _path_of(reference, config, namespace), config)


@hookimpl
def place_files(run: Run, pod: Object, files: Mapping[str, Reference], mount: Object, config: Config) -> None:
    """Add an init container with the sidecar's image, the only container with the credentials."""
    _refuse_exposed(pod, config.secret)
    wanted = [
        {
            "file": file,
            "path": _path_of(reference, config, run.namespace),
            "bytes": reference.size,
            "digest": reference.digest,
        }
        for file, reference in files.items()
    ]
    env = [*_store_env(config), {"name": ENV_FETCH, "value": json.dumps(wanted)}]
    add_fetch(pod, config, name=FETCH, transport="resultsfw_transports.fetch", env=env, mount=mount)
    if config.secret:
        pod["spec"]["initContainers"][-1]["envFrom"] = [{"secretRef": {"name": config.secret}}]


@hookimpl
def purge(run: Run, config: Config) -> None:
    """Delete all objects of the run; its attempts share them."""
    try:
        store_of(config).remove(_folder(run))
    except StoreError as error:
        if error.kind == "missing":  # the bucket is missing and may come back: keep the finalizer
            error.kind = "unavailable"
        raise _cluster_error(error, f"{config.url}/{_folder(run)}", "removed") from error


def store_of(config: Config) -> Store:
    """Return the store for the controller, whose credentials are in its environment.

    Raises:
        ValueError: The library does not accept the configuration.
    """
    options = tuple(sorted((key, _text(value)) for key, value in config.options.items()))
    return _store(config.url, options)


@lru_cache(maxsize=8)
def _store(url: str, options: tuple[tuple[str, str], ...]) -> Store:
    """Return a cached store, because it keeps connections."""
    return Store(url, dict(options), patience=_PATIENCE)


def _pieces(reference: Reference, path: str, config: Config) -> Iterator[bytes]:
    store = store_of(config)
    try:
        size = store.size(path)
    except StoreError as error:
        raise _cluster_error(error, reference.location, "read") from error
    if size is None:
        raise NotFoundError(f"{reference.location} is gone: somebody removed it", subject=reference.location)
    try:
        # One byte more than the reference says is enough for the core to detect a longer object.
        yield from store.pieces(path, min(size, reference.size + 1))
    except StoreError as error:
        raise _cluster_error(error, reference.location, "read") from error


def _store_env(config: Config) -> list[Object]:
    """Return the variables with the store's location, for containers that use it."""
    options = {key: _text(value) for key, value in config.options.items()}
    return [
        {"name": ENV_URL, "value": config.url},
        {"name": ENV_OPTIONS, "value": json.dumps(options)},
    ]


def _path_of(reference: Reference, config: Config, namespace: str) -> str:
    """Return the path of a reference, relative to the URL.

    Raises:
        CorruptError: It leads outside of the URL, or to data of another namespace ("": any is allowed).
    """
    start, digest = f"{config.url}/", reference.digest.removeprefix("sha256:")
    path = reference.location.removeprefix(start)
    owner, _, rest = path.partition("/")
    uid, _, name = rest.partition("/")
    known = _SEGMENT.fullmatch(owner) and _SEGMENT.fullmatch(uid) and name == digest
    if not (reference.location.startswith(start) and known):
        raise CorruptError(
            f"the reference leads to {reference.location[:_URL_BYTES]}, which is no result below "
            f"{config.url} (url of config.{NAME}): the status was edited, or the url is another one since",
            subject=reference.location,
        )
    if namespace and owner != namespace:
        raise CorruptError(
            f'the reference leads to {reference.location[:_URL_BYTES]}, to what a run of namespace "{owner}" '
            f'left; runs of "{namespace}" get only what was left there',
            subject=reference.location,
        )
    return path


def _reference(record: dict[str, Any], below: str, backend: str) -> Reference | None:
    """Return the reference in a record, if its location is where this pod's sidecar stores that digest."""
    location, size, digest, media = (record.get(key) for key in ("location", "bytes", "digest", "media"))
    if not (isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= MOST):
        return None
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest) and isinstance(media, str)):
        return None
    if location != f"{below}/{digest.removeprefix('sha256:')}":
        return None
    return Reference(backend=backend, location=location, size=size, digest=digest, media_type=media)


def _mappings(run: Run) -> list[str]:
    """Return the names in the log of results that are declared as array or object."""
    task_results = [(result.name, result) for result in run.results]
    step_results = [
        (f"step-{step.name}.{result.name}", result) for step in run.steps for result in step.results
    ]
    return [name for name, result in (*task_results, *step_results) if result.type != "string"]


def _folder(run: Run) -> str:
    """Return the folder of a run's objects, relative to the URL.

    Raises:
        BackendError: Namespace or uid are no valid names, so the data could be mistaken for another run's.
    """
    if not (_SEGMENT.fullmatch(run.namespace) and _SEGMENT.fullmatch(run.uid)):
        raise BackendError(
            f'run "{run.namespace}/{run.name}" (uid "{run.uid}") cannot have a folder in an object store: it '
            f"needs a namespace and a uid",
            subject=NAME,
        )
    return f"{run.namespace}/{run.uid}"


def _sidecar(pod: Object) -> Object:
    spec = pod["spec"]
    all_containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return next(container for container in all_containers if container["name"] == RESULTS_SIDECAR)


def _refuse_exposed(pod: Object, secret: str) -> None:
    """Refuse a pod whose Steps could see the sidecar's credentials.

    Raises:
        BackendError: They could; the message says how.
    """
    spec = pod["spec"]
    if not secret:
        return
    refuse_shared_processes(
        pod, backend=NAME, what=f'the credentials of the results sidecar (Secret "{secret}")'
    )
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or ():
            if container["name"] != FETCH and secret in _secrets_of(container):
                raise _exposed(f'container "{container["name"]}"', secret)
    for volume in spec.get("volumes") or ():
        sources = [volume, *(volume.get("projected", {}).get("sources") or ())]
        secrets = [source.get("secret") or {} for source in sources]
        if any(secret in (named.get("secretName"), named.get("name")) for named in secrets):
            raise _exposed(f'volume "{volume["name"]}"', secret)


def _secrets_of(container: Object) -> set[str]:
    sources = [source.get("secretRef") or {} for source in container.get("envFrom") or ()]
    variables = container.get("env") or ()
    keys = [(variable.get("valueFrom") or {}).get("secretKeyRef") or {} for variable in variables]
    return {reference.get("name", "") for reference in [*sources, *keys]}


def _exposed(what: str, secret: str) -> BackendError:
    return BackendError(
        f'{what} takes from the Secret "{secret}", whose credentials are for the results sidecar alone '
        f"(secret of config.{NAME}): give Steps a Secret of their own",
        subject=NAME,
    )


def _hinted(problem: Problem) -> Problem:
    """Add a hint to a value over its limit, which is not a feature flag of the core."""
    if problem.code is not ProblemCode.RESULT_TOO_LARGE:
        return problem
    return replace(problem, hint=f"max-object-size of config.{NAME} sets that limit, up to {MOST}")


def _cluster_error(error: StoreError, location: str, what: str) -> ClusterError:
    kinds: dict[str, type[ClusterError]] = {"missing": NotFoundError, "forbidden": ForbiddenError}
    kind = kinds.get(error.kind, UnavailableError)
    hint = "; the controller, or who asks, needs credentials of its own" if kind is ForbiddenError else ""
    return kind(f"{location} could not be {what}: {error}{hint}", subject=location)


def _refused(why: str) -> PydanticCustomError:
    """Return an error without the value, which may contain a secret."""
    return PydanticCustomError("refused", "{why}", {"why": why})


def _url_fault(url: str) -> str:
    """Return what is wrong with a URL; it is not quoted, because it may contain a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "it is no URL"
    if parts.scheme not in _SCHEMES:
        return f"it must begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}"
    if "@" in url or "?" in url or "#" in url:
        return "it must hold no user, query or fragment; credentials go into the Secret"
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


def _text(value: str | bool | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
