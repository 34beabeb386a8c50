"""Run the compliance suite of resultsfw on my-backend."""

from resultsfw.testing import BackendSuite


class TestMyBackend(BackendSuite):
    """Test every guarantee of a backend."""

    backend = "my-backend"
