"""`resultsfw explain`, `collect` and `run` show whether results are signed, by whom, and what came of it."""

import hashlib
import json
from pathlib import Path

import pytest

from resultsfw import (
    CollectionOutcome,
    Problem,
    ProblemCode,
    ResultSpec,
    Run,
    Stamp,
    Step,
    TransportUsage,
    Verification,
)
from resultsfw.cli.inspect.judged import Judged
from resultsfw.cli.inspect.signatures import SignatureTrace, describe_signature
from resultsfw.cli.inspect.traces import End, trace_results
from resultsfw.cli.output import show
from resultsfw.tekton.taskrun.offline import Offline
from resultsfw_sidecar import wire
from resultsfw_signing import dsse, statement

ID = "spiffe://example.org/ns/default/taskrun/sl-basic/pod/x"
ENVELOPE = dsse.format_envelope(statement.PAYLOAD_TYPE, b"{}", key_id=ID, signature=b"s", certificate=b"c")
CONTAINER = "sidecar-tekton-log-results"


@pytest.fixture
def signed(saved, write):
    """The files of a run whose pod is signed, with these records beside those of its results."""

    def save(*lines, annotated=statement.SIGNED):
        options = saved("sl-basic", log=False)
        file = "pod.json"
        pod = json.loads(Path(file).read_text())
        stamp = {"resultsfw.dev/stamp": "sidecar-logs/1", "resultsfw.dev/max-result-size": "4096"}
        pod["metadata"]["annotations"] |= stamp
        if annotated:
            pod["metadata"]["annotations"][statement.ANNOTATION] = annotated
        write(file, json.dumps(pod))
        uid = pod["metadata"]["uid"]
        log = wire.start_line(uid, wire.WATCH_INOTIFY) + b"".join(
            wire.value_line(name, "x", "task") for name in ("digest", "url")
        )
        log += b"".join(lines)
        log += wire.end_line(uid, log.count(b"\n"), hashlib.sha256(log).hexdigest(), wire.WHY_STEPS_DONE)
        return [*options, "--log", f"{CONTAINER}={write('sidecar.log', log)}"]

    return save


def words(ran):
    return " ".join(ran.out.split())


def test_an_unverified_envelope_is_shown_as_such(cli, signed):
    options = signed(wire.signature_line(ENVELOPE))
    ran = cli("explain", *options)
    assert ran.status == 0
    about = f"signed in {len(ENVELOPE)} bytes; it claims the signer {ID}; not verified, since no extension"
    assert about in words(ran)
    assert cli("explain", *options, "-o", "json").json["signature"] == {
        "bytes": len(ENVELOPE),
        "claimed_signer": ID,
        "fault": "",
        "verification": None,
        "by_entrypoint": False,
    }
    assert "signatures" not in cli("collect", *options).out


def test_a_signer_that_could_not_sign_is_shown_with_its_fault(cli, signed):
    ran = cli("explain", *signed(wire.signature_fault_line("NoIdentity: none\x1b[2J")))
    assert "not signed: NoIdentity: none\\x1b[2J; not verified" in words(ran)


def test_a_pod_that_was_to_be_signed_and_was_not_is_shown(cli, signed):
    assert "not signed: no signature arrived; not verified" in words(cli("explain", *signed()))


def test_a_pod_whose_entrypoint_signs_is_shown_as_such(cli, signed):
    ran = cli("explain", *signed(annotated=statement.SIGNED_BY_ENTRYPOINT))
    assert "signed by Tekton's entrypoint, in each Step's message; not verified, since" in words(ran)


def test_the_signature_of_a_container_of_its_own_is_said_to_be_in_its_log(cli, signed, write):
    options = signed()
    file = "pod.json"
    pod = json.loads(Path(file).read_text())
    pod["spec"].setdefault("initContainers", []).append({"name": statement.SIGNER_CONTAINER})
    write(file, json.dumps(pod))
    shown = words(cli("explain", *options))
    assert (
        'the signature is in the log of container "resultsfw-signer", read by the extension alone;' in shown
    )
    assert "not signed" not in shown


def test_of_an_unsigned_pod_nothing_is_shown(cli, signed):
    options = signed(annotated="")
    assert "signed" not in cli("explain", *options).out
    assert "signature" not in cli("explain", *options, "-o", "json").json


@pytest.mark.parametrize(
    "text", ["[" * 2_000, "{}", '{"signatures":{}}', '{"signatures":[{"keyid":1}]}', "x"]
)
def test_an_envelope_that_names_no_signer_is_shown_without_one(cli, signed, text):
    ran = cli("explain", *signed(wire.signature_line(text)))
    assert f"signed in {len(text)} byte" in words(ran)
    assert "claims the signer" not in words(ran)


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("True", "signed in 7 bytes; verified: why"),
        ("False", f"signed in 7 bytes; it claims the signer {ID}; not verified: why"),
        ("Unknown", f"signed in 7 bytes; it claims the signer {ID}; not verified yet: why"),
    ],
)
def test_what_an_envelope_says_of_its_signer_is_shown_only_as_a_claim(status, shown):
    verification = Verification(status=status, reason="Reason", message="why")
    trace = SignatureTrace(bytes=7, claimed_signer=ID, fault="", verification=verification)
    assert describe_signature(trace) == shown


def test_the_condition_about_signatures_is_printed_of_a_finished_run(capsys):
    conditions = [
        {"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": ""},
        {"type": "Another", "status": "x"},
        {"type": "SignedResultsVerified", "status": "False", "reason": "x", "message": "wrong\x07digest"},
    ]
    show.print_taskrun(show.console(), {"metadata": {"name": "run"}, "status": {"conditions": conditions}})
    assert "signatures not verified: wrong\\x07digest" in capsys.readouterr().out


def test_results_that_arrived_and_are_withheld_without_a_signature_are_refused():
    problem = Problem(code=ProblemCode.UNVERIFIED, message="no signature arrived")
    usage = TransportUsage(container="x", transport="log", used=1, budget=None, results=("a",))
    step = Step(name="one", container="step-one")
    offline = Offline(
        taskrun={"status": {}},
        run=Run(
            namespace="n",
            name="r",
            uid="u",
            results=(ResultSpec(name="a"), ResultSpec(name="b")),
            steps=(step,),
        ),
        collected=CollectionOutcome(problems=(problem,), transports=(usage,)),
        stamp=Stamp("sidecar-logs", 1, 4096),
    )
    arrived, other = trace_results(Judged(offline=offline, pod=None, core=None))
    assert (arrived.end, arrived.problem) == (End.REFUSED, problem)
    assert (other.end, other.problem) == (End.ABSENT, None)


def test_what_all_results_have_in_common_is_printed_once(cli, signed, write, monkeypatch):
    """Without an agent nothing can be verified, and no result counts."""
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    options = signed(wire.signature_line(ENVELOPE))
    data = {"results-from": "sidecar-logs", "extensions": "signed"}
    data["config.signed"] = "{trust-domain: example.org, controller-socket: unix:///none/agent.sock}"
    flags = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "feature-flags"}, "data": data}
    write("flags.json", json.dumps(flags))
    ran = cli("explain", *options)
    assert (ran.status, words(ran).count("the results cannot be verified")) == (1, 1)
    claimed = f"signed in {len(ENVELOPE)} bytes; it claims the signer {ID}"
    assert f"{claimed}; not verified: see above" in words(ran)
    assert words(ran).count("was withheld, as all results: see above") == 2
    assert words(cli("collect", *options, "-o", "table")).count("the results cannot be verified") == 1
