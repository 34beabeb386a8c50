"""Reconciling one PipelineRun from its TaskRuns: what is due, what came of it, what its status says."""
