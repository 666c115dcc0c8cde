"""Newton's method for a linear model on fewer rows than features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.newton import SINGULAR, Newton
from skbinary.solvers.full_batch.small_objective import linear_objective
from skbinary.solvers.result import Progress, check_curvature


class DualNewton:
    """Newton steps among the weights that the rows span, which hold the penalized optimum.

    By the representer theorem (Kimeldorf and Wahba, "Some results on Tchebycheffian spline
    functions", 1971) the optimum is a combination of the rows. In an orthonormal basis of their
    span each row has as many coordinates as there are rows, loss and penalty keep their values,
    and what is left is a small dense problem. The wide rows are read to start, and when the weights
    of the features are looked at.

    Parameters
    ----------
    model_batch : ModelBatch
        One linear model, in the precision of the computation.
    dataset : Dataset
        The rows, fewer than their features.
    l2 : float
        Strength of the penalty, above 0.
    tol : float
        The largest absolute component of the gradient to stop at.
    pool : ThreadPool
        Shares out the work.
    """

    def __init__(
        self, model_batch: ModelBatch, dataset: Dataset, l2: float, tol: float, pool: ThreadPool
    ):
        self._stack = model_batch
        self._is_behind = False
        self.dataset = dataset
        self.l2 = l2
        self._rows = dataset.rows.batch(slice(0, dataset.n_samples))
        coordinates, self._basis = _orthonormal(self._rows.row_products())
        n = coordinates.shape[1]
        inner = ModelBatch(
            Architecture(n, fit_intercept=model_batch.architecture.fit_intercept),
            model_batch.parameters.new_zeros(
                1, n + model_batch.parameters.shape[1] - dataset.n_features
            ),
        )
        small = Dataset(DenseRows(coordinates, coordinates.dtype), dataset.target, dataset.weight)
        objective = linear_objective(inner, small, l2, pool)
        # A component of the gradient in the features is at most its length in the row space.
        self._newton = Newton(objective, tol / (n + 1) ** 0.5)

    @property
    def model_batch(self) -> ModelBatch:
        """The model, whose weights are worked out here from those in the row space."""
        if self._is_behind:
            inner, n = self._newton.model_batch.parameters[0], self._basis.shape[1]
            weights = self._rows.transposed_matmul(self._basis @ inner[:n, None])[:, 0]
            self._stack.parameters[0].copy_(torch.cat([weights, inner[n:]]))
            self._is_behind = False
        return self._stack

    def start(self) -> None:
        """Go to the point in the row space that is nearest to the parameters."""
        inner, parameters = self._newton.model_batch.parameters[0], self.model_batch.parameters[0]
        n = self.dataset.n_features
        logits = self._rows @ parameters[:n, None]
        inner.copy_(torch.cat([(self._basis.mT @ logits)[:, 0], parameters[n:]]))
        self._newton.start()

    def run_epoch(self) -> Progress:
        """Make one iteration."""
        progress = self._newton.run_epoch()
        self._is_behind = True
        length = float(self._newton.objective.gradient.norm())
        return replace(progress, gradient_norm=length)

    def on_plateau(self) -> bool:
        """Tell that training shall end when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Give what is remembered: nothing."""
        return {}


def _orthonormal(products: Tensor) -> tuple[Tensor, Tensor]:
    """Find an orthonormal basis of the span of rows from the products of all their pairs.

    Returns
    -------
    coordinates : Tensor of shape (n_rows, n_basis)
        The rows in the basis.
    combinations : Tensor of shape (n_rows, n_basis)
        What the basis is made of: its vectors are ``rows.mT @ combinations``.
    """
    check_curvature(products)
    factor, failed = torch.linalg.cholesky_ex(products)
    pivots, scale = factor.diagonal(), products.diagonal().sqrt()
    if not bool(failed) and bool((pivots > SINGULAR * scale).all()):
        one = torch.eye(len(products), dtype=products.dtype, device=products.device)
        return factor, torch.linalg.solve_triangular(factor.mT, one, upper=True)
    # Equal rows, or rows of zeros.
    values, vectors = torch.linalg.eigh(products)
    seen = values > SINGULAR**2 * values[-1].clamp(min=torch.finfo(values.dtype).tiny)
    if not bool(seen.any()):
        # All rows are zeros. One coordinate of zeros is kept, so that a problem is left to solve.
        zeros = torch.zeros_like(vectors[:, :1])
        return zeros, zeros
    roots, vectors = values[seen].sqrt(), vectors[:, seen]
    return vectors * roots, vectors / roots
