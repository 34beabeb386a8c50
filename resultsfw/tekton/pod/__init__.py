"""Build the pod of a TaskRun's attempt, as Tekton builds it.

What belongs here decides a field of the pod that is created. What the kubelet makes of that pod is read in
``podstatus``; creating it on a cluster is the TaskRun reconciler's.
"""
