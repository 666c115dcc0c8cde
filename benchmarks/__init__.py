"""Time skbinary and its peers: ``python -m benchmarks --help``."""
