"""Controller processes beside broken plugins, and with one of them selected."""

import json
import signal

import pytest
from controllerharness import condition
from pluginsite import BROKEN, GOOD

from resultsfw.cluster import EVENTS, PODS

pytestmark = pytest.mark.slow

OBSERVER = """
from resultsfw import hookimpl

@hookimpl
def results_collected(run):
    import logging
    logging.getLogger("resultsfw.watch").info("watched %s", run.name)
"""


@pytest.fixture
def harness(harness, site, monkeypatch):
    """A harness whose controllers have the site's distributions."""
    monkeypatch.setenv("PYTHONPATH", str(site.path))
    return harness


def test_the_controller_runs_beside_broken_plugins_and_rejects_edits_that_select_one(harness, site):
    for name, (text, _) in BROKEN.items():
        site.backend(name, text)
    for one in ("one", "two"):
        site.backend("twice", GOOD, dist=one)
    site.extension("watch", OBSERVER)
    site.extension("bad", "raise RuntimeError('never')")
    process = harness.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    harness.create("first")
    harness.until(lambda: harness.done("first"))
    for key, name, why in (
        ("results-from", "import", "ModuleNotFoundError"),
        ("results-from", "twice", "claimed by more than one distribution"),
        ("allowed-results-from", "misspelt", 'unknown hook "extrakt"'),
        ("extensions", "bad", "RuntimeError: never"),
        ("extensions", "wach", 'did you mean "watch"?'),
    ):
        harness.flags(**{"results-from": "", "allowed-results-from": "", "extensions": "", key: name})
        said = process.wait_for(f'\\"{name}\\"')["message"]
        assert "is rejected: " in said
        assert why in said
        assert said.endswith("; the previous flags stay in effect")
    harness.create("second")
    harness.until(lambda: harness.done("second"))
    harness.flags(extensions="watch", allowed_results_from="", results_from="")
    process.wait_for("extensions=watch")
    harness.create("third")
    process.wait_for("watched third")
    harness.until(lambda: harness.done("third"))
    harness.assert_all_succeeded("first", "second", "third")
    assert process.signal(signal.SIGTERM) == 0
    told = [
        one["reason"] for one in harness.store.list(EVENTS) if one["involvedObject"]["kind"] == "ConfigMap"
    ]
    assert told == ["FlagsRefused"] * 5


@pytest.mark.parametrize("name", ["import", "misspelt", "version", "twice", "extension"])
def test_a_selected_broken_plugin_ends_the_start_with_one_message(harness, site, name):
    if name == "extension":
        site.extension(name, "import nothing_of_that_name")
        who = f'extension "extension" (dist-ext-extension 0.3, ext_extension, {site.path}/ext_extension.py)'
        why = "ModuleNotFoundError: No module named 'nothing_of_that_name'"
        harness.flags(extensions=name)
    else:
        harness.flags(results_from=name)
        if name == "twice":
            for one in ("one", "two"):
                site.backend(name, GOOD, dist=one)
            who = f'backend "twice" (one 1.2, plugin_one, {site.path}/plugin_one.py)'
            why = "; ".join(f"{one} 1.2, plugin_{one}, {site.path}/plugin_{one}.py" for one in ("one", "two"))
        else:
            site.backend(name, BROKEN[name][0])
            who = f'backend "{name}" (dist-{name} 1.2, plugin_{name}, {site.path}/plugin_{name}.py)'
            why = BROKEN[name][1]
    process = harness.start()
    assert process.wait() == 2
    lines = [json.loads(line) for line in process.lines]
    [error] = [one["message"] for one in lines if one["level"] == "error"]
    assert error.startswith(f'the ConfigMap "feature-flags" is rejected: {who} cannot be used: ')
    assert why in error
    assert error.endswith("; the process exits")
    [event] = harness.store.list(EVENTS)
    assert event["reason"] == "FlagsRefused"
    assert harness.server.requests["POST pods"] == 0


def test_a_broken_backend_that_runs_may_choose_fails_only_those_runs(harness, site):
    site.backend("lacking", BROKEN["lacking"][0])
    harness.flags(allowed_results_from="lacking")
    process = harness.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    assert process.wait_for("implements no extract")["level"] == "error"
    harness.create("chooses", annotations={"resultsfw.dev/results-from": "lacking"})
    harness.create("other")
    harness.until(lambda: harness.done("chooses", "other"))
    assert condition(harness.run("other"))["reason"] == "Succeeded"
    refused = condition(harness.run("chooses"))
    assert refused["reason"] == "TaskRunValidationFailed"
    assert "dist-lacking 1.2" in refused["message"]
    assert "implements no extract" in refused["message"]
    assert process.signal(signal.SIGTERM) == 0


OLDER = """
import resultsfw.hookspecs as specs
specs.purge.resultsfw_spec["warn_on_impl"] = DeprecationWarning("it goes in version 9; use clean_up")
specs.extract.resultsfw_spec["warn_on_impl_args"] = {"limits": DeprecationWarning("it is always the same")}
"""
USES_BOTH = GOOD.replace("def extract(run)", "def extract(run, limits)") + "@hookimpl\ndef purge(run): pass\n"


def test_a_deprecated_plugin_is_warned_about_once_and_works(harness, site):
    """Warnings are errors in this process: those of plugins are not."""
    site.backend("yesterday", USES_BOTH.replace('name="a"', 'name="digest"'))
    site.install("older", "1", "", {"sitecustomize": OLDER})
    harness.flags(results_from="yesterday")
    process = harness.start("--no-leader-elect")
    process.wait_for("this replica is the leader")
    harness.flags(max_result_size="5000")
    process.wait_for("max-result-size=5000")
    harness.create("one")
    harness.until(lambda: harness.done("one"))
    assert condition(harness.run("one"))["reason"] == "Succeeded"
    assert process.signal(signal.SIGTERM) == 0
    said = [one for one in process.lines if "is deprecated" in one]
    assert len(said) == 2
    who = f'backend \\"yesterday\\" (dist-yesterday 1.2, plugin_yesterday, {site.path}/plugin_yesterday.py): '
    assert any(
        who + 'hook \\"purge\\" is deprecated: it goes in version 9; use clean_up' in one for one in said
    )
    assert any('argument \\"limits\\" of hook \\"extract\\" is deprecated' in one for one in said)
    assert {json.loads(one)["level"] for one in said} == {"warning"}


def test_redaction_by_flag_applies_to_results_and_step_messages(harness):
    harness.flags(extensions="redact", **{"config.redact": "patterns:\n  pod: '[a-z]+-pod'"})
    process = harness.start("--no-leader-elect")
    process.wait_for("extensions=redact")
    harness.create("one")
    harness.until(lambda: harness.done("one"))
    status = harness.run("one")["status"]
    assert status["results"] == [{"name": "digest", "type": "string", "value": "[redacted:pod]"}]
    assert [sorted(one["terminated"]) for one in status["steps"]] == [
        ["exitCode", "finishedAt", "reason", "startedAt"]
    ]
    (pod,) = harness.store.list(PODS)
    assert "one-pod" in pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    said = process.wait_for("is redacted by pattern")
    assert said["message"] == 'run runs/one: result "digest" is redacted by pattern: pod (1)'
    assert (said["level"], said["run"], said["backend"]) == ("warning", "runs/one", "termination-message")
    assert process.signal(signal.SIGTERM) == 0
