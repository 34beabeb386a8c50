"""Add to a pod what signs its results, before the pod exists.

The results sidecar of resultsfw signs what it delivers. In all other pods, a native sidecar of its own reads
the same files at the same moment, and prints nothing but the signature.
"""

import json
from typing import Final

from resultsfw import Limits, Object, Run, podparts
from resultsfw.errors import InputError
from resultsfw.option_types import bytes_of
from resultsfw.podchecks import refuse_containers, refuse_mounts, refuse_shared_processes
from resultsfw.pods import RESULTS_SIDECAR, containers, grace_period
from resultsfw_extensions._signed_config import MOUNT_PATH, SignedConfig
from resultsfw_sidecar import wire
from resultsfw_signing import statement
from resultsfw_signing.tekton_format import MANIFEST, SIGNATURE_SUFFIX, SVID, is_signature_key

__all__ = [
    "VOLUME",
    "add_signer",
    "annotate",
    "refuse_reserved_names",
    "signing_container",
    "socket_volume",
]

VOLUME: Final = "resultsfw-workload-api"
"""Name of the volume with the socket of the Workload API."""

_PROGRAM: Final = "/ko-app/sidecarlogresults"
_TRANSPORT: Final = "resultsfw_signing.transport"
_OWN_TRANSPORTS: Final = "resultsfw_transports."
"""Package of the transports that the signing image has."""

_SPARE_SECONDS: Final = 5
"""Seconds of the pod's grace period that remain for the delivery after the wait for an identity."""


def refuse_reserved_names(run: Run) -> None:
    """Refuse a run that declares a result with a reserved name.

    Raises:
        InputError: The message names it.
    """
    declared = [*run.results, *(result for step in run.steps for result in step.results)]
    for result in declared:
        if is_signature_key(result.name):
            raise InputError(
                f'result "{result.name}" has a name under which signatures travel in Tekton\'s format '
                f'({SVID}, {MANIFEST}, and names that end in "{SIGNATURE_SUFFIX}"), and results are signed '
                f"here: rename it, or set the policy of namespace {run.namespace} to off (namespaces of "
                f"config.signed)",
                subject=f"result {result.name}",
            )


def annotate(pod: Object, config: SignedConfig) -> None:
    """Record on the pod that its results are signed, so that backends with fixed room count the signature.

    Raises:
        InputError: The pod has a container with a name of those that sign.
    """
    for name in (RESULTS_SIDECAR, statement.SIGNER_CONTAINER):
        refuse_containers(pod, name)  # it would get the identity by its name
    metadata = pod.setdefault("metadata", {})
    value = statement.SIGNED_WITH_TEKTON_KEYS if config.tekton_keys else statement.SIGNED
    metadata["annotations"] = {**(metadata.get("annotations") or {}), statement.ANNOTATION: value}


def add_signer(run: Run, pod: Object, config: SignedConfig, *, limits: Limits) -> bool:
    """Let the results sidecar sign, or add a container that does.

    Args:
        run: The run.
        pod: Its pod, prepared by its backend and annotated; it is changed.
        config: The operator's options.
        limits: The backend's limits, in bytes.

    Returns:
        False if nothing in the pod can sign, since it has no files with results. Its annotation is removed.

    Raises:
        InputError: The pod has a container or volume with a name of those to be added.
        BackendError: Another container could use the identity, or see the key.
    """
    refuse_shared_processes(
        pod, backend="signed", what="the key that signs the results", instead="with the policy off"
    )
    volume = socket_volume(config, VOLUME)
    mount = {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
    signing = {"name": wire.ENV_SIGNING, "value": _signing_settings(run, pod, config)}
    sidecar = containers(pod).get(RESULTS_SIDECAR)
    if sidecar is not None and _can_sign(sidecar):
        refuse_mounts(pod, {VOLUME}, own=RESULTS_SIDECAR)
        podparts.add_volumes(pod, [volume])
        sidecar["image"] = config.image
        sidecar["env"] = [*(sidecar.get("env") or ()), signing]
        sidecar["volumeMounts"] = [*(sidecar.get("volumeMounts") or ()), mount]
        _raise_memory(sidecar, config.memory)
        return True
    folders = podparts.result_mounts(run, pod)
    if not folders:
        del pod["metadata"]["annotations"][statement.ANNOTATION]
        return False
    plain = not podparts.run_mounts(run, pod)
    environment = {
        wire.ENV_WIRE: str(wire.WIRE),
        wire.ENV_MAX_RESULT_SIZE: str(limits.result_bytes),
        wire.ENV_MAX_RUN_SIZE: str(limits.run_bytes),
        wire.ENV_TRANSPORT: _TRANSPORT,
        **({wire.ENV_TASK_ARTIFACTS: "true"} if run.artifacts else {}),
        **({wire.ENV_WATCH: wire.WATCH_SIGNAL, wire.ENV_TEKTON_ROOT: podparts.PLAIN_ROOT} if plain else {}),
    }
    container: Object = {
        "name": statement.SIGNER_CONTAINER,
        "image": config.image,
        "command": [_PROGRAM, *podparts.sidecar_arguments(run, pod), "-kubernetes-sidecar-mode", "true"],
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            {"name": wire.ENV_POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            signing,
        ],
        **podparts.confined(pod, cpu=config.cpu, memory=config.memory),
        "volumeMounts": [*podparts.run_mounts(run, pod), *folders, mount],
    }
    podparts.add_sidecar(pod, container, volumes=[volume])
    return True


def signing_container(pod: Object) -> str | None:
    """Return the name of the container that signs a prepared pod's results; ``None`` if there is none."""
    by_name = containers(pod)
    if statement.SIGNER_CONTAINER in by_name:
        return statement.SIGNER_CONTAINER
    variables = by_name.get(RESULTS_SIDECAR, {}).get("env") or ()
    signs = any(variable.get("name") == wire.ENV_SIGNING for variable in variables)
    return RESULTS_SIDECAR if signs else None


def _can_sign(sidecar: Object) -> bool:
    """Return whether the results sidecar is the program of resultsfw, with a transport of the signing image.

    Tekton's own results sidecar is not, nor has its format a record for a signature. A backend whose
    transport is another module needs its own image.
    """
    variables = {variable["name"]: variable.get("value", "") for variable in sidecar.get("env") or ()}
    transport = variables.get(wire.ENV_TRANSPORT, "")
    return variables.get(wire.ENV_WIRE) in (str(wire.WIRE), str(wire.COMPRESSED)) and (
        not transport or transport.startswith(_OWN_TRANSPORTS)
    )


def socket_volume(config: SignedConfig, name: str) -> Object:
    """Return a volume with the socket of the Workload API."""
    if config.workload_api == "csi":
        return {"name": name, "csi": {"driver": config.csi_driver, "readOnly": True}}
    return {"name": name, "hostPath": {"path": config.socket_folder, "type": "Directory"}}


def _signing_settings(run: Run, pod: Object, config: SignedConfig) -> str:
    types = {
        statement.result_subject(result.name, step): result.type
        for step, results in (
            (None, run.written_results),
            *((step.name, step.results) for step in run.steps),
        )
        for result in results
        if result.type != statement.STRING
    }
    settings = {
        statement.KEY_SOCKET: f"unix://{MOUNT_PATH}/{config.socket_file}",
        statement.KEY_DOMAIN: config.trust_domain,
        statement.KEY_RUN: {
            "namespace": run.namespace,
            "name": run.name,
            "uid": run.uid,
            "attempt": run.attempt,
        },
        statement.KEY_SPEC_DIGEST: run.spec_digest,
        statement.KEY_TYPES: types,
        statement.KEY_WAIT: max(min(config.wait, int(grace_period(pod)) - _SPARE_SECONDS), 1),
        statement.KEY_TEKTON: config.tekton_keys,
    }
    return json.dumps(settings, separators=(",", ":"))


def _raise_memory(container: Object, memory: str) -> None:
    """Raise request and limit of a container's memory to a quantity, where they are lower."""
    resources = container.setdefault("resources", {})
    for kind in ("requests", "limits"):
        given = resources.get(kind) or {}
        if "memory" in given and bytes_of(given["memory"]) < bytes_of(memory):
            resources[kind] = {**given, "memory": memory}
