"""Losses and gradients of linear models on the same rows with different weights, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor

from skbinary.data.batches import Batch, DenseBatch
from skbinary.data.dataset import Dataset
from skbinary.runtime.threads import ThreadPool


class WeightedLosses:
    """Sums of losses over rows, and their gradients, for several models and row weights.

    Parameters
    ----------
    dataset : Dataset
        The rows and their targets. Its weights are ignored.
    weights : Tensor of shape (n_weightings, n_samples)
        Weights of the rows, zero or more: one row of it for each weighting.
    """

    def __init__(self, dataset: Dataset, weights: Tensor):
        self.dataset = dataset
        self.weights = weights
        self._sign = 2 * dataset.target - 1

    def evaluate(
        self,
        parameters: Tensor,
        models: Mapping[int, slice],
        dtype: torch.dtype,
        chunks: Sequence[slice],
        pool: ThreadPool,
    ) -> tuple[Tensor, Tensor]:
        """Compute the sums at some parameters.

        Parameters
        ----------
        parameters : Tensor of shape (n_models, n_parameters)
        models : dict of int -> slice
            The models of each weighting, in their order.
        dtype : torch.dtype
            Precision of the terms; the sums have that of the parameters.
        chunks : sequence of slice
            The chunks of rows.
        pool : ThreadPool
            Threads that share the chunks.

        Returns
        -------
        losses : Tensor of shape (n_models,)
        gradients : Tensor of shape (n_models, n_parameters)
        """
        n = self.dataset.n_features
        rows, sign = self.dataset.rows.to(dtype), self._sign.to(dtype)
        coefficients = parameters[:, :n].mT.to(dtype).contiguous()
        intercepts = parameters[:, n].to(dtype) if parameters.shape[1] > n else None

        def evaluate_chunk(chunk: slice) -> list[tuple[slice, Tensor]]:
            batch, weight = rows.batch(chunk), self.weights[:, chunk].to(dtype)
            return [
                _evaluate_run(batch, weight, sign[chunk], coefficients, intercepts, run)
                for run in _runs_with_weight(weight, models)
            ]

        # One tensor for both, because the threads wait while the results are added.
        sums = parameters.new_zeros(len(parameters), parameters.shape[1] + 1)
        for results in pool.map(evaluate_chunk, chunks):
            for models_of_run, result in results:
                sums[models_of_run] += result
        return sums[:, -1], sums[:, :-1]


def _runs_with_weight(weight: Tensor, models: Mapping[int, slice]) -> list[list[tuple[int, slice]]]:
    """Return runs of adjacent weightings in which some of the rows have a weight.

    If a fold leaves out all rows of a chunk, its models have nothing to compute there.
    """
    has_weight = weight.any(dim=1).tolist()
    runs = groupby(models.items(), lambda each: has_weight[each[0]])
    return [list(run) for is_needed, run in runs if is_needed]


def _evaluate_run(
    batch: Batch,
    weight: Tensor,
    sign: Tensor,
    coefficients: Tensor,
    intercepts: Tensor | None,
    run: Sequence[tuple[int, slice]],
) -> tuple[slice, Tensor]:
    """Compute what some rows contribute for adjacent models.

    Returns
    -------
    models : slice
    sums : Tensor of shape (n_models, n_parameters + 1)
        The gradient, and the loss in the last column.
    """
    start, stop = run[0][1].start, run[-1][1].stop
    models = slice(start, stop)
    values = _logits(
        batch, coefficients[:, models], None if intercepts is None else intercepts[models]
    )
    # The probability of the true label keeps its digits where it is small.
    torch.sigmoid(values.mul_(sign[:, None]), out=values)
    logs = torch.log(values)
    losses = []
    for weighting, models_of_weighting in run:
        columns = slice(models_of_weighting.start - start, models_of_weighting.stop - start)
        row_weight, probability = weight[weighting], values[:, columns]
        losses.append(logs[:, columns].mT @ row_weight)
        # The probabilities become the weighted residuals.
        residual = (-row_weight * sign)[:, None]
        torch.addcmul(residual, residual, probability, value=-1, out=probability)
    gradients, loss = _gradients(batch, values), -torch.cat(losses)[:, None]
    if intercepts is None:
        return models, torch.cat([gradients, loss], dim=1)
    return models, torch.cat([gradients, values.sum(dim=0)[:, None], loss], dim=1)


# Logits are stored model by model: those of a weighting are then contiguous, and products with few
# models take a half to a tenth of the time. Products of sparse rows allow one layout only.


def _logits(batch: Batch, coefficients: Tensor, intercepts: Tensor | None) -> Tensor:
    if not isinstance(batch, DenseBatch):
        logits = batch @ coefficients
        return logits if intercepts is None else logits.add_(intercepts)
    logits = coefficients.new_empty(coefficients.shape[1], batch.shape[0]).mT
    batch.affine_into(intercepts, coefficients, logits)
    return logits


def _gradients(batch: Batch, residual: Tensor) -> Tensor:
    if not isinstance(batch, DenseBatch):
        return batch.transposed_matmul(residual).mT
    return residual.mT @ batch.values
