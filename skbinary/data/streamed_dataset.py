"""Training data that are read anew in each pass over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch

from skbinary.data.dataset import Dataset
from skbinary.data.rows import CenteredRows, DenseRows


class Passes(Protocol):
    """Reads the training rows of a table, as often as it is asked to."""

    def chunks(self) -> Iterator[Callable[[], Dataset]]:
        """Read the rows once, in a fixed order, in chunks that are converted when called."""
        ...

    def windows(self, batch_size: int, shuffler: Any) -> Iterator[Dataset]:
        """Read the rows once, as many at a time as fit into memory, in whole batches.

        Parameters
        ----------
        batch_size : int
        shuffler : RandomState or None
            Shuffles the parts of the table. None to keep their order.

        Yields
        ------
        Dataset
            Overwritten by the next one.
        """
        ...


@dataclass(frozen=True)
class StreamedDataset(Dataset):
    """Rows that are read anew in each pass, with what is known of all of them.

    Its `rows` are ``StreamedRows``, and its `target` is empty: it has the device and the precision.

    Parameters
    ----------
    passes : Passes
        Reads the rows.
    sample : Dataset
        Some of the rows, drawn at random.
    sum_of_weights : float
        Sum of the scaled weights of the rows.
    """

    passes: Passes = field(kw_only=True)
    sample: Dataset = field(kw_only=True)
    sum_of_weights: float = field(kw_only=True)

    @property
    def total_weight(self) -> float:
        """Sum of the scaled weights."""
        return self.sum_of_weights

    def subsample(self, n_samples: int) -> Dataset:
        """Copy about so many of the sample's rows, or all of them."""
        step = max(1, self.sample.n_samples // n_samples)
        index = torch.arange(0, self.sample.n_samples, step, device=self.device)
        return self._centered(self.sample.take(index))

    def chunks(self) -> Iterator[Callable[[], Dataset]]:
        """Read the rows once, in chunks that are converted when called, and centered."""
        for make in self.passes.chunks():
            yield partial(self._make, make)

    def _make(self, make: Callable[[], Dataset]) -> Dataset:
        return self._centered(make())

    def _centered(self, part: Dataset) -> Dataset:
        """Subtract the offset from some of the rows, if there is one."""
        rows = self.rows
        if not isinstance(rows, CenteredRows) or not isinstance(part.rows, DenseRows):
            return part
        return replace(part, rows=replace(rows, rows=part.rows))
