"""Newton's method for a linear model with more features than rows."""

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
    """Newton's method in the row space: the span of the rows, which contains the optimum.

    By the representer theorem (Kimeldorf and Wahba, "Some results on Tchebycheffian spline
    functions", 1971) the penalized optimum is a linear combination of the rows. In an orthonormal
    basis of their span each row has as many coordinates as there are rows, and loss and penalty
    keep their values, so a small dense problem is left. The wide rows are read at the start, and
    when the weights of the features are needed.

    Parameters
    ----------
    model_batch : ModelBatch
        One linear model, in the precision of the computation.
    dataset : Dataset
        The training rows, fewer than their features.
    l2 : float
        Strength of the penalty, above 0.
    tol : float
        Training stops when no component of the gradient exceeds this.
    pool : ThreadPool
        Threads that share the work.
    """

    def __init__(
        self, model_batch: ModelBatch, dataset: Dataset, l2: float, tol: float, pool: ThreadPool
    ):
        self._model_batch = model_batch
        self._is_outdated = False
        self.dataset = dataset
        self.l2 = l2
        self._batch = dataset.rows.batch(slice(0, dataset.n_samples))
        coordinates, self._combinations = _orthonormal_basis(self._batch.row_products())
        n = coordinates.shape[1]
        n_intercepts = model_batch.parameters.shape[1] - dataset.n_features
        row_space_model = ModelBatch(
            Architecture(n, fit_intercept=model_batch.architecture.fit_intercept),
            model_batch.parameters.new_zeros(1, n + n_intercepts),
        )
        rows = DenseRows(coordinates, coordinates.dtype)
        small_dataset = Dataset(rows, dataset.target, dataset.weight)
        objective = linear_objective(row_space_model, small_dataset, l2, pool)
        # No component of the gradient in the features exceeds its length in the row space.
        self._newton = Newton(objective, tol / (n + 1) ** 0.5)

    @property
    def model_batch(self) -> ModelBatch:
        """The model, with its weights computed from those in the row space."""
        if self._is_outdated:
            parameters, n = self._newton.model_batch.parameters[0], self._combinations.shape[1]
            weights = self._batch.transposed_matmul(self._combinations @ parameters[:n, None])
            self._model_batch.parameters[0].copy_(torch.cat([weights[:, 0], parameters[n:]]))
            self._is_outdated = False
        return self._model_batch

    def start(self) -> None:
        """Start at the point of the row space that is nearest to the current parameters."""
        parameters, n = self.model_batch.parameters[0], self.dataset.n_features
        logits = self._batch @ parameters[:n, None]
        weights = (self._combinations.mT @ logits)[:, 0]
        self._newton.model_batch.parameters[0].copy_(torch.cat([weights, parameters[n:]]))
        self._newton.start()

    def run_epoch(self) -> Progress:
        """Run one iteration."""
        progress = self._newton.run_epoch()
        self._is_outdated = True
        return replace(progress, gradient_norm=float(self._newton.objective.gradient.norm()))

    def on_plateau(self) -> bool:
        """Return True: training stops when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Return an empty state: nothing is kept between fits."""
        return {}


def _orthonormal_basis(products: Tensor) -> tuple[Tensor, Tensor]:
    """Compute an orthonormal basis of the span of rows from the products of all pairs of rows.

    Returns
    -------
    coordinates : Tensor of shape (n_rows, n_basis)
        The rows in the basis.
    combinations : Tensor of shape (n_rows, n_basis)
        The basis in terms of the rows: its vectors are ``rows.mT @ combinations``.
    """
    check_curvature(products)
    factor, info = torch.linalg.cholesky_ex(products)
    pivots, scale = factor.diagonal(), products.diagonal().sqrt()
    if not bool(info) and bool((pivots > SINGULAR * scale).all()):
        identity = torch.eye(len(products), dtype=products.dtype, device=products.device)
        return factor, torch.linalg.solve_triangular(factor.mT, identity, upper=True)
    # There are duplicate rows, or rows of zeros.
    eigenvalues, eigenvectors = torch.linalg.eigh(products)
    largest = eigenvalues[-1].clamp(min=torch.finfo(eigenvalues.dtype).tiny)
    kept = eigenvalues > SINGULAR**2 * largest
    if not bool(kept.any()):
        # All rows are zeros. A coordinate of zeros is kept, so that a problem is left to solve.
        zeros = torch.zeros_like(eigenvectors[:, :1])
        return zeros, zeros
    roots, eigenvectors = eigenvalues[kept].sqrt(), eigenvectors[:, kept]
    return eigenvectors * roots, eigenvectors / roots
