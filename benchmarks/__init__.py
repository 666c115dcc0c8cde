"""Times skbinary beside its peers: ``python -m benchmarks --help``."""
