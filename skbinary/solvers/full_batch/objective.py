"""The training objective of a model: its value, gradient and Hessian, and its line function.

The objectives are means: ``sum(weight * loss) / sum(weight) + l2 / 2 * sum(weights ** 2)``. They
hold their value and gradient at the current parameters, which ``evaluate`` computes. ``along``
returns the objective along a direction, and ``move`` takes a step along it.
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

# The mean loss with all logits at zero, with a margin for rounding.
_LOSS_AT_ZERO = math.log(2) * (1 + 1e-9)


@dataclass(frozen=True)
class LineFunction:
    """The objective along a direction, as a function of the step length.

    Parameters
    ----------
    evaluate : callable(step) -> (value, slope)
        Returns the value and the derivative at a step length.
    value, slope : float
        The same at step length zero.
    """

    evaluate: Callable[[float], tuple[float, float]]
    value: float
    slope: float


class Objective(Protocol):
    """What a full-batch solver minimizes."""

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
class SearchDirection:
    """A direction in the parameters of a linear model, and the penalty along it.

    Parameters
    ----------
    vector : Tensor of shape (n_parameters,)
    weights : Tensor of shape (n_features,)
        The components of the weights.
    intercept : float
        The component of the intercept, or zero.
    penalty, penalty_slope, penalty_curvature : float
        The penalty and its first and second derivative along the direction, at step length zero.
    has_logits : bool, default=False
        Whether the change of the logits along the direction was computed.
    """

    vector: Tensor
    weights: Tensor
    intercept: float
    penalty: float
    penalty_slope: float
    penalty_curvature: float
    has_logits: bool = False

    def add_penalty(self, step: float, loss: float, slope: float) -> tuple[float, float]:
        """Add the penalty at a step length to the loss, and its slope to that of the loss."""
        penalty = (
            self.penalty + step * self.penalty_slope + step * step / 2 * self.penalty_curvature
        )
        return loss + penalty, slope + self.penalty_slope + step * self.penalty_curvature


class LinearObjective:
    """The objective of a linear model, which keeps the logits of all rows.

    Along a direction the logits change linearly. Each trial of a line search computes value and
    gradient in one pass over the rows, so an iteration whose first trial succeeds reads them once.

    Parameters
    ----------
    model_batch : ModelBatch
        One linear model, in the precision of the computation.
    dataset : Dataset
        The training rows.
    l2 : float
        Strength of the penalty.
    pool : ThreadPool or None, default=None
        Threads that share the rows. None for one thread.
    """

    def __init__(
        self, model_batch: ModelBatch, dataset: Dataset, l2: float, pool: ThreadPool | None = None
    ):
        self.model_batch = model_batch
        self.dataset = dataset
        self.l2 = l2
        self.pool = pool or ThreadPool(1)
        self.n_evaluations = 0
        self._processes = dataset.processes
        self._total_weight = dataset.total_weight
        self._logits = torch.empty_like(dataset.target)
        self._trial_logits = torch.empty_like(dataset.target)
        self._logit_changes = torch.empty_like(dataset.target)
        self._chunks = dataset.rows.chunks()

    @property
    def parameters(self) -> Tensor:
        """The current parameters, of shape (n_parameters,)."""
        return self.model_batch.parameters[0]

    def evaluate(self) -> None:
        """Evaluate the objective at the current parameters."""
        weights, intercept = self._split_intercept(self.parameters)

        def evaluate_chunk(chunk: slice) -> tuple[float, Tensor, Tensor]:
            batch = self.dataset.rows.batch(chunk)
            torch.add(batch @ weights, intercept, out=self._logits[chunk])
            return self._loss_and_slopes(self._logits, chunk, batch)

        self._set_loss_and_gradient(*self._sum_chunks(evaluate_chunk))

    def start(self) -> None:
        """Evaluate the objective at the current parameters, or at zero if that is better.

        The last solution can be a bad start on other rows: where all logits are far from zero, the
        loss has hardly any curvature.
        """
        self.evaluate()
        if not self.value <= _LOSS_AT_ZERO:
            self.parameters.zero_()
            self.evaluate()

    def set_l2(self, l2: float) -> None:
        """Change the strength of the penalty, which changes no logit."""
        n = self.dataset.n_features
        weights = self.parameters[:n]
        self.gradient[:n].add_(weights, alpha=l2 - self.l2)
        self._penalty = l2 / 2 * float(weights @ weights)
        self.l2, self.value = l2, self.loss + self._penalty

    def along(self, direction: Tensor) -> LineFunction:
        """Return the objective along a direction of shape (n_parameters,)."""
        ahead, intercept = self._split_intercept(direction)
        weights = self.parameters[: self.dataset.n_features]
        penalty_slope = self.l2 * float(weights @ ahead)
        penalty_curvature = self.l2 * float(ahead @ ahead)
        self._direction = SearchDirection(
            direction, ahead, intercept, self._penalty, penalty_slope, penalty_curvature
        )
        self._last_trial = (0.0, self.loss, self.gradient)
        return LineFunction(self._evaluate_step, self.value, float(self.gradient @ direction))

    def _evaluate_step(self, step: float) -> tuple[float, float]:
        """Return value and slope at a step length along the last direction."""
        self.n_evaluations += 1
        direction = self._direction
        has_logits = direction.has_logits

        def evaluate_chunk(chunk: slice) -> tuple[float, Tensor, Tensor]:
            batch = self.dataset.rows.batch(chunk)
            changes, trial_logits = self._logit_changes[chunk], self._trial_logits[chunk]
            if not has_logits:
                torch.add(batch @ direction.weights, direction.intercept, out=changes)
            torch.add(self._logits[chunk], changes, alpha=step, out=trial_logits)
            return self._loss_and_slopes(self._trial_logits, chunk, batch)

        loss, gradient = self._sum_chunks(evaluate_chunk)
        direction.has_logits = True
        self._last_trial = (step, loss, gradient)
        return direction.add_penalty(step, loss, float(gradient @ direction.vector))

    def move(self, step: float, direction: Tensor) -> None:
        """Take a step along the direction that was last passed to ``along``."""
        self.parameters.add_(direction, alpha=step)
        if self._last_trial[0] != step:
            self._evaluate_step(step)
        # The trial becomes the current point.
        self._logits, self._trial_logits = self._trial_logits, self._logits
        self._set_loss_and_gradient(*self._last_trial[1:])

    def hessian_diagonal(self) -> Tensor:
        """Return the diagonal of the Hessian, of shape (n_parameters,)."""
        diagonal = torch.zeros_like(self.parameters)
        n = self.dataset.n_features

        def evaluate_chunk(chunk: slice) -> tuple[Tensor, Tensor]:
            curvature = self._curvature(chunk)
            batch = self.dataset.rows.batch(chunk)
            return batch.weighted_squares(curvature), curvature.sum()

        for weights, intercept in self.pool.map(evaluate_chunk, self._chunks):
            diagonal[:n] += weights
            diagonal[n:] += intercept
        diagonal = self._processes.sum(diagonal)
        diagonal[:n] += self.l2
        return diagonal

    def gradient_rounding_errors(self) -> Tensor:
        """Bound the rounding error of each component of the gradient, to first order.

        A component is the sum of products of residuals with the values of a column. A residual is
        the difference of a probability and a target. It is rounded, and so is its logit, which is
        a sum of products itself (Higham, "Accuracy and stability of numerical algorithms", 2002,
        section 3.1).

        Returns
        -------
        Tensor of shape (n_parameters,)
        """
        n = self.dataset.n_features
        weights, intercept = self._split_intercept(self.parameters.abs())
        errors = torch.zeros_like(self.parameters)

        def evaluate_chunk(chunk: slice) -> tuple[Tensor, Tensor]:
            batch = self.dataset.rows.batch(chunk).abs()
            logit_sizes = (batch @ weights[:, None])[:, 0] + intercept
            # The sizes of the two terms of each residual, and of the terms of its logit.
            sizes = torch.sigmoid(self._logits[chunk]).add_(self.dataset.target[chunk])
            sizes = self._weighted(sizes, chunk).addcmul_(self._curvature(chunk), logit_sizes)
            return batch.transposed_matmul(sizes), sizes.sum()

        for weight_errors, intercept_error in self.pool.map(evaluate_chunk, self._chunks):
            errors[:n] += weight_errors
            errors[n:] += intercept_error
        errors = self._processes.sum(errors)
        errors[:n].add_(self.parameters[:n].abs(), alpha=self.l2)
        return errors.mul_(torch.finfo(errors.dtype).eps)

    def hessian(self, subset: Tensor | None = None) -> Tensor:
        """Compute the Hessian.

        Parameters
        ----------
        subset : Tensor of shape (n_subset,) or None, default=None
            Positions of some of the parameters, ascending. None for all.

        Returns
        -------
        Tensor of shape (n_subset, n_subset)
        """
        n, size = self.dataset.n_features, len(self.parameters)
        columns = None
        if subset is not None and len(subset) < size:
            size, columns = len(subset), subset[subset < n]
            n = len(columns)
        hessian = self.parameters.new_zeros(size, size)

        def evaluate_chunk(chunk: slice) -> tuple[Tensor, Tensor, Tensor]:
            batch = self.dataset.rows.batch(chunk)
            curvature = self._curvature(chunk)
            if columns is not None:
                batch = DenseBatch(torch.index_select(batch.dense(), 1, columns))
            cross = batch.transposed_matmul(curvature)
            return batch.weighted_gram(curvature), cross, curvature.sum()

        # A subset of the columns of sparse rows is made dense, one chunk at a time.
        rows = self.dataset.rows
        chunks = self._chunks if columns is None else row_chunks(*rows.shape, self.dataset.device)
        for gram, cross, corner in self.pool.map(evaluate_chunk, chunks):
            hessian[:n, :n] += gram
            if size > n:
                hessian[n, :n] += cross
                hessian[n, n] += corner
        hessian = self._processes.sum(hessian)
        hessian[:n, n:] = hessian[n:, :n].mT
        hessian.diagonal()[:n] += self.l2
        return hessian

    def _curvature(self, chunk: slice) -> Tensor:
        """Return the second derivative of each row's loss in its logit, p (1 - p), weighted."""
        logits = self._logits[chunk]
        return self._weighted(torch.sigmoid(logits).mul_(torch.sigmoid(-logits)), chunk)

    def _weighted(self, values: Tensor, chunk: slice) -> Tensor:
        """Multiply values of rows by the rows' share of the total weight, in place."""
        values.div_(self._total_weight)
        return values if self.dataset.weight is None else values.mul_(self.dataset.weight[chunk])

    def _split_intercept(self, vector: Tensor) -> tuple[Tensor, float]:
        """Split parameters into the weights and the intercept, which is zero if there is none."""
        n = self.dataset.n_features
        return vector[:n].contiguous(), float(vector[n]) if len(vector) > n else 0.0

    def _loss_and_slopes(
        self, logits: Tensor, chunk: slice, batch: Batch
    ) -> tuple[float, Tensor, Tensor]:
        """Compute a chunk's share of the mean loss, and of its gradient: weights and intercept."""
        logits, target = logits[chunk], self.dataset.target[chunk]
        residual = self._weighted(torch.sigmoid(logits).sub_(target), chunk)
        losses = functional.softplus(logits).sub_(target * logits)
        total = losses.sum() if self.dataset.weight is None else losses @ self.dataset.weight[chunk]
        return float(total) / self._total_weight, batch.transposed_matmul(residual), residual.sum()

    def _sum_chunks(
        self, evaluate_chunk: Callable[[slice], tuple[float, Tensor, Tensor]]
    ) -> tuple[float, Tensor]:
        """Sum the losses and gradients of all chunks, in their order, and of all processes."""
        n = self.dataset.n_features
        total, gradient = 0.0, torch.zeros_like(self.parameters)
        for loss, weights, intercept in self.pool.map(evaluate_chunk, self._chunks):
            total += loss
            gradient[:n] += weights
            gradient[n:] += intercept
        return self._processes.sum_loss(total, gradient)

    def _set_loss_and_gradient(self, loss: float, gradient: Tensor) -> None:
        """Set the loss and its gradient at the current parameters, and add the penalty."""
        weights = self.parameters[: self.dataset.n_features]
        self.loss, self.gradient = loss, gradient
        self._penalty = self.l2 / 2 * float(weights @ weights)
        self.value = loss + self._penalty
        gradient[: self.dataset.n_features].add_(weights, alpha=self.l2)


class NetworkObjective:
    """The objective of a network.

    Parameters
    ----------
    model_batch : ModelBatch
        One model, in the precision of the computation.
    dataset : Dataset
        The training rows.
    l2 : float
        Strength of the penalty.
    pool : ThreadPool or None, default=None
        Threads that share the rows. None for one thread.
    """

    def __init__(
        self, model_batch: ModelBatch, dataset: Dataset, l2: float, pool: ThreadPool | None = None
    ):
        self.model_batch = model_batch
        self.dataset = dataset
        self.l2 = l2
        self.pool = pool or ThreadPool(1)
        self.n_evaluations = 0
        self._thread_local = threading.local()
        self._total_weight = dataset.total_weight
        self._n_weights = model_batch.architecture.n_weights

    @property
    def parameters(self) -> Tensor:
        """The current parameters, of shape (n_parameters,)."""
        return self.model_batch.parameters[0]

    def evaluate(self) -> None:
        """Evaluate the objective at the current parameters."""
        self.loss, self.value, self.gradient = self._compute()

    def start(self) -> None:
        """Evaluate the objective at the current parameters."""
        self.evaluate()

    def along(self, direction: Tensor) -> LineFunction:
        """Return the objective along a direction of shape (n_parameters,)."""
        origin = self.parameters.clone()
        self._last_trial: dict[float, tuple[float, float, Tensor]] = {}
        self._origin = origin

        def evaluate(step: float) -> tuple[float, float]:
            torch.add(origin, direction, alpha=step, out=self.parameters)
            try:
                self._last_trial = {step: self._compute()}
            finally:  # KeyboardInterrupt may come in between
                self.parameters.copy_(origin)
            _, value, gradient = self._last_trial[step]
            return value, float(gradient @ direction)

        return LineFunction(evaluate, self.value, float(self.gradient @ direction))

    def move(self, step: float, direction: Tensor) -> None:
        """Take a step along the direction that was last passed to ``along``."""
        self.parameters.copy_(self._origin).add_(direction, alpha=step)
        trial = self._last_trial.get(step)
        self.loss, self.value, self.gradient = self._compute() if trial is None else trial

    def hessian_diagonal(self) -> None:
        """Return None: the Hessian of a network is not computed."""
        return

    def gradient_rounding_errors(self) -> None:
        """Return None: the rounding errors of the gradient of a network are not known."""
        return

    def _compute(self) -> tuple[float, float, Tensor]:
        """Compute loss, value and gradient at the current parameters."""
        self.n_evaluations += 1
        total = 0.0
        gradient = torch.zeros_like(self.parameters)
        for chunk_loss, chunk_gradient in self.pool.map(self._compute_chunk, self._chunks()):
            total += chunk_loss
            gradient += chunk_gradient
        total, gradient = self.dataset.processes.sum_loss(total, gradient)
        weights = self.parameters[: self._n_weights]
        loss = total / self._total_weight
        value = loss + self.l2 / 2 * float(weights @ weights)
        gradient /= self._total_weight
        gradient[: self._n_weights] += self.l2 * weights
        return loss, value, gradient

    def _compute_chunk(self, chunk: slice) -> tuple[float, Tensor]:
        # Each thread has its own buffers, and all share the parameters.
        if not hasattr(self._thread_local, "model_batch"):
            self._thread_local.model_batch = ModelBatch(
                self.model_batch.architecture, self.model_batch.parameters
            )
        model_batch: ModelBatch = self._thread_local.model_batch
        weight = None if self.dataset.weight is None else self.dataset.weight[chunk]
        batch = self.dataset.rows.batch(chunk)
        loss = model_batch.loss_and_gradient(batch, self.dataset.target[chunk], weight)
        return float(loss), model_batch.gradient[0].clone()

    def _chunks(self) -> list[slice]:
        # The layers take memory, too, and sparse rows take hardly any.
        values_per_row = self.model_batch.architecture.values_per_row
        if not isinstance(self.dataset.rows, SparseRows):
            values_per_row += self.dataset.n_features
        return row_chunks(self.dataset.n_samples, values_per_row, self.dataset.device)
