"""Encrypt what by-reference backends store: the sealing key for the pod, the value's key for its reader.

The pods' part is `resultsfw_transports.encryption`. A pod that stores values gets a public key. A pod that
gets values as files gets the key of each of these values, in a Secret for its init container. No pod gets a
key that opens anything else, and no Step gets any.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from resultsfw import Cluster, Kind, Object, Permission, Reference, Run
from resultsfw.errors import (
    AlreadyExistsError,
    BackendError,
    ClusterError,
    CorruptError,
    ForbiddenError,
    ResultsError,
)
from resultsfw.keys import KeyProvider, open_keys
from resultsfw.podchecks import refuse_secrets, refuse_shared_processes
from resultsfw.pods import containers
from resultsfw_transports.placing import ENV_KEYS
from resultsfw_transports.stored import ENV_SEALING

__all__ = [
    "KEYS_PERMISSION",
    "Encryption",
    "add_keys",
    "decrypted_pieces",
    "sealing_env",
    "stored_content",
    "stored_size",
]

SECRETS: Final = Kind("", "v1", "secrets", "Secret")

SECRET_TYPE: Final = "resultsfw.dev/value-keys"  # noqa: S105 - the name of a kind of Secret
_ENTRY: Final = "keys"
_MOST_KEYS: Final = 256
"""Data keys that are unsealed for one pod, by RSA or a request to a service. A run's values share one."""

KEYS_PERMISSION: Final = Permission(
    verb="create",
    resource="secrets",
    why="a pod that gets encrypted results as files gets their keys in a Secret",
    option="encryption",
)
"""For the capabilities of each backend that encrypts."""


class Encryption(BaseModel):
    """Option ``encryption`` of the backends by reference."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    keys: str = "secret-file"
    """The key provider that has the operator's keys."""
    options: dict[str, Any] = Field(default={})
    """Its options; of secret-file: folder."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Load the provider, and let it check its options."""
        try:
            self.provider()
        except BackendError as error:
            raise PydanticCustomError("refused", "{why}", {"why": error.message}) from None
        return self

    def provider(self) -> KeyProvider:
        """Return the key provider.

        Raises:
            BackendError: It cannot be loaded, or rejects its options.
        """
        return _provider(self.keys, json.dumps(self.options, sort_keys=True, default=str))


@lru_cache(maxsize=8)
def _provider(name: str, options: str) -> KeyProvider:
    """Return a cached provider, because one of a service keeps connections."""
    return open_keys(name, json.loads(options))


def stored_content(reference: Reference) -> Object:
    """Return what a program in the pod compares a stored value with, before it decrypts and places it."""
    return {
        "bytes": stored_size(reference),
        "digest": reference.digest,
        "encrypted": bool(reference.encryption),
    }


def stored_size(reference: Reference) -> int:
    """Return how many bytes are stored for a reference.

    Raises:
        BackendError: The value is encrypted, and the library for that is not installed.
    """
    if not reference.encryption:
        return reference.size
    size: int = _library(reference).encrypted_size(reference.size)
    return size


def sealing_env(run: Run, pod: Object, config: Encryption, *, backend: str) -> list[Object]:
    """Return the variable with which a pod's sidecar encrypts.

    Raises:
        BackendError: The Steps could read the sidecar's memory.
        ClusterError: There is no key.
    """
    refuse_shared_processes(pod, backend=backend, what="the key with which the results sidecar encrypts")
    key = config.provider().sealing_key()
    sealing = {"id": key.id, "key": key.public_key, "owner": _owner(run.namespace, run.uid)}
    return [{"name": ENV_SEALING, "value": json.dumps(sealing)}]


def decrypted_pieces(
    reference: Reference, pieces: Iterable[bytes], config: Encryption | None
) -> Iterator[bytes]:
    """Yield the value of which the pieces are the stored bytes.

    Raises:
        ForbiddenError: The key is missing, or another one has its name.
        CorruptError: The value, its key or what the reference says of it was changed.
    """
    library = _library(reference)
    key = _value_key(reference, _required(reference, config), {})
    try:
        yield from library.decrypted(key, pieces)
    except library.EncryptionError as error:
        raise CorruptError(f"{reference.location}: {error}", subject=reference.location) from None


def add_keys(
    run: Run,
    pod: Object,
    files: Mapping[str, Reference],
    config: Encryption | None,
    cluster: Cluster | None,
    *,
    container: str,
    backend: str,
) -> None:
    """Give the init container that places files the keys of those that are encrypted, in a Secret.

    Args:
        run: The run whose pod it is; it owns the Secret.
        pod: The pod with the container; it is changed.
        files: The reference of each file.
        config: The option; ``None``: nothing is encrypted any more, and what was cannot be read.
        cluster: Where the Secret is created.
        container: The container's name.
        backend: The backend's name.

    Raises:
        BackendError: Another container could read the keys, or the Secret cannot be created.
        ClusterError: A key is missing, or the cluster refuses the Secret.
        CorruptError: What a reference says of its key was changed.
    """
    encrypted = {file: reference for file, reference in files.items() if reference.encryption}
    if not encrypted:
        return
    name = _secret_name(run, backend)
    refuse_shared_processes(pod, backend=backend, what="the keys of encrypted results")
    refuse_secrets(pod, name, backend=backend)
    # Without the salt, which is the value's: who creates a run can write any number of references.
    if (
        count := len({reference.encryption.rpartition(".")[0] for reference in encrypted.values()})
    ) > _MOST_KEYS:
        raise BackendError(
            f'run "{run.namespace}/{run.name}" gets encrypted results with {count} keys as files, over the '
            f"limit of {_MOST_KEYS} for one pod: take results of fewer runs",
            subject=backend,
        )
    unsealed: dict[tuple[str, bytes], bytes] = {}
    keys = {
        file: base64.b64encode(_value_key(reference, _required(reference, config), unsealed)).decode()
        for file, reference in encrypted.items()
    }
    _create(run, pod, name, keys, cluster, backend=backend)
    source = {"secretKeyRef": {"name": name, "key": _ENTRY}}
    containers(pod)[container]["env"].append({"name": ENV_KEYS, "valueFrom": source})


def _create(
    run: Run, pod: Object, secret: str, keys: Mapping[str, str], cluster: Cluster | None, *, backend: str
) -> None:
    """Create the Secret with the keys of a pod's values; the owner of the pod owns it."""
    names = ("apiVersion", "kind", "name", "uid")
    owners = [
        {key: owner[key] for key in names if key in owner}
        for owner in pod["metadata"].get("ownerReferences") or ()
    ]
    if cluster is None or not owners:
        raise BackendError(
            f'run "{run.namespace}/{run.name}" gets encrypted results as files: give place_files the '
            f"cluster, and the pod an owner, with which the Secret with their keys is deleted",
            subject=backend,
        )
    metadata: Object = {"name": secret, "namespace": run.namespace, "ownerReferences": owners}
    metadata["labels"] = {"app.kubernetes.io/part-of": "resultsfw"}
    data = {_ENTRY: base64.b64encode(json.dumps(keys).encode()).decode()}
    body = {"metadata": metadata, "type": SECRET_TYPE, "immutable": True, "data": data}
    try:
        cluster.create(SECRETS, body)
    except AlreadyExistsError:
        return  # by an earlier attempt to create this pod; its keys are the same
    except ForbiddenError as error:
        raise ForbiddenError(
            f"the Secret with the keys of encrypted results cannot be created: resultsfw install "
            f"--enable-encryption, or kubectl apply -f config/enable-encryption/: {error.message}",
            subject=error.subject,
        ) from error


def _secret_name(run: Run, backend: str) -> str:
    whose = f"{run.namespace}/{run.uid}/{run.attempt}/{backend}"
    return f"resultsfw-keys-{hashlib.sha256(whose.encode()).hexdigest()[:32]}"


def _value_key(reference: Reference, config: Encryption, unsealed: dict[tuple[str, bytes], bytes]) -> bytes:
    """Return the key of a value.

    Args:
        reference: The reference, perhaps written by a tenant.
        config: The option.
        unsealed: Data keys that were unsealed already: those of a run are one.
    """
    library, owner = _library(reference), _owner(reference.namespace, reference.uid)
    try:
        key_id, sealed, salt = library.parse(reference.encryption)
        if (key_id, sealed) not in unsealed:
            unsealed[key_id, sealed] = config.provider().unseal(key_id, sealed)
        key: bytes = library.value_key(library.data_key_of(unsealed[key_id, sealed], owner), salt, owner)
    except library.EncryptionError as error:
        raise CorruptError(f"{reference.location}: {error}", subject=reference.location) from None
    except ResultsError as error:
        kind = type(error) if isinstance(error, ClusterError | CorruptError) else BackendError
        raise kind(
            f"{reference.location} cannot be decrypted: {error.message}", subject=reference.location
        ) from error
    else:
        return key


def _required(reference: Reference, config: Encryption | None) -> Encryption:
    if config is None:
        raise ForbiddenError(
            f"{reference.location} is encrypted: set the option encryption of config.{reference.backend}, "
            f"and have the key",
            subject=reference.location,
        )
    return config


def _library(reference: Reference) -> Any:
    """Return the module that encrypts.

    Raises:
        BackendError: Its library is not installed.
    """
    try:
        from resultsfw_transports import encryption  # noqa: PLC0415 - only where something is encrypted
    except ImportError as error:
        raise BackendError(
            f"{reference.location} is encrypted: {error}; install it with: pip install "
            f"'resultsfw[encryption]'",
            subject=reference.backend,
        ) from error
    return encryption


def _owner(namespace: str, uid: str) -> str:
    return f"{namespace}/{uid}"
