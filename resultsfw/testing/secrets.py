"""Test that no error, problem or log record contains a value or a secret option: many people read those."""

from typing import Final

import pytest

from resultsfw.errors import ForbiddenError, NotFoundError, UnavailableError
from resultsfw.testing.assertions import abbreviate, fail, leaks, skip
from resultsfw.testing.base import Base, FinishedPods
from resultsfw.testing.clusters import FailingCluster
from resultsfw.testing.corruption import CORRUPTIONS, FORGERIES
from resultsfw.testing.harness import Harness, Outcome
from resultsfw.testing.logs import captured_output
from resultsfw.testing.robustness import attempts, two_pods
from resultsfw.testing.secret_options import secrets_in, texts_of
from resultsfw.testing.sources import data_sources
from resultsfw.testing.tasks import VALUE_MARK, Write
from resultsfw.testing.values import AWKWARD_WRITES, ILL_WRITES

__all__ = ["SecretCases"]

QUIET: Final = "secrets: the value of a result is in no error, no problem and no log record"
OPTION: Final = (
    "secrets: a secret option is in no error, problem or log record, and in nothing that Steps can read"
)


class SecretCases(Base):
    """Fail in every way, with a mark in every value."""

    @pytest.mark.quick
    def test_options_stay_secret(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """A run's pod, its objects, what is logged and printed: nothing has a secret option in it."""
        if not harness.secrets:
            skip("Config", "none of its options is secret by type or name")
        with captured_output() as output:
            sample = harness.prepare([Write(name="first", data=VALUE_MARK.encode())])
            harness.core().is_ready(sample.run, two_pods(finished_pods)[0].pod)
            harness.purge(sample)
        places = {
            "the prepared pod": sample.prepared,
            "what it logs or prints": output,
            **{
                f"{kind.kind} {name}": obj
                for (kind, _, name), obj in sample.created.items()
                if kind.kind != "Secret"
            },
        }
        for place, value in places.items():
            if found := secrets_in(texts_of(value), harness.secrets):
                fail(OPTION, f'{place} has the option "{found[0]}" in it')

    @pytest.mark.quick
    def test_in_plain_failures(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Values that are refused, too large, of another type, or fine."""
        small = harness.core(max_result_size="20")
        samples = (finished_pods("awkward", AWKWARD_WRITES), finished_pods("ill", ILL_WRITES))
        _must_be_quiet(
            harness,
            [harness.collect(sample, core=core) for sample in samples for core in (harness.core(), small)],
        )

    @pytest.mark.parametrize("kind", [kind for kind in CORRUPTIONS if kind not in FORGERIES])
    def test_in_damage(self, harness: Harness, finished_pods: FinishedPods, kind: str) -> None:
        """The transport is damaged: the error says where, and shows no value."""
        sample, _ = two_pods(finished_pods)
        for source in data_sources(harness, sample):
            for data in list(CORRUPTIONS[kind](source.true, b""))[:60]:
                with source.put(data) as collect:
                    _must_be_quiet(harness, [outcome for _, outcome in attempts(collect)])

    def test_in_faults(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """The cluster fails."""
        sample, _ = two_pods(finished_pods)
        errors = (NotFoundError("gone"), ForbiddenError("no"), UnavailableError("not now"))
        clusters = [
            FailingCluster(harness.store, error, after=after) for error in errors for after in (0, 60)
        ]
        clusters += [FailingCluster(harness.store, error, after=1) for error in errors]
        _must_be_quiet(
            harness,
            [
                harness.collect(sample, cluster=cluster, final=final)
                for cluster in clusters
                for final in (False, True)
            ],
        )


def _must_be_quiet(harness: Harness, outcomes: list[Outcome]) -> None:
    if found := secrets_in((text for outcome in outcomes for text in outcome.output), harness.secrets):
        fail(OPTION, f'a message contains the option "{found[0]}"')
    if leaked := leaks(outcomes):
        text = leaked[0]
        at = text.index(VALUE_MARK)
        fail(
            QUIET,
            f"a message contains {VALUE_MARK!r} of a value: {abbreviate(text[max(at - 150, 0) : at + 40])}",
        )
