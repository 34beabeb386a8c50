"""Replaces ``$(steps.STEP.outputs.ARTIFACT)`` by the values in the provenance that an earlier Step wrote."""

import os
import re

from .message import go_json
from .references import UnresolvedError, load

TYPE_CHECKING = False  # typing costs 3 ms
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

_REFERENCE = re.compile(r"\$\(steps\.([^.]+)\.(inputs|outputs)\.([^.)]+)\)")  # internal/artifactref in Tekton
_PARSER = f"{os.path.dirname(os.path.abspath(__file__))}/../../provenance.py"  # noqa: PTH100, PTH120


def replaced(text: str, steps: str) -> str:
    """Return the text with references to artifacts replaced.

    Args:
        text: An argument, a value of the environment, or a script.
        steps: The folder of the Steps' folders.

    Raises:
        UnresolvedError: No Step wrote the artifact, or its provenance is malformed.
    """
    if "$(steps." not in text:
        return text
    return _REFERENCE.sub(lambda match: _values(match, steps), text)


def replaced_script(file: str, steps: str, scratch: str) -> str:
    """Return the file of a script with references to artifacts replaced; the same file if it has none.

    Args:
        file: The script.
        steps: As for `replaced`.
        scratch: Folder for the new file.

    Raises:
        UnresolvedError: As `replaced`.
        OSError: The new file cannot be written.
    """
    try:
        with open(file, encoding="utf-8", errors="surrogateescape", newline="") as script:  # noqa: PTH123
            text = script.read()
    except OSError:
        return file  # starting it reports the error
    changed = replaced(text, steps)
    if changed == text:
        return file
    new = f"{scratch}/artifacts-{os.path.basename(file)}"  # noqa: PTH119 - pathlib costs 10 ms
    with open(new, "w", encoding="utf-8", errors="surrogateescape", newline="") as copy:  # noqa: PTH123
        copy.write(changed)
        os.fchmod(copy.fileno(), 0o755)
    return new


def _values(match: "re.Match[str]", steps: str) -> str:
    step, kind, name = match.groups()
    document = _parsed(load(f"{steps}/step-{step}/artifacts/provenance.json", match[0]), match[0])
    for artifact in document.get(kind, ()):
        if artifact.get("name", "") == name:
            return go_json(artifact.get("values"))
    raise UnresolvedError(f'"{match[0]}": the Step wrote no artifact with that name')


def _parsed(data: bytes, reference: str) -> "dict[str, Any]":
    parser = _parser()
    try:
        document: dict[str, Any] = parser.parse_artifacts(data.decode("utf-8", "replace"))
    except parser.MalformedArtifactsError as error:
        raise UnresolvedError(f'"{reference}": {error}') from None
    return document


def _parser() -> "ModuleType":
    """Import the parser by its file: the package around it would import pydantic, a second for every Step."""
    from importlib.util import module_from_spec, spec_from_file_location  # noqa: PLC0415 - few Steps

    spec = spec_from_file_location("provenance", _PARSER)
    assert spec is not None  # noqa: S101 - a file with the suffix .py has one
    assert spec.loader is not None  # noqa: S101
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
