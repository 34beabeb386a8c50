"""Transports other than the sidecar's log, one module each, for images that have the modules they import.

The sidecar imports the module that `RESULTSFW_TRANSPORT` names (see `resultsfw_sidecar.transports`). The
image of the sidecar for logs contains none of them.
"""
