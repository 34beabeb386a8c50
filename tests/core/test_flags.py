"""Feature flags: every key, its default, and what is refused and how."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import Flags, ResultsManager, parse_flags
from resultsfw.errors import FlagError, UnknownBackendError
from resultsfw.flags import ANNOTATION, DEFAULT_BACKEND, choose_backend, unknown_backend_error

TEKTONS = {
    "_example": "# see the documentation",
    "disable-creds-init": "false",
    "await-sidecar-readiness": "true",
    "running-in-environment-with-injected-sidecars": "true",
    "require-git-ssh-secret-known-hosts": "false",
    "enable-api-fields": "beta",
    "enable-provenance-in-status": "true",
    "enforce-nonfalsifiability": "none",
    "trusted-resources-verification-no-match-policy": "ignore",
    "results-from": "sidecar-logs",
    "max-result-size": "8192",
    "coschedule": "workspaces",
    "set-security-context": "false",
    "set-security-context-read-only-root-filesystem": "false",
    "keep-pod-on-cancel": "false",
    "enable-cel-in-whenexpression": "false",
    "enable-step-actions": "true",
    "enable-artifacts": "false",
    "enable-param-enum": "false",
    "disable-inline-spec": "",
    "enable-kubernetes-sidecar": "false",
    "enable-concise-resolver-syntax": "false",
}
"""``data`` of the ConfigMap as Tekton installs it, two keys changed."""


def test_defaults():
    flags = parse_flags({})
    assert flags == Flags()
    assert flags.results_from == "termination-message"
    assert flags.max_result_size == 4096
    assert flags.allowed_results_from == {"termination-message"}
    assert flags.missing_results == "ignore"
    assert flags.embedded_status == "minimal"
    assert flags.config == {}


def test_tektons_own_config_map_is_read_and_its_other_flags_are_named_at_debug(caplog):
    with caplog.at_level(logging.DEBUG, "resultsfw.flags"):
        flags = parse_flags(TEKTONS)
    assert flags == Flags(results_from="sidecar-logs", max_result_size=8192)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert len(caplog.records) == len(TEKTONS) - 2
    assert any("enable-api-fields" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_value_is_the_default(empty):
    keys = ("results-from", "max-result-size", "allowed-results-from", "missing-results", "embedded-status")
    assert parse_flags(dict.fromkeys(keys, empty)) == Flags()


@pytest.mark.parametrize("text", ["sidecar-logs", " Sidecar-Logs\n", "SIDECAR-LOGS"])
def test_results_from_is_lower_cased_as_by_tekton(text):
    assert parse_flags({"results-from": text}).results_from == "sidecar-logs"


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("+7", 7), (" 4096\n", 4096), ("0004096", 4096), ("1572863", 1572863), ("1572864", 1572864)],
)
def test_max_result_size(text, size, caplog):
    assert parse_flags({"max-result-size": text}).max_result_size == size
    assert caplog.records == []


@pytest.mark.parametrize("text", ["1572865", "9999999", "15728640", "9" * 5000])
def test_a_max_result_size_above_what_an_object_holds_is_logged_and_the_default_is_used(text, caplog):
    """Guarantee 2: `max-result-size` above 1.5 MiB logs an error and the default 4096 is used."""
    assert parse_flags({"max-result-size": text}).max_result_size == 4096
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    for part in ("max-result-size", text[:40], "1572864", "4096"):
        assert part in record.getMessage()
    assert len(record.getMessage()) < 300


@pytest.mark.parametrize(
    "text", ["0", "-1", "+0", "000", "4k", "4096.0", "1e3", "1_000", "٣", "４", "0x10", "--1", "+", "4 096"]
)
def test_a_max_result_size_that_is_no_whole_number_above_zero_is_refused_by_name(text):
    with pytest.raises(FlagError) as caught:
        parse_flags({"max-result-size": text})
    assert caught.value.subject == "max-result-size"
    assert f'"max-result-size": "{text}"' in caught.value.message
    assert "1 to 1572864" in caught.value.message


@given(st.text(max_size=12))
def test_any_max_result_size_is_taken_or_refused(text):
    try:
        size = parse_flags({"max-result-size": text}).max_result_size
    except FlagError:
        return
    assert 1 <= size <= 1572864


@pytest.mark.parametrize(
    ("key", "values"),
    [("missing-results", ("ignore", "fail")), ("embedded-status", ("minimal", "full", "both"))],
)
def test_flags_of_a_few_choices(key, values):
    field = key.replace("-", "_")
    for value in values:
        assert getattr(parse_flags({key: f" {value.upper()} "}), field) == value
    with pytest.raises(FlagError) as caught:
        parse_flags({key: "perhaps"})
    assert caught.value.subject == key
    assert key in caught.value.message
    assert all(value in caught.value.message for value in values)


def test_a_backends_configuration_is_yaml_under_a_key_of_its_own():
    flags = parse_flags(
        {
            "config.sidecar-logs": "image: sidecar:2\ncpu: 20m\n",
            "config.other": "",
            "config.none": "~",
        }
    )
    assert flags.config == {
        "sidecar-logs": {"image": "sidecar:2", "cpu": "20m"},
        "other": {},
        "none": {},
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("b: 1\na: [", "not YAML (line 2)"),
        ("a: b: c", "not YAML (line 1)"),
        ("- a", "not a mapping"),
        ("text", "not a mapping"),
        ("1: a", "not a mapping"),
        ("day: 2026-13-45", "not YAML"),
        ("bits: 0b_", "not YAML"),
        ("!!python/object:os.system {}", "not YAML"),
        ("deep: " + "[" * 5000, "not YAML"),
        ("? [a]\n: b", "not YAML"),
        ("a: \x00", "not YAML"),
        ("number: " + "9" * 5000, "not YAML"),
    ],
)
def test_a_configuration_that_is_no_mapping_in_yaml_is_refused_by_key(text, says):
    with pytest.raises(FlagError) as caught:
        parse_flags({"config.sidecar-logs": text})
    assert caught.value.subject == "config.sidecar-logs"
    assert '"config.sidecar-logs"' in caught.value.message
    assert says in caught.value.message


@pytest.mark.slow
@given(st.text(max_size=40))
def test_any_configuration_is_a_mapping_or_refused(text):
    try:
        flags = parse_flags({"config.x": text})
    except FlagError:
        return
    assert isinstance(flags.config["x"], dict)


def test_an_option_a_backend_does_not_know_is_refused_with_flag_and_option():
    data = {"results-from": "sidecar-logs", "config.sidecar-logs": "imgae: x\ncpu: 3"}
    with pytest.raises(FlagError) as caught:
        ResultsManager.from_flags(data)
    assert caught.value.subject == "config.sidecar-logs"
    for part in ('"config.sidecar-logs"', "imgae", "cpu"):
        assert part in caught.value.message


def test_the_configuration_of_a_backend_nobody_selects_is_not_asked_for():
    core = ResultsManager.from_flags({"config.sidecar-logs": "imgae: x"})
    assert core.flags.results_from == DEFAULT_BACKEND


def test_an_unknown_backend_is_refused_with_the_installed_and_the_nearest():
    with pytest.raises(UnknownBackendError) as caught:
        ResultsManager.from_flags({"results-from": "sidecar-log"})
    assert caught.value.subject == "sidecar-log"
    message = caught.value.message
    assert message.startswith('invalid value for feature flag "results-from": "sidecar-log"')
    assert "installed: " in message
    assert "termination-message" in message
    assert message.endswith('did you mean "sidecar-logs"?')


def test_an_unknown_backend_among_the_allowed_is_refused_under_that_flag():
    with pytest.raises(UnknownBackendError) as caught:
        ResultsManager.from_flags({"allowed-results-from": "sidecar-logs, nowhere-near-it"})
    assert '"allowed-results-from": "nowhere-near-it"' in caught.value.message
    assert "did you mean" not in caught.value.message


def test_an_unknown_backend_where_none_is_installed():
    assert "installed: none" in unknown_backend_error("x", []).message


def test_a_run_may_ask_only_for_what_the_operator_allows():
    flags = parse_flags(
        {"results-from": "sidecar-logs", "allowed-results-from": "Mine ,termination-message,"}
    )
    assert flags.allowed_results_from == {"sidecar-logs", "mine", "termination-message"}
    assert choose_backend(flags, {}) == "sidecar-logs"
    assert choose_backend(flags, {ANNOTATION: "  "}) == "sidecar-logs"
    assert choose_backend(flags, {ANNOTATION: " MINE"}) == "mine"
    assert choose_backend(flags, {ANNOTATION: "sidecar-logs"}) == "sidecar-logs"
    with pytest.raises(FlagError) as caught:
        choose_backend(flags, {ANNOTATION: "theirs"})
    assert caught.value.subject == ANNOTATION == "resultsfw.dev/results-from"
    for part in (ANNOTATION, '"theirs"', "mine, sidecar-logs, termination-message", '"allowed-results-from"'):
        assert part in caught.value.message


def test_by_default_a_run_may_ask_only_for_the_flags_own():
    with pytest.raises(FlagError, match='"sidecar-logs" is not among'):
        choose_backend(parse_flags({}), {ANNOTATION: "sidecar-logs"})
    with pytest.raises(FlagError, match='"termination-message" is not among'):
        choose_backend(parse_flags({"results-from": "sidecar-logs"}), {ANNOTATION: "termination-message"})


def test_flags_made_by_hand_allow_their_own_backend_and_no_other():
    """`Flags` is public: what `parse_flags` promises of ``allowed`` holds for one made without it."""
    assert Flags(results_from="mine").allowed_results_from == {"mine"}
    assert Flags(results_from="mine", allowed_results_from=frozenset({"theirs"})).allowed_results_from == {
        "mine",
        "theirs",
    }
