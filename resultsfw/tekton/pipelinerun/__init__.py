"""Reconcile one PipelineRun from the status of its TaskRuns.

What belongs here decides which TaskRuns to create or cancel and what the PipelineRun's status says. Nothing
here imports the TaskRun reconciler or reads a pod: a TaskRun's status is all a PipelineRun knows of it.
"""
