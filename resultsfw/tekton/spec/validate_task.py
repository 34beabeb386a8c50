"""What is wrong with a Task's spec, field by field, in Tekton's words."""

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.names import step_name
from resultsfw.tekton.spec.declared_results import step_result
from resultsfw.tekton.spec.merge import merged_steps
from resultsfw.tekton.spec.params import param_type, param_value, value_type
from resultsfw.tekton.spec.unreplaced import Unreplaced
from resultsfw.tekton.spec.validate_steps import (
    TYPES,
    FieldError,
    excerpt,
    missing,
    not_strings,
    quoted,
    reserved_mounts,
    reserved_volume,
    result_errors,
    step_errors,
)
from resultsfw.tekton.spec.variables import array_index, find_prefixed, nearest, texts_in
from resultsfw.tekton.spec.workspaces import mount_path

__all__ = ["array_references", "param_errors", "task_errors", "usage_errors", "whole_array_errors"]

_PARAM_NAME: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9.-]*")
_PARAM_NAME_HELP: Final = (
    "String/Array Names: \nMust only contain alphanumeric characters, hyphens (-), underscores (_), "
    "and dots (.)\nMust begin with a letter or an underscore (_)"
)
_OBJECT_NAME: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9-]*")
_OBJECT_NAME_HELP: Final = (
    "Object Names: \nMust only contain alphanumeric characters, hyphens (-), underscores (_) "
    "\nMust begin with a letter or an underscore (_)"
)
_ARRAY_INDEX: Final = re.compile(
    r"\$\(params(?:\.([_a-zA-Z0-9.-]+)|\['([_a-zA-Z0-9.\-/]+)'\]|\[\"([_a-zA-Z0-9.\-/]+)\"\])\[([0-9]+)\]\)"
)
_PARAM: Final = re.compile(r"\$\(params\.([^.\[\]()]+)")
_SHOWN: Final = 1024
_INDEX: Final = re.compile(r"\[[0-9]*\*?\]")
_TASK_CONTEXT: Final = frozenset({"name", "retry-count"})
_RUN_CONTEXT: Final = frozenset({"name", "namespace", "uid"})


def task_errors(
    task_spec: Object, *, reserved_sidecars: Collection[str], with_sources: bool = True
) -> list[FieldError]:
    """Return all that is wrong with a Task's spec, substituted; empty when it can run.

    What refers to parameters that do not exist comes alone, first: as in Tekton.

    Args:
        task_spec: The spec.
        reserved_sidecars: Names that no Sidecar of a Task may have.
        with_sources: Whether the Steps are all that they will be, so that their results are known.
    """
    steps = merged_steps(task_spec.get("steps") or [], task_spec.get("stepTemplate"))
    usage = list(usage_errors(task_spec.get("steps") or [], task_spec.get("params") or []))
    if usage:
        return usage
    problems: list[FieldError] = [] if steps else [missing("steps")]
    problems += _volumes(task_spec.get("volumes") or [])
    problems += _workspaces(task_spec)
    problems += _workspace_usages(task_spec)
    problems += step_errors(steps)
    problems += _sidecars(task_spec.get("sidecars") or [], reserved_sidecars)
    problems += param_errors(task_spec.get("params") or [])
    problems += _variables(steps, task_spec)
    problems += whole_array_errors(steps, task_spec.get("params") or [])
    problems += result_errors(task_spec.get("results") or [], "results")
    if with_sources:
        problems += _sources(task_spec.get("results") or [], steps)
    return problems


def array_references(value: Any) -> Iterator[tuple[str, str, int]]:
    """Yield every ``$(params.NAME[INDEX])`` in plain data: the text, the name and the index."""
    for text in texts_in(value):
        for match in _ARRAY_INDEX.finditer(text):
            yield match[0], match[1] or match[2] or match[3], array_index(match[4])


def _volumes(volumes: Sequence[Object]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        name = volume.get("name", "")
        if name in seen:
            yield FieldError(f"multiple volumes with same name {quoted(name)}", (f"volumes[{index}].name",))
        seen.add(name)
        # Tekton lets a volume have a name of its own volumes here, and refuses the pod for the second one.
        if reserved_volume(name) == "resultsfw-":
            message = f'volume name {quoted(name)} cannot start with "resultsfw-"'
            yield FieldError(message, (f"volumes[{index}].name",))


def _workspaces(task_spec: Object) -> Iterator[FieldError]:
    template = task_spec.get("stepTemplate") or {}
    mounted = {
        posixpath.normpath(mount.get("mountPath", ""))
        for container in (*(task_spec.get("steps") or []), template)
        for mount in container.get("volumeMounts") or []
    }
    names: set[str] = set()
    for index, workspace in enumerate(task_spec.get("workspaces") or []):
        if workspace["name"] in names:
            name = quoted(workspace["name"])
            yield FieldError(f"workspace name {name} must be unique", (f"workspaces[{index}].name",))
        names.add(workspace["name"])
        path = posixpath.normpath(mount_path(workspace))
        if path in mounted:
            message = f"workspace mount path {quoted(path)} must be unique"
            yield FieldError(message, (f"workspaces[{index}].mountpath",))
        mounted.add(path)


def _workspace_usages(task_spec: Object) -> Iterator[FieldError]:
    """Yield workspaces that Steps and Sidecars use and nobody declares."""
    known = {workspace["name"] for workspace in task_spec.get("workspaces") or []}
    for part in ("steps", "sidecars"):
        for index, container in enumerate(task_spec.get(part) or []):
            for number, usage in enumerate(container.get("workspaces") or []):
                if usage["name"] not in known:
                    path = f"{part}[{index}].workspaces[{number}].name"
                    yield FieldError(f"undefined workspace {quoted(usage['name'])}", (path,))


def _sidecars(sidecars: Sequence[Object], reserved: Collection[str]) -> Iterator[FieldError]:
    # Tekton gives no index here.
    for index, sidecar in enumerate(sidecars):
        name = sidecar.get("name", "")
        yield from reserved_mounts(sidecar, f"sidecars[{index}]")
        if name in reserved:
            yield FieldError(f"Invalid: cannot use reserved sidecar name {name} ", ("sidecars.name",))
        if not sidecar.get("image"):
            yield missing("sidecars.image")
        if sidecar.get("script") and sidecar.get("command"):
            yield FieldError("script cannot be used with command", ("sidecars.script",))


def param_errors(params: Sequence[Object]) -> Iterator[FieldError]:
    """Yield all that is wrong with declared parameters: names, types, defaults, keys."""
    names: list[str] = []
    objects: dict[str, list[str]] = {}
    for param in params:
        yield from _param_type(param)
        name, properties = param["name"], param.get("properties")
        if param_type(param) != "object":
            names += [] if _PARAM_NAME.fullmatch(name) else [name]
            continue
        keys = [key for key in properties or {} if not _OBJECT_NAME.fullmatch(key)]
        if keys or not _OBJECT_NAME.fullmatch(name):
            objects[name] = keys
    for name, times in Counter(param["name"] for param in params).items():
        if times > 1:
            yield FieldError("parameter appears more than once", (f"params[{name}]",))
    if names:
        shown = " ".join(sorted(names))
        message = f"The format of following array and string variable names is invalid: [{shown}]"
        yield FieldError(message, ("params",), _PARAM_NAME_HELP)
    if objects:
        shown = " ".join(f"{name}:[{' '.join(keys)}]" for name, keys in sorted(objects.items()))
        message = f"Object param name and key name format is invalid: map[{shown}]"
        yield FieldError(message, ("params",), _OBJECT_NAME_HELP)


def _param_type(param: Object) -> Iterator[FieldError]:
    """Yield a type that does not exist, or that the default or the properties are not of."""
    name, kind = param["name"], param_type(param)
    if kind not in TYPES:
        yield FieldError(f"invalid value: {kind}", (f"params.{name}.type",))
        return
    given = value_type(param_value(param["default"])) if param.get("default") is not None else kind
    if given != kind:
        message = f'"{kind}" type does not match default value\'s type: "{given}"'
        yield FieldError(message, (f"params.{name}.default.type", f"params.{name}.type"))
    elif wrong := not_strings(param.get("properties")):
        message = f"The value type specified for these keys [{' '.join(wrong)}] is invalid"
        yield FieldError(message, (f"params.{name}.properties",))


def usage_errors(steps: Sequence[Object], params: Sequence[Object]) -> Iterator[FieldError]:
    """Yield references to parameters that do not exist, or to keys an object parameter does not have."""
    known = {param["name"] for param in params}
    objects = {
        param["name"]: param.get("properties") or {} for param in params if param_type(param) == "object"
    }
    for index, step in enumerate(steps):
        for text, field in _texts(step):
            path = f"steps[{index}].{field}"
            yield from _unknown(text, "params", known, path)
            for name in {match[1] for match in _PARAM.finditer(text)} & objects.keys() if objects else ():
                yield from _unknown(text, f"params.{name}", objects[name], path)
            if text and _whole(text, objects):
                yield FieldError(f"variable type invalid in {excerpt(text)}", (path,))
    for param in params:
        if param["name"] in objects and param.get("properties") is None:
            yield missing(f"{param['name']}.properties")


def _variables(steps: Sequence[Object], task_spec: Object) -> Iterator[FieldError]:
    """Yield references to results and context variables that do not exist."""
    results = {result.get("name") or "" for result in task_spec.get("results") or []}
    for index, step in enumerate(steps):
        at = f"steps[{index}]"
        for text, field in _texts(step):
            yield from _unknown(text, "context.taskRun", _RUN_CONTEXT, f"{at}.{field}")
            yield from _unknown(text, "context.task", _TASK_CONTEXT, f"{at}.{field}")
        script = step.get("script") or ""
        yield from _unknown(script, "results", results, f"{at}.script")
        if own := step.get("results"):
            yield from _unknown(
                script, "step.results", {result.get("name") or "" for result in own}, f"{at}.script"
            )


def whole_array_errors(steps: Sequence[Object], params: Sequence[Object]) -> Iterator[FieldError]:
    """Yield references to whole arrays where only one text may stand, or beside other text."""
    arrays = {param["name"] for param in params if param_type(param) == "array"}
    for index, step in enumerate(steps):
        for text, field in _texts(step):
            if not _whole(text, arrays):
                continue
            isolated = field.startswith(("command", "args"))
            if isolated and _is_one(text):
                continue
            what = "variable is not properly isolated" if isolated else "variable type invalid"
            yield FieldError(f"{what} in {excerpt(text)}", (f"steps[{index}].{field}",))


def _whole(text: str, names: Collection[str]) -> bool:
    """Return whether a text refers to one of these parameters as a whole, not to an element or a key."""
    if "$(params" not in text:
        return False
    return any(
        (found.dotted or found.quoted).removesuffix("[*]") in names for found in find_prefixed(text, "params")
    )


def _is_one(text: str) -> bool:
    """Return whether a text is one variable that names a parameter, and nothing else."""
    return any(found.text == text for found in find_prefixed(text, "params"))


def _texts(step: Object) -> Iterator[tuple[str, str]]:
    """Yield the texts of a Step in which Tekton looks for unknown variables, and where they are."""
    for field in ("name", "image", "workingDir", "script", "onError"):
        yield step.get(field) or "", field
    for field in ("command", "args"):
        for index, text in enumerate(step.get(field) or []):
            yield text, f"{field}[{index}]"
    for variable in step.get("env") or []:
        yield variable.get("value") or "", f"env[{variable.get('name', '')}]"
    for index, mount in enumerate(step.get("volumeMounts") or []):
        for field in ("name", "mountPath", "subPath"):
            yield mount.get(field) or "", f"volumeMount[{index}].{field}"


def _unknown(text: str, prefix: str, known: Collection[str], path: str) -> Iterator[FieldError]:
    """Yield the first reference in a text, if any, that begins with the prefix and names nothing known."""
    for found in find_prefixed(text, prefix):
        name = found.dotted or found.quoted
        if found.dotted:
            name, *rest = name.split(".", 2)
            if len(rest) > 1:
                # Tekton escapes nothing here.
                shown = f'"{text}"' if excerpt(text) == quoted(text) else excerpt(text, found.start)
                yield FieldError(
                    f"Invalid referencing of parameters in {shown}! "
                    "Only two dot-separated components after the prefix "
                    f'"{_as_pattern(prefix)}" are allowed.',
                    (path,),
                )
                return
        if _INDEX.sub("", name) not in known:
            like = nearest(name, known)
            meant = found.text[2:-1].replace(name, like) if like else ""
            # Tekton's sentence names the text only.
            which = Unreplaced(found.text[2:-1], path, meant).message
            yield FieldError(f"non-existent variable in {excerpt(text, found.start)}", (path,), which)
            return


def _as_pattern(prefix: str) -> str:
    """Return a prefix as Tekton's message prints it: where it has a dot, the dot is escaped."""
    return prefix.replace(".", "\\.") if prefix != "step.results" else prefix


def _beginning(text: str) -> str:
    """Return a text as a message holds it: of a long text, only the beginning."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _sources(results: Sequence[Object], steps: Sequence[Object]) -> Iterator[FieldError]:
    """Yield Task results whose Step result, its Step or the reference to it does not exist."""
    declared = {
        step_name(step, index): {result.get("name") for result in step.get("results") or []}
        for index, step in enumerate(steps)
    }
    for index, result in enumerate(results):
        value = result.get("value")
        if not value:
            continue
        at = f"results[{index}].{result.get('name', '')}"
        if not isinstance(value, str):
            kind = value_type(param_value(value))
            yield FieldError(f'Invalid Type. Wanted string but got: "{kind}"', (f"{at}.type",))
            continue
        source = step_result(value)
        if source is None:
            yield FieldError(
                "Could not extract step name and result name. Expected value to look like "
                f'$(steps.<stepName>.results.<resultName>) but got "{_beginning(value)}"',
                (f"{at}.value",),
            )
        elif source.step not in declared:
            message = f"{_beginning(value)} names a Step that does not exist: {quoted(source.step)}"
            yield FieldError(message, (f"{at}.value",))
        elif source.result not in declared[source.step]:
            message = (
                f"{_beginning(value)} names a result that Step {quoted(source.step)} does not declare: "
                f"{quoted(source.result)}"
            )
            yield FieldError(message, (f"{at}.value",))
