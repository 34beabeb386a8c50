"""The process that reconciles TaskRuns on an API server. What drives is here; what decides is in `tekton`."""
