"""Find and load plugins: the only module that imports stevedore and sets up pluggy."""

import importlib.machinery
import inspect
import logging
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any, get_args, get_type_hints

import pluggy
from pydantic import BaseModel
from stevedore.driver import DriverManager

from resultsfw import hookspecs
from resultsfw.checked_hooks import CheckedHooks
from resultsfw.errors import BrokenBackendError
from resultsfw.flags import did_you_mean, unknown_backend_error
from resultsfw.options import PluginFault, get_config_type, instantiate, validate_config
from resultsfw.plugin_failures import INTERRUPTS
from resultsfw.types import Capabilities

__all__ = [
    "BACKENDS",
    "EXTENSIONS",
    "Backend",
    "Hooks",
    "InstalledPlugin",
    "check_api_version",
    "describe_location",
    "extension_hooks",
    "find_claims",
    "find_hooks",
    "import_plugin",
    "installed_plugins",
    "load_backend",
    "make_backend",
    "warn_of_deprecations",
]

log = logging.getLogger(__name__)

BACKENDS = "resultsfw.backends"
EXTENSIONS = "resultsfw.extensions"


Hooks = Mapping[str, pluggy.HookImpl]
"""The hooks that a plugin implements, by name."""

_FAILURES = (Exception, SystemExit)
"""What foreign code may raise while it is loaded. A module that calls ``sys.exit`` is broken, not fatal."""


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """An entry point, as in its distribution's metadata. Nothing of it is imported."""

    name: str
    target: str
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """Describe the plugin's distribution, version, target and file, for people."""
        file = _file_of_module(self.target.partition(":")[0].strip())
        return f"{self.distribution} {self.version}, {self.target}" + (f", {file}" if file else "")


@dataclass(frozen=True)
class Backend:
    """A loaded backend.

    Attributes:
        name: The backend's name.
        plugin: Its object or module.
        capabilities: Its description of itself.
        config_type: The model of its options.
        extensions: The hooks of the extensions that wrap it, by the extension's name.
    """

    name: str
    plugin: object
    capabilities: Capabilities
    config_type: type[BaseModel]
    extensions: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def _manager(self) -> pluggy.PluginManager:
        manager = _new_manager()
        with _without_warnings():  # deprecations were reported when the plugin was loaded
            # Of two wrappers, pluggy puts the wrapper registered first closer to the backend: no extension
            # sees what was not checked.
            manager.register(CheckedHooks(self.name, self.capabilities), name="checks of returned values")
            for name in sorted(self.extensions):
                manager.register(self.extensions[name], name=f"extension {name}")
            manager.register(self.plugin, name=self.name)
        return manager

    @property
    def hook(self) -> Any:
        """Return pluggy's hook relay: call hooks by name, with keyword arguments."""
        return self._manager.hook

    def configure(self, raw: Mapping[str, Any]) -> BaseModel:
        """Validate the backend's options.

        Raises:
            FlagError: An option is unknown or has an invalid value; the message names each.
        """
        return validate_config(self.name, self.config_type, raw)

    def notify(self, hook: str, **arguments: object) -> None:
        """Call an observer hook of all extensions; a failure is logged and the others are still called."""
        for impl in getattr(self.hook, hook).get_hookimpls():
            wanted = {name: arguments[name] for name in impl.argnames}
            try:
                impl.function(**wanted)
            except INTERRUPTS:
                raise
            except BaseException:
                log.exception("observer %r failed in %s and is ignored", impl.plugin_name, hook)


def installed_plugins(group: str = BACKENDS) -> list[InstalledPlugin]:
    """Return the plugins of an entry-point group, sorted by name, and import none of them.

    A name that two distributions claim is listed for each. Of a distribution that is on the path twice (a
    wheel before an editable install), only the first is listed: Python would import that one.
    """
    found: set[InstalledPlugin] = set()
    for dist in metadata.distributions():
        # Parsing is what takes time: 0.1 s a call for all of several hundred distributions.
        if group not in (dist.read_text("entry_points.txt") or ""):
            continue
        if not dist.entry_points.select(group=group):
            continue
        name, _ = _name_and_version(dist)
        with suppress(metadata.PackageNotFoundError, ValueError):
            dist = metadata.distribution(name)  # noqa: PLW2901 - the first on the path of that name
        name, version = _name_and_version(dist)
        found |= {
            InstalledPlugin(point.name, point.value, name or "nameless", version or "unknown")
            for point in dist.entry_points.select(group=group)
        }
    return sorted(found, key=lambda plugin: (plugin.name, plugin.distribution, plugin.target))


def _name_and_version(dist: metadata.Distribution) -> tuple[str, str]:
    """Return a distribution's name and version; each "" if pip was interrupted and left no metadata.

    ``dist.name`` of such a distribution is None up to Python 3.11, warns from 3.12 on, and is to raise.
    """
    try:
        fields = dist.metadata
    except FileNotFoundError:  # from Python 3.15 on: MetadataNotFound
        return "", ""
    name, version = (fields.get_all(field) or [""] for field in ("Name", "Version"))
    return name[0], version[0]


def load_backend(name: str, *, extensions: Mapping[str, object] | None = None) -> Backend:
    """Import and check one backend; no other one is imported.

    Raises:
        UnknownBackendError: No installed distribution has it.
        BrokenBackendError: It cannot be imported, two distributions claim the name, or it violates the
            contract. The message names distribution, version, target, file and reason.
    """
    claims, names = find_claims(BACKENDS, name)
    if not claims:
        raise unknown_backend_error(name, names)
    try:
        plugin = import_plugin(BACKENDS, name, claims)
    except PluginFault as fault:
        raise _broken(name, claims[0].origin, fault) from fault.__cause__
    return make_backend(name, plugin, origin=claims[0].origin, extensions=extensions)


def make_backend(
    name: str,
    plugin: object,
    *,
    origin: str = "",
    extensions: Mapping[str, object] | None = None,
) -> Backend:
    """Check an object, class or module against the contract and return it as a `Backend`.

    Raises:
        BrokenBackendError: It violates the contract; the message says where and how.
    """
    where = origin or describe_location(plugin)
    try:
        if inspect.isclass(plugin):
            plugin = instantiate(plugin)
        capabilities = _capabilities_of(plugin)
        config_type = get_config_type(plugin)
        hooks = find_hooks(plugin)
        _check_needed(plugin, capabilities, hooks)
    except PluginFault as fault:
        raise _broken(name, where, fault) from fault.__cause__
    except _FAILURES as error:
        raise _broken(name, where, PluginFault(f"{type(error).__name__}: {error}")) from error
    warn_of_deprecations(f'backend "{name}" ({where})', hooks)
    return Backend(name, plugin, capabilities, config_type, dict(extensions or {}))


def extension_hooks(extensions: Mapping[str, object]) -> Any:
    """Return pluggy's hook relay of extensions alone, for hooks that no backend has.

    Args:
        extensions: The hooks of each extension, by its name.
    """
    manager = _new_manager()
    with _without_warnings():
        for name in sorted(extensions):
            manager.register(extensions[name], name=f"extension {name}")
    return manager.hook


# For backends and extensions.


def find_claims(group: str, name: str) -> tuple[list[InstalledPlugin], set[str]]:
    """Return the plugins with that name (several if distributions conflict), and all names."""
    everything = installed_plugins(group)
    return [plugin for plugin in everything if plugin.name == name], {plugin.name for plugin in everything}


def import_plugin(group: str, name: str, claims: Collection[InstalledPlugin]) -> object:
    """Import the module, class or object of an entry point.

    Raises:
        PluginFault: It cannot be imported, or more than one distribution claims the name.
    """
    if len(claims) > 1:
        who = "; ".join(plugin.origin for plugin in claims)
        raise PluginFault(f"it is claimed by more than one distribution: {who}; uninstall all but one")

    def on_failure(_manager: object, _entry_point: object, error: BaseException) -> None:
        raise PluginFault(f"{type(error).__name__}: {error}") from error

    # Stevedore caches the entry points of a group, in memory for ever and in a file whose key has times of
    # two minutes' resolution: it would miss a plugin that was installed a moment ago.
    DriverManager.ENTRY_POINT_CACHE[group] = [
        metadata.EntryPoint(plugin.name, plugin.target, group) for plugin in installed_plugins(group)
    ]
    # The plugin is instantiated by us, since `driver` is the class if stevedore's instance is falsy.
    try:
        manager: Any = DriverManager(group, name, invoke_on_load=False, on_load_failure_callback=on_failure)
    except (PluginFault, KeyboardInterrupt):
        raise
    # Stevedore passes neither AssertionError nor SystemExit to its callback.
    except BaseException as error:
        raise PluginFault(f"{type(error).__name__}: {error}") from error
    return manager.driver


def find_hooks(plugin: object) -> Hooks:
    """Return the hooks that a plugin implements.

    Raises:
        PluginFault: The contract has no such hook, or the hook has no such argument.
    """
    manager = _new_manager()
    known = set(vars(manager.hook))
    try:
        with _without_warnings():
            manager.register(plugin, name="this plugin")
    except pluggy.PluginValidationError as error:
        wrong = "; ".join(_wrong_arguments(manager, plugin))
        raise PluginFault(wrong or " ".join(str(error).split())) from error
    hooks = {
        caller.name: impl
        for caller in manager.get_hookcallers(plugin) or ()
        for impl in caller.get_hookimpls()
    }
    # A plugin marks hooks of later contract versions with pluggy's `optionalhook`: ignore them.
    unknown = [name for name, impl in hooks.items() if name not in known and not impl.optionalhook]
    if unknown := [*unknown, *_not_functions(plugin, hooks)]:
        raise PluginFault("; ".join(f'unknown hook "{name}"{did_you_mean(name, known)}' for name in unknown))
    return {name: impl for name, impl in hooks.items() if name in known}


def warn_of_deprecations(who: str, hooks: Hooks) -> None:
    """Issue a `HookDeprecationWarning` for each hook and argument that a later version will remove."""
    specs = vars(_new_manager().hook)
    for name, impl in hooks.items():
        spec = specs[name].spec
        gone = [(f'hook "{name}"', spec.warn_on_impl)] if spec.warn_on_impl else []
        gone += [
            (f'argument "{argument}" of hook "{name}"', why)
            for argument, why in (spec.warn_on_impl_args or {}).items()
            if argument in (*impl.argnames, *impl.kwargnames)
        ]
        code = inspect.unwrap(getattr(impl.function, "__func__", impl.function)).__code__
        for what, why in gone:
            warning = hookspecs.HookDeprecationWarning(f"{who}: {what} is deprecated: {why}")
            warnings.warn_explicit(warning, None, code.co_filename, code.co_firstlineno)


def check_api_version(version: object) -> None:
    """Raise `PluginFault` if a plugin was written for an unsupported version of the contract."""
    if version not in hookspecs.API_VERSIONS:
        first, last = hookspecs.API_VERSIONS[0], hookspecs.API_VERSIONS[-1]
        loads = f"version {last}" if first == last else f"versions {first} to {last}"
        raise PluginFault(f"it was written for API version {version!r:.80}, and this resultsfw loads {loads}")


def describe_location(plugin: object) -> str:
    """Describe a plugin without an entry point, with its file, for people."""
    if inspect.ismodule(plugin):
        file = getattr(plugin, "__file__", None)
    else:
        module = sys.modules.get(getattr(plugin, "__module__", "") or type(plugin).__module__)
        file = getattr(module, "__file__", None)
    return f"registered by hand, {file or 'no file'}"


def _capabilities_of(plugin: object) -> Capabilities:
    capabilities = getattr(plugin, "capabilities", None)
    if not isinstance(capabilities, Capabilities):
        raise PluginFault("it has no `capabilities` of type resultsfw.Capabilities")
    check_api_version(capabilities.api_version)
    for name, kind in get_type_hints(Capabilities).items():
        choices, value = get_args(kind), getattr(capabilities, name)
        if choices and all(isinstance(choice, str) for choice in choices) and value not in choices:
            words = " or ".join(f'"{choice}"' for choice in choices)
            raise PluginFault(f"its `capabilities` say {name}={value!r:.80}, which must be {words}")
    return capabilities


def _check_needed(plugin: object, capabilities: Capabilities, hooks: Hooks) -> None:
    needed = ["prepare_pod", "pod_ready", "extract"]
    if capabilities.delivery == "reference":
        needed.append("dereference")
    if capabilities.external_state != "no":
        needed.append("purge")  # or what it keeps outside the pod would stay for ever
    if absent := [hook for hook in needed if hook not in hooks]:
        why = (
            f', which external_state="{capabilities.external_state}" of its `capabilities` requires'
            if absent == ["purge"]
            else ""
        )
        unmarked = [hook for hook in absent if callable(getattr(plugin, hook, None))]
        mark = f" (mark {', '.join(unmarked)} with resultsfw.hookimpl)" if unmarked else ""
        raise PluginFault(f"it implements no {', '.join(absent)}{why}{mark}")
    if "close" in hooks:
        raise PluginFault("close is a hook of extensions: no backend is ever closed")


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("resultsfw")
    manager.add_hookspecs(hookspecs)
    return manager


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress pluggy's own deprecation warnings, which do not name the plugin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _broken(name: str, where: str, why: PluginFault) -> BrokenBackendError:
    return BrokenBackendError(f'backend "{name}" ({where}) cannot be used: {why}', subject=name)


def _wrong_arguments(manager: pluggy.PluginManager, plugin: object) -> Iterator[str]:
    """Describe the arguments of a plugin's hooks that the contract does not have."""
    for name in dir(plugin):
        if (options := manager.parse_hookimpl_opts(plugin, name)) is None:
            continue
        if (caller := getattr(manager.hook, options["specname"] or name, None)) is None:
            continue
        for argument in pluggy.HookImpl(plugin, "", getattr(plugin, name), options).argnames:
            if argument not in caller.spec.argnames:
                hint = did_you_mean(argument, caller.spec.argnames)
                known = ", ".join(caller.spec.argnames) or "none"
                yield f'hook "{caller.name}" has no argument "{argument}"{hint} (its arguments: {known})'


def _not_functions(plugin: object, implemented: Collection[str]) -> Iterator[str]:
    """Yield the names of objects that are marked as hooks but are not functions; pluggy ignores them."""
    for name, value in inspect.getmembers(plugin, callable):
        options = getattr(value, "resultsfw_impl", None)
        called = (options.get("specname") or name) if isinstance(options, dict) else name
        if options and called not in implemented:
            yield called


def _file_of_module(name: str) -> str:
    """Return the file a module would be imported from, without an import; "" if that is unknown."""
    path: Any = None
    spec: importlib.machinery.ModuleSpec | None = None
    parts = name.split(".")
    try:
        for end in range(1, len(parts) + 1):
            finders = (finder.find_spec for finder in sys.meta_path if hasattr(finder, "find_spec"))
            found = (find(".".join(parts[:end]), path) for find in finders)
            spec = next((candidate for candidate in found if candidate is not None), None)
            if spec is None:
                return ""
            path = spec.submodule_search_locations
    except Exception:  # noqa: BLE001 - finders are foreign code
        return ""
    return (spec.origin if spec else None) or ""
