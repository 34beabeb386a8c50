import pytest
from registry_harness import FakeRegistry


@pytest.fixture
def registry():
    made = FakeRegistry()
    yield made
    made.close()
