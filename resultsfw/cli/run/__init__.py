"""``run``: runs on the local engine, what a person sees of them meanwhile, and what is printed at the end."""
