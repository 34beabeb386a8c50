"""Results by ConfigMap: what is made before the pod, what is believed of it, what is left."""

import json

import pytest
from configmaps import CORE, OWNER, Life, a_run, bare_pod, proof_of, values_of
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import CONFIG_MAPS, ProblemCode
from resultsfw.errors import (
    BackendError,
    ForbiddenError,
    NotFoundError,
    TooEarlyError,
)
from resultsfw.images import SIDECAR_NET
from resultsfw.local.store import Store
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_backends import config_map
from resultsfw_backends.config_map import RECORDS, ROLE_BINDINGS, ROLES, VALUE_BYTES, name_of
from resultsfw_sidecar import wire
from resultsfw_sidecar.output import OutputError
from resultsfw_transports import config_map as transport

PLAIN = "sidecar: plain"


def prepared(store, run=None, pod=None):
    return CORE.prepare_pod(run or a_run("digest"), pod or bare_pod(), cluster=store)


def everything(store):
    return [item for kind in (CONFIG_MAPS, ROLES, ROLE_BINDINGS) for item in store.list(kind)]


# Before the pod.


def test_the_pod_may_write_one_config_map_and_only_its_sidecar_gets_a_token():
    """Guarantee 8: least privilege."""
    store = Store()
    pod = bare_pod()
    pod["spec"]["serviceAccountName"] = "builder"
    pod = prepared(store, pod=pod)
    made, role, binding = everything(store)
    assert made["metadata"]["name"] == "resultsfw-run-uid-0"
    assert made["metadata"]["ownerReferences"] == [
        {key: OWNER[key] for key in ("apiVersion", "kind", "name", "uid")}
    ]
    assert "data" not in made
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["resultsfw-run-uid-0"],
            "verbs": ["get", "patch"],
        }
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "builder", "namespace": "default"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    for item in (role, binding):
        (owner,) = item["metadata"]["ownerReferences"]
        assert owner["uid"] == made["metadata"]["uid"]
        assert "blockOwnerDeletion" not in owner  # it would take a right of its own
    (sidecar,) = pod["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["image"]) == (RESULTS_SIDECAR, SIDECAR_NET)
    (volume,) = pod["spec"]["volumes"]
    holders = [
        container["name"]
        for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])
        if volume["name"] in [mount["name"] for mount in container.get("volumeMounts", ())]
    ]
    assert holders == [RESULTS_SIDECAR]
    token = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert token["expirationSeconds"] == 600
    (mount,) = [mount for mount in sidecar["volumeMounts"] if mount["name"] == volume["name"]]
    # There, Kubernetes mounts no token of its own.
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert mount["readOnly"]


def test_a_pod_without_a_service_account_has_the_default_one():
    store = Store()
    prepared(store)
    assert everything(store)[2]["subjects"][0]["name"] == "default"


class Killed(KeyboardInterrupt):
    pass


class Dying(Store):
    """Dies before, or after, one of the calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.die_at = 0

    def create(self, kind, obj):
        self._call()
        made = super().create(kind, obj)
        self._call()
        return made

    def _call(self):
        self.calls += 1
        if self.calls == self.die_at:
            raise Killed


def test_killed_at_any_call_it_takes_what_it_finds_of_its_own():
    whole = Dying()
    wanted = prepared(whole)
    assert whole.calls == 6
    for call in range(1, 7):
        store = Dying()
        store.die_at = call
        with pytest.raises(Killed):
            prepared(store)
        again = prepared(store)
        assert len(everything(store)) == 3
        made = store.get(CONFIG_MAPS, "default", "resultsfw-run-uid-0")
        (sidecar,) = again["spec"]["initContainers"]
        assert {"name": "RESULTSFW_CONFIG_MAP_UID", "value": made["metadata"]["uid"]} in sidecar["env"]
        assert [variable["name"] for variable in sidecar["env"]] == [
            variable["name"] for variable in wanted["spec"]["initContainers"][0]["env"]
        ]


@pytest.mark.parametrize("owners", [[], [{**OWNER, "uid": "another"}]])
def test_somebody_elses_object_of_that_name_is_refused_by_name_and_left_alone(owners):
    store = Store()
    theirs = {"metadata": {"name": "resultsfw-run-uid-0", "ownerReferences": owners}, "data": {"a": "1"}}
    store.create(CONFIG_MAPS, theirs)
    with pytest.raises(BackendError, match="ConfigMap default/resultsfw-run-uid-0 exists and is not of"):
        prepared(store)
    assert store.get(CONFIG_MAPS, "default", "resultsfw-run-uid-0")["data"] == {"a": "1"}
    assert len(everything(store)) == 1


def test_each_attempt_has_its_own():
    names = {name_of(a_run("x", attempt=attempt, uid=uid)) for attempt in (0, 1) for uid in ("a", "b", "Ü")}
    assert len(names) == 6
    assert all(len(name) < 64 and name.isascii() and name.islower() for name in names)


def test_a_task_whose_records_might_not_fit_is_refused_before_there_is_anything():
    store = Store()
    prepared(store, a_run(*(f"result-{number}" for number in range(400))))
    store = Store()
    with pytest.raises(BackendError) as raised:
        prepared(store, a_run(*(f"result-{number}" for number in range(1000))))
    assert "declares 1000 results" in raised.value.message
    assert "262123" in raised.value.message
    assert everything(store) == []


def test_what_is_promised_of_records_holds_if_all_are_refused_at_length():
    """The longest that the sidecar says of results, beside values of the longest size."""
    names = [f"result-{number}" for number in range(480)]
    life = Life({}, names)
    sidecar = life.transport()
    for name in names:
        line = wire.refused_line(name, "task", "NotRegularFile", "x" * 1000, size=1_048_577, limit=1_048_576)
        sidecar.output.line([line])
    assert len(sidecar.output.data) < config_map.RECORD_BYTES


def test_purging_needs_only_the_run_takes_all_and_may_be_done_again():
    store = Store()
    pod = prepared(store)
    prepared(store, a_run("digest", attempt=1))
    CORE.purge(a_run("digest"), pod, store)
    assert [config_map["metadata"]["name"] for config_map in store.list(CONFIG_MAPS)] == [
        "resultsfw-run-uid-1"
    ]
    assert len(everything(store)) == 3
    CORE.purge(a_run("digest"), {}, store, backend="config-map")
    CORE.purge(a_run("digest", attempt=1), {}, store, backend="config-map")
    assert everything(store) == []


# What is read.

NAMES = ["digest", "value-0", "value-1", "..x", "x" * 300, "ü", "a/b", "step-one.own", "step-one...y", "a"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(NAMES), TEXTS))
def test_any_values_that_fit_arrive_under_any_names(texts):
    values = {name: text.encode() for name, text in texts.items()}
    life = Life(values, [name for name in NAMES if name not in values])
    collected = life.collect(life.ended(life.deliver()))
    assert collected.ok, collected.problems
    assert values_of(collected) == texts


def test_a_person_reads_values_under_their_results_names():
    life = Life({"digest": b"sha256:1\n", "value-0": b"v", "..x": b"w", "step-one.own": b"o"})
    life.deliver()
    found = life.config_map
    assert found["data"] == {
        "digest": "sha256:1\n",
        "value-0": "v",
        "value-1": "w",
        "step-one.own": "o",
    }
    assert found["immutable"] is True
    types = [json.loads(line)["type"] for line in found["metadata"]["annotations"][RECORDS].splitlines()]
    assert types == ["start", "task", "task", "task", "step", "end"]


def test_exactly_a_mebibyte_arrives_and_one_byte_more_is_refused_by_name():
    """Guarantee 2: limits count the value's bytes, and messages print both numbers."""
    half = VALUE_BYTES // 2
    life = Life({"a": b"x" * half, "b": "é".encode() * (half // 2)})
    collected = life.collect(life.ended(life.deliver()))
    assert collected.ok
    assert [result.size for result in collected.results] == [half, half]
    (carrier,) = collected.transports
    assert (carrier.transport, carrier.used, carrier.budget) == ("ConfigMap", VALUE_BYTES, VALUE_BYTES)
    life = Life({"a": b"x" * half, "b": b"y" * (half + 1)})
    collected = life.collect(life.ended(life.deliver()))
    assert values_of(collected) == {"a": "x" * half}
    (problem,) = collected.problems
    assert (problem.code, problem.result) == (ProblemCode.RUN_TOO_LARGE, "b")
    assert (problem.size, problem.limit) == (VALUE_BYTES + 1, VALUE_BYTES)


def test_one_value_of_more_is_refused_by_name_and_no_flag_is_advised():
    life = Life({"a": b"x" * (VALUE_BYTES + 1)})
    (problem,) = life.collect(life.ended(life.deliver())).problems
    assert (problem.code, problem.result) == (ProblemCode.RESULT_TOO_LARGE, "a")
    assert f"{VALUE_BYTES + 1} bytes, over the limit of {VALUE_BYTES} bytes" in problem.message
    assert "max-result-size" not in problem.hint
    assert "by reference" in problem.hint


def test_a_mebibyte_of_control_characters_needs_no_larger_request_than_a_server_takes():
    life = Life({"a": b"\1" * (VALUE_BYTES - 3), "b": b"\0", "c": b'"\n'})
    sidecar = life.transport()
    collected = life.collect(life.ended(life.deliver(sidecar)))
    assert collected.ok
    assert values_of(collected) == {"a": "\1" * (VALUE_BYTES - 3), "b": "\0", "c": '"\n'}
    [(_, body)] = sidecar._server.asked
    assert len(body) < 3 * 1024 * 1024
    assert set(life.config_map["binaryData"]) == {"a"}  # what people can read stays readable


ORIGINALS = {"a": b"one", "b": b"two", "value-0": b"", "step-one.own": b"\1" * 100}
DELIVERED = Life(ORIGINALS, ["never"])
MESSAGE = DELIVERED.deliver()
WHOLE = DELIVERED.config_map
LINES = WHOLE["metadata"]["annotations"][RECORDS].splitlines(keepends=True)


@st.composite
def damaged(draw):
    """The ConfigMap with something in it changed."""
    found = json.loads(json.dumps(WHOLE))
    parts = [found["data"], found["binaryData"]]
    how = draw(st.sampled_from(["value", "swap", "drop", "records", "lines", "kind"]))
    part = draw(st.sampled_from(parts))
    key = draw(st.sampled_from(sorted(part)))
    text = found["metadata"]["annotations"][RECORDS]
    match how:
        case "value":
            part[key] = draw(st.text(max_size=5))
        case "swap":
            other = draw(st.sampled_from(sorted(found["data"])))
            part[key], found["data"][other] = found["data"][other], part[key]
        case "drop":
            del part[key]
        case "records":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(0, 3)) :]
        case "lines":
            text = "".join(draw(st.lists(st.sampled_from(LINES), max_size=len(LINES) + 2)))
        case "kind":
            found["data"] = draw(st.sampled_from([None, {}, {"a": "forged"}]))
    found["metadata"]["annotations"][RECORDS] = text
    return found


@pytest.mark.slow
@given(damaged())
def test_what_is_damaged_swapped_or_forged_never_passes(found):
    store = Store()
    life = Life(ORIGINALS, ["never"], store=store)
    life.pod = DELIVERED.pod
    key = (CONFIG_MAPS, "default", life.name)
    store._objects[key] = found  # past the server's rules: it may hold anything
    collected = life.collect(life.ended(MESSAGE))
    originals = {name: value.decode() for name, value in ORIGINALS.items()}
    assert values_of(collected).items() <= originals.items()
    if collected.ok:
        assert values_of(collected) == originals


def test_a_step_that_writes_first_makes_its_run_fail_by_name_and_forges_nothing():
    life = Life({"digest": b"real"})
    ours = life.transport()
    forger = Life({"digest": b"forged"})  # as good as it can be made
    forger.deliver(uid=life.pod["metadata"]["uid"])
    theirs = forger.config_map
    records = {"annotations": theirs["metadata"]["annotations"]}
    forged = {"data": theirs["data"], "immutable": True, "metadata": records}
    life.store.patch(CONFIG_MAPS, "default", life.name, forged)
    with pytest.raises(OutputError, match=r"immutable.*somebody else wrote it or created it again") as raised:
        life.deliver(ours)
    collected = life.collect(life.ended(f"Undelivered: {raised.value}", 1))
    assert values_of(collected) == {}
    (problem,) = collected.problems
    assert problem.code is ProblemCode.TRANSPORT_INCOMPLETE
    for words in ('"digest"', life.name, "somebody else", "exit code 1"):
        assert words in problem.message


def test_what_a_step_wrote_first_and_left_open_is_overwritten():
    life = Life({"digest": b"real"})
    life.store.patch(CONFIG_MAPS, "default", life.name, {"data": {"digest": "forged", "more": "x"}})
    collected = life.collect(life.ended(life.deliver()))
    assert (collected.ok, values_of(collected)) == (True, {"digest": "real"})


def test_records_that_are_true_of_another_pod_are_refused():
    life = Life({"digest": b"real"})
    message = life.deliver(uid="another")
    collected = life.collect(life.ended(message))
    assert [problem.code for problem in collected.problems] == [ProblemCode.TRANSPORT_FOREIGN]
    assert values_of(collected) == {}


def test_a_whole_config_map_without_the_sidecars_word_for_it_is_not_believed():
    life = Life({"digest": b"real"})
    message = life.deliver()
    for said, code in (("", 0), ("", 137), ("sha256:", 0), (f"{message}0", 1), ("x" * 5000, 0)):
        collected = life.collect(life.ended(said, code))
        assert values_of(collected) == {}
        (problem,) = collected.problems
        assert problem.code is ProblemCode.TRANSPORT_INCOMPLETE
        assert '"digest"' in problem.message
        assert len(problem.message) < 1000
    collected = life.collect(life.ended(proof_of("other")))
    (problem,) = collected.problems
    assert problem.code is ProblemCode.TRANSPORT_CORRUPT
    assert message in problem.message
    assert '"digest"' in problem.message


def test_one_that_is_gone_is_named_with_its_results():
    life = Life({"digest": b"real"})
    message = life.deliver()
    life.store.delete(CONFIG_MAPS, "default", life.name)
    (problem,) = life.collect(life.ended(message)).problems
    assert problem.message == (
        f'ConfigMap "{life.name}" is not there, though the results sidecar had written it; '
        f'nothing is known of "digest"'
    )


def test_one_that_may_not_be_read_is_asked_for_again():
    life = Life({"digest": b"real"})
    pod = life.ended(life.deliver())

    class Closed:
        def get(self, *_):
            raise ForbiddenError("configmaps is forbidden")

    with pytest.raises(ForbiddenError):
        CORE.collect(life.run, pod, Closed())
    (problem,) = CORE.collect(life.run, pod, Closed(), final=True).problems
    assert problem.code is ProblemCode.TRANSPORT_UNREADABLE
    assert "configmaps is forbidden" in problem.message


def test_a_pod_whose_sidecar_has_not_ended_is_not_read():
    life = Life({"digest": b"real"})
    message = life.deliver()
    pod = life.ended(message, phase="Running")
    assert CORE.is_ready(life.run, pod)
    pod["status"]["initContainerStatuses"][0]["state"] = {"running": {}}
    assert not CORE.is_ready(life.run, pod)
    with pytest.raises(TooEarlyError):
        life.collect(pod)
    (problem,) = life.collect(pod, final=True).problems
    assert "has not ended" in problem.message


def test_a_native_sidecar_that_was_killed_is_waited_for_while_it_may_start_again():
    life = Life({"digest": b"real"})
    pod = life.ended("", 137, phase="Running")
    with pytest.raises(TooEarlyError):
        life.collect(pod)
    pod["status"]["phase"] = "Failed"
    (problem,) = life.collect(pod).problems
    assert "exit code 137" in problem.message
    assert "left no message" in problem.message
    # Started again, it finds what it had written, and says so.
    life.deliver()
    collected = life.collect(life.ended(life.deliver(), lastState=pod["status"]))
    assert values_of(collected) == {"digest": "real"}


def test_a_native_sidecar_that_was_killed_after_it_had_written_is_believed():
    """Having said all it waits for SIGTERM: killed there, nothing is lost."""
    life = Life({"digest": b"real"})
    collected = life.collect(life.ended(life.deliver(), 137))
    assert (collected.ok, values_of(collected)) == (True, {"digest": "real"})


def test_a_sidecar_that_never_started_is_named():
    life = Life({"digest": b"real"})
    pod = life.ended("", phase="Failed")
    pod["status"]["initContainerStatuses"][0]["state"] = {"waiting": {"reason": "ImagePullBackOff"}}
    (problem,) = life.collect(pod).problems
    assert f'container "{RESULTS_SIDECAR}" never started' in problem.message


def test_a_plain_sidecar_is_read_as_well():
    life = Life({"digest": b"real"}, config=PLAIN)
    pod = life.ended(life.deliver())
    status = pod["status"]
    status["containerStatuses"] += status.pop("initContainerStatuses")
    assert [container["name"] for container in pod["spec"]["containers"]] == ["step-one", RESULTS_SIDECAR]
    assert values_of(life.collect(pod)) == {"digest": "real"}


def test_another_wire_version_is_said():
    life = Life({"digest": b"real"})
    pod = life.ended(life.deliver())
    pod["metadata"]["annotations"]["resultsfw.dev/stamp"] = "config-map/7"
    (problem,) = life.collect(pod).problems
    assert "speaks wire version 7" in problem.message


def test_both_sides_mean_the_same():
    """The sidecar imports nothing of ours: what both must know stands in both."""
    for name in ("ENV_NAME", "ENV_UID", "ENV_ACCOUNT", "RECORDS", "VALUE_BYTES"):
        assert getattr(transport, name) == getattr(config_map, name)
    assert transport.__name__ == config_map.TRANSPORT


def test_killed_between_reading_and_purging_nothing_is_lost():
    life = Life({"digest": b"real"})
    pod = life.ended(life.deliver())
    assert life.collect(pod) == life.collect(pod)
    CORE.purge(life.run, pod, life.store)
    with pytest.raises(NotFoundError):
        life.store.get(CONFIG_MAPS, "default", life.name)
