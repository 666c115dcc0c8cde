"""Data on a device: dense, sparse or memory-mapped rows, their targets and weights.

All rows offer the same few verbs, so that nothing above needs to know how they are stored:
``take`` cuts out rows, ``view`` does so without copying them where that can be, ``batch`` puts some
of them on the device in the precision of the computation, and what ``batch`` returns is multiplied
with ``@`` or ``transposed_matmul``.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, reduce
from itertools import islice, pairwise
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

# Rows are converted and multiplied in spans of about this many numbers (4 MiB in float64): small
# enough to stay near the processor, to bound memory and to be shared out between threads; large
# enough that Python costs nothing.
_SPAN_NUMBERS = 1 << 19
# Rows of mini-batches are fetched several batches at a time: 1 MiB in float32, which is about what
# a core keeps close.
_FETCHED_NUMBERS = 1 << 18
# On a GPU it is the calls that cost: so many times as much at once, 256 MiB in float64.
_TIMES_ON_GPU = 64


class LayerInput(Protocol):
    """What a layer multiplies with its weights.

    Attributes
    ----------
    pattern : hashable or None
        Equal for batches with which the same operations are done on other tensors. None where the
        operations cannot be recorded.
    """

    @property
    def pattern(self) -> Hashable | None: ...

    def tensors(self) -> tuple[Tensor, ...]: ...

    def with_tensors(self, tensors: Sequence[Tensor]) -> LayerInput: ...

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None: ...

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None: ...


class Shareable(LayerInput, Protocol):
    """Rows of a step, which can be shared out."""

    def split(self, n_rows: int) -> Sequence[LayerInput]: ...


class Fetch(Protocol):
    """Rows that were fetched together, to be split into batches."""

    def split(self, n_rows: int) -> Sequence[Shareable]: ...


class Source(Protocol):
    """A table that the rows of several mini-batches are fetched from at once."""

    def n_fetched(self, batch_size: int) -> int: ...

    def batch(self, index: Tensor) -> Fetch: ...


@runtime_checkable
class SharedTable(Source, Protocol):
    """A table that several models can have batches of their own of, all at once."""

    def shares(self, other: object) -> bool: ...

    def positions(self, index: Tensor) -> Tensor: ...

    def n_fetched_of_each(self, batch_size: int, n_models: int) -> int: ...

    def batches_of_each(self, where: Tensor, batch_size: int) -> Sequence[LayerInput]: ...


class Batch(Shareable, Protocol):
    """Some rows on the device, ready to be multiplied."""

    values: Tensor  # dense, or in compressed sparse row form

    @property
    def shape(self) -> Any: ...

    def __matmul__(self, weights: Tensor) -> Tensor: ...

    def transposed_matmul(self, residual: Tensor) -> Tensor: ...

    def split(self, n_rows: int) -> Sequence[Batch]: ...

    def square(self, importance: Tensor) -> Tensor: ...

    def weighted_squares(self, importance: Tensor) -> Tensor: ...

    def row_products(self) -> Tensor: ...

    def dense(self) -> Tensor: ...


class Rows(Protocol):
    """A table of rows, wherever it lies."""

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    def to(self, dtype: torch.dtype) -> Rows: ...

    def take(self, index: Tensor) -> Rows: ...

    def view(self, index: Tensor) -> Rows: ...

    def batch(self, index: Tensor | slice) -> Batch: ...

    def spans(self) -> list[slice]: ...

    def n_fetched(self, batch_size: int) -> int: ...


# A symmetric product is made in bands of this share of its rows, each up to the diagonal.
_BANDS = 4


class DenseBatch:
    """A matrix of shape (n_rows, n_features), or (n_models, n_rows, n_features)."""

    def __init__(self, values: Tensor):
        self.values = values
        self.shape = values.shape

    @property
    def pattern(self) -> Hashable:
        return "dense", self.values.ndim

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.values,)

    def with_tensors(self, tensors: Sequence[Tensor]) -> DenseBatch:
        return DenseBatch(*tensors)

    def split(self, n_rows: int) -> list[DenseBatch]:
        return [DenseBatch(part) for part in torch.split(self.values, n_rows)]

    def __matmul__(self, weights: Tensor) -> Tensor:
        return self.values @ weights

    def transposed_matmul(self, residual: Tensor) -> Tensor:
        return self.values.mT @ residual

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None:
        if weights.ndim == 2:
            if bias is None:
                torch.mm(self.values, weights, out=out)
            else:
                torch.addmm(bias, self.values, weights, out=out)
            return
        if self.values.ndim == 2 and weights.shape[-1] == 1:
            # A single product: those of batches take long for one column.
            torch.mm(weights[..., 0], self.values.mT, out=out[..., 0])
            if bias is not None:
                out.add_(bias)
            return
        values = self._for_each(len(weights))
        if bias is None:
            torch.bmm(values, weights, out=out)
        else:
            torch.baddbmm(bias, values, weights, out=out)

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        if residual.ndim == 2:
            torch.mm(self.values.mT, residual, out=out)
        elif self.values.ndim == 2 and residual.shape[-1] == 1:
            torch.mm(residual[..., 0], self.values, out=out[..., 0])
        else:
            torch.bmm(self._for_each(len(residual)).mT, residual, out=out)

    def _for_each(self, n_models: int) -> Tensor:
        # Models that see the same rows read the same memory.
        values = self.values
        return values.expand(n_models, *values.shape) if values.ndim == 2 else values

    def square(self, importance: Tensor) -> Tensor:
        return self.values.mT @ (self.values * importance[:, None])

    def weighted_squares(self, importance: Tensor) -> Tensor:
        return importance @ self.values.square()

    def row_products(self) -> Tensor:
        # What is above the diagonal is below it, too: two thirds of the time.
        values, n = self.values, len(self.values)
        products = values.new_empty(n, n)
        for rows in torch.arange(n).tensor_split(_BANDS):
            if len(rows):
                first, end = int(rows[0]), int(rows[-1]) + 1
                torch.mm(values[first:end], values[:end].mT, out=products[first:end, :end])
                products[:first, first:end] = products[first:end, :first].mT
        return products

    def dense(self) -> Tensor:
        return self.values


class SparseBatch:
    """Rows in compressed form: products touch only the numbers that are not zero."""

    pattern = None

    def __init__(self, values: Tensor):
        self.values = values
        self.shape = values.shape

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.values,)

    def with_tensors(self, tensors: Sequence[Tensor]) -> SparseBatch:
        return SparseBatch(*tensors)

    def split(self, n_rows: int) -> list[SparseBatch]:
        starts, size = self.values.crow_indices(), len(self)
        if n_rows >= size:
            return [self]
        cuts = [*range(0, size, n_rows), size]
        stored = starts[torch.tensor(cuts, device=starts.device)].tolist()
        columns, values = self.values.col_indices(), self.values.values()
        return [
            SparseBatch(
                torch.sparse_csr_tensor(
                    starts[a : b + 1] - i,
                    columns[i:j],
                    values[i:j],
                    (b - a, self.shape[1]),
                    check_invariants=False,
                )
            )
            for (a, b), (i, j) in zip(pairwise(cuts), pairwise(stored), strict=True)
        ]

    def __len__(self) -> int:
        return int(self.shape[0])

    def __matmul__(self, weights: Tensor) -> Tensor:
        return _per_model(self.values, weights)

    def transposed_matmul(self, residual: Tensor) -> Tensor:
        return _per_model(self.transposed, residual)

    @cached_property
    def transposed(self) -> Tensor:
        """The columns in compressed form."""
        values, (n_rows, n_columns) = self.values, self.shape
        columns = values.col_indices()
        lengths = torch.diff(values.crow_indices())
        rows = torch.repeat_interleave(torch.arange(n_rows).to(columns), lengths)
        # Sorting takes a third of the time of torch's own change of form.
        order = torch.sort(columns, stable=True).indices
        ends = torch.cumsum(torch.bincount(columns, minlength=n_columns), 0)
        return torch.sparse_csr_tensor(
            functional.pad(ends, (1, 0)).to(columns),
            torch.index_select(rows, 0, order),
            torch.index_select(values.values(), 0, order),
            (n_columns, n_rows),
            check_invariants=False,
        )

    def square(self, importance: Tensor) -> Tensor:
        if self.values.device.type != "cpu":
            return _sum(part.square(importance[span]) for span, part in self._dense_parts())
        values = self.values
        each = torch.repeat_interleave(importance, torch.diff(values.crow_indices()).long())
        scaled = torch.sparse_csr_tensor(
            values.crow_indices(),
            values.col_indices(),
            values.values() * each,
            values.shape,
            check_invariants=False,
        )
        return torch.sparse.mm(self.transposed, scaled).to_dense()

    def weighted_squares(self, importance: Tensor) -> Tensor:
        columns = self.transposed
        squares = torch.sparse_csr_tensor(
            columns.crow_indices(),
            columns.col_indices(),
            columns.values().square(),
            columns.shape,
            check_invariants=False,
        )
        return _per_model(squares, importance)

    def row_products(self) -> Tensor:
        if self.values.device.type != "cpu":
            columns = SparseBatch(self.transposed)._dense_parts()
            return _sum(part.values.mT @ part.values for _, part in columns)
        return torch.sparse.mm(self.values, self.transposed).to_dense()

    def _dense_parts(self) -> Iterator[tuple[slice, DenseBatch]]:
        """Give the rows a few at a time, for products that a GPU makes densely.

        Its sparse products with sparse matrices take another order, and so other bits, every time.
        """
        n_rows, n_columns = self.shape
        spans = row_spans(n_rows, n_columns, self.values.device)
        for span, part in zip(spans, self.split(spans[0].stop), strict=True):
            yield span, DenseBatch(part.dense())

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None:
        out.copy_(self @ weights)
        if bias is not None:
            out.add_(bias)

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        out.copy_(self.transposed_matmul(residual))

    def dense(self) -> Tensor:
        return self.values.to_dense()


class SharedBatch:
    """Batches of equally many rows, each of which some neighbouring models of a stack see.

    Parameters
    ----------
    parts : sequence of (slice, LayerInput)
        Which models see which rows, in the order of the stack.
    """

    def __init__(self, parts: Sequence[tuple[slice, LayerInput]]):
        self.parts = parts

    @property
    def pattern(self) -> Hashable | None:
        known = [(models.start, models.stop, batch.pattern) for models, batch in self.parts]
        return None if any(own is None for *_, own in known) else tuple(known)

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(each for _, batch in self.parts for each in batch.tensors())

    def with_tensors(self, tensors: Sequence[Tensor]) -> SharedBatch:
        left = iter(tensors)
        return SharedBatch(
            [
                (models, batch.with_tensors(list(islice(left, len(batch.tensors())))))
                for models, batch in self.parts
            ]
        )

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None:
        for models, batch in self.parts:
            own = None if bias is None else bias[models]
            batch.affine_into(own, weights[models], out[models])

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        for models, batch in self.parts:
            batch.transposed_matmul_into(residual[models], out[models])


def _per_model(matrix: Tensor, stacked: Tensor) -> Tensor:
    # torch multiplies compressed rows with one matrix or vector at a time; a single column is
    # three times as fast as a vector.
    if stacked.ndim == 3:
        return torch.stack([_per_model(matrix, each) for each in stacked])
    if matrix.device.type == "cuda":
        return _row_sums(matrix, stacked)
    if stacked.ndim == 2 and stacked.shape[1] == 1:
        return (matrix @ stacked[:, 0])[:, None]
    return matrix @ stacked


def _row_sums(matrix: Tensor, dense: Tensor) -> Tensor:
    """Multiply compressed rows with a matrix or vector, adding up in the order of the columns.

    torch's own product on CUDA adds up in another order every time.
    """
    values = matrix.values()
    terms = torch.index_select(dense, 0, matrix.col_indices())
    terms.mul_(values if dense.ndim == 1 else values[:, None])
    return torch.segment_reduce(terms, "sum", offsets=matrix.crow_indices(), axis=0, unsafe=True)


def _sum(parts: Iterable[Tensor]) -> Tensor:
    return reduce(torch.Tensor.add_, parts)


@dataclass(frozen=True)
class DenseRows:
    """Rows in one tensor, converted to `dtype` batch by batch if they are stored in another."""

    values: Tensor
    dtype: torch.dtype
    index: Tensor | None = None  # which of them are there; None for all

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
                part = self.values[index]
                return DenseBatch(part if part.dtype == self.dtype else part.to(self.dtype))
            index = self.index[index]
        elif self.index is not None:
            index = self.index[index]
        return DenseBatch(torch.index_select(self.values, 0, index).to(self.dtype))

    def spans(self) -> list[slice]:
        return row_spans(*self.shape, self.values.device)

    def n_fetched(self, batch_size: int) -> int:
        return whole_batches(batch_size, self.shape[1], self.values.device)

    def n_fetched_of_each(self, batch_size: int, n_models: int) -> int:
        """Tell how many rows of each model are fetched at once."""
        # A processor multiplies what lies together, and keeps close what one batch needs.
        if self.values.device.type == "cpu":
            return batch_size
        return whole_batches(batch_size, n_models * self.shape[1], self.values.device)

    def shares(self, other: object) -> bool:
        """Tell whether both are rows of one table."""
        if not isinstance(other, DenseRows):
            return False
        return self.values is other.values and self.dtype == other.dtype

    def batches_of_each(self, where: Tensor, batch_size: int) -> list[DenseBatch]:
        """Give batches of the whole table, at positions of shape (n_models, n_rows)."""
        rows = torch.index_select(self.values, 0, where.flatten()).to(self.dtype)
        parts = torch.split(rows.view(*where.shape, -1), batch_size, dim=1)
        return [DenseBatch(each) for each in parts]

    def positions(self, index: Tensor) -> Tensor:
        """Give where rows lie in the whole table."""
        index = index.to(self.values.device)
        return index if self.index is None else self.index[index]


@dataclass(frozen=True)
class MappedRows:
    """Rows that lie in a file and are read when they are needed."""

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
        where = index.cpu().numpy() if isinstance(index, Tensor) else index
        # A copy: torch has no read-only tensors, and the file may not be written to.
        values = torch.as_tensor(self.values[where].copy())
        return DenseBatch(values.to(device=self.device, dtype=self.dtype))

    def spans(self) -> list[slice]:
        return row_spans(*self.shape, self.device)

    def n_fetched(self, batch_size: int) -> int:
        return batch_size


@dataclass(frozen=True)
class SparseRows:
    """Rows in compressed sparse row form: three tensors, as in scipy's ``csr_array``."""

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
        # The stored numbers of row i are a run: its start, counted on from where row i now begins.
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
        if (begin, end) in self._kept:
            return self._kept[begin, end]
        starts = self.starts[begin : end + 1]
        stored = slice(int(starts[0]), int(starts[-1]))
        span = replace(
            self,
            starts=starts - starts[0],
            columns=self.columns[stored],
            values=self.values[stored],
        )
        self._kept[begin, end] = SparseBatch(span.as_tensor())
        return self._kept[begin, end]

    def n_fetched(self, batch_size: int) -> int:
        return whole_batches(batch_size, self._stored_per_row, self.values.device)

    def as_tensor(self) -> Tensor:
        """Give the rows as a torch CSR tensor in the precision of the computation."""
        _silence_beta_notice()
        return torch.sparse_csr_tensor(
            self.starts, self.columns, self.values.to(self.dtype), self.shape,
            check_invariants=False,
        )  # fmt: skip

    def spans(self) -> list[slice]:
        return row_spans(self.shape[0], self._stored_per_row, self.values.device)

    @property
    def _stored_per_row(self) -> int:
        return max(1, len(self.values) // max(1, self.shape[0]))

    @cached_property
    def _kept(self) -> dict[tuple[int, int], SparseBatch]:
        # Spans are asked for again and again, and remember their transposes.
        return {}

    def _lengths(self) -> Tensor:
        return torch.diff(self.starts).long()


@cache
def _silence_beta_notice() -> None:
    """Make the first compressed tensor of the process, at which torch says that they are new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.sparse_csr_tensor([0, 1], [0], [1.0], (1, 1))


@dataclass(frozen=True)
class Problem:
    """What is learnt from: rows, targets, weights, and the rows that validate.

    Parameters
    ----------
    rows : Rows
        The rows, of shape (n_samples, n_features).
    target : Tensor of shape (n_samples,)
        1 for the positive class, 0 for the other, in the precision of the computation.
    weight : Tensor of shape (n_samples,) or None
        Positive weights of the rows. None when they are all one.
    validation : Problem or None
        Rows that are scored after every epoch and never trained on.
    score_weight : Tensor of shape (n_samples,) or None
        Weights of validation rows in their accuracy, which class weights do not touch.
    """

    rows: Rows
    target: Tensor
    weight: Tensor | None = None
    validation: Problem | None = None
    score_weight: Tensor | None = None

    @property
    def n_samples(self) -> int:
        return self.rows.shape[0]

    @property
    def n_features(self) -> int:
        return self.rows.shape[1]

    @property
    def device(self) -> torch.device:
        return self.target.device

    @property
    def total_weight(self) -> float:
        return float(self.n_samples if self.weight is None else self.weight.double().sum())

    def take(self, index: Tensor) -> Problem:
        """Cut out some rows, without the validation rows."""
        return self._with(self.rows.take(index), index)

    def view(self, index: Tensor) -> Problem:
        """Cut out some rows as ``take`` does, but go on sharing memory where that can be."""
        return self._with(self.rows.view(index), index)

    def _with(self, rows: Rows, index: Tensor) -> Problem:
        weight = None if self.weight is None else self.weight[index]
        score_weight = None if self.score_weight is None else self.score_weight[index]
        return Problem(rows, self.target[index], weight, score_weight=score_weight)


def _times(device: torch.device) -> int:
    return 1 if device.type == "cpu" else _TIMES_ON_GPU


def whole_batches(batch_size: int, n_numbers: int, device: torch.device) -> int:
    most = _FETCHED_NUMBERS * _times(device)
    return batch_size * max(1, most // (batch_size * max(1, n_numbers)))


def row_spans(n_rows: int, n_numbers: int, device: torch.device) -> list[slice]:
    """Cut `n_rows` rows of `n_numbers` numbers into spans of a bounded count of numbers."""
    size = max(8, _SPAN_NUMBERS * _times(device) // max(1, n_numbers))
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]
