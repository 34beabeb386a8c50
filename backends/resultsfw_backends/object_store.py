"""Backend ``object-store``: the sidecar uploads large values, and the run's status references them.

For results that no API object can hold. The sidecar's log has small values, and references to large ones. A
damaged log is detected as with ``sidecar-logs``; a changed object is detected when it is dereferenced.
Objects are named ``NAMESPACE/UID OF THE RUN/SHA-256`` below the configured URL, and are deleted with the run.
"""

import json
from collections.abc import Iterator, Mapping

from resultsfw import (
    Capabilities,
    Cluster,
    Extraction,
    Limits,
    Object,
    Permission,
    Reference,
    Run,
    hookimpl,
)
from resultsfw.errors import (
    ClusterError,
    CorruptError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from resultsfw.podchecks import refuse_secrets, refuse_shared_processes
from resultsfw.pods import RESULTS_SIDECAR, containers
from resultsfw_backends._encryption import (
    KEYS_PERMISSION,
    add_keys,
    decrypted_pieces,
    stored_content,
    stored_size,
)
from resultsfw_backends._object_store_config import (
    FETCH,
    NAME,
    URL_BYTES,
    Config,
    option_text,
    store_of,
)
from resultsfw_backends._results_sidecar import add_fetch, add_sidecar
from resultsfw_backends._sidecar_reader import may_be_read
from resultsfw_backends._stored_values import (
    NAME_PATTERN,
    allow_time,
    extract_stored,
    run_folder,
    sidecar_variables,
    storing_env,
)
from resultsfw_sidecar import wire as wires
from resultsfw_transports.fetch import ENV_FETCH
from resultsfw_transports.store import ENV_FOLDER, ENV_OPTIONS, ENV_URL, MOST, StoreError

__all__ = [
    "Config",
    "capabilities",
    "decrypt",
    "dereference",
    "extract",
    "place_files",
    "pod_ready",
    "prepare_pod",
    "purge",
]

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
        KEYS_PERMISSION,
    ),
    external_state="elsewhere",
    verified=True,
    artifacts=True,
    plain_pods=True,
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
            {"name": ENV_FOLDER, "value": run_folder(run, backend=NAME)},
            *storing_env(run, pod, config, backend=NAME),
        ],
    )
    if config.secret:
        containers(pod)[RESULTS_SIDECAR]["envFrom"] = [{"secretRef": {"name": config.secret}}]
    allow_time(pod, config.grace)
    return wires.WIRE


@hookimpl
def pod_ready(run: Run, pod: Object, wire: int) -> bool:
    """Return whether the sidecar has ended for good, or should have printed all: the Steps have ended."""
    return may_be_read(run, pod, wire=wire)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, wire: int, backend: str) -> Extraction:
    """Read the log without any request to the store, which confirmed each upload to the sidecar.

    The pod says where its values were stored, whatever the flags say now.
    """
    root = sidecar_variables(pod).get(ENV_URL, "")
    return extract_stored(
        run, pod, cluster, wire, root=root, backend=backend, option="max-object-size", most=MOST
    )


@hookimpl
def dereference(reference: Reference, config: Config) -> Iterator[bytes]:
    """Yield the object's bytes; the core compares them with the reference."""
    return _pieces(reference, _path_of(reference, config), config)


@hookimpl
def decrypt(reference: Reference, pieces: Iterator[bytes], config: Config) -> Iterator[bytes]:
    """Yield the value, decrypted by the operator's key."""
    return decrypted_pieces(reference, pieces, config.encryption)


@hookimpl
def place_files(  # noqa: PLR0917 - pluggy passes them by name
    run: Run, pod: Object, files: Mapping[str, Reference], mount: Object, cluster: Cluster, config: Config
) -> None:
    """Add an init container with the sidecar's image, the only container with the credentials."""
    _refuse_exposed(pod, config.secret)
    wanted = [
        {
            "file": file,
            "path": _path_of(reference, config),
            **stored_content(reference),
        }
        for file, reference in files.items()
    ]
    env = [*_store_env(config), {"name": ENV_FETCH, "value": json.dumps(wanted)}]
    add_fetch(pod, config, name=FETCH, transport="resultsfw_transports.fetch", env=env, mount=mount)
    add_keys(run, pod, files, config.encryption, cluster, container=FETCH, backend=NAME)
    if config.secret:
        pod["spec"]["initContainers"][-1]["envFrom"] = [{"secretRef": {"name": config.secret}}]


@hookimpl
def purge(run: Run, config: Config) -> None:
    """Delete all objects of the run; its attempts share them."""
    folder = run_folder(run, backend=NAME)
    try:
        store_of(config).remove(folder)
    except StoreError as error:
        if error.kind == "missing":  # the bucket is missing and may come back: keep the finalizer
            error.kind = "unavailable"
        raise _cluster_error(error, f"{config.url}/{folder}", "removed") from error


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
        yield from store.pieces(path, min(size, stored_size(reference) + 1))
    except StoreError as error:
        raise _cluster_error(error, reference.location, "read") from error


def _store_env(config: Config) -> list[Object]:
    """Return the variables with the store's location, for containers that use it."""
    options = {key: option_text(value) for key, value in config.options.items()}
    return [
        {"name": ENV_URL, "value": config.url},
        {"name": ENV_OPTIONS, "value": json.dumps(options)},
    ]


def _path_of(reference: Reference, config: Config) -> str:
    """Return the path of a reference, relative to the URL. The core has compared its namespace.

    Raises:
        CorruptError: It leads outside of the URL.
    """
    namespace, uid, name = reference.namespace, reference.uid, reference.name
    known = NAME_PATTERN.fullmatch(namespace) and NAME_PATTERN.fullmatch(uid)
    if reference.root != config.url or not known or name != reference.digest.removeprefix("sha256:"):
        raise CorruptError(
            f"the reference leads to {reference.location[:URL_BYTES]}, which is no result below "
            f"{config.url} (url of config.{NAME}): the status was edited, or the url is another one since",
            subject=reference.location,
        )
    return f"{namespace}/{uid}/{name}"


def _refuse_exposed(pod: Object, secret: str) -> None:
    """Refuse a pod whose Steps could see the sidecar's credentials.

    Raises:
        BackendError: They could; the message says how.
    """
    if secret:
        what = f'the credentials of the results sidecar (Secret "{secret}")'
        refuse_shared_processes(pod, backend=NAME, what=what)
        refuse_secrets(pod, secret, backend=NAME, own=(FETCH,))


def _cluster_error(error: StoreError, location: str, what: str) -> ClusterError:
    kinds: dict[str, type[ClusterError]] = {"missing": NotFoundError, "forbidden": ForbiddenError}
    kind = kinds.get(error.kind, UnavailableError)
    hint = "; the controller, or who asks, needs credentials of its own" if kind is ForbiddenError else ""
    return kind(f"{location} could not be {what}: {error}{hint}", subject=location)
