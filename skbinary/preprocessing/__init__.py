"""Transformers of features."""
