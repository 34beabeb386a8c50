"""Tekton's ConfigMaps, live: a good edit becomes a new core, a bad one leaves the last good.

``feature-flags`` is where this project's own flags are, too. Of ``config-defaults`` and ``config-events``
it honours what it can, and says what it cannot.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from resultsfw.cluster import CONFIG_MAPS, Object
from resultsfw.controller.events import Notice, cut
from resultsfw.controller.metrics import Metrics
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
from resultsfw.tekton.api.configmaps import CONFIG_DEFAULTS, CONFIG_EVENTS, FEATURE_FLAGS, doubts
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.taskrun.settings import Settings, settings_of

__all__ = ["CONFIG_MAP", "OTHERS", "LiveFlags", "data_of", "doubts_of", "flags_of"]

log = logging.getLogger(__name__)

CONFIG_MAP: Final = FEATURE_FLAGS

OTHERS: Final = (CONFIG_DEFAULTS, CONFIG_EVENTS)
"""ConfigMaps of Tekton's beside it that are followed, too."""

_RECHECK: Final = 15.0
"""Seconds until an edit is tried again whose fault can be mended elsewhere (a permission, a server)."""

_SIDECAR: Final = "sidecar-logs"

_NOTHING: Final[Object] = {"metadata": {"name": CONFIG_MAP, "resourceVersion": ""}}


def flags_of(configmap: Object | None, *, sidecar_image: str = "") -> Flags:
    """The flags a ConfigMap sets; those of a missing one are the defaults.

    Args:
        configmap: As the server has it.
        sidecar_image: Instead of the image in ``config.sidecar-logs``.

    Raises:
        FlagError: One has a value it cannot have.
    """
    flags = parse_flags(data_of(configmap))
    if not sidecar_image:
        return flags
    own = {**flags.config.get(_SIDECAR, {}), "image": sidecar_image}
    return replace(flags, config={**flags.config, _SIDECAR: own})


def doubts_of(name: str, configmap: Object | None) -> Iterator[str]:
    """What one of Tekton's ConfigMaps says and does not bring about, a sentence each.

    Args:
        name: `CONFIG_MAP`, or one of `OTHERS`.
        configmap: As the server has it.

    Raises:
        FlagError: It has data that is no text.
    """
    if name == CONFIG_MAP:
        return doubts(name, data_of(configmap), own=KEYS, prefix=CONFIG_PREFIX)
    return doubts(name, data_of(configmap))


def data_of(configmap: Object | None) -> Mapping[str, str]:
    """The data of a ConfigMap; of a missing one, none.

    Raises:
        FlagError: It is no text.
    """
    data = (configmap or {}).get("data") or {}
    if not isinstance(data, Mapping) or not all(isinstance(one, str) for one in data.values()):
        name = (configmap or {}).get("metadata", {}).get("name", CONFIG_MAP)
        raise FlagError(f'the ConfigMap "{name}" has data that is no text', subject="data")
    return data


class LiveFlags:
    """Follows the ConfigMap. Every edit is checked on a thread of its own before it is in force.

    Args:
        build: Makes a core of flags; raises what a `ResultsManager` raises.
        check: What the core's backend needs and the controller may not, as sentences.
        swap: Puts a new core, and the settings for runs and pods that begin from now on, in force.
        tell: Writes a Kubernetes Event about an object.
        metrics: Counts edits that were not taken over.
        sidecar_image: See `flags_of`.
        pods: The options of pods where no flag sets them.
        hopeless: Called where there are no flags in force and those there are name a plugin that cannot be
            used: no edit mends that, but another image.

    Attributes:
        ready: Set once there are flags in force.
    """

    def __init__(
        self,
        *,
        build: Callable[[Flags], ResultsManager],
        check: Callable[[ResultsManager], list[str]],
        swap: Callable[[ResultsManager, Settings], None],
        tell: Callable[[Object, Notice], None],
        metrics: Metrics,
        sidecar_image: str = "",
        pods: PodOptions | None = None,
        hopeless: Callable[[], None] = lambda: None,
    ) -> None:
        self._hopeless = hopeless
        self._build = build
        self._check = check
        self._swap = swap
        self._tell = tell
        self._metrics = metrics
        self._sidecar_image = sidecar_image
        self._pods = pods or PodOptions()
        self._changed = threading.Condition()
        self._next: Object | None = None
        self._again = False
        self._closed = False
        self._in_force: tuple[Flags, Settings] | None = None
        self._others: dict[str, Object] = {}
        self._of_core: tuple[str, ...] = ()
        self._doubts: dict[str, tuple[str, ...]] = {}
        self._told = ""
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="flags", daemon=True)
        self._thread.start()

    def changed(self, configmap: Object | None) -> None:
        """The ConfigMap is now this one; ``None``: there is none."""
        with self._changed:
            self._next = configmap or _NOTHING
            self._changed.notify()

    def other_changed(self, name: str, configmap: Object | None) -> None:
        """One of `OTHERS` is now this one; ``None``: there is none."""
        with self._changed:
            if configmap is None:
                self._others.pop(name, None)
            else:
                self._others[name] = configmap
            self._again = True
            self._changed.notify()

    def close(self) -> None:
        """Follow no further."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(1)

    def _follow(self) -> None:
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
                wait = self._take(current, others)

    def _take(self, configmap: Object, others: Mapping[str, Object]) -> float | None:
        """Take an edit over, or say why not; seconds until it is tried again."""
        try:
            flags = flags_of(configmap, sidecar_image=self._sidecar_image)
            settings = settings_of(data_of(configmap), data_of(others.get(CONFIG_DEFAULTS)), self._pods)
            doubtful = {
                name: tuple(doubts_of(name, one)) for name, one in {CONFIG_MAP: configmap, **others}.items()
            }
            if (flags, settings) == self._in_force:
                self._well()
                self._doubt(configmap, others, doubtful)
                return None
            core = self._build(flags)
            missing = self._check(core)
        except (BrokenBackendError, BrokenExtensionError) as error:
            if self._in_force is None:
                self._refuse(configmap, error.message, kept="the process exits")
                self._hopeless()
            else:
                self._refuse(configmap, error.message)
            return None
        except ResultsError as error:
            self._refuse(configmap, error.message)
            return _RECHECK if isinstance(error, (UnavailableError, ForbiddenError)) else None
        except Exception as error:
            log.exception("could not read the feature flags")
            self._refuse(configmap, f"internal error ({type(error).__name__}); see the controller's log")
            return _RECHECK
        if missing and self._in_force is not None:
            self._refuse(configmap, "; ".join(missing))
            return _RECHECK
        for line in missing:
            log.error("%s", line)  # at the start there is nothing to go back to
        if configmap is _NOTHING:
            log.warning('there is no ConfigMap "%s"; the defaults are in effect', CONFIG_MAP)
        self._swap(core, settings)
        self._in_force = flags, settings
        self._well()
        log.info(
            "feature flags in effect: results-from=%s, max-result-size=%d%s",
            flags.results_from,
            flags.max_result_size,
            f", extensions={','.join(sorted(flags.extensions))}" if flags.extensions else "",
        )
        self._of_core = core.warnings()
        self._doubt(configmap, others, doubtful)
        self.ready.set()
        return None

    def _well(self) -> None:
        self._told = ""
        self._metrics.flags_rejected.set(0)

    def _doubt(
        self, configmap: Object, others: Mapping[str, Object], doubtful: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Say once for each edit what is in force and may not be meant."""
        doubtful = {**doubtful, CONFIG_MAP: (*self._of_core, *doubtful[CONFIG_MAP])}
        for name, lines in doubtful.items():
            of = configmap if name == CONFIG_MAP else others[name]
            for line in lines:
                if line in self._doubts.get(name, ()):
                    continue
                log.warning("%s", line)
                if of["metadata"].get("uid"):
                    self._tell(_as_object(of), Notice("Warning", "FlagsDoubtful", cut(line)))
        self._doubts = doubtful
        self._metrics.flags_doubtful.set(sum(map(len, doubtful.values())))

    def _refuse(self, configmap: Object, why: str, *, kept: str = "") -> None:
        """Say once for each edit and reason that it is not in force, and what is instead."""
        metadata = configmap["metadata"]
        kept = kept or (
            "the previous flags stay in effect"
            if self._in_force
            else "no flags are in effect and no run is reconciled"
        )
        told = f"{metadata.get('uid')}/{metadata.get('resourceVersion')}: {why}"
        if told == self._told:
            return
        self._told = told
        self._metrics.flags_failures.inc()
        self._metrics.flags_rejected.set(1)
        log.error('the ConfigMap "%s" is rejected: %s; %s', CONFIG_MAP, why, kept)
        if metadata.get("uid"):
            self._tell(_as_object(configmap), Notice("Warning", "FlagsRefused", cut(f"{why}; {kept}")))


def _as_object(configmap: Object) -> Object:
    """With what a list of a server leaves out."""
    return {**configmap, "apiVersion": CONFIG_MAPS.api_version, "kind": CONFIG_MAPS.kind}
