"""config-map passes the suite that a stranger's backend must pass."""

from typing import ClassVar

import pytest

from resultsfw.testing import BackendSuite
from resultsfw.testing.lifecycle import LifecycleCases

pytestmark = pytest.mark.slow


class TestConfigMap(BackendSuite):
    backend = "config-map"


class TestPlainConfigMap(LifecycleCases):
    """What a plain sidecar changes: when the results are there."""

    backend = "config-map"
    config: ClassVar = {"sidecar": "plain"}
