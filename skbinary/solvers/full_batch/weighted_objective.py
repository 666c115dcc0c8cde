"""Losses and slopes of linear models on the same rows, under several row weights, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor

from skbinary.data.batches import Batch, DenseBatch
from skbinary.data.dataset import Dataset
from skbinary.runtime.threads import ThreadPool


class WeightedLosses:
    """Sums over rows of losses and their gradients, for several models under several weightings.

    Parameters
    ----------
    dataset : Dataset
        The rows and their targets.
    weights : Tensor of shape (n_weightings, n_samples)
        Weights of the rows, zero or more.
    """

    def __init__(self, dataset: Dataset, weights: Tensor):
        self.dataset = dataset
        self.weights = weights
        self._sign = 2 * dataset.target - 1

    def at(
        self,
        parameters: Tensor,
        models: Mapping[int, slice],
        dtype: torch.dtype,
        chunks: Sequence[slice],
        pool: ThreadPool,
    ) -> tuple[Tensor, Tensor]:
        """Go over the rows.

        Parameters
        ----------
        parameters : Tensor of shape (n_models, n_parameters)
        models : dict of int -> slice
            The models under each weighting, in their order.
        dtype : torch.dtype
            Precision of what is summed; the sums themselves have that of the parameters.
        chunks : sequence of slice
            How the rows are cut.
        pool : ThreadPool
            Shares out the spans.

        Returns
        -------
        losses : Tensor of shape (n_models,)
        gradients : Tensor of shape (n_models, n_parameters)
        """
        n = self.dataset.n_features
        rows, sign = self.dataset.rows.to(dtype), self._sign.to(dtype)
        columns = parameters[:, :n].mT.to(dtype).contiguous()
        constants = parameters[:, n].to(dtype) if parameters.shape[1] > n else None

        def piece(chunk: slice) -> list[tuple[slice, Tensor]]:
            batch, weight = rows.batch(chunk), self.weights[:, chunk].to(dtype)
            return [
                _share(batch, weight, sign[chunk], columns, constants, run)
                for run in _runs(weight, models)
            ]

        # Both in one table: who adds up keeps the others waiting.
        sums = parameters.new_zeros(len(parameters), parameters.shape[1] + 1)
        for shares in pool.map(piece, chunks):
            for own, share in shares:
                sums[own] += share
        return sums[:, -1], sums[:, :-1]


def _runs(weight: Tensor, models: Mapping[int, slice]) -> list[list[tuple[int, slice]]]:
    """Give runs of neighbouring weightings that know any of the rows.

    Where a fold leaves a span of rows out as a whole, its models have nothing to do there.
    """
    known = weight.any(dim=1).tolist()
    runs = groupby(models.items(), lambda each: known[each[0]])
    return [list(run) for is_known, run in runs if is_known]


def _share(
    batch: Batch,
    weight: Tensor,
    sign: Tensor,
    columns: Tensor,
    constants: Tensor | None,
    run: Sequence[tuple[int, slice]],
) -> tuple[slice, Tensor]:
    """Give what some rows add for neighbouring models: slopes, and the losses in the last column.

    The slopes in the intercepts, if there are any, come after those in the weights.
    """
    start, stop = run[0][1].start, run[-1][1].stop
    own = slice(start, stop)
    right = _logits(batch, columns[:, own], None if constants is None else constants[own])
    # The probability of the right label keeps its digits where it is small.
    torch.sigmoid(right.mul_(sign[:, None]), out=right)
    logs = torch.log(right)
    losses = []
    for weighting, models in run:
        block = slice(models.start - start, models.stop - start)
        each, part = weight[weighting], right[:, block]
        losses.append(logs[:, block].mT @ each)
        wrong = (-each * sign)[:, None]
        torch.addcmul(wrong, wrong, part, value=-1, out=part)
    slopes, loss = _slopes(batch, right), -torch.cat(losses)[:, None]
    if constants is None:
        return own, torch.cat([slopes, loss], dim=1)
    return own, torch.cat([slopes, right.sum(dim=0)[:, None], loss], dim=1)


# With the numbers of a model lying together, those of a weighting are one block, and products with
# few models take a half to a tenth of their time. Sparse products have one form.


def _logits(batch: Batch, columns: Tensor, constants: Tensor | None) -> Tensor:
    if not isinstance(batch, DenseBatch):
        logits = batch @ columns
        return logits if constants is None else logits.add_(constants)
    logits = columns.new_empty(columns.shape[1], batch.shape[0]).mT
    batch.affine_into(constants, columns, logits)
    return logits


def _slopes(batch: Batch, residual: Tensor) -> Tensor:
    if not isinstance(batch, DenseBatch):
        return batch.transposed_matmul(residual).mT
    return residual.mT @ batch.values
