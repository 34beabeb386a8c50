"""The program that plays Tekton's entrypoint in a Step's container. Standard library only, light to start."""
