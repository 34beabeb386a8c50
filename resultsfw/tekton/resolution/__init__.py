"""Tasks, Pipelines and StepActions that runs refer to: by name in the cluster, or through a resolver.

What a resolver fetches is Tekton's business: a ``ResolutionRequest`` asks Tekton's own resolvers for it, and
their answer is read here.
"""
