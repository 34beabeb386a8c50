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
    result_too_large,
)
from resultsfw.podparts import (
    ResultFile,
    add_result_folders,
    add_sidecar,
    confined,
    result_files,
    wait_for_sigterm_handler,
)
from resultsfw.sidecars import has_ended, last_termination, may_have_missed

NAME: Final = "my-backend"
CONTAINER: Final = f"sidecar-{NAME}"
WIRE: Final = 1
"""Version of the format below. A pod is read in the version that it was created with."""

SIDECAR: Final = r"""
# Arguments: maximum bytes of one value, maximum bytes of all values, then the file of each declared result.
ended=; trap 'ended=1' TERM       # first of all: Kubernetes sends SIGTERM when all Steps have ended
exec 2> /dev/null                 # the log must contain nothing but results
limit=$1 capacity=$2; shift 2
while [ ! "$ended" ]; do sleep 1 & wait $!; done
index=0
for file; do
  state=absent size=0 digest=-
  if [ -L "$file" ]; then state=link
  elif [ -f "$file" ] && [ ! -r "$file" ]; then state=unreadable
  elif [ -f "$file" ]; then
    size=$(stat -c %s "$file")
    if [ "$size" -gt "$limit" ]; then state=large
    elif [ "$size" -gt "$capacity" ]; then state=many
    else state=value capacity=$((capacity - size)) digest=$(sha256sum < "$file" | cut -c 1-64)
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
"""Print one line for each declared result: pod, number, state, bytes, SHA-256, value. Then an end line."""

LINE_BYTES: Final = 200
"""Maximum bytes of a line without its value."""

SIZE_DIGITS: Final = 18

REFUSED: Final = {
    "link": (ProblemCode.OUTSIDE_FOLDER, "is a symbolic link"),
    "odd": (ProblemCode.NOT_REGULAR_FILE, "is not a regular file"),
    "unreadable": (ProblemCode.FILE_UNREADABLE, "cannot be read by the sidecar"),
    "many": (ProblemCode.RUN_TOO_LARGE, "and those before it are more than one run may have"),
}
"""States in which the sidecar reports a file instead of printing its value."""


class Config(BaseModel):
    """Options of ``config.my-backend``; `resultsfw backends my-backend` lists them."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    image: str = "busybox:1.37"
    """The sidecar's image: anything with sh, stat, base64 and sha256sum."""


capabilities = Capabilities(
    summary="results in the log of a sidecar, in base64",
    permissions=(Permission(verb="get", resource="pods/log", why="the results are in a sidecar's log"),),
    verified=True,
    plain_pods=True,
)


@hookimpl
def prepare_pod(run: Run, pod: Object, limits: Limits, config: Config) -> int:
    """Add a native sidecar, which Kubernetes starts before the Steps and ends after them."""
    mounts = add_result_folders(run, pod, result_from=NAME)
    sidecar: Object = {
        "name": CONTAINER,
        "image": config.image,
        "command": ["sh", "-c", SIDECAR, CONTAINER, str(limits.result_bytes), str(limits.run_bytes)],
        "args": [file.path for file in result_files(run, pod)],
        "env": [{"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
        "volumeMounts": mounts,
        **confined(pod, cpu="10m", memory="16Mi", user=65532),
        **wait_for_sigterm_handler(run, pod),
    }
    add_sidecar(pod, sidecar)
    return WIRE


@hookimpl
def pod_ready(run: Run, pod: Object) -> bool:
    """Return whether the sidecar has ended; it prints when it gets SIGTERM."""
    return has_ended(run, pod, CONTAINER)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, limits: Limits) -> Extraction:
    """Read the sidecar's log once; report a problem for every line that differs from its format."""
    wanted = result_files(run, pod)
    metadata = pod["metadata"]
    most = limits.run_bytes * 4 // 3 + LINE_BYTES * (len(wanted) + 2)
    # Request one byte more than a genuine log can have, to detect a longer one.
    log = b"".join(cluster.read_log(metadata["namespace"], metadata["name"], CONTAINER, limit=most + 1))
    *lines, rest = log.split(b"\n")
    uid = metadata["uid"]
    end = f"{uid} end {len(wanted)}".encode()
    if rest or lines[-1:] != [end]:
        cut = Problem(
            code=ProblemCode.TRANSPORT_INCOMPLETE,
            message=f'the log of container "{CONTAINER}" ({len(log)} bytes) does not have the required end',
        )
        return Extraction(problems=(cut,))
    if len(lines) != len(wanted) + 1:
        wrong = Problem(
            code=ProblemCode.TRANSPORT_CORRUPT,
            message=f'the log of container "{CONTAINER}" has {len(lines)} lines and not {len(wanted) + 1}',
        )
        return Extraction(problems=(wrong,))
    if may_have_missed(run, pod, last_termination(pod, CONTAINER)):
        late = Problem(
            code=ProblemCode.TRANSPORT_INCOMPLETE,
            message=f'a Step ran on after container "{CONTAINER}" had to stop: it may have written more',
        )
        return Extraction(problems=(late,))
    read = [_read(line, uid, index, wanted[index], limits) for index, line in enumerate(lines[:-1])]
    return Extraction(
        results=tuple(item for item in read if isinstance(item, ExtractedResult)),
        problems=tuple(item for item in read if isinstance(item, Problem)),
    )


def _read(
    line: bytes, uid: str, index: int, wanted: ResultFile, limits: Limits
) -> ExtractedResult | Problem | None:
    """Parse one line: a value, the problem with it, or ``None`` for a result that no Step wrote."""
    step, name = wanted.step, wanted.name
    label = result_label(name, step)
    pod, number, state, size, digest, text, *more = [*line.decode("ascii", "replace").split(" "), *[""] * 6]
    known = (pod, number) == (uid, str(index)) and not any(more)
    known = known and size.isdecimal() and len(size) <= SIZE_DIGITS
    if known and state == "absent" and not text:
        return None
    if known and state == "large":
        return result_too_large(name, int(size), limits.result_bytes, step=step)
    if known and state in REFUSED:
        code, why = REFUSED[state]
        return Problem(code=code, message=f"{label} {why}", result=name, step=step)
    data = _decoded(text) if known and state == "value" else None
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        return Problem(
            code=ProblemCode.TRANSPORT_CORRUPT,
            message=f'line {index + 1} of the log of "{CONTAINER}" is damaged: {label}',
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
