"""Python: the agent's side of it, and `child`, which runs in its process."""
