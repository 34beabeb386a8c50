"""The compliance suite of resultsfw over my-backend."""

from resultsfw.testing import BackendSuite


class TestMyBackend(BackendSuite):
    """Every promise that a backend makes."""

    backend = "my-backend"
