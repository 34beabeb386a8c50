"""This engine's version of Tekton's entrypoint, which runs a Step. Standard library only, to start fast."""
