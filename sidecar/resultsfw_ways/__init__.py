"""Ways out of a pod other than the log, one module each, for images that have what they need.

The sidecar imports the one that its environment names (`resultsfw_sidecar.ways`); none is in its own image.
"""
