"""The one loop: it drives a solver, records, validates, stops and keeps the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from skbinary.data.dataset import Dataset
from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.result import (
    CancelledError,
    DivergedError,
    FitResult,
    Progress,
    StopReason,
)
from skbinary.solvers.stopping import StoppingCriteria, Watched
from skbinary.solvers.validation import Validator, validate


class Step(Protocol):
    """A solver, seen from the loop."""

    @property
    def model_batch(self) -> ModelBatch: ...

    @property
    def dataset(self) -> Dataset: ...

    def start(self) -> None: ...

    def epoch(self) -> Progress: ...

    def plateau(self) -> bool: ...

    def state(self) -> dict[str, Any]: ...


class BatchedStep(Protocol):
    """A solver of several models side by side, seen from the loop. Models are told by number."""

    def start(self) -> None: ...

    def epoch(self) -> Mapping[int, Progress]:
        """Give what each model that is still in the stack reports."""
        ...

    def alone(self, k: int) -> Step:
        """Give one model as if it were alone."""
        ...

    def together(self, models: Sequence[int]) -> ModelBatch | None:
        """Give models as a stack, to be scored at once, or None to have them scored one by one."""
        ...

    def drop(self, done: Collection[int]) -> None:
        """Let models leave that are done."""
        ...


class Observer(Protocol):
    """Whoever looks on: callbacks, progress bars, logs."""

    def train_begin(self, run: Run) -> None: ...

    def epoch_begin(self, run: Run) -> None: ...

    def epoch_end(self, run: Run) -> bool:
        """Look at the epoch that ended, and tell whether training shall stop."""
        ...

    def train_end(self, run: Run) -> None: ...


_PLATEAUS: dict[Watched, StopReason] = {
    "objective": StopReason.NO_IMPROVEMENT,
    "validation_loss": StopReason.VALIDATION_LOSS,
    "validation_score": StopReason.VALIDATION,
}


# If features of at most one give logits below this bound, features up to the bound give finite
# logits: it is the square root of the largest number in float32. With larger features the epochs
# themselves would have diverged.
_FAR_FROM_OVERFLOW = 1e19


class Run:
    """A training under way, as observers see it.

    Attributes
    ----------
    history : dict of list of float
        The curves so far.
    best_epoch : int
        The epoch, counted from 1, whose weights are kept.
    """

    def __init__(self, step: Step, criteria: StoppingCriteria, observers: Sequence[Observer] = ()):
        self.step = step
        self.criteria = criteria
        self.observers = observers
        self.dataset = step.dataset
        names = ["loss", "objective", "learning_rate", "seconds"]
        if self.dataset.validation is not None:
            names += ["validation_loss", "validation_score"]
        self.history: dict[str, list[float]] = {name: [] for name in names}
        self.gap = math.nan
        self.best_epoch = 0
        self._best_parameters: Tensor | None = None
        self._best = -math.inf
        self._misses = 0

    @property
    def model_batch(self) -> ModelBatch:
        """The model that is trained."""
        return self.step.model_batch

    @property
    def n_iter(self) -> int:
        return len(self.history["loss"])

    def record(
        self, progress: Progress, seconds: float, validated: tuple[float, float] | None = None
    ) -> None:
        """Take note of an epoch: curves, improvement, best weights.

        Parameters
        ----------
        progress : Progress
        seconds : float
        validated : (loss, score) or None, default=None
            What the validation rows say, where that is known.
        """
        if not math.isfinite(progress.objective):
            bad = progress.objective if math.isfinite(progress.loss) else progress.loss
            raise DivergedError(
                f"The training loss must stay a finite number, got {bad} in "
                f"epoch {self.n_iter + 1} at learning rate {progress.learning_rate:g}. Bring the "
                "features to one scale (StandardScaler) or lower learning_rate_init."
            )
        history = self.history
        history["loss"].append(progress.loss)
        history["objective"].append(progress.objective)
        history["learning_rate"].append(progress.learning_rate)
        history["seconds"].append(seconds)
        self.gap = progress.gap
        if self.dataset.validation is not None:
            loss, score = validated or validate(
                self.model_batch, self.dataset.validation, self.criteria
            )
            if not math.isfinite(loss):
                raise DivergedError(
                    f"The validation loss must stay a finite number, got {loss} in epoch "
                    f"{self.n_iter} at learning rate {progress.learning_rate:g}. Bring the "
                    "features to one scale (StandardScaler) or lower learning_rate_init."
                )
            history["validation_loss"].append(loss)
            history["validation_score"].append(score)
        self._judge()

    def note(self, name: str, value: float) -> None:
        """Add a number to the curves of the epoch that has just been recorded."""
        curve = self.history.setdefault(name, [])
        curve += [math.nan] * (self.n_iter - 1 - len(curve)) + [value]

    def plateaued(self) -> bool:
        """Tell whether nothing has improved for too long, and start counting anew if so."""
        if self.criteria.watches is None or self._misses <= self.criteria.n_iter_no_change:
            return False
        self._misses = 0
        return True

    def restore_best(self) -> None:
        """Put the weights of the best epoch back, if they were kept."""
        if self._best_parameters is not None:
            self.model_batch.parameters.copy_(self._best_parameters)

    def result(self, reason: StopReason | None) -> FitResult:
        """Give the model as it is now."""
        parameters = self.model_batch.parameters[0].clone()
        state = self.step.state()
        history = {
            name: curve + [math.nan] * (self.n_iter - len(curve))
            for name, curve in self.history.items()
        }
        return FitResult(parameters, history, self.best_epoch, reason, self.gap, state)

    def _judge(self) -> None:
        # The rules of scikit-learn's MLPClassifier: an improvement must exceed tol to be one, but
        # the best epoch is the best by however little.
        watched = self.criteria.watches or "objective"
        current = self.history[watched][-1] * (1 if watched == "validation_score" else -1)
        missed = not current >= self._best + self.criteria.tol  # also where it is NaN
        self._misses = self._misses + 1 if missed else 0
        better = current > self._best
        self._best = max(self._best, current)
        if not self.criteria.stops_early:
            self.best_epoch = self.n_iter
        elif better:
            self.best_epoch = self.n_iter
            self._best_parameters = self.model_batch.parameters.clone()


def train(step: Step, criteria: StoppingCriteria, observers: Sequence[Observer] = ()) -> FitResult:
    """Train a model.

    Parameters
    ----------
    step : Step
        The solver, which holds the model and the rows.
    criteria : StoppingCriteria
        When to stop.
    observers : sequence of Observer
        Told of the beginning and the end of the training and of every epoch.

    Returns
    -------
    FitResult

    Raises
    ------
    DivergedError
        If the loss or a weight is no finite number any more.
    """
    run = Run(step, criteria, observers)
    reason: StopReason | DivergedError
    try:
        for observer in observers:
            observer.train_begin(run)
        [(_, reason)] = _drive(_Solo(step), {0: run})
    except KeyboardInterrupt:
        reason = StopReason.INTERRUPTED
    if isinstance(reason, DivergedError):
        raise reason
    run.restore_best()
    for observer in observers:
        observer.train_end(run)
    result = run.result(reason)
    _check_finite(run, result)
    return result


def train_batch(
    step: BatchedStep,
    criteria_per_model: Sequence[StoppingCriteria],
    observers: Sequence[Sequence[Observer]] | None = None,
) -> list[FitResult | DivergedError | None]:
    """Train several models side by side, each until its own end.

    Parameters
    ----------
    step : BatchedStep
        The solver, which holds the models and their rows.
    criteria_per_model : sequence of StoppingCriteria
        When each of them stops.
    observers : sequence of sequence of Observer, or None
        Who looks on, model by model. They are told on the thread that trains.

    Returns
    -------
    list of FitResult, DivergedError or None
        What became of each model. One that diverges does not keep the others from going on. When
        the training is interrupted, models keep the weights so far; None has no epoch yet.
    """
    outcomes: dict[int, FitResult | DivergedError] = {}
    runs = {
        k: Run(step.alone(k), criteria, observers[k] if observers else ())
        for k, criteria in enumerate(criteria_per_model)
    }
    try:
        for run in runs.values():
            for observer in run.observers:
                observer.train_begin(run)
        for k, reason in _drive(step, runs):
            outcomes[k] = reason if isinstance(reason, DivergedError) else _closed(runs[k], reason)
    except (KeyboardInterrupt, CancelledError):
        for k, run in runs.items():
            if k not in outcomes and run.n_iter > 0:
                outcomes[k] = _closed(run, StopReason.INTERRUPTED)
    return [outcomes.get(k) for k in range(len(criteria_per_model))]


class _Solo:
    """A solver of one model, as a stack of one."""

    def __init__(self, step: Step):
        self._step = step
        self.start = step.start

    def epoch(self) -> Mapping[int, Progress]:
        return {0: self._step.epoch()}

    def alone(self, k: int) -> Step:
        return self._step

    def together(self, models: Sequence[int]) -> None:
        """Leave it to be scored alone."""

    def drop(self, done: Collection[int]) -> None:
        """Let it be: it ends with the loop."""


def _drive(
    step: BatchedStep, runs: Mapping[int, Run]
) -> Iterator[tuple[int, StopReason | DivergedError]]:
    """Train until all models are done, and tell of each as it ends, while it is still there."""
    step.start()
    live = dict(runs)
    validator = Validator(
        {
            k: (run.dataset.validation, run.criteria)
            for k, run in runs.items()
            if run.dataset.validation is not None
        },
        step.together,
    )
    while live:
        for run in live.values():
            for observer in run.observers:
                observer.epoch_begin(run)
        begin = time.perf_counter()
        progress = step.epoch()
        # The time of an epoch is shared by the models that made it.
        seconds = (time.perf_counter() - begin) / len(live)
        validated = validator(live)
        done = []
        for k, run in live.items():
            reason = _after_epoch(run, progress[k], seconds, validated.get(k))
            if reason is not None:
                yield k, reason
                done.append(k)
        step.drop(done)
        for k in done:
            del live[k]


def _after_epoch(
    run: Run, progress: Progress, seconds: float, validated: tuple[float, float] | None
) -> StopReason | DivergedError | None:
    """Record an epoch, and give the reason to stop if there is one."""
    try:
        run.record(progress, seconds, validated)
    except DivergedError as error:
        return error
    asked = [observer.epoch_end(run) for observer in run.observers]
    if progress.done is not None:
        return progress.done
    if any(asked):
        return StopReason.CALLBACK
    if run.plateaued() and run.step.plateau():
        return _PLATEAUS[run.criteria.watches or "objective"]
    return StopReason.MAX_ITER if run.n_iter >= run.criteria.max_iter else None


def _closed(run: Run, reason: StopReason) -> FitResult | DivergedError:
    run.restore_best()
    for observer in run.observers:
        observer.train_end(run)
    result = run.result(reason)
    try:
        _check_finite(run, result)
    except DivergedError as error:
        return error
    return result


def _check_finite(run: Run, result: FitResult) -> None:
    """Check the weights, and the logits that the last step has led to."""
    if not bool(torch.isfinite(result.parameters).all()):
        raise DivergedError(
            "The weights must stay finite numbers, got a weight that is not, after epoch "
            f"{result.n_iter}. Bring the features to one scale (StandardScaler) or lower "
            "learning_rate_init."
        )
    if not _has_finite_logits(run):
        raise DivergedError(
            "The logits must stay finite numbers, got a training row whose logit is not, after "
            f"epoch {result.n_iter}. Bring the features to one scale (StandardScaler) or lower "
            "learning_rate_init."
        )


def _has_finite_logits(run: Run) -> bool:
    model_batch, rows = run.model_batch, run.dataset.rows
    # Most weights are far from overflowing, which can be checked without the rows.
    if model_batch.largest_logit() < _FAR_FROM_OVERFLOW:
        return True
    return all(
        bool(torch.isfinite(model_batch.logits(rows.batch(chunk))).all()) for chunk in rows.chunks()
    )


def convergence_warning(
    result: FitResult, criteria: StoppingCriteria, whose: str = ""
) -> str | None:
    """Return the warning about a training that did not converge, or None if it did.

    Parameters
    ----------
    result : FitResult
    criteria : StoppingCriteria
    whose : str, default=""
        Follows "Training did not converge" if there are several models: " for 1 of 4 ...".
    """
    reason = result.stop_reason
    if reason is StopReason.INTERRUPTED:
        return (
            f"Training was interrupted by the user after {result.n_iter} epochs. The best weights "
            "so far are kept."
        )
    unfinished = (StopReason.MAX_ITER, StopReason.MAX_FUN, StopReason.NO_DESCENT)
    if reason not in unfinished:
        return None
    if not math.isnan(result.gap):
        advice = "max_fun" if reason is StopReason.MAX_FUN else "max_iter"
        return (
            f"Training did not converge{whose}: {reason.value}, with the largest gradient "
            f"component at {result.gap:.3g}, above tol={criteria.tol:g}, after {result.n_iter} "
            f"iterations. Raise {advice}, or bring the features to one scale (StandardScaler)."
        )
    if criteria.n_iter_no_change >= criteria.max_iter:
        return None  # a fixed number of epochs was asked for
    *before, last = result.history["objective"]
    loss = f"1 epoch, at a training loss of {last:.6g}"
    if before:
        loss = (
            f"{criteria.max_iter} epochs, while the training loss still went from "
            f"{before[-1]:.6g} to {last:.6g} in the last epoch"
        )
    return (
        f"Training did not converge{whose}: {reason.value}, {loss} (tol={criteria.tol:g}). Raise "
        "max_iter or learning_rate_init."
    )
