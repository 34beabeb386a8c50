"""The flags in force, from ConfigMaps and options, and the core they make; a fault names its origin."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from resultsfw.cli.inputs import Document, read_files
from resultsfw.core import ResultsManager
from resultsfw.errors import ExtensionError, FlagError, InputError, ResultsError, UnknownBackendError
from resultsfw.flags import CONFIG_PREFIX, KEYS, parse_flags
from resultsfw.tekton.api.configmaps import CONFIG_DEFAULTS, CONFIG_EVENTS, FEATURE_FLAGS, doubts
from resultsfw.tekton.taskrun.settings import Settings, settings_of

__all__ = ["CONFIG_MAP", "Given", "Loaded", "core_of", "load"]

CONFIG_MAP = FEATURE_FLAGS

_CoreT = TypeVar("_CoreT", bound=ResultsManager)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a person says of the flags.

    Attributes:
        documents: ConfigMaps among the manifests.
        file: Of ``--feature-flags``; its keys win over those of the documents.
        results_from: Of ``--results-from``; wins over both.
        max_result_size: Of ``--max-result-size``; wins over both.
    """

    documents: Sequence[Document] = ()
    file: str | None = None
    results_from: str | None = None
    max_result_size: str | None = None


@dataclass(slots=True)
class _Flags:
    """A ConfigMap's data, and of each key where it comes from."""

    data: dict[str, str] = field(default_factory=dict)
    origin: dict[str, Document | str] = field(default_factory=dict)

    def add(self, key: str, value: str, origin: Document | str) -> None:
        self.data[key], self.origin[key] = value, origin


@dataclass(frozen=True, slots=True)
class Loaded(Generic[_CoreT]):
    """What is in force.

    Attributes:
        core: With the flags.
        settings: Of runs and pods.
        doubts: A sentence for each key that is without effect.
    """

    core: _CoreT
    settings: Settings
    doubts: Sequence[str]


def core_of(given: Given) -> ResultsManager:
    """The core with the flags in force. Raises what `load` raises."""
    return load(given, ResultsManager).core


def load(given: Given, core_type: type[_CoreT]) -> Loaded[_CoreT]:
    """Return what the ConfigMaps and options say, checked.

    Args:
        given: The ConfigMaps and options.
        core_type: The class of the core to build.

    Raises:
        InputError: A flag has a value it cannot have, or its backend cannot be had; the message names
            the file, document and field, or the option, that says so.
    """
    flags = _Flags()
    documents = [one for one in given.documents if _is_map(one, CONFIG_MAP)]
    if len(documents) > 1:
        raise documents[1].refuse(
            f'a second ConfigMap "{CONFIG_MAP}"; the first is {documents[0].where}', "metadata.name"
        )
    for document in [*documents, *_of_file(given.file)]:
        for key, value in _data(document).items():
            flags.add(key, value, document)
    if given.results_from is not None:
        flags.add("results-from", given.results_from, "--results-from")
    if given.max_result_size is not None:
        flags.add("max-result-size", given.max_result_size, "--max-result-size")
    others = {
        name: _data(document)
        for name in (CONFIG_DEFAULTS, CONFIG_EVENTS)
        for document in given.documents
        if _is_map(document, name)
    }
    try:
        return Loaded(
            core_type(parse_flags(flags.data)),
            settings_of(flags.data, others.get(CONFIG_DEFAULTS, {})),
            [
                *doubts(CONFIG_MAP, flags.data, own=KEYS, prefix=CONFIG_PREFIX),
                *(line for name, data in others.items() for line in doubts(name, data)),
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


def _is_map(document: Document, name: str) -> bool:
    metadata = document.obj.get("metadata")
    return document.kind == "ConfigMap" and isinstance(metadata, dict) and metadata.get("name") == name


def _of_file(name: str | None) -> list[Document]:
    """The one ConfigMap of ``--feature-flags``; any name will do if there is no other."""
    if name is None:
        return []
    found = read_files([name])
    maps = [one for one in found if one.kind == "ConfigMap"]
    named = [one for one in maps if _is_map(one, CONFIG_MAP)]
    if len(named or maps) == 1:
        return named or maps
    there = ", ".join(one.label for one in found) or "nothing"
    raise InputError(
        f'{name}: --feature-flags takes a manifest with one ConfigMap "{CONFIG_MAP}"; found: {there}',
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
