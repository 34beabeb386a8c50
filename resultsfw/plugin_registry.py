"""Load the plugins that one set of flags can use, and decide which backends untrusted text may select."""

import logging
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from pydantic import BaseModel

from resultsfw.cluster import Object
from resultsfw.errors import (
    BackendError,
    BackendNotAllowedError,
    FlagError,
    ResultsError,
    UnknownBackendError,
)
from resultsfw.extensions import Extension, close_extensions, load_extensions
from resultsfw.flags import ANNOTATION, CONFIG_PREFIX, Flags, did_you_mean, unknown_backend_error
from resultsfw.lifetime import Lifetime
from resultsfw.plugins import (
    EXTENSIONS,
    Backend,
    extension_hooks,
    installed_plugins,
    load_backend,
    make_backend,
)
from resultsfw.types import CollectionOutcome, Run, Stamp, Verification

__all__ = ["CLOSE_SECONDS", "PluginRegistry"]

log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 5.0
"""How long `PluginRegistry.close` waits for extensions by default."""


class PluginRegistry:
    """The backends and extensions of one set of flags. Safe to use from several threads.

    Attributes:
        extensions: The loaded extensions by name.
        warnings: Options in the flags that belong to no installed plugin, in words.
        lifetime: Counts the calls that use the extensions.
    """

    def __init__(
        self,
        flags: Flags,
        registered: Mapping[str, object],
        extensions: Iterable[str] = (),
        registered_extensions: Mapping[str, object] | None = None,
    ) -> None:
        """Check the names in the flags, then load the extensions. Backends are loaded by `get`.

        Args:
            flags: The operator's flags.
            registered: Backends without an entry point, by name: objects, classes or modules.
            extensions: Names of extensions, in addition to those of the flags.
            registered_extensions: Extensions without an entry point, by name: classes, modules or objects.

        Raises:
            UnknownBackendError: A name in ``results-from`` or ``allowed-results-from`` is not installed.
            UnknownExtensionError: An allow-listed extension is not installed.
            BrokenExtensionError: An allow-listed extension cannot be used.
            FlagError: A name is both a backend and an extension, or options of an extension are rejected.
        """
        self._flags = flags
        self._registered = dict(registered)
        self._loaded: dict[str, Backend] = {}
        self._configs: dict[str, BaseModel] = {}
        self._loading = threading.Lock()
        by_hand = dict(registered_extensions or {})
        listed = flags.extensions | frozenset(extensions) | by_hand.keys()
        if both := sorted(listed & (flags.allowed_results_from | registered.keys())):
            key = f"{CONFIG_PREFIX}{both[0]}"
            raise FlagError(
                f'"{both[0]}" is the name of a backend and of an extension: "{key}" cannot be for both',
                subject="extensions",
            )
        names = {plugin.name for plugin in installed_plugins()} | self._registered.keys()
        wanted = [("results-from", flags.results_from)]
        wanted += [("allowed-results-from", name) for name in sorted(flags.allowed_results_from)]
        for where, name in wanted:
            if name not in names:
                raise unknown_backend_error(name, names, where=where)
        extensions = {plugin.name for plugin in installed_plugins(EXTENSIONS)}
        disabled = extensions - listed - names
        names |= extensions | listed
        self.warnings = tuple(
            f'feature-flags: "{CONFIG_PREFIX}{name}" has no effect: '
            + (
                'add the extension to the feature flag "extensions" to enable it'
                if name in disabled
                else f"it is for no installed backend or extension{did_you_mean(name, names)}"
            )
            for name in sorted(flags.config.keys() - (names - disabled))
        )
        # After the checks: an unknown name is reported before foreign code runs.
        self.extensions: Mapping[str, Extension] = load_extensions(
            listed - by_hand.keys(), flags.config, registered=by_hand
        )
        self._hook = extension_hooks({name: extension.hooks for name, extension in self.extensions.items()})
        self._extensions_closed: threading.Event | None = None
        self.lifetime = Lifetime("ResultsManager", self._close_extensions)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Close the extensions once no call uses them; wait for them, but not for running calls.

        Args:
            timeout: Seconds to wait at most; what is not closed then is left to a daemon thread.
        """
        self.lifetime.close()
        closed = self._extensions_closed
        if closed is not None and timeout > 0 and not closed.wait(timeout):
            log.warning("extensions are not closed after %g s; not waiting any longer", timeout)

    def _close_extensions(self) -> None:
        self._extensions_closed = close_extensions(self.extensions.values())

    def get(self, name: str) -> Backend:
        """Return the backend of that name; import it the first time.

        Raises:
            UnknownBackendError: No installed distribution has that backend.
            BrokenBackendError: It cannot be loaded.
        """
        with self._loading:
            if name not in self._loaded:
                hooks = {extension.name: extension.hooks for extension in self.extensions.values()}
                self._loaded[name] = (
                    make_backend(name, self._registered[name], extensions=hooks)
                    if name in self._registered
                    else load_backend(name, extensions=hooks)
                )
            return self._loaded[name]

    def config(self, backend: Backend) -> BaseModel:
        """Return the backend's options, validated once for these flags.

        Raises:
            FlagError: An option is rejected.
        """
        if backend.name not in self._configs:
            self._configs[backend.name] = backend.configure(self._flags.config.get(backend.name, {}))
        return self._configs[backend.name]

    def pod_created(self, run: Run, pod: Object) -> Verification | None:
        """Call ``pod_created`` of the extension that verifies signatures, if there is one.

        Raises:
            ResultsError: The extension raised it, or failed.
        """
        answers: list[Verification] = self._hook.pod_created(run=run, pod=pod)
        return next(iter(answers), None)

    def attest_status(
        self, run: Run, status: Object, obj: Object, collected: CollectionOutcome
    ) -> Mapping[str, str]:
        """Call ``attest_status`` of the extension that verifies signatures, if there is one.

        Raises:
            ResultsError: The extension raised it, or failed.
        """
        answers: list[Mapping[str, str]] = self._hook.attest_status(
            run=run, status=status, obj=obj, collected=collected
        )
        return next(iter(answers), {})

    def allows(self, name: str) -> bool:
        """Return whether untrusted text may select the backend: a flag allows it, or it is registered."""
        return name in self._flags.allowed_results_from or name in self._registered

    def plain_pod_error(self, backend: Backend, pod_name: str) -> BackendError:
        """Return the error of a backend that serves no pods without Tekton's entrypoint, for such a pod."""
        others = []
        for name in sorted({*self._flags.allowed_results_from, *self._registered}):
            with suppress(ResultsError):  # reported when a run uses that backend
                if self.get(name).capabilities.plain_pods:
                    others.append(name)
        choice = f"the flags allow {', '.join(others)}" if others else "the flags allow none"
        return BackendError(
            f'backend "{backend.name}" serves no pods without Tekton\'s entrypoint, and pod "{pod_name}" has '
            f"neither a volume tekton-internal-... nor the entrypoint's arguments: choose a backend that "
            f'serves it ({choice}) by the annotation {ANNOTATION} or the feature flag "results-from"',
            subject=backend.name,
        )

    def get_allowed(self, name: str, where: str) -> Backend:
        """Return the backend that untrusted text names.

        Args:
            name: The backend's name.
            where: What names it, for the message.

        Raises:
            BackendNotAllowedError: It is installed, but no flag allows it. It was not imported.
            UnknownBackendError, BrokenBackendError: See `get`.
        """
        # The lookup finds what is installed now: a backend may have been installed since the start.
        if not self.allows(name) and any(plugin.name == name for plugin in installed_plugins()):
            raise BackendNotAllowedError(
                f'{where} names backend "{name:.64}", which no flag allows; to use it, add it to the feature '
                f'flag "allowed-results-from"',
                subject=name[:64],
            )
        return self.get(name)

    def of_pod(self, pod_name: str, stamp: Stamp, *, trusted: bool) -> Backend:
        """Return the backend that a pod's stamp names.

        Args:
            pod_name: The pod's name, for messages.
            stamp: The stamp.
            trusted: Whether the caller's own records name the same backend.

        Raises:
            BackendNotAllowedError: No flag allows it, and the stamp is not trusted.
            UnknownBackendError: It is not installed; the message names the pod.
            BrokenBackendError: It cannot be loaded.
        """
        try:
            return self.get(stamp.backend) if trusted else self.get_allowed(stamp.backend, "the pod's stamp")
        except UnknownBackendError as error:
            raise UnknownBackendError(
                f'pod "{pod_name}" hands out its results by backend "{stamp.backend:.64}", which is not '
                f"installed; install it again, whatever the flags say now",
                subject=stamp.backend[:64],
            ) from error
