"""Apply edits of Tekton's ConfigMaps while the controller runs; reject invalid ones.

``feature-flags`` also holds this project's own flags, and ``config-spire`` has defaults of some. Keys of
``config-defaults``, ``config-events`` and ``config-spire`` that have no effect here are reported as warnings.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from resultsfw.cluster import CONFIG_MAPS, Object
from resultsfw.controller.events import Event, truncate
from resultsfw.controller.metrics import Metrics
from resultsfw.controller.plugin_images import warn_of_images
from resultsfw.core import ResultsManager
from resultsfw.errors import (
    BrokenBackendError,
    BrokenExtensionError,
    FlagError,
    ForbiddenError,
    ResultsError,
    UnavailableError,
)
from resultsfw.flags import CONFIG_PREFIX, KEYS, Flags, parse_flags
from resultsfw.tekton.api.configmaps import (
    CONFIG_DEFAULTS,
    CONFIG_EVENTS,
    CONFIG_SPIRE,
    FEATURE_FLAGS,
    configmap_of,
    key_warnings,
)
from resultsfw.tekton.api.signing import with_spire
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.taskrun.settings import Settings, settings_of

__all__ = ["CONFIG_MAP", "OTHERS", "LiveFlags", "data_of", "flags_of", "warnings_of"]

log = logging.getLogger(__name__)

CONFIG_MAP: Final = FEATURE_FLAGS

OTHERS: Final = (CONFIG_DEFAULTS, CONFIG_EVENTS, CONFIG_SPIRE)
"""Tekton's other ConfigMaps that are watched."""

_RECHECK: Final = 15.0
"""Seconds until a rejected edit is tried again whose cause may go away (permission, API server)."""

_CLOSE_SECONDS: Final = 2.0
"""How long extensions may take to close at the end of the process, which Kubernetes kills after 30 s."""

_SIDECAR: Final = "sidecar-logs"

_NOTHING: Final[Object] = {"metadata": {"name": CONFIG_MAP, "resourceVersion": ""}}


def flags_of(configmap: Object | None, *, spire: Object | None = None, sidecar_image: str = "") -> Flags:
    """Return the flags that a ConfigMap sets; without a ConfigMap the defaults.

    Args:
        configmap: From the API server; ``None`` if there is none.
        spire: The ConfigMap ``config-spire``, whose keys are defaults of options; ``None`` if there is none.
        sidecar_image: Replaces the image in ``config.sidecar-logs``.

    Raises:
        FlagError: A flag has an invalid value.
    """
    flags = with_spire(parse_flags(data_of(configmap)), data_of(spire))
    if not sidecar_image:
        return flags
    own = {**flags.config.get(_SIDECAR, {}), "image": sidecar_image}
    return replace(flags, config={**flags.config, _SIDECAR: own})


def warnings_of(name: str, configmap: Object | None) -> Iterator[str]:
    """Return a sentence for each key of one of Tekton's ConfigMaps that has no effect here.

    Args:
        name: `CONFIG_MAP`, or one of `OTHERS`.
        configmap: From the API server; ``None`` if there is none.

    Raises:
        FlagError: It has data that is not text.
    """
    if name == CONFIG_MAP:
        return key_warnings(name, data_of(configmap), own=KEYS, prefix=CONFIG_PREFIX)
    return key_warnings(name, data_of(configmap))


def data_of(configmap: Object | None) -> Mapping[str, str]:
    """Return the data of a ConfigMap; without a ConfigMap none.

    Raises:
        FlagError: It is not text.
    """
    data = (configmap or {}).get("data") or {}
    if not isinstance(data, Mapping) or not all(isinstance(value, str) for value in data.values()):
        name = (configmap or {}).get("metadata", {}).get("name", CONFIG_MAP)
        raise FlagError(f'the ConfigMap "{name}" has data that is not text', subject="data")
    return data


class LiveFlags:
    """Applies the ConfigMaps' edits. Each is validated, on a thread of its own, before it takes effect.

    Args:
        build: Constructs a manager from flags; raises what `ResultsManager` raises.
        check: Returns what keeps the manager's backends from working, a sentence each.
        swap: Puts a new manager, and the settings of runs and pods, into effect. The previous manager is
            closed afterwards.
        send_event: Writes a Kubernetes Event about an object.
        metrics: Count rejected edits.
        sidecar_image: See `flags_of`.
        pods: The options of pods that no flag sets.
        adapt: Returns the settings without what the controller has no permission for, and a sentence for each
            permission that it lacks.
        on_unusable_plugin: Called if the first flags select a plugin that cannot be used: only another image
            of the controller corrects that.

    Attributes:
        ready: Set once there are flags in effect.
    """

    def __init__(
        self,
        *,
        build: Callable[[Flags], ResultsManager],
        check: Callable[[ResultsManager], list[str]],
        swap: Callable[[ResultsManager, Settings], None],
        send_event: Callable[[Object, Event], None],
        metrics: Metrics,
        sidecar_image: str = "",
        pods: PodOptions | None = None,
        adapt: Callable[[Settings], tuple[Settings, list[str]]] = lambda settings: (settings, []),
        on_unusable_plugin: Callable[[], None] = lambda: None,
    ) -> None:
        self._adapt = adapt
        self._on_unusable_plugin = on_unusable_plugin
        self._build = build
        self._check = check
        self._swap = swap
        self._send_event = send_event
        self._metrics = metrics
        self._sidecar_image = sidecar_image
        self._pods = pods or PodOptions()
        self._changed = threading.Condition()
        self._next: Object | None = None
        self._again = False
        self._closed = False
        self._in_effect: tuple[Flags, Settings] | None = None
        self._others: dict[str, Object] = {}
        self._core: ResultsManager | None = None
        self._core_warnings: tuple[str, ...] = ()
        self._warned: dict[str, tuple[str, ...]] = {}
        self._reported = ""
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flags", daemon=True)
        self._thread.start()

    @property
    def in_effect(self) -> Flags | None:
        """The flags in effect; ``None`` before there are any."""
        return None if self._in_effect is None else self._in_effect[0]

    def on_feature_flags(self, configmap: Object | None) -> None:
        """Handle a change of ``feature-flags``; ``None`` if there is none."""
        with self._changed:
            self._next = configmap or _NOTHING
            self._changed.notify()

    def on_other_configmap(self, name: str, configmap: Object | None) -> None:
        """Handle a change of one of `OTHERS`; ``None`` if there is none."""
        with self._changed:
            if configmap is None:
                self._others.pop(name, None)
            else:
                self._others[name] = configmap
            self._again = True
            self._changed.notify()

    def close(self) -> None:
        """Stop the thread, and close the extensions of the flags in effect that no call uses."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(1)
        if self._core is not None:
            self._core.close(_CLOSE_SECONDS)

    def _run(self) -> None:
        wait: float | None = None
        current: Object | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._again or self._next is not None, wait)
                if self._closed:
                    return
                current, self._next, self._again = self._next or current, None, False
                others = dict(self._others)
            if current is not None:
                try:
                    wait = self._apply(current, others)
                except BaseException as error:  # also of a plugin: without this thread, no edit is applied
                    log.exception("could not apply the feature flags")
                    self._reject(current, _internal(error))
                    wait = _RECHECK

    def _apply(self, configmap: Object, others: Mapping[str, Object]) -> float | None:
        """Apply or reject an edit; return the seconds after which to try it again."""
        try:
            flags = flags_of(configmap, spire=others.get(CONFIG_SPIRE), sidecar_image=self._sidecar_image)
            settings, lacking = self._adapt(
                settings_of(data_of(configmap), data_of(others.get(CONFIG_DEFAULTS)), self._pods)
            )
            warned = {
                name: tuple(warnings_of(name, found))
                for name, found in {CONFIG_MAP: configmap, **others}.items()
            }
            warned[CONFIG_MAP] = (*warned[CONFIG_MAP], *lacking)
            again = _RECHECK if lacking else None
            if (flags, settings) == self._in_effect:
                self._accepted()
                self._warn(configmap, others, warned)
                return again
            core, missing = self._build_checked(flags)
        except (BrokenBackendError, BrokenExtensionError) as error:
            if self._in_effect is None:
                self._reject(configmap, error.message, kept="the process exits")
                self._on_unusable_plugin()
            else:
                self._reject(configmap, error.message)
            return None
        except ResultsError as error:
            self._reject(others.get(configmap_of(error.subject), configmap), error.message)
            return _RECHECK if isinstance(error, (UnavailableError, ForbiddenError)) else None
        if missing and self._in_effect is not None:
            core.close(0)
            self._reject(configmap, "; ".join(missing))
            return _RECHECK
        for line in missing:
            log.error("%s", line)  # there are no previous flags to keep
        if configmap is _NOTHING:
            log.warning('there is no ConfigMap "%s"; the defaults are in effect', CONFIG_MAP)
        self._swap(core, settings)
        self._in_effect = flags, settings
        previous, self._core = self._core, core
        if previous is not None:
            previous.close(0)
        self._accepted()
        log.info(
            "feature flags in effect: results-from=%s, max-result-size=%d%s",
            flags.results_from,
            flags.max_result_size,
            f", extensions={','.join(sorted(flags.extensions))}" if flags.extensions else "",
        )
        self._core_warnings = (*core.warnings(), *warn_of_images(core))
        self._warn(configmap, others, warned)
        self.ready.set()
        return again

    def _build_checked(self, flags: Flags) -> tuple[ResultsManager, list[str]]:
        """Return a manager, and what keeps its backends from working."""
        core = self._build(flags)
        try:
            return core, self._check(core)
        except BaseException:
            core.close(0)
            raise

    def _accepted(self) -> None:
        self._reported = ""
        self._metrics.flags_rejected.set(0)

    def _warn(
        self, configmap: Object, others: Mapping[str, Object], warned: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Report once for each edit what takes effect but may not be intended."""
        warned = {**warned, CONFIG_MAP: (*self._core_warnings, *warned[CONFIG_MAP])}
        for name, lines in warned.items():
            source = configmap if name == CONFIG_MAP else others[name]
            for line in lines:
                if line in self._warned.get(name, ()):
                    continue
                log.warning("%s", line)
                if source["metadata"].get("uid"):
                    self._send_event(_as_object(source), Event("Warning", "FlagsDoubtful", truncate(line)))
        self._warned = warned
        self._metrics.flags_doubtful.set(sum(map(len, warned.values())))

    def _reject(self, configmap: Object, why: str, *, kept: str = "") -> None:
        """Report once for each edit and reason that it is rejected, and which flags stay in effect."""
        metadata = configmap["metadata"]
        kept = kept or (
            "the previous flags stay in effect"
            if self._in_effect
            else "no flags are in effect and no run is reconciled"
        )
        report = f"{metadata.get('uid')}/{metadata.get('resourceVersion')}: {why}"
        if report == self._reported:
            return
        self._reported = report
        self._metrics.flags_failures.inc()
        self._metrics.flags_rejected.set(1)
        log.error('the ConfigMap "%s" is rejected: %s; %s', metadata["name"], why, kept)
        if metadata.get("uid"):
            self._send_event(
                _as_object(configmap), Event("Warning", "FlagsRefused", truncate(f"{why}; {kept}"))
            )


def _internal(error: BaseException) -> str:
    return f"internal error ({type(error).__name__}); see the controller's log"


def _as_object(configmap: Object) -> Object:
    """Return a ConfigMap with the fields that the API server leaves out of lists."""
    return {**configmap, "apiVersion": CONFIG_MAPS.api_version, "kind": CONFIG_MAPS.kind}
