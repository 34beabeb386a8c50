"""Read from Tekton's ConfigMaps the settings of runs and pods that the core does not know."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from resultsfw.tekton.api.policies import Policies, policies_of
from resultsfw.tekton.pod.builder import PodOptions, container_security
from resultsfw.tekton.pod.options import pod_options
from resultsfw.tekton.podstatus.startup_failures import StartTolerance, start_tolerance_of
from resultsfw.tekton.spec.coscheduling import Coscheduling, assistant_template_of, mode_of
from resultsfw.tekton.spec.run_defaults import RunDefaults, run_defaults_of

__all__ = ["Settings", "settings_of"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings for runs and pods that begin from now on.

    Attributes:
        pods: How pods are built.
        policies: What runs may not do.
        runs: The defaults of runs.
        tolerance: How long a run waits for containers that cannot start.
        coscheduling: How the pods of a PipelineRun are placed.
    """

    pods: PodOptions = field(default_factory=PodOptions)
    policies: Policies = field(default_factory=Policies)
    runs: RunDefaults = field(default_factory=RunDefaults)
    tolerance: StartTolerance = field(default_factory=StartTolerance)
    coscheduling: Coscheduling = field(default_factory=Coscheduling)

    def without_coscheduling(self) -> "Settings":
        """Return these settings with pods placed wherever the scheduler wants."""
        policies = replace(self.policies, one_claim=False)
        return replace(self, policies=policies, coscheduling=Coscheduling())


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
    pods = pod_options(flags, given or PodOptions(), defaults)
    mode = mode_of(flags)
    return Settings(
        pods,
        replace(policies_of(flags, defaults), one_claim=mode == "workspaces"),
        run_defaults_of(defaults),
        start_tolerance_of(defaults),
        Coscheduling(
            mode=mode,
            pod_template=assistant_template_of(defaults),
            image=pods.nop_image,
            security_context=container_security(pods) if pods.security_context else None,
        ),
    )
