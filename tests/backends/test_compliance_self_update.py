"""self-update passes the suite that a stranger's backend must pass."""

import pytest
from shared_reader import SharedReader

from resultsfw.testing import BackendSuite

pytestmark = pytest.mark.slow


class TestSelfUpdate(SharedReader, BackendSuite):
    """Its records are read as config-map's are."""

    backend = "self-update"
