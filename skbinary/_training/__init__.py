"""The numerics of training: one loop, and the steps that it drives."""
