"""Tekton's own feature flags that change the pods we build."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from resultsfw.errors import FlagError
from resultsfw.tekton.pod import PodOptions

__all__ = ["POD_FLAGS", "pod_options"]

POD_FLAGS: Final[Mapping[str, str]] = {
    "set-security-context": "security_context",
    "set-security-context-read-only-root-filesystem": "read_only_root_filesystem",
    "keep-pod-on-cancel": "keep_pod_on_cancel",
}
"""Keys of the ConfigMap ``feature-flags``, and the field of `PodOptions` that each sets."""

# As Go reads them (strconv.ParseBool), and with it Tekton's webhook.
_BOOLEANS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def pod_options(data: Mapping[str, str], given: PodOptions) -> PodOptions:
    """The options of pods under a ConfigMap's ``data``; a key that is missing leaves what was given.

    Raises:
        FlagError: A flag is neither true nor false; its subject is the key.
    """
    found: dict[str, Any] = {}
    for key, option in POD_FLAGS.items():
        text = data.get(key, "").strip()
        if not text:
            continue
        if text not in _BOOLEANS:
            raise FlagError(
                f'invalid value for feature flag "{key}": "{text[:40]}" is neither true nor false',
                subject=key,
            )
        found[option] = _BOOLEANS[text]
    return replace(given, **found)
