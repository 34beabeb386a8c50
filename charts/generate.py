"""Generate the Helm chart from the manifests of ``config/``: ``python charts/generate.py``.

Templates are the text of the manifests, comments too, with values in place of what an installation chooses.
Lines that are looked for and not found are an error: then ``config/`` has changed, and this must follow. The
chart's other files (``Chart.yaml``, ``_helpers.tpl``, ``NOTES.txt``) are written by hand.
"""

import re
import sys
from pathlib import Path
from typing import Final

import yaml

from resultsfw.controller.manifests import BACKENDS, OPT_INS, backends_with_rights

sys.path.insert(0, str(Path(__file__).parent))

from chart_values import schema, values_file
from namespaced import namespaced

__all__ = ["CHART", "generated_files"]

CONFIG: Final = Path(__file__).parents[1] / "config"
CHART: Final = Path(__file__).parent / "resultsfw"

COMPONENTS: Final = {
    **{
        folder: re.sub("_(.)", lambda match: match[1].upper(), attribute)
        for folder, attribute in OPT_INS.items()
    },
    "enable-run-checks-of-results-server": "runChecks",
    "signing-identities": "signingIdentities",
}
"""The folders of ``config/`` whose objects are added by a boolean below ``components``."""

ON_POSTGRESQL: Final = ".Values.resultsServer.postgresql.store"

_EXPRESSION: Final = re.compile(r"\{\{.*?\}\}")
_NAME: Final = re.compile(r"^  name: (resultsfw[a-z-]*)$", re.MULTILINE)
_NAMED: Final = re.compile(
    r"^( *(?:- )?(?:name|serviceAccountName|claimName): )(resultsfw[a-z-]+)$", re.MULTILINE
)
_RESOURCES: Final = re.compile(r"^( +)resources:\n +requests: .*\n +limits: .*\n", re.MULTILINE)

_VALUES: Final = {
    "namespace: resultsfw": "namespace: {{ .Release.Namespace }}",
    "matchLabels: {kubernetes.io/metadata.name: resultsfw}": (
        "matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}"
    ),
    "app.kubernetes.io/instance: resultsfw": "app.kubernetes.io/instance: {{ .Release.Name }}",
    'app.kubernetes.io/version: "0.1.0"': "app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}",
    "app.kubernetes.io/managed-by: kubectl": (
        "app.kubernetes.io/managed-by: {{ .Release.Service }}\n"
        '    helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}'
    ),
}
"""Lines that each manifest may have, and the template of each."""


def generated_files() -> dict[str, str]:
    """Return the text of each generated file of the chart, by its path below the chart's folder.

    Raises:
        ValueError: A manifest is not as the edits expect it.
    """
    sources = _sources()
    if unused := _EDITS.keys() - {path for path, _ in sources}:
        raise ValueError(f"edits of files that config/ does not have: {', '.join(sorted(unused))}")
    files = {f"templates/{path}": _template(path, condition) for path, condition in sources}
    return {**files, "values.yaml": values_file(COMPONENTS), "values.schema.json": schema(COMPONENTS)}


def _sources() -> list[tuple[str, str]]:
    """Return the manifests of the chart, each with the condition under which it is rendered; "" is always.

    Helm creates the namespace (``--create-namespace``), and CRDs and ConfigMap of Tekton are Tekton's.
    """
    found = [(path, "") for path in _files("base") if path != "base/namespace.yaml"]
    for folder, name in COMPONENTS.items():
        found += [(path, f".Values.components.{name}") for path in _files(folder)]
    for name in backends_with_rights():
        found += [(path, f'index .Values.backends "{name}"') for path in _files(f"{BACKENDS}/{name}")]
    special = {
        "base/secrets.yaml": ".Values.components.secretAccess",
        "backends/http/persistentvolumeclaim.yaml": f"and .Values.backends.http (not {ON_POSTGRESQL})",
    }
    budget = "results-server-on-postgresql/poddisruptionbudget.yaml"
    return [
        *((path, special.get(path, condition)) for path, condition in found),
        (budget, f"and .Values.backends.http {ON_POSTGRESQL}"),
    ]


def _files(folder: str) -> list[str]:
    """Return the manifests of a folder, as its kustomization lists them, by their path below ``config/``."""
    kustomization = CONFIG / folder / "Kustomization"
    if not kustomization.exists():
        kustomization = CONFIG / folder / "kustomization.yaml"
    return [f"{folder}/{name}" for name in yaml.safe_load(kustomization.read_text())["resources"]]


def _template(path: str, condition: str) -> str:
    """Return the template of a manifest."""
    text = _EXPRESSION.sub(lambda match: "{{`" + match[0] + "`}}", (CONFIG / path).read_text())
    for line, template in _VALUES.items():
        text = re.sub(rf"^( *(?:- )?){re.escape(line)}$", rf"\g<1>{template}", text, flags=re.MULTILINE)
    text = _NAMED.sub(_with_prefix, text)
    for old, new in _EDITS.get(path, {}).items():
        text = _replaced(path, text, old, new)
    text = namespaced(text, (CONFIG / path).read_text(), _ROLES)
    return f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n" if condition else text


def _with_prefix(match: re.Match[str]) -> str:
    """Return a line with a name, with the chart's prefix if it is the name of an object of the chart."""
    start, name = match.groups()
    return f"{start}{{{{ .Values.namePrefix }}}}{name}" if name in _PREFIXED else match[0]


def _prefixed() -> frozenset[str]:
    """Return the names of the chart's objects, without those that the controller looks for by name."""
    fixed = ("CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    return frozenset(
        obj["metadata"]["name"]
        for path, _ in _sources()
        for obj in yaml.safe_load_all((CONFIG / path).read_text())
        if obj["kind"] not in fixed
    )


_PREFIXED: Final = _prefixed()

_ROLES: Final = {
    obj["metadata"]["name"]: obj["rules"]
    for path, _ in _sources()
    for obj in yaml.safe_load_all((CONFIG / path).read_text())
    if obj["kind"] == "ClusterRole"
}
"""The rules of the ClusterRoles of the controller and of pods, by name."""


def _replaced(path: str, text: str, old: str, new: str) -> str:
    """Return a text with lines replaced.

    Raises:
        ValueError: They do not occur exactly once.
    """
    if text.count(old) != 1:
        raise ValueError(f"config/{path} has not exactly one of: {old}")
    return text.replace(old, new)


def _lines(spaces: int, *lines: str) -> str:
    return "".join(f"{' ' * spaces}{line}\n" for line in lines)


def _pod_edits(values: str) -> dict[str, str]:
    """Return the edits of a Deployment that every pod has, with values below ``values``."""
    scheduling = []
    for name in ("tolerations", "affinity"):
        scheduling += [
            f"{{{{- with {values}.{name} }}}}",
            f"{name}: {{{{- toYaml . | nindent 8 }}}}",
            "{{- end }}",
        ]
    return {
        _lines(6, "nodeSelector:", "  kubernetes.io/os: linux"): _lines(
            6,
            f"nodeSelector: {{{{- toYaml {values}.nodeSelector | nindent 8 }}}}",
            *scheduling,
            f"{{{{- with {values}.priorityClassName }}}}",
            "priorityClassName: {{ . | quote }}",
            "{{- end }}",
            "{{- with .Values.image.pullSecrets }}",
            "imagePullSecrets: {{- toYaml . | nindent 8 }}",
            "{{- end }}",
        ),
    }


def _image(name: str, values: str) -> str:
    """Return the lines of a container's image."""
    return _lines(
        10,
        f'image: {{{{ include "resultsfw.image" (list . "{name}" {values}.image) | quote }}}}',
        "{{- with .Values.image.pullPolicy }}",
        "imagePullPolicy: {{ . }}",
        "{{- end }}",
    )


def _resources(path: str, values: str) -> dict[str, str]:
    match = _RESOURCES.search((CONFIG / path).read_text())
    if match is None:
        raise ValueError(f"config/{path} has no resources")
    return {match[0]: _lines(10, f"resources: {{{{- toYaml {values}.resources | nindent 12 }}}}")}


def _options(values: str) -> list[str]:
    """Return the lines that add the options of a command to its arguments."""
    return [f"{{{{- with {values} }}}}", '{{- include "resultsfw.options" . | nindent 12 }}', "{{- end }}"]


def _signing(part: str, spaces: int) -> dict[str, str]:
    """Return the edit that adds a list of the component ``enable-signing``: its volumes, or its mounts."""
    text = (CONFIG / "enable-signing" / "deployment.yaml").read_text()
    found = re.search(rf"^ +{part}:\n((?: +(?:- | ).*\n)+?)(?=^ {{0,{spaces}}}\S|\Z)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"config/enable-signing/deployment.yaml adds no {part}")
    start = _lines(spaces, f"{part}:")
    return {
        start: f"{start}{_lines(spaces + 2, '{{- if .Values.components.signing }}')}{found[1]}"
        f"{_lines(spaces + 2, '{{- end }}')}"
    }


def _postgresql_lists() -> tuple[list[str], list[str]]:
    """Return the lines of the mount and the volume that PostgreSQL needs."""
    patch = yaml.safe_load((CONFIG / "results-server-on-postgresql" / "deployment.yaml").read_text())
    spec = patch["spec"]["template"]["spec"]
    [mount] = [mount for mount in spec["containers"][0]["volumeMounts"] if "$patch" not in mount]
    [volume] = [volume for volume in spec["volumes"] if "$patch" not in volume]
    return [f"- {_flow(mount)}"], [f"- {_flow(volume)}"]


def _flow(obj: object) -> str:
    return yaml.safe_dump(obj, default_flow_style=True, sort_keys=False, width=1000).strip()


def _controller_edits() -> dict[str, str]:
    path, values = "base/deployment.yaml", ".Values.controller"
    return {
        **_pod_edits(values),
        **_resources(path, values),
        **_signing("volumeMounts", 10),
        **_signing("volumes", 6),
        "  replicas: 2\n": f"  replicas: {{{{ {values}.replicas }}}}\n",
        _lines(10, "image: registry.invalid/resultsfw/controller:0.1.0"): _image("controller", values),
        "value: registry.invalid/resultsfw\n": (
            'value: {{ .Values.image.registry | default "registry.invalid/resultsfw" | quote }}\n'
        ),
        _lines(10, 'args: ["controller", "--lease-namespace", "$(POD_NAMESPACE)"]'): _lines(
            10,
            "args:",
            "  - controller",
            "  - --lease-namespace",
            "  - $(POD_NAMESPACE)",
            '  {{- if ne .Values.tekton.namespace "tekton-pipelines" }}',
            "  - --namespace",
            "  - {{ .Values.tekton.namespace | quote }}",
            "  {{- end }}",
            "  {{- with .Values.watchNamespaces }}",
            "  - --watch-namespaces",
            '  - {{ join "," . | quote }}',
            "  {{- end }}",
            *(f"  {line}" for line in _options(f"{values}.options")),
        ),
    }


def _server_edits() -> dict[str, str]:
    path, values = "backends/http/deployment.yaml", ".Values.resultsServer"
    mount, volume = _postgresql_lists()
    local = _lines(12, "- {name: results, mountPath: /var/lib/resultsfw}")
    claim = _lines(
        8,
        "- name: results",
        "  persistentVolumeClaim:",
        "    claimName: {{ .Values.namePrefix }}resultsfw-results",
    )
    store = _lines(12, "- --store=file:///var/lib/resultsfw/results")
    condition, replicated = f"{{{{- if {ON_POSTGRESQL} }}}}", f'(ne {ON_POSTGRESQL} "")'
    key = _lines(12, "- --tls-key=/etc/resultsfw/tls/tls.key")
    return {
        **_pod_edits(values),
        **_resources(path, values),
        "  replicas: 1\n": f"  replicas: {{{{ ternary {values}.postgresql.replicas 1 {replicated} }}}}\n",
        "    type: Recreate\n": f'    type: {{{{ ternary "RollingUpdate" "Recreate" {replicated} }}}}\n',
        _lines(10, "image: registry.invalid/resultsfw/results-server:0.1.0"): _image(
            "results-server", values
        ),
        store: _lines(
            12,
            f"{{{{- with {ON_POSTGRESQL} }}}}",
            '- {{ printf "--store=%s" . | quote }}',
            "- --store-password-file=/etc/resultsfw/database/password",
            "{{- else }}",
            store.strip(),
            "{{- end }}",
        ),
        key: key + _lines(12, *_options(f"{values}.options")),
        local: _lines(12, condition, *mount, "{{- else }}") + local + _lines(12, "{{- end }}"),
        claim: _lines(8, condition, *volume, "{{- else }}") + claim + _lines(8, "{{- end }}"),
    }


_EDITS: Final = {
    "admission-policy/allowed-backends-binding.yaml": {
        "    namespace: tekton-pipelines\n": "    namespace: {{ .Values.tekton.namespace | quote }}\n",
    },
    "base/deployment.yaml": _controller_edits(),
    "backends/http/deployment.yaml": _server_edits(),
    "backends/http/persistentvolumeclaim.yaml": {
        "      storage: 2Gi\n": "      storage: {{ .Values.resultsServer.storage.size }}\n",
        '  accessModes: ["ReadWriteOnce"]\n': (
            '  accessModes: ["ReadWriteOnce"]\n'
            "  {{- with .Values.resultsServer.storage.className }}\n"
            "  storageClassName: {{ . | quote }}\n"
            "  {{- end }}\n"
        ),
    },
}
"""The edits of single manifests, after those of all."""


def main() -> None:
    """Write the generated files, and remove templates whose manifest is gone."""
    files = generated_files()
    by_hand = {CHART / "templates" / name for name in ("_helpers.tpl", "NOTES.txt")}
    for path in (CHART / "templates").rglob("*"):
        if path.is_file() and path not in by_hand and str(path.relative_to(CHART)) not in files:
            path.unlink()
    for name, text in files.items():
        (CHART / name).parent.mkdir(parents=True, exist_ok=True)
        (CHART / name).write_text(text)


if __name__ == "__main__":
    main()
