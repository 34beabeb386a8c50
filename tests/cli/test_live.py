"""`list`, `explain`, `value` and `verify` on a cluster: an API server on loopback, and the real client."""

import base64
import json

import captures
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from kubeserver import Server, kubeconfig_for
from rich.console import Console
from signing_harness import RUN, authority
from verdict_harness import signed

from resultsfw.cli.files.inputs import Document, without_nulls
from resultsfw.cli.inspect.list_runs import row_of
from resultsfw.cli.output import show
from resultsfw.cli.sources.announcing import AnnouncingCluster
from resultsfw.cli.sources.read_only import ReadOnlyCluster
from resultsfw.cluster import PODS, Cluster
from resultsfw.errors import ClusterError
from resultsfw.kube import contexts
from resultsfw.kube.contexts import default_namespace

SIDECAR = "sidecar-tekton-log-results"
TEKTON = {"apiVersion": "tekton.dev/v1"}
DROPPED = b"2026/01/01 Termination message is above max allowed size 4096, caused by large task result.\n"
FIELDS = st.sampled_from(
    ["conditions", "results", "steps", "taskSpec", "name", "value", "type", "provenance"]
)
LEAVES = st.none() | st.integers() | st.text(max_size=8)
STATUSES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def server(monkeypatch, tmp_path):
    """An API server to which the environment's kubeconfig leads, whose context names a namespace."""
    server = Server()
    file = kubeconfig_for(server.url, tmp_path)
    config = yaml.safe_load(file.read_text())
    config["contexts"][0]["context"]["namespace"] = "team"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    yield server
    server.down()


def taskrun(server, name="build", namespace="team", results=("digest",), values=("x",), **status):
    """Put a TaskRun that its controller finished."""
    found = [
        {"name": key, "type": "string", "value": text} for key, text in zip(results, values, strict=False)
    ]
    condition = {"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": ""}
    spec = {"results": [{"name": result} for result in results], "steps": [{"name": "one", "image": "i"}]}
    whole = {
        "conditions": [condition],
        "podName": f"{name}-pod",
        "taskSpec": spec,
        "results": found,
        "provenance": {"featureFlags": {"resultExtractionMethod": "sidecar-logs", "maxResultSize": 4096}},
        **status,
    }
    metadata = {"creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"tekton.dev/pipelineRun": "pipe"}}
    spec = {"taskSpec": spec}
    server.put(
        "taskruns", namespace, name, **TEKTON, kind="TaskRun", metadata=metadata, spec=spec, status=whole
    )


def pipelinerun(server, *children, name="pipe", **status):
    references = [{"kind": "TaskRun", "name": child, "pipelineTaskName": f"t-{child}"} for child in children]
    whole = {
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed", "message": "done"}],
        "childReferences": references,
        "pipelineSpec": {"results": [{"name": "image", "value": "$(tasks.t-build.results.digest)"}]},
        "results": [{"name": "image", "value": "x"}],
        "skippedTasks": [{"name": "never", "reason": "When Expressions evaluated to false"}],
        **status,
    }
    server.put("pipelineruns", "team", name, **TEKTON, kind="PipelineRun", spec={}, status=whole)


@pytest.fixture
def captured(server):
    """Put what a real Tekton left: a run with its status, its Pod and the log of its results sidecar."""

    def put(name):
        capture = captures.load(name)
        final, pod = capture["tekton_final"], capture["pod_events"][-1]["object"]
        for plural, obj in (("taskruns", final), ("pods", pod)):
            content = {key: value for key, value in obj.items() if key != "metadata"}
            metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
            server.put(
                plural, "team", obj["metadata"]["name"], **content, metadata={**metadata, "namespace": "team"}
            )
        server.put("configmaps", "tekton-pipelines", "feature-flags", kind="ConfigMap", data=capture["flags"])
        if "sidecar_log_base64" in capture:
            server.state.logs[pod["metadata"]["name"]] = base64.b64decode(capture["sidecar_log_base64"])

    return put


def words(ran):
    return " ".join((ran.out + ran.err).split())


def refuse(status, message="no"):
    return lambda handler: handler.refuse(status, "Forbidden" if status == 403 else "Error", message)


def test_explain_reads_a_run_its_pod_its_log_and_the_flags(cli, server, captured):
    captured("sl-basic")
    ran = cli("explain", "sl-basic")
    assert (ran.status, ran.err) == (0, "")
    assert f'arrived in the log of container "{SIDECAR}": 11 bytes of the 4096' in words(ran)
    assert {request.method for request in server.asked} == {"GET"}
    assert len(server.asked) == 6  # TaskRun, PipelineRun of that name, two ConfigMaps, Pod, log
    assert cli("explain", "tr/sl-basic", "-o", "json").json["results"][0]["end"] == "arrived"


def test_what_tekton_lost_in_a_run_that_succeeded_is_explained(cli, captured):
    captured("tm-overflow")
    ran = cli("explain", "tm-overflow")
    assert (ran.status, ran.out.splitlines()[0]) == (0, "tm-overflow succeeded")
    assert "big (string): lost" in words(ran)
    assert "set results-from: sidecar-logs" in words(ran)
    assert 'lost: it arrived in the termination message of container "step-one"' in words(ran)
    assert "and the controller did not write it into the status" in words(ran)


def test_the_log_of_a_step_says_that_its_results_were_dropped(cli, server, captured):
    captured("tm-overflow-entrypoint")
    assert "big (string): unknown" in words(cli("explain", "tm-overflow-entrypoint"))
    server.state.logs["tm-overflow-entrypoint-pod"] = DROPPED
    ran = cli("explain", "tm-overflow-entrypoint")
    assert (ran.status, "big (string): lost" in words(ran)) == (1, True)
    assert "says that its entrypoint (Tekton's) dropped its results" in words(ran)
    assert "what to do: set results-from: sidecar-logs" in words(ran)
    assert server.asked[-1].query["tailLines"] == "10"
    assert "not reached" in cli("explain", "tm-overflow-entrypoint", "-o", "html").out  # the status
    server.plan(refuse(403), times=9, path="/log")
    assert "big (string): unknown" in words(cli("explain", "tm-overflow-entrypoint"))


def test_tektons_entrypoint_drops_results_in_pods_of_our_controller_too(cli, server, captured):
    captured("tm-overflow-entrypoint")
    pod = server.state.objects["pods", "team", "tm-overflow-entrypoint-pod"]
    stamp = {"resultsfw.dev/stamp": "termination-message/0", "resultsfw.dev/max-result-size": "4096"}
    pod["metadata"]["annotations"] = pod["metadata"].get("annotations", {}) | stamp
    assert "big (string): unknown" in words(cli("explain", "tm-overflow-entrypoint"))
    server.state.logs["tm-overflow-entrypoint-pod"] = DROPPED
    assert "big (string): lost" in words(cli("explain", "tm-overflow-entrypoint"))
    for status in pod["status"]["containerStatuses"]:
        status["containerID"] = "process://1"  # its entrypoint says which result is too large
    assert "big (string): absent" in words(cli("explain", "tm-overflow-entrypoint"))


def test_a_log_that_may_not_be_read_says_which_right_is_missing(cli, server, captured):
    captured("sl-basic")
    server.plan(refuse(403), times=9, path="/log")
    ran = cli("explain", "sl-basic")
    assert ran.status == 0  # the run succeeded, and its status has the results
    assert 'you may not get pods/log in namespace "team"' in words(ran)
    assert "--clusterrole=view" in words(ran)
    assert "is in the status: 11 bytes" in words(ran)


def test_of_a_deleted_pod_the_status_is_explained(cli, server):
    taskrun(server, results=("digest", "other"))
    ran = cli("explain", "build")
    assert ran.status == 0
    assert 'its Pod "build-pod" was deleted, and its logs with it' in words(ran)
    assert "digest (string): arrived" in words(ran)
    assert "other (string): unknown" in words(ran)
    server.plan(refuse(403), times=9, path="/pods/")
    assert "you may not get pods in namespace" in words(cli("explain", "build"))


def test_flags_that_may_not_be_read_are_said_to_be_the_defaults(cli, server):
    taskrun(server)
    server.plan(refuse(403), times=9, path="/configmaps/")
    ran = cli("explain", "build")
    assert ran.status == 0
    assert (
        "the ConfigMap tekton-pipelines/feature-flags may not be read: the default flags are taken"
        in words(ran)
    )


def test_flags_that_name_what_is_not_installed_here_are_said_to_be_the_defaults(cli, server):
    taskrun(server)
    data = {"results-from": "of-another-machine"}
    server.put("configmaps", "operator", "feature-flags", kind="ConfigMap", data=data)
    ran = cli("explain", "build", "--flags-namespace", "operator")
    assert ran.status == 0
    assert "the cluster's flags cannot be used on this machine: the defaults are taken" in words(ran)


def test_a_pod_cannot_name_a_backend_that_neither_flags_nor_status_allow(cli, server):
    taskrun(server, provenance={})
    annotations = {"resultsfw.dev/stamp": "object-store/1", "resultsfw.dev/max-result-size": "4096"}
    spec = {"containers": [{"name": "step-one"}]}
    server.put("pods", "team", "build-pod", kind="Pod", metadata={"annotations": annotations}, spec=spec)
    ran = cli("explain", "build")
    assert 'is to be read by backend "object-store", which no flag allows' in words(ran)


def test_a_run_that_no_controller_has_taken_and_a_running_one(cli, server):
    spec = {"taskSpec": {"steps": [{"name": "one", "image": "i"}]}}
    server.put("taskruns", "team", "new", **TEKTON, kind="TaskRun", spec=spec)
    ran = cli("explain", "new")
    assert (ran.status, "no controller has read its Task yet" in words(ran)) == (1, True)
    taskrun(server, values=(), conditions=[{"type": "Succeeded", "status": "Unknown", "reason": "Running"}])
    ran = cli("explain", "build")
    assert (ran.status, "digest (string): pending" in words(ran)) == (1, True)


def test_all_taskruns_of_a_pipelinerun_are_explained_with_few_requests(cli, server):
    names = [f"build-{number}" for number in range(8)]
    for name in names:
        taskrun(server, name)
        server.put(
            "pods",
            "team",
            f"{name}-pod",
            kind="Pod",
            spec={"containers": [{"name": "step-one"}]},
            metadata={"labels": {"tekton.dev/pipelineRun": "pipe"}},
        )
    pipelinerun(server, *names, "gone")
    server.asked.clear()
    ran = cli("explain", "pr/pipe")
    assert ran.status == 0
    shown = words(ran)
    assert "t-build-7 build-7 succeeded 1 of 1 arrived, 1 byte" in shown
    assert "never - skipped When Expressions evaluated to false" in shown
    assert "result image: 1 byte, from $(tasks.t-build.results.digest)" in shown
    assert 'TaskRun "gone" cannot be read' in shown
    # PipelineRun, two ConfigMaps, TaskRuns, Pods, the one that is gone; logs are not needed for messages.
    assert len(server.asked) == 6
    facts = cli("explain", "pr/pipe", "-o", "json").json
    assert facts["results"] == [
        {"name": "image", "source": "$(tasks.t-build.results.digest)", "size": 1, "end": "arrived"}
    ]
    assert [run["taskrun"] for run in facts["runs"]] == names
    assert facts["missing"] == ['TaskRun "gone"']


def controller(server, *, namespace="resultsfw", **more):
    labels = {"app.kubernetes.io/part-of": "resultsfw", "app.kubernetes.io/component": "controller"}
    metadata = {"labels": {**labels, "app.kubernetes.io/version": "0.0.9"}}
    template = {"spec": {"containers": [{"name": "controller", "image": "example.org/c:0.0.9\x1b[2J"}]}}
    content = {"spec": {"replicas": 2, "template": template}, "status": {"availableReplicas": 1}, **more}
    server.put("deployments", namespace, "one", metadata=metadata, **content)


def test_version_reads_the_controllers_deployment(cli, server):
    controller(server)
    ran = cli("version", "--cluster")
    assert ran.status == 0
    first, second = ran.out.splitlines()
    assert first.startswith("resultsfw ")
    assert second == (
        "controller 0.0.9, example.org/c:0.0.9\\x1b[2J (resultsfw/one, 1 of 2 replicas available)"
    )
    (found,) = cli("version", "-n", "resultsfw", "-o", "json").json["controllers"]
    assert (found["version"], found["replicas"], found["availableReplicas"]) == ("0.0.9", 2, 1)


def test_version_says_why_a_cluster_has_no_controller_to_name(cli, server):
    controller(server)
    assert cli("version").status == 0
    ran = cli("version", "-n", "elsewhere")
    assert ran.status == 1
    assert 'no controller of resultsfw in namespace "elsewhere"' in ran.err
    server.plan(refuse(403), times=9, path="/deployments")
    ran = cli("version", "--cluster")
    assert ran.status == 1
    assert 'you may not list deployments.apps in namespace "resultsfw"' in words(ran)


def test_a_name_of_both_kinds_is_refused_and_a_prefix_decides(cli, server):
    taskrun(server, "pipe")
    pipelinerun(server)
    ran = cli("explain", "pipe")
    assert ran.status == 2
    assert "write taskrun/pipe or pipelinerun/pipe" in ran.err
    for prefix in ("tr", "taskruns", "taskrun.tekton.dev"):
        assert cli("value", f"{prefix}/pipe", "digest").out == "x"
    assert cli("value", "pr/pipe", "image").out == "x"


def test_an_unknown_name_gets_the_nearest(cli, server):
    taskrun(server)
    pipelinerun(server)
    ran = cli("explain", "biuld")
    assert ran.status == 1
    assert 'no TaskRun or PipelineRun "biuld" in namespace "team"; did you mean "build"?' in ran.err
    assert "resultsfw list -A" in cli("value", "zzz", "x").err
    assert 'did you mean "digest"' in cli("value", "build", "digset").err
    assert (
        'no TaskRun or PipelineRun "build" in namespace "other"' in cli("explain", "build", "-n", "other").err
    )


def test_a_file_given_as_a_name_is_refused(cli, server, write):
    ran = cli("explain", write("run.yaml", ""))
    assert ran.status == 2
    assert "run.yaml is a file: use -f run.yaml" in ran.err
    assert "name a run, or give saved files with -f" in cli("explain").err
    assert "are about a cluster" in cli("explain", "x", "-f", "run.yaml", "--context", "c").err
    assert "--log is for saved files" in cli("explain", "x", "--log", "a=b").err


def test_many_runs_are_listed_in_pages_without_a_request_for_each(cli, server):
    for number in range(250):
        taskrun(server, f"run-{number:03}")
    pipelinerun(server)
    ran = cli("list")
    assert (ran.status, ran.err) == (0, "")
    assert len(ran.out.splitlines()) == 252
    assert len(server.asked) == 4  # three pages of TaskRuns, one of PipelineRuns


def test_a_list_shows_what_arrived_and_wide_what_did_not(cli, server):
    taskrun(server, "good")
    failed = [{"type": "Succeeded", "status": "False", "reason": "TaskRunTimeout\x1b[2J", "message": ""}]
    taskrun(server, "bad", results=("digest", "other"), conditions=failed)
    taskrun(server, "away", namespace="elsewhere")
    lines = [line.split() for line in cli("list", "taskruns").out.splitlines()]
    assert lines[0] == ["NAME", "KIND", "STATUS", "BACKEND", "RESULTS", "BYTES", "AGE", "REASON"]
    rows = {line[0]: line[1:6] for line in lines[1:]}
    assert rows["good"] == ["TaskRun", "Succeeded", "sidecar-logs", "1/1", "1"]
    assert rows["bad"] == ["TaskRun", "Failed", "sidecar-logs", "1/2", "1"]
    assert lines[1][-1] == "TaskRunTimeout\\x1b[2J"
    wide = cli("list", "tr", "bad", "-o", "wide").out.splitlines()[1].split()
    assert wide[7:11] == ["0.0%", "-", "bad-pod", "other"]
    assert cli("list", "-A", "tr").out.splitlines()[1].split()[:2] == ["elsewhere", "away"]
    assert cli("list", "-A", "tr/good").out.split()[0] == "NAMESPACE"
    assert cli("list", "-n", "elsewhere", "-o", "name").out == "taskrun.tekton.dev/away\n"
    assert cli("list", "-l", "a=b").err == "note: no runs found\n"


@pytest.mark.parametrize(
    ("columns", "head", "row"),
    [
        (120, "NAME KIND STATUS BACKEND RESULTS BYTES AGE REASON", "TaskRun Failed sidecar-logs 0/1"),
        (95, "NAME KIND STATUS BACKEND RESULTS BYTES AGE", "TaskRun Failed sidecar-logs 0/1"),
        (80, "NAME KIND STATUS RESULTS BYTES AGE", "TaskRun Failed 0/1"),
        (66, "NAME STATUS RESULTS BYTES AGE", "Failed 0/1"),
    ],
)
def test_a_terminal_has_a_line_for_each_run(monkeypatch, cli, server, *, columns, head, row):
    """A reason that has no space beside is below; a pipe and ``-o wide`` have all columns."""
    name, reason = "build-of-a-large-image-for-all", "TaskRunResultLargerThanAllowedLimit"
    failed = [{"type": "Succeeded", "status": "False", "reason": reason, "message": ""}]
    taskrun(server, name, values=(), conditions=failed)

    def console(*, stderr=False, widest=0):
        return Console(stderr=stderr, width=columns, force_terminal=not stderr, color_system=None)

    monkeypatch.setattr(show, "console", console)
    ran = cli("list", "tr")
    lines = ran.out.splitlines()
    assert lines[0].split() == head.split()
    assert lines[1].split()[: len(row.split()) + 1] == [name, *row.split()]
    assert lines[2:] == ([] if "REASON" in head else [f"  {reason}"])
    assert max(map(len, lines)) <= columns
    assert ("narrow" in ran.err) == ("BACKEND" not in head)
    assert cli("list", "tr", "-o", "wide").out.splitlines()[1].split()[-1] == reason


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_printed_list_is_read_back(cli, server, write, form):
    taskrun(server)
    pipelinerun(server, "build")
    listed = cli("list", "-o", form).out
    assert [item["kind"] for item in yaml.safe_load(listed)["items"]] == ["TaskRun", "PipelineRun"]
    assert cli("list", "-f", write("list", listed), "-o", form).out == listed
    assert cli("explain", "build", "-f", "list").status == 0
    assert "build succeeded" in cli("explain", "-f", "list").out  # the PipelineRun, whose child it is
    assert yaml.safe_load(cli("list", "-l", "a=b", "-o", form).out)["items"] == []


def test_a_list_shows_a_run_whose_status_cannot_be_read(cli, server):
    taskrun(server, "odd", results_=1, steps={"a": 1})
    taskrun(server)
    ran = cli("list")
    assert ran.status == 0
    assert "Unreadable" in ran.out
    assert "status.steps: must be a list" in ran.out


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            refuse(403, "User x cannot"),
            'you may not list taskruns.tekton.dev in namespace "team" (User x cannot)',
        ),
        (refuse(404), "has no taskruns.tekton.dev: Tekton is not installed there"),
        (refuse(401), "the cluster does not accept the credentials of the kubeconfig (no): log in again"),
        (
            lambda handler: handler.send(302, {}, Location="http://x.invalid"),
            "HTTP 302 without a Status object",
        ),
        (refuse(500), "does not answer"),
        (refuse(410), "the list expired while it was read: repeat the command"),
    ],
)
def test_a_list_that_cannot_be_read_says_how_to_go_on(cli, server, answer, said):
    server.plan(answer, times=9)
    ran = cli("list")
    assert (ran.status, ran.out) == (1, "")
    assert said in ran.err


OTHERS = [{"kind": "Secret"}, {"kind": 5}, {"metadata": {"name": "build"}}]


@pytest.mark.parametrize("change", [*OTHERS, {"metadata": {"name": "other", "namespace": "team"}}])
def test_another_object_than_the_one_asked_for_is_refused(cli, server, change):
    obj = {**TEKTON, "kind": "TaskRun", "metadata": {"name": "build", "namespace": "team"}, **change}
    server.plan(lambda handler: handler.send(200, obj), times=9, path="/taskruns/build")
    server.plan(
        lambda handler: handler.send(200, {"metadata": {"resourceVersion": "1"}, "items": [obj]}),
        times=9,
        path="/taskruns",
    )
    commands = [("explain", "tr/build"), ("value", "tr/build", "digest"), ("list", "-o", "json")]
    for command in commands if change in OTHERS else commands[:2]:
        ran = cli(*command)
        assert ran.status == 1, command
        assert "error: the server sent another object than the TaskRun that it was asked for" in ran.err


def test_a_cluster_that_does_not_answer_and_one_that_no_file_names(cli, server, monkeypatch, tmp_path):
    server.down()
    ran = cli("explain", "build")
    assert ran.status == 1
    assert f"the cluster at {server.url} does not answer" in ran.err
    server.up()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert "no such file; name a kubeconfig with --kubeconfig" in cli("list").err
    assert cli("list", "--context", "c").status == 2


def test_a_cluster_without_tekton_is_called_that(cli, server):
    assert "Tekton is not installed there" in cli("explain", "build").err


def test_a_reference_of_a_backend_that_nothing_allows_is_not_followed(cli, server):
    reference = {
        "resultsfw-reference": "1",
        "backend": "object-store",
        "location": "file:///x",
        "size": "1",
        "digest": f"sha256:{'0' * 64}",
        "mediaType": "text/plain",
    }
    taskrun(server, values=(reference,))
    ran = cli("value", "build", "digest")
    assert ran.status == 2
    assert "add --results-from object-store" in ran.err


def test_verify_reads_a_pipelinerun_and_its_taskruns(cli, server, write):
    bundle = write("bundle.pem", authority().certificate.public_bytes(Encoding.PEM).decode())
    obj = signed()
    content = {key: value for key, value in obj.items() if key != "metadata"}
    server.put("taskruns", RUN.namespace, RUN.name, **content, metadata=obj["metadata"])
    server.state.objects["taskruns", RUN.namespace, RUN.name]["metadata"]["uid"] = obj["metadata"]["uid"]
    child = {"kind": "TaskRun", "name": RUN.name, "pipelineTaskName": "build"}
    server.put(
        *("pipelineruns", RUN.namespace, "pipe"),
        **TEKTON,
        kind="PipelineRun",
        status={"childReferences": [child]},
    )
    options = ("-n", RUN.namespace, "--bundle", bundle)
    ran = cli("verify", "pipe", *options)
    assert (ran.status, ran.err) == (0, "")
    assert "PipelineRun team-a/pipe: verified" in ran.out
    assert f"TaskRun team-a/{RUN.name}: verified" in ran.out
    server.remove("taskruns", RUN.namespace, RUN.name)
    assert "was not found: it was deleted" in cli("verify", "pr/pipe", *options).out


def test_fields_that_a_newer_tekton_has_are_no_obstacle(cli, server, captured):
    captured("sl-basic")
    run = server.state.objects["taskruns", "team", "sl-basic"]
    run["spec"]["brandNew"] = run["newAtTheTop"] = {"a": [1]}
    run["status"]["taskSpec"]["steps"][0]["brandNew"] = True
    ran = cli("explain", "sl-basic")
    assert (ran.status, f'arrived in the log of container "{SIDECAR}": 11 bytes' in words(ran)) == (0, True)
    run["status"]["taskSpec"]["steps"][0]["image"] = 5
    assert "status.taskSpec: spec.steps[0].image: must be text" in words(cli("explain", "sl-basic"))


def test_a_value_is_printed_for_json_too(cli, server):
    taskrun(server, values=(["a", "b"],))
    assert json.loads(cli("value", "build", "digest").out) == ["a", "b"]


@given(status=STATUSES)
def test_no_status_keeps_a_run_from_being_listed(status):
    obj = {**TEKTON, "kind": "TaskRun", "metadata": {"name": "x"}, "status": status}
    row = row_of(Document("TaskRun x", 0, without_nulls(obj), ""))
    assert (row.name, row.kind) == ("x", "TaskRun")


class Recorder(Cluster):
    """Answers everything, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def create(self, kind, obj):
        self.asked.append(kind.kind)
        return obj


def test_a_cluster_that_is_only_read_refuses_every_change():
    reader = ReadOnlyCluster(Recorder())
    for change in (
        lambda: reader.create(PODS, {"metadata": {"name": "x"}}),
        lambda: reader.patch(PODS, "n", "x", {}),
        lambda: reader.delete(PODS, "n", "x"),
    ):
        with pytest.raises(ClusterError, match="changes nothing on a cluster"):
            change()


def test_what_is_created_to_read_a_value_is_announced():
    notes, recorder = [], Recorder()
    cluster = AnnouncingCluster(recorder, notes.append)
    cluster.create(PODS, {"metadata": {"generateName": "reader-", "namespace": "n"}})
    assert (recorder.asked, notes) == (["Pod"], ["creating Pod n/reader-... to read the value"])


def test_the_namespace_is_that_of_the_context_of_the_pod_or_default(monkeypatch, tmp_path, server):
    monkeypatch.setattr(contexts, "_IN_POD", tmp_path / "namespace")
    assert default_namespace(None, None) == "team"
    assert default_namespace(None, "none") == "default"
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "gone"))
    assert default_namespace(None, None) == "default"
    (tmp_path / "namespace").write_text("of-the-pod\n")
    assert default_namespace(None, None) == "of-the-pod"


@pytest.mark.parametrize("failed", [False, True])
def test_of_results_that_were_purged_once_they_were_in_the_status_the_status_counts(cli, server, failed):
    """The ConfigMap of a run is deleted with its last status: read again, nothing would be there."""
    flags = {"featureFlags": {"resultExtractionMethod": "config-map"}}
    reason = "TaskRunResultLargerThanAllowedLimit"
    condition = {"type": "Succeeded", "status": "False", "reason": reason, "message": "digest is too large"}
    given = {"conditions": [condition], "values": ()} if failed else {}
    taskrun(server, provenance=flags, **given)
    annotations = {"resultsfw.dev/stamp": "config-map/1", "resultsfw.dev/max-result-size": "4096"}
    state = {"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:00:09Z"}}
    server.put(
        *("pods", "team", "build-pod"),
        kind="Pod",
        metadata={"annotations": annotations},
        spec={"containers": [{"name": "step-one"}]},
        status={"phase": "Succeeded", "containerStatuses": [{"name": "step-one", "state": state}]},
    )
    ran = cli("explain", "build")
    assert ran.status == int(failed)
    assert "its results cannot be read again, so only its status counts" in words(ran)
    assert f"digest (string): {'unknown' if failed else 'arrived'}" in words(ran)
    assert "missing" not in words(ran)
