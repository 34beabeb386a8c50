"""The operator's policies over runs: those that are enforced, and those that refuse because they are not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import FlagError
from resultsfw.flags import did_you_mean
from resultsfw.tekton.api.artifact_refs import artifact_variable, uses_artifacts
from resultsfw.tekton.api.configmaps import FEATURE_FLAGS, KEYS, normal
from resultsfw.tekton.api.signing import EXTENSION, SignedNamespaces, signed_namespaces
from resultsfw_signing.tekton_format import is_signature_key

__all__ = [
    "DEFAULT_COMBINATIONS",
    "Policies",
    "pipeline_violations",
    "policies_of",
    "task_violations",
    "violations",
]

_INLINE: Final = "disable-inline-spec"
_NONFALSIFIABILITY: Final = "enforce-nonfalsifiability"
_ARTIFACTS: Final = "enable-artifacts"
_NO_ARTIFACTS: Final = f"feature flag {_ARTIFACTS} should be set to true to use artifacts feature."
"""Tekton's words (pkg/apis/pipeline/v1/container_validation.go)."""
_CEL: Final = "enable-cel-in-whenexpression"
_INLINE_KINDS: Final = ("pipeline", "pipelinerun", "taskrun")
_SHOWN: Final = 60

_COMBINATIONS: Final = "default-max-matrix-combinations-count"
_MOST_DIGITS: Final = 9
DEFAULT_COMBINATIONS: Final = 256
"""The default of the most combinations that a matrix may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What an operator forbids.

    Attributes:
        no_inline: Where embedded specs are refused: ``taskrun``, ``pipelinerun``, ``pipeline``
            (the flag ``disable-inline-spec``).
        forbidden_env: Variables that a podTemplate may not set (``default-forbidden-env``).
        cel: Whether conditions of Pipeline Tasks may be in CEL (``enable-cel-in-whenexpression``). Those of
            Steps may always, in Tekton, too.
        unenforced: A sentence for each security policy that is set and not enforced here: it refuses every
            run.
        max_combinations: Of one matrix (``default-max-matrix-combinations-count``).
        artifacts: Whether artifacts may be used (``enable-artifacts``).
        one_claim: Whether a TaskRun may bind one claim only (``coschedule`` is ``workspaces``): it is placed
            beside the affinity assistant of one.
        signed: Where results are signed: no Task may declare one there under a name that Tekton keeps for
            signatures.
        nonfalsifiability: The flag ``enforce-nonfalsifiability``; "" without it.
    """

    no_inline: frozenset[str] = frozenset()
    forbidden_env: frozenset[str] = frozenset()
    cel: bool = False
    unenforced: tuple[str, ...] = ()
    max_combinations: int = DEFAULT_COMBINATIONS
    artifacts: bool = True
    one_claim: bool = False
    signed: SignedNamespaces = field(default_factory=SignedNamespaces)
    nonfalsifiability: str = ""


def policies_of(flags: Mapping[str, str], defaults: Mapping[str, str]) -> Policies:
    """Return the policies that the ConfigMaps ``feature-flags`` and ``config-defaults`` set.

    Raises:
        FlagError: One has a value it cannot have; its subject is the key.
    """
    return Policies(
        no_inline=_inline(flags.get(_INLINE, "")),
        forbidden_env=frozenset(_words(defaults.get("default-forbidden-env", ""))),
        cel=normal(flags.get(_CEL, "")) == "true",
        unenforced=tuple(
            f'the feature flag "{key}" is "{flags[key].strip()[:_SHOWN]}": {refusal}; run it with '
            f"Tekton's own "
            f"controller, or have the operator set the flag to {' or '.join(sorted(rule.harmless))}"
            for key, rule in KEYS[FEATURE_FLAGS].items()
            if (refusal := rule.refusal(flags.get(key, ""), flags))
        ),
        max_combinations=_combinations(defaults.get(_COMBINATIONS, "")),
        artifacts=normal(flags.get(_ARTIFACTS, "")) == "true",
        signed=signed_namespaces(flags),
        nonfalsifiability=normal(flags.get(_NONFALSIFIABILITY, "")),
    )


def _combinations(text: str) -> int:
    text = text.strip()
    if not text:
        return DEFAULT_COMBINATIONS
    if len(text) > _MOST_DIGITS or not (text.isascii() and text.isdecimal()):
        raise FlagError(f'{_COMBINATIONS} is "{text[:_SHOWN]}", which is not a number', subject=_COMBINATIONS)
    return int(text)


def violations(run: Object, policies: Policies) -> list[str]:
    """Return why a TaskRun or PipelineRun may not be run; empty where it may."""
    spec = _mapping(run.get("spec"))
    found = list(policies.unenforced)
    if run.get("kind") == "PipelineRun":
        if "pipelinerun" in policies.no_inline and spec.get("pipelineSpec") is not None:
            found.append(_no_inline("spec.pipelineSpec", "pipelinerun", "refer to a Pipeline by pipelineRef"))
        if inner := _mapping(spec.get("pipelineSpec")):
            found += pipeline_violations(inner, policies, path="spec.pipelineSpec")
        found += _env(_mapping(spec.get("taskRunTemplate")), "spec.taskRunTemplate", policies)
        for index, own in enumerate(_items(spec.get("taskRunSpecs"))):
            found += _env(own, f"spec.taskRunSpecs[{index}]", policies)
        return found
    if "taskrun" in policies.no_inline and spec.get("taskSpec") is not None:
        found.append(_no_inline("spec.taskSpec", "taskrun", "refer to a Task by taskRef"))
    if policies.one_claim and len(_claims(spec)) > 1:
        found.append("more than one PersistentVolumeClaim is bound")
    return [*found, *_env(spec, "spec", policies)]


def task_violations(task_spec: Object, policies: Policies, *, namespace: str = "") -> list[str]:
    """Return why a Task's spec, substituted, may not be run in a namespace; empty where it may."""
    found = [] if policies.artifacts or not uses_artifacts(task_spec) else [_NO_ARTIFACTS]
    return [*found, *_signature_names(task_spec)] if namespace in policies.signed else found


def _signature_names(task_spec: Object) -> Iterator[str]:
    """Yield why results may not be declared under names of signatures."""
    steps = [(f"steps[{index}].results", step) for index, step in enumerate(_items(task_spec.get("steps")))]
    for path, part in [("results", task_spec), *steps]:
        for index, result in enumerate(_items(part.get("results"))):
            if is_signature_key(name := str(result.get("name"))):
                yield (
                    f'{path}[{index}].name: "{name[:_SHOWN]}" is kept for signatures where the extension '
                    f'"{EXTENSION}" signs results (SVID, RESULT_MANIFEST and names that end in .sig); give '
                    f"the result another name"
                )


_EMBEDDED: Final = {
    "taskSpec": "refer to a Task by taskRef",
    "pipelineSpec": "refer to a Pipeline by pipelineRef",
}
"""What a Pipeline Task may embed, and what it could do instead."""


def pipeline_violations(spec: Object, policies: Policies, *, path: str = "spec") -> list[str]:
    """Return why a Pipeline's spec may not be run; empty where it may."""
    found: list[str] = []
    for section in ("tasks", "finally"):
        for index, task in enumerate(_items(spec.get(section))):
            found += _task_violations(task, policies, f"{path}.{section}[{index}]")
    return found


def _task_violations(task: Object, policies: Policies, at: str) -> Iterator[str]:
    """Yield why a Pipeline Task may not be run."""
    if not policies.artifacts:
        for param in _items(task.get("params")):
            if isinstance(value := param.get("value"), str) and artifact_variable(value):
                yield f"{_NO_ARTIFACTS}: {at}.params"
    for embedded, instead in _EMBEDDED.items() if "pipeline" in policies.no_inline else ():
        if task.get(embedded) is not None:
            yield _no_inline(f"{at}.{embedded}", "pipeline", instead)
    cel = [text for when in _items(task.get("when")) if (text := when.get("cel"))]
    if cel and not policies.cel:
        yield (
            f"feature flag {_CEL} should be set to true to use CEL: {str(cel[0])[:_SHOWN]} in "
            f"WhenExpression: {at}.when"
        )


def _no_inline(path: str, kind: str, instead: str) -> str:
    return f'must not set the field(s): {path}: the feature flag "{_INLINE}" names {kind}; {instead}'


def _env(part: Object, path: str, policies: Policies) -> Iterator[str]:
    for index, variable in enumerate(_items(_mapping(part.get("podTemplate")).get("env"))):
        if variable.get("name") in policies.forbidden_env:
            yield (
                f"PodTemplate cannot update a forbidden env: {path}.podTemplate.env[{index}].name: "
                f'"default-forbidden-env" names {variable["name"]}; remove the variable'
            )


def _claims(spec: Object) -> set[str]:
    """Return the claims that a TaskRun binds, and the workspaces for which it makes one."""
    claims = set()
    for binding in _items(spec.get("workspaces")):
        if binding.get("persistentVolumeClaim") is not None:
            claims.add(str(_mapping(binding["persistentVolumeClaim"]).get("claimName", "")))
        if binding.get("volumeClaimTemplate") is not None:
            claims.add(str(binding.get("name", "")))
    return claims


def _inline(text: str) -> frozenset[str]:
    kinds = frozenset(word.lower() for word in _words(text))
    for kind in sorted(kinds):
        if kind not in _INLINE_KINDS:
            raise FlagError(
                f'invalid value for feature flag "{_INLINE}": "{kind[:_SHOWN]}" is not one of '
                f"{', '.join(_INLINE_KINDS)}{did_you_mean(kind, _INLINE_KINDS)}",
                subject=_INLINE,
            )
    return kinds


def _words(text: str) -> Iterator[str]:
    """Yield the items of a list with commas between them."""
    return (word.strip() for word in text.split(",") if word.strip())


def _mapping(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
