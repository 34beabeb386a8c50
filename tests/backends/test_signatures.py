"""The record with the signature over a pod's results: read whole, and once, and with room for it."""

import json
from dataclasses import replace

import pytest
from configmaps import OWNER, bare_pod
from hypothesis import example, given
from hypothesis import strategies as st
from sidecarlogs import Logs, a_pod, a_run, log_of, value

from resultsfw import ARTIFACTS, CONFIG_MAPS, Limits, ProblemCode, ResultsManager
from resultsfw.errors import BackendError
from resultsfw.limits import object_size
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw_backends import config_map, custom_resource, sidecar_logs
from resultsfw_backends._record_room import longest_records
from resultsfw_backends._signatures import SignatureRecords, signature_room
from resultsfw_backends.custom_resource import RUN_RESULTS
from resultsfw_sidecar import wire
from resultsfw_signing import dsse, statement

RUN = a_run("a", "b", own=["one.c"])
VALUES = value("a", "x"), wire.absent_line("b", "task"), value("step-one.c", "z", "step")
SUBJECTS = ["results/a", "results/b", "steps/one/results/c"]
ENVELOPE = dsse.format_envelope(
    statement.PAYLOAD_TYPE, b"{}", key_id="spiffe://example.org/x", signature=b"s", certificate=b"c"
)
KEYS = {"SVID": "-----BEGIN CERTIFICATE-----\nYQ==\n", "RESULT_MANIFEST": "a", "a.sig": "YQ=="}
LIMITS = Limits(result_bytes=4096, run_bytes=1_572_864)


def signed(pod=None, how=statement.SIGNED):
    pod = pod or a_pod()
    pod["metadata"]["annotations"] = {statement.ANNOTATION: how}
    return pod


def read(log, *, pod=None, version=wire.WIRE, run=RUN, limits=LIMITS):
    return sidecar_logs.extract(run, pod or signed(), Logs([log]), limits, version)


def codes(extraction):
    return [problem.code for problem in extraction.problems]


def texts(extraction):
    return {result.name: result.value for result in extraction.results}


# What arrives.


@pytest.mark.parametrize("version", [wire.WIRE, wire.COMPRESSED])
def test_envelope_and_keys_arrive_as_they_were_written(version):
    extraction = read(log_of(*VALUES, wire.signature_line(ENVELOPE, KEYS)), version=version)
    assert (extraction.envelope, extraction.tekton_signatures) == (ENVELOPE, KEYS)
    assert (extraction.envelope_fault, texts(extraction), codes(extraction)) == ("", {"a": "x", "c": "z"}, [])


def test_a_signer_that_could_not_sign_says_why_and_the_results_arrive():
    extraction = read(log_of(*VALUES, wire.signature_fault_line("NoIdentity: none for this pod")))
    assert (extraction.envelope, extraction.envelope_fault) == ("", "NoIdentity: none for this pod")
    assert (texts(extraction), codes(extraction)) == ({"a": "x", "c": "z"}, [])


def test_a_pod_whose_sidecar_is_older_than_signatures_has_none():
    extraction = read(log_of(*VALUES))
    assert (extraction.envelope, extraction.envelope_fault, codes(extraction)) == ("", "", [])


def test_a_signature_without_the_end_of_its_log_counts_and_the_log_does_not():
    extraction = read(log_of(*VALUES, wire.signature_line(ENVELOPE), end=False))
    assert (extraction.envelope, codes(extraction)) == (ENVELOPE, [ProblemCode.TRANSPORT_INCOMPLETE])


def test_the_log_of_an_unsigned_pod_has_the_limits_that_it_had():
    most = {}
    for pod in (a_pod(), signed(), signed(how=statement.SIGNED_WITH_TEKTON_KEYS)):
        logs = Logs([log_of(*VALUES)])
        sidecar_logs.extract(RUN, pod, logs, LIMITS, wire.WIRE)
        most[len(most)] = logs.asked[3]
    rooms = [statement.record_room({statement.ANNOTATION: how}, SUBJECTS) for how in ("1", "tekton")]
    assert [most[1] - most[0], most[2] - most[0]] == rooms
    assert 0 < rooms[0] < rooms[1]


# What a hostile log can say.


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"envelope": ""},
        {"envelope": None},
        {"envelope": ["x"]},
        {"envelope": {"payload": ""}},
        {"envelope": "é"},
        {"envelope": "\ud800"},
        {"envelope": ENVELOPE, "fault": "x"},
        {"fault": ""},
        {"fault": 1},
        {"fault": "x", "tekton": {}},
        {"envelope": ENVELOPE, "tekton": []},
        {"envelope": ENVELOPE, "tekton": None},
        {"envelope": ENVELOPE, "tekton": {"SVID": 1}},
        {"envelope": ENVELOPE, "tekton": {"SVID": {"SVID": "x"}}},
        {"envelope": ENVELOPE, "tekton": {str(number): "x" for number in range(7)}},
        {"envelope": ENVELOPE, "tekton": {"SVID": "x" * 100_000}},
        {"envelope": "x" * (statement.longest_envelope(SUBJECTS) + 1)},
    ],
    ids=lambda record: repr(record)[:60],
)
def test_a_record_that_no_signer_writes_is_corrupt_and_results_are_read(record):
    line = json.dumps({"type": "signature", **record}).encode() + b"\n"
    limits = Limits(result_bytes=1_000_000, run_bytes=1_000_000)
    extraction = read(log_of(*VALUES, line), limits=limits)
    assert (extraction.envelope, extraction.envelope_fault, extraction.tekton_signatures) == ("", "", {})
    assert codes(extraction) == [ProblemCode.TRANSPORT_CORRUPT]
    assert texts(extraction) == {"a": "x", "c": "z"}


@pytest.mark.parametrize("log_bytes", [1, 4096])
def test_the_longest_envelope_is_read_in_a_signed_pod_alone(log_bytes):
    longest = "x" * statement.longest_envelope(SUBJECTS)
    log, limits = (
        log_of(*VALUES, wire.signature_line(longest)),
        Limits(result_bytes=log_bytes, run_bytes=10**6),
    )
    assert read(log, limits=limits).envelope == longest
    assert read(log, limits=limits, pod=a_pod()).envelope == ""


def test_a_record_that_is_longer_than_any_signature_is_not_kept():
    line = wire.signature_line("x" * 2 * statement.longest_envelope(SUBJECTS))
    extraction = read(log_of(*VALUES, line))
    assert extraction.envelope == ""
    assert "it is longer than" in extraction.problems[0].message


def test_deeply_nested_records_are_corrupt():
    line = b'{"type":"signature","envelope":' + b'{"a":' * 5000 + b"1" + b"}" * 5001 + b"\n"
    assert codes(read(log_of(*VALUES, line)))[0] is ProblemCode.TRANSPORT_CORRUPT


@pytest.mark.parametrize("second", [wire.signature_line(ENVELOPE), wire.signature_fault_line("x")])
@pytest.mark.parametrize("more", [1, 2])
def test_of_more_than_one_signature_none_counts(second, more):
    extraction = read(log_of(*VALUES, wire.signature_line(ENVELOPE), *[second] * more))
    assert (extraction.envelope, extraction.envelope_fault) == ("", "")
    assert codes(extraction) == [ProblemCode.TRANSPORT_CORRUPT] * more


def test_a_signature_after_the_end_does_not_count():
    extraction = read(log_of(*VALUES) + wire.signature_line(ENVELOPE))
    assert (extraction.envelope, codes(extraction)) == ("", [ProblemCode.TRANSPORT_CORRUPT])


def test_a_signature_of_another_pods_log_does_not_count():
    extraction = read(log_of(*VALUES, wire.signature_line(ENVELOPE), uid="another"))
    assert (extraction.envelope, codes(extraction)) == ("", [ProblemCode.TRANSPORT_FOREIGN])


def test_the_format_of_tekton_has_no_such_record():
    line = wire.signature_line(ENVELOPE)
    extraction = read(wire.value_line("a", "x", "task", wire=wire.TEKTON) + line, version=wire.TEKTON)
    assert (extraction.envelope, codes(extraction)) == ("", [ProblemCode.TRANSPORT_CORRUPT])


@pytest.mark.parametrize("bit", range(0, 8, 3))
def test_no_flipped_bit_changes_an_envelope_unnoticed(bit):
    log = log_of(*VALUES, wire.signature_line(ENVELOPE))
    start = log.index(b'{"type":"signature"')
    for place in range(start, log.index(b"\n", start), 2):
        damaged = bytearray(log)
        damaged[place] ^= 1 << bit
        extraction = read(bytes(damaged))
        assert extraction.envelope == ENVELOPE or codes(extraction), place


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(ENVELOPE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(["envelope", "fault", "tekton", "x"]), JSON), max_size=2))
@example([{"envelope": ENVELOPE, "tekton": KEYS}])
def test_whatever_a_record_has_is_a_text_of_bounded_length_or_nothing(records):
    signatures = SignatureRecords([(None, "a")])
    faults = [signatures.add({"type": "signature", **record}) for record in records]
    found = signatures.found
    assert isinstance(found.envelope, str)
    assert isinstance(found.fault, str)
    assert not (found.envelope and found.fault)
    assert all(isinstance(text, str) for pair in found.tekton.items() for text in pair)
    assert len(found.fault) <= wire.MESSAGE_LIMIT
    assert bool(found.envelope or found.fault) is (len(faults) == 1 and faults == [""])


# Room, before there is a pod.


def longest_signature(names, *, tekton):
    """The record of a signer that has the largest certificates."""
    payload = statement.longest_payload(names)
    certificate, signature = (
        b"c" * (statement.MAX_CERTIFICATE_BYTES - 7),
        b"s" * statement.MAX_SIGNATURE_BYTES,
    )
    envelope = dsse.format_envelope(
        statement.PAYLOAD_TYPE,
        b"p" * payload,
        key_id="k" * statement.MAX_SPIFFE_ID,
        signature=signature,
        certificate=certificate,
        intermediates=[b"i"] * (statement.MAX_CERTIFICATES - 1),
    )
    lines = "\n".join(["x" * 64] * (statement.MAX_CERTIFICATE_BYTES * 4 // 3 // 64))
    keys = {"SVID": lines, "RESULT_MANIFEST": ",".join(names)}
    keys |= {f"{name}.sig": "x" * (statement.MAX_SIGNATURE_BYTES * 4 // 3) for name in names}
    return wire.signature_line(envelope, keys if tekton else None)


@pytest.mark.parametrize("how", [statement.SIGNED, statement.SIGNED_WITH_TEKTON_KEYS])
@pytest.mark.parametrize(("name", "count"), [("result-", 1), ("result-", 50), ('"' * 100, 50)])
def test_the_room_is_enough_for_the_longest_signature_also_in_json(how, name, count):
    run = a_run(*(f"{name}{number}" for number in range(count)))
    names = [f"results/{name}{number}" for number in range(count)]
    line = longest_signature(names, tekton=how == statement.SIGNED_WITH_TEKTON_KEYS)
    pod = signed(how=how)
    assert len(line) <= longest_records(run, pod).signature
    in_json = object_size(line.decode()) - 2
    assert len(line) < in_json <= longest_records(run, pod, escaped=True).signature
    assert (
        longest_records(run, a_pod()).signature == longest_records(run, a_pod(), escaped=True).signature == 0
    )


def test_provenance_needs_room_too():
    declared = {(None, ARTIFACTS), ("build", ARTIFACTS)}
    names = [statement.artifacts_subject(), statement.artifacts_subject("build")]
    pod = signed()
    assert signature_room(pod, declared) == statement.record_room(pod["metadata"]["annotations"], names)


REFUSING = {
    "config-map": (400, config_map.RECORD_BYTES),
    "custom-resource": (200, custom_resource.RECORD_BYTES),
    "http": (1500, 10 * 1024 * 1024 - wire.max_line_bytes(1_572_864, 0)),
}


@pytest.mark.parametrize("backend", REFUSING)
def test_a_signed_run_without_room_for_its_signature_is_refused_before_anything_exists(backend):
    """Guarantee 2: the same run fits unsigned; the message has both numbers."""
    count, room = REFUSING[backend]
    core = ResultsManager.from_flags({"results-from": backend, "max-result-size": "1572864"})
    run = a_run(*(f"result-{number}" for number in range(count)))
    core.prepare_pod(run, bare_pod(), cluster=Store())
    store = Store()
    with pytest.raises(BackendError) as raised:
        core.prepare_pod(run, signed(bare_pod()), cluster=store)
    size = longest_records(run, signed(bare_pod()), escaped=backend == "custom-resource", each=96)
    for number in (count, size.signature, room):
        assert f" {number}" in raised.value.message
    assert not any(store.list(kind) for kind in (CONFIG_MAPS, RUN_RESULTS))


def test_the_signature_takes_room_from_the_values_of_a_taskrun():
    core = ResultsManager.from_flags({"results-from": "self-update", "max-result-size": "1572864"})
    sizes = []
    for pod in (bare_pod(), signed(bare_pod())):
        store = Store()
        taskrun = {"metadata": {"name": "run"}, "spec": {"params": ["x" * 500_000]}}
        uid = store.create(TASKRUNS, taskrun)["metadata"]["uid"]
        pod["metadata"]["ownerReferences"] = [{**OWNER, "uid": uid}]
        run = replace(a_run("a", "b"), uid=uid)
        room = longest_records(run, pod, escaped=True).signature + object_size(pod)
        (sidecar,) = core.prepare_pod(run, pod, cluster=store)["spec"]["initContainers"]
        env = {variable["name"]: variable.get("value") for variable in sidecar["env"]}
        sizes.append((int(env[wire.ENV_MAX_RUN_SIZE]), room))
    (unsigned, less), (with_signature, more) = sizes
    assert abs(unsigned - with_signature - (more - less) * 3 // 4) <= 1
    assert with_signature < unsigned - 20_000
