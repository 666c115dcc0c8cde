"""Solvers that see one batch of rows at a time."""
