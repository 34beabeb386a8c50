"""The signed suite fails the right tests, and no others, for verifiers that skip one check each."""

import pytest
from detection_harness import Outcomes, cases
from wrong_verifiers import WRONGS

from resultsfw.testing.signing import SigningSuite
from resultsfw.testing.signing_attacks import ATTACKS

pytestmark = pytest.mark.slow

CASES = cases(SigningSuite)
SAMPLE = {"test_signed", "test_wrong_signer[value-changed]"}
"""Tests that are run with each wrong verifier: they must find nothing that they are not meant for."""

FOUND_TWICE = {"envelope-truncated", "foreign-domain", "replayed-with-its-identity"}
"""Attacks that two checks find: a verifier that skips only one of them is not wrong enough."""


class TestSidecarLogs(SigningSuite):
    """The results sidecar signs; the wrong verifiers read the same pod."""

    backend = "sidecar-logs"
    test_signed_run = test_signed_plain_pod = None  # `test_signing` has them

    @pytest.mark.parametrize("wrong", WRONGS)
    def test_a_wrong_verifier_fails_the_tests_of_what_it_skips(self, wrong, signed, sample, monkeypatch):
        patch, must = WRONGS[wrong]
        patch(monkeypatch)
        outcomes = Outcomes(CASES)
        for name in sorted(must | SAMPLE):
            outcomes.run(name, signed=signed, sample=sample)
        messages = "\n".join(
            f"{name}: {outcomes.failed.get(name) or outcomes.skipped.get(name) or 'passed'}"
            for name in sorted(outcomes.failed.keys() ^ must)
        )
        assert outcomes.failed.keys() == must, messages


def test_each_attack_finds_a_wrong_verifier():
    found = set().union(*(must for _, must in WRONGS.values()))
    assert {f"test_wrong_signer[{attack}]" for attack in ATTACKS.keys() - FOUND_TWICE} <= found
    assert found <= CASES.keys()
