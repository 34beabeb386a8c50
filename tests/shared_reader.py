"""What the suite leaves out for a backend that reads results by the same code as another backend."""

import pytest

from resultsfw.testing.robustness import RobustnessCases


class SharedReader:
    """A class to inherit from before `BackendSuite`: of the damage, only the kinds of a quick run remain."""

    test_damaged_at_random = None
    test_in_damage = None

    @pytest.mark.quick
    @pytest.mark.parametrize("kind", ["cut", "line-dropped", "of-another-run", "nothing"])
    def test_damaged(self, harness, finished_pods, kind):
        RobustnessCases.test_damaged(self, harness, finished_pods, kind)
