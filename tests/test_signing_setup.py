"""The set-up of signed results: it registers the identities that are verified, and its TaskRun runs."""

import re
from pathlib import Path

import pytest
import yaml

from resultsfw.cli import main
from resultsfw.controller.manifests import Choices, plan_of
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.signatures import controller_identity, pod_identity
from resultsfw.types import Run
from resultsfw_signing.statement import SIGNER_CONTAINER

ROOT = Path(__file__).parents[1]
IDENTITIES = {
    identity["metadata"]["name"]: identity["spec"]
    for identity in yaml.safe_load_all(
        (ROOT / "config" / "signing-identities" / "clusterspiffeids.yaml").read_text()
    )
}


def rendered(template, values):
    """The SPIFFE ID that the controller manager makes of a template."""
    return re.sub(r"\{\{ (.*?) \}\}", lambda match: values[match[1]], template)


@pytest.mark.parametrize("container", [RESULTS_SIDECAR, SIGNER_CONTAINER])
def test_the_templates_give_each_signer_the_identity_that_is_verified(container):
    selectors = [f"k8s:container-name:{container}"]
    [spec] = [spec for spec in IDENTITIES.values() if spec.get("workloadSelectorTemplates") == selectors]
    values = {
        ".TrustDomain": "example.org",
        ".PodMeta.Namespace": "team-a",
        ".PodMeta.UID": "3c4e",
        'index .PodMeta.Labels "tekton.dev/taskRun"': "build-1",
    }
    run = Run(namespace="team-a", name="build-1", uid="u")
    assert rendered(spec["spiffeIDTemplate"], values) == str(pod_identity("example.org", run, "3c4e"))
    assert spec["podSelector"]["matchExpressions"] == [{"key": "tekton.dev/taskRunUID", "operator": "Exists"}]


def test_the_template_gives_the_installed_controller_the_identity_that_an_auditor_expects():
    spec = IDENTITIES["resultsfw-controller"]
    [deployment] = [item for item in plan_of(Choices(signing=True)).applied if item["kind"] == "Deployment"]
    namespace, pod = deployment["metadata"]["namespace"], deployment["spec"]["template"]
    assert spec["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": namespace}
    assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    values = {
        ".TrustDomain": "example.org",
        ".PodMeta.Namespace": namespace,
        ".PodSpec.ServiceAccountName": pod["spec"]["serviceAccountName"],
    }
    assert rendered(spec["spiffeIDTemplate"], values) == str(controller_identity("example.org"))


def test_the_page_names_the_files_and_options_that_there_are():
    page = (ROOT / "docs" / "how-to" / "signed-results.md").read_text()
    commands = page.partition("## Set-up")[2].partition("```sh\n")[2].partition("```")[0]
    assert len(re.findall(r"^[a-z]", commands, re.MULTILINE)) == 10
    patches = re.findall(r"-p '(.*?)'", commands, re.DOTALL)
    assert [yaml.safe_load(yaml.safe_load(text)["data"]["config.signed"])["policy"] for text in patches] == [
        "mark",
        "fail",
    ]
    for file in re.findall(r"-f (\S+)", commands):
        assert (ROOT / file).exists()


def test_the_first_taskrun_runs(capsys):
    assert main(["run", str(ROOT / "examples" / "06-signed-results" / "taskrun.yaml")]) == 0
    assert "signed succeeded" in capsys.readouterr().out
