"""The two classifiers, and what a fit does."""
