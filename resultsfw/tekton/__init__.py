"""Tekton's TaskRuns and PipelineRuns: six packages, each of which imports only those named behind it.

``taskrun``      reconciles a TaskRun: podstatus, pod, spec, api
``pipelinerun``  reconciles a PipelineRun: spec, api
``pod``          builds the pod: spec, api
``podstatus``    reads the pod: api
``spec``         completes and validates specs: api
``api``          models Tekton's objects: the core alone
"""
