"""Read the namespace of a kubeconfig's context."""

import os
from pathlib import Path
from typing import Final

import yaml
from kubernetes.config import ConfigException, list_kube_config_contexts

__all__ = ["default_namespace"]

_IN_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT: Final = "default"


def default_namespace(kubeconfig: str | None, context: str | None) -> str:
    """Return the namespace that kubectl would use: of the context, of the pod, or "default".

    What is wrong with the kubeconfig is reported by `resultsfw.kube.connect`.

    Args:
        kubeconfig: A file; ``None``: as for kubectl.
        context: A context of it; ``None``: the current one.
    """
    files = kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    try:
        contexts, current = list_kube_config_contexts(files)  # type: ignore[no-untyped-call]
        by_name = {known["name"]: known for known in contexts}
        namespace = (current if context is None else by_name[context])["context"].get("namespace")
    except (ConfigException, yaml.YAMLError, OSError, LookupError, TypeError, ValueError, AttributeError):
        return _of_pod() if context is None and kubeconfig is None else _DEFAULT
    return namespace if isinstance(namespace, str) and namespace else _DEFAULT


def _of_pod() -> str:
    try:
        return _IN_POD.read_text(encoding="utf-8").strip() or _DEFAULT
    except (OSError, UnicodeDecodeError):
        return _DEFAULT
