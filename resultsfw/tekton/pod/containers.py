"""The containers of a pod as Tekton builds them, and the volumes they share."""

import posixpath
from collections.abc import Sequence
from typing import Final

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.durations import format_duration, parse_duration
from resultsfw.tekton.api.kinds import CANCEL_ANNOTATION, READY_ANNOTATION
from resultsfw.tekton.api.names import container_name, step_name
from resultsfw.tekton.pod.breakpoints import Breakpoints
from resultsfw.tekton.pod.credentials import Credentials
from resultsfw.tekton.spec.param_files import PARAMS_DIR
from resultsfw.tekton.spec.variable_names import CREDENTIALS_DIR

__all__ = [
    "PARAMS_MOUNT",
    "given",
    "mount_params",
    "place_scripts_container",
    "prepare_container",
    "shared_volumes",
    "sidecar_container",
    "step_container",
    "working_dir_container",
]


_ENTRYPOINT: Final = "/tekton/bin/entrypoint"
_TERMINATION_PATH: Final = "/tekton/termination"
_BIN: Final = {"name": "tekton-internal-bin", "mountPath": "/tekton/bin"}
_STEPS: Final = {"name": "tekton-internal-steps", "mountPath": "/tekton/steps"}
_SCRIPTS: Final = {"name": "tekton-internal-scripts", "mountPath": "/tekton/scripts"}
PARAMS_MOUNT: Final = {"name": "tekton-internal-params", "mountPath": PARAMS_DIR}
"""Where parameters lie as files."""
_CREDENTIALS: Final = "tekton-creds-init-home"
_DOWNWARD: Final = {"name": "tekton-internal-downward", "mountPath": "/tekton/downward", "readOnly": True}
_IMPLICIT: Final[tuple[Object, ...]] = (
    {"name": "tekton-internal-workspace", "mountPath": "/workspace"},
    {"name": "tekton-internal-home", "mountPath": "/tekton/home"},
    {"name": "tekton-internal-results", "mountPath": "/tekton/results"},
    {**_STEPS, "readOnly": True},
    {"name": "tekton-internal-artifacts", "mountPath": "/tekton/artifacts"},
)
_STEP_FIELDS: Final = (
    "image",
    "workingDir",
    "env",
    "envFrom",
    "volumeDevices",
    "imagePullPolicy",
    "securityContext",
)
_SIDECAR_FIELDS: Final = (
    *_STEP_FIELDS,
    "command",
    "args",
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "restartPolicy",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "stdin",
    "stdinOnce",
    "tty",
)


def prepare_container(steps: Sequence[Object], image: str) -> Object:
    """Return the init container that copies the entrypoint and makes the Steps' folders."""
    names = [f"step-{step_name(step, index)}" for index, step in enumerate(steps)]
    return {
        "name": "prepare",
        "image": image,
        "workingDir": "/",  # the image's own is not readable to every user
        "command": ["/ko-app/entrypoint", "init", "/ko-app/entrypoint", _ENTRYPOINT, *names],
        "resources": {},
        "volumeMounts": [dict(_BIN), dict(_STEPS)],
    }


def place_scripts_container(shell: Sequence[str], image: str, *, mounts: Sequence[Object]) -> Object:
    """Return the init container that writes scripts and large parameters (`resultsfw.tekton.pod.scripts`).

    Args:
        shell: Arguments of ``sh``.
        image: Has ``sh``; ``sha256sum`` too, for parameters that are in ConfigMaps.
        mounts: What it mounts beside scripts and the entrypoint.
    """
    return {
        "name": "place-scripts",
        "image": image,
        "command": ["sh"],
        "args": list(shell),
        "resources": {},
        "volumeMounts": [dict(_SCRIPTS), dict(_BIN), *(dict(mount) for mount in mounts)],
    }


def mount_params(containers: Sequence[Object]) -> None:
    """Let Steps and Sidecars read the large parameters."""
    for container in containers:
        container["volumeMounts"] = [*container.get("volumeMounts", []), {**PARAMS_MOUNT, "readOnly": True}]


def working_dir_container(steps: Sequence[Object], image: str) -> Object | None:
    """Return the init container that makes working directories in /workspace; ``None`` without any."""
    folders = [
        _clean(folder) for folder in sorted({step.get("workingDir") or "" for step in steps}) if folder
    ]
    made = [folder for folder in folders if not folder.startswith("/") or folder.startswith("/workspace/")]
    if not made:
        return None
    return {
        "name": "working-dir-initializer",
        "image": image,
        "command": ["/ko-app/workingdirinit"],
        "args": made,
        "workingDir": "/workspace",
        "resources": {},
        "volumeMounts": [dict(mount) for mount in _IMPLICIT],
    }


def step_container(
    step: Object,
    index: int,
    *,
    count: int,
    script: str | None,
    results: str | None,
    cancellable: bool,
    credentials: Credentials | None,
    breakpoints: Breakpoints,
) -> Object:
    """Return a Step's container: its command behind the entrypoint, which keeps the Steps' order.

    Args:
        step: Merged with the template.
        index: Of the Step.
        count: Of all Steps.
        script: Its script's file.
        results: Names of the Task results that Steps write, joined by commas; ``None`` if the Task
            declares no result at all.
        cancellable: The Step watches `CANCEL_ANNOTATION`.
        credentials: Of the pod's service account; ``None``: Steps have no folder for them.
        breakpoints: Where Steps wait for a person.
    """
    command = [script] if script else step["command"]  # empty: the image's, which is in the environment
    mounts = jsons.copy(step.get("volumeMounts") or [])
    if script:
        mounts.append({**_SCRIPTS, "readOnly": True})
    mounts += breakpoints.step_mounts(index)
    if index == 0 or cancellable:
        mounts.append(dict(_DOWNWARD))
    if credentials is not None:
        mounts.append({"name": f"{_CREDENTIALS}-{index}", "mountPath": CREDENTIALS_DIR})
    mounts += [_run_mount(other, read_only=other != index) for other in range(count)]
    # What a Step mounts itself takes the place of what would be mounted there.
    taken = {_clean(mount["mountPath"]) for mount in mounts}
    implicit: tuple[Object, ...] = ({**_BIN, "readOnly": True}, *_IMPLICIT)
    implicit += credentials.mounts if credentials else ()
    mounts += [dict(mount) for mount in implicit if mount["mountPath"] not in taken]
    return {
        "name": container_name(f"step-{step_name(step, index)}"),
        **given(step, _STEP_FIELDS),
        "command": [_ENTRYPOINT],
        "args": [
            *_entrypoint_args(step, index, results, credentials.args if credentials else ()),
            *breakpoints.entrypoint_args(step),
            *(["-entrypoint", command[0]] if command else []),
            "--",
            *command[1:],
            *(step.get("args") or []),
        ],
        "resources": jsons.copy(step.get("computeResources") or {}),
        "terminationMessagePath": _TERMINATION_PATH,
        "volumeMounts": mounts,
    }


def sidecar_container(sidecar: Object, *, script: str | None) -> Object:
    """Return a Sidecar's container; ``script`` is its script's file."""
    container = {
        **given(sidecar, _SIDECAR_FIELDS),
        "name": container_name(f"sidecar-{sidecar.get('name') or ''}"),
        "resources": jsons.copy(sidecar.get("computeResources") or {}),
    }
    mounts = jsons.copy(sidecar.get("volumeMounts") or [])
    if script:
        container["command"] = [script]
        mounts.append({**_SCRIPTS, "readOnly": True})
    if mounts:
        container["volumeMounts"] = mounts
    return container


def shared_volumes(
    count: int,
    *,
    scripts: bool,
    cancellable: bool,
    credentials: Credentials | None,
    breakpoints: Breakpoints,
    params: bool = False,
) -> list[Object]:
    """Return the volumes of a pod with ``count`` Steps, without those its Task and template name."""
    volumes = [_empty(mount["name"]) for mount in _IMPLICIT]
    volumes += jsons.copy(list(credentials.volumes)) if credentials else []
    volumes += [_empty(_SCRIPTS["name"])] if scripts else []
    volumes += [_empty(name) for name in breakpoints.volume_names()]
    volumes += [_empty(PARAMS_MOUNT["name"])] if params else []
    volumes.append(_empty(_BIN["name"]))
    signals = {"ready": READY_ANNOTATION} | ({"cancel": CANCEL_ANNOTATION} if cancellable else {})
    items = [
        {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}
        for path, annotation in signals.items()
    ]
    volumes.append({"name": _DOWNWARD["name"], "downwardAPI": {"items": items}})
    for index in range(count):
        if credentials is not None:
            volumes.append({"name": f"{_CREDENTIALS}-{index}", "emptyDir": {"medium": "Memory"}})
        volumes.append(_empty(f"tekton-internal-run-{index}"))
    return volumes


def _empty(name: str) -> Object:
    return {"name": name, "emptyDir": {}}


def given(part: Object, fields: Sequence[str]) -> Object:
    """Copies of the fields that are there and not empty, as Go would write them."""
    return {field: jsons.copy(part[field]) for field in fields if part.get(field) not in (None, "", [])}


def _entrypoint_args(step: Object, index: int, results: str | None, credentials: Sequence[str]) -> list[str]:
    """Return the entrypoint's flags, in Tekton's order."""
    args = (
        ["-wait_file", "/tekton/downward/ready", "-wait_file_content"]
        if index == 0
        else ["-wait_file", f"/tekton/run/{index - 1}/out"]
    )
    args += ["-post_file", f"/tekton/run/{index}/out", "-termination_path", _TERMINATION_PATH]
    args += ["-step_metadata_dir", f"/tekton/run/{index}/status", *credentials]
    if step.get("onError"):
        args += ["-on_error", step["onError"]]
    if step.get("timeout") is not None:
        args += ["-timeout", format_duration(parse_duration(step["timeout"]))]
    for stream in ("stdout", "stderr"):
        if config := step.get(f"{stream}Config"):
            args += [f"-{stream}_path", config.get("path") or ""]
    if own := step.get("results"):
        args += ["-step_results", ",".join(result["name"] for result in own)]
    if step.get("when"):
        expressions = [given(when, ("input", "operator", "values", "cel")) for when in step["when"]]
        args += ["--when_expressions", jsons.go_json(expressions)]
    if results is not None:
        args += ["-results", results]
    return args


def _run_mount(index: int, *, read_only: bool) -> Object:
    mount: Object = {"name": f"tekton-internal-run-{index}", "mountPath": f"/tekton/run/{index}"}
    return {**mount, "readOnly": True} if read_only else mount


def _clean(path: str) -> str:
    """Return a path as Go cleans it; POSIX keeps two slashes at its start."""
    clean = posixpath.normpath(path)
    return clean[1:] if clean.startswith("//") else clean
