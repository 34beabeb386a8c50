"""Load the flags in effect from ConfigMaps and options; an error names the file or option of the flag."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from resultsfw.cli.files.inputs import Document, read_files
from resultsfw.core import ResultsManager
from resultsfw.errors import ExtensionError, FlagError, InputError, ResultsError, UnknownBackendError
from resultsfw.flags import CONFIG_PREFIX, KEYS, Flags, parse_flags
from resultsfw.tekton.api.configmaps import (
    CONFIG_DEFAULTS,
    CONFIG_EVENTS,
    CONFIG_SPIRE,
    FEATURE_FLAGS,
    key_warnings,
)
from resultsfw.tekton.api.signing import with_spire
from resultsfw.tekton.taskrun.settings import Settings, settings_of

__all__ = ["CONFIG_MAP", "Given", "Loaded", "core_of", "flags_of", "load"]

CONFIG_MAP = FEATURE_FLAGS

_OTHERS = (CONFIG_DEFAULTS, CONFIG_EVENTS, CONFIG_SPIRE)

_CoreT = TypeVar("_CoreT", bound=ResultsManager)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The sources of the flags.

    Attributes:
        documents: ConfigMaps among the manifests.
        file: Value of ``--feature-flags``; its ConfigMaps override those of the documents.
        results_from: Value of ``--results-from``; overrides both.
        max_result_size: Value of ``--max-result-size``; overrides both.
    """

    documents: Sequence[Document] = ()
    file: str | None = None
    results_from: str | None = None
    max_result_size: str | None = None


@dataclass(slots=True)
class _Flags:
    """The data of a ConfigMap, and the origin of each key."""

    data: dict[str, str] = field(default_factory=dict)
    origin: dict[str, Document | str] = field(default_factory=dict)

    def add(self, key: str, value: str, origin: Document | str) -> None:
        self.data[key], self.origin[key] = value, origin


@dataclass(frozen=True, slots=True)
class Loaded(Generic[_CoreT]):
    """The flags in effect.

    Attributes:
        core: The core with the flags.
        settings: Settings of runs and pods.
        warnings: A sentence for each key that has no effect.
    """

    core: _CoreT
    settings: Settings
    warnings: Sequence[str]


def core_of(given: Given) -> ResultsManager:
    """Return the core with the flags in effect; raises what `load` raises."""
    return load(given, ResultsManager).core


def flags_of(given: Given) -> Flags:
    """Return the flags in effect; nothing that they name is imported.

    Raises:
        InputError: A flag is invalid; the message names what sets it.
    """
    flags, others = _read(given)
    try:
        return with_spire(parse_flags(flags.data), others.get(CONFIG_SPIRE, {}))
    except FlagError as error:
        raise _refused(flags, error.subject, error) from error


def load(given: Given, core_type: type[_CoreT]) -> Loaded[_CoreT]:
    """Load the flags that ConfigMaps and options set.

    Args:
        given: The ConfigMaps and options.
        core_type: The class of the core to build.

    Raises:
        InputError: A flag is invalid, or its backend or extension cannot be used; the message names the
            file, document and field, or the option, that sets it.
    """
    flags, others = _read(given)
    try:
        return Loaded(
            core_type(with_spire(parse_flags(flags.data), others.get(CONFIG_SPIRE, {}))),
            settings_of(flags.data, others.get(CONFIG_DEFAULTS, {})),
            [
                *key_warnings(CONFIG_MAP, flags.data, own=KEYS, prefix=CONFIG_PREFIX),
                *(line for name, data in others.items() for line in key_warnings(name, data)),
            ],
        )
    except UnknownBackendError as error:
        chosen = flags.data.get("results-from", "").strip().lower()
        key = "results-from" if error.subject == chosen else "allowed-results-from"
        raise _refused(flags, key, error) from error
    except ExtensionError as error:
        raise _refused(flags, "extensions", error) from error
    except FlagError as error:
        raise _refused(flags, error.subject, error) from error
    except ResultsError as error:
        raise _refused(flags, "results-from", error) from error


def _read(given: Given) -> tuple[_Flags, dict[str, dict[str, str]]]:
    """Return the flags with their origin, and the data of Tekton's other ConfigMaps by name."""
    flags = _Flags()
    documents = [document for document in given.documents if _is_map(document, CONFIG_MAP)]
    if len(documents) > 1:
        raise documents[1].refuse(
            f'a second ConfigMap "{CONFIG_MAP}"; the first is {documents[0].where}', "metadata.name"
        )
    in_file = [] if given.file is None else read_files([given.file])
    for document in [*documents, *_flags_in(in_file, given.file)]:
        for key, value in _data(document).items():
            flags.add(key, value, document)
    if given.results_from is not None:
        flags.add("results-from", given.results_from, "--results-from")
    if given.max_result_size is not None:
        flags.add("max-result-size", given.max_result_size, "--max-result-size")
    return flags, _others([*given.documents, *in_file], flags)


def _others(documents: Sequence[Document], flags: _Flags) -> dict[str, dict[str, str]]:
    """Return the data of Tekton's other ConfigMaps by name, and note where their keys are set."""
    others = {}
    for name in _OTHERS:
        for document in documents:
            if _is_map(document, name):
                others[name] = _data(document)
                flags.origin |= dict.fromkeys(others[name], document)
    return others


def _is_map(document: Document, name: str) -> bool:
    metadata = document.obj.get("metadata")
    return document.kind == "ConfigMap" and isinstance(metadata, dict) and metadata.get("name") == name


def _flags_in(found: Sequence[Document], name: str | None) -> list[Document]:
    """Return the ConfigMap of ``--feature-flags``; its name does not matter if it is the only one.

    Args:
        found: The documents of the file.
        name: Of the file; ``None`` without the option.
    """
    if name is None:
        return []
    maps = [
        document
        for document in found
        if document.kind == "ConfigMap" and not any(_is_map(document, other) for other in _OTHERS)
    ]
    named = [document for document in maps if _is_map(document, CONFIG_MAP)]
    if len(named or maps) == 1:
        return named or maps
    labels = ", ".join(document.label for document in found) or "nothing"
    raise InputError(
        f'{name}: --feature-flags takes a manifest with one ConfigMap "{CONFIG_MAP}"; found: {labels}',
        subject=name,
    )


def _data(document: Document) -> dict[str, str]:
    data = document.obj.get("data")
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise document.refuse("must be a mapping", "data")
    for key, value in data.items():
        if not isinstance(value, str):
            raise document.refuse("must be text: put it in quotes", f"data.{key}")
    return data


def _refused(flags: _Flags, key: str, error: ResultsError) -> InputError:
    origin = flags.origin.get(key)
    if isinstance(origin, Document):
        return origin.refuse(error.message, f"data.{key}")
    return InputError(f"{origin}: {error.message}" if origin else error.message, subject=origin or key)
