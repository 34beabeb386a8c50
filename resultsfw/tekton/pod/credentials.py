"""Turn the annotated Secrets of a service account into volumes and entrypoint arguments ("creds-init").

Tekton's entrypoint writes them as files into ``/tekton/creds`` and the Step's home (Tekton:
pkg/pod/creds_init.go, pkg/credentials, docs/auth.md). No value of a Secret is read here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from resultsfw.cluster import Object

__all__ = ["NO_CREDENTIALS", "SECRETS_DIR", "Credentials", "credentials_of", "lacks_known_hosts"]

SECRETS_DIR: Final = "/tekton/creds-secrets"
"""Where the entrypoint looks for the Secrets, a folder for each."""

_BASIC, _SSH = "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth"
_ANNOTATED: Final = {
    _BASIC: (("tekton.dev/docker-", "basic-docker"), ("tekton.dev/git-", "basic-git")),
    _SSH: (("tekton.dev/git-", "ssh-git"),),
}
"""By type of Secret, the annotations that name a server, and the entrypoint's flag for each."""

_WHOLE: Final = {
    "kubernetes.io/dockerconfigjson": "docker-config",
    "kubernetes.io/dockercfg": "docker-cfg",
}
"""By type of Secret, the flag of those that name their servers themselves and need no annotation."""

_VOLUME: Final = "tekton-creds"
_KNOWN_HOSTS: Final = "known_hosts"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a pod needs so that its Steps get credentials.

    Attributes:
        args: Arguments of every Step's entrypoint.
        volumes: One for each Secret.
        mounts: Of these volumes, in every Step.
    """

    args: tuple[str, ...] = ()
    volumes: tuple[Object, ...] = ()
    mounts: tuple[Object, ...] = ()


NO_CREDENTIALS: Final = Credentials()


def credentials_of(secrets: Sequence[Object]) -> Credentials:
    """Return what a pod needs for these Secrets; those without an annotation for git or docker are ignored.

    Args:
        secrets: In the order of the ServiceAccount, no name twice.
    """
    args: list[str] = []
    volumes: list[Object] = []
    mounts: list[Object] = []
    names: set[str] = set()
    for secret in secrets:
        own = _args(secret)
        if not own:
            continue
        args += own
        name = secret["metadata"]["name"]
        volume = _volume_name(name)
        while volume in names:
            volume = _volume_name(f"{volume}$")
        names.add(volume)
        volumes.append({"name": volume, "secret": {"secretName": name}})
        mounts.append({"name": volume, "mountPath": f"{SECRETS_DIR}/{name}"})
    return Credentials(tuple(args), tuple(volumes), tuple(mounts))


def lacks_known_hosts(secret: Object) -> bool:
    """Return whether a Secret holds an SSH key without the servers' keys.

    ``require-git-ssh-secret-known-hosts`` forbids that.
    """
    keys = {*(secret.get("data") or {}), *(secret.get("stringData") or {})}
    return secret.get("type") == _SSH and _KNOWN_HOSTS not in keys


def _args(secret: Object) -> list[str]:
    kind, name = str(secret.get("type") or ""), secret["metadata"]["name"]
    if kind in _WHOLE:
        return [f"-{_WHOLE[kind]}={name}"]
    annotations = secret["metadata"].get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    return [
        f"-{flag}={name}={server}"
        for prefix, flag in _ANNOTATED.get(kind, ())
        for server in sorted(str(value) for key, value in annotations.items() if str(key).startswith(prefix))
    ]


def _volume_name(name: str) -> str:
    """Return the volume's name: a hash, since a Secret's name may have dots (Tekton: GenerateHashedName).

    The zeros of a short hash are behind it, as in Tekton.
    """
    number = 0x811C9DC5
    for byte in name.encode():  # FNV-1a of 32 bits
        number = ((number ^ byte) * 0x01000193) & 0xFFFFFFFF
    return f"{_VOLUME}-{f'{number:x}':0<8}"
