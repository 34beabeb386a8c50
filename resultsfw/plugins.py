"""Finding and loading plugins: the one module that imports stevedore and sets up pluggy."""

import inspect
import logging
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any

import pluggy
from pydantic import BaseModel, ConfigDict, ValidationError
from stevedore.driver import DriverManager

from resultsfw import hookspecs
from resultsfw.errors import BrokenBackendError, FlagError
from resultsfw.flags import CONFIG_PREFIX, unknown_backend
from resultsfw.types import Capabilities

__all__ = ["BACKENDS", "EXTENSIONS", "Backend", "Installed", "installed", "load_backend", "wrap_backend"]

log = logging.getLogger(__name__)

BACKENDS = "resultsfw.backends"
EXTENSIONS = "resultsfw.extensions"


class NoConfig(BaseModel):
    """The configuration of a backend that has none."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Installed:
    """An entry point, as its distribution's metadata says it; nothing of it is imported."""

    name: str
    target: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Backend:
    """A loaded backend: its hooks behind pluggy, its configuration type, what it says of itself."""

    name: str
    plugin: object
    capabilities: Capabilities
    config_type: type[BaseModel]
    extensions: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def _manager(self) -> pluggy.PluginManager:
        manager = _new_manager()
        for name in sorted(self.extensions):
            manager.register(self.extensions[name], name=f"extension {name}")
        if manager.register(self.plugin, name=self.name) is None:  # pragma: no cover - names are checked
            raise BrokenBackendError(f'backend "{self.name}" is blocked', subject=self.name)
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
        try:
            return self.config_type.model_validate(raw)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(str(part) for part in fault['loc']) or 'the whole'}: {fault['msg']}"
                for fault in error.errors(include_input=False, include_url=False)
            )
            key = f"{CONFIG_PREFIX}{self.name}"
            raise FlagError(f'feature flag "{key}": {faults}', subject=key) from error

    def notify(self, hook: str, **arguments: object) -> None:
        """Call an observer hook; an observer that fails is logged and the others still hear."""
        for impl in getattr(self.hook, hook).get_hookimpls():
            wanted = {name: arguments[name] for name in impl.argnames}
            try:
                impl.function(**wanted)
            except Exception:
                log.exception("observer %r failed in %s and is left out of it", impl.plugin_name, hook)


class _Driver(DriverManager):  # type: ignore[type-arg] # generic only in newer versions
    """A driver manager that looks at what is installed now.

    Stevedore's own list comes from a cache on disk that is blind to changes within two minutes (its key
    holds times as four-byte floats), and from one in memory that never changes.
    """

    def list_entry_points(self) -> list[metadata.EntryPoint]:
        """What is installed in the group, by the same rules as `installed`."""
        return [
            metadata.EntryPoint(one.name, one.target, self.namespace) for one in installed(self.namespace)
        ]


def installed(group: str = BACKENDS) -> list[Installed]:
    """What is installed in an entry-point group, by name, importing none of it.

    A name that two distributions claim is listed once for each. Of one distribution that is on the
    path twice (a wheel before an editable install), the first is the one that would be imported.
    """
    distributions: dict[str, metadata.Distribution] = {}
    for dist in metadata.distributions():
        # What an interrupted pip leaves behind has no metadata, and so no name.
        distributions.setdefault(re.sub(r"[-_.]+", "-", dist.name or "").lower(), dist)
    found = {
        Installed(point.name, point.value, dist.name or "nameless", dist.version or "unknown")
        for dist in distributions.values()
        for point in dist.entry_points
        if point.group == group
    }
    return sorted(found, key=lambda one: (one.name, one.distribution, one.target))


def load_backend(name: str, *, extensions: Mapping[str, object] | None = None) -> Backend:
    """Import and check the backend that ``name`` selects; no other one is imported.

    Raises:
        UnknownBackendError: Nothing installed has that name.
        BrokenBackendError: It cannot be imported, two distributions claim the name, or it does not
            keep the contract. The message names distribution, version, target and reason.
    """
    everything = installed()
    claims = [one for one in everything if one.name == name]
    if not claims:
        raise unknown_backend(name, {one.name for one in everything})
    if len(claims) > 1:
        who = ", ".join(f"{one.distribution} {one.version} ({one.target})" for one in claims)
        raise BrokenBackendError(
            f'backend "{name}" is claimed by more than one distribution: {who}; uninstall all but one',
            subject=name,
        )
    origin = f"{claims[0].distribution} {claims[0].version}, {claims[0].target}"

    def on_failure(_manager: object, _entry_point: object, error: BaseException) -> None:
        raise _broken(name, origin, f"{type(error).__name__}: {error}") from error

    # DriverManager loads the one entry point of that name and leaves the others alone; `.driver` would
    # be the class where an instance is falsy, so the plugin is taken before anything is called.
    try:
        manager: Any = _Driver(BACKENDS, name, invoke_on_load=False, on_load_failure_callback=on_failure)
    except BrokenBackendError:
        raise
    except (Exception, SystemExit) as error:  # an AssertionError is not for stevedore's callback
        raise _broken(name, origin, f"{type(error).__name__}: {error}") from error
    return wrap_backend(name, manager.driver, origin=origin, extensions=extensions)


def wrap_backend(
    name: str,
    plugin: object,
    *,
    origin: str = "registered by hand",
    extensions: Mapping[str, object] | None = None,
) -> Backend:
    """Check an object, class or module against the contract and make a `Backend` of it.

    Raises:
        BrokenBackendError: It does not keep the contract; the message says where and why.
    """
    where = f"{origin}, {_file_of(plugin)}"
    if inspect.isclass(plugin):
        try:
            plugin = plugin()
        except (Exception, SystemExit) as error:
            raise _broken(name, where, f"{type(error).__name__}: {error}") from error
    capabilities = getattr(plugin, "capabilities", None)
    if not isinstance(capabilities, Capabilities):
        raise _broken(name, where, "it has no `capabilities` of type resultsfw.Capabilities")
    if capabilities.api_version != hookspecs.API_VERSION:
        raise _broken(
            name,
            where,
            f"it was written for API version {capabilities.api_version}, this is {hookspecs.API_VERSION}",
        )
    config_type = getattr(plugin, "Config", NoConfig)
    if fault := _config_fault(config_type):
        raise _broken(name, where, fault)
    # A module may be both, backend and extension: pluggy takes it once.
    others = {key: one for key, one in (extensions or {}).items() if one is not plugin}
    backend = Backend(name, plugin, capabilities, config_type, others)
    try:
        manager = backend._manager  # noqa: SLF001 - the same module; building it is the check
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _broken(name, where, str(error)) from error
    needed = ["prepare_pod", "pod_ready", "extract"]
    if capabilities.by == "reference":
        needed.append("dereference")
    mine = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    if absent := [hook for hook in needed if hook not in mine]:
        raise _broken(name, where, f"it implements no {', '.join(absent)}")
    if unknown := _misspelt(plugin, mine):
        raise _broken(name, where, f"unknown hook {', '.join(unknown)}")
    return backend


def load_extensions(allowed: Iterable[str]) -> dict[str, object]:
    """Import the allow-listed extensions, in name order. A broken one is logged and left out."""
    loaded: dict[str, object] = {}
    for name in sorted(set(allowed)):
        try:
            manager: Any = _Driver(EXTENSIONS, name, on_load_failure_callback=_raise)
            plugin = manager.driver
            plugin = plugin() if inspect.isclass(plugin) else plugin
            check = _new_manager()
            check.register(plugin)
            check.check_pending()
            loaded[name] = plugin
        except (Exception, SystemExit):
            log.exception("extension %r cannot be loaded and is left out", name)
    return loaded


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("resultsfw")
    manager.add_hookspecs(hookspecs)
    return manager


def _raise(_manager: object, _entry_point: object, error: BaseException) -> None:
    raise error


def _broken(name: str, where: str, why: str) -> BrokenBackendError:
    return BrokenBackendError(f'backend "{name}" ({where}) cannot be used: {why}', subject=name)


def _config_fault(config_type: object) -> str:
    if not (inspect.isclass(config_type) and issubclass(config_type, BaseModel)):
        return "its `Config` is no pydantic model"
    if config_type.model_config.get("extra") != "forbid":
        return 'its `Config` must forbid unknown options: model_config = ConfigDict(extra="forbid")'
    required = [name for name, option in config_type.model_fields.items() if option.is_required()]
    return f"its `Config` has options without a default: {', '.join(required)}" if required else ""


def _misspelt(plugin: object, implemented: Collection[str]) -> list[str]:
    """Marked functions that became no hook; pluggy's check_pending says the same with less to go by."""
    marked: Callable[[object], object] = lambda value: getattr(value, "resultsfw_impl", None)  # noqa: E731
    names = (
        (options.get("specname") or name) if isinstance(options, dict) else name
        for name, value in inspect.getmembers(plugin, callable)
        if (options := marked(value))
    )
    return [name for name in names if name not in implemented]


def _file_of(plugin: object) -> str:
    if inspect.ismodule(plugin):
        return getattr(plugin, "__file__", None) or "no file"
    module = sys.modules.get(getattr(plugin, "__module__", "") or type(plugin).__module__)
    return getattr(module, "__file__", None) or "no file"
