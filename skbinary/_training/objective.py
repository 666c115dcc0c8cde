"""The whole objective of a model: its value, its gradient, and how it runs along a line.

Both objectives are means: ``sum(weight * loss) / sum(weight) + l2 / 2 * sum(weights ** 2)``. They
stand at a point, ``parameters``; ``ray`` looks along a direction and ``move`` goes there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from skbinary._problem import Batch, Problem, SparseRows, row_spans
from skbinary._stack import Stack


@dataclass(frozen=True)
class Along:
    """The objective along a direction.

    Parameters
    ----------
    at : callable(step) -> (value, slope)
        Value and slope of the objective at a step length.
    value, slope : float
        The same where the ray begins.
    """

    at: Callable[[float], tuple[float, float]]
    value: float
    slope: float


class Objective(Protocol):
    """What a full-batch solver lowers."""

    parameters: Tensor
    loss: float
    value: float
    gradient: Tensor
    n_evaluations: int

    def ray(self, direction: Tensor) -> Along: ...

    def move(self, step: float, direction: Tensor) -> None: ...

    def curvature(self) -> Tensor | None: ...


class LinearObjective:
    """The objective of a linear model, which keeps its logits.

    Going along a direction moves the logits along a line, so a step of any length costs one
    product with the rows to look and one to learn the new gradient.

    Parameters
    ----------
    stack : Stack
        One linear model, in the precision of the computation.
    problem : Problem
        The rows.
    l2 : float
        Strength of the penalty.
    """

    def __init__(self, stack: Stack, problem: Problem, l2: float):
        self.stack = stack
        self.problem = problem
        self.l2 = l2
        self.n_evaluations = 0
        self._total_weight = problem.total_weight
        self._logits = torch.empty_like(problem.target)
        self._ahead = torch.empty_like(problem.target)
        self.restart()

    @property
    def parameters(self) -> Tensor:
        return self.stack.parameters[0]

    def restart(self) -> None:
        """Evaluate the objective where the parameters are now."""
        self._product(self.parameters, self._logits)
        self._refresh()

    def ray(self, direction: Tensor) -> Along:
        """Look along a direction of shape (n_parameters,)."""
        self._product(direction, self._ahead)
        n = self.problem.n_features
        cross = self.l2 * float(self.parameters[:n] @ direction[:n])
        square = self.l2 * float(direction[:n] @ direction[:n])

        def at(step: float) -> tuple[float, float]:
            self.n_evaluations += 1
            logits = torch.add(self._logits, self._ahead, alpha=step)
            loss = self._mean(functional.softplus(logits) - self.problem.target * logits)
            slope = self._mean((torch.sigmoid(logits) - self.problem.target) * self._ahead)
            penalty = self._penalty + step * cross + step * step / 2 * square
            return loss + penalty, slope + cross + step * square

        return Along(at, self.value, float(self.gradient @ direction))

    def move(self, step: float, direction: Tensor) -> None:
        """Go along the direction of the last ray."""
        self.parameters.add_(direction, alpha=step)
        self._logits.add_(self._ahead, alpha=step)
        self._refresh()

    def curvature(self) -> Tensor:
        """Give the diagonal of the Hessian."""
        importance = self._importance()
        squares = torch.zeros_like(self.parameters)
        n = self.problem.n_features
        for span in row_spans(*self.problem.rows.shape):
            batch = self.problem.rows.batch(span)
            squares[:n] += _weighted_squares(batch, importance[span])
        squares[:n] += self.l2
        squares[n:] = importance.sum()
        return squares

    def hessian(self) -> Tensor:
        """Give the second derivatives, of shape (n_parameters, n_parameters)."""
        n, importance = self.problem.n_features, self._importance()
        size = len(self.parameters)
        hessian = self.parameters.new_zeros(size, size)
        for span in row_spans(*self.problem.rows.shape):
            rows = self.problem.rows.batch(span).dense()
            scaled = rows * importance[span, None]
            hessian[:n, :n].addmm_(rows.mT, scaled)
            if size > n:
                hessian[n, :n] += scaled.sum(0)
        if size > n:
            hessian[:n, n] = hessian[n, :n]
            hessian[n, n] = importance.sum()
        hessian.diagonal()[:n] += self.l2
        return hessian

    def _importance(self) -> Tensor:
        # The second derivative of the loss in the logit, p (1 - p), weighted.
        share = torch.sigmoid(self._logits)
        share = share * torch.sigmoid(-self._logits) / self._total_weight
        return share if self.problem.weight is None else share * self.problem.weight

    def _product(self, vector: Tensor, out: Tensor) -> None:
        n = self.problem.n_features
        for span, batch in self.problem.rows.spans():
            out[span] = (batch @ vector[:n, None])[:, 0]
        if len(vector) > n:
            out += vector[n]

    def _refresh(self) -> None:
        n, target = self.problem.n_features, self.problem.target
        self._penalty = self.l2 / 2 * float(self.parameters[:n] @ self.parameters[:n])
        self.loss = self._mean(functional.softplus(self._logits) - target * self._logits)
        self.value = self.loss + self._penalty
        residual = (torch.sigmoid(self._logits) - target) / self._total_weight
        if self.problem.weight is not None:
            residual *= self.problem.weight
        self.gradient = torch.zeros_like(self.parameters)
        for span, batch in self.problem.rows.spans():
            self.gradient[:n] += batch.transposed_matmul(residual[span, None])[:, 0]
        self.gradient[:n] += self.l2 * self.parameters[:n]
        self.gradient[n:] = residual.sum()

    def _mean(self, each: Tensor) -> float:
        weight = self.problem.weight
        total = each.sum() if weight is None else each @ weight
        return float(total) / self._total_weight


def _weighted_squares(batch: Batch, importance: Tensor) -> Tensor:
    values: Tensor = batch.values  # type: ignore[attr-defined]  # both kinds of batch have it
    if values.layout != torch.sparse_csr:
        return importance @ values.square()
    lengths = torch.diff(values.crow_indices()).long()
    terms = values.values().square() * torch.repeat_interleave(importance, lengths)
    empty = terms.new_zeros(values.shape[1])
    return empty.index_add_(0, values.col_indices().long(), terms)


class NetworkObjective:
    """The objective of a network, evaluated anew wherever it is asked for.

    Parameters
    ----------
    stack : Stack
        One model, in the precision of the computation.
    problem : Problem
        The rows.
    l2 : float
        Strength of the penalty.
    """

    def __init__(self, stack: Stack, problem: Problem, l2: float):
        self.stack = stack
        self.problem = problem
        self.l2 = l2
        self.n_evaluations = 0
        self._total_weight = problem.total_weight
        self._n_weights = stack.architecture.n_weights
        self.restart()

    @property
    def parameters(self) -> Tensor:
        return self.stack.parameters[0]

    def restart(self) -> None:
        """Evaluate the objective where the parameters are now."""
        self.loss, self.value, self.gradient = self._evaluate()

    def ray(self, direction: Tensor) -> Along:
        """Look along a direction of shape (n_parameters,)."""
        origin = self.parameters.clone()
        self._seen: dict[float, tuple[float, float, Tensor]] = {}
        self._origin = origin

        def at(step: float) -> tuple[float, float]:
            torch.add(origin, direction, alpha=step, out=self.parameters)
            try:
                self._seen = {step: self._evaluate()}
            finally:  # Ctrl-C may come in between
                self.parameters.copy_(origin)
            _, value, gradient = self._seen[step]
            return value, float(gradient @ direction)

        return Along(at, self.value, float(self.gradient @ direction))

    def move(self, step: float, direction: Tensor) -> None:
        """Go along the direction of the last ray."""
        self.parameters.copy_(self._origin).add_(direction, alpha=step)
        seen = self._seen.get(step)
        self.loss, self.value, self.gradient = self._evaluate() if seen is None else seen

    def curvature(self) -> None:
        """Tell that the curvature of a network is not known."""
        return

    def _evaluate(self) -> tuple[float, float, Tensor]:
        self.n_evaluations += 1
        problem, stack = self.problem, self.stack
        total = 0.0
        gradient = torch.zeros_like(self.parameters)
        for span in self._spans():
            weight = None if problem.weight is None else problem.weight[span]
            batch = problem.rows.batch(span)
            total += float(stack.loss_and_gradient(batch, problem.target[span], weight))
            gradient += stack.gradient[0]
        weights = self.parameters[: self._n_weights]
        loss = total / self._total_weight
        value = loss + self.l2 / 2 * float(weights @ weights)
        gradient /= self._total_weight
        gradient[: self._n_weights] += self.l2 * weights
        return loss, value, gradient

    def _spans(self) -> list[slice]:
        # The hidden layers take memory, too, and sparse rows take next to none.
        n_numbers = sum(self.stack.architecture.hidden)
        if not isinstance(self.problem.rows, SparseRows):
            n_numbers += self.problem.n_features
        return list(row_spans(self.problem.n_samples, n_numbers))
