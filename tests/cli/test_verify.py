"""`resultsfw verify`: what an auditor sees of saved runs, months later."""

import base64
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding
from signing_harness import AT, DOMAIN, RUN, Signed, authority
from verdict_harness import CONTROLLER, signed, signer, taskrun

from resultsfw.cli.inspect.verify_pipelines import verify_pipelinerun
from resultsfw.testing.signing_ca import ca_template, new_authority


def pem(issuer):
    return issuer.certificate.public_bytes(Encoding.PEM).decode()


@pytest.fixture
def bundle(write):
    return write("bundle.pem", pem(authority()))


@pytest.fixture
def verify(cli, write, bundle):
    def run(*objects, options=(), files=("run.yaml",), bundles=(bundle,)):
        write("run.yaml", yaml.safe_dump_all(objects))
        return cli(
            "verify",
            *(word for file in files for word in ("-f", file)),
            *(word for file in bundles for word in ("--bundle", file)),
            *options,
        )

    return run


def named(name):
    """A TaskRun of another name, signed."""
    run = replace(RUN, name=name, uid=f"uid-of-{name}")
    obj = taskrun()
    obj["metadata"] |= {"name": name, "uid": run.uid}
    pod = Signed(run=run)
    return signed(run=run, obj=obj, envelope=pod.envelope())


def pipelinerun(*children, results=(), name="pipeline", kind="TaskRun"):
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"namespace": RUN.namespace, "name": name},
        "status": {
            "childReferences": [
                {"kind": kind, "name": child, "pipelineTaskName": f"task-{child}"} for child in children
            ],
            "pipelineSpec": {
                "results": [
                    {"name": "digest", "value": "$(tasks.task-build-1.results.digest)"},
                    {"name": "both", "value": "$(tasks.a.results.x)-$(tasks.b.results.y)"},
                ]
            },
            "results": list(results),
        },
    }


def test_a_signed_run_verifies(verify):
    ran = verify(signed())
    assert (ran.status, ran.err) == (0, "")
    assert "TaskRun team-a/build-1: verified\n" in ran.out
    assert f"signed 2026-06-01T12:05:00Z by {CONTROLLER}" in ran.out
    assert "pod: spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-uid-1" in ran.out
    assert "results/digest: verified" in ran.out


def test_a_changed_result_is_named(verify):
    obj = signed()
    obj["status"]["results"][0]["value"] = "sha256:forged"
    ran = verify(obj)
    assert ran.status == 1
    assert "TaskRun team-a/build-1: NOT VERIFIED" in ran.out
    assert "WrongDigest: 'results/digest' does not have the value that was signed" in ran.out
    assert "results/digest: changed" in ran.out
    assert len(set(ran.out.splitlines())) == len(ran.out.splitlines())
    assert "forged" not in ran.out


def test_json_has_each_finding(verify):
    obj, other = signed(), signed()
    obj["status"]["steps"][0]["results"][0]["value"] = "x"
    ran = verify(obj, other, options=("-o", "json"))
    assert yaml.safe_load(verify(obj, other, options=("-o", "yaml")).out) == ran.json
    assert ran.status == 1
    assert ran.json["verified"] is False
    bad, good = ran.json["runs"]
    assert (bad["verified"], good["verified"]) == (False, True)
    assert {"reason": "WrongDigest", "result": "digest", "step": "build"}.items() <= bad["faults"][0].items()
    assert good["signer"] == str(CONTROLLER)
    assert {result["state"] for result in good["results"]} == {"verified"}


def test_a_run_without_a_signature_is_called_that(verify):
    ran = verify(taskrun())
    assert ran.status == 1
    assert "NoSignature: not signed: the status has no annotation resultsfw.dev/verdict" in ran.out
    assert "results/digest: unsigned" in ran.out


def test_another_signer_is_named_and_can_be_the_right_one(verify):
    own = "spiffe://example.org/ns/tekton/sa/mine"
    obj = signed(by=signer(own))
    ran = verify(obj)
    assert ran.status == 1
    assert f"WrongIdentity: {own} signed, and {CONTROLLER} must sign" in ran.out
    assert verify(obj, options=("--controller-id", own)).status == 0


def test_a_rotated_bundle_says_which_is_needed(verify, write):
    new = write("new.pem", pem(new_authority(DOMAIN, at=AT)))
    ran = verify(signed(), bundles=(new,))
    assert ran.status == 1
    assert "UntrustedCertificate" in ran.out
    assert "give the bundle that was archived then" in ran.out
    assert verify(signed(), bundles=(new, "bundle.pem")).status == 0


def test_the_trust_domain_is_that_of_the_bundle_or_named(verify, write):
    silent = new_authority(DOMAIN, at=AT, template=replace(ca_template(DOMAIN, at=AT), uris=()))
    file = write("silent.pem", pem(silent))
    ran = verify(signed(by=signer(issuer=silent)), bundles=(file,))
    assert ran.status == 2
    assert "--trust-domain" in ran.err
    both = ("silent.pem", "bundle.pem")
    ran = verify(signed(by=signer(issuer=silent)), bundles=both, options=("--trust-domain", DOMAIN))
    assert ran.status == 0
    assert verify(signed(), options=("--trust-domain", "EXAMPLE.org")).status == 2


def test_a_map_of_bundles_is_one_by_its_domain(verify, write):
    def keys(issuer):
        der = issuer.certificate.public_bytes(Encoding.DER)
        return {"keys": [{"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(der).decode()]}]}

    both = {"trust_domains": {DOMAIN: keys(authority()), "other.org": keys(authority("other.org"))}}
    file = write("bundles.json", json.dumps(both))
    assert verify(signed(), bundles=(file,)).status == 2
    assert verify(signed(), bundles=(file,), options=("--trust-domain", DOMAIN)).status == 0


def test_a_pipelinerun_verifies_by_its_taskruns(verify):
    results = [{"name": "digest", "value": "sha256:1"}]
    ran = verify(pipelinerun("build-1", "other", results=results), signed(), named("other"))
    assert ran.status == 0
    assert "PipelineRun team-a/pipeline: verified" in ran.out
    assert "results/digest: verified" in ran.out
    assert "a PipelineRun's own status is not signed" in ran.out


def test_a_result_of_a_pipelinerun_that_no_signature_covers_does_not_verify(verify):
    results = [{"name": "digest", "value": "sha256:1"}, {"name": "both", "value": "1-2"}]
    ran = verify(pipelinerun("build-1", "other", results=results), signed(), named("other"))
    assert ran.status == 1
    assert "PipelineRun team-a/pipeline: NOT VERIFIED" in ran.out
    assert "NoSignature: 'results/both' is not exactly one result of one TaskRun" in ran.out
    assert "results/digest: verified\n  results/both: unsigned" in ran.out


def test_a_pipelinerun_with_a_missing_or_wrong_child_does_not_verify(verify):
    ran = verify(pipelinerun("build-1", "other"), signed())
    assert ran.status == 1
    assert "its child TaskRun 'other' was not found" in ran.out
    wrong = named("other")
    wrong["status"]["podName"] = "x"
    ran = verify(pipelinerun("build-1", "other"), signed(), wrong)
    assert "WrongStatus: its child TaskRun 'other' does not verify" in ran.out
    results = [{"name": "digest", "value": "sha256:forged"}]
    ran = verify(pipelinerun("build-1", results=results), signed())
    assert ran.status == 1
    assert "is not the result of the TaskRun from which the Pipeline takes it" in ran.out
    assert verify(pipelinerun()).status == 1


def test_a_pipelinerun_in_another_is_followed(verify):
    outer = pipelinerun("inner", name="outer", kind="PipelineRun")
    assert verify(outer, pipelinerun("build-1", name="inner"), signed()).status == 0
    assert verify(outer, pipelinerun("gone", name="inner"), signed()).status == 1
    assert verify(pipelinerun("gone", kind="CustomRun")).status == 1


def test_a_pipelinerun_is_compared_with_each_of_its_children_a_fixed_number_of_times():
    class Child(dict):
        reads = 0

        def get(self, *key):
            Child.reads += 1
            return super().get(*key)

    names = [f"child-{number}" for number in range(100)]
    obj = pipelinerun(*names, results=[{"name": "digest", "value": "x"}] * len(names))
    obj["status"]["childReferences"] = [Child(child) for child in obj["status"]["childReferences"]]
    verified = verify_pipelinerun(obj, {})
    assert len(verified.results) == len(names)
    assert len(verified.faults) == 2 * len(names)  # of each child, and of each result
    assert Child.reads <= 10 * len(names)


def test_a_number_that_no_object_of_the_api_has_is_refused(cli, write, bundle):
    obj = yaml.safe_dump(signed()).replace("podName: build-1-pod\n", f"podName: 0x{'f' * 5000}\n")
    ran = cli("verify", "-f", write("run.yaml", obj), "--bundle", bundle)
    assert ran.status == 2
    assert "number of more than 64 bits" in ran.err


def test_a_list_from_kubectl_is_read_from_standard_input(cli, write, bundle):
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [signed(), named("other")]})
    assert cli("verify", "-f", "-", "--bundle", bundle, stdin=listed).status == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("apiVersion: v1\nkind: Pod\n", "no TaskRun and no PipelineRun in the files"),
        ("apiVersion: tekton.dev/v1beta1\nkind: TaskRun\n", "must be tekton.dev/v1"),
        ("[", "run.yaml"),
    ],
)
def test_a_file_without_a_run_is_refused(cli, write, bundle, text, why):
    ran = cli("verify", "-f", write("run.yaml", text), "--bundle", bundle)
    assert ran.status == 2
    assert why in ran.err


@pytest.mark.parametrize("text", [b"\xff", b"x", b'{"keys": []}'])
def test_a_file_that_is_not_a_bundle_is_refused(cli, write, text):
    write("run.yaml", yaml.safe_dump(signed()))
    ran = cli("verify", "-f", "run.yaml", "--bundle", write("bad", text))
    assert ran.status == 2
    assert ran.err.startswith("error: bad: ")
    assert "unnamed" not in ran.err


def test_a_bundle_is_required(cli, write):
    ran = cli("verify", "-f", write("run.yaml", yaml.safe_dump(signed())))
    assert ran.status == 2
    assert "--bundle" in ran.err


@pytest.mark.slow
def test_no_engine_and_no_network_library_is_imported():
    code = (
        "import sys, resultsfw.cli.inspect.verify; "
        "print([name for name in ('grpc', 'spiffe', 'kubernetes', 'resultsfw.local') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
