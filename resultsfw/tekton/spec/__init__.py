"""What a run is made of before there is a pod: parameter values, substitution, validation of specs.

Functions here take specs and runs as plain data and return plain data. Nothing here reads or writes a
cluster, builds a pod or knows a PipelineRun's TaskRuns.
"""
