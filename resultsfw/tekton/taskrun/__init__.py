"""Takes one TaskRun from its creation to its end.

Belongs here: what reads or writes a TaskRun while it runs. May import `spec`, `pod`, `podstatus` and `api`.
"""
