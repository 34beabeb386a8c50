"""Results that fit into a termination message only if it is compressed."""

import pytest
import yaml

COUNT = 40


def documents(flag):
    names = [f"digest-{number}" for number in range(COUNT)]
    line = 'printf "registry/project/image@sha256:%064d" 1 > '
    script = "\n".join(f"{line}$(results.{name}.path)" for name in names)
    task = {
        "results": [{"name": name} for name in names],
        "steps": [{"name": "s", "image": "i", "script": script}],
    }
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "digests"},
        "spec": {"taskSpec": task},
    }
    flags = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "feature-flags"},
        "data": {"results-from": "termination-message", "enable-termination-message-compression": flag},
    }
    return yaml.safe_dump_all([flags, run])


@pytest.mark.slow
def test_results_over_the_budget_arrive_where_the_flag_compresses_and_are_refused_where_not(cli, write):
    whole = cli("run", write("on.yaml", documents("true")), "-o", "json")
    assert whole.status == 0, whole.err
    (taskrun,) = whole.items
    assert [len(result["value"]) for result in taskrun["status"]["results"]] == [94] * COUNT
    assert cli("run", write("off.yaml", documents("false"))).status == 1
