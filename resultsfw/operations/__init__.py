"""What every long-running process needs for its operators: JSON logs, status pages, permission checks.

`controller` and `server` both use it and do not import each other. What only one of them needs stays there.
"""
