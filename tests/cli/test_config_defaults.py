"""Tekton's ConfigMap config-defaults among the files of a run."""

import pytest
import yaml


def documents(**data):
    task = {
        "results": [{"name": "r"}],
        "steps": [{"name": "s", "image": "i", "script": "printf $A > $(results.r.path); sleep 30"}],
    }
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "a"},
        "spec": {"taskSpec": task},
    }
    defaults = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config-defaults"},
        "data": {key.replace("_", "-"): value for key, value in data.items()},
    }
    return yaml.safe_dump_all([run, defaults], sort_keys=False)


@pytest.mark.slow
def test_a_run_gets_the_default_pod_template(cli, write):
    text = documents(default_pod_template="env: [{name: A, value: default}]")
    ran = cli("run", write("x.yaml", text.replace("; sleep 30", "")), "-o", "json")
    assert ran.status == 0, ran.err
    (taskrun,) = ran.items
    assert taskrun["status"]["results"][0]["value"] == "default"
    assert "podTemplate" not in taskrun["spec"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"default_timeout_minutes": "ten"}, "not a whole number"),
        ({"default_pod_template": "env: {}"}, "env: must be a list"),
        ({"default_imagepullbackoff_timeout": "5"}, "no duration"),
        ({"default_container_resource_requirements": "a: {limits: {cpu: x}}"}, "no quantity"),
    ],
)
def test_an_invalid_value_is_refused_with_its_file_document_and_line(cli, write, data, words):
    ran = cli("run", write("x.yaml", documents(**data)))
    (key,) = data
    assert ran.status == 2
    assert f"x.yaml, document 2, line 19: data.{key.replace('_', '-')}:" in ran.err
    assert words in ran.err


def test_defaults_in_the_file_of_the_flags_are_applied(cli, write):
    run, defaults = documents(default_timeout_minutes="ten").split("---\n")
    flags = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: feature-flags}\n"
    ran = cli("run", write("x.yaml", run), "--feature-flags", write("flags.yaml", defaults + flags))
    assert ran.status == 2
    assert "flags.yaml, document 1, line 6: data.default-timeout-minutes:" in ran.err


def test_defaults_alone_are_no_flags(cli, write):
    run, defaults = documents(default_timeout_minutes="5").split("---\n")
    ran = cli("run", write("x.yaml", run), "--feature-flags", write("flags.yaml", defaults))
    assert ran.status == 2
    assert 'takes a manifest with one ConfigMap "feature-flags"' in ran.err
