"""config-map passes the suite that a stranger's backend must pass."""

from typing import ClassVar

import pytest

from resultsfw.testing import BackendSuite

pytestmark = pytest.mark.slow


class TestConfigMap(BackendSuite):
    backend = "config-map"


class TestPlainConfigMap(BackendSuite):
    backend = "config-map"
    config: ClassVar = {"sidecar": "plain"}
