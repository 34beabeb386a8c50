"""Specs before a pod exists: defaults, parameters, substitution of variables, workspaces, validation.

What belongs here turns a written Task, TaskRun or Pipeline into a complete spec, or refuses it. Nothing here
knows what a pod contains or how far a run has come.
"""
