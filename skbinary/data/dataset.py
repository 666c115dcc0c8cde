"""Training data on a device: rows, targets and weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skbinary.data.rows import Rows
from skbinary.runtime.processes import ALONE, Processes

# A penalty of 2 to this power makes all weights zero up to rounding; its products do not overflow.
_MAX_EXPONENT = 100


@dataclass(frozen=True)
class Dataset:
    """Rows with their targets and weights, and optionally validation rows.

    Parameters
    ----------
    rows : Rows
        The rows, of shape (n_samples, n_features).
    target : Tensor of shape (n_samples,)
        1 for the positive class, 0 for the other, in the precision of the computation.
    weight : Tensor of shape (n_samples,) or None
        Positive weights of the rows, divided by ``2 ** weight_exponent``. None if all are one.
    validation : Dataset or None, default=None
        The validation set, which is scored after every epoch and never trained on.
    score_weight : Tensor of shape (n_samples,) or None, default=None
        Weights of validation rows in the score, without class weights. Divided by a power of two.
    weight_exponent : int, default=0
        The exponent by which the weights were scaled, so that the largest is neither huge nor tiny.
    processes : Processes, default=ALONE
        The processes that hold the rows. These are the rows of this process.
    """

    rows: Rows
    target: Tensor
    weight: Tensor | None = None
    validation: Dataset | None = None
    score_weight: Tensor | None = None
    weight_exponent: int = 0
    processes: Processes = ALONE

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.rows.shape[0]

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.rows.shape[1]

    @property
    def device(self) -> torch.device:
        """Device of the targets and weights, on which batches are computed."""
        return self.target.device

    @property
    def total_weight(self) -> float:
        """Sum of the scaled weights, over the rows of all processes."""
        total = float(self.n_samples if self.weight is None else self.weight.double().sum())
        return self.processes.sum_number(total)

    @property
    def total_samples(self) -> int:
        """Number of rows of all processes."""
        return int(self.processes.sum_number(self.n_samples))

    def penalty(self, strength: float) -> float:
        """Return the strength of a penalty on the sum of losses with the scaled weights.

        Parameters
        ----------
        strength : float
            The strength on the sum of losses with the weights that the user passed.
        """
        return scale_penalty(strength, self.weight_exponent)

    def subsample(self, n_samples: int) -> Dataset:
        """Copy about so many evenly spaced rows."""
        step = self.total_samples // n_samples
        return self.take(self.processes.every_nth(self.n_samples, step).to(self.device))

    def take(self, index: Tensor) -> Dataset:
        """Copy some rows, without the validation set."""
        return self._select(self.rows.take(index), index)

    def view(self, index: Tensor) -> Dataset:
        """Select some rows as ``take`` does, but share the memory where possible."""
        return self._select(self.rows.view(index), index)

    def _select(self, rows: Rows, index: Tensor) -> Dataset:
        weight = None if self.weight is None else self.weight[index]
        score_weight = None if self.score_weight is None else self.score_weight[index]
        return Dataset(
            rows,
            self.target[index],
            weight,
            score_weight=score_weight,
            weight_exponent=self.weight_exponent,
            processes=self.processes,
        )


def scale_penalty(strength: float, weight_exponent: int) -> float:
    """Divide the strength of a penalty by the power of two that the weights were divided by."""
    mantissa, exponent = math.frexp(strength)
    return math.ldexp(mantissa, min(exponent - weight_exponent, _MAX_EXPONENT))
