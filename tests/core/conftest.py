"""The profile under which properties of the core are tried: no deadlines, and no luck in CI."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "resultsfw",
    deadline=None,  # shared machines have slow moments
    max_examples=60,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("resultsfw")
