"""Backend ``http`` from end to end, through the local engine and a server of its own."""

import contextlib
import sqlite3

import pytest
import yaml
from http_pods import AUDIENCE, DIGEST, RUN, a_pod, core_for
from localserver import local_server

from resultsfw import ResultsManager
from resultsfw.errors import ClusterError, ForbiddenError
from resultsfw.local import tokens
from resultsfw.local.engine import Engine
from resultsfw.tekton.taskrun.reconciler import Reconciler


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """The flags that a server prints which takes the engine's tokens."""
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        with local_server(None, "--limit-bytes", "20000") as data:
            yield {**data, "max-result-size": "30000"}, state / "resultsfw" / "results.sqlite"


def stored(file):
    """How many deliveries the server has."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT count(*) FROM resultsfw_deliveries").fetchone()[0]


def run_through(flags, script, **spec):
    core = ResultsManager.from_flags(flags)
    taskrun = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "run", "namespace": "default"},
        "spec": {
            **spec,
            "taskSpec": {
                "results": [{"name": "a", "type": "string"}, {"name": "b", "type": "string"}],
                "steps": [{"name": "one", "image": "x", "script": script}],
            },
        },
    }
    with Engine(lambda cluster: Reconciler(core, cluster)) as engine:
        engine.submit(taskrun)
        [done] = engine.run_until_done(40)
    status = done["status"]
    return {result["name"]: result["value"] for result in status.get("results", ())}, status["conditions"][0]


@pytest.mark.slow
def test_results_arrive_and_nothing_is_left(flags):
    data, store = flags
    results, condition = run_through(
        data, "printf SECRET > $(results.a.path)\nprintf %09000d 1 > $(results.b.path)"
    )
    assert (condition["status"], results["a"], len(results["b"])) == ("True", "SECRET", 9000)
    assert stored(store) == 0


@pytest.mark.slow
def test_a_value_over_the_limit_is_named_with_both_numbers(flags):
    data, _ = flags
    _, condition = run_through(
        {**data, "max-result-size": "4000"},
        "printf a > $(results.a.path)\nprintf %04001d 1 > $(results.b.path)",
    )
    assert condition["reason"] == "TaskRunResultLargerThanAllowedLimit"
    assert "4001" in condition["message"]
    assert "4000" in condition["message"]


@pytest.mark.slow
def test_what_the_server_refuses_is_said_in_its_words(flags):
    data, _ = flags
    results, condition = run_through(
        data, "printf a > $(results.a.path)\nprintf %025000d 1 > $(results.b.path)"
    )
    assert (results, condition["reason"]) == ({}, "TaskRunResultsIncomplete")
    assert "HTTP 413" in condition["message"]
    assert "over the limit of 20000 bytes" in condition["message"]


@pytest.mark.slow
def test_a_failed_step_keeps_its_results(flags):
    data, _ = flags
    results, condition = run_through(data, "printf kept > $(results.a.path)\nexit 3")
    assert (results, condition["status"], condition["reason"]) == ({"a": "kept"}, "False", "StepFailed")


@pytest.mark.slow
def test_a_retry_is_another_attempt(flags, tmp_path):
    data, store = flags
    script = f'cd {tmp_path}\nprintf x >> n\nprintf "$(wc -c < n)" > $(results.a.path)\n[ $(wc -c < n) = 2 ]'
    results, condition = run_through(data, script, retries=1)
    assert (results["a"].strip(), condition["status"]) == ("2", "True")
    assert stored(store) == 0


@pytest.mark.slow
def test_tokens_of_other_pods_are_refused(flags, tmp_path):
    """A token of the engine's is a pod's own here too."""
    data, _ = flags
    config = yaml.safe_load(data["config.http"])
    stranger = tmp_path / "stranger"
    made = tokens.Token(
        namespace="default", service_account="default", pod="p", pod_uid="other", audience=AUDIENCE
    )
    stranger.write_text(tokens.make(made))
    core = core_for(config["url"], stranger)
    with pytest.raises(ForbiddenError, match="may not get"):
        core.collect(RUN, a_pod(DIGEST), None)
    with pytest.raises(ClusterError, match="may not delete"):
        core.purge(RUN, a_pod(), None)
