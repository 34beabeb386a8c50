"""Tekton's flag for signed results, its ConfigMap of SPIRE, and the names that it keeps for signatures."""

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import PODS
from resultsfw.flags import Flags, parse_flags
from resultsfw.tekton.api.configmaps import CONFIG_SPIRE, FEATURE_FLAGS, key_warnings
from resultsfw.tekton.api.policies import policies_of, task_violations
from resultsfw.tekton.api.signing import with_spire
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw_signing.tekton_format import is_signature_key

SPIRE = {"enforce-nonfalsifiability": "spire"}
SIGNED = SPIRE | {"extensions": "signed"}
NAMES = ["SVID", "RESULT_MANIFEST", "RESULT_MANIFEST.sig", "digest.sig", ".sig"]


def refusal(flags):
    return " ".join(policies_of(flags, {}).unenforced)


@pytest.mark.parametrize(
    "config", ["", "{policy: mark}", "{policy: fail, namespaces: {a: mark}}", "{trust-domain: example.org}"]
)
def test_results_that_are_signed_everywhere_fulfil_tektons_flag(config):
    flags = SIGNED | ({"config.signed": config} if config else {})
    assert refusal(flags) == ""
    assert list(key_warnings(FEATURE_FLAGS, flags, own={"extensions"}, prefix="config.")) == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (SPIRE, '"extensions" does not name it'),
        (SPIRE | {"extensions": "redact"}, 'only the extension "signed" signs results'),
        (SIGNED | {"config.signed": "{policy: off}"}, "the policy of all namespaces"),
        (SIGNED | {"config.signed": "{policy: 'off'}"}, "set it to fail or mark"),
        (SIGNED | {"config.signed": "{policy: off, namespaces: {a: mark}}"}, "of all other namespaces"),
        (SIGNED | {"config.signed": "{namespaces: {b: mark, a: off}}"}, 'of the namespace "a"'),
        (SIGNED | {"max-result-size": "many"}, "does not name it"),
        (SIGNED | {"enforce-nonfalsifiability": "spiffe"}, 'Tekton knows the values "none" and "spire"'),
    ],
)
def test_tektons_flag_refuses_every_run_whose_results_would_not_be_signed(flags, words):
    assert words in refusal(flags)
    assert any("every run is refused" in line for line in key_warnings(FEATURE_FLAGS, flags))


def harness_with(flags, **task_spec):
    harness = TaskRunHarness()
    policies = policies_of(flags, {})
    harness.reconciler = Reconciler(
        harness.reconciler.core, harness.cluster, clock=harness.clock, policies=policies
    )
    harness.submit()
    for path, value in task_spec.items():
        harness.taskrun["spec"]["taskSpec"][path] = value
    harness.reconcile()
    return harness


def test_the_status_says_that_results_are_signed_as_tektons_does():
    flags = harness_with(SIGNED).taskrun["status"]["provenance"]["featureFlags"]
    assert flags["enforceNonfalsifiability"] == "spire"
    assert "enforceNonfalsifiability" not in harness_with({}).taskrun["status"]["provenance"]["featureFlags"]


@pytest.mark.parametrize("name", NAMES)
def test_no_task_declares_a_name_of_signatures_where_results_are_signed(name):
    signed, unsigned = policies_of({"extensions": "signed"}, {}), policies_of({}, {})
    of_task = {"results": [{"name": "digest"}, {"name": name}]}
    of_step = {"steps": [{}, {"results": [{"name": name}]}]}
    assert task_violations(of_task, unsigned) == task_violations(of_step, unsigned) == []
    (line,) = task_violations(of_task, signed)
    assert line.startswith(f'results[1].name: "{name}" is kept for signatures')
    (line,) = task_violations(of_step, signed)
    assert line.startswith("steps[1].results[0].name")
    assert is_signature_key(name)
    config = "{policy: off, namespaces: {signed: mark}}"
    partly = policies_of({"extensions": "signed", "config.signed": config}, {})
    assert task_violations(of_task, partly, namespace="unsigned") == []
    assert task_violations(of_task, partly, namespace="signed") != []


@pytest.mark.parametrize("name", ["svid", "SVIDs", "sig", "digest.sig2", "manifest", ""])
def test_other_names_are_declared_as_before(name):
    assert task_violations({"results": [{"name": name}]}, policies_of({"extensions": "signed"}, {})) == []


def test_config_spire_has_the_defaults_of_the_extensions_options():
    spire = {
        "spire-trust-domain": "tekton.org",
        "spire-socket-path": "unix:///run/agent.sock",
        "spire-server-addr": "spire:8081",
        "spire-node-alias-prefix": "/node/",
    }
    flags = parse_flags({"extensions": "signed", "config.signed": "{entries: {parent-id: p}}"})
    assert with_spire(flags, spire).config["signed"] == {
        "trust-domain": "tekton.org",
        "controller-socket": "unix:///run/agent.sock",
        "entries": {"parent-id": "p", "server": "spire:8081"},
    }
    own = "{trust-domain: example.org, controller-socket: '', entries: {server: mine}}"
    flags = parse_flags({"extensions": "signed", "config.signed": own})
    assert with_spire(flags, spire) == flags
    flags = parse_flags({"extensions": "signed"})
    assert "entries" not in with_spire(flags, spire).config["signed"]
    assert with_spire(Flags(), spire) == Flags()
    (line,) = key_warnings(CONFIG_SPIRE, spire)
    assert line.startswith("config-spire: spire-node-alias-prefix has no effect here: ")


def test_a_run_under_the_promise_gets_no_pod_without_the_extension():
    harness = harness_with(SPIRE)
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert harness.cluster.list(PODS) == []
