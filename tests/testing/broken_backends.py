"""All backends that are broken in one thing each, by the tests of the suite that must find it.

They are classes in the modules ``broken_*``, by subject; `test_detects_broken_backends` runs tests over them.
"""

import broken_lifecycle
import broken_pods
import broken_reading
import broken_references
import broken_secrets
import broken_stores
from detection_harness import EXPECTED

__all__ = [
    "EXPECTED",
    "broken_lifecycle",
    "broken_pods",
    "broken_reading",
    "broken_references",
    "broken_secrets",
    "broken_stores",
]
