"""Specs of TaskRuns and PipelineRuns before there is a pod: defaults, merging, substitution, validation."""
