"""The results sidecar: the program in the pod. Standard library only."""
