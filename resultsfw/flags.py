"""Parse and validate the operator's flags in the ``feature-flags`` ConfigMap."""

import difflib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import yaml

from resultsfw.errors import FlagError, UnknownBackendError, UnknownExtensionError
from resultsfw.limits import DEFAULT_RESULT_BYTES, OBJECT_BYTES

__all__ = [
    "ANNOTATION",
    "CONFIG_PREFIX",
    "DEFAULT_BACKEND",
    "KEYS",
    "Flags",
    "choose_backend",
    "did_you_mean",
    "parse_flags",
    "unknown_backend_error",
    "unknown_extension_error",
]

log = logging.getLogger(__name__)

DEFAULT_BACKEND: Final = "termination-message"
"""Default of ``results-from`` (TEP-0127, Feature Gate). The core names no other backend."""

ANNOTATION: Final = "resultsfw.dev/results-from"
"""Annotation of a run: the backend it asks for. The operator must allow that name."""

_COMPRESSION: Final = "enable-termination-message-compression"
"""Tekton's flag: the default of the option ``compress`` of the default backend."""

CONFIG_PREFIX: Final = "config."
"""Key ``config.NAME`` of the ConfigMap: the options of the backend or extension NAME, a YAML mapping."""

KEYS: Final = frozenset(
    {
        "results-from",
        "max-result-size",
        "allowed-results-from",
        "missing-results",
        "embedded-status",
        "extensions",
    }
)
"""Keys of this project in the ConfigMap, besides ``config.NAME``."""

EmbeddedStatus = Literal["minimal", "full", "both"]
MissingResults = Literal["ignore", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The operator's flags.

    Attributes:
        results_from: The backend of runs that do not choose one.
        max_result_size: Limit of one value in bytes.
        allowed_results_from: The backends a run may choose by annotation; ``results_from`` is always one
            of them.
        missing_results: Whether a declared result that no Step wrote fails the run.
        embedded_status: How much of the status of its TaskRuns a PipelineRun repeats (TEP-0100).
        extensions: The extensions that are loaded.
        config: Options by the name of the backend or extension, not validated yet.
    """

    results_from: str = DEFAULT_BACKEND
    max_result_size: int = DEFAULT_RESULT_BYTES
    allowed_results_from: frozenset[str] = frozenset()
    missing_results: MissingResults = "ignore"
    embedded_status: EmbeddedStatus = "minimal"
    extensions: frozenset[str] = frozenset()
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        allowed = self.allowed_results_from | {self.results_from}
        object.__setattr__(self, "allowed_results_from", allowed)


def parse_flags(data: Mapping[str, str]) -> Flags:
    """Parse the flags in a ConfigMap's ``data``. Ignores unknown keys: they are other flags of Tekton.

    Raises:
        FlagError: A flag has an invalid value; its subject is the key.
    """
    results_from = data.get("results-from", "").strip().lower() or DEFAULT_BACKEND
    config = {
        key.removeprefix(CONFIG_PREFIX): _config(key, text)
        for key, text in data.items()
        if key.startswith(CONFIG_PREFIX)
    }
    if _is_true(_COMPRESSION, data):
        config[DEFAULT_BACKEND] = {"compress": True, **config.get(DEFAULT_BACKEND, {})}
    flags = Flags(
        results_from=results_from,
        max_result_size=_max_result_size(data.get("max-result-size", "")),
        allowed_results_from=_names("allowed-results-from", data),
        missing_results=_one_of("missing-results", data, ("ignore", "fail")),
        embedded_status=_one_of("embedded-status", data, ("minimal", "full", "both")),
        extensions=_names("extensions", data),
        config=config,
    )
    for key in data.keys() - KEYS:
        if not key.startswith(CONFIG_PREFIX):
            log.debug("feature flag %r is not ours; ignored", key)
    return flags


def choose_backend(flags: Flags, annotations: Mapping[str, str]) -> str:
    """Return the backend of a run with these annotations.

    Raises:
        FlagError: The run asks for a backend that the operator does not allow.
    """
    asked = annotations.get(ANNOTATION, "").strip().lower()
    if not asked or asked in flags.allowed_results_from:
        return asked or flags.results_from
    names = ", ".join(sorted(flags.allowed_results_from))
    raise FlagError(
        f'annotation {ANNOTATION}: "{asked:.64}" is not among the backends a run may choose here ({names}); '
        f'ask the operator to add it to the feature flag "allowed-results-from"',
        subject=ANNOTATION,
    )


def unknown_backend_error(
    name: str, installed: Iterable[str], *, where: str = "results-from"
) -> UnknownBackendError:
    """Return the error for a backend name that is not installed; it suggests a similar name."""
    return UnknownBackendError(_unknown(name, installed, where, "backend"), subject=name[:64])


def unknown_extension_error(name: str, installed: Iterable[str]) -> UnknownExtensionError:
    """Return the error for an extension name that is not installed; it suggests a similar name."""
    return UnknownExtensionError(_unknown(name, installed, "extensions", "extension"), subject=name)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence that suggests a similar name; "" if there is none."""
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.5)
    return f'; did you mean "{near[0]}"?' if near else ""


def _unknown(name: str, installed: Iterable[str], where: str, kind: str) -> str:
    names = sorted(installed)
    return (
        f'invalid value for feature flag "{where}": "{name:.64}" is no installed {kind} '
        f"(installed: {', '.join(names) or 'none'}){did_you_mean(name[:64], names)}"
    )


def _names(key: str, data: Mapping[str, str]) -> frozenset[str]:
    """Parse a flag that is a comma-separated list of names."""
    return frozenset(name.strip().lower() for name in data.get(key, "").split(",")) - {""}


def _max_result_size(text: str) -> int:
    """Return the flag's value in bytes, under the rules of TEP-0127, Size Limit."""
    text = text.strip()
    if not text:
        return DEFAULT_RESULT_BYTES
    # int() takes "1_000", "٣" and " 5 "; the flag is an integer as Go's strconv.Atoi reads it.
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or not digits.strip("0"):
        raise FlagError(
            f'invalid value for feature flag "max-result-size": "{text}" is not a whole number of bytes, '
            f"1 to {OBJECT_BYTES}",
            subject="max-result-size",
        )
    size = int(digits.lstrip("0")[: len(str(OBJECT_BYTES)) + 1])  # more digits say only "too large"
    if size > OBJECT_BYTES:
        log.error(
            'feature flag "max-result-size": %s is over what an API object can hold (%d bytes); '
            "using the default %d",
            text[:40],
            OBJECT_BYTES,
            DEFAULT_RESULT_BYTES,
        )
        return DEFAULT_RESULT_BYTES
    return size


def _is_true(key: str, data: Mapping[str, str]) -> bool:
    """Return whether a boolean flag is set, as Go reads it (``strconv.ParseBool``)."""
    text = data.get(key, "").strip()
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("", "0", "f", "F", "false", "FALSE", "False"):
        return False
    raise FlagError(
        f'invalid value for feature flag "{key}": "{text[:40]}" is neither true nor false', subject=key
    )


def _one_of(key: str, data: Mapping[str, str], choices: tuple[Any, ...]) -> Any:
    text = data.get(key, "").strip().lower()
    if not text:
        return choices[0]
    if text not in choices:
        raise FlagError(
            f'invalid value for feature flag "{key}": "{text}" is not one of {", ".join(choices)}',
            subject=key,
        )
    return text


def _config(key: str, text: str) -> Mapping[str, Any]:
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date 2026-13-45
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        raise FlagError(f'feature flag "{key}" is not YAML{where}', subject=key) from error
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise FlagError(f'feature flag "{key}" is not a mapping of option names to values', subject=key)
    return value
