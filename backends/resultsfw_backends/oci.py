"""Backend ``oci``: the sidecar pushes large values into a container registry; the status references them.

Each value is an artifact: a manifest with one layer, in a repository of the run's namespace or of the run.
Its annotations say whose it is; a reference names it by the manifest's digest. Small values are in the
sidecar's log. The artifacts are deleted with the run, if the registry deletes any.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

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
    BackendError,
    ClusterError,
    CorruptError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from resultsfw_backends._encryption import KEYS_PERMISSION, add_keys, decrypted_pieces, stored_content
from resultsfw_backends._oci_config import (
    FETCH,
    MOST,
    NAME,
    PER,
    SUBJECT_ANNOTATION,
    Config,
    registry_of,
    repository_of,
    repository_per,
    tag_prefix,
)
from resultsfw_backends._oci_logins import login_variables
from resultsfw_backends._results_sidecar import add_fetch, add_sidecar
from resultsfw_backends._sidecar_reader import may_be_read
from resultsfw_backends._stored_values import (
    allow_time,
    extract_stored,
    run_folder,
    sidecar_variables,
    storing_env,
)
from resultsfw_sidecar import wire as wires
from resultsfw_transports.oci import (
    ENV_ANNOTATIONS,
    ENV_CA,
    ENV_LOCATION,
    ENV_PATIENCE,
    ENV_PLAIN,
    ENV_REGISTRY,
    ENV_REPOSITORY,
    ENV_SUBJECT,
    ENV_TAG,
    MOST_ARTIFACTS,
)
from resultsfw_transports.oci_fetch import ENV_FETCH, is_owned, value_pieces
from resultsfw_transports.placing import PlacingError
from resultsfw_transports.registry import Registry, RegistryError, digest_of

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

log = logging.getLogger(__name__)

OWN: Final = "own+"
"""Begins the name in the location of a value whose run has a repository of its own."""

_NAMES: Final = re.compile(r"(?:own\+)?sha256:[0-9a-f]{64}")
_ANNOTATION: Final = "dev.resultsfw."
_LABELS: Final = {
    "task": "tekton.dev/task",
    "pipeline": "tekton.dev/pipeline",
    "pipelinerun": "tekton.dev/pipelineRun",
    "pipelinetask": "tekton.dev/pipelineTask",
}
_SHOWN: Final = 512

capabilities = Capabilities(
    summary="large results as artifacts in a container registry, references in the status",
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
            resource="serviceaccounts",
            why="to name the pull secrets that the sidecar gets",
        ),
        KEYS_PERMISSION,
    ),
    external_state="elsewhere",
    verified=True,
    artifacts=True,
    plain_pods=True,
)


@hookimpl
def prepare_pod(run: Run, pod: Object, cluster: Cluster, limits: Limits, config: Config) -> int:
    """Add the sidecar, the only container to which this backend gives registry logins."""
    per = repository_per(pod, config)
    logins = login_variables(pod, run.namespace, config, cluster)
    folder = run_folder(run, backend=NAME)
    variables = {
        ENV_REPOSITORY: repository_of(run.namespace, run.uid, per, config),
        ENV_TAG: tag_prefix(run),
        ENV_LOCATION: f"{config.root}/{folder}/{OWN if per == 'run' else ''}",
        ENV_ANNOTATIONS: json.dumps(_annotations(run, pod)),
        ENV_SUBJECT: ",".join(_subject_results(run, pod, config)),
    }
    add_sidecar(
        run,
        pod,
        config,
        limits=Limits(result_bytes=config.max_object_size, run_bytes=limits.run_bytes),
        transport="resultsfw_transports.oci",
        env=[*_registry_env(config), *_env(variables), *storing_env(run, pod, config, backend=NAME), *logins],
    )
    allow_time(pod, config.grace)
    return wires.WIRE


@hookimpl
def pod_ready(run: Run, pod: Object, wire: int) -> bool:
    """Return whether the sidecar has ended for good, or should have printed all: the Steps have ended."""
    return may_be_read(run, pod, wire=wire)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, wire: int, backend: str) -> Extraction:
    """Read the log without any request to the registry, which confirmed each push to the sidecar."""
    root = "/".join(sidecar_variables(pod).get(ENV_LOCATION, "").split("/")[:-3])
    return extract_stored(
        run,
        pod,
        cluster,
        wire,
        root=root,
        backend=backend,
        option="max-object-size",
        most=MOST,
        names=_NAMES,
    )


@hookimpl
def dereference(reference: Reference, config: Config) -> Iterator[bytes]:
    """Yield the value of the artifact; the core compares it with the reference."""
    return _pieces(_located(reference, config), config)


@hookimpl
def decrypt(reference: Reference, pieces: Iterator[bytes], config: Config) -> Iterator[bytes]:
    """Yield the value, decrypted by the operator's key."""
    return decrypted_pieces(reference, pieces, config.encryption)


@hookimpl
def place_files(  # noqa: PLR0917 - pluggy passes them by name
    run: Run,
    pod: Object,
    files: Mapping[str, Reference],
    mount: Object,
    cluster: Cluster | None,
    config: Config,
) -> None:
    """Add an init container with the sidecar's image and registry logins, which fetches the values."""
    logins = login_variables(pod, run.namespace, config, cluster)
    wanted = [{"file": file, **_located(reference, config)} for file, reference in files.items()]
    env = [*_registry_env(config), {"name": ENV_FETCH, "value": json.dumps(wanted)}, *logins]
    add_fetch(pod, config, name=FETCH, transport="resultsfw_transports.oci_fetch", env=env, mount=mount)
    add_keys(run, pod, files, config.encryption, cluster, container=FETCH, backend=NAME)


@hookimpl
def purge(run: Run, config: Config) -> None:
    """Delete the artifacts of the attempt; log which ones stay in a registry that deletes none."""
    registry, prefix = registry_of(config), tag_prefix(run)
    for per in PER:
        try:
            repository = repository_of(run.namespace, run.uid, per, config)
        except BackendError:
            continue  # there can be no such repository
        try:
            kept = _delete(registry, repository, run)
        except RegistryError as error:
            # Only a run's annotation leads into the other repository: what may not be looked for there may
            # not exist. Some registries answer so for repositories that they do not have.
            if per != config.repository_per and error.kind in ("forbidden", "refused", "unsupported"):
                continue
            raise _cluster_error(error, f"oci://{registry.host}/{repository}", "removed") from error
        if kept:
            log.warning(
                "run %s/%s is deleted, and %d of its results stay in %s/%s, which deletes no manifests: tags "
                "%s0 to %s%d",
                *(run.namespace, run.name, kept, registry.host, repository, prefix, prefix, kept - 1),
            )


def _delete(registry: Registry, repository: str, run: Run) -> int:
    """Delete the artifacts of an attempt, the last one first; return how many the registry keeps.

    Tags are consecutive. If it ends before all are deleted, those that are left are consecutive, too. Who may
    push can give such a tag to an artifact of another run: that one stays.
    """
    owner = _owner(run.namespace, run.uid)
    found: list[str] = []
    while len(found) < MOST_ARTIFACTS:
        manifest = registry.tagged(repository, f"{tag_prefix(run)}{len(found)}")
        if manifest is None:
            break
        found.append(digest_of(manifest) if is_owned(manifest, owner) else "")
    for index, digest in reversed(list(enumerate(found))):
        if digest and not registry.delete_manifest(repository, digest):
            return index + 1
    return 0


def _owner(namespace: str, uid: str) -> dict[str, str]:
    """Return the annotations by which an artifact is a run's."""
    return {f"{_ANNOTATION}namespace": namespace, f"{_ANNOTATION}uid": uid}


def _pieces(value: dict[str, Any], config: Config) -> Iterator[bytes]:
    location = value["location"]
    try:
        yield from value_pieces(registry_of(config), value["repository"], value["manifest"], value)
    except PlacingError as error:
        raise CorruptError(f"{location}: {error}", subject=location) from error
    except RegistryError as error:
        raise _cluster_error(error, location, "read") from error


def _located(reference: Reference, config: Config) -> dict[str, Any]:
    """Return where a value is and what must be found there, as `value_pieces` takes it.

    Raises:
        CorruptError: It leads elsewhere.
    """
    location, owner, uid, name = reference.location, reference.namespace, reference.uid, reference.name
    if reference.root != config.root or not _NAMES.fullmatch(name):
        raise CorruptError(
            f"the reference leads to {location[:_SHOWN]}, which is no result below {config.root} (repository "
            f"of config.{NAME}): the status was edited, or the repository is another one since",
            subject=location,
        )
    try:
        repository = repository_of(owner, uid, "run" if name.startswith(OWN) else "namespace", config)
    except BackendError as error:
        raise CorruptError(f"{location[:_SHOWN]}: {error.message}", subject=location) from error
    return {
        "repository": repository,
        "manifest": name.removeprefix(OWN),
        "owner": _owner(owner, uid),
        **stored_content(reference),
        "location": location,
    }


def _registry_env(config: Config) -> list[Object]:
    """Return the variables with the registry's address, for containers that use it."""
    plain = "true" if config.plain_http else "false"
    variables = {ENV_REGISTRY: config.host, ENV_PLAIN: plain, ENV_PATIENCE: str(config.patience)}
    return _env({**variables, **({ENV_CA: config.ca} if config.ca else {})})


def _env(variables: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def _subject_results(run: Run, pod: Object, config: Config) -> list[str]:
    """Return the results that name the image to which values are attached; none if the Task has none.

    Raises:
        BackendError: The run's annotation names something else.
    """
    metadata = pod["metadata"]
    asked = (metadata.get("annotations") or {}).get(SUBJECT_ANNOTATION)
    names = [name.strip() for name in (config.subject if asked is None else asked).split(",") if name.strip()]
    written = {result.name for result in run.written_results if result.type == "string"}
    if written.issuperset(names) and len(names) <= 2:  # noqa: PLR2004 - a name and a digest
        return names
    # The annotations of a PipelineRun are those of all its TaskRuns: not each of them builds an image.
    of_pipeline = _LABELS["pipelinetask"] in (metadata.get("labels") or {})
    if asked is None or (of_pipeline and written.isdisjoint(names)):
        return []
    raise BackendError(
        f'annotation {SUBJECT_ANNOTATION}: "{asked:.128}" must be one or two string results that Steps of '
        f"the Task write: an image by digest, or its name and its digest",
        subject=NAME,
    )


def _annotations(run: Run, pod: Object) -> dict[str, str]:
    """Return the annotations of a run's artifacts: whose they are."""
    labels = pod["metadata"].get("labels") or {}
    known = {"namespace": run.namespace, "run": run.name, "uid": run.uid, "attempt": str(run.attempt)}
    known |= {name: labels[label] for name, label in _LABELS.items() if labels.get(label)}
    return {f"{_ANNOTATION}{name}": text for name, text in known.items()}


def _cluster_error(error: RegistryError, location: str, what: str) -> ClusterError:
    if error.kind == "missing":
        return NotFoundError(f"{location} is gone: somebody removed it: {error}", subject=location)
    message = f"{location} could not be {what}: {error}"
    if error.kind == "forbidden":
        hint = "the controller, or who asks, needs a login of its own"
        return ForbiddenError(f"{message}; {hint}", subject=location)
    return UnavailableError(message, subject=location)
