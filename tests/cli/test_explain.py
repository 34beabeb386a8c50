"""`resultsfw explain`: the way of an arrived, absent, refused, lost and unknown result, in words."""

import collections
import json
from pathlib import Path

import captures
import pytest
import yaml

from resultsfw.cli.inspect import explain_sentences
from resultsfw.cli.sources import saved as saved_source

SIDECAR = "sidecar-tekton-log-results"
TASK = {"results": [{"name": "r"}], "steps": [{"name": "s", "image": "i"}]}


def told(ran):
    """What was printed, its lines joined: wrapping is no part of what is said."""
    return " ".join(ran.out.split())


def ends(ran):
    return {one["name"]: one["end"] for one in ran.json["results"]}


def test_a_result_in_a_termination_message_arrived(cli, saved):
    ran = cli("explain", *saved("tm-basic"))
    assert ran.status == 0
    words = told(ran)
    assert "transport: termination-message, because no Step's entrypoint was told another way" in words
    assert (
        "budget: 4096 bytes a container, 12288 / 4 containers of this pod (2 containers + 2 init containers) "
        "= 3072: 3072 bytes each" in words
    )
    assert "termination message of step-push: 161 of 3072 bytes, with digest, url" in words
    assert (
        'url (string): arrived each of the Steps "build" and "push" can write it, to /tekton/results/url; '
        'the last one that does counts arrived in the termination message of container "step-push": 13 bytes '
        "of the 3072 that a container may have" in words
    )
    assert "what to do" not in words


def test_a_result_in_the_sidecar_log_arrived(cli, saved):
    words = told(cli("explain", *saved("sl-basic")))
    assert (
        'transport: sidecar-logs, because the entrypoint of container "step-build" was told "-result_from '
        'sidecar-logs"' in words
    )
    assert "budget: max-result-size 4096 bytes a result (as the flags given here say), 1572864 bytes" in words
    carried = f'arrived in the log of container "{SIDECAR}": 11 bytes of the 4096 that one result may have'
    assert carried in words


def test_three_containers_have_the_whole_budget_each(cli, saved):
    words = told(cli("explain", *saved("tm-missing-result")))
    assert (
        "12288 / 3 containers of this pod (1 container + 2 init containers) = 4096: 4096 bytes each" in words
    )


def test_a_task_result_taken_from_a_step_result_names_its_source(cli, saved):
    words = told(cli("explain", *saved("sl-step-results")))
    file = "/tekton/steps/step-build/results/digest"
    assert (
        f'digest (string): arrived taken from result build.digest: only Step "build" can write it, to {file}'
        in words
    )
    assert f'digest of Step "build" (string): arrived only Step "build" can write it, to {file}' in words


def test_a_result_that_no_step_wrote_is_absent(cli, saved):
    ran = cli("explain", *saved("tm-missing-result"))
    assert ran.status == 0
    assert (
        'gone (string): absent only Step "one" can write it, to /tekton/results/gone '
        "no Step wrote it; a result that is absent does not fail the run" in told(ran)
    )


def test_an_absent_result_that_fails_the_run_names_the_flag(cli, saved, write):
    options = saved("tm-missing-result")
    flags = json.loads(Path("flags.json").read_text())
    flags["data"]["missing-results"] = "fail"
    write("flags.json", json.dumps(flags))
    ran = cli("explain", *options)
    assert ran.status == 1
    assert "gone (string): absent" in told(ran)
    assert 'set the feature flag "missing-results" to "ignore"' in told(ran)


def test_an_absent_result_names_the_step_that_failed(cli, saved):
    """Exit code 3 cannot be that of Tekton's entrypoint over a result that is too large."""
    options = saved(
        "tm-step-fails", change=lambda run: run["spec"]["taskSpec"]["results"].append({"name": "more"})
    )
    words = told(cli("explain", *options))
    assert "more (string): absent" in words
    assert 'Step "two" failed with exit code 3, perhaps before it wrote the result' in words


def test_a_result_at_the_cut_of_a_message_is_lost(cli, saved):
    ran = cli("explain", *saved("tm-overflow"))
    assert ran.status == 1
    words = told(ran)
    assert "termination message of step-one: 3072 of 3072 bytes, with small, and was cut short there" in words
    assert 'lost: the termination message of container "step-one" was cut short at 3072 bytes' in words
    assert "what to do: set results-from: sidecar-logs" in words
    assert ends(cli("explain", *saved("tm-overflow"), "-o", "json")) == {"small": "arrived", "big": "lost"}


def test_a_result_over_the_limit_is_refused(cli, saved):
    words = told(cli("explain", *saved("sl-100k"), "--max-result-size", "5000"))
    assert "big (string): refused" in words
    assert 'refused: result "big" has 100000 bytes, over the limit of 5000 bytes' in words
    assert '{"data":{"max-result-size":"102400"}}' in words


def test_a_result_over_the_limit_of_the_run_is_refused(cli, saved):
    ran = cli("explain", *saved("sl-crd-overflow"))
    assert ends(cli("explain", *saved("sl-crd-overflow"), "-o", "json")) == {
        "a": "arrived",
        "b": "arrived",
        "c": "refused",
    }
    assert (
        "refused: results have 1800000 bytes together, over the limit of 1572864 bytes for one run"
        in told(ran)
    )
    assert "what to do: write less" in told(ran)


def test_a_result_of_another_type_is_refused(cli, saved):
    def declare(run):
        run["spec"]["taskSpec"]["results"][0]["type"] = "array"

    words = told(cli("explain", *saved("tm-basic", change=declare)))
    assert (
        'and was refused: expected to be "array" type but was initialized to a different type "string"'
        in words
    )
    assert "what to do: an array result is a JSON array of strings" in words


def test_an_object_result_that_lacks_keys_is_refused(cli, saved):
    def declare(run):
        for one in run["spec"]["taskSpec"]["results"]:
            if one["type"] == "object":
                one["properties"]["more"] = {"type": "string"}

    words = told(cli("explain", *saved("sl-array-object", change=declare)))
    assert "and was refused: it lacks the keys more that its properties name" in words


def test_results_are_unknown_without_the_sidecar_log(cli, saved):
    ran = cli("explain", *saved("sl-basic", log=False))
    assert ran.status == 1
    words = told(ran)
    assert "url (string): unknown" in words
    assert "lost, or never written: nothing tells which; see above" in words
    assert words.count("kubectl logs") == 1


def test_a_result_that_tektons_entrypoint_may_have_dropped_is_unknown(cli, saved):
    words = told(cli("explain", *saved("tm-overflow-entrypoint")))
    assert "big (string): unknown" in words
    assert (
        'if it says "Termination message is above max allowed size", set results-from: sidecar-logs' in words
    )
    assert "and max-result-size if a result may have more than 4096 bytes" in words


def test_an_invalid_line_in_the_log_leaves_the_other_results(cli, saved, write):
    options = saved("sl-basic")
    log = Path("sidecar.log").read_text().replace('"value":"registry/app', '"value":5,"x":"')
    write("sidecar.log", log)
    ran = cli("explain", *options, "-o", "json")
    assert yaml.safe_load(cli("explain", *options, "-o", "yaml").out) == ran.json
    assert ends(ran)["digest"] == "arrived"
    assert ran.json["problems"]


def test_an_undeclared_result_is_ignored_and_named(cli, saved):
    def forget(run):
        spec = run["spec"]["taskSpec"]
        del spec["results"][1]
        for step in spec["steps"]:
            step["script"] = "true"

    options = saved("sl-basic", change=forget)
    ran = cli("explain", *options)
    assert ran.status == 0
    assert 'ignored, as nothing declares it: "url"' in told(ran)
    assert cli("explain", *options, "-o", "json").json["undeclared"] == ["url"]


def test_the_limit_of_a_stamped_pod_is_that_of_the_stamp(cli, saved, write):
    options = saved("sl-basic")
    pod = json.loads(Path("pod.json").read_text())
    pod["metadata"].setdefault("annotations", {}).update(
        {"resultsfw.dev/stamp": "sidecar-logs/0", "resultsfw.dev/max-result-size": "7777"}
    )
    write("pod.json", json.dumps(pod))
    words = told(cli("explain", *options))
    assert "transport: sidecar-logs, because the pod is stamped with it" in words
    assert "max-result-size 7777 bytes a result (as the pod is stamped)" in words


def test_results_of_a_run_that_has_not_finished_are_pending(cli, saved):
    ran = cli("explain", *saved("sl-basic", pod=0))
    assert ran.status == 1
    assert "sl-basic not finished" in ran.out
    assert "the run has not finished, and no results were read yet" in told(ran)


def test_a_run_that_was_refused_has_no_traces(cli, saved):
    ran = cli("explain", *saved("sl-reserved-sidecar"))
    assert ran.status == 1
    assert "cannot use reserved sidecar name" in told(ran)
    assert "it was refused before a pod was created, so no Step wrote a result" in told(ran)


def test_a_run_that_declares_no_results_says_so(cli, saved):
    def forget(run):
        spec = run["spec"]["taskSpec"]
        del spec["results"]
        for step in spec["steps"]:
            step["script"] = "true"

    ran = cli("explain", *saved("tm-basic", change=forget))
    assert (ran.status, ran.out) == (0, "tm-basic succeeded\n  it declares no results\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tm-overflow", "sl-basic", "sl-reserved-sidecar"])
def test_the_process_prints_json_only(program, saved, name):
    ran = program("explain", *saved(name), "-o", "json")
    assert {"taskrun", "verdict", "finished", "results", "undeclared", "problems"} <= ran.json.keys()
    assert ran.err == ""


def test_invalid_input_is_refused(cli, saved):
    ran = cli("explain", *saved("sl-basic"), "--results-from", "nothing")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: --results-from: ")


@pytest.fixture
def archive(write):
    """Two runs with their Pods in one file, as `kubectl get taskruns,pods -o yaml` saves them."""
    items = []
    for name in ("tm-basic", "tm-missing-result"):
        capture = captures.load(name)
        items += [capture["tekton_final"], capture["pod_events"][-1]["object"]]
    elsewhere = json.loads(json.dumps(items[0]))
    elsewhere["metadata"]["namespace"] = "elsewhere"
    items.append(elsewhere)
    return write("all.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def test_each_run_of_an_archive_is_explained_by_its_own_pod(cli, archive):
    words = told(cli("explain", "tm-missing-result", "-f", archive))
    assert "12288 / 3 containers of this pod" in words
    assert "note:" not in words
    ran = cli("explain", "-f", archive)
    assert ran.status == 2
    assert "a second run (" in ran.err


def test_a_name_in_two_namespaces_is_refused_and_an_option_selects(cli, archive):
    ran = cli("explain", "tm-basic", "-f", archive)
    assert ran.status == 2
    assert "name its namespace with -n" in ran.err
    assert "12288 / 4 containers of this pod" in told(
        cli("explain", "tm-basic", "-f", archive, "-n", "default")
    )


def test_a_finished_run_without_its_pod_is_explained_by_its_status(cli, archive):
    ran = cli("explain", "-f", archive, "-n", "elsewhere", "--log", "x=y")
    assert ran.status == 2
    words = told(cli("explain", "-f", archive, "-n", "elsewhere"))
    assert "note: its Pod is not in the files" in words  # that of the other namespace is not taken
    assert "url (string): arrived" in words


def test_files_of_many_runs_and_pods_are_read_once(cli, write, monkeypatch):
    count = 12
    status = {
        "conditions": [{"type": "Succeeded", "status": "True"}],
        "taskSpec": TASK,
        "results": [{"name": "r", "value": "x"}],
        "provenance": {"featureFlags": {"resultExtractionMethod": "sidecar-logs"}},
    }
    kind = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "spec": {"taskSpec": TASK}}
    runs = [
        {**kind, "metadata": {"name": f"t{index}"}, "status": {**status, "podName": "gone"}}
        for index in range(count)
    ]
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"q{index}"}, "spec": {"containers": []}}
        for index in range(count)
    ]
    children = [{"kind": "TaskRun", "name": f"t{index}"} for index in range(count)]
    parent = {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "p"}}
    parent["status"] = {"childReferences": children}
    items = [parent, *runs, *pods]
    calls = collections.Counter()
    checked, load = saved_source.checked_pod, explain_sentences.load_backend
    monkeypatch.setattr(saved_source, "checked_pod", lambda pod: calls.update(["pod"]) or checked(pod))
    monkeypatch.setattr(
        explain_sentences, "load_backend", lambda name: calls.update(["backend"]) or load(name)
    )
    explain_sentences._delivers_references.cache_clear()
    file = write("all.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert cli("explain", "-f", file, "-o", "html").out.count("<section") == count + 1
    assert calls == {"pod": count, "backend": 1}


def test_commands_to_be_copied_quote_what_a_saved_run_is_called(cli, write):
    status = {
        "podName": "$(touch x)",
        "conditions": [{"type": "Succeeded", "status": "True"}],
        "taskSpec": TASK,
    }
    metadata = {"name": "r", "namespace": "a; ls"}
    run = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata}
    run |= {"spec": {"taskSpec": TASK}, "status": status}
    words = told(cli("explain", "-f", write("r.json", json.dumps(run))))
    assert "kubectl get pod -n 'a; ls' '$(touch x)' -o yaml > FILE" in words


def test_a_file_in_place_of_a_name_is_refused_with_the_option_also_without_a_cluster(
    cli, tmp_path, monkeypatch
):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    file = tmp_path / "run.yaml"
    file.write_text("kind: TaskRun\n")
    for words in (("explain", file), ("value", file, "r"), ("verify", file, "--bundle", file)):
        ran = cli(*words)
        assert (ran.status, "-f" in ran.err) == (2, True)
        assert "kubeconfig" not in ran.err
