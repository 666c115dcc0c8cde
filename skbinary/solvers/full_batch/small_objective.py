"""The objective of a linear model on a small table, where calls cost more than arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.dataset import Dataset
from skbinary.data.rows import CenteredRows, DenseRows
from skbinary.data.streamed_dataset import StreamedDataset
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.objective import LinearObjective, LineFunction, SearchDirection
from skbinary.solvers.full_batch.streamed_objective import StreamedObjective

SMALL = 1 << 16  # number of values of the table


def linear_objective(
    model_batch: ModelBatch, dataset: Dataset, l2: float, pool: ThreadPool
) -> LinearObjective:
    """Return the objective in the form that suits the size of the table."""
    if isinstance(dataset, StreamedDataset):
        return StreamedObjective(model_batch, dataset, l2, pool)
    rows = dataset.rows
    is_dense = isinstance(rows, DenseRows | CenteredRows) and dataset.processes.is_one
    is_small = is_dense and rows.shape[0] * rows.shape[1] <= SMALL
    kind = SmallLinearObjective if is_small else LinearObjective
    return kind(model_batch, dataset, l2, pool)


class SmallLinearObjective(LinearObjective):
    """The same objective from fewer calls: one chunk, with the intercept as a column of ones."""

    def __init__(
        self, model_batch: ModelBatch, dataset: Dataset, l2: float, pool: ThreadPool | None = None
    ):
        values = dataset.rows.batch(slice(None)).dense()
        n_parameters = model_batch.parameters.shape[1]
        self._table = functional.pad(values, (0, n_parameters - dataset.n_features), value=1.0)
        self._columns = self._table.mT.contiguous()
        self._l2_per_parameter = model_batch.parameters.new_full((n_parameters,), l2)
        self._l2_per_parameter[dataset.n_features :] = 0.0
        row_share = torch.full_like(dataset.target, 1 / dataset.total_weight)
        self._row_share = row_share if dataset.weight is None else row_share * dataset.weight
        super().__init__(model_batch, dataset, l2, pool)

    def evaluate(self) -> None:
        """Evaluate the objective at the current parameters."""
        torch.mv(self._table, self.parameters, out=self._logits)
        self._set_loss_and_gradient(*self._loss_and_gradient(self._logits))

    def set_l2(self, l2: float) -> None:
        """Change the strength of the penalty, which changes no logit."""
        super().set_l2(l2)
        self._l2_per_parameter[: self.dataset.n_features] = l2

    def along(self, direction: Tensor) -> LineFunction:
        """Return the objective along a direction of shape (n_parameters,)."""
        torch.mv(self._table, direction, out=self._logit_changes)
        penalized = self._l2_per_parameter * direction
        penalty_slope = float(penalized @ self.parameters)
        penalty_curvature = float(penalized @ direction)
        self._direction = SearchDirection(
            direction, direction, 0.0, self._penalty, penalty_slope, penalty_curvature
        )
        self._last_trial = (0.0, self.loss, self.gradient)
        return LineFunction(self._evaluate_step, self.value, float(self.gradient @ direction))

    def _evaluate_step(self, step: float) -> tuple[float, float]:
        self.n_evaluations += 1
        direction = self._direction
        torch.add(self._logits, self._logit_changes, alpha=step, out=self._trial_logits)
        loss, gradient = self._loss_and_gradient(self._trial_logits)
        self._last_trial = (step, loss, gradient)
        return direction.add_penalty(step, loss, float(gradient @ direction.vector))

    def hessian(self, subset: Tensor | None = None) -> Tensor:
        """Compute the Hessian, as ``LinearObjective`` does."""
        probability = torch.sigmoid(self._logits)
        curvature = torch.sub(1.0, probability).mul_(probability).mul_(self._row_share)
        columns = self._columns if subset is None else self._columns[subset]
        hessian = (columns * curvature) @ columns.mT
        l2 = self._l2_per_parameter if subset is None else self._l2_per_parameter[subset]
        hessian.diagonal().add_(l2)
        return hessian

    def _loss_and_gradient(self, logits: Tensor) -> tuple[float, Tensor]:
        target = self.dataset.target
        residual = torch.sigmoid(logits).sub_(target).mul_(self._row_share)
        loss = functional.softplus(logits).sub_(target * logits) @ self._row_share
        return float(loss), torch.mv(self._columns, residual)

    def _set_loss_and_gradient(self, loss: float, gradient: Tensor) -> None:
        penalized = self._l2_per_parameter * self.parameters
        self.loss, self.gradient = loss, gradient.add_(penalized)
        self._penalty = float(penalized @ self.parameters) / 2
        self.value = loss + self._penalty
