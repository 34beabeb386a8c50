"""Runs and what belongs to them, read from saved files or from a live cluster by one protocol."""
