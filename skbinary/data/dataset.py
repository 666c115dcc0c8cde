"""What is learnt from: rows, targets and weights on a device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skbinary.data.rows import Rows

# A penalty this strong makes all weights zero up to rounding, and its products do not overflow.
_STRONGEST_EXPONENT = 100


@dataclass(frozen=True)
class Dataset:
    """What is learnt from: rows, targets, weights, and the rows that validate.

    Parameters
    ----------
    rows : Rows
        The rows, of shape (n_samples, n_features).
    target : Tensor of shape (n_samples,)
        1 for the positive class, 0 for the other, in the precision of the computation.
    weight : Tensor of shape (n_samples,) or None
        Positive weights of the rows, divided by ``2 ** weight_exponent``. None when they are all
        one.
    validation : Dataset or None
        Rows that are scored after every epoch and never trained on.
    score_weight : Tensor of shape (n_samples,) or None
        Weights of validation rows in their accuracy, which class weights do not touch. Divided by
        a power of two.
    weight_exponent : int
        Tells how weights were scaled, so that the largest is neither huge nor tiny.
    """

    rows: Rows
    target: Tensor
    weight: Tensor | None = None
    validation: Dataset | None = None
    score_weight: Tensor | None = None
    weight_exponent: int = 0

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
        """The sum of the scaled weights."""
        return float(self.n_samples if self.weight is None else self.weight.double().sum())

    def penalty(self, strength: float) -> float:
        """Return the strength of a penalty on the sum of losses with the scaled weights.

        Parameters
        ----------
        strength : float
            The strength on the sum of losses with the weights as they were given.
        """
        return scale_penalty(strength, self.weight_exponent)

    def take(self, index: Tensor) -> Dataset:
        """Cut out some rows, without the validation rows."""
        return self._with(self.rows.take(index), index)

    def view(self, index: Tensor) -> Dataset:
        """Cut out some rows as ``take`` does, but go on sharing memory where that can be."""
        return self._with(self.rows.view(index), index)

    def _with(self, rows: Rows, index: Tensor) -> Dataset:
        weight = None if self.weight is None else self.weight[index]
        score_weight = None if self.score_weight is None else self.score_weight[index]
        return Dataset(
            rows,
            self.target[index],
            weight,
            score_weight=score_weight,
            weight_exponent=self.weight_exponent,
        )


def scale_penalty(strength: float, weight_exponent: int) -> float:
    """Divide the strength of a penalty by the power of two that weights were divided by."""
    mantissa, exponent = math.frexp(strength)
    return math.ldexp(mantissa, min(exponent - weight_exponent, _STRONGEST_EXPONENT))
