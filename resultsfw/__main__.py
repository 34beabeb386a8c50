"""``python -m resultsfw``: the command line."""

import sys

from resultsfw.cli import main

if __name__ == "__main__":
    sys.exit(main())
