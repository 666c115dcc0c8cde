"""Weights of the rows, and strengths of the penalty, in the mini-batches of a batch of models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.runtime.device import full_precision
from skbinary.solvers.minibatch.setup import MiniBatchSetup


class EpochWeights(NamedTuple):
    """The weights of one epoch.

    Parameters
    ----------
    rows : Tensor of shape (n_models, n_rows) or None
        The weight of each row, in the order of the epoch. None if all are 1.
    scales : sequence of float or of Tensor of shape (n_models, n_rows_of_batch)
        For each batch, the factor of a row's loss in the mean loss.
    l2_strengths : sequence of Tensor of shape (n_models, 1)
        For each batch, the strength of the L2 penalty on the mean loss.
    """

    rows: Tensor | None
    scales: Sequence[float | Tensor]
    l2_strengths: Sequence[Tensor]


class BatchedWeights:
    """Computes the weights of every epoch of a batch of models.

    Parameters
    ----------
    setups : sequence of MiniBatchSetup
        How each model is trained.
    n_rows : int
        Number of rows of an epoch, with padding, which has the weight 0.

    Attributes
    ----------
    total_weights : list of float
        The weight of all rows of each model.
    """

    def __init__(self, setups: Sequence[MiniBatchSetup], n_rows: int):
        self._setups = setups
        self._n_rows = n_rows
        self._batch_size = setups[0].batch_size
        self.total_weights = [setup.dataset.total_weight for setup in setups]

    def set_models(self, active: Sequence[int], parameters: Tensor) -> None:
        """Set the models that are in training, with parameters (n_models, n_parameters)."""
        self._active = active
        self._like = parameters
        precision = full_precision(parameters.device)
        penalties = [self._setups[k].l2_penalty for k in active]
        strengths = [each.strength for each in penalties]
        self._strengths = torch.tensor(strengths, dtype=precision, device=parameters.device)
        self._max_strengths = self._strengths.new_tensor(
            [[each.max_strength] for each in penalties]
        )
        self._cached: EpochWeights | None = None

    def of_epoch(self, order_of: Callable[[int], Tensor]) -> EpochWeights:
        """Return the weights of an epoch.

        Parameters
        ----------
        order_of : callable(k) -> Tensor of shape (n_rows,)
            The rows of model `k`, in the order of the epoch.
        """
        if self._cached is not None:
            return self._cached
        rows = self._row_weights(order_of)
        scales, l2_strengths = self._scales_and_strengths(rows)
        if any(self._setups[k].dataset.weight is not None for k in self._active):
            return EpochWeights(rows, scales, l2_strengths)
        # The order does not matter, and all batches but the last one are equal.
        n_full = len(scales) - 1
        self._cached = EpochWeights(
            rows,
            [*[scales[0]] * n_full, scales[-1]],
            [*[l2_strengths[0]] * n_full, l2_strengths[-1]],
        )
        return self._cached

    def _row_weights(self, order_of: Callable[[int], Tensor]) -> Tensor | None:
        """Return the weight of each row, of shape (n_models, n_rows), or None if all are 1."""
        datasets = [self._setups[k].dataset for k in self._active]
        if all(each.weight is None and each.n_samples == self._n_rows for each in datasets):
            return None
        device = self._like.device
        n_samples = torch.tensor([each.n_samples for each in datasets], device=device)
        positions = torch.arange(self._n_rows, device=device)
        weights = (positions < n_samples[:, None]).to(self._like)
        for row, k, dataset in zip(weights, self._active, datasets, strict=True):
            if dataset.weight is not None:
                row.mul_(dataset.weight[order_of(k)])
        return weights

    def _scales_and_strengths(
        self, weights: Tensor | None
    ) -> tuple[Sequence[float | Tensor], Sequence[Tensor]]:
        """Return the factor of each row's loss and the strength of the penalty, per batch."""
        n, size = self._n_rows, self._batch_size
        if weights is None:
            n_rows = [float(min(size, n - start)) for start in range(0, n, size)]
            return [1 / each for each in n_rows], self._l2_strengths(n_rows)
        # The last batch is padded with weights of 0.
        n_batches = -(-n // size)
        exact = functional.pad(weights.to(self._strengths), (0, n_batches * size - n))
        exact = exact.view(len(weights), n_batches, size)
        totals = exact.sum(dim=2)
        scales = (exact / totals[..., None]).to(weights).flatten(1)[:, :n]
        return torch.split(scales, size, dim=1), self._l2_strengths(totals)

    def _l2_strengths(self, totals: Sequence[float] | Tensor) -> Sequence[Tensor]:
        """Return the strength of the penalty, of shape (n_models, 1), per batch.

        Parameters
        ----------
        totals : sequence of float of length n_batches, or Tensor of shape (n_models, n_batches)
            The weight of each batch.
        """
        strengths = self._strengths[:, None]

        def for_mean_loss(total: float | Tensor) -> Tensor:
            return (strengths / total).minimum(self._max_strengths).to(self._like)

        n_batches = totals.shape[1] if isinstance(totals, Tensor) else len(totals)
        if not self._setups[0].l2_penalty.per_batch:
            total_weights = [[self.total_weights[k]] for k in self._active]
            return [for_mean_loss(strengths.new_tensor(total_weights))] * n_batches
        if isinstance(totals, Tensor):
            return torch.split(for_mean_loss(totals), 1, dim=1)
        by_total = {total: for_mean_loss(total) for total in set(totals)}
        return [by_total[total] for total in totals]
