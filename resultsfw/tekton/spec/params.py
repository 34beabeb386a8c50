"""Parameters of a Task or Pipeline: their types, their values in a run, and the variables that name them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from resultsfw.cluster import Object
from resultsfw.errors import ResultsError
from resultsfw.references import MARK
from resultsfw.tekton.spec.expansion import Budget, Expansion, Lookup
from resultsfw.tekton.spec.variables import (
    array_index,
    contains_variable,
    escape_protection,
    map_texts,
    protect_unless_live,
    unprotect,
    variables_in,
)
from resultsfw.types import Value

__all__ = [
    "LITERAL_ANNOTATION",
    "Name",
    "ParamError",
    "Params",
    "given_params",
    "given_texts",
    "has_references",
    "is_reference",
    "param_type",
    "param_value",
    "parse_name",
    "value_type",
]

LITERAL_ANNOTATION: Final = "resultsfw.dev/literal-variables"
"""On a TaskRun that a PipelineRun made: values in its texts have ``$(~name)`` where they hold ``$(name)``, so
that they are not read as variables (`resultsfw.tekton.spec.variables.protect`)."""

_MOST_DOTS: Final = 8
"""Dots of a name up to which it is tried as ``params.OBJECT.KEY`` at each of them."""


class ParamError(ResultsError):
    """Defaults of parameters name each other in a circle."""

    code = "ParameterInvalid"


@dataclass(frozen=True, slots=True)
class Name:
    """A variable that names a parameter, taken apart.

    Attributes:
        base: What follows ``params.``, or is quoted: a parameter's name, perhaps ``OBJECT.KEY``.
        suffix: The part in brackets after it, ``*`` or an index, or a key behind quotes and a dot; empty
            if nothing does.
        quoted: The name stood in quotes, so that ``base`` is all of it.
    """

    base: str
    suffix: str = ""
    quoted: bool = False


def parse_name(variable: str) -> Name | None:
    """Take a variable's name apart; ``None`` if it does not name a parameter.

    ``params.a``, ``params["a"]``, ``params['a']`` and ``inputs.params.a``, each also with ``[*]``, ``[0]`` or
    ``.key`` behind it.
    """
    rest = variable.removeprefix("inputs.")
    if not rest.startswith("params"):
        return None
    rest = rest[len("params") :]
    if rest[:2] in ('["', "['"):
        close = rest.find(f"{rest[1]}]", 2)
        if close < 0:
            return None
        return Name(rest[2:close], _suffix(rest[close + 2 :]), quoted=True)
    if rest[:1] != ".":
        return None
    base, bracket, suffix = rest[1:].rpartition("[")
    if bracket and suffix.endswith("]"):
        return Name(base, suffix[:-1])
    return Name(rest[1:])


def _suffix(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1]
    return text if text.startswith(".") or not text else "?"


def is_reference(value: Any) -> TypeGuard[dict[str, str]]:
    """Return whether a parameter's value is a reference to a result that is kept elsewhere."""
    return isinstance(value, dict) and MARK in value


def has_references(taskrun: Object) -> bool:
    """Return whether a parameter of a run is such a reference."""
    params = (taskrun.get("spec") or {}).get("params") or ()
    return any(is_reference(param.get("value")) for param in params)


def given_params(run: Object) -> list[tuple[str, Any]]:
    """Return the names and values of the parameters that a run is given, as their author means them."""
    literal = LITERAL_ANNOTATION in (run["metadata"].get("annotations") or {})
    pairs = [(param["name"], param.get("value")) for param in (run.get("spec") or {}).get("params") or ()]
    return [(name, unprotect(value)) for name, value in pairs] if literal else pairs


def given_texts(run: Object) -> list[tuple[str, Any]]:
    """Return what `given_params` does, in the form that `unprotect` gives back."""
    pairs = [(param["name"], param.get("value")) for param in (run.get("spec") or {}).get("params") or ()]
    if LITERAL_ANNOTATION in (run["metadata"].get("annotations") or {}):
        return pairs
    return [(name, value if is_reference(value) else escape_protection(value)) for name, value in pairs]


def param_value(value: Any) -> str | list[str] | dict[str, str]:
    """Return a parameter's value as Tekton decodes it: what holds more than strings is its JSON text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(element, str | None) for element in value):
        return [element or "" for element in value]
    if isinstance(value, dict) and all(isinstance(element, str | None) for element in value.values()):
        return {key: element or "" for key, element in value.items()}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def value_type(value: Any) -> str:
    """Return the type of a decoded parameter value: string, array or object."""
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "string"


def param_type(param: Object) -> str:
    """Return the type of a declared parameter, as declared or as Tekton infers it."""
    if param.get("type"):
        return str(param["type"])
    if param.get("properties") is not None:
        return "object"
    return value_type(param_value(param.get("default")))


class Params:
    """The values of a run's parameters: what it is given, and defaults for the rest.

    A value that is given is data: of its variables only those stay alive that a later pass knows (contexts,
    paths of workspaces and results), the others are its text (`resultsfw.tekton.spec.variables.protect`).

    A default is written by the author of the Task or Pipeline: it may name other parameters, in any order,
    and gets the values they have in this run. Tekton gives a Task's default the other's default instead
    (``replacementsFromDefaultParams``), and a Pipeline's the value, as here.

    A parameter whose value is a reference to a result has no value here: it is put in when it has been read.

    Args:
        declared: ``spec.params`` of the Task or Pipeline.
        given: Names and values of the run's own, in the form that `resultsfw.tekton.spec.variables.unprotect`
            gives back (`given_texts`).
        live: Says which variables a later pass may know.
        budget: For defaults that name others.

    Raises:
        ParamError: Defaults name each other in a circle.
        TooLargeError: Defaults grow beyond what one object holds.
    """

    def __init__(
        self,
        declared: Sequence[Object],
        given: Sequence[tuple[str, Any]],
        live: Callable[[str], bool] = lambda _: False,
        budget: Budget | None = None,
    ) -> None:
        later = {name for name, value in given if is_reference(value)}
        self.names = {param["name"] for param in declared} | {name for name, _ in given}
        """The names of all parameters, declared or given."""
        self._values: dict[str, Value] = {
            name: map_texts(param_value(value), lambda text: protect_unless_live(text, live))
            for name, value in given
            if name not in later
        }
        self.are_given_variables = any(map(contains_variable, self._values.values()))
        """Whether a value that the run is given holds variables."""
        self._budget = budget or Budget()
        self._with_variables: dict[int, bool] = {}
        self._resolve(
            {
                param["name"]: param_value(param["default"])
                for param in declared
                if param.get("default") is not None
                and param["name"] not in later
                and not isinstance(self._values.get(param["name"]), str | list)
            }
        )

    def lookup(self, later: Lookup | None = None) -> Lookup:
        """Return a lookup for the variables that name parameters, or parts of them.

        Args:
            later: Knows the variables of later passes; those in values are replaced, too.
        """
        if later is None:
            return self._find

        def lookup(variable: str) -> Value | None:
            found = self._find(variable)
            if found is None or not self._is_read(found):
                return found
            expansion = Expansion(later, Budget())
            replaced: Value = map_texts(found, lambda text: expansion.text(text, variable))
            return replaced

        return lookup

    def _is_read(self, value: Value) -> bool:
        """Return whether a value may hold variables; an array or object is gone through once."""
        if isinstance(value, str):
            return "$(" in value
        known = self._with_variables.get(id(value))
        if known is None:
            known = self._with_variables[id(value)] = contains_variable(value)
        return known

    def _find(self, variable: str) -> Value | None:
        """Return the value of a variable."""
        name = parse_name(variable)
        if name is None:
            return None
        value = self._values.get(name.base)
        if not name.suffix and value is not None:
            return value
        if name.suffix == "*":
            return None if isinstance(value, str) else value
        if isinstance(value, list) and name.suffix.isascii() and name.suffix.isdecimal():
            index = array_index(name.suffix)
            return value[index] if index < len(value) else None
        if isinstance(value, dict) and name.quoted and name.suffix.startswith("."):
            return value.get(name.suffix[1:])
        if value is None and not name.suffix and not name.quoted:
            keys = (self._key(name.base, at) for at in _dots(name.base))
            return next((found for found in keys if found is not None), None)
        return None

    def _key(self, base: str, dot: int) -> str | None:
        value = self._values.get(base[:dot])
        return value.get(base[dot + 1 :]) if isinstance(value, dict) else None

    def _needed(self, value: Value, defaults: Mapping[str, Value]) -> set[str]:
        """Return the parameters with a default that a default names."""
        found: set[str] = set()
        for variable in variables_in(value):
            name = parse_name(variable)
            if name is None:
                continue
            whole = name.quoted or name.base in self._values or name.base in defaults
            bases = (name.base,) if whole else (name.base[:at] for at in _dots(name.base))
            found.update(base for base in bases if base in defaults)
        return found

    def _resolve(self, defaults: Mapping[str, Value]) -> None:
        """Put into each default what the parameters it names have in this run, those first."""
        needs = {name: self._needed(value, defaults) for name, value in defaults.items()}
        for name in _ordered(needs):
            given, default = self._values.get(name), defaults[name]
            if contains_variable(default):
                default = Expansion(self._find, self._budget).value(default, f"default of parameter {name}")
            if isinstance(given, dict) and isinstance(default, dict):
                self._values[name] = {**default, **given}
            elif given is None:
                self._values[name] = default


def _dots(base: str) -> list[int]:
    """Return where ``OBJECT.KEY`` may be parted; nowhere in a name with more dots than any has."""
    if base.count(".") > _MOST_DOTS:
        return []
    return [at for at, character in enumerate(base) if character == "."]


def _ordered(needs: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield the names of a graph, each after those it needs.

    Raises:
        ParamError: They need each other.
    """
    waiting = {name: len(needed) for name, needed in needs.items()}
    followers: dict[str, list[str]] = {name: [] for name in needs}
    for name, needed in needs.items():
        for other in needed:
            followers[other].append(name)
    ready = [name for name, count in waiting.items() if count == 0]
    done = 0
    while ready:
        name = ready.pop()
        done += 1
        yield name
        for follower in followers[name]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                ready.append(follower)
    if done < len(needs):
        circle = sorted(name for name, count in waiting.items() if count)
        shown = ", ".join(f'"{name}"' for name in circle[:10])
        raise ParamError(
            f"the defaults of parameters name each other in a circle: {shown}; give one of them a value "
            f"without variables",
            subject=circle[0],
        )
