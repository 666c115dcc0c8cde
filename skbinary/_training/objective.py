"""The whole objective of a model: its value, its gradient, and how it runs along a line.

Both objectives are means: ``sum(weight * loss) / sum(weight) + l2 / 2 * sum(weights ** 2)``. They
stand at a point, ``parameters``; ``ray`` looks along a direction and ``move`` goes there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from skbinary._problem import Batch, DenseBatch, Problem, SparseRows, row_spans
from skbinary._stack import Stack
from skbinary._team import Team


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
    team : Team or None, default=None
        Shares out the rows. None for one thread.
    """

    def __init__(self, stack: Stack, problem: Problem, l2: float, team: Team | None = None):
        self.stack = stack
        self.problem = problem
        self.l2 = l2
        self.team = team or Team(1)
        self.n_evaluations = 0
        self._total_weight = problem.total_weight
        self._logits = torch.empty_like(problem.target)
        self._trial = torch.empty_like(problem.target)
        self._ahead = torch.empty_like(problem.target)
        self._residual = torch.empty_like(problem.target)
        self._spans = problem.rows.spans()
        self._pairs: Tensor | None = None
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

            def piece(span: slice) -> tuple[float, float]:
                torch.add(self._logits[span], self._ahead[span], alpha=step, out=self._trial[span])
                loss = self._evaluate(self._trial, span)
                return loss, float(self._residual[span] @ self._ahead[span])

            loss, slope = 0.0, 0.0
            for loss_part, slope_part in self.team.map(piece, self._spans):
                loss += loss_part
                slope += slope_part
            self._seen = (step, loss)
            penalty = self._penalty + step * cross + step * step / 2 * square
            return loss + penalty, slope + cross + step * square

        self._seen = (0.0, self.loss)
        return Along(at, self.value, float(self.gradient @ direction))

    def move(self, step: float, direction: Tensor) -> None:
        """Go along the direction of the last ray."""
        self.parameters.add_(direction, alpha=step)
        last, loss = self._seen
        if last == step:
            # What the last look has seen is where it goes.
            self._logits, self._trial = self._trial, self._logits
            self._arrive(loss)
        else:
            self._logits.add_(self._ahead, alpha=step)
            self._refresh()

    def curvature(self) -> Tensor:
        """Give the diagonal of the Hessian."""
        squares = torch.zeros_like(self.parameters)
        n = self.problem.n_features

        def piece(span: slice) -> tuple[Tensor, Tensor]:
            importance = self._importance(span)
            batch = self.problem.rows.batch(span)
            return _weighted_squares(batch, importance), importance.sum()

        for columns, constant in self.team.map(piece, self._spans):
            squares[:n] += columns
            squares[n:] += constant
        squares[:n] += self.l2
        return squares

    def hessian(self, chosen: Tensor | None = None) -> Tensor:
        """Give the second derivatives.

        Parameters
        ----------
        chosen : Tensor of shape (n_chosen,) or None, default=None
            Positions of the parameters that are asked about, ascending. None for all.

        Returns
        -------
        Tensor of shape (n_chosen, n_chosen)
        """
        n, size = self.problem.n_features, len(self.parameters)
        if chosen is not None and len(chosen) < size:
            size, chosen = len(chosen), chosen[chosen < n]
            n = len(chosen)
        else:
            chosen = None
        hessian = self.parameters.new_zeros(size, size)

        def piece(span: slice) -> tuple[Tensor, Tensor, Tensor]:
            batch = self.problem.rows.batch(span)
            importance = self._importance(span)
            if chosen is not None:
                batch = DenseBatch(torch.index_select(batch.dense(), 1, chosen))
            constant = batch.transposed_matmul(importance)
            return batch.square(importance), constant, importance.sum()

        # Where columns are chosen, sparse rows are made dense a span at a time.
        spans = self._spans if chosen is None else row_spans(*self.problem.rows.shape)
        for square, column, corner in self.team.map(piece, spans):
            hessian[:n, :n] += square
            if size > n:
                hessian[n, :n] += column
                hessian[n, n] += corner
        hessian[:n, n:] = hessian[n:, :n].mT
        hessian.diagonal()[:n] += self.l2
        return hessian

    def importance(self) -> Tensor:
        """Give the second derivative of the loss of each row in its logit."""
        return self._importance(slice(None))

    def product(self, columns: Tensor) -> Tensor:
        """Multiply the rows with a vector of shape (n_features,)."""
        out = torch.empty_like(self._logits)
        self._product(columns, out)
        return out

    def transposed_product(self, each: Tensor) -> Tensor:
        """Add the rows up, weighted by a vector of shape (n_samples,)."""
        total = each.new_zeros(self.problem.n_features)
        rows = self.problem.rows
        for part in self.team.map(lambda s: rows.batch(s).transposed_matmul(each[s]), self._spans):
            total += part
        return total

    def row_products(self) -> Tensor:
        """Give the products of all pairs of rows, of shape (n_samples, n_samples)."""
        if self._pairs is None:
            whole = self.problem.rows.batch(slice(0, self.problem.n_samples))
            self._pairs = whole.row_products()
        return self._pairs

    def _importance(self, span: slice) -> Tensor:
        # The second derivative of the loss in the logit, p (1 - p), weighted.
        logits = self._logits[span]
        share = torch.sigmoid(logits).mul_(torch.sigmoid(-logits)).div_(self._total_weight)
        return share if self.problem.weight is None else share.mul_(self.problem.weight[span])

    def _product(self, vector: Tensor, out: Tensor) -> None:
        n = self.problem.n_features
        columns = vector[:n].contiguous()
        constant = float(vector[n]) if len(vector) > n else 0.0

        def piece(span: slice) -> None:
            torch.add(self.problem.rows.batch(span) @ columns, constant, out=out[span])

        for _ in self.team.map(piece, self._spans):
            pass

    def _refresh(self) -> None:
        """Evaluate everything at the logits as they are now."""
        self._arrive(
            sum(self.team.map(lambda span: self._evaluate(self._logits, span), self._spans))
        )

    def _arrive(self, loss: float) -> None:
        """Take note of loss and gradient, once the residuals are those of this point."""
        n = self.problem.n_features
        self.loss = loss
        self._penalty = self.l2 / 2 * float(self.parameters[:n] @ self.parameters[:n])
        self.value = self.loss + self._penalty
        self.gradient = torch.zeros_like(self.parameters)

        def piece(span: slice) -> tuple[Tensor, Tensor]:
            residual = self._residual[span]
            return self.problem.rows.batch(span).transposed_matmul(residual), residual.sum()

        for columns, constant in self.team.map(piece, self._spans):
            self.gradient[:n] += columns
            self.gradient[n:] += constant
        self.gradient[:n].add_(self.parameters[:n], alpha=self.l2)

    def _evaluate(self, logits: Tensor, span: slice) -> float:
        """Leave the residuals of a span, and give its share of the mean loss."""
        here, target = logits[span], self.problem.target[span]
        residual = torch.sigmoid(here, out=self._residual[span])
        residual.sub_(target).div_(self._total_weight)
        each = functional.softplus(here).sub_(target * here)
        if self.problem.weight is None:
            return float(each.sum()) / self._total_weight
        weight = self.problem.weight[span]
        residual.mul_(weight)
        return float(each @ weight) / self._total_weight


def _weighted_squares(batch: Batch, importance: Tensor) -> Tensor:
    values = batch.values
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
    team : Team or None, default=None
        Shares out the rows. None for one thread.
    """

    def __init__(self, stack: Stack, problem: Problem, l2: float, team: Team | None = None):
        self.stack = stack
        self.problem = problem
        self.l2 = l2
        self.team = team or Team(1)
        self.n_evaluations = 0
        self._own = threading.local()
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
        total = 0.0
        gradient = torch.zeros_like(self.parameters)
        for loss, share in self.team.map(self._piece, self._spans()):
            total += loss
            gradient += share
        weights = self.parameters[: self._n_weights]
        loss = total / self._total_weight
        value = loss + self.l2 / 2 * float(weights @ weights)
        gradient /= self._total_weight
        gradient[: self._n_weights] += self.l2 * weights
        return loss, value, gradient

    def _piece(self, span: slice) -> tuple[float, Tensor]:
        # Each thread has buffers of its own, on the same parameters.
        if not hasattr(self._own, "stack"):
            self._own.stack = Stack(self.stack.architecture, self.stack.parameters)
        stack: Stack = self._own.stack
        weight = None if self.problem.weight is None else self.problem.weight[span]
        batch = self.problem.rows.batch(span)
        loss = stack.loss_and_gradient(batch, self.problem.target[span], weight)
        return float(loss), stack.gradient[0].clone()

    def _spans(self) -> list[slice]:
        # The hidden layers take memory, too, and sparse rows take next to none.
        n_numbers = sum(self.stack.architecture.hidden)
        if not isinstance(self.problem.rows, SparseRows):
            n_numbers += self.problem.n_features
        return row_spans(self.problem.n_samples, n_numbers)
