"""The Helm chart is generated from ``config/``, and renders to what ``resultsfw install`` applies."""

import copy
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from resultsfw.controller.manifests import OPT_INS, Choices, backends_with_rights, plan_of

CHARTS = Path(__file__).parents[2] / "charts"
sys.path.insert(0, str(CHARTS))

import generate  # noqa: E402 - a script

REGISTRY = "r.example/team"
HELM = shutil.which("helm")
needs_helm = pytest.mark.skipif(HELM is None, reason="there is no helm")


def test_the_chart_is_generated_from_the_manifests():
    """If this fails: python charts/generate.py."""
    by_hand = {"Chart.yaml", ".helmignore", "templates/_helpers.tpl", "templates/NOTES.txt"}
    files = {
        str(path.relative_to(generate.CHART)): path.read_text()
        for path in generate.CHART.rglob("*")
        if path.is_file()
    }
    generated = generate.generated_files()
    committed = {name: text for name, text in files.items() if name not in by_hand}
    changed = [name for name in {*generated, *committed} if generated.get(name) != committed.get(name)]
    assert not changed, "config/, or an option of a command, has changed: python charts/generate.py"


def test_every_folder_and_file_of_the_manifests_is_in_the_chart():
    files = {str(path.relative_to(generate.CONFIG)) for path in generate.CONFIG.rglob("*.yaml")}
    rendered = {path.removeprefix("templates/") for path in generate.generated_files()}
    assert {path for path in files - rendered if not path.endswith("kustomization.yaml")} == {
        "base/namespace.yaml",  # helm install --create-namespace
        *(path for path in files - {"crds/kustomization.yaml"} if path.startswith("crds/")),  # Tekton's
        "enable-signing/deployment.yaml",  # patches, which are conditions in the templates
        "results-server-on-postgresql/deployment.yaml",
    }


def test_the_charts_version_is_the_projects():
    chart = yaml.safe_load((generate.CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version("resultsfw")


def test_the_schema_knows_the_commands_options_but_those_that_the_chart_sets():
    schema = json.loads((generate.CHART / "values.schema.json").read_text())
    options = schema["properties"]["controller"]["properties"]["options"]["properties"]
    assert (options["threads"]["minimum"], options["threads"]["maximum"]) == (1, 256)
    assert options["leader-elect"]["type"] == "boolean"
    assert not options.keys() & {"kubeconfig", "namespace", "lease-namespace", "listen"}
    server = schema["properties"]["resultsServer"]["properties"]["options"]["properties"]
    assert server["check-runs"]["const"] is True
    assert "store" not in server


def test_a_manifest_that_the_generator_does_not_know_is_an_error(monkeypatch):
    with pytest.raises(ValueError, match=r"config/a\.yaml has not exactly one of: x"):
        generate._replaced("a.yaml", "y", "x", "z")
    monkeypatch.setitem(generate._EDITS, "base/gone.yaml", {})
    with pytest.raises(ValueError, match=r"base/gone\.yaml"):
        generate.generated_files()


# With Helm.


def helm(*arguments):
    environment = {**os.environ, "HELM_CACHE_HOME": "/nonexistent", "HELM_CONFIG_HOME": "/nonexistent"}
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, env=environment, check=False)


def rendered(*settings, namespace="resultsfw"):
    settings = [word for setting in (f"image.registry={REGISTRY}", *settings) for word in ("--set", setting)]
    command = ("template", "resultsfw", str(generate.CHART), "-n", namespace, "--kube-version", "1.31.0")
    answer = helm(*command, *settings)
    assert answer.returncode == 0, answer.stderr
    return [obj for obj in yaml.safe_load_all(answer.stdout) if obj]


def comparable(objects):
    """By kind and name; without the labels that name the tool, and with lists by the names of their items."""
    found = {}
    for obj in copy.deepcopy([obj for obj in objects if obj["kind"] != "Namespace"]):
        for key in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
            obj["metadata"]["labels"].pop(key, None)
        if obj["kind"] == "Deployment":
            spec = obj["spec"]["template"]["spec"]
            (container,) = spec["containers"]
            container["args"] = sorted(container["args"])
            container["volumeMounts"].sort(key=lambda item: item["name"])
            container.get("env", []).sort(key=lambda item: item["name"])
            spec["volumes"].sort(key=lambda item: item["name"])
        key = (obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"])
        assert key not in found
        found[key] = obj
    return found


def setting_of(attribute):
    return f"components.{generate.COMPONENTS[attribute]}=true"


EVERYTHING = [setting_of(folder) for folder in OPT_INS]
ALONE = {
    **{attribute: ({attribute: True}, [setting_of(folder)]) for folder, attribute in OPT_INS.items()},
    **{name: ({"backends": (name,)}, [f"backends.{name}=true"]) for name in backends_with_rights()},
    "nothing": ({}, []),
    "signing": ({"signing": True}, ["components.signing=true"]),
    "image": ({"controller_image": "mine:1"}, ["controller.image=mine:1"]),
    "options": (
        {"namespace": "ci", "options": {"sidecar-image": "s:1", "nop-image": "n"}},
        ["tekton.namespace=ci", "controller.options.sidecar-image=s:1", "controller.options.nop-image=n"],
    ),
    "namespaces": (
        {"watch_namespaces": ("a", "b"), "namespace": "ci", "admission_policy": True},
        ["watchNamespaces={a,b}", "tekton.namespace=ci", "components.admissionPolicy=true"],
    ),
    "everything-in-a-namespace": (
        {
            **dict.fromkeys(OPT_INS.values(), True),
            "backends": tuple(backends_with_rights()),
            "watch_namespaces": ("a",),
        },
        ["watchNamespaces={a}", *EVERYTHING, *(f"backends.{name}=true" for name in backends_with_rights())],
    ),
    "everything": (
        {
            **dict.fromkeys(OPT_INS.values(), True),
            "backends": tuple(backends_with_rights()),
            "signing": True,
        },
        [
            *EVERYTHING,
            "components.signing=true",
            *(f"backends.{name}=true" for name in backends_with_rights()),
        ],
    ),
}


@needs_helm
@pytest.mark.parametrize("case", ALONE)
def test_the_chart_renders_to_what_install_applies(case):
    choices, settings = ALONE[case]
    plan = plan_of(Choices(image_registry=REGISTRY, **choices))
    assert comparable(rendered(*settings)) == comparable(plan.applied)


@needs_helm
def test_the_results_server_on_postgresql_is_that_of_the_component(tmp_path):
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    shutil.copytree(generate.CONFIG, tmp_path / "config")
    names = ("backends/http", "results-server-on-postgresql", "enable-run-checks-of-results-server")
    overlay = {
        "resources": ["config"],
        "components": [f"config/{name}" for name in names],
        "images": [
            {"name": f"registry.invalid/resultsfw/{name}", "newName": f"{REGISTRY}/{name}"}
            for name in ("controller", "results-server")
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    built = subprocess.run(["kubectl", "kustomize", tmp_path], capture_output=True, text=True, check=True)
    wanted = built.stdout.replace("value: registry.invalid/resultsfw", f"value: {REGISTRY}")
    store = (
        "postgresql://resultsfw@postgresql.resultsfw.svc/resultsfw?sslrootcert=/etc/resultsfw/database/ca.crt"
    )
    settings = ["backends.http=true", "components.runChecks=true", f"resultsServer.postgresql.store={store}"]
    assert comparable(rendered(*settings)) == comparable(yaml.safe_load_all(wanted))


@needs_helm
def test_a_release_may_have_another_namespace_and_a_prefix():
    settings = [*EVERYTHING, *(f"backends.{name}=true" for name in backends_with_rights())]
    objects = rendered("namePrefix=x-", *settings, namespace="team-x")
    assert {obj["metadata"].get("namespace", "team-x") for obj in objects} == {"team-x"}
    fixed = {
        *("resultsfw-custom-resource", "resultsfw-self-update", "runresults.resultsfw.dev"),
        *("resultsfw-allowed-backends", "resultsfw-reserved-names"),
    }
    names = {obj["metadata"]["name"] for obj in objects}
    assert {name for name in names if not name.startswith("x-")} == fixed
    for obj in objects:
        for subject in obj.get("subjects", ()):
            if subject["kind"] == "ServiceAccount":
                assert subject["namespace"] == "team-x"
                assert ("ServiceAccount", subject["name"]) in {
                    (o["kind"], o["metadata"]["name"]) for o in objects
                }
        if "roleRef" in obj and obj["roleRef"]["name"] != "system:auth-delegator":
            assert obj["roleRef"]["name"] in names


@needs_helm
@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (["image.registry="], "image.registry is not set"),
        (["image.registry=https://r.example"], "/image/registry"),
        (["component.logAccess=true"], "component"),
        (["controller.options.thread=3"], "thread"),
        (["controller.options.threads=0"], "threads"),
        (["backends.htttp=true"], "htttp"),
        (["namePrefix=X-"], "namePrefix"),
        (["watchNamespaces={a,B}"], "watchNamespaces"),
        ([f"watchNamespaces={{{','.join(f'n{index}' for index in range(101))}}}"], "watchNamespaces"),
        (["image.registry=r.example/a\nb: c"], "/image/registry"),
        (["controller.image=a'b"], "/controller/image"),
        (["controller.options.watch-namespaces=a"], "watch-namespaces"),
        (["resultsServer.options.check-runs=false"], "check-runs"),
    ],
)
def test_invalid_values_are_refused(settings, word):
    words = [word for setting in settings for word in ("--set", setting)]
    answer = helm("template", "x", str(generate.CHART), "--kube-version", "1.31.0", *words)
    assert answer.returncode != 0
    assert word in answer.stderr


@needs_helm
def test_the_chart_passes_helms_linter():
    answer = helm("lint", "--strict", str(generate.CHART), "--set", f"image.registry={REGISTRY}")
    assert answer.returncode == 0, answer.stdout + answer.stderr


# The page about the installation.


PAGE = (CHARTS.parent / "docs" / "how-to" / "install.md").read_text()


def test_the_pages_overlay_is_built(tmp_path):
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    shutil.copytree(generate.CONFIG, tmp_path / "config")
    (tmp_path / "kustomization.yaml").write_text(PAGE.split("```yaml\n")[1].split("```")[0])
    built = subprocess.run(["kubectl", "kustomize", tmp_path], capture_output=True, text=True, check=True)
    registry = "registry.example.org/team"
    plan = plan_of(Choices(image_registry=registry, log_access=True, disruption_budget=True))
    text = yaml.safe_dump_all(plan.applied).replace("namespace: resultsfw\n", "namespace: ci-results\n")
    wanted = list(yaml.safe_load_all(text))
    deployment = next(manifest for manifest in wanted if manifest["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["args"].append("--threads=8")
    assert comparable(yaml.safe_load_all(built.stdout)) == comparable(wanted)


def test_the_page_names_every_component_and_value():
    below = PAGE.split("## What to opt in to")[1].split("## Check")[0]
    for folder, value in generate.COMPONENTS.items():
        assert f"`{folder}`" in below
        assert f"components.{value}" in below
