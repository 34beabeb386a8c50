"""Load extensions: observers of results, and wrappers around the hooks of any backend.

Only extensions that the operator lists are loaded. An extension is a class, created with its validated
``Config``; without options a module or an object will do.

- An observer hook is implemented plainly. If it fails, the failure is logged and the other observers are
  called.
- ``pod_created`` and ``attest_status`` are implemented plainly by the extension that verifies signatures. If
  one fails, the run does not go on as if it had succeeded. Such an extension has ``verifies_results = True``,
  and no other extension may change results: they would not be those that were signed.
- A backend's hook can only be wrapped (``@hookimpl(wrapper=True)``). If a wrapper fails, the hook fails with
  an error that names the extension: ignoring the failure would let a value pass unchanged. A wrapper cannot
  suppress an exception of the backend.
- ``close`` is called once no hook of the instance runs any more.

Wrappers are applied in name order; the first is the closest to the backend. They get the backend's arguments,
except its ``config``.
"""

import functools
import inspect
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import pluggy
from pydantic import BaseModel

from resultsfw.errors import BrokenExtensionError, ExtensionError, FlagError, ResultsError
from resultsfw.flags import unknown_extension_error
from resultsfw.hook_returns import return_fault
from resultsfw.options import NoConfig, PluginFault, get_config_type, instantiate, validate_config
from resultsfw.plugin_failures import INTERRUPTS, is_programming_error, traceback_in_plugin
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
from resultsfw.types import Capabilities, Extraction, Permission

__all__ = [
    "ATTESTING",
    "OBSERVERS",
    "Extension",
    "close_extensions",
    "load_extension",
    "load_extensions",
    "make_extension",
]

log = logging.getLogger(__name__)

OBSERVERS: Final = frozenset({"results_collected", "collection_failed"})
"""Hooks of observers."""

ATTESTING: Final = frozenset({"pod_created", "attest_status"})
"""Hooks of the extension that verifies signatures. All hooks but these, the observers' and ``close`` are the
backend's."""

_PLAIN: Final = OBSERVERS | ATTESTING

_CLOSE: Final = "close"

_IN_PIECES: Final = frozenset({"dereference", "decrypt"})
"""Hooks that yield a value."""

_NO_BACKEND: Final = Capabilities(summary="")

_RETURNS: Final[Mapping[str, type]] = {"prepare_pod": int, "pod_ready": bool, "extract": Extraction}


@dataclass(frozen=True, slots=True)
class Extension:
    """A loaded extension.

    Attributes:
        name: Name of the entry point, and in the flag.
        hooks: An object with its guarded hooks, to register with a backend's plugin manager.
        implements: Names of its hooks.
        config_type: The model of its options.
        changes_results: Whether it may change results. Termination messages must then not be copied into a
            status, since they contain the unchanged results.
        verifies_results: Whether it compares results with what was signed in the pod.
        permissions: Permissions that the controller needs for it.
        close: Its hook ``close``; ``None`` without one, and if somebody else created the instance.
        plugin: The instance, module or object that implements the hooks.
    """

    name: str
    hooks: object
    implements: tuple[str, ...]
    config_type: type[BaseModel]
    changes_results: bool
    close: Callable[[], object] | None = None
    plugin: object = None
    verifies_results: bool = False
    permissions: tuple[Permission, ...] = ()


def load_extensions(
    allowed: Iterable[str],
    config: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    registered: Mapping[str, object] | None = None,
) -> dict[str, Extension]:
    """Load the allow-listed and the registered extensions in name order, each with its own options.

    Args:
        allowed: Names of installed extensions.
        config: Options by name.
        registered: Extensions without an entry point, by name: classes, modules or objects.

    Raises:
        UnknownExtensionError: One of them is not installed.
        BrokenExtensionError: One cannot be loaded; the message names distribution, version, file and reason.
        FlagError: The options of one are rejected.
    """
    by_hand = registered or {}
    loaded: dict[str, Extension] = {}
    try:
        for name in sorted({*allowed, *by_hand}):
            options = (config or {}).get(name, {})
            loaded[name] = (
                make_extension(name, by_hand[name], options)
                if name in by_hand
                else load_extension(name, options)
            )
        _refuse_changes_of_signed(loaded.values())
    except BaseException:
        close_extensions(loaded.values())
        raise
    return loaded


def _refuse_changes_of_signed(extensions: Iterable[Extension]) -> None:
    """Refuse an extension that changes results beside one that verifies their signatures.

    Raises:
        FlagError: The message names both.
    """
    loaded = list(extensions)
    for verifier in [extension for extension in loaded if extension.verifies_results]:
        for other in loaded:
            if other is not verifier and (other.changes_results or other.verifies_results):
                raise FlagError(
                    f'the extensions "{verifier.name}" and "{other.name}" exclude each other: the first '
                    f"compares results with what was signed in the pod, and the second may change them; "
                    f'remove one from the feature flag "extensions"',
                    subject="extensions",
                )


def close_extensions(extensions: Iterable[Extension]) -> threading.Event:
    """Close extensions, in the background; return an event that is set when all of them are closed.

    A failure is logged, and the others are still closed.
    """
    done = threading.Event()
    closing = [extension for extension in extensions if extension.close is not None]

    def close() -> None:
        for extension in closing:
            try:
                extension.close()  # type: ignore[misc] # only those that have it
            except BaseException:
                log.exception("extension %r failed in close; it is ignored", extension.name)
        done.set()

    if closing:
        # Daemon threads do not keep the process from exiting if an extension never returns.
        threading.Thread(target=close, name="close-extensions", daemon=True).start()
    else:
        done.set()
    return done


def load_extension(name: str, options: Mapping[str, Any] | None = None) -> Extension:
    """Import one extension; raises what `load_extensions` raises.

    Args:
        name: The extension's name.
        options: The options of ``config.NAME``. ``None``: check the extension without creating it.
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
    """Check a class, module or object against the contract and return it as an `Extension`.

    Raises:
        BrokenExtensionError: It violates the contract; the message says where and how.
        FlagError: Its options are rejected.
    """
    where, is_class = origin or describe_location(plugin), inspect.isclass(plugin)
    try:
        check_api_version(getattr(plugin, "api_version", 1))
        config_type = get_config_type(plugin)
        if options is not None:
            plugin = _create(name, plugin, config_type, options, by_hand=not origin)
        hooks = find_hooks(plugin)
        changes_results = getattr(plugin, "changes_results", True)
        verifies_results = getattr(plugin, "verifies_results", False)
        _check_hooks(
            hooks,
            changes_results=changes_results,
            verifies_results=verifies_results,
            may_close=is_class or not origin,
        )
        permissions = _permissions_of(plugin)
    except PluginFault as fault:
        raise _broken(name, where, fault) from fault.__cause__
    except ResultsError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(name, where, PluginFault(f"{type(error).__name__}: {error}")) from error
    warn_of_deprecations(f'extension "{name}" ({where})', hooks)
    changes = "extract" in hooks and changes_results
    functions = {
        hook: impl.function if hook in OBSERVERS else _guard(name, hook, impl.function, changes=changes)
        for hook, impl in hooks.items()
        if hook != _CLOSE and hook not in ATTESTING
    }
    functions |= {
        hook: _guard_plain(name, hook, impl.function) for hook, impl in hooks.items() if hook in ATTESTING
    }
    close = hooks[_CLOSE].function if is_class and options is not None and _CLOSE in hooks else None
    guarded = SimpleNamespace(**functions)
    return Extension(
        name,
        guarded,
        tuple(sorted(hooks)),
        config_type,
        changes_results=changes,
        close=close,
        plugin=plugin,
        verifies_results=verifies_results,
        permissions=permissions,
    )


def _permissions_of(plugin: object) -> tuple[Permission, ...]:
    """Return the permissions that a plugin declares; raise `PluginFault` if they have another type."""
    permissions = getattr(plugin, "permissions", ())
    if not isinstance(permissions, tuple) or not all(isinstance(entry, Permission) for entry in permissions):
        raise PluginFault("its `permissions` is not a tuple of Permission")
    return permissions


def _create(
    name: str, plugin: object, config_type: type[BaseModel], options: Mapping[str, Any], *, by_hand: bool
) -> object:
    """Create the extension with its options, if it is a class."""
    if inspect.isclass(plugin):
        config = validate_config(name, config_type, options)
        return instantiate(plugin) if isinstance(config, NoConfig) else instantiate(plugin, config)
    if config_type is NoConfig:
        validate_config(name, config_type, options)
    elif options or not by_hand:  # an object by hand was created with its options
        raise PluginFault(f"its `Config` is never used: it must be a class, to be created with config.{name}")
    return plugin


def _check_hooks(hooks: Hooks, *, changes_results: object, verifies_results: object, may_close: bool) -> None:
    """Raise `PluginFault` for a hook that an extension may not implement in that form."""
    if not hooks.keys() - {_CLOSE}:
        raise PluginFault("it implements no hook" + (f" but {_CLOSE}" if hooks else ""))
    if not isinstance(changes_results, bool):
        raise PluginFault(f"its `changes_results` is {changes_results!r:.80} and neither True nor False")
    if not isinstance(verifies_results, bool):
        raise PluginFault(f"its `verifies_results` is {verifies_results!r:.80} and neither True nor False")
    if not verifies_results and (attesting := sorted(ATTESTING & hooks.keys())):
        raise PluginFault(f"it implements {attesting[0]} and does not say `verifies_results = True`")
    if _CLOSE in hooks and not may_close:
        raise PluginFault(f"it implements {_CLOSE} and is no class: resultsfw closes what it created itself")
    for name, impl in hooks.items():
        _check_form(name, impl)


def _check_form(name: str, impl: pluggy.HookImpl) -> None:
    """Raise `PluginFault` for a hook that is not implemented as extensions implement it."""
    is_wrapper = impl.wrapper or impl.hookwrapper
    if name == _CLOSE and is_wrapper:
        raise PluginFault(f"{name} is no hook of backends and cannot be a wrapper: remove `wrapper=True`")
    if name in _PLAIN and is_wrapper:
        kind = "an observer hook" if name in OBSERVERS else "a hook of extensions alone"
        raise PluginFault(f"{name} is {kind} and cannot be a wrapper: remove `wrapper=True`")
    if name not in (*_PLAIN, _CLOSE) and not impl.wrapper:
        raise PluginFault(f"{name} is a hook of backends: an extension wraps it with @hookimpl(wrapper=True)")
    if impl.tryfirst or impl.trylast:
        raise PluginFault(f"{name} is marked tryfirst or trylast: extensions are called in name order")
    if "config" in impl.argnames:
        raise PluginFault(
            f"{name} asks for `config`, which is the backend's; an extension is created with its own"
        )


def _broken(name: str, where: str, why: PluginFault) -> BrokenExtensionError:
    return BrokenExtensionError(f'extension "{name}" ({where}) cannot be used: {why}', subject=name)


def _failed(name: str, hook: str, why: str, error: BaseException | None = None) -> ExtensionError:
    """Return the error for a failure; without an exception it broke the contract."""
    where = traceback_in_plugin(error) if error is not None else None
    log.error("extension %r failed in %s: %s", name, hook, why, exc_info=where)
    return ExtensionError(
        f'extension "{name}" failed in {hook}: {why}',
        subject=name,
        final=error is None or is_programming_error(error),
    )


def _guard_plain(name: str, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook of extensions alone, whose failures and wrong returned values name the extension."""

    @functools.wraps(function)
    def guarded(*arguments: Any) -> Any:
        with _naming(name, hook):
            returned = function(*arguments)
        fault = return_fault(hook, returned, backend="", capabilities=_NO_BACKEND, arguments={})
        if fault is not None:
            raise _failed(name, hook, fault[1])
        return returned

    return guarded


def _guard(name: str, hook: str, function: Callable[..., Any], *, changes: bool) -> Callable[..., Any]:
    """Return a wrapper whose own failures name the extension, and that cannot hide the backend's."""

    @functools.wraps(function)
    def guarded(*arguments: Any) -> Generator[None, Any, Any]:
        given: Any = None
        backend_error: BaseException | None = None
        with _naming(name, hook):
            around = function(*arguments)
            next(around, None)
        try:
            given = yield
        except BaseException as error:  # noqa: BLE001 - raised again below
            backend_error = error
        pieces = _Pieces(given) if hook in _IN_PIECES and given is not None else None
        try:
            with _naming(name, hook, but=backend_error):
                if backend_error is not None:
                    around.throw(backend_error)
                else:
                    around.send(given if pieces is None else pieces)
                around.close()
                raise _failed(name, hook, "it yields twice")
        except StopIteration as end:
            if backend_error is not None:
                raise backend_error  # noqa: B904 - the first exception is the cause
            return _check_returned(name, hook, given, end.value, pieces, changes=changes)

    return guarded


@contextmanager
def _naming(name: str, hook: str, *, but: BaseException | None = None) -> Iterator[None]:
    """Convert what the extension raises within the block into an error that names it.

    ``but`` is an exception of the backend: it is passed on unchanged.
    """
    try:
        yield
    except (ResultsError, StopIteration, *INTERRUPTS):
        raise
    except BaseException as error:
        if error is but:
            raise
        raise _failed(name, hook, type(error).__name__, error) from error


def _check_returned(
    name: str, hook: str, given: Any, returned: Any, pieces: "_Pieces | None", *, changes: bool
) -> Any:
    """Return what a wrapper returned, after checking that the hook may return it."""
    if pieces is not None:
        return _guarded_pieces(name, hook, returned, pieces)
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
    """Yields the pieces of a value from the backend, and remembers an exception of the backend."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except BaseException as error:
            self.error = error
            raise


def _guarded_pieces(name: str, hook: str, returned: Any, pieces: _Pieces) -> Iterator[bytes]:
    """Yield the pieces that a wrapper returns; what it raises between them becomes an error that names it."""
    try:
        yield from returned
    except (ResultsError, *INTERRUPTS):
        raise
    except BaseException as error:
        if error is pieces.error:
            raise
        raise _failed(name, hook, type(error).__name__, error) from error
