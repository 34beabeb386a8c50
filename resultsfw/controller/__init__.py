"""The controller process: watch an API server, reconcile its TaskRuns and PipelineRuns, report to operators.

What a reconciliation decides stands in `resultsfw.tekton`; what the results server also needs in
`resultsfw.operations`.
"""
