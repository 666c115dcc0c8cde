"""Sizes of chunks: how many rows are processed at once, so that they stay in the cache."""

from __future__ import annotations

import torch

# Rows are converted and multiplied in chunks of about this many values (4 MiB in float64): small
# enough for the cache, to bound memory and to be shared between threads; large enough that the
# overhead of Python does not matter.
_CHUNK_VALUES = 1 << 19
# Rows of mini-batches are fetched several batches at a time: 1 MiB in float32, which is about the
# cache of a core.
_FETCH_VALUES = 1 << 18
# On a GPU calls are what costs, so chunks are this many times larger: 256 MiB in float64.
_GPU_FACTOR = 64


def _device_factor(device: torch.device) -> int:
    return 1 if device.type == "cpu" else _GPU_FACTOR


def rows_per_fetch(batch_size: int, values_per_row: int, device: torch.device) -> int:
    """Return how many rows are fetched at once: those of one or several whole batches."""
    max_values = _FETCH_VALUES * _device_factor(device)
    return batch_size * max(1, max_values // (batch_size * max(1, values_per_row)))


def row_chunks(n_rows: int, values_per_row: int, device: torch.device) -> list[slice]:
    """Split rows into chunks with a bounded number of values, and at least 8 rows."""
    size = max(8, _CHUNK_VALUES * _device_factor(device) // max(1, values_per_row))
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]
