"""Check a parsed CEL expression before it is evaluated: its types, as cel-go does, and what it costs at most.

Without variables the size of every value is known, and so is how often the body of a macro is evaluated. What
costs too much is refused before any of it is evaluated. Messages are cel-go's where it has them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lark import Token, Tree

from resultsfw.cel.errors import CelError
from resultsfw.cel.functions import function_type, method_type, operator_type
from resultsfw.cel.types import ANY, BOOL, DOUBLE, INT, NULL, TYPE, UINT, Type, joined

__all__ = ["MOST_COST", "MOST_LEVELS", "MOST_SIZE", "Checker"]

MOST_COST: Final = 5_000
"""Nodes of the tree that are evaluated; the library takes about ten microseconds for each."""

MOST_SIZE: Final = 1 << 18
"""Characters and elements of one value, and of all that one node compares or searches."""

MOST_LEVELS: Final = 120
"""Of the tree: Python's stack has room for them."""

_SIZE_OF_NODE: Final = 1 << 12
"""Characters that cost as much as a node."""

_MATCHES_COST: Final = 100
_MOST_PATTERN: Final = 1024
_MACROS: Final = ("all", "exists", "exists_one", "filter", "map")
_OPERATORS: Final[Mapping[str, str]] = {
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_in": "in",
    "addition_add": "+",
    "addition_sub": "-",
    "multiplication_mul": "*",
    "multiplication_div": "/",
    "multiplication_mod": "%",
}
_TYPE_NAMES: Final = frozenset(
    ("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint")
)

_LITERALS: Final = {"BOOL_LIT": BOOL, "NULL_LIT": NULL, "INT_LIT": INT, "UINT_LIT": UINT, "FLOAT_LIT": DOUBLE}

Scope = Mapping[str, Type]


class Checker:
    """Checks one expression.

    Args:
        names: Types of the names that stand for strings.
    """

    def __init__(self, names: Scope) -> None:
        self._names = names
        self._cost = 0
        self._leaves: dict[str, Callable[[Tree[Any], Scope, int], Type]] = {
            "literal": self._literal,
            "ident": self._ident,
            "dot_ident": self._ident,
            "list_lit": self._list,
            "map_lit": self._map,
            "ident_arg": self._call,
            "dot_ident_arg": self._call,
            "member_dot": self._select,
            "member_dot_arg": self._method,
            "member_index": self._index,
            "member_object": self._object,
        }

    def check(self, tree: Tree[Any]) -> Type:
        """Return the type of an expression.

        Raises:
            CelError: It is not valid, or costs too much.
        """
        _refuse_deep(tree)
        return self._type(tree, self._names, 1)

    def _type(self, tree: Tree[Any], scope: Scope, times: int) -> Type:
        """Return the type of a node, and add the cost of evaluating it as often as its macros do."""
        self._spend(times)
        children = tree.children
        if tree.data == "expr" and len(children) > 1:
            return self._conditional(children, scope, times)
        if tree.data in ("conditionalor", "conditionaland") and len(children) > 1:
            return self._logical(children, scope, times)
        if tree.data in ("relation", "addition", "multiplication") and len(children) > 1:
            return self._binary(children, scope, times)
        if tree.data == "unary" and len(children) > 1:
            return self._unary(children, scope, times)
        if (leaf := self._leaves.get(tree.data)) is not None:
            return leaf(tree, scope, times)
        return self._type(children[0], scope, times)

    def _spend(self, times: int, size: int = 0) -> None:
        self._cost += times * (1 + size // _SIZE_OF_NODE)
        if self._cost > MOST_COST:
            raise CelError(
                f"the expression costs more than {MOST_COST} steps to evaluate; use shorter lists, or fewer "
                f"nested macros"
            )
        if size > MOST_SIZE:
            raise CelError(f"the expression creates a value of more than {MOST_SIZE} characters and elements")

    def _conditional(self, children: Sequence[Any], scope: Scope, times: int) -> Type:
        condition, first, second = (self._type(child, scope, times) for child in children)
        if not (BOOL.accepts(condition) and first.accepts(second)):
            raise _no_overload("_?_:_", condition, first, second)
        return joined(first, second)

    def _logical(self, children: Sequence[Any], scope: Scope, times: int) -> Type:
        left, right = (self._type(child, scope, times) for child in children)
        for operand in (left, right):
            if not BOOL.accepts(operand):
                raise CelError(f"expected type 'bool' but found '{operand.name}'")
        return BOOL

    def _binary(self, children: Sequence[Any], scope: Scope, times: int) -> Type:
        operation, operand = children
        operator = _OPERATORS[operation.data]
        left = self._type(operation.children[0], scope, times)
        right = self._type(operand, scope, times)
        found = operator_type(operator, left, right)
        if found is None:
            raise _no_overload(f"_{operator}_" if operator != "in" else "@in", left, right)
        self._spend(times, left.size + right.size)
        return found

    def _unary(self, children: Sequence[Any], scope: Scope, times: int) -> Type:
        operation, operand = children
        value = self._type(operand, scope, times)
        if operation.data == "unary_not":
            if not BOOL.accepts(value):
                raise _no_overload("!_", value)
            return BOOL
        if value.kind not in ("int", "double", "dyn"):
            raise _no_overload("-_", value)
        return value

    # The leaves of the grammar's chain of operators.

    def _literal(self, tree: Tree[Any], _scope: Scope, _times: int) -> Type:
        return _LITERALS[getattr(tree.children[0], "type", "")]

    def _ident(self, tree: Tree[Any], scope: Scope, _times: int) -> Type:
        name = str(tree.children[0])
        if name in scope:
            return scope[name]
        if name in _TYPE_NAMES:
            return TYPE
        raise _undeclared(name)

    def _list(self, tree: Tree[Any], scope: Scope, times: int) -> Type:
        elements = [self._type(child, scope, times) for child in _arguments(tree, 0)]
        size = len(elements) + sum(element.size for element in elements)
        made = Type("list", max(size, 1), len(elements), element=_common(elements))
        self._spend(times, made.size)
        return made

    def _map(self, tree: Tree[Any], scope: Scope, times: int) -> Type:
        parts = [self._type(child, scope, times) for child in _arguments(tree, 0)]
        keys, values = parts[::2], parts[1::2]
        for key in keys:
            if key.kind not in ("bool", "int", "uint", "string", "dyn"):
                raise CelError(f"unsupported key type: {key.name}")
        size = len(parts) + sum(part.size for part in parts)
        made = Type("map", max(size, 1), len(keys), _common(keys), _common(values))
        self._spend(times, made.size)
        return made

    def _call(self, tree: Tree[Any], scope: Scope, times: int) -> Type:
        name, arguments = str(tree.children[0]), _arguments(tree, 1)
        if name == "has" and len(arguments) == 1:
            return self._has(arguments[0], scope, times)
        given = [self._type(argument, scope, times) for argument in arguments]
        found = function_type(name, given)
        if found is None:
            raise _no_overload(name, *given) if _is_function(name) else _undeclared(name)
        self._spend_call(name, given, found, times)
        return found

    def _has(self, argument: Tree[Any], scope: Scope, times: int) -> Type:
        """Return the type of ``has(value.key)``."""
        node: Any = argument
        while isinstance(node, Tree) and len(node.children) == 1:
            node = node.children[0]
        if getattr(node, "data", "") != "member_dot":
            raise CelError("invalid argument to has() macro")
        self._type(argument, scope, times)
        return BOOL

    def _method(self, tree: Tree[Any], scope: Scope, times: int) -> Type:
        value = self._type(tree.children[0], scope, times)
        name, arguments = str(tree.children[1]), _arguments(tree, 2)
        if name in _MACROS and len(arguments) == 2:  # noqa: PLR2004 - the name of an element, and the body
            return self._macro(name, value, arguments, scope, times)
        if name in _MACROS:
            raise CelError(f"the macro {name}() takes a name and one expression here")
        given = [self._type(argument, scope, times) for argument in arguments]
        found = method_type(name, value, given)
        if found is None:
            raise _no_overload(name, value, *given) if _is_function(name) else _undeclared(name)
        self._spend_call(name, [value, *given], found, times)
        return found

    def _macro(
        self, name: str, value: Type, arguments: Sequence[Tree[Any]], scope: Scope, times: int
    ) -> Type:
        """Return the type of a macro, whose body is evaluated for each element."""
        if value.kind not in ("list", "map", "dyn"):
            raise CelError(
                f"expression of type '{value.name}' cannot be range of a comprehension (must be list)"
            )
        variable = _variable_name(arguments[0])
        element = (value.key or ANY) if value.kind == "map" else value.item
        inner = {**scope, variable: element}
        body = self._type(arguments[1], inner, times * max(value.count, 1))
        if name != "map" and not BOOL.accepts(body):
            raise CelError(f"expected type 'bool' but found '{body.name}'")
        if name == "map":
            made = Type("list", max(value.count * (1 + body.size), 1), value.count, element=body)
            self._spend(times, made.size)
            return made
        if name == "filter":
            return Type("list", value.size, value.count, element=element)
        return BOOL

    def _select(self, tree: Tree[Any], scope: Scope, times: int) -> Type:
        value = self._type(tree.children[0], scope, times)
        if value.kind == "map" and (value.key is None or value.key.kind in ("string", "dyn")):
            return value.item
        if value.kind == "dyn":
            return value
        raise CelError(f"type '{value.name}' does not support field selection")

    def _index(self, tree: Tree[Any], scope: Scope, times: int) -> Type:
        value, index = (self._type(child, scope, times) for child in tree.children)
        by = INT if value.kind == "list" else (value.key or ANY)
        if value.kind not in ("list", "map", "dyn") or not by.accepts(index):
            raise _no_overload("_[_]", value, index)
        self._spend(times, value.size)
        return value.item

    def _object(self, tree: Tree[Any], _scope: Scope, _times: int) -> Type:
        raise CelError(f"undeclared reference to a type of messages: {_text(tree)}")

    def _spend_call(self, name: str, given: Sequence[Type], found: Type, times: int) -> None:
        if name == "matches":
            if given[-1].size > _MOST_PATTERN:
                raise CelError(f"the pattern of matches() may have more than {_MOST_PATTERN} characters")
            self._spend(times * _MATCHES_COST)
        self._spend(times, found.size + sum(value.size for value in given))


def _refuse_deep(tree: Tree[Any]) -> None:
    """Refuse a tree that is too deep for a recursive check."""
    level: list[Tree[Any]] = [tree]
    for _ in range(MOST_LEVELS):
        level = [child for node in level for child in node.children if isinstance(child, Tree)]
        if not level:
            return
    raise CelError("the expression is nested too deeply")


def _arguments(tree: Tree[Any], at: int) -> list[Tree[Any]]:
    """Return the expressions of a list, map or call: children of the child at a place, if it is there."""
    return list(tree.children[at].children) if len(tree.children) > at else []


def _common(types: Sequence[Type]) -> Type | None:
    """Return the one type of all elements, as large as the largest; ``dyn`` if they have several."""
    found: Type | None = None
    for part in types:
        found = part if found is None else joined(found, part)
    return found


def _variable_name(tree: Tree[Any]) -> str:
    """Return the name of a macro's element."""
    node: Any = tree
    while isinstance(node, Tree) and len(node.children) == 1:
        node = node.children[0]
    if isinstance(node, Token) and node.type == "IDENT":
        return str(node)
    raise CelError("argument must be a simple name")


def _text(tree: Tree[Any]) -> str:
    return " ".join(str(token) for token in tree.scan_values(lambda value: isinstance(value, Token)))[:80]


def _is_function(name: str) -> bool:
    probe = (Type(kind) for kind in ("string", "timestamp", "dyn"))
    return name in _MACROS or any(
        function_type(name, [value]) or method_type(name, value, []) or method_type(name, value, [value])
        for value in probe
    )


def _no_overload(function: str, *given: Type) -> CelError:
    names = ", ".join(value.name for value in given)
    return CelError(f"found no matching overload for '{function}' applied to '({names})'")


def _undeclared(name: str) -> CelError:
    return CelError(f"undeclared reference to '{name[:200]}' (in container '')")
