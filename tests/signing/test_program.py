"""The sidecar as a process that signs what it delivers, and what it does without an identity."""

import base64
import hashlib
import json
import subprocess
import sys

import pytest
from cryptography import x509
from signedpods import POD, POD_ID, RUN, RUN_ID, SIDECAR, SPEC, served, signing, verified, verify

from resultsfw_sidecar import wire
from resultsfw_sidecar.compression import LEAST


def sha(value):
    return hashlib.sha256(value).hexdigest()


def written(pod):
    """Lets Steps write results of each kind; returns the subjects that must be signed, but the first."""
    large, step = b"x" * (2 * LEAST), pod.root / "run/0/status"
    provenance = b'{"inputs":[]}'
    (step / "artifacts").mkdir()
    files = {
        pod.results / "digest": b"sha256:1",
        pod.results / "list": b'["a","b"]',
        pod.results / "packed": large,
        pod.results / "large": b"y" * 5000,
        pod.results / "latin": b"\xff",
        step / "results/digest": b"of the step",
        step / "artifacts/provenance.json": provenance,
    }
    for path, content in files.items():
        path.write_bytes(content)
    return [
        ("results/digest", sha(b"sha256:1"), {"type": "string", "bytes": 8}),
        ("results/list", sha(b'["a","b"]'), {"type": "array", "bytes": 9}),
        ("results/packed", sha(large), {"type": "string", "bytes": len(large)}),
        ("steps/build/results/digest", sha(b"of the step"), {"type": "string", "bytes": 11}),
        ("steps/build/artifacts/provenance.json", sha(provenance), {"type": "artifacts", "bytes": 13}),
    ]


NAMES = ("digest", "list", "packed", "large", "latin", "none")
FLAGS = ("-step-results", '{"step-build":["digest","none"]}', "-step-names", "step-build")
TYPES = {"results/list": "array"}


def check(parsed, subjects, version):
    [spec, *others] = parsed["subject"]
    assert spec == {"name": "task-spec", "digest": {"sha256": SPEC}}
    found = [(entry["name"], entry["digest"]["sha256"], entry["annotations"]) for entry in others]
    assert found == subjects
    assert parsed["predicate"] == {
        "run": RUN,
        "pod": {"uid": POD},
        "wire": version,
        "absent": ["results/none", "steps/build/results/none", "artifacts/provenance.json"],
        "refused": {"results/large": "TooLarge", "results/latin": "NotUtf8"},
    }


def test_each_result_is_signed_as_it_is_delivered_however_late_the_identity_is(
    api, pod, authority, credential
):
    subjects = written(pod)
    variables = {"WIRE": "2", "MAX_RESULT_SIZE": "4096", "TASK_ARTIFACTS": "true"}
    tekton = authority.issue_svid(RUN_ID)
    process = pod.start(*NAMES, flags=FLAGS, **variables, SIGNING=signing(api, types=TYPES, tekton=True))
    api.wait_for_refusals(1)
    process.terminate()  # of the kubelet: all Steps have ended
    api.serve(served(credential, authority), served(tekton, authority, RUN_ID))
    *records, signature = pod.records(process)
    assert list(signature) == ["type", "envelope", "tekton"]
    parsed, name = verified(signature["envelope"])
    assert name == POD_ID
    check(parsed, subjects, 2)
    delivered = {record["name"] for record in records if record["type"] in (wire.TYPE_TASK, wire.TYPE_STEP)}
    assert len(delivered) == len(subjects)
    keys = signature["tekton"]
    certificate = x509.load_pem_x509_certificate(keys["SVID"].encode())
    assert certificate == tekton.certificate
    assert keys["RESULT_MANIFEST"] == "digest,list,packed"
    for key, text in {
        "digest": b"sha256:1",
        "list": b"a,b",
        "RESULT_MANIFEST": b"digest,list,packed",
    }.items():
        verify(certificate, base64.b64decode(keys[f"{key}.sig"]), text)


def test_a_container_of_its_own_signs_the_same_and_prints_no_value(api, pod, authority, credential):
    subjects = written(pod)
    huge = b"z" * 1_048_577
    (pod.results / "huge").write_bytes(huge)
    (pod.results / "none-of-text").write_bytes(b"\xff" + huge)
    api.serve(served(credential, authority))
    variables = {"TRANSPORT": "resultsfw_signing.transport", "TASK_ARTIFACTS": "true"}
    process = pod.start("digest", "list", "packed", "huge", "none-of-text", "none", flags=FLAGS,
                        SIGNING=signing(api, types=TYPES), **variables)  # fmt: skip
    start, signature = pod.records(process)
    assert start["type"] == "start"
    assert list(signature) == ["type", "envelope"]
    parsed, _ = verified(signature["envelope"])
    assert parsed["predicate"]["refused"] == {"results/none-of-text": "NotUtf8"}
    subjects.insert(3, ("results/huge", sha(huge), {"type": "string", "bytes": len(huge)}))
    parsed["predicate"]["refused"] = {"results/large": "TooLarge", "results/latin": "NotUtf8"}
    check(parsed, subjects, 1)


def test_without_an_identity_all_results_arrive_and_the_record_says_why_nothing_is_signed(pod, api):
    (pod.results / "digest").write_bytes(b"sha256:1")
    pod.environment = {"GRPC_TRACE": "all", "GRPC_VERBOSITY": "debug"}  # none of it between the records
    (pod.root / "run/0/out").unlink()
    process = pod.start("digest", SIGNING=signing(api, wait=0))
    api.wait_for_refusals(2)  # the first was answered
    api.stop()
    (pod.root / "run/0/out").touch()
    start, result, signature = pod.records(process)
    assert (start["type"], result["value"]) == ("start", "sha256:1")
    assert list(signature) == ["type", "fault"]
    assert signature["fault"].startswith(("NoAgent: unix://", "NoIdentity: unix://"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        "{}",
        json.dumps({"socket": "unix:///x", "domain": "d", "run": {**RUN, "attempt": "0"}}),
        json.dumps({"socket": "unix:///x", "domain": "d", "run": {**RUN, "name": "n" * 254}}),
        json.dumps({"socket": "unix:///x", "domain": "d", "run": RUN, "specDigest": "5"}),
        json.dumps({"socket": "unix:///x", "domain": "d", "run": RUN, "wait": "x"}),
        json.dumps({"socket": "unix:///x", "domain": 7, "run": RUN}),
        json.dumps({"socket": "unix:///x", "domain": "d", "run": RUN, "types": ["a"]}),
    ],
)
def test_an_invalid_variable_is_named(text):
    from resultsfw_sidecar.settings import SettingsError  # noqa: PLC0415 - beside its only use
    from resultsfw_signing.signer import Signing  # noqa: PLC0415

    with pytest.raises(SettingsError, match="RESULTSFW_SIGNING: ") as raised:
        Signing(text, POD)
    assert raised.value.reason == wire.BAD_ENVIRONMENT


def test_an_image_without_the_package_delivers_and_says_that_it_cannot_sign(pod, tmp_path):
    zipapp = tmp_path / "sidecar.pyz"
    subprocess.run([sys.executable, SIDECAR / "build_zipapp.py", zipapp], check=True)
    (pod.results / "digest").write_bytes(b"sha256:1")
    environment = {"RESULTSFW_WIRE": "1", "RESULTSFW_TEKTON_ROOT": str(pod.root), "RESULTSFW_SIGNING": "{}"}
    done = subprocess.run(
        [sys.executable, "-IS", zipapp, "-results-dir", pod.results, "-result-names", "digest"],
        env=environment,
        capture_output=True,
        check=True,
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["type"] for record in records] == ["start", "task", "signature", "end"]
    assert records[2]["fault"].startswith("NoLibrary: ")
