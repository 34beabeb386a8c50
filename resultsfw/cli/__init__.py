"""What a person types. Nothing here is for import by others but `main`."""

from resultsfw.cli.commands import main

__all__ = ["main"]
