"""Backend ``my-backend``: a sidecar prints the results in base64, the controller reads its log."""

import base64
import hashlib
from typing import Final

from pydantic import BaseModel, ConfigDict

from resultsfw import (
    Capabilities,
    Cluster,
    ExtractedResult,
    Extraction,
    Limits,
    Object,
    Permission,
    Problem,
    ProblemCode,
    Run,
    hookimpl,
    result_label,
    too_large,
)

NAME: Final = "my-backend"
CONTAINER: Final = f"sidecar-{NAME}"
WIRE: Final = 1
"""Version of the format below. A pod is read by the version it was made with, whatever is installed then."""

SIDECAR: Final = r"""
# Arguments: bytes a value may have, bytes all may have, then the file of each declared result.
exec 2> /dev/null                 # the log is for results alone
limit=$1 room=$2; shift 2
ended=; trap 'ended=1' TERM       # Kubernetes says so when all Steps have ended
while [ ! "$ended" ]; do sleep 1 & wait $!; done
index=0
for file; do
  state=absent size=0 digest=-
  if [ -L "$file" ]; then state=link
  elif [ -f "$file" ] && [ ! -r "$file" ]; then state=unreadable
  elif [ -f "$file" ]; then
    size=$(stat -c %s "$file")
    if [ "$size" -gt "$limit" ]; then state=large
    elif [ "$size" -gt "$room" ]; then state=many
    else state=value room=$((room - size)) digest=$(sha256sum < "$file" | cut -c 1-64)
    fi
  elif [ -e "$file" ]; then state=odd
  fi
  printf '%s %s %s %s %s ' "$POD_UID" "$index" "$state" "$size" "$digest"
  if [ $state = value ]; then base64 -w 0 < "$file"; fi
  printf '\n'
  index=$((index + 1))
done
printf '%s end %s\n' "$POD_UID" "$index"
"""
"""One line for each declared result: pod, number, state, bytes, SHA-256, value. The last line is the end."""

LINE_BYTES: Final = 200
"""Bytes of a line without its value, at most."""

SIZE_DIGITS: Final = 18

REFUSED: Final = {
    "link": (ProblemCode.OUTSIDE_FOLDER, "is a symbolic link"),
    "odd": (ProblemCode.NOT_REGULAR_FILE, "is no regular file"),
    "unreadable": (ProblemCode.FILE_UNREADABLE, "cannot be read by the sidecar"),
    "many": (ProblemCode.RUN_TOO_LARGE, "and those before it are more than one run may have"),
}
"""What the sidecar may say of a file instead of its value."""


class Config(BaseModel):
    """Options of ``config.my-backend``; `resultsfw backends my-backend` lists them."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    image: str = "busybox:1.37"
    """The sidecar's image: anything with sh, stat, base64 and sha256sum."""


capabilities = Capabilities(
    summary="results in the log of a sidecar, in base64",
    permissions=(Permission(verb="get", resource="pods/log", why="the results are in a sidecar's log"),),
    verified=True,
)


@hookimpl
def prepare_pod(run: Run, pod: Object, limits: Limits, config: Config) -> int:
    """Add the sidecar: a native one, which starts before the Steps and is ended after them."""
    steps = {step.container for step in run.steps}
    for container in pod["spec"]["containers"]:
        arguments = container.get("args") or []
        if container["name"] in steps and "-entrypoint" in arguments:
            # Else Tekton's entrypoint would put the results into its termination message, too.
            container["args"] = ["-result_from", NAME, *arguments]
    places = {"tekton-internal-results": "/tekton/results", "tekton-internal-steps": "/tekton/steps"}
    volumes = {volume["name"] for volume in pod["spec"].get("volumes") or ()}
    sidecar: Object = {
        "name": CONTAINER,
        "image": config.image,
        "restartPolicy": "Always",
        "command": ["sh", "-c", SIDECAR, CONTAINER, str(limits.result), str(limits.run)],
        "args": [file for _, _, file in declared(run)],
        "env": [{"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": name, "mountPath": path, "readOnly": True}
            for name, path in places.items()
            if name in volumes
        ],
    }
    pod["spec"]["initContainers"] = [*(pod["spec"].get("initContainers") or ()), sidecar]
    return WIRE


@hookimpl
def pod_ready(pod: Object) -> bool:
    """The pod is over, and with it the sidecar: it prints as it ends."""
    status = pod.get("status", {})
    states = {one["name"]: one.get("state", {}) for one in status.get("initContainerStatuses") or ()}
    return status.get("phase") in ("Succeeded", "Failed") and "running" not in states.get(CONTAINER, {})


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, limits: Limits) -> Extraction:
    """Read the sidecar's log once; what is not exactly as it prints it is a problem, never a guess."""
    wanted = declared(run)
    metadata = pod["metadata"]
    most = limits.run * 4 // 3 + LINE_BYTES * (len(wanted) + 2)
    # One byte more than there can be, to see that there are too many.
    log = b"".join(cluster.read_log(metadata["namespace"], metadata["name"], CONTAINER, limit=most + 1))
    *lines, rest = log.split(b"\n")
    uid = metadata["uid"]
    end = f"{uid} end {len(wanted)}".encode()
    if rest or lines[-1:] != [end]:
        cut = Problem(
            code=ProblemCode.TRANSPORT_INCOMPLETE,
            message=f'the log of container "{CONTAINER}" ({len(log)} bytes) has not the end it must have',
        )
        return Extraction(problems=(cut,))
    if len(lines) != len(wanted) + 1:
        wrong = Problem(
            code=ProblemCode.TRANSPORT_CORRUPT,
            message=f'the log of container "{CONTAINER}" has {len(lines)} lines and not {len(wanted) + 1}',
        )
        return Extraction(problems=(wrong,))
    read = [_read(line, uid, index, wanted[index], limits) for index, line in enumerate(lines[:-1])]
    return Extraction(
        found=tuple(one for one in read if isinstance(one, ExtractedResult)),
        problems=tuple(one for one in read if isinstance(one, Problem)),
    )


def declared(run: Run) -> list[tuple[str | None, str, str]]:
    """All that Steps may write, in an order that never changes: Step, name and file of each."""
    own: list[tuple[str | None, str, str]] = [
        (step.name, one.name, f"/tekton/steps/{step.container}/results/{one.name}")
        for step in run.steps
        for one in step.results
    ]
    return own + [(None, one.name, f"/tekton/results/{one.name}") for one in run.written]


def _read(
    line: bytes, uid: str, index: int, wanted: tuple[str | None, str, str], limits: Limits
) -> ExtractedResult | Problem | None:
    """One line: a value, why there is none, or ``None`` for a result that no Step wrote."""
    step, name, _ = wanted
    label = result_label(name, step)
    pod, number, state, size, digest, text, *more = [*line.decode("ascii", "replace").split(" "), *[""] * 6]
    known = (pod, number) == (uid, str(index)) and not any(more)
    known = known and size.isdecimal() and len(size) <= SIZE_DIGITS
    if known and state == "absent" and not text:
        return None
    if known and state == "large":
        return too_large(name, int(size), limits.result, step=step)
    if known and state in REFUSED:
        code, why = REFUSED[state]
        return Problem(code=code, message=f"{label} {why}", result=name, step=step)
    data = _decoded(text) if known and state == "value" else None
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        return Problem(
            code=ProblemCode.TRANSPORT_CORRUPT,
            message=f'line {index + 1} of the log of "{CONTAINER}" is not as it was printed: {label}',
            result=name,
            step=step,
        )
    try:
        return ExtractedResult(
            name=name, value=data.decode(), step=step, source=f'log of container "{CONTAINER}"'
        )
    except UnicodeDecodeError:
        return Problem(code=ProblemCode.NOT_UTF8, message=f"{label} is not UTF-8", result=name, step=step)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None
