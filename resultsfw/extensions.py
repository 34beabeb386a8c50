"""Extensions: observers of what becomes of runs, and wrappers around the hooks of whichever backend there is.

What the operator names is loaded, and nothing else. It is a class, made with its own validated ``Config``; a
module or an object will do where there is none. Hooks of its own part of the contract it implements plainly:
one that fails is logged, and the others still hear. A backend's hooks it can only wrap
(``@hookimpl(wrapper=True)``): one that fails there fails as the backend does, by name, because a wrapper that
is passed over would let through what it is there to change. What the backend raised stays raised.

A value passes through wrappers in name order, the first is the closest to the backend. They see what the
backend sees of this one run, but its ``config``.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from pydantic import BaseModel

from resultsfw.errors import BrokenExtensionError, ExtensionError, ResultsError
from resultsfw.flags import unknown_extension_error
from resultsfw.options import NoConfig, PluginFault, get_config_type, validate_config
from resultsfw.plugins import (
    EXTENSIONS,
    Hooks,
    check_api_version,
    describe_location,
    find_claims,
    find_hooks,
    import_plugin,
    warn_of_deprecations,
)
from resultsfw.types import Extraction

__all__ = ["OBSERVERS", "Extension", "load_extension", "load_extensions", "make_extension"]

log = logging.getLogger(__name__)

OBSERVERS: Final = frozenset({"results_collected", "collection_failed"})
"""Hooks that only watch. All others are the backend's."""

_RETURNS: Final[Mapping[str, type]] = {"prepare_pod": int, "pod_ready": bool, "extract": Extraction}


@dataclass(frozen=True, slots=True)
class Extension:
    """A loaded extension.

    Attributes:
        name: In its entry-point group, and in the flag.
        hooks: What stands around a backend: its hooks, guarded. For a plugin manager.
        implements: Names of its hooks.
        config_type: Of its options.
        changes_results: Whether it may change what is extracted, so that what containers say of their
            results themselves must not be repeated elsewhere.
    """

    name: str
    hooks: object
    implements: tuple[str, ...]
    config_type: type[BaseModel]
    changes_results: bool


def load_extensions(
    allowed: Iterable[str], config: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Extension]:
    """Import the allow-listed extensions, in name order, each with its own options.

    Raises:
        UnknownExtensionError: Nothing installed has one of the names.
        BrokenExtensionError: One cannot be loaded; the message names distribution, version, file and reason.
        FlagError: The options of one are refused.
    """
    return {name: load_extension(name, (config or {}).get(name, {})) for name in sorted(set(allowed))}


def load_extension(name: str, options: Mapping[str, Any] | None = None) -> Extension:
    """Import one extension; raises what `load_extensions` raises.

    Args:
        name: In the group ``resultsfw.extensions``.
        options: As ``config.NAME`` has them. ``None``: it is checked, and not made.
    """
    claims, names = find_claims(EXTENSIONS, name)
    if not claims:
        raise unknown_extension_error(name, names)
    try:
        plugin = import_plugin(EXTENSIONS, name, claims)
    except PluginFault as fault:
        raise _broken(name, claims[0].origin, fault) from fault.__cause__
    return make_extension(name, plugin, options, origin=claims[0].origin)


def make_extension(
    name: str, plugin: object, options: Mapping[str, Any] | None = None, *, origin: str = ""
) -> Extension:
    """Check a class, module or object against the contract and make an `Extension` of it.

    Raises:
        BrokenExtensionError: It does not keep the contract; the message says where and why.
        FlagError: Its options are refused.
    """
    where = origin or describe_location(plugin)
    try:
        check_api_version(getattr(plugin, "api_version", 1))
        config_type = get_config_type(plugin)
        if options is not None:
            plugin = _made(name, plugin, validate_config(name, config_type, options))
        hooks = find_hooks(plugin)
        _check(hooks)
    except PluginFault as fault:
        raise _broken(name, where, fault) from fault.__cause__
    except ResultsError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(name, where, PluginFault(f"{type(error).__name__}: {error}")) from error
    warn_of_deprecations(f'extension "{name}" ({where})', hooks)
    changes = "extract" in hooks and bool(getattr(plugin, "changes_results", True))
    functions = {
        hook: impl.function if hook in OBSERVERS else _guarded(name, hook, impl.function, changes=changes)
        for hook, impl in hooks.items()
    }
    return Extension(name, SimpleNamespace(**functions), tuple(sorted(hooks)), config_type, changes)


def _made(name: str, plugin: object, config: BaseModel) -> object:
    """The extension itself, made with its options where it has any."""
    if inspect.isclass(plugin):
        make: Callable[..., object] = plugin
        return make() if isinstance(config, NoConfig) else make(config)
    if not isinstance(config, NoConfig):
        raise PluginFault(f"its `Config` is for nobody: it must be a class, to be made with config.{name}")
    return plugin


def _check(hooks: Hooks) -> None:
    """Raise `PluginFault` for hooks that an extension cannot implement so."""
    if not hooks:
        raise PluginFault("it implements no hook")
    for name, impl in hooks.items():
        if name in OBSERVERS and (impl.wrapper or impl.hookwrapper):
            raise PluginFault(f"{name} is there to be heard, not to be wrapped: leave `wrapper=True` out")
        if name not in OBSERVERS and not impl.wrapper:
            raise PluginFault(f"{name} is the backend's: an extension wraps it by @hookimpl(wrapper=True)")
        if impl.tryfirst or impl.trylast:
            raise PluginFault(f"{name} is marked tryfirst or trylast: extensions are called in name order")
        if "config" in impl.argnames:
            raise PluginFault(
                f"{name} asks for `config`, which is the backend's; an extension is made with its own"
            )


def _broken(name: str, where: str, why: PluginFault) -> BrokenExtensionError:
    return BrokenExtensionError(f'extension "{name}" ({where}) cannot be used: {why}', subject=name)


def _failed(name: str, hook: str, why: str, error: BaseException | None = None) -> ExtensionError:
    log.error("extension %r failed in %s: %s", name, hook, why, exc_info=error)
    return ExtensionError(f'extension "{name}" failed in {hook}: {why}', subject=name)


def _guarded(name: str, hook: str, function: Callable[..., Any], *, changes: bool) -> Callable[..., Any]:
    """A wrapper whose own failures carry its name, and that can hide none of the backend's."""

    @functools.wraps(function)
    def guarded(*arguments: Any) -> Generator[None, Any, Any]:
        given: Any = None
        theirs: BaseException | None = None
        with _blaming(name, hook):
            around = function(*arguments)
            next(around, None)
        try:
            given = yield
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            theirs = error
        pieces = _Pieces(given) if hook == "dereference" and given is not None else None
        try:
            with _blaming(name, hook, but=theirs):
                if theirs is not None:
                    around.throw(theirs)
                else:
                    around.send(given if pieces is None else pieces)
                around.close()
                raise _failed(name, hook, "it yields twice")
        except StopIteration as end:
            if theirs is not None:
                raise theirs  # noqa: B904 - what was raised first is what happened
            return _fitting(name, hook, given, end.value, pieces, changes=changes)

    return guarded


@contextmanager
def _blaming(name: str, hook: str, *, but: BaseException | None = None) -> Iterator[None]:
    """What foreign code raises within it carries the extension's name; ``but`` is not its own."""
    try:
        yield
    except (ResultsError, StopIteration):
        raise
    except (Exception, SystemExit) as error:
        if error is but:
            raise
        raise _failed(name, hook, type(error).__name__, error) from error


def _fitting(
    name: str, hook: str, given: Any, returned: Any, pieces: "_Pieces | None", *, changes: bool
) -> Any:
    """What a wrapper returned, if it is of the kind that the hook returns."""
    if pieces is not None:
        return _named(name, returned, pieces)
    wanted = _RETURNS.get(hook)
    if wanted is not None and isinstance(given, wanted) and not isinstance(returned, wanted):
        why = f"it returned {type(returned).__name__} where the backend returned {type(given).__name__}"
        raise _failed(name, hook, why)
    if hook == "prepare_pod" and returned != given:
        raise _failed(name, hook, "it changed the wire version, by which the backend reads the pod")
    if hook == "extract" and not changes and returned is not given:
        raise _failed(name, hook, "it says changes_results = False and changed them")
    return returned


class _Pieces:
    """The pieces of a value as they come from the backend; knows what was raised there."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except Exception as error:
            self.error = error
            raise


def _named(name: str, returned: Any, pieces: _Pieces) -> Iterator[bytes]:
    """The pieces a wrapper hands on; what it raises between them carries its name."""
    try:
        yield from returned
    except ResultsError:
        raise
    except (Exception, SystemExit) as error:
        if error is pieces.error:
            raise
        raise _failed(name, "dereference", type(error).__name__, error) from error
