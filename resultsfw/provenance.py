"""Parse and merge provenance of artifacts as Tekton does (pkg/apis/pipeline/v1/artifact_types.go).

Standard library only: the entrypoint of the local engine loads this file without the package around it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

__all__ = ["KINDS", "MalformedArtifactsError", "merge_artifacts", "parse_artifacts"]

Document = dict[str, Any]
"""Lists of artifacts, ``inputs`` and ``outputs``; each with ``name``, ``values`` and ``buildOutput``."""

KINDS: Final = ("inputs", "outputs")
"""The two lists of artifacts in a provenance document."""

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class MalformedArtifactsError(ValueError):
    """A text is not a provenance document; the message says why, without quoting the text."""


def parse_artifacts(text: str) -> Document:
    """Return a provenance document as a status contains it: what Go's decoder takes, empty fields omitted.

    Field names match in any case, unknown fields are ignored, ``null`` is the empty value, and a lone
    surrogate becomes U+FFFD. Each ``digest`` is sorted by key, as Go writes maps.

    Args:
        text: Already within the size limits.

    Raises:
        MalformedArtifactsError: It is not JSON, or a field has another type. Nothing of it is used then;
            Tekton uses what it has decoded before the error.
    """
    try:
        decoded = json.loads(text, parse_int=float, parse_constant=_no_constant)
    except RecursionError:
        raise MalformedArtifactsError("not JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise MalformedArtifactsError(
            f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except ValueError:
        raise MalformedArtifactsError("not JSON") from None
    document = _mapping(decoded, "it")
    found = {kind: list(_artifacts(document.get(kind), kind)) for kind in KINDS}
    return {kind: artifacts for kind, artifacts in found.items() if artifacts}


def merge_artifacts(documents: Iterable[Mapping[str, Any]]) -> Document:
    """Return the artifacts of several documents by name, each value once (``Artifacts.Merge``).

    Tekton's order of names is random; here it is that of the documents. As in Tekton, an output is a
    ``buildOutput`` if any document says so, and inputs lose that field.
    """
    merged: dict[str, dict[str, Document]] = {kind: {} for kind in KINDS}
    known: set[tuple[str, str, str]] = set()
    for document in documents:
        for kind in KINDS:
            for artifact in document.get(kind) or ():
                name = artifact.get("name", "")
                entry = merged[kind].setdefault(name, {"name": name, "values": [], "buildOutput": False})
                entry["buildOutput"] |= kind == "outputs" and artifact.get("buildOutput", False)
                for value in artifact.get("values") or ():
                    key = (kind, name, json.dumps(value, sort_keys=True))
                    if key not in known:
                        known.add(key)
                        entry["values"].append(value)
    return {
        kind: [_without_empty(entry) for entry in by_name.values()]
        for kind, by_name in merged.items()
        if by_name
    }


def _artifacts(decoded: Any, kind: str) -> Iterator[Document]:
    for artifact in _list(decoded, kind):
        fields = _mapping(artifact, f"an element of {kind}")
        values = [_value(value) for value in _list(fields.get("values"), "values")]
        build_output = fields.get("buildoutput")
        if not isinstance(build_output, bool | None):
            raise MalformedArtifactsError("buildOutput is neither true nor false")
        entry = {
            "name": _text(fields.get("name"), "name"),
            "values": values,
            "buildOutput": bool(build_output),
        }
        yield _without_empty(entry)


def _value(decoded: Any) -> Document:
    fields = _mapping(decoded, "a value")
    digest = fields.get("digest")
    if not isinstance(digest, dict | None):
        raise MalformedArtifactsError("digest is not an object")
    digests = {_clean(key): _text(text, "a digest") for key, text in (digest or {}).items()}
    return _without_empty({"digest": dict(sorted(digests.items())), "uri": _text(fields.get("uri"), "uri")})


def _mapping(decoded: Any, what: str) -> dict[str, Any]:
    """Return an object with its keys in lower case; of keys that differ in case only, the last wins."""
    if decoded is None:
        return {}
    if not isinstance(decoded, dict):
        raise MalformedArtifactsError(f"{what} is not an object")
    return {key.casefold(): value for key, value in decoded.items()}


def _list(decoded: Any, what: str) -> list[Any]:
    if not isinstance(decoded, list | None):
        raise MalformedArtifactsError(f"{what} is not a list")
    return decoded or []


def _text(decoded: Any, what: str) -> str:
    if not isinstance(decoded, str | None):
        raise MalformedArtifactsError(f"{what} is not a string")
    return _clean(decoded or "")


def _clean(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def _without_empty(fields: Document) -> Document:
    return {key: value for key, value in fields.items() if value}


def _no_constant(name: str) -> None:
    raise ValueError(name)
