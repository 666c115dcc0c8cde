"""The objective of a linear model on rows that are read anew in each pass over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import torch
from torch import Tensor

from skbinary.data.dataset import Dataset
from skbinary.data.streamed_dataset import StreamedDataset
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.objective import LinearObjective, LineFunction

# Chunks of rows that are handed to the threads at a time, while the next ones are read.
_CHUNKS_AT_ONCE = 8
# Where a step is too long or too short, so many more step lengths share the next pass.
_N_TRIALS = 4


class StreamedObjective(LinearObjective):
    """The objective of a linear model, which keeps nothing of a row between two passes.

    Parameters
    ----------
    model_batch : ModelBatch
        One linear model, in the precision of the computation.
    dataset : StreamedDataset
        The training rows.
    l2 : float
        Strength of the penalty.
    pool : ThreadPool or None, default=None
        Threads that share the rows. None for one thread.

    Attributes
    ----------
    n_passes : int
        Number of passes over the rows so far.
    """

    dataset: StreamedDataset

    def __init__(
        self,
        model_batch: ModelBatch,
        dataset: StreamedDataset,
        l2: float,
        pool: ThreadPool | None = None,
    ):
        self.model_batch = model_batch
        self.dataset = dataset
        self.l2 = l2
        self.pool = pool or ThreadPool(1)
        self.n_evaluations = 0
        self.n_passes = 0
        self._total_weight = dataset.total_weight
        self._trials: dict[float, tuple[float, Tensor]] = {}

    def evaluate(self) -> None:
        """Evaluate the objective at the current parameters."""
        [loss_and_gradient] = self._loss_and_gradient([self.parameters])
        self._set_loss_and_gradient(*loss_and_gradient)

    def _evaluate_step(self, step: float) -> tuple[float, float]:
        """Return value and slope at a step length along the last direction."""
        self.n_evaluations += 1
        direction = self._direction
        if step not in self._trials:
            # Most often the first step is taken. If not, the next ones are bisected or doubled.
            steps = [step]
            if self._trials:
                factor = 0.5 if step < max(self._trials) else 2.0
                steps = [step * factor**i for i in range(_N_TRIALS)]
            points = [self.parameters + each * direction.vector for each in steps]
            self._trials.update(zip(steps, self._loss_and_gradient(points), strict=True))
        loss, gradient = self._trials[step]
        self._last_trial = (step, loss, gradient)
        return direction.add_penalty(step, loss, float(gradient @ direction.vector))

    def along(self, direction: Tensor) -> LineFunction:
        """Return the objective along a direction of shape (n_parameters,)."""
        self._trials = {}
        return super().along(direction)

    def move(self, step: float, direction: Tensor) -> None:
        """Take a step along the direction that was last passed to ``along``."""
        if self._last_trial[0] != step:
            self._evaluate_step(step)
        self.parameters.add_(direction, alpha=step)
        self._set_loss_and_gradient(*self._last_trial[1:])

    def hessian_diagonal(self) -> Tensor:
        """Return the diagonal of the Hessian, of shape (n_parameters,)."""
        [diagonal] = self._sum(lambda part: [part.hessian_diagonal()])
        diagonal[: self.dataset.n_features] += self.l2
        return diagonal

    def gradient_rounding_errors(self) -> Tensor:
        """Bound the rounding error of each component of the gradient, to first order."""
        [errors] = self._sum(lambda part: [part.gradient_rounding_errors()])
        weights = self.parameters[: self.dataset.n_features].abs()
        errors[: len(weights)] += torch.finfo(errors.dtype).eps * self.l2 * weights
        return errors

    def hessian(self, subset: Tensor | None = None) -> Tensor:
        """Compute the Hessian, as ``LinearObjective`` does."""
        [hessian] = self._sum(lambda part: [part.hessian(subset)])
        n = self.dataset.n_features
        n_penalized = n if subset is None else int((subset < n).sum())
        hessian.diagonal()[:n_penalized] += self.l2
        return hessian

    def _loss_and_gradient(self, points: Sequence[Tensor]) -> list[tuple[float, Tensor]]:
        """Compute the mean loss and its gradient at several points, in one pass."""

        def measure(part: LinearObjective) -> list[Tensor]:
            sums = []
            for point in points:
                part.model_batch = ModelBatch(part.model_batch.architecture, point[None])
                part.evaluate()
                sums += [point.new_tensor(part.loss), part.gradient]
            return sums

        sums = self._sum(measure, evaluates=False)
        return [(float(sums[i]), sums[i + 1]) for i in range(0, len(sums), 2)]

    def _sum(
        self, measure: Callable[[LinearObjective], list[Tensor]], *, evaluates: bool = True
    ) -> list[Tensor]:
        """Sum what is computed of each chunk of rows, in their order.

        Parameters
        ----------
        measure : callable(objective) -> list of Tensor
            Is passed the objective of a chunk without the penalty.
        evaluates : bool, default=True
            Whether that objective is evaluated at the current parameters before.
        """

        def measure_chunk(make: Callable[[], Dataset]) -> list[Tensor]:
            part = LinearObjective(self.model_batch, make(), 0.0)
            part._total_weight = self._total_weight
            if evaluates:
                part.evaluate()
            return measure(part)

        self.n_passes += 1
        sums: list[Tensor] = []
        chunks = self.dataset.chunks()
        while some := list(islice(chunks, _CHUNKS_AT_ONCE)):
            for new in self.pool.map(measure_chunk, some):
                sums = [a.add_(b) for a, b in zip(sums, new, strict=True)] if sums else new
        return sums
