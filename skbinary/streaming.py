"""Tables that are larger than memory, and batches of a torch ``DataLoader``."""

from skbinary.data.sources import Streamed

__all__ = ["Streamed"]

Streamed.__module__ = "skbinary.streaming"
