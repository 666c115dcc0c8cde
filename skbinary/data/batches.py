"""Batches of rows on a device, dense or sparse, and their products with the weights of layers."""

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
    """What a layer multiplies by its weights."""

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None: ...

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None: ...


class CapturableInput(LayerInput, Protocol):
    """A layer input whose products a CUDA graph can capture, to replay them for other rows."""

    def tensors(self) -> tuple[Tensor, ...]: ...

    def with_tensors(self, tensors: Sequence[Tensor]) -> CapturableInput: ...


class EmbeddableInput(LayerInput, Protocol):
    """A layer input some of whose features can be embedded."""

    def columns(self, index: Tensor) -> Tensor:
        """Return columns, of shape (n_rows, n_columns) or (n_models, n_rows, n_columns)."""
        ...


class SplittableInput(LayerInput, Protocol):
    """The rows of a step, which can be split between threads."""

    def split(self, n_rows: int) -> Sequence[LayerInput]: ...


class Batch(SplittableInput, Protocol):
    """Rows on a device, in the precision of the computation."""

    values: Tensor  # dense, or in CSR format

    @property
    def shape(self) -> Any: ...

    def __matmul__(self, weights: Tensor) -> Tensor: ...

    def transposed_matmul(self, residual: Tensor) -> Tensor: ...

    def split(self, n_rows: int) -> Sequence[Batch]: ...

    def weighted_gram(self, weight: Tensor) -> Tensor:
        """Return ``X.T @ diag(weight) @ X``, of shape (n_features, n_features)."""
        ...

    def weighted_squares(self, weight: Tensor) -> Tensor:
        """Return ``weight @ X ** 2``, of shape (n_features,)."""
        ...

    def row_products(self) -> Tensor:
        """Return ``X @ X.T``, of shape (n_rows, n_rows)."""
        ...

    def abs(self) -> Batch: ...

    def dense(self) -> Tensor: ...


# A symmetric product is computed in this many bands of rows, each up to the diagonal.
_N_BANDS = 4


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
        return [DenseBatch(values) for values in torch.split(self.values, n_rows)]

    def columns(self, index: Tensor) -> Tensor:
        return torch.index_select(self.values, -1, index)

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
            # A single matrix product: batched products are slow for one column.
            torch.mm(weights[..., 0], self.values.mT, out=out[..., 0])
            if bias is not None:
                out.add_(bias)
            return
        values = self._expand(weights.shape[0])
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
            torch.bmm(self._expand(residual.shape[0]).mT, residual, out=out)

    def _expand(self, n_models: int) -> Tensor:
        # Models that see the same rows read the same memory.
        values = self.values
        return values.expand(n_models, *values.shape) if values.ndim == 2 else values

    def weighted_gram(self, weight: Tensor) -> Tensor:
        return self.values.mT @ (self.values * weight[:, None])

    def weighted_squares(self, weight: Tensor) -> Tensor:
        return weight @ self.values.square()

    def row_products(self) -> Tensor:
        # Computing one half of the symmetric product takes two thirds of the time.
        values, n = self.values, len(self.values)
        products = values.new_empty(n, n)
        for rows in torch.arange(n).tensor_split(_N_BANDS):
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
    """Rows in CSR format: products read only the values that are not zero."""

    def __init__(self, values: Tensor):
        self.values = values
        self.shape = values.shape

    def split(self, n_rows: int) -> list[SparseBatch]:
        starts, size = self.values.crow_indices(), len(self)
        if n_rows >= size:
            return [self]
        bounds = [*range(0, size, n_rows), size]
        stored = starts[torch.tensor(bounds, device=starts.device)].tolist()
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
            for (a, b), (i, j) in zip(pairwise(bounds), pairwise(stored), strict=True)
        ]

    def __len__(self) -> int:
        return int(self.shape[0])

    def columns(self, index: Tensor) -> Tensor:
        return torch.index_select(self.dense(), -1, index)

    def __matmul__(self, weights: Tensor) -> Tensor:
        return _multiply(self.values, weights)

    def transposed_matmul(self, residual: Tensor) -> Tensor:
        return _multiply(self.transposed, residual)

    @cached_property
    def transposed(self) -> Tensor:
        """The transposed rows in CSR format."""
        values, (n_rows, n_columns) = self.values, self.shape
        columns = values.col_indices()
        lengths = torch.diff(values.crow_indices())
        rows = torch.repeat_interleave(torch.arange(n_rows).to(columns), lengths)
        # Sorting takes a third of the time of torch's own conversion.
        order = torch.sort(columns, stable=True).indices
        ends = torch.cumsum(torch.bincount(columns, minlength=n_columns), 0)
        return torch.sparse_csr_tensor(
            functional.pad(ends, (1, 0)).to(columns),
            torch.index_select(rows, 0, order),
            torch.index_select(values.values(), 0, order),
            (n_columns, n_rows),
            check_invariants=False,
        )

    def weighted_gram(self, weight: Tensor) -> Tensor:
        if not _can_multiply_sparse(self.values):
            return _sum(dense.weighted_gram(weight[chunk]) for chunk, dense in self._dense_chunks())
        values = self.values
        value_weight = torch.repeat_interleave(weight, torch.diff(values.crow_indices()).long())
        scaled = torch.sparse_csr_tensor(
            values.crow_indices(),
            values.col_indices(),
            values.values() * value_weight,
            values.shape,
            check_invariants=False,
        )
        return _dense_product(self.transposed, scaled)

    def weighted_squares(self, weight: Tensor) -> Tensor:
        columns = self.transposed
        squares = torch.sparse_csr_tensor(
            columns.crow_indices(),
            columns.col_indices(),
            columns.values().square(),
            columns.shape,
            check_invariants=False,
        )
        return _multiply(squares, weight)

    def row_products(self) -> Tensor:
        if not _can_multiply_sparse(self.values):
            columns = SparseBatch(self.transposed)._dense_chunks()
            return _sum(dense.values.mT @ dense.values for _, dense in columns)
        return _dense_product(self.values, self.transposed)

    def _dense_chunks(self) -> Iterator[tuple[slice, DenseBatch]]:
        """Yield the rows in dense chunks."""
        n_rows, n_columns = self.shape
        chunks = row_chunks(n_rows, n_columns, self.values.device)
        for chunk, batch in zip(chunks, self.split(chunks[0].stop), strict=True):
            yield chunk, DenseBatch(batch.dense())

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
    """Batches of the same size, each of which is shared by adjacent models of a batch of models.

    Parameters
    ----------
    batches : sequence of (slice, LayerInput)
        The models that share a batch, and the batch, in the order of the models.
    """

    def __init__(self, batches: Sequence[tuple[slice, LayerInput]]):
        self.batches = batches

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(each for batch in self._capturable for each in batch.tensors())

    def with_tensors(self, tensors: Sequence[Tensor]) -> SharedBatch:
        remaining = iter(tensors)
        batches = [
            batch.with_tensors(list(islice(remaining, len(batch.tensors()))))
            for batch in self._capturable
        ]
        models = [models for models, _ in self.batches]
        return SharedBatch(list(zip(models, batches, strict=True)))

    def columns(self, index: Tensor) -> Tensor:
        parts = []
        for models, batch in self.batches:
            values = cast(EmbeddableInput, batch).columns(index)
            n_models = models.stop - models.start
            parts.append(values.expand(n_models, *values.shape) if values.ndim == 2 else values)
        return torch.cat(parts)

    def dense(self) -> Tensor:
        parts = []
        for models, batch in self.batches:
            values = cast(Batch, batch).dense()
            n_models = models.stop - models.start
            parts.append(values.expand(n_models, *values.shape) if values.ndim == 2 else values)
        return torch.cat(parts)

    @property
    def _capturable(self) -> list[CapturableInput]:
        return [cast(CapturableInput, batch) for _, batch in self.batches]

    def affine_into(self, bias: Tensor | None, weights: Tensor, out: Tensor) -> None:
        for models, batch in self.batches:
            models_bias = None if bias is None else bias[models]
            batch.affine_into(models_bias, weights[models], out[models])

    def transposed_matmul_into(self, residual: Tensor, out: Tensor) -> None:
        for models, batch in self.batches:
            batch.transposed_matmul_into(residual[models], out[models])


def _is_column(matrices: Tensor) -> bool:
    return matrices.shape[-1] == 1


def _multiply(matrix: Tensor, dense: Tensor) -> Tensor:
    """Multiply CSR rows by a vector, a matrix, or a batch of matrices."""
    # torch multiplies CSR rows by one matrix or vector at a time; a vector is three times as fast
    # as a matrix with one column.
    if dense.ndim == 3:
        return torch.stack([_multiply(matrix, each) for each in dense])
    if matrix.device.type == "cuda":
        return _sum_products_by_row(matrix, dense)
    if dense.ndim == 2 and dense.shape[1] == 1:
        return (matrix @ dense[:, 0])[:, None]
    return matrix @ dense


def _can_multiply_sparse(matrix: Tensor) -> bool:
    # On a GPU the product of two sparse matrices is not deterministic, and torch without MKL cannot
    # compute it.
    return matrix.device.type == "cpu" and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]


def _dense_product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two sparse matrices into a dense one.

    ``torch.sparse.mm`` computes a sparse matrix first, which takes several times as long, and does
    not free all of its memory.
    """
    out = left.values().new_zeros(left.shape[0], right.shape[1])
    return torch.addmm(out, left, right, beta=0, out=out)


def _sum_products_by_row(matrix: Tensor, dense: Tensor) -> Tensor:
    """Multiply CSR rows by a matrix or vector, with sums in the order of the columns.

    torch's own product on CUDA is not deterministic.
    """
    values = matrix.values()
    terms = torch.index_select(dense, 0, matrix.col_indices())
    terms.mul_(values if dense.ndim == 1 else values[:, None])
    return torch.segment_reduce(terms, "sum", offsets=matrix.crow_indices(), axis=0, unsafe=True)


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    return reduce(torch.Tensor.add_, tensors)
