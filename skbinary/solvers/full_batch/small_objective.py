"""The objective of a linear model on a table so small that calls cost more than numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.dataset import Dataset
from skbinary.data.rows import CenteredRows, DenseRows
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.objective import Direction, LinearObjective, LineFunction

SMALL = 1 << 16  # numbers in the table


def linear_objective(
    model_batch: ModelBatch, dataset: Dataset, l2: float, pool: ThreadPool
) -> LinearObjective:
    """Give the objective in the form that suits the size of the table."""
    rows = dataset.rows
    small = isinstance(rows, DenseRows | CenteredRows) and rows.shape[0] * rows.shape[1] <= SMALL
    kind = SmallLinearObjective if small else LinearObjective
    return kind(model_batch, dataset, l2, pool)


class SmallLinearObjective(LinearObjective):
    """The same numbers from fewer calls: one piece, and the intercept as a column of ones."""

    def __init__(
        self, model_batch: ModelBatch, dataset: Dataset, l2: float, pool: ThreadPool | None = None
    ):
        table = dataset.rows.batch(slice(None)).dense()
        n_constant = model_batch.parameters.shape[1] - dataset.n_features
        self._table = functional.pad(table, (0, n_constant), value=1.0)
        self._columns = self._table.mT.contiguous()
        self._strengths = model_batch.parameters.new_full((model_batch.parameters.shape[1],), l2)
        self._strengths[dataset.n_features :] = 0.0
        share = torch.full_like(dataset.target, 1 / dataset.total_weight)
        self._share = share if dataset.weight is None else share * dataset.weight
        super().__init__(model_batch, dataset, l2, pool)

    def evaluate(self) -> None:
        """Evaluate the objective where the parameters are now."""
        torch.mv(self._table, self.parameters, out=self._logits)
        self._arrive(*self._look(self._logits))

    def set_l2(self, l2: float) -> None:
        """Take another strength of the penalty, which moves no logit."""
        super().set_l2(l2)
        self._strengths[: self.dataset.n_features] = l2

    def along(self, direction: Tensor) -> LineFunction:
        """Look along a direction of shape (n_parameters,)."""
        torch.mv(self._table, direction, out=self._ahead)
        strong = self._strengths * direction
        cross, square = float(strong @ self.parameters), float(strong @ direction)
        self._direction = Direction(direction, direction, 0.0, self._penalty, cross, square)
        self._seen = (0.0, self.loss, self.gradient)
        return LineFunction(self._look_ahead, self.value, float(self.gradient @ direction))

    def _look_ahead(self, step: float) -> tuple[float, float]:
        self.n_evaluations += 1
        way = self._direction
        torch.add(self._logits, self._ahead, alpha=step, out=self._trial)
        loss, gradient = self._look(self._trial)
        self._seen = (step, loss, gradient)
        return way.with_penalty(step, loss, float(gradient @ way.direction))

    def hessian(self, chosen: Tensor | None = None) -> Tensor:
        """Give the second derivatives, as ``LinearObjective`` does."""
        share = torch.sigmoid(self._logits)
        importance = torch.sub(1.0, share).mul_(share).mul_(self._share)
        columns = self._columns if chosen is None else self._columns[chosen]
        strengths = self._strengths if chosen is None else self._strengths[chosen]
        hessian = (columns * importance) @ columns.mT
        hessian.diagonal().add_(strengths)
        return hessian

    def _look(self, logits: Tensor) -> tuple[float, Tensor]:
        """Give the mean loss and its gradient."""
        target = self.dataset.target
        residual = torch.sigmoid(logits).sub_(target).mul_(self._share)
        loss = functional.softplus(logits).sub_(target * logits) @ self._share
        return float(loss), torch.mv(self._columns, residual)

    def _arrive(self, loss: float, gradient: Tensor) -> None:
        strong = self._strengths * self.parameters
        self.loss, self.gradient = loss, gradient.add_(strong)
        self._penalty = float(strong @ self.parameters) / 2
        self.value = loss + self._penalty
