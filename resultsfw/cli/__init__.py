"""What a person types. Nothing here is for import by others but these entry points."""

from resultsfw.cli.commands import kubectl_complete_main, kubectl_main, main

__all__ = ["kubectl_complete_main", "kubectl_main", "main"]
