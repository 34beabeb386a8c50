"""``list``, ``explain``, ``value``, ``verify`` and ``collect``: what became of runs and of their results."""
