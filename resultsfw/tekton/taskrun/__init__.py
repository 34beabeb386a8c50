"""Reconciling one TaskRun to its end: its pod's creation, its progress, its verdict."""
