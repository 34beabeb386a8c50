"""Read from Tekton's ConfigMaps the settings of runs and pods that the core does not know."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from resultsfw.tekton.api.policies import Policies, policies_of
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.pod.options import pod_options
from resultsfw.tekton.podstatus.startup_failures import StartTolerance, start_tolerance_of
from resultsfw.tekton.spec.run_defaults import RunDefaults, run_defaults_of

__all__ = ["Settings", "settings_of"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for runs and pods that begin from now on.

    Attributes:
        pods: How pods are built.
        policies: What runs may not do.
        runs: What runs have that do not say otherwise.
        tolerance: How long containers that cannot start are waited for.
    """

    pods: PodOptions = field(default_factory=PodOptions)
    policies: Policies = field(default_factory=Policies)
    runs: RunDefaults = field(default_factory=RunDefaults)
    tolerance: StartTolerance = field(default_factory=StartTolerance)


def settings_of(
    flags: Mapping[str, str], defaults: Mapping[str, str], given: PodOptions | None = None
) -> Settings:
    """Return the settings under the data of ``feature-flags`` and ``config-defaults``.

    Args:
        flags: Data of ``feature-flags``.
        defaults: Data of ``config-defaults``.
        given: How pods are built where no key says otherwise.

    Raises:
        FlagError: A key has a value it cannot have; its subject is the key.
    """
    return Settings(
        pod_options(flags, given or PodOptions(), defaults),
        policies_of(flags, defaults),
        run_defaults_of(defaults),
        start_tolerance_of(defaults),
    )
