"""What Tekton's API says: its fields, flags and policies as data, and what this project does with each.

Belongs here: facts of the API and pure functions over one object. Imports nothing of `resultsfw.tekton`
outside this package.
"""
