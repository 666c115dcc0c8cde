"""The whole objective of a model: its value, its gradient, and how it runs along a line.

Both objectives are means: ``sum(weight * loss) / sum(weight) + l2 / 2 * sum(weights ** 2)``. They
stand at a point, ``parameters``, which ``restart`` evaluates; ``ray`` looks along a direction and
``move`` goes there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import Batch, DenseBatch
from skbinary.data.dataset import Dataset
from skbinary.data.rows import SparseRows
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.chunks import row_chunks
from skbinary.runtime.threads import ThreadPool

# The mean loss where all logits are zero, and a last digit more.
_LOSS_AT_ZERO = math.log(2) * (1 + 1e-9)


@dataclass(frozen=True)
class LineFunction:
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

    loss: float
    value: float
    gradient: Tensor
    n_evaluations: int

    @property
    def parameters(self) -> Tensor: ...

    def along(self, direction: Tensor) -> LineFunction: ...

    def move(self, step: float, direction: Tensor) -> None: ...

    def hessian_diagonal(self) -> Tensor | None: ...

    def gradient_rounding_errors(self) -> Tensor | None: ...

    def start(self) -> None: ...


@dataclass
class Direction:
    """A direction of a linear model, and the penalty along it.

    Parameters
    ----------
    direction : Tensor of shape (n_parameters,)
    columns : Tensor of shape (n_features,)
        Its part that goes with the columns.
    constant : float
        Its part that goes with the intercept.
    penalty, cross, square : float
        The penalty and its first and second derivative along the direction, where it begins.
    is_known : bool
        Whether the logits along the direction were computed.
    """

    direction: Tensor
    columns: Tensor
    constant: float
    penalty: float
    cross: float
    square: float
    is_known: bool = False

    def with_penalty(self, step: float, loss: float, slope: float) -> tuple[float, float]:
        """Add the penalty at a step to the loss there, and its slope to that of the loss."""
        penalty = self.penalty + step * self.cross + step * step / 2 * self.square
        return loss + penalty, slope + self.cross + step * self.square


class LinearObjective:
    """The objective of a linear model, which keeps its logits.

    Going along a direction moves the logits along a line. A look at a step learns value and
    gradient in one pass over the rows, so a step that is taken at once reads them once.

    Parameters
    ----------
    model_batch : ModelBatch
        One linear model, in the precision of the computation.
    dataset : Dataset
        The rows.
    l2 : float
        Strength of the penalty.
    pool : ThreadPool or None, default=None
        Shares out the rows. None for one thread.
    """

    def __init__(
        self, model_batch: ModelBatch, dataset: Dataset, l2: float, pool: ThreadPool | None = None
    ):
        self.model_batch = model_batch
        self.dataset = dataset
        self.l2 = l2
        self.pool = pool or ThreadPool(1)
        self.n_evaluations = 0
        self._total_weight = dataset.total_weight
        self._logits = torch.empty_like(dataset.target)
        self._trial = torch.empty_like(dataset.target)
        self._ahead = torch.empty_like(dataset.target)
        self._spans = dataset.rows.chunks()

    @property
    def parameters(self) -> Tensor:
        return self.model_batch.parameters[0]

    def evaluate(self) -> None:
        """Evaluate the objective where the parameters are now."""
        columns, constant = self._split(self.parameters)

        def piece(chunk: slice) -> tuple[float, Tensor, Tensor]:
            batch = self.dataset.rows.batch(chunk)
            torch.add(batch @ columns, constant, out=self._logits[chunk])
            return self._evaluate(self._logits, chunk, batch)

        self._arrive(*self._gather(piece))

    def start(self) -> None:
        """Evaluate the objective at the parameters, or at zero where that is better.

        The last solution can be a bad start on other rows: where all logits are far from zero, the
        loss has no curvature to step by.
        """
        self.evaluate()
        if not self.value <= _LOSS_AT_ZERO:
            self.parameters.zero_()
            self.evaluate()

    def set_l2(self, l2: float) -> None:
        """Take another strength of the penalty, which moves no logit."""
        n = self.dataset.n_features
        weights = self.parameters[:n]
        self.gradient[:n].add_(weights, alpha=l2 - self.l2)
        self._penalty = l2 / 2 * float(weights @ weights)
        self.l2, self.value = l2, self.loss + self._penalty

    def along(self, direction: Tensor) -> LineFunction:
        """Look along a direction of shape (n_parameters,)."""
        columns, constant = self._split(direction)
        weights = self.parameters[: self.dataset.n_features]
        cross = self.l2 * float(weights @ columns)
        square = self.l2 * float(columns @ columns)
        self._direction = Direction(direction, columns, constant, self._penalty, cross, square)
        self._seen = (0.0, self.loss, self.gradient)
        return LineFunction(self._look_ahead, self.value, float(self.gradient @ direction))

    def _look_ahead(self, step: float) -> tuple[float, float]:
        """Give value and slope at a step along the direction of the last ray."""
        self.n_evaluations += 1
        way = self._direction
        is_new = not way.is_known

        def piece(chunk: slice) -> tuple[float, Tensor, Tensor]:
            batch = self.dataset.rows.batch(chunk)
            if is_new:
                torch.add(batch @ way.columns, way.constant, out=self._ahead[chunk])
            torch.add(self._logits[chunk], self._ahead[chunk], alpha=step, out=self._trial[chunk])
            return self._evaluate(self._trial, chunk, batch)

        loss, gradient = self._gather(piece)
        way.is_known = True
        self._seen = (step, loss, gradient)
        return way.with_penalty(step, loss, float(gradient @ way.direction))

    def move(self, step: float, direction: Tensor) -> None:
        """Go along the direction of the last ray."""
        self.parameters.add_(direction, alpha=step)
        if self._seen[0] != step:
            self._look_ahead(step)
        # What the last look has seen is where it goes.
        self._logits, self._trial = self._trial, self._logits
        self._arrive(*self._seen[1:])

    def hessian_diagonal(self) -> Tensor:
        """Give the diagonal of the Hessian."""
        squares = torch.zeros_like(self.parameters)
        n = self.dataset.n_features

        def piece(chunk: slice) -> tuple[Tensor, Tensor]:
            importance = self._importance(chunk)
            batch = self.dataset.rows.batch(chunk)
            return batch.weighted_squares(importance), importance.sum()

        for columns, constant in self.pool.map(piece, self._spans):
            squares[:n] += columns
            squares[n:] += constant
        squares[:n] += self.l2
        return squares

    def gradient_rounding_errors(self) -> Tensor:
        """Bound the rounding error of each component of the gradient, to first order.

        A component is the sum of products of residuals with numbers of its column. A residual is
        the difference of a probability and a target, which is rounded, and so is the logit behind
        it, a sum of products itself (Higham, "Accuracy and stability of numerical algorithms",
        2002, section 3.1).

        Returns
        -------
        Tensor of shape (n_parameters,)
        """
        n = self.dataset.n_features
        columns, constant = self._split(self.parameters.abs())
        sums = torch.zeros_like(self.parameters)

        def piece(chunk: slice) -> tuple[Tensor, Tensor]:
            batch = self.dataset.rows.batch(chunk).abs()
            sizes = (batch @ columns[:, None])[:, 0] + constant
            terms = self._residual_terms(chunk).addcmul_(self._importance(chunk), sizes)
            return batch.transposed_matmul(terms), terms.sum()

        for weights, intercept in self.pool.map(piece, self._spans):
            sums[:n] += weights
            sums[n:] += intercept
        sums[:n].add_(self.parameters[:n].abs(), alpha=self.l2)
        return sums.mul_(torch.finfo(sums.dtype).eps)

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
        n, size = self.dataset.n_features, len(self.parameters)
        if chosen is not None and len(chosen) < size:
            size, chosen = len(chosen), chosen[chosen < n]
            n = len(chosen)
        else:
            chosen = None
        hessian = self.parameters.new_zeros(size, size)

        def piece(chunk: slice) -> tuple[Tensor, Tensor, Tensor]:
            batch = self.dataset.rows.batch(chunk)
            importance = self._importance(chunk)
            if chosen is not None:
                batch = DenseBatch(torch.index_select(batch.dense(), 1, chosen))
            constant = batch.transposed_matmul(importance)
            return batch.weighted_gram(importance), constant, importance.sum()

        # Where columns are chosen, sparse rows are made dense a span at a time.
        rows = self.dataset.rows
        chunks = self._spans if chosen is None else row_chunks(*rows.shape, self.dataset.device)
        for square, column, corner in self.pool.map(piece, chunks):
            hessian[:n, :n] += square
            if size > n:
                hessian[n, :n] += column
                hessian[n, n] += corner
        hessian[:n, n:] = hessian[n:, :n].mT
        hessian.diagonal()[:n] += self.l2
        return hessian

    def _importance(self, chunk: slice) -> Tensor:
        # The second derivative of the loss in the logit, p (1 - p), weighted.
        logits = self._logits[chunk]
        share = torch.sigmoid(logits).mul_(torch.sigmoid(-logits)).div_(self._total_weight)
        return share if self.dataset.weight is None else share.mul_(self.dataset.weight[chunk])

    def _residual_terms(self, chunk: slice) -> Tensor:
        # The sizes of the two numbers whose difference is a residual, weighted.
        terms = torch.sigmoid(self._logits[chunk]).add_(self.dataset.target[chunk])
        terms.div_(self._total_weight)
        return terms if self.dataset.weight is None else terms.mul_(self.dataset.weight[chunk])

    def _split(self, vector: Tensor) -> tuple[Tensor, float]:
        """Part the numbers that go with the columns from the one of the intercept."""
        n = self.dataset.n_features
        return vector[:n].contiguous(), float(vector[n]) if len(vector) > n else 0.0

    def _evaluate(self, logits: Tensor, chunk: slice, batch: Batch) -> tuple[float, Tensor, Tensor]:
        """Give a span's share of the mean loss, and of its slopes in the weights."""
        here, target = logits[chunk], self.dataset.target[chunk]
        residual = torch.sigmoid(here).sub_(target).div_(self._total_weight)
        each = functional.softplus(here).sub_(target * here)
        if self.dataset.weight is None:
            loss = float(each.sum()) / self._total_weight
        else:
            weight = self.dataset.weight[chunk]
            residual.mul_(weight)
            loss = float(each @ weight) / self._total_weight
        return loss, batch.transposed_matmul(residual), residual.sum()

    def _gather(
        self, piece: Callable[[slice], tuple[float, Tensor, Tensor]]
    ) -> tuple[float, Tensor]:
        """Add up what the spans give, in their order: the loss, and its gradient."""
        n = self.dataset.n_features
        total, gradient = 0.0, torch.zeros_like(self.parameters)
        for loss, columns, constant in self.pool.map(piece, self._spans):
            total += loss
            gradient[:n] += columns
            gradient[n:] += constant
        return total, gradient

    def _arrive(self, loss: float, gradient: Tensor) -> None:
        """Take note of the loss and its gradient at this point, and add the penalty's."""
        weights = self.parameters[: self.dataset.n_features]
        self.loss, self.gradient = loss, gradient
        self._penalty = self.l2 / 2 * float(weights @ weights)
        self.value = loss + self._penalty
        gradient[: self.dataset.n_features].add_(weights, alpha=self.l2)


class NetworkObjective:
    """The objective of a network, evaluated anew wherever it is asked for.

    Parameters
    ----------
    model_batch : ModelBatch
        One model, in the precision of the computation.
    dataset : Dataset
        The rows.
    l2 : float
        Strength of the penalty.
    pool : ThreadPool or None, default=None
        Shares out the rows. None for one thread.
    """

    def __init__(
        self, model_batch: ModelBatch, dataset: Dataset, l2: float, pool: ThreadPool | None = None
    ):
        self.model_batch = model_batch
        self.dataset = dataset
        self.l2 = l2
        self.pool = pool or ThreadPool(1)
        self.n_evaluations = 0
        self._own = threading.local()
        self._total_weight = dataset.total_weight
        self._n_weights = model_batch.architecture.n_weights

    @property
    def parameters(self) -> Tensor:
        return self.model_batch.parameters[0]

    def evaluate(self) -> None:
        """Evaluate the objective where the parameters are now."""
        self.loss, self.value, self.gradient = self._evaluate()

    def start(self) -> None:
        """Evaluate the objective at the parameters."""
        self.evaluate()

    def along(self, direction: Tensor) -> LineFunction:
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

        return LineFunction(at, self.value, float(self.gradient @ direction))

    def move(self, step: float, direction: Tensor) -> None:
        """Go along the direction of the last ray."""
        self.parameters.copy_(self._origin).add_(direction, alpha=step)
        seen = self._seen.get(step)
        self.loss, self.value, self.gradient = self._evaluate() if seen is None else seen

    def hessian_diagonal(self) -> None:
        """Tell that the curvature of a network is not known."""
        return

    def gradient_rounding_errors(self) -> None:
        """Return None: the rounding errors of the gradient of a network are not known."""
        return

    def _evaluate(self) -> tuple[float, float, Tensor]:
        self.n_evaluations += 1
        total = 0.0
        gradient = torch.zeros_like(self.parameters)
        for loss, share in self.pool.map(self._piece, self._spans()):
            total += loss
            gradient += share
        weights = self.parameters[: self._n_weights]
        loss = total / self._total_weight
        value = loss + self.l2 / 2 * float(weights @ weights)
        gradient /= self._total_weight
        gradient[: self._n_weights] += self.l2 * weights
        return loss, value, gradient

    def _piece(self, chunk: slice) -> tuple[float, Tensor]:
        # Each thread has buffers of its own, on the same parameters.
        if not hasattr(self._own, "model_batch"):
            self._own.model_batch = ModelBatch(
                self.model_batch.architecture, self.model_batch.parameters
            )
        model_batch: ModelBatch = self._own.model_batch
        weight = None if self.dataset.weight is None else self.dataset.weight[chunk]
        batch = self.dataset.rows.batch(chunk)
        loss = model_batch.loss_and_gradient(batch, self.dataset.target[chunk], weight)
        return float(loss), model_batch.gradient[0].clone()

    def _spans(self) -> list[slice]:
        # The hidden layers take memory, too, and sparse rows take next to none.
        n_numbers = sum(self.model_batch.architecture.hidden)
        if not isinstance(self.dataset.rows, SparseRows):
            n_numbers += self.dataset.n_features
        return row_chunks(self.dataset.n_samples, n_numbers, self.dataset.device)
