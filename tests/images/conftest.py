"""The programs in images/ are no package: they are found here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "images"))
