"""Reconcile one TaskRun to its end.

What belongs here decides or does the next thing for a TaskRun: create its pod, start, terminate and read it,
write its status, remove its finalizers. Rules about specs and pods belong to the packages below.
"""
