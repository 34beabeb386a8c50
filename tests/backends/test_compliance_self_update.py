"""self-update passes the suite that a stranger's backend must pass."""

import pytest

from resultsfw.testing import BackendSuite

pytestmark = pytest.mark.slow


class TestSelfUpdate(BackendSuite):
    backend = "self-update"
