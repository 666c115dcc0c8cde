"""The training loop and its solvers."""
