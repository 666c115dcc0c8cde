"""How much is gone over at once, so that it stays near where it is computed."""

from __future__ import annotations

import torch

# Rows are converted and multiplied in spans of about this many numbers (4 MiB in float64): small
# enough to stay near the processor, to bound memory and to be shared out between threads; large
# enough that Python costs nothing.
_CHUNK_NUMBERS = 1 << 19
# Rows of mini-batches are fetched several batches at a time: 1 MiB in float32, which is about what
# a core keeps close.
_FETCHED_NUMBERS = 1 << 18
# On a GPU it is the calls that cost: so many times as much at once, 256 MiB in float64.
_TIMES_ON_GPU = 64


def _times(device: torch.device) -> int:
    return 1 if device.type == "cpu" else _TIMES_ON_GPU


def rows_per_fetch(batch_size: int, n_numbers: int, device: torch.device) -> int:
    """Tell how many rows of `n_numbers` numbers are fetched at once: those of whole batches."""
    most = _FETCHED_NUMBERS * _times(device)
    return batch_size * max(1, most // (batch_size * max(1, n_numbers)))


def row_chunks(n_rows: int, n_numbers: int, device: torch.device) -> list[slice]:
    """Cut `n_rows` rows of `n_numbers` numbers into spans of a bounded count of numbers."""
    size = max(8, _CHUNK_NUMBERS * _times(device) // max(1, n_numbers))
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]
