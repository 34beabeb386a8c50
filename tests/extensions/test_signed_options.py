"""`config.signed`: what is accepted, what is refused in clear words, and which policy a namespace has."""

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.errors import FlagError
from resultsfw.extensions import make_extension
from resultsfw_extensions._signed_config import SignedConfig
from resultsfw_extensions._signed_identity import controller_socket
from resultsfw_extensions.signed import Signed

MINIMAL = {"trust-domain": "example.org"}


def load(**options):
    return make_extension("signed", Signed, {**MINIMAL, **options})


def test_the_trust_domain_is_all_that_is_needed():
    config = SignedConfig.model_validate(MINIMAL)
    assert (config.policy, config.workload_api, config.wait, config.entries) == ("fail", "csi", 60, None)
    assert config.image == "registry.invalid/resultsfw/sidecar-signed:0.1.0"
    assert load().verifies_results


def test_a_namespace_may_have_a_policy_of_its_own():
    config = SignedConfig.model_validate(
        {**MINIMAL, "policy": "mark", "namespaces": {"prod": "fail", "lab": "off"}}
    )
    policies = [config.policy_of(namespace) for namespace in ("prod", "lab", "other")]
    assert policies == ["fail", "off", "mark"]


def test_the_word_off_needs_no_quotes_in_yaml():
    options = yaml.safe_load("{trust-domain: example.org, policy: off, namespaces: {prod: off, lab: fail}}")
    config = SignedConfig.model_validate(options)
    assert [config.policy_of(name) for name in ("x", "prod", "lab")] == ["off", "off", "fail"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"trust-domain": ""}, "trust-domain"),
        ({"trust-domain": "Example.org"}, "trust-domain"),
        ({"trust-domain": "spiffe://example.org"}, "trust-domain"),
        ({"policy": "warn"}, "policy"),
        ({"namespaces": {"prod": "maybe"}}, "namespaces"),
        ({"namespaces": {"Prod": "fail"}}, "namespaces"),
        ({"workload-api": "tcp"}, "workload-api"),
        ({"csi-driver": "csi/spiffe"}, "csi-driver"),
        ({"socket-folder": "run/spire"}, "socket-folder"),
        ({"socket-folder": "/run/../etc"}, "absolute path"),
        ({"socket-folder": "/"}, "socket-folder"),
        ({"socket-file": "a/b"}, "socket-file"),
        ({"socket-file": ".."}, "socket-file"),
        ({"controller-socket": "tcp://10.0.0.1:80"}, "controller-socket"),
        ({"controller-socket": "/run/spire/agent.sock"}, "must be unix:///PATH"),
        ({"controller-socket": "unix:///a/../b"}, "controller-socket"),
        ({"controller-socket": "unix:///agent.sock"}, "controller-socket"),
        ({"image": ""}, "image"),
        ({"image": "a b"}, "image"),
        ({"memory": "lots"}, "memory"),
        ({"memory": "1Mi"}, "at least 64Mi"),
        ({"cpu": "-1"}, "cpu"),
        ({"wait": 0}, "wait"),
        ({"wait": 601}, "wait"),
        ({"tekton-keys": "perhaps"}, "tekton-keys"),
        ({"termination-message": "none"}, "termination-message"),
        ({"entries": {"server": "spire:8081"}}, "parent-id"),
        ({"entries": {"server": "spire", "parent-id": "spiffe://a/b"}}, "server"),
        ({"entries": {"server": "spire:8081", "parent-id": "a/b"}}, "parent-id"),
        ({"entries": {"server": "spire:8081", "parent-id": "spiffe://a/b", "more": 1}}, "more"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_an_invalid_option_is_refused_and_named(options, word):
    with pytest.raises(FlagError, match=word):
        load(**options)


def test_without_a_trust_domain_the_options_are_refused():
    with pytest.raises(FlagError, match="trust-domain"):
        make_extension("signed", Signed, {})


@given(
    st.dictionaries(
        st.sampled_from([*SignedConfig.model_json_schema(by_alias=True)["properties"], "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_options_are_accepted_or_refused_by_one_error(options):
    with suppress(FlagError):
        load(**options)


@pytest.mark.parametrize(
    ("option", "variable", "address"),
    [
        ("unix:///own.d/agent.sock", "unix:///other/agent.sock", "unix:///own.d/agent.sock"),
        ("", "unix:///other/agent.sock", "unix:///other/agent.sock"),
        ("", "", "unix:///spiffe-workload-api/spire-agent.sock"),
    ],
)
def test_the_controllers_socket_is_its_own_option_the_variable_or_that_of_its_volume(
    monkeypatch, option, variable, address
):
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", variable)
    config = SignedConfig.model_validate({**MINIMAL, "controller-socket": option})
    assert controller_socket(config) == address
