"""What is wrong with a Task's Steps and with declared results, in Tekton's words."""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.durations import format_duration, parse_duration
from resultsfw.tekton.api.artifact_refs import artifact_variable
from resultsfw.tekton.spec.declared_results import step_result
from resultsfw.tekton.spec.variables import unprotect

__all__ = [
    "TYPES",
    "FieldError",
    "excerpt",
    "missing",
    "not_strings",
    "quoted",
    "reserved_mounts",
    "reserved_volume",
    "result_errors",
    "step_errors",
]

TYPES: Final = ("string", "array", "object")

_RESULT_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_RESULT_NAME_HELP: Final = (
    "Name must consist of alphanumeric characters, '-', '_', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my-name',  or 'my_name', regex used for validation is "
    "'^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$')"
)
_RESERVED_VOLUMES: Final = ("tekton-internal-", "resultsfw-")
"""Prefixes of volumes that only Tekton's containers and the results sidecar may mount.

A mount of a results sidecar's volume would show its token to a Step. Tekton refuses the first prefix in Steps
alone; a Sidecar that mounts such a volume can release Steps and change results.
"""

_WHOLE: Final = 4096
_AROUND: Final = 200
_STEP_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_STEP_NAME_HELP: Final = (
    "Task step name must be a valid DNS Label, For more info refer to "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#names"
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong.

    Attributes:
        message: What.
        paths: Where, below the Task's spec.
        details: The rule, where it helps.
    """

    message: str
    paths: tuple[str, ...]
    details: str = ""


def step_errors(steps: Sequence[Object]) -> Iterator[FieldError]:
    """Yield all that is wrong with Steps, merged with their template, by themselves."""
    names: set[str] = set()
    for index, step in enumerate(steps):
        at = f"steps[{index}]"
        name = step.get("name")
        if name and name in names:
            yield FieldError("expected exactly one, got both", (f"{at}.name",))
        if name:
            names.add(name)
            if not _STEP_NAME.fullmatch(name):
                yield FieldError(f"invalid value {excerpt(name)}", (f"{at}.name",), _STEP_NAME_HELP)
        if step.get("ref"):
            continue  # its StepAction was not read: only the names are known
        for problems in (_program, _on_error, _timeout, _mounts, _step_references):
            yield from problems(step, at)
        yield from result_errors(step.get("results") or [], f"{at}.results")


def result_errors(results: Sequence[Object], at: str) -> Iterator[FieldError]:
    """Yield all that is wrong with names and types of declared results: the Task's, or a Step's.

    Args:
        results: As declared.
        at: Their path, ``results`` for the Task's.
    """
    seen: set[str] = set()
    for index, result in enumerate(results):
        name = result.get("name") or ""
        if not _RESULT_NAME.fullmatch(name):
            yield FieldError(f"invalid key name {excerpt(name)}", (f"{at}[{index}].name",), _RESULT_NAME_HELP)
            continue
        if name in seen:
            yield FieldError(f"result name {quoted(name)} must be unique", (f"{at}[{index}].name",))
        seen.add(name)
        yield from _result_type(result, f"{at}[{index}]", tasks=at == "results")


def not_strings(properties: Mapping[str, Any] | None) -> list[str]:
    """Yield keys whose declared type is something else than string."""
    return [
        key
        for key, declared in (properties or {}).items()
        if ((declared or {}).get("type") or "string") != "string"
    ]


def missing(path: str) -> FieldError:
    """Return the error of a field that must be there."""
    return FieldError("missing field(s)", (path,))


def quoted(text: str) -> str:
    """Return text as Go's ``%q`` prints it."""
    return json.dumps(text, ensure_ascii=False)


def excerpt(text: str, at: int = 0) -> str:
    """Return text as `quoted`; of one with over 4,096 characters those around ``at``.

    It may contain a large result: the message is for people, and the status holds it.
    """
    text = unprotect(text)
    if len(text) <= _WHOLE:
        return quoted(text)
    return f"{quoted(text[max(0, at - _AROUND) : at + _AROUND])} (cut from {len(text)} characters)"


def _result_type(result: Object, at: str, *, tasks: bool) -> Iterator[FieldError]:
    kind, properties = result.get("type") or "", result.get("properties")
    if kind and kind not in TYPES:
        rule = "type must be string" if tasks else f"invalid type {kind}"
        yield FieldError(f"invalid value: {kind}", (f"{at}.type",), rule)
    elif kind == "object" and properties is None:
        yield missing(f"{at}.{result['name']}.properties")
    elif wrong := not_strings(properties):
        the = "The" if tasks else "the"
        keys = " ".join(wrong)
        message = f"{the} value type specified for these keys [{keys}] is invalid, the type must be string"
        yield FieldError(message, (f"{at}.{result['name']}.properties",))


def _program(step: Object, at: str) -> Iterator[FieldError]:
    """Yield what a Step runs, and in which image."""
    if step.get("params"):
        yield FieldError("params cannot be used without Ref", (f"{at}.params",))
    if not step.get("image"):
        yield missing(f"{at}.Image")
    script = step.get("script") or ""
    if script and step.get("command"):
        yield FieldError("script cannot be used with command", (f"{at}.script",))
    if script.strip().startswith("#!win"):
        yield FieldError("Windows scripts are not supported", (f"{at}.script",))


def _on_error(step: Object, at: str) -> Iterator[FieldError]:
    on_error = step.get("onError") or "continue"
    if on_error not in {"continue", "stopAndFail"} and not on_error.startswith("$(params"):
        rule = 'Task step onError must be either "continue" or "stopAndFail"'
        yield FieldError("invalid value", (f"{at}.onError",), rule)


def _timeout(step: Object, at: str) -> Iterator[FieldError]:
    if step.get("timeout") is None:
        return
    try:
        nanoseconds = parse_duration(step["timeout"])
    except ValueError as error:
        yield FieldError(f"invalid value: {error}", (f"{at}.timeout",))
        return
    if nanoseconds < 0:
        yield FieldError(f"invalid value: {format_duration(nanoseconds)}", (f"{at}.negative timeout",))


def _mounts(step: Object, at: str) -> Iterator[FieldError]:
    """Yield mounts over what Tekton keeps for itself."""
    for index, mount in enumerate(step.get("volumeMounts") or []):
        name, where = mount.get("name", ""), mount.get("mountPath", "")
        clean = posixpath.normpath(where)
        if clean.startswith("/tekton/") and not clean.startswith("/tekton/home"):
            message = (
                "volumeMount cannot be mounted under /tekton/ "
                f"(volumeMount {quoted(name)} mounted at {quoted(where)})"
            )
            yield FieldError(message, (f"{at}.volumeMounts[{index}].mountPath",))
    yield from reserved_mounts(step, at)


def reserved_mounts(container: Object, at: str) -> Iterator[FieldError]:
    """Return a problem for each mount of a reserved volume, in a Step or a Sidecar.

    Args:
        container: The Step, merged with its template, or the Sidecar.
        at: Its path.
    """
    for index, mount in enumerate(container.get("volumeMounts") or []):
        name = mount.get("name", "")
        if prefix := reserved_volume(name):
            message = f'volumeMount name {quoted(name)} cannot start with "{prefix}"'
            yield FieldError(message, (f"{at}.volumeMounts[{index}].name",))


def reserved_volume(name: str) -> str:
    """Return the reserved prefix that the name of a volume has; "" if it has none."""
    return next((prefix for prefix in _RESERVED_VOLUMES if name.startswith(prefix)), "")


def _step_references(step: Object, at: str) -> Iterator[FieldError]:
    """Yield other Steps' results and artifacts where the entrypoint does not put them in."""
    for field in ("name", "image", "imagePullPolicy", "workingDir"):
        if artifact_variable(step.get(field) or ""):
            yield FieldError(
                "stepArtifact substitutions are only allowed in env, command, args and script. "
                "Found usage in",
                (f"{at}.{field}",),
            )
    if step.get("args") and artifact_variable(script := step.get("script") or "").startswith("$(steps."):
        # Tekton's entrypoint reads a script only where it is the whole command.
        yield FieldError(
            f"{artifact_variable(script)[:80]} is not replaced in a script that has args: pass it as one of "
            f"the args, or as a variable of env",
            (f"{at}.script",),
        )
    for field in ("name", "image", "script", "imagePullPolicy", "workingDir"):
        if step_result(step.get(field) or "") is not None:
            yield FieldError(
                "stepResult substitutions are only allowed in env, command and args. Found usage in",
                (f"{at}.{field}",),
            )
