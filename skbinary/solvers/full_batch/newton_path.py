"""Linear models on the same rows, under several penalties and row weights, side by side."""

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
from skbinary.solvers.full_batch.centered import shifted
from skbinary.solvers.full_batch.line_search import SUFFICIENT
from skbinary.solvers.full_batch.newton import HessianSolver, Newton
from skbinary.solvers.full_batch.objective import LinearObjective
from skbinary.solvers.full_batch.rounding import ROUNDING
from skbinary.solvers.full_batch.small_objective import linear_objective
from skbinary.solvers.full_batch.weighted_objective import WeightedLosses
from skbinary.solvers.result import Progress, StopReason

_MEMORY = 6  # changes of the gradient that are kept; near the optimum a few are enough
_SHORTEST_STEP = 2.0**-40
# The part of the rows on which the path is found first: enough to come near, cheap to go over.
_PART, _LEAST_ROWS, _ROWS_PER_FEATURE, _ROUGH, _MOST_ROUGH_STEPS = 4, 2000, 10, 1e-3, 12
# A point of the path is near another while the mean square of the change of the logits, times the
# variance of the labels, is less than this. The Hessian is then the same, too, and what a step of
# Newton's misses is less than what a part of the rows does not know.
_NEAR = 3e-3
# How far the mean square of a column may be from that of all rows, as a factor.
_ALIKE = 1.5
# Rows are gone over in float32 while steps promise more than this share of a value, for which that
# is exact enough, and not more often than that.
_SINGLE, _MOST_IN_SINGLE = 1e-6, 6


class PathModel(NamedTuple):
    """One model of a path.

    Parameters
    ----------
    weighting : int
        Which weights the rows have.
    l2 : float
        Strength of the penalty, as a share of the mean objective.
    tol : float
        The largest absolute component of the gradient to stop at.
    """

    weighting: int
    l2: float
    tol: float


class PathNewton:
    """Quasi-Newton steps for linear models on the same rows, with one pass an iteration for all.

    First the path of penalties is followed on a part of the rows, each optimum being the start of
    the next. Its Hessians, one for each penalty, then serve all models, whatever their row
    weights: they differ little, and L-BFGS mends what is amiss. Every model has a step length of
    its own, halved until its objective falls. While the models are far from their optima, float32
    tells well enough where to go.

    Parameters
    ----------
    architecture : Architecture
        A linear model.
    dataset : Dataset
        The rows, in the precision of the computation. Its weights do not count.
    weights : Tensor of shape (n_weightings, n_samples)
        Weights of the rows, zero or more: folds, for example, that leave rows out.
    points : sequence of PathModel
        The models.
    pool : ThreadPool
        Shares out the rows.
    on_step : callable or None, default=None
        Called before every iteration, to raise what shall end the training.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        weights: Tensor,
        points: Sequence[PathModel],
        pool: ThreadPool,
        on_step: Callable[[], None] | None = None,
    ):
        self.architecture = architecture
        self._centered = centered(dataset.rows) if architecture.fit_intercept else None
        if self._centered is not None:
            dataset = replace(dataset, rows=self._centered)
        self.dataset = dataset
        self.pool = pool
        self.on_step = on_step or (lambda: None)
        self._points = points
        self._weights = weights
        self._totals = weights.double().sum(dim=1).to(weights)
        self._sums = WeightedLosses(dataset, weights)
        # Neighbours have the same row weights.
        self._live = sorted(range(len(points)), key=lambda k: points[k].weighting)
        self._parameters: Tensor = weights.new_zeros(len(points), architecture.n_parameters)

    def start(self) -> None:
        """Follow the path on a part of the rows, and evaluate all models where that leads."""
        found = self._follow(self._part(), sorted({p.l2 for p in self._points}, reverse=True))
        self._settle(torch.stack([found[self._points[k].l2] for k in self._live]))
        dense = not isinstance(self.dataset.rows, SparseRows)
        self._n_in_single = _MOST_IN_SINGLE if dense else 0
        self._is_single = self._n_in_single > 0
        self._losses, self._gradients = self._evaluate(self._parameters)
        self._steps = torch.ones_like(self._losses)
        self._changes: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=_MEMORY)
        self._directions = -self._times_inverse(self._gradients)

    def run_epoch(self) -> Mapping[int, Progress]:
        """Let every model take its step if that lowers its objective, or halve it."""
        self.on_step()
        moves = self._steps[:, None] * self._directions
        trial = self._parameters + moves
        before = self._values(self._parameters, self._losses)
        promised = (self._gradients * moves).sum(dim=1)
        was_single = self._is_single
        rounding = _SINGLE if was_single else ROUNDING
        self._n_in_single -= 1
        far = bool((-promised > _SINGLE * before.abs()).any())
        self._is_single = was_single and far and self._n_in_single > 0
        losses, gradients = self._evaluate(trial)
        values = self._values(trial, losses)
        lowers = values <= before + SUFFICIENT * promised + rounding * before.abs()
        taken = lowers[:, None]
        self._remember(
            torch.where(taken, moves, 0), torch.where(taken, gradients - self._gradients, 0)
        )
        self._parameters = torch.where(taken, trial, self._parameters)
        self._losses = torch.where(lowers, losses, self._losses)
        self._gradients = torch.where(taken, gradients, self._gradients)
        lengths = self._steps
        self._steps = torch.where(lowers, 1.0, lengths / 2)
        if was_single and not bool(lowers.all()):
            # It may be rounding that kept them from going on.
            self._is_single = False
            self._losses, self._gradients = self._evaluate(self._parameters)
            self._steps, taken = torch.ones_like(lengths), torch.ones_like(taken)
        directions = -self._times_inverse(self._gradients)
        self._directions = torch.where(taken, directions, self._directions)
        return self._progress(torch.where(lowers, lengths, 0.0))

    def solver_of(self, k: int) -> _Alone:
        """Give one model as if it were alone."""
        return _Alone(self, k)

    def select(self, models: Sequence[int]) -> None:
        """Leave them to be scored one by one: a path has no validation rows."""

    def remove(self, done: Collection[int]) -> None:
        """Let models leave that are done."""
        kept = [i for i, k in enumerate(self._live) if k not in done]
        if not kept or not done:
            return
        self._live = [self._live[i] for i in kept]
        self._settle(self._parameters[kept])
        self._losses, self._steps = self._losses[kept], self._steps[kept]
        self._gradients, self._directions = self._gradients[kept], self._directions[kept]
        for i, (change, bend, curve) in enumerate(self._changes):
            self._changes[i] = (change[kept], bend[kept], curve[kept])

    def parameters_of(self, k: int) -> Tensor:
        """Give the parameters of a model, of shape (1, n_parameters)."""
        i = self._live.index(k)
        own = self._parameters[i : i + 1]
        return own if self._centered is None else shifted(own, -self._centered.offset)

    def _follow(self, part: Dataset, strengths: Sequence[float]) -> dict[float, Tensor]:
        """Come near the optima of a part of the rows, and keep a Hessian for each.

        The rows are gone over at a few points of the path. What lies near one of them is a step of
        Newton's away, which reads no rows.
        """
        flat = self._weights.new_zeros(1, self.architecture.n_parameters)
        model_batch = ModelBatch(self.architecture, flat)
        newton = Newton(linear_objective(model_batch, part, strengths[0], self.pool), _ROUGH)
        newton.start()
        hessian = self._approach(newton)
        found: dict[float, Tensor] = {}
        self._solvers: dict[float, HessianSolver] = {}
        for l2 in strengths:
            self.on_step()
            hessian.diagonal()[: part.n_features] += l2 - newton.objective.l2
            newton.objective.set_l2(l2)
            solver, change = _aim(newton.objective, hessian)
            if change is None:
                newton.resume(solver)
                hessian = self._approach(newton)
                solver, change = _aim(newton.objective, hessian)
            found[l2] = flat[0].clone() if change is None else flat[0] + change
            self._solvers[l2] = solver
        return found

    def _part(self) -> Dataset:
        """Give every so manieth row, with its mean weight over all models, or all if need be."""
        n_rows, n_features = self.dataset.rows.shape
        weight = (self._weights / self._totals[:, None]).mean(dim=0)
        n_part = max(n_rows // _PART, _LEAST_ROWS, _ROWS_PER_FEATURE * n_features)
        chosen = torch.arange(0, n_rows, max(1, n_rows // n_part), device=weight.device)
        chosen = chosen[weight[chosen] > 0]
        part = self._of_rows(chosen, weight)
        whole = self._of_rows(torch.nonzero(weight > 0)[:, 0], weight)
        return part if self._is_like(part, whole) else whole

    def _of_rows(self, chosen: Tensor, weight: Tensor) -> Dataset:
        dataset = self.dataset
        rows = dataset.rows if len(chosen) == dataset.n_samples else dataset.rows.take(chosen)
        return Dataset(rows, dataset.target[chosen], weight[chosen])

    def _is_like(self, part: Dataset, whole: Dataset) -> bool:
        """Tell whether a part knows both classes, and all columns as well as the whole does."""
        if part.n_samples == 0 or bool((part.target == part.target[0]).all()):
            return False
        here, there = self._mean_squares(part), self._mean_squares(whole)
        return bool(((here <= _ALIKE * there) & (there <= _ALIKE * here)).all())

    def _mean_squares(self, dataset: Dataset) -> Tensor:
        weight = torch.ones_like(dataset.target) if dataset.weight is None else dataset.weight
        rows = dataset.rows
        squares = self.pool.map(
            lambda chunk: rows.batch(chunk).weighted_squares(weight[chunk]), rows.chunks()
        )
        return torch.stack(list(squares)).sum(dim=0) / weight.sum()

    def _approach(self, newton: Newton) -> Tensor:
        """Come near the optimum on a part of the rows, and give the Hessian there."""
        objective, flat = newton.objective, newton.model_batch.parameters
        for _ in range(_MOST_ROUGH_STEPS):
            if newton.run_epoch().stop_reason is not None:
                break
        if not bool(torch.isfinite(flat).all()):
            flat.zero_()
            objective.evaluate()
        return objective.hessian()

    def _settle(self, parameters: Tensor) -> None:
        """Take the parameters of the models that are there."""
        live = [self._points[k] for k in self._live]
        self._parameters = parameters
        device = parameters.device
        self._weighting = torch.tensor([point.weighting for point in live], device=device)
        self._of_weighting: dict[int, slice] = {}
        for weighting, group in groupby(enumerate(live), lambda each: each[1].weighting):
            places = [i for i, _ in group]
            self._of_weighting[weighting] = slice(places[0], places[-1] + 1)
        self._strengths = parameters.new_tensor([point.l2 for point in live])
        strengths = [point.l2 for point in live]
        self._of_strength = {
            l2: torch.tensor([i for i, own in enumerate(strengths) if own == l2], device=device)
            for l2 in dict.fromkeys(strengths)
        }

    def _evaluate(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Give the mean losses, and the gradients of the whole objectives."""
        n = self.dataset.n_features
        dtype = torch.float32 if self._is_single else parameters.dtype
        losses, gradients = self._sums.at(
            parameters, self._of_weighting, dtype, self._spans(), self.pool
        )
        totals = self._totals[self._weighting]
        gradients /= totals[:, None]
        gradients[:, :n].addcmul_(self._strengths[:, None], parameters[:, :n])
        return losses / totals, gradients

    def _spans(self) -> list[slice]:
        # Besides the rows there are a few numbers for each model.
        rows = self.dataset.rows
        if isinstance(rows, SparseRows):
            return rows.chunks()
        width = rows.shape[1] + 2 * len(self._live)
        n_numbers = -(-width // 2) if self._is_single else width
        return row_chunks(rows.shape[0], n_numbers, self.dataset.device)

    def _values(self, parameters: Tensor, losses: Tensor) -> Tensor:
        squares = parameters[:, : self.dataset.n_features].square().sum(dim=1)
        return losses + self._strengths / 2 * squares

    def _remember(self, changes: Tensor, bends: Tensor) -> None:
        dots, squares = (changes * bends).sum(dim=1), bends.square().sum(dim=1)
        sound = dots > torch.finfo(bends.dtype).eps * squares
        curves = torch.where(sound, 1 / torch.where(sound, dots, 1.0), 0.0)
        self._changes.append((changes, bends, curves[:, None]))

    def _times_inverse(self, vectors: Tensor) -> Tensor:
        """Multiply with the inverse Hessians: the two loops of L-BFGS, for all models at once."""
        vectors, shares = vectors.clone(), []
        for change, bend, curve in reversed(self._changes):
            shares.append(curve * (change * vectors).sum(dim=1, keepdim=True))
            vectors -= shares[-1] * bend
        for l2, members in self._of_strength.items():
            vectors[members] = self._solvers[l2].solve(vectors[members].mT).mT
        for (change, bend, curve), share in zip(self._changes, reversed(shares), strict=True):
            vectors += (share - curve * (bend * vectors).sum(dim=1, keepdim=True)) * change
        return vectors

    def _progress(self, lengths: Tensor) -> dict[int, Progress]:
        values = self._values(self._parameters, self._losses)
        gaps = self._gradients.abs().amax(dim=1)
        # Half the squared decrement estimates how far a value is above its optimum.
        decrements = -(self._gradients * self._directions).sum(dim=1) / 2
        columns = torch.stack([self._losses, values, lengths, gaps, decrements, self._steps])
        progress = {}
        for k, numbers in zip(self._live, columns.mT.tolist(), strict=True):
            loss, value, length, gap, decrement, step = numbers
            tol, done = self._points[k].tol, None
            if gap <= tol and decrement <= tol and not self._is_single:
                done = StopReason.CONVERGED
            elif step < _SHORTEST_STEP:
                done = StopReason.LINE_SEARCH
            progress[k] = Progress(loss, value, length, gap, done)
        return progress


def _aim(objective: LinearObjective, hessian: Tensor) -> tuple[HessianSolver, Tensor | None]:
    """Factorize a Hessian, and give the step to the optimum, or None if that is not near."""
    solver = HessianSolver(hessian)
    change = -solver.solve(objective.gradient)
    return solver, change if float(change @ hessian @ change) < _NEAR else None


class _Alone:
    """A model of a path, seen as if it were alone."""

    def __init__(self, path: PathNewton, k: int):
        self._path = path
        self._k = k
        self.dataset = path.dataset

    @property
    def model_batch(self) -> ModelBatch:
        """A stack of one, on a copy of its parameters."""
        return ModelBatch(self._path.architecture, self._path.parameters_of(self._k).clone())

    def start(self) -> None:
        """Get ready; the whole path does."""

    def run_epoch(self) -> Progress:
        """Make one iteration, together with the others."""
        return self._path.run_epoch()[self._k]

    def on_plateau(self) -> bool:
        """Tell that training shall end when nothing improves."""
        return True

    def state(self) -> dict[str, Any]:
        """Give what is remembered: nothing."""
        return {}
