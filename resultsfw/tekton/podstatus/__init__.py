"""Read the pod of a TaskRun: progress, failures, and the states of its Steps and Sidecars.

What belongs here is a pure function of the Pod object that the API server returned. Nothing here decides what
the controller does about it, and nothing here reads a result.
"""
