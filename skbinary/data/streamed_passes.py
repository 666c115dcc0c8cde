"""Read the training rows of a table in parts: as chunks of one pass, or as windows to shuffle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skbinary.data.conversion import as_tensor
from skbinary.data.dataset import Dataset
from skbinary.data.labels import encode
from skbinary.data.rows import DenseRows
from skbinary.data.scan import weights_of
from skbinary.data.sources import Columns
from skbinary.data.streamed_hold_out import HoldOut
from skbinary.data.streamed_table import StreamedTable, as_matrix, n_rows_of

# What the sample and the held-out rows leave.
_WINDOW_FRACTION = 0.5
_NUMPY_TYPES = {torch.float32: np.float32, torch.float64: np.float64}


@dataclass(frozen=True)
class RowWeights:
    """The weight of a row: that of its class times its own, divided by ``2 ** exponent``.

    Parameters
    ----------
    of_classes : ndarray of shape (2,)
    exponent_of_rows, exponent_of_classes, exponent_of_products : int
        Each factor is divided by its power of two, and then their product, so that none overflows.
    """

    of_classes: NDArray[np.float64]
    exponent_of_rows: int
    exponent_of_classes: int
    exponent_of_products: int

    @classmethod
    def scaled(cls, of_classes: NDArray[np.float64], largest: NDArray[np.float64]) -> RowWeights:
        """Scale weights so that the largest is between 1 and 2.

        Parameters
        ----------
        of_classes : ndarray of shape (2,)
        largest : ndarray of shape (2,)
            The largest weight of a row of each class.
        """
        of_rows, of_class = _exponent(largest.max()), _exponent(of_classes.max())
        products = np.ldexp(of_classes, -of_class) * np.ldexp(largest, -of_rows)
        return cls(of_classes, of_rows, of_class, _exponent(products.max()))

    @property
    def exponent(self) -> int:
        """The power of two that weights are divided by."""
        return self.exponent_of_rows + self.exponent_of_classes + self.exponent_of_products

    def scale(self, weight: NDArray[np.float64], index: Any) -> NDArray[np.float64]:
        """Multiply weights of rows by those of their classes, and scale the products.

        Parameters
        ----------
        weight : ndarray of shape (n,)
        index : ndarray of int of shape (n,)
            The class of each row.
        """
        of_classes = np.ldexp(self.of_classes, -self.exponent_of_classes)
        products = np.ldexp(weight, -self.exponent_of_rows) * of_classes[index]
        scaled: NDArray[np.float64] = np.ldexp(products, -self.exponent_of_products)
        return scaled


def _exponent(largest: float) -> int:
    return int(np.frexp(largest)[1]) - 1 if largest > 0 else 0


@dataclass(frozen=True)
class TablePasses:
    """Reads the training rows of a table.

    Parameters
    ----------
    table : StreamedTable
    classes : ndarray of shape (2,)
    weights : RowWeights or None
        None if all weights are one.
    hold_out : HoldOut or None
        The rows that are left out.
    n_rows : int
        The number of training rows, which must not change.
    device : torch.device
    dtype : torch.dtype
        The precision of the computation.
    label_smoothing : float, default=0.0
        Fraction of the labels that is spread over both classes.
    """

    table: StreamedTable
    classes: NDArray[np.generic]
    weights: RowWeights | None
    hold_out: HoldOut | None
    n_rows: int
    device: torch.device
    dtype: torch.dtype
    label_smoothing: float = 0.0

    def chunks(self) -> Iterator[Callable[[], Dataset]]:
        """Read the rows once, in chunks that are converted when called."""
        for columns in self._read(None):
            yield partial(self._to_dataset, columns)

    def windows(self, batch_size: int, shuffler: Any) -> Iterator[Dataset]:
        """Read the rows once, as many whole batches at a time as fit into memory."""
        parts = np.arange(self.table.source.n_parts)
        if shuffler is not None:
            shuffler.shuffle(parts)
        kind = _NUMPY_TYPES[self.dtype]
        fitting = self.table.rows_within(_WINDOW_FRACTION, np.dtype(kind).itemsize)
        size = min(max(1, fitting // batch_size), -(-self.n_rows // batch_size)) * batch_size
        X = np.empty((size, self.table.n_features), dtype=kind)
        target, weight = np.empty(size), np.empty(size)
        n = 0
        for columns in self._read(parts.tolist()):
            values = as_matrix(columns, self.table.features, kind)
            added = (values, *self._targets(columns))
            start = 0
            while start < len(values):
                end = min(len(values), start + size - n)
                for window, new in zip((X, target, weight), added, strict=True):
                    window[n : n + end - start] = new[start:end]
                n, start = n + end - start, end
                if n == size:
                    yield self._window(X, target, weight)
                    n = 0
        if n:
            yield self._window(X[:n], target[:n], weight[:n])

    def _read(self, parts: Sequence[int] | None) -> Iterator[Columns]:
        """Read the columns of the training rows."""
        n_rows = 0
        for part, first, columns in self.table.read(parts):
            used = self._is_used(part, first, columns)
            kept = columns
            if used is not None:
                index = np.flatnonzero(used)  # faster than a mask of many columns
                kept = {name: values[index] for name, values in columns.items()}
            n_rows += n_rows_of(kept)
            if n_rows_of(kept):
                yield kept
        if n_rows != self.n_rows:
            raise ValueError(
                f"X must hold the same rows in each pass, got {n_rows} instead of {self.n_rows} "
                "training rows. Write the table to a file that does not change."
            )

    def _is_used(self, part: int, first: int, columns: Columns) -> NDArray[np.bool_] | None:
        """Return which rows are trained on: those with a positive weight that are not held out."""
        used = None
        if self.hold_out is not None:
            used = ~self.hold_out.accepts(self.hold_out.hashes(self.table, part, first, columns))
        if self.weights is not None and not self.weights.of_classes.all():
            index = self._class_index(columns)
            used = _both(used, self.weights.of_classes[index] > 0)
        if self.table.sample_weight is not None:
            used = _both(used, columns[self.table.sample_weight] > 0)
        return used

    def _class_index(self, columns: Columns) -> NDArray[np.intp]:
        encoded = encode(columns[self.table.roles["y"]], self.classes)
        index: NDArray[np.intp] = encoded.astype(np.intp)
        return index

    def _targets(self, columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the targets and weights of rows."""
        index = self._class_index(columns)
        weight = weights_of(self.table, columns)
        weight = np.ones(len(index)) if weight is None else weight
        if self.weights is not None:
            # A positive weight stays positive when it is rounded.
            tiny = torch.finfo(self.dtype).tiny
            weight = np.maximum(self.weights.scale(weight, index), tiny)
        target = index.astype(np.float64)
        return target * (1 - self.label_smoothing) + self.label_smoothing / 2, weight

    def _to_dataset(self, columns: Columns) -> Dataset:
        X = as_matrix(columns, self.table.features, _NUMPY_TYPES[self.dtype])
        return self._window(X, *self._targets(columns))

    def _window(
        self, X: NDArray[Any], target: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> Dataset:
        def to_device(values: NDArray[np.float64]) -> torch.Tensor:
            return torch.from_numpy(values).to(device=self.device, dtype=self.dtype)

        return Dataset(
            DenseRows(as_tensor(X, self.device), self.dtype),
            to_device(target),
            None if self.weights is None else to_device(weight),
        )


def _both(first: NDArray[np.bool_] | None, second: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return second if first is None else first & second
