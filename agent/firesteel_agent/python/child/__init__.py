"""What runs in the Python interpreter's process: the user's code, on the main thread, and little else."""
