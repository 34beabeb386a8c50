"""Tekton's own feature flags that change the pods we build."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from resultsfw.errors import FlagError
from resultsfw.tekton.api.configmaps import BOOLEANS
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.pod.container_resources import container_resources_of

__all__ = ["POD_FLAGS", "pod_options"]

POD_FLAGS: Final[Mapping[str, str]] = {
    "set-security-context": "security_context",
    "set-security-context-read-only-root-filesystem": "read_only_root_filesystem",
    "keep-pod-on-cancel": "keep_pod_on_cancel",
    "enable-kubernetes-sidecar": "native_sidecars",
    "disable-creds-init": "disable_creds_init",
    "require-git-ssh-secret-known-hosts": "require_git_ssh_known_hosts",
}
"""Keys of the ConfigMap ``feature-flags``, and the field of `PodOptions` that each sets."""


def pod_options(
    data: Mapping[str, str], given: PodOptions, defaults: Mapping[str, str] = MappingProxyType({})
) -> PodOptions:
    """Return the options of pods under Tekton's ConfigMaps; a missing key leaves the given option.

    Args:
        data: Of ``feature-flags``.
        given: The options where no key sets them.
        defaults: Of ``config-defaults``.

    Raises:
        FlagError: A flag is neither true nor false; its subject is the key.
    """
    found: dict[str, Any] = {}
    if account := defaults.get("default-service-account", "").strip():
        found["service_account"] = account
    if resources := container_resources_of(defaults):
        found["container_resources"] = resources
    for key, option in POD_FLAGS.items():
        text = data.get(key, "").strip()
        if not text:
            continue
        if text not in BOOLEANS:
            raise FlagError(
                f'invalid value for feature flag "{key}": "{text[:40]}" is neither true nor false',
                subject=key,
            )
        found[option] = BOOLEANS[text]
    return replace(given, **found)
