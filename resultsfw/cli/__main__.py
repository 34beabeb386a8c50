"""``python -m resultsfw.cli`` is ``resultsfw``."""

import sys

from resultsfw.cli import main

if __name__ == "__main__":
    sys.exit(main())
