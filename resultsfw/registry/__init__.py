"""Look up images in container registries: their digest, and the command of each platform.

A small client of the OCI distribution API, read only. Registries are untrusted: every answer is limited in
size and time (docs/decisions/0042).
"""
