"""The profile under which properties of the core are tried: no deadlines, and no luck in CI."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile(
    "resultsfw",
    deadline=None,  # shared machines have slow moments
    max_examples=60,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("resultsfw")
