"""Models of Tekton's API: resources, conditions, reasons, names, times, and the table of its fields.

What belongs here is true of Tekton's objects whoever reads them. Nothing here substitutes variables, builds
or reads a pod, or talks to a cluster.
"""
