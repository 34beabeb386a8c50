"""Backends that break the contract of pods and rights in one thing each, and which tests must find it."""

import uuid
from dataclasses import replace

from detection_harness import caught_by
from sample_backends import Sound, template

from resultsfw import CONFIG_MAPS, Permission


@caught_by("test_steps_get_no_rights", "test_steps_are_left_alone")
class LetsStepsSeeItsToken(Sound):
    pods = Sound

    def prepare(self, run, pod, *rest):
        wire = super().prepare(run, pod, *rest)
        pod["spec"]["volumes"].append({"name": "token", "projected": {"sources": []}})
        for container in [*pod["spec"]["containers"], pod["spec"]["initContainers"][-1]]:
            container["volumeMounts"] = [
                *container["volumeMounts"],
                {"name": "token", "mountPath": "/var/run/token"},
            ]
        return wire


@caught_by("test_restricted")
class RunsAsRoot(Sound):
    pods = Sound

    def prepare(self, run, pod, *rest):
        wire = super().prepare(run, pod, *rest)
        del pod["spec"]["initContainers"][-1]["securityContext"]
        return wire


@caught_by("test_pod_is_valid")
class HasANameTwice(Sound):
    pods = Sound

    def prepare(self, run, pod, *rest):
        wire = super().prepare(run, pod, *rest)
        pod["spec"]["volumes"].append({"name": "mine", "emptyDir": {}})
        pod["spec"]["volumes"].append({"name": "mine", "emptyDir": {}})
        return wire


@caught_by("test_it_asks_what_its_permissions_name")
class DoesNotSayWhatItNeeds(Sound):
    capabilities = replace(template.capabilities, permissions=())


@caught_by("test_capabilities")
class HasNoSense(Sound):
    capabilities = replace(
        template.capabilities, summary="two\nlines", result_bytes=2_000_000, run_bytes=1_000_000
    )


@caught_by("test_nothing_outside", "test_prepare_twice")
class MakesThingsInSecret(Sound):
    pods = Sound
    capabilities = replace(
        template.capabilities,
        permissions=(
            *template.capabilities.permissions,
            Permission(verb="create", resource="configmaps", why="a secret"),
        ),
    )

    def prepare(self, run, pod, cluster, *rest):
        name = {"name": f"secret-{uuid.uuid4()}", "namespace": run.namespace}
        cluster.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name})
        return super().prepare(run, pod, cluster, *rest)


@caught_by("test_plain_pod", "test_plain_pod_stopped")
class GivesPlainPodsNoFolders(Sound):
    """Says that it serves pods without an entrypoint, whose Steps find no folders."""

    pods = Sound

    def prepare(self, run, pod, *rest):
        wire = super().prepare(run, pod, *rest)
        for container in pod["spec"]["containers"]:
            kept = [
                variable
                for variable in container.get("env", ())
                if not variable["name"].startswith("RESULTSFW_")
            ]
            container["env"] = kept
        return wire
