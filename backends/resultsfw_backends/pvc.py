"""Backend ``pvc``: the sidecar writes large values to a PersistentVolumeClaim, the status references them.

For results that no API object can hold, in clusters without an object store. The sidecar's log has small
values, and references to large ones. A value is the file ``NAMESPACE/UID.ATTEMPT/SHA-256`` of the claim, its
location ``pvc://CLAIM/NAMESPACE/UID/SHA-256.ATTEMPT``; it is deleted with the run. The sidecar mounts the
folder of its attempt only, and no Step mounts the claim.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

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
from resultsfw.errors import ClusterError, CorruptError, ForbiddenError, NotFoundError, UnavailableError
from resultsfw.podchecks import refuse_shared_processes
from resultsfw.pods import containers
from resultsfw_backends._claim import (
    MOST,
    NAME,
    VOLUME,
    Config,
    add_claim,
    find_claim,
    refuse_exposed_claim,
    root_of,
)
from resultsfw_backends._claim_pods import TRANSPORT, read_value, remove_folder
from resultsfw_backends._encryption import (
    KEYS_PERMISSION,
    add_keys,
    decrypted_pieces,
    stored_content,
    stored_size,
)
from resultsfw_backends._results_sidecar import add_fetch, add_sidecar, fetch_container
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
from resultsfw_transports import value_folder
from resultsfw_transports.claim import ENV_ATTEMPT, ENV_FOLDER, ENV_LOCATION
from resultsfw_transports.claim_tasks import ENV_PLACE

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

FETCH: Final = fetch_container(NAME)

_MOUNT: Final = "/results-claim"
"""Where the sidecar mounts the folder of its run, and the init container those of other runs."""

_LOCATION_BYTES: Final = 512

_NAME: Final = re.compile(r"[0-9a-f]{64}\.[0-9]{1,9}")
"""Last part of a location: the digest, and the number of the attempt."""

capabilities = Capabilities(
    summary="large results on a PersistentVolumeClaim, references in the status",
    delivery="reference",
    result_bytes=MOST,
    permissions=(
        Permission(
            verb="get",
            resource="pods/log",
            why="small values and references are in the log of the results sidecar",
        ),
        Permission(
            verb="get",
            resource="persistentvolumeclaims",
            why="to see that the claim exists, and its access modes",
        ),
        *(
            Permission(
                verb=verb, resource="pods", why="to read and to purge through pods that mount the claim"
            )
            for verb in ("get", "create", "delete")
        ),
        KEYS_PERMISSION,
    ),
    external_state="elsewhere",
    verified=True,
    artifacts=True,
    plain_pods=True,
    volumes=("persistentVolumeClaim",),
)


@hookimpl
def prepare_pod(run: Run, pod: Object, cluster: Cluster, limits: Limits, config: Config) -> int:
    """Add the sidecar, which alone mounts the claim, and of that the folder of its run."""
    folder = run_folder(run, backend=NAME)
    refuse_shared_processes(pod, backend=NAME, what="and change the values that the results sidecar stores")
    refuse_exposed_claim(pod, config, own=[FETCH] if _is_fetching(pod, config) else ())
    claim = find_claim(cluster, run.namespace, config)
    add_sidecar(
        run,
        pod,
        config,
        limits=Limits(result_bytes=config.max_value_size, run_bytes=limits.run_bytes),
        transport="resultsfw_transports.claim",
        env=[
            {"name": ENV_FOLDER, "value": _MOUNT},
            {"name": ENV_LOCATION, "value": f"{root_of(config)}/{folder}"},
            {"name": ENV_ATTEMPT, "value": str(run.attempt)},
            *storing_env(run, pod, config, backend=NAME),
        ],
        mounts=[{"name": VOLUME, "mountPath": _MOUNT, "subPath": f"{folder}.{run.attempt}"}],
    )
    add_claim(pod, config, claim)
    allow_time(pod, config.grace)
    return wires.WIRE


@hookimpl
def pod_ready(run: Run, pod: Object, wire: int) -> bool:
    """Return whether the sidecar has ended for good, or should have printed all: the Steps have ended."""
    return may_be_read(run, pod, wire=wire)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, wire: int, backend: str) -> Extraction:
    """Read the log; the sidecar had written each value before it printed its reference.

    The pod says where its values were stored, whatever the flags say now.
    """
    location = sidecar_variables(pod).get(ENV_LOCATION, "")
    root = location.removesuffix(f"/{run_folder(run, backend=NAME)}")
    return extract_stored(
        run,
        pod,
        cluster,
        wire,
        root=root,
        backend=backend,
        option="max-value-size",
        most=MOST,
        names=re.compile(rf"[0-9a-f]{{64}}\.{run.attempt}"),
    )


@hookimpl
def dereference(reference: Reference, cluster: Cluster, config: Config) -> Iterator[bytes]:
    """Yield the value's bytes, from the folder or through a pod; the core verifies them."""
    path = _path_of(reference, config)
    if config.folder:
        return _pieces(reference, path, config)
    if stored_size(reference) > config.reader_bytes:
        raise ClusterError(
            f"{reference.location} has {reference.size} bytes, and a pod's log carries up to "
            f"{config.reader_bytes} (reader-bytes of config.{NAME}): give the result to a Task as a "
            f"parameter, which gets it as a file, or mount the claim and name it by the option folder",
            subject=reference.location,
        )
    return read_value(reference, path, cluster, config)


@hookimpl
def decrypt(reference: Reference, pieces: Iterator[bytes], config: Config) -> Iterator[bytes]:
    """Yield the value, decrypted by the operator's key."""
    return decrypted_pieces(reference, pieces, config.encryption)


@hookimpl
def place_files(  # noqa: PLR0917 - pluggy passes them by name
    run: Run, pod: Object, files: Mapping[str, Reference], mount: Object, cluster: Cluster, config: Config
) -> None:
    """Add an init container that mounts, read-only, the folder of each run whose values are wanted."""
    refuse_exposed_claim(pod, config, own=())
    paths = {file: _path_of(reference, config) for file, reference in files.items()}
    below = dict.fromkeys(f"{owner}/{attempt}" for owner, attempt, _ in paths.values())
    folders = {folder: f"{_MOUNT}/{number}" for number, folder in enumerate(below)}
    wanted = [
        {
            "file": file,
            "folder": folders["/".join(paths[file][:2])],
            "name": paths[file][2],
            **stored_content(reference),
            "location": reference.location,
        }
        for file, reference in files.items()
    ]
    env = [{"name": ENV_PLACE, "value": json.dumps(wanted)}]
    add_fetch(pod, config, name=FETCH, transport=TRANSPORT, env=env, mount=mount)
    add_keys(run, pod, files, config.encryption, cluster, container=FETCH, backend=NAME)
    containers(pod)[FETCH]["volumeMounts"] += [
        {"name": VOLUME, "mountPath": path, "subPath": folder, "readOnly": True}
        for folder, path in folders.items()
    ]
    add_claim(pod, config, find_claim(cluster, run.namespace, config))


@hookimpl
def purge(run: Run, cluster: Cluster, config: Config) -> None:
    """Remove the folder of the run's attempt."""
    names = f"{run_folder(run, backend=NAME)}.{run.attempt}".split("/")
    if not config.folder:
        remove_folder(names, cluster, config)
        return
    try:
        value_folder.remove(config.folder, names)
    except OSError as error:
        location = "/".join([root_of(config), *names])
        # If the folder itself is missing, it may come back: keep the finalizer.
        raise UnavailableError(
            f"{location} could not be removed from {config.folder}: {error.strerror}", subject=location
        ) from error


def _pieces(reference: Reference, path: Sequence[str], config: Config) -> Iterator[bytes]:
    try:
        # One byte more than the reference says is enough for the core to detect a longer value.
        yield from value_folder.pieces(config.folder, path, stored_size(reference) + 1)
    except OSError as error:
        raise _read_error(error, reference, config) from error


def _read_error(error: OSError, reference: Reference, config: Config) -> ClusterError:
    """Return the error of a value that cannot be read from the folder."""
    location = reference.location
    if isinstance(error, FileNotFoundError) and os.path.isdir(config.folder):  # noqa: PTH112 - as the rest
        return NotFoundError(f"{location} is gone: somebody removed it", subject=location)
    kind = ForbiddenError if isinstance(error, PermissionError) else UnavailableError
    return kind(
        f"{location} could not be read from {config.folder} (folder of config.{NAME}): {error.strerror}",
        subject=location,
    )


def _path_of(reference: Reference, config: Config) -> tuple[str, str, str]:
    """Return the names of the folders and of the file of a reference, below the claim.

    Raises:
        CorruptError: It leads to another claim, or is no location of this backend.
    """
    namespace, uid, name = reference.namespace, reference.uid, reference.name
    digest = reference.digest.removeprefix("sha256:")
    folders = NAME_PATTERN.fullmatch(namespace) and NAME_PATTERN.fullmatch(uid)
    known = folders and _NAME.fullmatch(name) and name.startswith(f"{digest}.")
    if reference.root != root_of(config) or not known:
        raise CorruptError(
            f"the reference leads to {reference.location[:_LOCATION_BYTES]}, which is no result on the claim "
            f'"{config.claim}" (claim of config.{NAME}): the status was edited, or the claim is another one '
            f"since",
            subject=reference.location,
        )
    return namespace, f"{uid}.{name.rpartition('.')[2]}", digest


def _is_fetching(pod: Object, config: Config) -> bool:
    """Return whether the pod has the init container that `place_files` added, and none that looks like it."""
    found = containers(pod).get(FETCH, {})
    return found.get("image") == config.image and (found.get("command") or ())[-1:] == ["fetch"]
