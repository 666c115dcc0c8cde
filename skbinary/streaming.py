"""Tables that are larger than memory, and batches of a torch ``DataLoader``."""

from skbinary.data.loader import Batches
from skbinary.data.sources import Streamed

__all__ = ["Batches", "Streamed"]

Batches.__module__ = Streamed.__module__ = "skbinary.streaming"
