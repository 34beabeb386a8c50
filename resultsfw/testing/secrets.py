"""No value of a result in an error, a problem or a log record: more people read those than the status."""

from typing import Final

import pytest

from resultsfw.errors import ForbiddenError, NotFoundError, UnavailableError
from resultsfw.testing.base import Base, Runs
from resultsfw.testing.clusters import Failing
from resultsfw.testing.damage import DAMAGE
from resultsfw.testing.hostile import victims
from resultsfw.testing.judging import breach, shown, tellings
from resultsfw.testing.surfaces import surfaces_of
from resultsfw.testing.tasks import MARK
from resultsfw.testing.values import AWKWARD_WRITES, ILL_WRITES
from resultsfw.testing.world import Outcome, World

__all__ = ["SecretCases"]

QUIET: Final = "secrets: the value of a result stands in no error, no problem and no log record"

_FORGED: Final = frozenset({"forged-names"})
"""Damage that puts the mark where a name stands: a name may be told."""


class SecretCases(Base):
    """Every way to fail, with a mark in every value."""

    def test_in_plain_failures(self, world: World, runs: Runs) -> None:
        """Values that are refused, too large, of another type, or fine."""
        small = world.core(max_result_size="20")
        lives = (runs("awkward", AWKWARD_WRITES), runs("ill", ILL_WRITES))
        _must_be_quiet([world.collect(life, core=core) for life in lives for core in (world.core(), small)])

    @pytest.mark.parametrize("kind", [one for one in DAMAGE if one not in _FORGED])
    def test_in_damage(self, world: World, runs: Runs, kind: str) -> None:
        """The way is damaged, and the error says where, not what."""
        life, _ = victims(runs)
        for surface in surfaces_of(world, life):
            for data in list(DAMAGE[kind](surface.true, b""))[:60]:
                with surface.put(data) as collect:
                    _must_be_quiet([collect(False), collect(True)])

    def test_in_faults(self, world: World, runs: Runs) -> None:
        """The cluster fails."""
        life, _ = victims(runs)
        errors = (NotFoundError("gone"), ForbiddenError("no"), UnavailableError("not now"))
        clusters = [Failing(world.store, error, after=after) for error in errors for after in (0, 60)]
        clusters += [Failing(world.store, error, after=1) for error in errors]
        _must_be_quiet(
            [world.collect(life, cluster=one, final=final) for one in clusters for final in (False, True)]
        )


def _must_be_quiet(outcomes: list[Outcome]) -> None:
    if told := tellings(outcomes):
        text = told[0]
        at = text.index(MARK)
        breach(
            QUIET, f"this was said of a value that holds {MARK!r}: {shown(text[max(at - 150, 0) : at + 40])}"
        )
