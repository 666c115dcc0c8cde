"""Measure probabilities and thresholds on real tables: ``python -m benchmarks.quality --help``."""
