"""Quasi-Newton method for linear models on the same rows with several penalties and weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skbinary.data.dataset import Dataset
from skbinary.data.rows import SparseRows, centered
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.chunks import row_chunks
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.centered import shift_intercept
from skbinary.solvers.full_batch.line_search import SUFFICIENT_DECREASE
from skbinary.solvers.full_batch.newton import HessianSolver, Newton
from skbinary.solvers.full_batch.objective import LinearObjective
from skbinary.solvers.full_batch.rounding import ROUNDING
from skbinary.solvers.full_batch.small_objective import linear_objective
from skbinary.solvers.full_batch.weighted_objective import WeightedLosses
from skbinary.solvers.result import Progress, StopReason

_MEMORY = 6  # gradient differences that are kept; near the optimum a few are enough
_MIN_STEP = 2.0**-40
# The subsample on which the path is first followed: one row of so many, at least so many rows in
# all and for each feature. It is solved up to this tolerance, in at most so many steps.
_SUBSAMPLING, _MIN_ROWS, _ROWS_PER_FEATURE = 4, 2000, 10
_SUBSAMPLE_TOL, _MAX_SUBSAMPLE_STEPS = 1e-3, 12
# An optimum of the path is near another if the mean square of the change of the logits, times the
# variance of the labels, is less than this. The Hessian is then the same, too, and the error of a
# Newton step is smaller than the sampling error of the subsample.
_NEAR = 3e-3
# The subsample is used if the mean square of each column is within this factor of that of all rows.
_MAX_SCALE_RATIO = 1.5
# Rows are evaluated in float32 while the expected decrease exceeds this fraction of the objective,
# for which float32 is precise enough, and in at most so many iterations.
_FLOAT32_PRECISION, _MAX_FLOAT32_ITERATIONS = 1e-6, 6


class PathModel(NamedTuple):
    """One model of a path.

    Parameters
    ----------
    weighting : int
        Index of the row weights.
    l2 : float
        Strength of the penalty on the mean loss.
    tol : float
        Training stops when no component of the gradient exceeds this.
    """

    weighting: int
    l2: float
    tol: float


class PathNewton:
    """Quasi-Newton method for a batch of linear models, with one pass over the rows per iteration.

    First the path of penalties is followed on a subsample of the rows, each optimum being the start
    of the next. Its Hessians, one for each penalty, then serve all models, whatever their row
    weights: they differ little, and L-BFGS corrects the difference. Every model has its own step
    length, which is halved until its objective decreases. While the models are far from their
    optima, the rows are evaluated in float32.

    Parameters
    ----------
    architecture : Architecture
        A linear model.
    dataset : Dataset
        The rows, in the precision of the computation. Its weights are ignored.
    weights : Tensor of shape (n_weightings, n_samples)
        Weights of the rows, zero or more, such as zero for the rows that a fold holds out.
    models : sequence of PathModel
        The models.
    pool : ThreadPool
        Threads that share the rows.
    on_step : callable or None, default=None
        Called before every iteration. It may raise an exception to end the training.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        weights: Tensor,
        models: Sequence[PathModel],
        pool: ThreadPool,
        on_step: Callable[[], None] | None = None,
    ):
        self.architecture = architecture
        self._centered_rows = centered(dataset.rows) if architecture.fit_intercept else None
        if self._centered_rows is not None:
            dataset = replace(dataset, rows=self._centered_rows)
        self.dataset = dataset
        self.pool = pool
        self.on_step = on_step or (lambda: None)
        self._models = models
        self._weights = weights
        self._total_weights = weights.double().sum(dim=1).to(weights)
        self._weighted_losses = WeightedLosses(dataset, weights)
        # Models with the same row weights are adjacent.
        self._active = sorted(range(len(models)), key=lambda k: models[k].weighting)
        self._parameters: Tensor = weights.new_zeros(len(models), architecture.n_parameters)

    def start(self) -> None:
        """Follow the path on a subsample, and evaluate all models at the optima found there."""
        strengths = sorted({model.l2 for model in self._models}, reverse=True)
        optima = self._follow_path(self._subsample(), strengths)
        self._set_active(torch.stack([optima[self._models[k].l2] for k in self._active]))
        is_dense = not isinstance(self.dataset.rows, SparseRows)
        self._n_float32_left = _MAX_FLOAT32_ITERATIONS if is_dense else 0
        self._is_float32 = self._n_float32_left > 0
        self._losses, self._gradients = self._evaluate(self._parameters)
        self._step_lengths = torch.ones_like(self._losses)
        self._differences: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=_MEMORY)
        self._directions = -self._apply_inverse_hessians(self._gradients)

    def run_epoch(self) -> Mapping[int, Progress]:
        """Let each model take its step if that lowers its objective, and else halve the step."""
        self.on_step()
        moves = self._step_lengths[:, None] * self._directions
        trial = self._parameters + moves
        values = self._values(self._parameters, self._losses)
        expected = (self._gradients * moves).sum(dim=1)  # the change to first order
        was_float32 = self._is_float32
        rounding = _FLOAT32_PRECISION if was_float32 else ROUNDING
        self._n_float32_left -= 1
        is_far = bool((-expected > _FLOAT32_PRECISION * values.abs()).any())
        self._is_float32 = was_float32 and is_far and self._n_float32_left > 0
        losses, gradients = self._evaluate(trial)
        limit = values + SUFFICIENT_DECREASE * expected + rounding * values.abs()
        decreased = self._values(trial, losses) <= limit
        accepted = decreased[:, None]
        self._append_differences(
            torch.where(accepted, moves, 0), torch.where(accepted, gradients - self._gradients, 0)
        )
        self._parameters = torch.where(accepted, trial, self._parameters)
        self._losses = torch.where(decreased, losses, self._losses)
        self._gradients = torch.where(accepted, gradients, self._gradients)
        lengths = self._step_lengths
        self._step_lengths = torch.where(decreased, 1.0, lengths / 2)
        if was_float32 and not bool(decreased.all()):
            # The step may have failed because of rounding.
            self._is_float32 = False
            self._losses, self._gradients = self._evaluate(self._parameters)
            self._step_lengths, accepted = torch.ones_like(lengths), torch.ones_like(accepted)
        directions = -self._apply_inverse_hessians(self._gradients)
        self._directions = torch.where(accepted, directions, self._directions)
        return self._progress(torch.where(decreased, lengths, 0.0))

    def solver_of(self, k: int) -> _PathSolver:
        """Return a view of one model as a solver of its own."""
        return _PathSolver(self, k)

    def select(self, models: Sequence[int]) -> None:
        """Return None: the models of a path have no validation rows."""

    def remove(self, models: Collection[int]) -> None:
        """Remove models that are finished."""
        kept = [i for i, k in enumerate(self._active) if k not in models]
        if not kept or not models:
            return
        self._active = [self._active[i] for i in kept]
        self._set_active(self._parameters[kept])
        self._losses, self._step_lengths = self._losses[kept], self._step_lengths[kept]
        self._gradients, self._directions = self._gradients[kept], self._directions[kept]
        for i, difference in enumerate(self._differences):
            s, y, rho = difference
            self._differences[i] = (s[kept], y[kept], rho[kept])

    def parameters_of(self, k: int) -> Tensor:
        """Return the parameters of a model, of shape (1, n_parameters)."""
        i = self._active.index(k)
        parameters = self._parameters[i : i + 1]
        if self._centered_rows is None:
            return parameters
        return shift_intercept(parameters, -self._centered_rows.offset)

    def _follow_path(self, subsample: Dataset, strengths: Sequence[float]) -> dict[float, Tensor]:
        """Approximate the optima on the subsample, and keep a Hessian for each penalty.

        The rows are read at a few points of the path only. An optimum that is near one of them is
        reached by a Newton step, which reads no rows.
        """
        parameters = self._weights.new_zeros(1, self.architecture.n_parameters)
        model_batch = ModelBatch(self.architecture, parameters)
        objective = linear_objective(model_batch, subsample, strengths[0], self.pool)
        newton = Newton(objective, _SUBSAMPLE_TOL)
        newton.start()
        hessian = self._minimize(newton)
        optima: dict[float, Tensor] = {}
        self._solvers: dict[float, HessianSolver] = {}
        for l2 in strengths:
            self.on_step()
            hessian.diagonal()[: subsample.n_features] += l2 - objective.l2
            objective.set_l2(l2)
            solver, step = _newton_step(objective, hessian)
            if step is None:
                newton.resume(solver)
                hessian = self._minimize(newton)
                solver, step = _newton_step(objective, hessian)
            optima[l2] = parameters[0].clone() if step is None else parameters[0] + step
            self._solvers[l2] = solver
        return optima

    def _minimize(self, newton: Newton) -> Tensor:
        """Minimize the objective on the subsample roughly, and return the Hessian there."""
        objective, parameters = newton.objective, newton.model_batch.parameters
        for _ in range(_MAX_SUBSAMPLE_STEPS):
            if newton.run_epoch().stop_reason is not None:
                break
        if not bool(torch.isfinite(parameters).all()):
            parameters.zero_()
            objective.evaluate()
        return objective.hessian()

    def _subsample(self) -> Dataset:
        """Return evenly spaced rows with their mean weight over all models, or all rows.

        All rows are needed if the subsample lacks a class or misrepresents a column.
        """
        n_rows, n_features = self.dataset.rows.shape
        weight = (self._weights / self._total_weights[:, None]).mean(dim=0)
        n_sampled = max(n_rows // _SUBSAMPLING, _MIN_ROWS, _ROWS_PER_FEATURE * n_features)
        index = torch.arange(0, n_rows, max(1, n_rows // n_sampled), device=weight.device)
        subsample = self._take(index[weight[index] > 0], weight)
        whole = self._take(torch.nonzero(weight > 0)[:, 0], weight)
        return subsample if self._is_representative(subsample, whole) else whole

    def _take(self, index: Tensor, weight: Tensor) -> Dataset:
        dataset = self.dataset
        rows = dataset.rows if len(index) == dataset.n_samples else dataset.rows.take(index)
        return Dataset(rows, dataset.target[index], weight[index])

    def _is_representative(self, subsample: Dataset, whole: Dataset) -> bool:
        """Check that a subsample has both classes, and columns on the scale of all rows."""
        if subsample.n_samples == 0 or bool((subsample.target == subsample.target[0]).all()):
            return False
        sampled, all_rows = self._mean_squares(subsample), self._mean_squares(whole)
        ratio = _MAX_SCALE_RATIO
        return bool(((sampled <= ratio * all_rows) & (all_rows <= ratio * sampled)).all())

    def _mean_squares(self, dataset: Dataset) -> Tensor:
        weight = torch.ones_like(dataset.target) if dataset.weight is None else dataset.weight
        rows = dataset.rows
        squares = self.pool.map(
            lambda chunk: rows.batch(chunk).weighted_squares(weight[chunk]), rows.chunks()
        )
        return torch.stack(list(squares)).sum(dim=0) / weight.sum()

    def _set_active(self, parameters: Tensor) -> None:
        """Set the parameters of the active models, and index them by weighting and penalty."""
        active = [self._models[k] for k in self._active]
        self._parameters = parameters
        device = parameters.device
        self._weighting = torch.tensor([model.weighting for model in active], device=device)
        self._models_of_weighting: dict[int, slice] = {}
        for weighting, group in groupby(enumerate(active), lambda each: each[1].weighting):
            positions = [i for i, _ in group]
            self._models_of_weighting[weighting] = slice(positions[0], positions[-1] + 1)
        strengths = [model.l2 for model in active]
        self._l2 = parameters.new_tensor(strengths)
        self._models_of_l2 = {
            l2: torch.tensor([i for i, other in enumerate(strengths) if other == l2], device=device)
            for l2 in dict.fromkeys(strengths)
        }

    def _evaluate(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean losses, and the gradients of the objectives."""
        n = self.dataset.n_features
        dtype = torch.float32 if self._is_float32 else parameters.dtype
        losses, gradients = self._weighted_losses.evaluate(
            parameters, self._models_of_weighting, dtype, self._chunks(), self.pool
        )
        totals = self._total_weights[self._weighting]
        gradients /= totals[:, None]
        gradients[:, :n].addcmul_(self._l2[:, None], parameters[:, :n])
        return losses / totals, gradients

    def _chunks(self) -> list[slice]:
        # Besides its features a row has two values for each model.
        rows = self.dataset.rows
        if isinstance(rows, SparseRows):
            return rows.chunks()
        width = rows.shape[1] + 2 * len(self._active)
        values_per_row = -(-width // 2) if self._is_float32 else width
        return row_chunks(rows.shape[0], values_per_row, self.dataset.device)

    def _values(self, parameters: Tensor, losses: Tensor) -> Tensor:
        squares = parameters[:, : self.dataset.n_features].square().sum(dim=1)
        return losses + self._l2 / 2 * squares

    def _append_differences(self, s: Tensor, y: Tensor) -> None:
        """Add differences of the parameters and of the gradients, of shape (n_models, n)."""
        dots, squares = (s * y).sum(dim=1), y.square().sum(dim=1)
        is_positive = dots > torch.finfo(y.dtype).eps * squares
        rho = torch.where(is_positive, 1 / torch.where(is_positive, dots, 1.0), 0.0)
        self._differences.append((s, y, rho[:, None]))

    def _apply_inverse_hessians(self, vectors: Tensor) -> Tensor:
        """Multiply by the approximate inverse Hessians: the two-loop recursion for all models."""
        vectors, alphas = vectors.clone(), []
        for s, y, rho in reversed(self._differences):
            alphas.append(rho * (s * vectors).sum(dim=1, keepdim=True))
            vectors -= alphas[-1] * y
        for l2, models in self._models_of_l2.items():
            vectors[models] = self._solvers[l2].solve(vectors[models].mT).mT
        for (s, y, rho), alpha in zip(self._differences, reversed(alphas), strict=True):
            vectors += (alpha - rho * (y * vectors).sum(dim=1, keepdim=True)) * s
        return vectors

    def _progress(self, lengths: Tensor) -> dict[int, Progress]:
        """Report the accepted step lengths and the current point, model by model."""
        values = self._values(self._parameters, self._losses)
        gradient_norms = self._gradients.abs().amax(dim=1)
        # Half the squared Newton decrement estimates how far a value is above its optimum.
        decrements = -(self._gradients * self._directions).sum(dim=1) / 2
        columns = torch.stack(
            [self._losses, values, lengths, gradient_norms, decrements, self._step_lengths]
        )
        progress = {}
        for k, numbers in zip(self._active, columns.mT.tolist(), strict=True):
            loss, value, length, gradient_norm, decrement, next_length = numbers
            tol, reason = self._models[k].tol, None
            if gradient_norm <= tol and decrement <= tol and not self._is_float32:
                reason = StopReason.CONVERGED
            elif next_length < _MIN_STEP:
                reason = StopReason.LINE_SEARCH
            progress[k] = Progress(loss, value, length, gradient_norm, reason)
        return progress


def _newton_step(
    objective: LinearObjective, hessian: Tensor
) -> tuple[HessianSolver, Tensor | None]:
    """Factorize a Hessian, and return the step to the optimum, or None if that is not near."""
    solver = HessianSolver(hessian)
    step = -solver.solve(objective.gradient)
    return solver, step if float(step @ hessian @ step) < _NEAR else None


class _PathSolver:
    """A view of one model of a path as a solver of its own."""

    def __init__(self, path: PathNewton, k: int):
        self._path = path
        self._k = k
        self.dataset = path.dataset

    @property
    def model_batch(self) -> ModelBatch:
        """A batch of one model, on a copy of its parameters."""
        return ModelBatch(self._path.architecture, self._path.parameters_of(self._k).clone())

    def start(self) -> None:
        """Do nothing: the whole path is started at once."""

    def run_epoch(self) -> Progress:
        """Run one iteration of all models."""
        return self._path.run_epoch()[self._k]

    def on_plateau(self) -> bool:
        """Return True: training stops when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Return an empty state: nothing is kept between fits."""
        return {}
