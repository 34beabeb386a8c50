"""Turn templates of cluster-wide rights into templates of Roles, for the value ``watchNamespaces``.

They render to what `resultsfw.controller.namespaced_rights` makes of the manifests; a test compares both.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from resultsfw.controller.namespaced_rights import CLUSTER_SCOPED, EVENTS, FLAGS_ROLE

__all__ = ["namespaced"]

_DOCUMENTS: Final = re.compile(r"^---\n", re.MULTILINE)
_COMMENTS: Final = re.compile(r"(?:#.*\n)*")
_RULE: Final = re.compile(r"(?:  #.*\n)*  - .*\n(?:    .*\n)*")
_METADATA_NAME: Final = re.compile(r"^  name: .*\n", re.MULTILINE)
_ALL_ACCOUNTS: Final = re.compile(r"^( +name: system:serviceaccounts)$", re.MULTILINE)
_ROOT: Final = re.compile(r"(?<![$\w])\.(Release|Values|Chart)\b")

_MATCHED: Final = """\
  {{- with .Values.watchNamespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
  {{- end }}
"""


def namespaced(template: str, source: str, roles: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the template of a manifest, with Roles in place of its ClusterRoles if namespaces are given.

    Args:
        template: Of the manifest.
        source: The manifest.
        roles: The rules of the chart's ClusterRoles, by name.
    """
    templates, objects = _DOCUMENTS.split(template), list(yaml.safe_load_all(source))
    return "---\n".join(_document(text, obj, roles) for text, obj in zip(templates, objects, strict=True))


def _document(text: str, obj: Mapping[str, Any], roles: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    name = (obj.get("roleRef") or obj["metadata"])["name"]
    if obj["kind"] == "ValidatingAdmissionPolicyBinding":
        return text.rstrip("\n") + "\n" + _MATCHED
    if not obj["kind"].startswith("ClusterRole") or name not in roles:
        return text
    comments = _COMMENTS.match(text)
    head = comments[0] if comments else ""
    text = text.removeprefix(head).rstrip("\n") + "\n"
    whole = [all(resource in CLUSTER_SCOPED for resource in rule["resources"]) for rule in roles[name]]
    if name == FLAGS_ROLE:
        local = _local(text, "{{ .Values.tekton.namespace | quote }}", whole)
        local += f"  - {yaml.safe_dump(EVENTS, default_flow_style=True).strip()}\n" if "rules" in obj else ""
    else:
        inside = _ROOT.sub(r"$.\1", _local(text, "{{ $namespace | quote }}", whole))
        start = "{{- range $namespace := .Values.watchNamespaces }}\n---\n"
        local = f"{start}{inside}{{{{- end }}}}\n" if not all(whole) else ""
        if any(whole):
            local += f"---\n{_with_rules(text, whole)}"
    return f"{head}{{{{- if .Values.watchNamespaces }}}}\n{local}{{{{- else }}}}\n{text}{{{{- end }}}}\n"


def _local(text: str, namespace: str, whole: Sequence[bool]) -> str:
    """Return a ClusterRole, or its binding, as that of a namespace."""
    text = text.replace("kind: ClusterRoleBinding\n", "kind: RoleBinding\n")
    text = text.replace("kind: ClusterRole\n", "kind: Role\n")
    text = _METADATA_NAME.sub(lambda match: f"{match[0]}  namespace: {namespace}\n", text, count=1)
    text = _ALL_ACCOUNTS.sub(r"\1:{{ $namespace }}", text)
    return _with_rules(text, [not each for each in whole])


def _with_rules(text: str, kept: Sequence[bool]) -> str:
    """Return a role with some of its rules; a binding has none."""
    head, found, rules = text.partition("rules:\n")
    if not found:
        return text
    parts = _RULE.findall(rules)
    return head + found + "".join(part for part, keep in zip(parts, kept, strict=True) if keep)
