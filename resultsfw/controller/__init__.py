"""The controller process: watch an API server, reconcile its TaskRuns and PipelineRuns, report to operators.

`resultsfw.tekton` has what a reconciliation decides; what the results server also needs in
`resultsfw.operations`.
"""
