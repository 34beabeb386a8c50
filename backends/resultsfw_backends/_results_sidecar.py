"""Add the results sidecar to a pod, and define the options of every backend that uses it."""

import ssl
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from resultsfw import Limits, Object, Run, podparts
from resultsfw.errors import InputError
from resultsfw.images import SIDECAR, located
from resultsfw.option_types import Quantity, in_words
from resultsfw.podchecks import refuse_containers
from resultsfw.pods import RESULTS_SIDECAR, containers, is_plain
from resultsfw_sidecar import wire as wires

__all__ = [
    "Certificates",
    "CompressingConfig",
    "SidecarConfig",
    "SidecarImage",
    "add_fetch",
    "add_sidecar",
    "fetch_container",
    "waits_for_signal",
]

_PROGRAM: Final = "/ko-app/sidecarlogresults"

_MOUNTED: Final = {"bin": "/tekton/bin", "workspace": "/workspace", "home": "/tekton/home"}
"""Volumes ``tekton-internal-NAME`` that Tekton's own sidecar mounts beside those with what Steps write."""


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


def _check_certificates(text: str) -> str:
    if text:
        try:
            ssl.create_default_context(cadata=text)
        except ssl.SSLError as error:
            raise ValueError("must be certificates in PEM") from error
    return text


Certificates = Annotated[str, AfterValidator(_check_certificates)]
"""An option with certificates in PEM, or empty."""

SidecarImage = Annotated[str, AfterValidator(located), Field(validate_default=True)]
"""An option with an image; the project's are taken from the operator's registry."""


Interval = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$"),
    in_words("must be a duration such as 100ms, 1.5s or 1m"),
]
"""An option with a duration as Go writes it."""


class SidecarConfig(BaseModel):
    """Options of every backend that adds the results sidecar."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=_hyphens, populate_by_name=True, use_attribute_docstrings=True
    )

    image: SidecarImage = SIDECAR
    """The sidecar's image."""
    polling_interval: Interval = "100ms"
    """Interval at which the sidecar checks for the Steps' end, if it cannot watch for it."""
    cpu: Quantity = "10m"
    """CPU request of the sidecar, so that quotas that demand a request accept the pod."""
    memory: Quantity = "32Mi"
    """Memory request and limit of the sidecar."""
    sidecar: Literal["native", "plain"] = "native"
    """A native sidecar, which Kubernetes (1.29 and later) restarts and ends last, or a plain container."""


class CompressingConfig(SidecarConfig):
    """Options of a backend whose sidecar can compress values."""

    compress: bool = False
    """Let the sidecar compress values of 1 KiB and more; its image must have this version or a later one."""

    @property
    def wire_version(self) -> int:
        """Return the wire version that these options ask for."""
        return wires.COMPRESSED if self.compress else wires.WIRE


def add_sidecar(
    run: Run,
    pod: Object,
    config: SidecarConfig,
    *,
    limits: Limits,
    transport: str = "",
    env: Sequence[Object] = (),
    mounts: Sequence[Object] = (),
    volumes: Sequence[Object] = (),
    wire: int = wires.WIRE,
) -> None:
    """Add the sidecar with the arguments and mounts that Tekton gives it, but all of them read-only.

    A pod without Tekton's entrypoint (`is_plain`) also gets folders for results, and a sidecar that waits for
    the kubelet's SIGTERM, which follows the end of the pod's containers.

    Args:
        run: The run.
        pod: The pod; it is changed.
        config: The backend's options.
        limits: Limits for the sidecar, in bytes.
        transport: The sidecar's module that sends the results; empty: its log.
        env: Further variables of the sidecar.
        mounts: Further mounts of the sidecar.
        volumes: Further volumes of the pod, for these mounts.
        wire: The wire version; with `wires.TEKTON` the image has Tekton's own sidecar, which knows none of
            our variables.

    Raises:
        InputError: The pod has no entrypoint, and something in it conflicts; the message names it.
        BackendError: Another container mounts one of these volumes.
    """
    tekton = wire == wires.TEKTON
    _refuse_artifacts(run, tekton=tekton)
    refuse_containers(pod, RESULTS_SIDECAR)
    plain = is_plain(run, pod)
    waiting: list[Object] = []
    others: list[Object] = []
    if plain:
        _refuse_options(config, tekton=tekton)
        variables = {wires.ENV_WATCH: wires.WATCH_SIGNAL, wires.ENV_TEKTON_ROOT: podparts.PLAIN_ROOT}
        waiting = [{"name": name, "value": value} for name, value in variables.items()]
    else:
        others = _other_folders(run, pod)
    folders = podparts.add_result_folders(run, pod, result_from="sidecar-logs")
    sidecar: Object = {
        "name": RESULTS_SIDECAR,
        "image": config.image,
        "command": [_PROGRAM, *podparts.sidecar_arguments(run, pod)],
        "env": [{"name": wires.ENV_POLLING_INTERVAL, "value": config.polling_interval}],
        **podparts.confined(pod, cpu=config.cpu, memory=config.memory),
        "volumeMounts": [*others, *folders, *mounts],
    }
    if not tekton:
        sidecar["env"] += [
            {"name": wires.ENV_WIRE, "value": str(wire)},
            {"name": wires.ENV_MAX_RESULT_SIZE, "value": str(limits.result_bytes)},
            {"name": wires.ENV_MAX_RUN_SIZE, "value": str(limits.run_bytes)},
            {"name": wires.ENV_POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            *waiting,
            *([{"name": wires.ENV_TASK_ARTIFACTS, "value": "true"}] if run.artifacts else ()),
            *([{"name": wires.ENV_TRANSPORT, "value": transport}] if transport else ()),
            *env,
        ]
    native = config.sidecar == "native"
    if native:
        # It stays after it has printed everything, because Kubernetes would restart it. It ends after a
        # minute, so a restart shows the controller that a Step has not ended; it then prints everything
        # again.
        sidecar["command"] += ["-kubernetes-sidecar-mode", "true"]
    podparts.add_sidecar(pod, sidecar, volumes=volumes, native=native)


def fetch_container(backend: str) -> str:
    """Return the name of a backend's init container that places files: a pod may get files of several."""
    return f"fetch-results-{backend}"


def add_fetch(
    pod: Object, config: SidecarConfig, *, name: str, transport: str, env: Sequence[Object], mount: Object
) -> None:
    """Add an init container with the sidecar's program, which fetches values into the pod.

    Args:
        pod: The pod; it is changed.
        config: The backend's options.
        name: The container's name.
        transport: The module of the program that fetches.
        env: Variables: what to fetch, and from where.
        mount: Mount of the volume for the files.
    """
    container: Object = {
        "name": name,
        "image": config.image,
        "command": [_PROGRAM, "fetch"],
        "env": [{"name": wires.ENV_TRANSPORT, "value": transport}, *env],
        **podparts.confined(pod, cpu=config.cpu, memory=config.memory),
        "volumeMounts": [mount],
    }
    podparts.add_init_container(pod, container)


def _refuse_artifacts(run: Run, *, tekton: bool) -> None:
    """Refuse provenance of artifacts that the sidecar could not deliver.

    Raises:
        InputError: The message says what to do instead.
    """
    if run.artifacts and tekton:
        raise InputError(
            "Tekton's own results sidecar does not deliver what Steps write to $(artifacts.path): write to "
            "$(step.artifacts.path), or remove the backend's option wire: tekton",
            subject="wire: tekton",
        )


def _refuse_options(config: SidecarConfig, *, tekton: bool) -> None:
    """Refuse options that are for Tekton's pods only.

    Raises:
        InputError: The message names the option.
    """
    if tekton or config.sidecar != "native":
        asked = "wire: tekton" if tekton else f"sidecar: {config.sidecar}"
        raise InputError(
            f"the backend's option {asked} is for Tekton's pods: in a pod without Tekton's entrypoint only "
            f"the kubelet tells when its containers have ended, and only to a native sidecar of ours",
            subject=asked,
        )


def _other_folders(run: Run, pod: Object) -> list[Object]:
    """Return the mounts of Tekton's own sidecar beside those with what Steps write."""
    present = {volume["name"] for volume in pod["spec"].get("volumes") or ()}
    others = [(f"tekton-internal-{name}", path) for name, path in _MOUNTED.items()]
    mounts = [{"name": name, "mountPath": path, "readOnly": True} for name, path in others if name in present]
    return [*podparts.run_mounts(run, pod), *mounts]


def waits_for_signal(pod: Object) -> bool:
    """Return whether the pod's sidecar waits for the kubelet's SIGTERM."""
    env = containers(pod).get(RESULTS_SIDECAR, {}).get("env") or ()
    return {"name": wires.ENV_WATCH, "value": wires.WATCH_SIGNAL} in env
