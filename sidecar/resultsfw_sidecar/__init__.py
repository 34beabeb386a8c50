"""The results sidecar: the program in the pod. Standard library only.

It waits until the Steps have ended and prints every declared result once, as `wire` says. A container
runs the single file that `sidecar/build_zipapp.py` makes, with `python3 -IS`; elsewhere
`python -m resultsfw_sidecar` does the same.
"""
