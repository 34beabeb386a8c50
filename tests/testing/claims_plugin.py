from pathlib import Path

import pytest

CLAIMS = Path("/tmp/claims")
CLAIMS.joinpath("default/results").mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="session")
def backend_claims():
    return CLAIMS
