"""Rows on a device, dense or compressed, which layers multiply with their weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, reduce
from itertools import islice, pairwise
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.runtime.chunks import row_chunks


class LayerInput(Protocol):
    """What a layer multiplies with its weights."""

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None: ...

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None: ...


class RecordableInput(LayerInput, Protocol):
    """A layer input whose products can be recorded once and repeated for other rows."""

    def tensors(self) -> tuple[Tensor, ...]: ...

    def with_tensors(self, tensors: Sequence[Tensor]) -> RecordableInput: ...


class SplittableInput(LayerInput, Protocol):
    """Rows of a step, which can be shared out."""

    def split(self, n_rows: int) -> Sequence[LayerInput]: ...


class Batch(SplittableInput, Protocol):
    """Some rows on the device, ready to be multiplied."""

    values: Tensor  # dense, or in compressed sparse row form

    @property
    def shape(self) -> Any: ...

    def __matmul__(self, weights: Tensor) -> Tensor: ...

    def transposed_matmul(self, residual: Tensor) -> Tensor: ...

    def split(self, n_rows: int) -> Sequence[Batch]: ...

    def weighted_gram(self, importance: Tensor) -> Tensor: ...

    def weighted_squares(self, importance: Tensor) -> Tensor: ...

    def row_products(self) -> Tensor: ...

    def abs(self) -> Batch: ...

    def dense(self) -> Tensor: ...


# A symmetric product is made in bands of this share of its rows, each up to the diagonal.
_BANDS = 4


class DenseBatch:
    """A matrix of shape (n_rows, n_features), or (n_models, n_rows, n_features)."""

    def __init__(self, values: Tensor):
        self.values = values
        self.shape = values.shape

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
        if self.values.ndim == 2 and _is_column(weights):
            # A single product: those of batches take long for one column.
            torch.mm(weights[..., 0], self.values.mT, out=out[..., 0])
            if bias is not None:
                out.add_(bias)
            return
        values = self._for_each(weights.shape[0])
        if bias is None:
            torch.bmm(values, weights, out=out)
        else:
            torch.baddbmm(bias, values, weights, out=out)

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        if residual.ndim == 2:
            torch.mm(self.values.mT, residual, out=out)
        elif self.values.ndim == 2 and _is_column(residual):
            torch.mm(residual[..., 0], self.values, out=out[..., 0])
        else:
            torch.bmm(self._for_each(residual.shape[0]).mT, residual, out=out)

    def _for_each(self, n_models: int) -> Tensor:
        # Models that see the same rows read the same memory.
        values = self.values
        return values.expand(n_models, *values.shape) if values.ndim == 2 else values

    def weighted_gram(self, importance: Tensor) -> Tensor:
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

    def abs(self) -> DenseBatch:
        return DenseBatch(self.values.abs())

    def dense(self) -> Tensor:
        return self.values


class SparseBatch:
    """Rows in compressed form: products touch only the numbers that are not zero."""

    def __init__(self, values: Tensor):
        self.values = values
        self.shape = values.shape

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

    def weighted_gram(self, importance: Tensor) -> Tensor:
        if not _multiplies_compressed(self.values):
            return _sum(
                part.weighted_gram(importance[chunk]) for chunk, part in self._dense_parts()
            )
        values = self.values
        each = torch.repeat_interleave(importance, torch.diff(values.crow_indices()).long())
        scaled = torch.sparse_csr_tensor(
            values.crow_indices(),
            values.col_indices(),
            values.values() * each,
            values.shape,
            check_invariants=False,
        )
        return _dense_product(self.transposed, scaled)

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
        if not _multiplies_compressed(self.values):
            columns = SparseBatch(self.transposed)._dense_parts()
            return _sum(part.values.mT @ part.values for _, part in columns)
        return _dense_product(self.values, self.transposed)

    def _dense_parts(self) -> Iterator[tuple[slice, DenseBatch]]:
        """Give the rows a few at a time, for products of dense matrices."""
        n_rows, n_columns = self.shape
        chunks = row_chunks(n_rows, n_columns, self.values.device)
        for chunk, part in zip(chunks, self.split(chunks[0].stop), strict=True):
            yield chunk, DenseBatch(part.dense())

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None:
        out.copy_(self @ weights)
        if bias is not None:
            out.add_(bias)

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        out.copy_(self.transposed_matmul(residual))

    def abs(self) -> SparseBatch:
        values = self.values
        return SparseBatch(
            torch.sparse_csr_tensor(
                values.crow_indices(),
                values.col_indices(),
                values.values().abs(),
                values.shape,
                check_invariants=False,
            )
        )

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

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(each for batch in self._recordable for each in batch.tensors())

    def with_tensors(self, tensors: Sequence[Tensor]) -> SharedBatch:
        left = iter(tensors)
        made = [
            each.with_tensors(list(islice(left, len(each.tensors())))) for each in self._recordable
        ]
        return SharedBatch(
            [(models, each) for (models, _), each in zip(self.parts, made, strict=True)]
        )

    @property
    def _recordable(self) -> list[RecordableInput]:
        return [cast(RecordableInput, batch) for _, batch in self.parts]

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None:
        for models, batch in self.parts:
            own = None if bias is None else bias[models]
            batch.affine_into(own, weights[models], out[models])

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        for models, batch in self.parts:
            batch.transposed_matmul_into(residual[models], out[models])


def _is_column(matrices: Tensor) -> bool:
    return matrices.shape[-1] == 1


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


def _multiplies_compressed(matrix: Tensor) -> bool:
    # On a GPU the product of two compressed matrices has other bits every time, and torch without
    # MKL cannot compute it.
    return matrix.device.type == "cpu" and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]


def _dense_product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two compressed matrices into a dense one.

    ``torch.sparse.mm`` makes a compressed matrix first, which takes several times as long, and
    does not free all of its memory.
    """
    out = left.values().new_zeros(left.shape[0], right.shape[1])
    return torch.addmm(out, left, right, beta=0, out=out)


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
