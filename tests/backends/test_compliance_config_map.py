"""config-map passes the suite that a stranger's backend must pass."""

from typing import ClassVar

from resultsfw.testing import BackendSuite


class TestConfigMap(BackendSuite):
    backend = "config-map"


class TestPlainConfigMap(BackendSuite):
    backend = "config-map"
    config: ClassVar = {"sidecar": "plain"}
