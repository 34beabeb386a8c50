"""Bind workspaces by the command line: ``-w name=NAME,...`` as ``tkn`` takes them, or a folder here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from resultsfw.cli.files.inputs import Document, read_files
from resultsfw.cli.files.run_params import EMBEDDED
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.spec.variables import nearest

__all__ = ["Bindings", "parse_bindings", "with_bindings"]

OPTION: Final = "-w"
_SOURCES: Final = ("emptyDir", "claimName", "config", "secret", "volumeClaimTemplateFile", "folder")
_KEYS: Final = ("name", "subPath", "item", *_SOURCES)
_MEDIA: Final = ("", "Memory", "HugePages")
_CLAIM: Final = "folder-of-"


@dataclass(frozen=True, slots=True)
class Bindings:
    """What ``-w`` binds.

    Attributes:
        by_name: A workspace binding for each name.
        folders: Folders of this machine, by the name of the claim that stands for each.
    """

    by_name: Mapping[str, Object] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)


def parse_bindings(options: Sequence[str]) -> Bindings:
    """Return the bindings of ``-w``. Of a workspace that is there twice, the last one counts.

    Raises:
        InputError: An option cannot be understood, or its file or folder is not there.
    """
    by_name: dict[str, Object] = {}
    folders: dict[str, Path] = {}
    for option in options:
        parts = [part.partition("=") for part in option.split(",")]
        values = {key.strip(): value for key, _, value in parts}
        name, sources = values.get("name", ""), [key for key in _SOURCES if key in values]
        if unknown := [key for key in values if key not in _KEYS]:
            raise _refused(option, f'does not know "{unknown[0]}"; it knows {", ".join(_KEYS)}')
        if not name:
            raise _refused(option, "names no workspace; write name=NAME,emptyDir= or another source")
        if len(sources) != 1:
            raise _refused(option, f"must have one of {', '.join(_SOURCES)}")
        items = [value.partition("=") for key, _, value in parts if key.strip() == "item"]
        if not all(equals and path for _, equals, path in items):
            raise _refused(option, "has an item that is not of the form item=KEY=PATH")
        volume_items = [{"key": key, "path": path} for key, _, path in items]
        within = {"subPath": values["subPath"]} if values.get("subPath") else {}
        source = _source(option, sources[0], values[sources[0]], volume_items)
        if sources[0] == "folder":
            claim = f"{_CLAIM}{len(by_name)}"
            folders[claim] = _folder(option, values["folder"])
            source = {"persistentVolumeClaim": {"claimName": claim}}
        by_name[name] = {"name": name, **within, **source}
    return Bindings(by_name, folders)


def with_bindings(
    runs: Sequence[Document], specs: Sequence[Object | None], bindings: Bindings
) -> tuple[list[Document], list[tuple[str, str]]]:
    """Return the runs with the workspaces bound that they declare.

    Args:
        runs: The runs, of valid shape.
        specs: The spec of the Task or Pipeline of each run; ``None`` where a resolver fetches it.
        bindings: What ``-w`` binds.

    Returns:
        The runs; and namespace and name of each claim that stands for a folder in one of them.

    Raises:
        InputError: No run has a workspace of one of the names.
    """
    bound: list[Document] = []
    claims: dict[tuple[str, str], None] = {}
    used: set[str] = set()
    names: set[str] = set()
    for run, spec in zip(runs, specs, strict=True):
        given = run.obj["spec"].get("workspaces") or ()
        own = {binding["name"] for binding in given}
        declared = {workspace["name"] for workspace in (spec or {}).get("workspaces") or ()}
        # An embedded Task need not declare what its run binds, and one of a resolver is not known yet.
        takes_any = spec is None or run.obj["spec"].get(EMBEDDED[run.kind]) is not None
        mine = {
            name: binding
            for name, binding in bindings.by_name.items()
            if name in own or name in declared or takes_any
        }
        used |= mine.keys()
        names |= own | declared
        kept = [binding for binding in given if binding["name"] not in mine]
        spec_with = {**run.obj["spec"], "workspaces": [*kept, *mine.values()]}
        bound.append(replace(run, obj={**run.obj, "spec": spec_with}) if mine else run)
        namespace = run.obj["metadata"].get("namespace") or "default"
        sources = [binding.get("persistentVolumeClaim") or {} for binding in mine.values()]
        claims |= {
            (namespace, source["claimName"]): None
            for source in sources
            if source.get("claimName") in bindings.folders
        }
    for name in bindings.by_name:
        if name not in used:
            like = nearest(name, sorted(names))
            hint = f'; did you mean "{like}"?' if like else ""
            listed = ", ".join(sorted(names)) or "none"
            raise InputError(
                f'{OPTION} {name}: no run in these files has the workspace "{name}" (there: {listed}){hint}',
                subject=OPTION,
            )
    return bound, list(claims)


def _source(option: str, source: str, value: str, items: Sequence[Object]) -> Object:
    """Return the volume source of a binding."""
    listed: dict[str, Any] = {"items": list(items)} if items else {}
    if items and source not in ("config", "secret"):
        raise _refused(option, "has an item, which only config and secret have")
    if source == "emptyDir":
        if value not in _MEDIA:
            raise _refused(option, "has an emptyDir that is not empty, Memory or HugePages")
        return {"emptyDir": {"medium": value} if value else {}}
    if source == "volumeClaimTemplateFile":
        documents = read_files([value])
        if [document.kind for document in documents] != ["PersistentVolumeClaim"]:
            raise _refused(option, f"{value} is not the manifest of one PersistentVolumeClaim")
        return {"volumeClaimTemplate": documents[0].obj}
    if not value:
        raise _refused(option, f"has a {source} without a name")
    if source == "claimName":
        return {"persistentVolumeClaim": {"claimName": value}}
    return (
        {"configMap": {"name": value, **listed}}
        if source == "config"
        else {"secret": {"secretName": value, **listed}}
    )


def _folder(option: str, path: str) -> Path:
    folder = Path(path).absolute()
    if not folder.is_dir():
        raise _refused(option, f"{path} is not a folder")
    return folder


def _refused(option: str, why: str) -> InputError:
    return InputError(f'{OPTION} "{option}": {why}', subject=OPTION)
