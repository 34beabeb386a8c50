"""Test files are no packages: what they share is found here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
