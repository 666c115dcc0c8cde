"""Rows on a device: dense, sparse or memory-mapped.

All kinds of rows have the same methods: ``take`` selects rows, ``view`` does so without a copy
where possible, ``batch`` puts some of them on the device in the precision of the computation, and
what ``batch`` returns is multiplied with ``@`` or ``transposed_matmul``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import Batch, DenseBatch, LayerInput, SparseBatch, SplittableInput
from skbinary.runtime.chunks import row_chunks, rows_per_fetch
from skbinary.runtime.processes import ALONE, Processes

# A column is centered if its mean is so many standard deviations from zero: the condition number of
# the column and the intercept is the square of that. Means are estimated from so many rows.
_FAR_FROM_ZERO, _OFFSET_ROWS = 30.0, 1000


class FetchedRows(Protocol):
    """Rows of several mini-batches that were fetched at once."""

    def split(self, n_rows: int) -> Sequence[SplittableInput]: ...


class BatchSource(Protocol):
    """A table from which the rows of several mini-batches are fetched at once."""

    def fetch_size(self, batch_size: int) -> int: ...

    def batch(self, index: Tensor) -> FetchedRows: ...


@runtime_checkable
class SharedTable(BatchSource, Protocol):
    """A table from which the different mini-batches of several models are fetched at once."""

    def has_same_table(self, other: object) -> bool: ...

    def positions(self, index: Tensor) -> Tensor: ...

    def fetch_size_per_model(self, batch_size: int, n_models: int) -> int: ...

    def batches_per_model(self, positions: Tensor, batch_size: int) -> Sequence[LayerInput]: ...


class Rows(Protocol):
    """Rows of shape (n_samples, n_features), whatever their storage."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    def to(self, dtype: torch.dtype) -> Rows: ...

    def take(self, index: Tensor) -> Rows: ...

    def view(self, index: Tensor) -> Rows: ...

    def batch(self, index: Tensor | slice) -> Batch: ...

    def chunks(self) -> list[slice]: ...

    def fetch_size(self, batch_size: int) -> int: ...


@dataclass(frozen=True)
class DenseRows:
    """Rows in one tensor. Batches are converted to `dtype` if they are stored in another type."""

    values: Tensor
    dtype: torch.dtype
    index: Tensor | None = None  # the selected rows; None for all

    @property
    def shape(self) -> tuple[int, int]:
        n_rows = self.values.shape[0] if self.index is None else len(self.index)
        return n_rows, self.values.shape[1]

    def to(self, dtype: torch.dtype) -> DenseRows:
        return replace(self, dtype=dtype)

    def take(self, index: Tensor) -> DenseRows:
        return replace(self, values=self.values[self.positions(index)], index=None)

    def view(self, index: Tensor) -> DenseRows:
        return replace(self, index=self.positions(index))

    def batch(self, index: Tensor | slice) -> DenseBatch:
        if isinstance(index, slice):
            if self.index is None:
                values = self.values[index]
                return DenseBatch(values if values.dtype == self.dtype else values.to(self.dtype))
            index = self.index[index]
        elif self.index is not None:
            index = self.index[index]
        return DenseBatch(torch.index_select(self.values, 0, index).to(self.dtype))

    def chunks(self) -> list[slice]:
        return row_chunks(*self.shape, self.values.device)

    def fetch_size(self, batch_size: int) -> int:
        return rows_per_fetch(batch_size, self.shape[1], self.values.device)

    def fetch_size_per_model(self, batch_size: int, n_models: int) -> int:
        """Return how many rows of each model are fetched at once."""
        # On a CPU one batch at a time stays contiguous and in the cache.
        if self.values.device.type == "cpu":
            return batch_size
        return rows_per_fetch(batch_size, n_models * self.shape[1], self.values.device)

    def has_same_table(self, other: object) -> bool:
        """Check whether both are rows of the same table."""
        if not isinstance(other, DenseRows):
            return False
        return self.values is other.values and self.dtype == other.dtype

    def batches_per_model(self, positions: Tensor, batch_size: int) -> list[DenseBatch]:
        """Return batches of the whole table, at positions of shape (n_models, n_rows)."""
        rows = torch.index_select(self.values, 0, positions.flatten()).to(self.dtype)
        batches = torch.split(rows.view(*positions.shape, -1), batch_size, dim=1)
        return [DenseBatch(each) for each in batches]

    def positions(self, index: Tensor) -> Tensor:
        """Return the positions of rows in the whole table."""
        index = index.to(self.values.device)
        return index if self.index is None else self.index[index]


@dataclass(frozen=True)
class MappedRows:
    """Rows of a memory-mapped file, read when they are needed."""

    values: Any  # a numpy.memmap of any real type
    dtype: torch.dtype
    device: torch.device
    index: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        n_rows = len(self.values) if self.index is None else len(self.index)
        return n_rows, self.values.shape[1]

    def to(self, dtype: torch.dtype) -> MappedRows:
        return replace(self, dtype=dtype)

    def take(self, index: Tensor) -> MappedRows:
        index = index.cpu()
        return replace(self, index=index if self.index is None else self.index[index])

    view = take

    def batch(self, index: Tensor | slice) -> DenseBatch:
        if self.index is not None:
            index = self.index[index.cpu() if isinstance(index, Tensor) else index]
        positions = index.cpu().numpy() if isinstance(index, Tensor) else index
        # Copied, because torch has no read-only tensors and the file must not be written to, and
        # converted, because torch supports the byte order of the machine only.
        native = self.values.dtype.newbyteorder("=")
        values = torch.as_tensor(self.values[positions].astype(native))
        return DenseBatch(values.to(device=self.device, dtype=self.dtype))

    def chunks(self) -> list[slice]:
        return row_chunks(*self.shape, self.device)

    def fetch_size(self, batch_size: int) -> int:
        return batch_size


@dataclass(frozen=True)
class CenteredRows:
    """Dense rows minus an offset for each column, which the intercept of a model absorbs.

    Parameters
    ----------
    rows : DenseRows, MappedRows or StreamedRows
        Rows in the precision of the offset, so that the difference keeps its digits.
    offset : Tensor of shape (n_features,)
    dtype : torch.dtype
        The precision of the difference.
    """

    rows: DenseRows | MappedRows | StreamedRows
    offset: Tensor
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape

    def to(self, dtype: torch.dtype) -> CenteredRows:
        return replace(self, dtype=dtype)

    def take(self, index: Tensor) -> CenteredRows:
        return replace(self, rows=self.rows.take(index))

    def view(self, index: Tensor) -> CenteredRows:
        return replace(self, rows=self.rows.view(index))

    def batch(self, index: Tensor | slice) -> DenseBatch:
        return DenseBatch((self.rows.batch(index).values - self.offset).to(self.dtype))

    def chunks(self) -> list[slice]:
        return self.rows.chunks()

    def fetch_size(self, batch_size: int) -> int:
        return self.rows.fetch_size(batch_size)


@dataclass(frozen=True)
class StreamedRows:
    """Rows of a table that is read anew in each pass.

    Parameters
    ----------
    shape : tuple of int
        The number of rows that are trained on, and of features.
    sample : DenseRows
        Some rows of the table, which are returned where single rows are asked for.
    """

    shape: tuple[int, int]
    sample: DenseRows

    @property
    def dtype(self) -> torch.dtype:
        return self.sample.dtype

    def to(self, dtype: torch.dtype) -> StreamedRows:
        return replace(self, sample=self.sample.to(dtype))

    def take(self, index: Tensor) -> DenseRows:
        return self.sample.take(index)

    def view(self, index: Tensor) -> DenseRows:
        return self.sample.view(index)

    def batch(self, index: Tensor | slice) -> DenseBatch:
        return self.sample.batch(index)

    def chunks(self) -> list[slice]:
        return self.sample.chunks()

    def fetch_size(self, batch_size: int) -> int:
        return batch_size


def centered(rows: Rows, processes: Processes = ALONE) -> CenteredRows | None:
    """Center the columns whose mean is large compared with their standard deviation.

    Such a column (a year, a time stamp) is nearly a multiple of the intercept's column of ones, and
    the digits in which the two differ are lost. Centered columns have the same coefficients under
    the same penalty.

    Parameters
    ----------
    rows : Rows
    processes : Processes, default=ALONE
        The processes that hold the rows. These are the rows of this process.

    Returns
    -------
    CenteredRows or None
        None if no column needs it, and for sparse rows, which would not stay sparse.
    """
    if isinstance(rows, StreamedRows):
        of_sample = centered(rows.sample)
        return None if of_sample is None else replace(of_sample, rows=rows)
    if not isinstance(rows, DenseRows | MappedRows):
        return None
    # Any offset near the mean will do, so a subsample is enough.
    n_rows = int(processes.sum_number(rows.shape[0]))
    subsample: Tensor | slice = slice(0, rows.shape[0])
    if n_rows > _OFFSET_ROWS:
        device = rows.values.device if isinstance(rows, DenseRows) else rows.device
        subsample = processes.every_nth(rows.shape[0], n_rows // _OFFSET_ROWS).to(device)
    values = rows.batch(subsample).values
    n_rows = int(processes.sum_number(len(values)))
    mean = processes.sum(values.sum(dim=0)) / n_rows
    deviation = processes.sum((values - mean).square_().sum(dim=0)).div_(n_rows).sqrt_()
    is_far = (mean.abs() > _FAR_FROM_ZERO * deviation) & torch.isfinite(mean)
    if not bool(is_far.any()):
        return None
    return CenteredRows(rows, torch.where(is_far, mean, 0.0), rows.dtype)


@dataclass(frozen=True)
class SparseRows:
    """Rows in compressed sparse row (CSR) format: three tensors, as in scipy's ``csr_array``."""

    starts: Tensor  # (n_rows + 1,)
    columns: Tensor  # (n_stored,)
    values: Tensor  # (n_stored,)
    n_features: int
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.starts) - 1, self.n_features

    def to(self, dtype: torch.dtype) -> SparseRows:
        return replace(self, dtype=dtype)

    def take(self, index: Tensor) -> SparseRows:
        starts, lengths = self.starts[index].long(), self._lengths()[index]
        ends = torch.cumsum(lengths, 0)
        # The stored values of a row are contiguous: old position = new position + shift of the row.
        shift = torch.repeat_interleave(starts - ends + lengths, lengths)
        stored = shift + torch.arange(len(shift), device=shift.device)
        return replace(
            self,
            starts=functional.pad(ends, (1, 0)).to(self.starts.dtype),
            columns=self.columns[stored],
            values=self.values[stored],
        )

    view = take

    def batch(self, index: Tensor | slice) -> SparseBatch:
        if isinstance(index, Tensor):
            return SparseBatch(self.take(index).as_tensor())
        begin, end, _ = index.indices(self.shape[0])
        if (begin, end) in self._chunk_cache:
            return self._chunk_cache[begin, end]
        starts = self.starts[begin : end + 1]
        stored = slice(int(starts[0]), int(starts[-1]))
        chunk = replace(
            self,
            starts=starts - starts[0],
            columns=self.columns[stored],
            values=self.values[stored],
        )
        self._chunk_cache[begin, end] = SparseBatch(chunk.as_tensor())
        return self._chunk_cache[begin, end]

    def fetch_size(self, batch_size: int) -> int:
        return rows_per_fetch(batch_size, self._stored_per_row, self.values.device)

    def as_tensor(self) -> Tensor:
        """Return the rows as a torch CSR tensor in the precision of the computation."""
        _silence_beta_warning()
        return torch.sparse_csr_tensor(
            self.starts, self.columns, self.values.to(self.dtype), self.shape,
            check_invariants=False,
        )  # fmt: skip

    def chunks(self) -> list[slice]:
        return row_chunks(self.shape[0], self._stored_per_row, self.values.device)

    @property
    def _stored_per_row(self) -> int:
        return max(1, len(self.values) // max(1, self.shape[0]))

    @cached_property
    def _chunk_cache(self) -> dict[tuple[int, int], SparseBatch]:
        # Chunks are used in every iteration, and cache their transposes.
        return {}

    def _lengths(self) -> Tensor:
        return torch.diff(self.starts).long()


@cache
def _silence_beta_warning() -> None:
    """Create the first CSR tensor of the process, for which torch warns that they are in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.sparse_csr_tensor([0, 1], [0], [1.0], (1, 1))
