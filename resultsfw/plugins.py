"""Finding and loading plugins: the one module that imports stevedore and sets up pluggy."""

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
from resultsfw.errors import BrokenBackendError
from resultsfw.flags import did_you_mean, unknown_backend_error
from resultsfw.options import PluginFault, get_config_type, validate_config
from resultsfw.types import Capabilities

__all__ = [
    "BACKENDS",
    "EXTENSIONS",
    "Backend",
    "Hooks",
    "InstalledPlugin",
    "check_api_version",
    "describe_location",
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
"""What a plugin implements, by the hook's name."""

_FAILURES = (Exception, SystemExit)
"""What foreign code may raise where it is loaded: a module that ends its process is broken, and no more."""


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """An entry point, as its distribution's metadata says it; nothing of it is imported."""

    name: str
    target: str
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """For people: who brings it, and the module it is in, with its file where there is one."""
        file = _file_of_module(self.target.partition(":")[0].strip())
        return f"{self.distribution} {self.version}, {self.target}" + (f", {file}" if file else "")


@dataclass(frozen=True)
class Backend:
    """A loaded backend: its hooks behind pluggy, its configuration type, what it says of itself.

    ``extensions`` are around it: what `resultsfw.extensions` made of each, by name.
    """

    name: str
    plugin: object
    capabilities: Capabilities
    config_type: type[BaseModel]
    extensions: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def _manager(self) -> pluggy.PluginManager:
        manager = _new_manager()
        with _quiet():  # of what is deprecated was told where it was loaded
            # Of two wrappers pluggy lets the one that was registered first come closer to the backend.
            for name in sorted(self.extensions):
                manager.register(self.extensions[name], name=f"extension {name}")
            manager.register(self.plugin, name=self.name)
        return manager

    @property
    def hook(self) -> Any:
        """Pluggy's relay: call the hooks of `resultsfw.hookspecs` by name, with keyword arguments."""
        return self._manager.hook

    def configure(self, raw: Mapping[str, Any]) -> BaseModel:
        """Validate the backend's configuration.

        Raises:
            FlagError: An option is unknown or has a value it cannot have; the message names each.
        """
        return validate_config(self.name, self.config_type, raw)

    def notify(self, hook: str, **arguments: object) -> None:
        """Call an observer hook; an observer that fails is logged and the others still hear."""
        for impl in getattr(self.hook, hook).get_hookimpls():
            wanted = {name: arguments[name] for name in impl.argnames}
            try:
                impl.function(**wanted)
            except _FAILURES:
                log.exception("observer %r failed in %s and is left out of it", impl.plugin_name, hook)


class _Driver(DriverManager):  # type: ignore[type-arg] # generic only in newer versions
    """A driver manager that looks at what is installed now.

    Stevedore's own list comes from a cache on disk that is blind to changes within two minutes (its key
    holds times as four-byte floats), and from one in memory that never changes.
    """

    def list_entry_points(self) -> list[metadata.EntryPoint]:
        """What is installed in the group, by the same rules as `installed_plugins`."""
        return [
            metadata.EntryPoint(one.name, one.target, self.namespace)
            for one in installed_plugins(self.namespace)
        ]


def installed_plugins(group: str = BACKENDS) -> list[InstalledPlugin]:
    """What is installed in an entry-point group, by name, importing none of it.

    A name that two distributions claim is listed once for each. Of one distribution that is on the
    path twice (a wheel before an editable install), the first is the one that would be imported.
    """
    found: set[InstalledPlugin] = set()
    for dist in metadata.distributions():
        # To know a distribution's name its METADATA is parsed: of all of them, hundreds, that takes 0.1 s for
        # each call. So only that of the few with entry points in the group is.
        if not dist.entry_points.select(group=group):
            continue
        name = _metadata_field(dist, "Name")
        with suppress(metadata.PackageNotFoundError, ValueError):
            dist = metadata.distribution(name)  # noqa: PLW2901 - the first on the path of that name
        version = _metadata_field(dist, "Version") or "unknown"
        name = _metadata_field(dist, "Name") or "nameless"
        found |= {
            InstalledPlugin(point.name, point.value, name, version)
            for point in dist.entry_points.select(group=group)
        }
    return sorted(found, key=lambda one: (one.name, one.distribution, one.target))


def _metadata_field(dist: metadata.Distribution, field: str) -> str:
    """Return a field of a distribution's metadata; "" if pip was interrupted and left no metadata.

    ``dist.name`` of such a distribution is None up to Python 3.11, warns from 3.12 on, and is to raise.
    """
    try:
        values: list[str] = dist.metadata.get_all(field) or []
    except FileNotFoundError:  # from Python 3.15 on: MetadataNotFound
        return ""
    return values[0] if values else ""


def load_backend(name: str, *, extensions: Mapping[str, object] | None = None) -> Backend:
    """Import and check the backend that ``name`` selects; no other one is imported.

    Raises:
        UnknownBackendError: Nothing installed has that name.
        BrokenBackendError: It cannot be imported, two distributions claim the name, or it does not
            keep the contract. The message names distribution, version, target, file and reason.
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
    """Check an object, class or module against the contract and make a `Backend` of it.

    Raises:
        BrokenBackendError: It does not keep the contract; the message says where and why.
    """
    where = origin or describe_location(plugin)
    try:
        if inspect.isclass(plugin):
            plugin = plugin()
        capabilities = _capabilities_of(plugin)
        config_type = get_config_type(plugin)
        hooks = find_hooks(plugin)
        _check_needed(capabilities, hooks)
    except PluginFault as fault:
        raise _broken(name, where, fault) from fault.__cause__
    except _FAILURES as error:
        raise _broken(name, where, PluginFault(f"{type(error).__name__}: {error}")) from error
    warn_of_deprecations(f'backend "{name}" ({where})', hooks)
    return Backend(name, plugin, capabilities, config_type, dict(extensions or {}))


# What backends and extensions have in common.


def find_claims(group: str, name: str) -> tuple[list[InstalledPlugin], set[str]]:
    """The distributions that bring a plugin of that name, and the names of all there are."""
    everything = installed_plugins(group)
    return [one for one in everything if one.name == name], {one.name for one in everything}


def import_plugin(group: str, name: str, claims: Collection[InstalledPlugin]) -> object:
    """What stands behind the entry point of that name: a module, a class, an object.

    Raises:
        PluginFault: It cannot be imported, or more than one distribution claims the name.
    """
    if len(claims) > 1:
        who = "; ".join(one.origin for one in claims)
        raise PluginFault(f"it is claimed by more than one distribution: {who}; uninstall all but one")

    def on_failure(_manager: object, _entry_point: object, error: BaseException) -> None:
        raise PluginFault(f"{type(error).__name__}: {error}") from error

    # DriverManager loads the one entry point of that name and leaves the others alone; `.driver` would
    # be the class where an instance is falsy, so the plugin is taken before anything is called.
    try:
        manager: Any = _Driver(group, name, invoke_on_load=False, on_load_failure_callback=on_failure)
    except (PluginFault, KeyboardInterrupt):
        raise
    except (
        BaseException
    ) as error:  # an AssertionError is not for stevedore's callback, nor what ends processes
        raise PluginFault(f"{type(error).__name__}: {error}") from error
    return manager.driver


def find_hooks(plugin: object) -> Hooks:
    """The hooks a plugin implements.

    Raises:
        PluginFault: One is none of the contract, or takes an argument that the contract does not have.
    """
    manager = _new_manager()
    known = set(vars(manager.hook))
    try:
        with _quiet():
            manager.register(plugin, name="this plugin")
    except pluggy.PluginValidationError as error:
        wrong = "; ".join(_wrong_arguments(manager, plugin))
        raise PluginFault(wrong or " ".join(str(error).split())) from error
    hooks = {
        caller.name: impl
        for caller in manager.get_hookcallers(plugin) or ()
        for impl in caller.get_hookimpls()
    }
    # A hook that only later versions have is marked so (pluggy's `optionalhook`), and is left alone.
    unknown = [name for name, impl in hooks.items() if name not in known and not impl.optionalhook]
    if unknown := [*unknown, *_unfit(plugin, hooks)]:
        raise PluginFault("; ".join(f'unknown hook "{name}"{did_you_mean(name, known)}' for name in unknown))
    return {name: impl for name, impl in hooks.items() if name in known}


def warn_of_deprecations(who: str, hooks: Hooks) -> None:
    """Raise a `HookDeprecationWarning` for each hook and argument that a later version will not have."""
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
    """Raise `PluginFault` for a plugin that was written for a version of the contract that is not loaded."""
    if version not in hookspecs.API_VERSIONS:
        first, last = hookspecs.API_VERSIONS[0], hookspecs.API_VERSIONS[-1]
        loads = f"version {last}" if first == last else f"versions {first} to {last}"
        raise PluginFault(f"it was written for API version {version!r:.80}, and this resultsfw loads {loads}")


def describe_location(plugin: object) -> str:
    """For people: a plugin that no distribution brings, with its file."""
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
        if choices and all(isinstance(one, str) for one in choices) and value not in choices:
            words = " or ".join(f'"{one}"' for one in choices)
            raise PluginFault(f"its `capabilities` say {name}={value!r:.80}, which must be {words}")
    return capabilities


def _check_needed(capabilities: Capabilities, hooks: Hooks) -> None:
    needed = ["prepare_pod", "pod_ready", "extract"]
    if capabilities.delivery == "reference":
        needed.append("dereference")
    if absent := [hook for hook in needed if hook not in hooks]:
        raise PluginFault(f"it implements no {', '.join(absent)}")


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("resultsfw")
    manager.add_hookspecs(hookspecs)
    return manager


@contextmanager
def _quiet() -> Iterator[None]:
    """Without pluggy's own warnings of deprecations, which do not know whose a plugin is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _broken(name: str, where: str, why: PluginFault) -> BrokenBackendError:
    return BrokenBackendError(f'backend "{name}" ({where}) cannot be used: {why}', subject=name)


def _wrong_arguments(manager: pluggy.PluginManager, plugin: object) -> Iterator[str]:
    """What a plugin's hooks ask for and the contract does not have, in our words."""
    for name in dir(plugin):
        if (options := manager.parse_hookimpl_opts(plugin, name)) is None:
            continue
        if (caller := getattr(manager.hook, options["specname"] or name, None)) is None:
            continue
        for one in pluggy.HookImpl(plugin, "", getattr(plugin, name), options).argnames:
            if one not in caller.spec.argnames:
                yield f'hook "{caller.name}" has no argument "{one}"{did_you_mean(one, caller.spec.argnames)}'


def _unfit(plugin: object, implemented: Collection[str]) -> Iterator[str]:
    """Names of what is marked as a hook and is none, since pluggy takes functions only."""
    for name, value in inspect.getmembers(plugin, callable):
        options = getattr(value, "resultsfw_impl", None)
        called = (options.get("specname") or name) if isinstance(options, dict) else name
        if options and called not in implemented:
            yield called


def _file_of_module(name: str) -> str:
    """The file a module would be imported from, importing nothing; "" where that cannot be told."""
    path: Any = None
    spec: importlib.machinery.ModuleSpec | None = None
    parts = name.split(".")
    try:
        for end in range(1, len(parts) + 1):
            finders = (one.find_spec for one in sys.meta_path if hasattr(one, "find_spec"))
            found = (find(".".join(parts[:end]), path) for find in finders)
            spec = next((one for one in found if one is not None), None)
            if spec is None:
                return ""
            path = spec.submodule_search_locations
    except Exception:  # noqa: BLE001 - finders are foreign code
        return ""
    return (spec.origin if spec else None) or ""
