"""Build the affinity assistants of a PipelineRun: StatefulSets whose pod holds a place on a node.

Names, labels and rules are Tekton's (pkg/reconciler/pipelinerun/affinity_assistant.go). The pods of TaskRuns
are placed beside the assistant that their annotation names (`resultsfw.tekton.pod.affinity`).
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import PIPELINERUNS
from resultsfw.tekton.api.owners import owner_reference
from resultsfw.tekton.spec.coscheduling import TEMPLATE_FIELDS, Coscheduling, Mode
from resultsfw.tekton.spec.workspaces import claim_name

__all__ = [
    "assistant_name",
    "assistant_names",
    "assistant_of_task",
    "assistants_of",
    "bound_claim",
    "claims_to_delete",
    "is_per_run",
]

_COMPONENT: Final = "affinity-assistant"
_AUTO_CLEANUP: Final = "tekton.dev/auto-cleanup-pvc"
_LONGEST_VOLUME: Final = 63
_DIGEST: Final = 10
_RESOURCES: Final = {"cpu": "50m", "memory": "100Mi"}


def assistant_name(workspace: str, run: str) -> str:
    """Return the name of the assistant for a workspace of a run; for the run itself, of the workspace ""."""
    return f"{_COMPONENT}-{_digest(workspace + run)}"


def bound_claim(binding: Object, pipelinerun: Object, mode: Mode) -> str:
    """Return the name of the claim that a binding's ``volumeClaimTemplate`` becomes for its run."""
    name = claim_name(binding, pipelinerun["metadata"].get("uid", ""))
    if not is_per_run(mode):
        return name
    # The StatefulSet makes it, and names it after its volume and its only pod.
    return f"{_volume_name(name)}-{assistant_name('', pipelinerun['metadata']['name'])}-0"


def assistant_of_task(pipelinerun: Object, mode: Mode, bindings: Sequence[Object]) -> str:
    """Return the assistant beside which a Pipeline Task's pod is placed; empty for none.

    Args:
        pipelinerun: The run.
        mode: How its pods are placed.
        bindings: The run's bindings that the Pipeline Task uses, in its order.
    """
    run = pipelinerun["metadata"]["name"]
    if is_per_run(mode):
        return assistant_name("", run)
    claims = [binding for binding in bindings if _has_known_claim(binding)]
    return assistant_name(claims[-1]["name"], run) if mode == "workspaces" and claims else ""


def assistant_names(pipelinerun: Object, mode: Mode) -> list[str]:
    """Return the names of all assistants that a run may have."""
    run = pipelinerun["metadata"]["name"]
    if is_per_run(mode):
        return [assistant_name("", run)]
    if mode == "disabled":
        return []
    return [assistant_name(binding["name"], run) for binding in _bindings(pipelinerun) if _has_claim(binding)]


def claims_to_delete(pipelinerun: Object, mode: Mode) -> list[str]:
    """Return the names of the claims that end with the run: those that an assistant made, or on request."""
    annotations = pipelinerun["metadata"].get("annotations") or {}
    is_asked = mode == "workspaces" and annotations.get(_AUTO_CLEANUP) == "true"
    if not is_asked and not is_per_run(mode):
        return []
    return [
        bound_claim(binding, pipelinerun, mode)
        for binding in _bindings(pipelinerun)
        if binding.get("volumeClaimTemplate") is not None
    ]


def assistants_of(
    pipelinerun: Object, bindings: Iterable[Object], coscheduling: Coscheduling
) -> list[Object]:
    """Return the StatefulSets of a run.

    Args:
        pipelinerun: The run.
        bindings: Its workspace bindings, with variables replaced. A claim that only a result of a Task
            will name gets no assistant.
        coscheduling: How its pods are placed.
    """
    mode = coscheduling.mode
    if mode == "disabled":
        return []
    bindings = [binding for binding in bindings if _has_known_claim(binding)]
    claims: dict[str, str] = {
        binding["persistentVolumeClaim"]["claimName"]: binding["name"]
        for binding in bindings
        if binding.get("volumeClaimTemplate") is None
    }
    templates = [binding for binding in bindings if binding.get("volumeClaimTemplate") is not None]
    if is_per_run(mode):
        made = [_claim_template(binding, pipelinerun) for binding in templates]
        return [_stateful_set(pipelinerun, "", list(claims), made, coscheduling)]
    by_workspace = {
        **{workspace: claim for claim, workspace in claims.items()},
        **{binding["name"]: bound_claim(binding, pipelinerun, mode) for binding in templates},
    }
    return [
        _stateful_set(pipelinerun, workspace, [claim], [], coscheduling)
        for workspace, claim in by_workspace.items()
    ]


def is_per_run(mode: Mode) -> bool:
    """Return whether a run has one assistant for all its pods, which makes its claims, too."""
    return mode in ("pipelineruns", "isolate-pipelinerun")


def _bindings(pipelinerun: Object) -> Sequence[Object]:
    return pipelinerun["spec"].get("workspaces") or ()


def _has_claim(binding: Object) -> bool:
    return binding.get("persistentVolumeClaim") is not None or binding.get("volumeClaimTemplate") is not None


def _has_known_claim(binding: Object) -> bool:
    """Return whether a binding refers to a claim whose name is known before any Task has run."""
    if binding.get("volumeClaimTemplate") is not None:
        return True
    return "$(" not in (binding.get("persistentVolumeClaim") or {}).get("claimName", "$(")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]


def _volume_name(name: str) -> str:
    """Return a name that fits a volume: cut and hashed if it is too long."""
    if len(name) <= _LONGEST_VOLUME:
        return name
    return f"{name[: _LONGEST_VOLUME - _DIGEST - 1]}-{_digest(name)}"


def _claim_template(binding: Object, pipelinerun: Object) -> Object:
    template: Object = jsons.copy(binding["volumeClaimTemplate"])
    name = _volume_name(claim_name(binding, pipelinerun["metadata"].get("uid", "")))
    template["metadata"] = {**(template.get("metadata") or {}), "name": name}
    return template


def _stateful_set(
    pipelinerun: Object,
    workspace: str,
    claims: Sequence[str],
    templates: Sequence[Object],
    coscheduling: Coscheduling,
) -> Object:
    metadata = pipelinerun["metadata"]
    name = assistant_name(workspace, metadata["name"])
    labels = {
        **(metadata.get("labels") or {}),
        "tekton.dev/pipelineRun": metadata["name"],
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": _COMPONENT,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": name,
            "namespace": metadata.get("namespace", ""),
            "labels": labels,
            "ownerReferences": [owner_reference(pipelinerun, PIPELINERUNS)],
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "serviceName": "",
            **({"volumeClaimTemplates": list(templates)} if templates else {}),
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod_spec(pipelinerun, claims, templates, coscheduling),
            },
        },
    }


def _pod_spec(
    pipelinerun: Object, claims: Sequence[str], templates: Sequence[Object], coscheduling: Coscheduling
) -> Object:
    run_template = pipelinerun["spec"].get("taskRunTemplate") or {}
    own: Object = run_template.get("podTemplate") or {}
    default = coscheduling.pod_template or {}
    template = {field: own[field] for field in TEMPLATE_FIELDS if own.get(field) is not None}
    template = {**default, **template}
    account = default.get("serviceAccountName") or run_template.get("serviceAccountName")
    security = coscheduling.security_context or {}
    if security and (template.get("nodeSelector") or {}).get("kubernetes.io/os") == "windows":
        security = {"runAsNonRoot": True}
    mounts = [
        {"name": claim["metadata"]["name"], "mountPath": claim["metadata"]["name"]} for claim in templates
    ]
    container = {
        "name": "affinity-assistant",
        "image": coscheduling.image,
        "args": ["tekton_run_indefinitely"],
        "resources": {"limits": dict(_RESOURCES), "requests": dict(_RESOURCES)},
        "securityContext": security,
        **({"volumeMounts": mounts} if mounts else {}),
    }
    volumes = [
        {"name": f"workspace-{index}", "persistentVolumeClaim": {"claimName": claim}}
        for index, claim in enumerate(claims)
    ]
    spec: Object = jsons.copy(
        {
            **template,
            **({"serviceAccountName": account} if account else {}),
            "containers": [container],
            "affinity": _affinity(own, coscheduling.mode),
            **({"volumes": volumes} if volumes else {}),
        }
    )
    return spec


def _affinity(own: Object, mode: Mode) -> Object:
    """Return the run's own affinity, and one that keeps assistants apart: must, or prefer to."""
    affinity: Object = jsons.copy(own.get("affinity") or {})
    apart: Object = affinity.get("podAntiAffinity") or {}
    term: Object = {
        "labelSelector": {"matchLabels": {"app.kubernetes.io/component": _COMPONENT}},
        "topologyKey": "kubernetes.io/hostname",
    }
    if mode == "isolate-pipelinerun":
        field = "requiredDuringSchedulingIgnoredDuringExecution"
    else:
        field, term = (
            "preferredDuringSchedulingIgnoredDuringExecution",
            {"weight": 100, "podAffinityTerm": term},
        )
    return {**affinity, "podAntiAffinity": {**apart, field: [*(apart.get(field) or ()), term]}}
