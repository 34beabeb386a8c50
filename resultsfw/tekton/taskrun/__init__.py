"""Reconcile one TaskRun to its end."""
