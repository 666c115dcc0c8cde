"""The objective of a linear model on a table so small that calls cost more than numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from skbinary._problem import DenseRows, Problem
from skbinary._stack import Stack
from skbinary._team import Team
from skbinary._training.objective import Along, LinearObjective

_SMALL = 1 << 16  # numbers in the table


def linear_objective(stack: Stack, problem: Problem, l2: float, team: Team) -> LinearObjective:
    """Give the objective in the form that suits the size of the table."""
    rows = problem.rows
    small = isinstance(rows, DenseRows) and rows.shape[0] * rows.shape[1] <= _SMALL
    kind = SmallLinearObjective if small else LinearObjective
    return kind(stack, problem, l2, team)


class SmallLinearObjective(LinearObjective):
    """The same numbers from fewer calls: one piece, and the intercept as a column of ones."""

    def __init__(self, stack: Stack, problem: Problem, l2: float, team: Team | None = None):
        table = problem.rows.batch(slice(None)).dense()
        n_constant = stack.parameters.shape[1] - problem.n_features
        self._table = functional.pad(table, (0, n_constant), value=1.0)
        self._columns = self._table.mT.contiguous()
        self._strengths = stack.parameters.new_full((stack.parameters.shape[1],), l2)
        self._strengths[problem.n_features :] = 0.0
        share = torch.full_like(problem.target, 1 / problem.total_weight)
        self._share = share if problem.weight is None else share * problem.weight
        super().__init__(stack, problem, l2, team)

    def ray(self, direction: Tensor) -> Along:
        """Look along a direction of shape (n_parameters,)."""
        torch.mv(self._table, direction, out=self._ahead)
        strong = self._strengths * direction
        cross, square = float(strong @ self.parameters), float(strong @ direction)
        slope = float(self.gradient @ direction)

        def at(step: float) -> tuple[float, float]:
            self.n_evaluations += 1
            torch.add(self._logits, self._ahead, alpha=step, out=self._trial)
            loss = self._look(self._trial)
            slope = float(self._residual @ self._ahead)
            self._seen = (step, loss)
            penalty = self._penalty + step * cross + step * step / 2 * square
            return loss + penalty, slope + cross + step * square

        self._seen = (0.0, self.loss)
        return Along(at, self.value, slope)

    def hessian(self, chosen: Tensor | None = None) -> Tensor:
        """Give the second derivatives, as ``LinearObjective`` does."""
        share = torch.sigmoid(self._logits)
        importance = torch.sub(1.0, share).mul_(share).mul_(self._share)
        columns = self._columns if chosen is None else self._columns[chosen]
        strengths = self._strengths if chosen is None else self._strengths[chosen]
        hessian = (columns * importance) @ columns.mT
        hessian.diagonal().add_(strengths)
        return hessian

    def _product(self, vector: Tensor, out: Tensor) -> None:
        torch.mv(self._table[:, : len(vector)], vector, out=out)

    def _refresh(self) -> None:
        self._arrive(self._look(self._logits))

    def _look(self, logits: Tensor) -> float:
        """Leave the residuals, and give the mean loss."""
        target = self.problem.target
        torch.sigmoid(logits, out=self._residual).sub_(target).mul_(self._share)
        return float(functional.softplus(logits).sub_(target * logits) @ self._share)

    def _arrive(self, loss: float) -> None:
        strong = self._strengths * self.parameters
        self.loss = loss
        self._penalty = float(strong @ self.parameters) / 2
        self.value = loss + self._penalty
        self.gradient = torch.mv(self._columns, self._residual).add_(strong)
