"""The built-in backends pass the suite that a stranger's must pass."""

from typing import ClassVar

from resultsfw.testing import BackendSuite


class TestSidecarLogs(BackendSuite):
    backend = "sidecar-logs"


class TestPlainSidecarLogs(BackendSuite):
    backend = "sidecar-logs"
    config: ClassVar = {"sidecar": "plain"}


class TestTerminationMessage(BackendSuite):
    backend = "termination-message"
