"""The log of a container that only signs: when it is read, what counts in it, what a damaged one means."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signed_pods_harness import PLAIN, Logs, arrived_names, collect, pod_of, read, signer_log
from signing_harness import AT, RUN, authority

from resultsfw.errors import ForbiddenError, LogUnavailableError, NotFoundError, TooEarlyError
from resultsfw.testing.workload_api import WorkloadApi, served_svid
from resultsfw_extensions._signed_log import parse_log, read_signer_log
from resultsfw_sidecar import wire

SIGNER = "resultsfw-signer"
ENVELOPE = PLAIN.envelope()
UNSIGNED = read(envelope="")
RUNNING = {"running": {}}


@pytest.fixture(scope="module")
def api():
    name = "spiffe://example.org/controller"
    svid = served_svid(name, authority().issue_svid(name, at=AT), authority())
    with WorkloadApi(svids=[svid]) as api:
        yield api


def test_the_signature_in_the_signers_log_is_verified_like_any_other(api):
    logs = Logs(signer_log(ENVELOPE))
    collected = collect(api, UNSIGNED, pod_of(SIGNER), logs)
    assert collected.ok
    assert collected.verification.status == "True"
    assert "build.digest" in arrived_names(collected)
    [limit] = logs.limits
    assert len(logs.log) < limit < 200_000


def test_an_envelope_that_came_another_way_does_not_count_beside_it(api):
    collected = collect(api, read(), pod_of(SIGNER), Logs(signer_log(fault="NoAgent: it is away")))
    assert "NoAgent: it is away" in collected.problems[0].message


@pytest.mark.parametrize("log", [b"", wire.start_line("p", "inotify"), signer_log(ENVELOPE, end=False)[:-1]])
def test_a_running_signer_without_its_signature_is_read_again(api, log):
    with pytest.raises(TooEarlyError):
        collect(api, UNSIGNED, pod_of(SIGNER, state=RUNNING), Logs(log))


def test_the_signature_of_a_running_signer_counts(api):
    found = read_signer_log(RUN, pod_of(SIGNER, state=RUNNING), Logs(signer_log(ENVELOPE, end=False)))
    assert (found.envelope, found.too_early) == (ENVELOPE, False)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "killed"}},
            "exit code 137 (OOMKilled) and said: killed",
        ),
        ({"waiting": {"reason": "ContainerCreating"}}, f'container "{SIGNER}" never started'),
    ],
)
def test_a_signer_that_ended_without_its_signature_is_named(api, state, words):
    collected = collect(api, UNSIGNED, pod_of(SIGNER, state=state, phase="Failed"), Logs(b""))
    [problem] = collected.problems
    assert words in problem.message
    assert arrived_names(collected) == set()


def test_a_signer_that_has_not_started_yet_is_waited_for(api):
    with pytest.raises(TooEarlyError):
        collect(
            api, UNSIGNED, pod_of(SIGNER, state={"waiting": {"reason": "x"}}), Logs(NotFoundError("none"))
        )


@pytest.mark.parametrize(
    ("state", "words"),
    [(RUNNING, "has not signed yet"), ({"waiting": {"reason": "x"}}, "has not started yet")],
)
def test_a_signer_that_is_waited_for_no_longer_is_named(api, state, words):
    pod = pod_of(SIGNER, state=state)
    for policy, results in (("fail", set()), ("mark", arrived_names(collect(api, UNSIGNED, policy="off")))):
        collected = collect(api, UNSIGNED, pod, Logs(b""), final=True, policy=policy)
        assert f'container "{SIGNER}" {words}' in collected.verification.message
        assert arrived_names(collected) == results


def test_a_log_without_what_the_signer_has_printed_is_read_again_and_at_last_reported(api):
    pod = pod_of(SIGNER, phase="Succeeded")
    with pytest.raises(LogUnavailableError, match="lacks the signature"):
        collect(api, UNSIGNED, pod, Logs(b"unable to retrieve container logs for x"))
    collected = collect(api, UNSIGNED, pod, Logs(b""), final=True)
    assert "lacks the signature" in collected.problems[0].message


@pytest.mark.parametrize("policy", ["fail", "mark"])
def test_a_log_that_cannot_be_read_is_tried_again_only_if_that_may_help(api, policy):
    pod = pod_of(SIGNER)
    with pytest.raises(ForbiddenError):
        collect(api, UNSIGNED, pod, Logs(ForbiddenError("may not")), policy=policy)
    final = collect(api, UNSIGNED, pod, Logs(ForbiddenError("may not")), policy=policy, final=True)
    gone = collect(api, UNSIGNED, pod, Logs(NotFoundError("is gone")), policy=policy)
    for collected, words in ((final, "may not"), (gone, "is gone")):
        assert words in collected.verification.message
        assert collected.ok == (policy == "mark")
        assert bool(arrived_names(collected)) == (policy == "mark")


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (signer_log(fault="NoIdentity: none"), "NoIdentity: none"),
        (wire.error_line("BadEnvironment", "why"), "the signer failed: BadEnvironment: why"),
        (signer_log(ENVELOPE) + wire.signature_line(ENVELOPE), "two signatures"),
        (b"hello\n" + signer_log(ENVELOPE), "a line that no signer prints"),
        (wire.value_line("digest", "x", "task") + signer_log(ENVELOPE), "a line that no signer prints"),
        (b'{"type":"signature","envelope":7}\n', "is not a text"),
        (b'{"type":"signature"}\n', "is not a text"),
        (b"[" * 5000 + b"\n", "a line that no signer prints"),
        (b"[1]\n", "a line that no signer prints"),
        (b"x" * 1_000_000, "more than a signature may need"),
    ],
)
def test_a_log_of_another_form_has_no_signature(api, log, words):
    collected = collect(api, UNSIGNED, pod_of(SIGNER), Logs(log))
    assert words in collected.problems[0].message
    assert collected.verification.status == "False"


def test_a_text_of_the_signer_is_shortened():
    record = json.dumps({"type": "signature", "fault": "x" * 10_000}).encode()
    assert len(parse_log(record + b"\n").fault) == wire.MESSAGE_LIMIT


def test_the_connection_of_a_log_that_is_too_long_is_closed():
    class Stream:
        closed = False

        def __iter__(self):
            return iter([b"x" * 1_000_000])

        def close(self):
            self.closed = True

    class Cluster:
        stream = Stream()

        def read_log(self, *_, **__):
            return self.stream

    assert "more than a signature may need" in read_signer_log(RUN, pod_of(SIGNER), Cluster()).fault
    assert Cluster.stream.closed


def test_tektons_keys_are_taken_from_the_record():
    keys = {"SVID": "x", "digest.sig": "y"}
    assert parse_log(signer_log(ENVELOPE, tekton=keys)).tekton == keys
    assert parse_log(b'{"type":"signature","envelope":"e","tekton":{"SVID":1}}\n').tekton == {}


@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([*signer_log(ENVELOPE).splitlines(), wire.error_line("a", "b").rstrip()])
        | st.dictionaries(
            st.sampled_from(["type", "envelope", "fault", "tekton"]),
            st.sampled_from(["signature", "start", "end", "error", "", None, 1, {}, []]),
        ).map(lambda record: json.dumps(record).encode()),
        max_size=12,
    )
)
def test_no_content_of_a_log_raises(lines):
    found = parse_log(b"\n".join(lines) + b"\n")
    assert bool(found.envelope) + bool(found.fault) == 1
    assert not (found.envelope and found.too_early)
