"""The volumes that workspaces become, and where they are mounted."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Final

from resultsfw import jsons
from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.errors import AlreadyExistsError, ClusterError
from resultsfw.tekton.api.kinds import CLAIMS, TASKRUNS
from resultsfw.tekton.api.owners import owner_reference

__all__ = ["claim_name", "claims_of", "make_claims", "mount_path", "with_workspaces", "workspace_volumes"]

_DIR: Final = "/workspace"
_REHASHED: Final = 8
_SOURCES: Final = ("persistentVolumeClaim", "emptyDir", "configMap", "secret", "projected", "csi")


def mount_path(declaration: Object) -> str:
    """Return where a declared workspace is mounted unless a Step says otherwise."""
    return declaration.get("mountPath") or f"{_DIR}/{declaration['name']}"


def workspace_volumes(bound: Sequence[Object]) -> dict[str, Object]:
    """Return a volume for each bound workspace, by workspace. A claim bound twice is one volume."""
    volumes: dict[str, Object] = {}
    claims: dict[str, Object] = {}
    names: set[str] = set()
    for binding in bound:
        name = _volume_name(binding["name"], names)
        names.add(name)
        source = next((source for source in _SOURCES if binding.get(source) is not None), None)
        volume: Object = {"name": name} if source is None else {"name": name, source: binding[source]}
        if source == "persistentVolumeClaim":
            volume = claims.setdefault(binding[source].get("claimName", ""), volume)
        volumes[binding["name"]] = volume
    return volumes


def with_workspaces(task_spec: Object, bound: Sequence[Object]) -> Object:
    """Return the spec with its bound workspaces as volumes, and mounts where they are seen.

    A workspace that a Step or Sidecar names is mounted there only; every other one in all Steps,
    by the template, and in all Sidecars.
    """
    if not bound:
        return task_spec
    declared = {workspace["name"]: workspace for workspace in task_spec.get("workspaces") or []}
    steps = [dict(step) for step in task_spec.get("steps") or []]
    sidecars = [dict(sidecar) for sidecar in task_spec.get("sidecars") or []]
    template = dict(task_spec.get("stepTemplate") or {})
    by_workspace = workspace_volumes(bound)
    used = _usages([*steps, *sidecars])
    for container in (*steps, *sidecars, template):
        container["volumeMounts"] = [*(container.get("volumeMounts") or [])]
    mounted = {id(sidecar): {mount["mountPath"] for mount in sidecar["volumeMounts"]} for sidecar in sidecars}
    for binding in bound:
        name = binding["name"]
        mount = _mount_of(declared.get(name) or {"name": name}, binding, by_workspace[name]["name"])
        for container, usage in used.get(name, ()):
            path = usage.get("mountPath") or mount["mountPath"]
            container["volumeMounts"].append({**mount, "mountPath": path})
            mounted.get(id(container), set()).add(path)
        if name not in used:
            template["volumeMounts"].append(mount)
            for sidecar in sidecars:
                if mount["mountPath"] not in mounted[id(sidecar)]:
                    mounted[id(sidecar)].add(mount["mountPath"])
                    sidecar["volumeMounts"].append(mount)
    for container in (*steps, *sidecars, template):
        if not container["volumeMounts"]:
            del container["volumeMounts"]
    volumes = {volume["name"]: volume for volume in by_workspace.values()}  # a claim bound twice is one
    spec = {**task_spec, "steps": steps, "stepTemplate": template}
    spec["volumes"] = [*(task_spec.get("volumes") or []), *volumes.values()]
    return {**spec, "sidecars": sidecars} if sidecars else spec


def claims_of(run: Object, kind: Kind = TASKRUNS) -> list[Object]:
    """Return the PersistentVolumeClaims to make before a run's pod, for its ``volumeClaimTemplate``s."""
    metadata = run["metadata"]
    claims = []
    for binding in (run.get("spec") or {}).get("workspaces") or []:
        template = binding.get("volumeClaimTemplate")
        if template is None:
            continue
        claim = jsons.copy(template)
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim["metadata"] = {
            **(claim.get("metadata") or {}),
            "name": claim_name(binding, metadata.get("uid", "")),
            "namespace": metadata.get("namespace", ""),
            "ownerReferences": [owner_reference(run, kind)],
        }
        claims.append(claim)
    return claims


def make_claims(cluster: Cluster, run: Object, kind: Kind = TASKRUNS) -> tuple[str, ClusterError] | None:
    """Make the claims of a run's ``volumeClaimTemplate``s; those that are there stay.

    Returns:
        What to say of the first that could not be made, and the error; ``None`` if there is none such.
    """
    for claim in claims_of(run, kind):
        try:
            cluster.create(CLAIMS, claim)
        except AlreadyExistsError:
            continue
        except ClusterError as error:
            name = f"{run['metadata'].get('namespace', '')}/{run['metadata']['name']}"
            message = f"failed to create PVC for {kind.kind} {name} workspaces correctly"
            return f'{message}: "{claim["metadata"]["name"]}": {error.message}', error
    return None


def claim_name(binding: Object, uid: str) -> str:
    """Return the name of the claim a binding's ``volumeClaimTemplate`` becomes for the run of that uid."""
    template = (binding["volumeClaimTemplate"].get("metadata") or {}).get("name") or "pvc"
    return f"{template}-{hashlib.sha256((binding['name'] + uid).encode()).hexdigest()[:10]}"


def _usages(containers: Sequence[Object]) -> dict[str, list[tuple[Object, Object]]]:
    """Return, by workspace, the Steps and Sidecars that say how they use it, and how."""
    used: dict[str, list[tuple[Object, Object]]] = {}
    for container in containers:
        own = {usage["name"]: usage for usage in reversed(container.get("workspaces") or [])}
        for name, usage in own.items():
            used.setdefault(name, []).append((container, usage))
    return used


def _mount_of(workspace: Object, binding: Object, volume: str) -> Object:
    mount: Object = {"name": volume, "mountPath": mount_path(workspace)}
    if binding.get("subPath"):
        mount["subPath"] = binding["subPath"]
    if workspace.get("readOnly"):
        mount["readOnly"] = True
    return mount


def _volume_name(workspace: str, taken: Collection[str]) -> str:
    """Return the name of a workspace's volume: Tekton's, which hashes a name that is taken once more.

    Names may come round in a circle that way, of one even (``w56576`` and ``wbec2d``). After a few steps the
    workspace's own name is hashed, with a number.
    """
    name = _hashed(workspace)
    for _ in range(_REHASHED):
        if name not in taken:
            return name
        name = _hashed(f"{name}$")
    number = 0
    while name in taken:
        name, number = _hashed(f"{workspace}${number}"), number + 1
    return name


def _hashed(name: str) -> str:
    """``ws-`` and five digits of the name's FNV-1a hash, which is how Tekton names these volumes."""
    digest = 2166136261
    for byte in name.encode():
        digest = (digest ^ byte) * 16777619 % 2**32
    return f"ws-{format(digest, 'x')[:5]:0<5}"
