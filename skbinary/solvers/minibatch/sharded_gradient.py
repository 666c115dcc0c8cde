"""The gradient of a mini-batch, computed in shards by several threads if the batch is large."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skbinary.data.batches import LayerInput, SplittableInput
from skbinary.models.make_batch import AnyBatch, make_batch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.minibatch.dropout import Dropout

# The smallest shard that is worth a thread: about a millisecond of multiplications, and enough rows
# for matrix products at full speed.
_MIN_SHARD_PRODUCTS, _MIN_SHARD_ROWS = 10_000_000, 256


class BatchSlice(NamedTuple):
    """The slices of the columns of an epoch, besides the features, that belong to one batch.

    Parameters
    ----------
    row_index : Tensor of shape (n_rows,)
        The rows of the training set.
    target : Tensor of shape (n_rows,)
        1 for the positive class, else 0.
    logits : Tensor of shape (n_rows, 1)
        Where the logits before the step are written.
    scale : float or Tensor of shape (n_rows,)
        Factor of the loss of each row in the mean loss of the batch.
    total_weight : float
        Weight of the batch.
    """

    row_index: Tensor
    target: Tensor
    logits: Tensor
    scale: float | Tensor
    total_weight: float

    def split(self, n_rows: int, n_shards: int) -> Iterable[BatchSlice]:
        """Split into shards of `n_rows` rows, of which the last may be smaller."""
        columns = (self.row_index, self.target, self.logits)
        scales = (
            torch.split(self.scale, n_rows)
            if isinstance(self.scale, Tensor)
            else [self.scale] * n_shards
        )
        shards = (torch.split(each, n_rows) for each in columns)
        return map(BatchSlice, *shards, scales, [self.total_weight] * n_shards)


class ShardedGradient:
    """Computes the gradient of a batch, in shards if the batch is large.

    Parameters
    ----------
    model_batch : ModelBatch or ModuleBatch
        A batch of one model, to which the gradient is written.
    dropout : Dropout or None
    pool : ThreadPool
        The threads that compute the shards.
    """

    def __init__(self, model_batch: AnyBatch, dropout: Dropout | None, pool: ThreadPool):
        self.model_batch = model_batch
        self.dropout = dropout
        self.pool = pool
        self._shard_models: list[tuple[AnyBatch, Dropout | None]] = []

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the state of the dropout of each shard."""
        return [each.snapshot() for _, each in self._shard_models if each is not None]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on with the dropout of the shards after a ``snapshot()``."""
        if self.dropout is None:
            return
        before = self.dropout.snapshot()  # the dropout of a shard is seeded by this one
        models = self.models_of_shards(len(state))
        self.dropout.restore(before)
        for (_, dropout), own in zip(models, state, strict=True):
            if dropout is not None:
                dropout.restore(own)

    def compute(self, batch: SplittableInput, rows: BatchSlice) -> None:
        """Write the gradient of the mean loss of a batch, and its logits to ``rows.logits``."""
        n_rows = len(rows.target)
        n_shards = self.n_shards_of(n_rows)
        if n_shards == 1:
            _forward_backward(self.model_batch, self.dropout, batch, rows)
            return
        size = -(-n_rows // n_shards)
        shards = zip(
            self.models_of_shards(n_shards),
            batch.split(size),
            rows.split(size, n_shards),
            strict=False,
        )
        total = self.model_batch.gradient.zero_()
        for gradient in self.pool.map(_gradient_of_shard, shards):
            total.add_(gradient)

    def n_shards_of(self, n_rows: int) -> int:
        """Return the number of shards of a batch."""
        # The size alone decides, so that the sums do not depend on the number of threads.
        architecture = self.model_batch.architecture
        if not architecture.is_row_wise or self.model_batch.parameters.device.type != "cpu":
            return 1
        n_products = n_rows * architecture.n_products
        return max(1, min(n_products // _MIN_SHARD_PRODUCTS, n_rows // _MIN_SHARD_ROWS))

    def models_of_shards(self, n_shards: int) -> list[tuple[AnyBatch, Dropout | None]]:
        """Return the model of each shard, which shares the parameters, and its dropout."""
        if n_shards == 1:
            return [(self.model_batch, self.dropout)]
        while len(self._shard_models) < n_shards:
            # The shards share the parameters; each has its own gradient and dropout masks.
            model_batch = make_batch(self.model_batch.architecture, self.model_batch.values)
            dropout = self.dropout and self.dropout.spawn()
            self._shard_models.append((model_batch, dropout))
        return self._shard_models[:n_shards]


def _gradient_of_shard(
    shard: tuple[tuple[AnyBatch, Dropout | None], LayerInput, BatchSlice],
) -> Tensor:
    (model_batch, dropout), batch, rows = shard
    _forward_backward(model_batch, dropout, batch, rows)
    return model_batch.gradient


def _forward_backward(
    model_batch: AnyBatch, dropout: Dropout | None, batch: LayerInput, rows: BatchSlice
) -> None:
    n_rows, masks = len(rows.target), None
    if dropout is not None:
        hidden = model_batch.architecture.hidden
        masks = dropout.draw(n_rows, hidden, model_batch.parameters)
    buffers = model_batch.buffers_for(n_rows)
    buffers.forward_backward(batch, rows.target, rows.scale, masks, rows.logits)
