"""The training loop: run a solver, record, validate, stop, and keep the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor

from skbinary.data.dataset import Dataset
from skbinary.models.make_batch import AnyBatch
from skbinary.solvers.result import (
    CancelledError,
    DivergedError,
    FitResult,
    Progress,
    StopReason,
)
from skbinary.solvers.stopping import MonitoredCurve, StoppingCriteria
from skbinary.solvers.validation import Validator, validate


class Solver(Protocol):
    """What the loop needs of a solver of one model."""

    @property
    def model_batch(self) -> AnyBatch:
        """The model, with its current parameters."""
        ...

    @property
    def dataset(self) -> Dataset:
        """The training rows, and with early stopping the validation rows."""
        ...

    def start(self) -> None:
        """Prepare to train from the current parameters."""
        ...

    def run_epoch(self) -> Progress:
        """Train for one epoch or iteration."""
        ...

    def on_plateau(self) -> bool:
        """React to a monitored curve that no longer improves; return whether to stop."""
        ...

    def state(self) -> dict[str, Any]:
        """Return the state of the optimizer, to resume from."""
        ...


class BatchedSolver(Protocol):
    """What the loop needs of a solver of a batch of models, which are known by their numbers."""

    def start(self) -> None:
        """Prepare to train from the current parameters."""
        ...

    def run_epoch(self) -> Mapping[int, Progress]:
        """Train for one epoch; return the progress of each model that is still in training."""
        ...

    def solver_of(self, k: int) -> Solver:
        """Return a view of one model as a solver of its own."""
        ...

    def select(self, models: Sequence[int]) -> AnyBatch | None:
        """Return models as a batch to score at once, or None to score them one by one."""
        ...

    def remove(self, models: Collection[int]) -> None:
        """Remove models that are finished from the batch."""
        ...


class Observer(Protocol):
    """Follows the training of a model: callbacks, progress bars, logs."""

    def train_begin(self, run: Run) -> None: ...

    def epoch_begin(self, run: Run) -> None: ...

    def epoch_end(self, run: Run) -> bool:
        """React to the end of an epoch; return whether to stop the training."""
        ...

    def train_end(self, run: Run) -> None: ...


_PLATEAU_REASONS: dict[MonitoredCurve, StopReason] = {
    "objective": StopReason.TRAINING_LOSS,
    "validation_loss": StopReason.VALIDATION_LOSS,
    "validation_score": StopReason.VALIDATION_SCORE,
}


# If features of at most one give logits below this bound, features up to the bound give finite
# logits: it is the square root of the largest float32. With larger features the epochs themselves
# would have diverged.
_SAFE_LOGIT = 1e19
_N_CHECKED_ROWS = 1000


class Run:
    """A training run, as observers see it.

    Parameters
    ----------
    solver : Solver
        The solver, which holds the model and the rows.
    criteria : StoppingCriteria
        When to stop.
    observers : sequence of Observer, default=()
        Who follows the run.
    earlier : FitResult or None, default=None
        The result of a training that this one continues. Its epochs count.

    Attributes
    ----------
    history : dict of list of float
        The curves so far.
    best_epoch : int
        The epoch, counted from 1, whose weights are kept.
    """

    def __init__(
        self,
        solver: Solver,
        criteria: StoppingCriteria,
        observers: Sequence[Observer] = (),
        earlier: FitResult | None = None,
    ):
        self.solver = solver
        self.criteria = criteria
        self.observers = observers
        self.dataset = solver.dataset
        names = ["loss", "objective", "learning_rate", "seconds"]
        if self.dataset.validation is not None:
            names += ["validation_loss", "validation_score"]
        self.history: dict[str, list[float]] = {name: [] for name in names}
        self.gradient_norm = math.nan
        self.best_epoch = 0
        self._best_values: Tensor | None = None
        self._best_value = -math.inf
        self._n_no_improvement = 0
        if earlier is not None:
            self._restore(earlier)

    @property
    def model_batch(self) -> AnyBatch:
        """The model that is trained, a batch of one."""
        return self.solver.model_batch

    @property
    def n_iter(self) -> int:
        """Number of epochs or iterations so far."""
        return len(self.history["loss"])

    def record(
        self, progress: Progress, seconds: float, validated: tuple[float, float] | None = None
    ) -> None:
        """Record an epoch: its curves, and whether it is the best so far.

        Parameters
        ----------
        progress : Progress
            What the solver reports.
        seconds : float
            Duration of the epoch.
        validated : (loss, score) or None, default=None
            The validation loss and score if they are known. None to compute them here.

        Raises
        ------
        DivergedError
            If a loss is not a finite number.
        """
        rate = progress.learning_rate
        if not math.isfinite(progress.objective):
            loss = progress.objective if math.isfinite(progress.loss) else progress.loss
            raise _diverged("training", loss, self.n_iter + 1, rate)
        history = self.history
        history["loss"].append(progress.loss)
        history["objective"].append(progress.objective)
        history["learning_rate"].append(rate)
        history["seconds"].append(seconds)
        self.gradient_norm = progress.gradient_norm
        if self.dataset.validation is not None:
            loss, score = validated or validate(
                self.model_batch, self.dataset.validation, self.criteria
            )
            if not math.isfinite(loss):
                raise _diverged("validation", loss, self.n_iter, rate)
            history["validation_loss"].append(loss)
            history["validation_score"].append(score)
        if self._update_best() and self.criteria.stops_early:
            self._best_values = self.model_batch.values.clone()

    def log(self, name: str, value: float) -> None:
        """Add a value to the history of the epoch that has just been recorded."""
        curve = self.history.setdefault(name, [])
        curve += [math.nan] * (self.n_iter - 1 - len(curve)) + [value]

    def is_on_plateau(self) -> bool:
        """Check whether the patience is used up. If so, the count of epochs starts again."""
        criteria = self.criteria
        if criteria.monitored is None or self._n_no_improvement <= criteria.n_iter_no_change:
            return False
        self._n_no_improvement = 0
        return True

    def restore_best(self) -> None:
        """Restore the weights of the best epoch, if they were kept."""
        if self._best_values is not None:
            self.model_batch.values.copy_(self._best_values)

    def result(self, reason: StopReason | None) -> FitResult:
        """Return the model as it is now."""
        values = self.model_batch.values[0].clone()
        state = self.solver.state()
        history = {
            name: curve + [math.nan] * (self.n_iter - len(curve))
            for name, curve in self.history.items()
        }
        return FitResult(values, history, self.best_epoch, reason, self.gradient_norm, state)

    def _restore(self, earlier: FitResult) -> None:
        """Record the epochs of an earlier training, as if they had been part of this one."""
        for epoch in range(earlier.n_iter):
            for name, curve in self.history.items():
                curve.append(earlier.history[name][epoch])
            self._update_best()
            # The solver was prepared before the end of the last epoch, and knows of the others.
            if self.is_on_plateau() and epoch == earlier.n_iter - 1:
                self.solver.on_plateau()
        if self.criteria.stops_early:
            self._best_values = earlier.parameters[None]

    def _update_best(self) -> bool:
        """Update the best epoch with the last one; return whether it is the best so far."""
        # As in scikit-learn's MLPClassifier, only an improvement of at least tol resets the
        # patience, while any improvement makes an epoch the best one.
        monitored = self.criteria.monitored or "objective"
        value = self.history[monitored][-1] * (1 if monitored == "validation_score" else -1)
        improved = value >= self._best_value + self.criteria.tol  # False for NaN
        self._n_no_improvement = 0 if improved else self._n_no_improvement + 1
        is_best = value > self._best_value
        self._best_value = max(self._best_value, value)
        if is_best or not self.criteria.stops_early:
            self.best_epoch = self.n_iter
        return is_best


def _diverged(kind: str, loss: float, epoch: int, learning_rate: float) -> DivergedError:
    return DivergedError(
        f"The {kind} loss must stay a finite number, got {loss} in epoch {epoch} at learning rate "
        f"{learning_rate:g}. Bring the features to one scale (StandardScaler) or lower "
        "learning_rate_init."
    )


def train(
    solver: Solver, criteria: StoppingCriteria, observers: Sequence[Observer] = ()
) -> FitResult:
    """Train a model.

    Parameters
    ----------
    solver : Solver
        The solver, which holds the model and the rows.
    criteria : StoppingCriteria
        When to stop.
    observers : sequence of Observer, default=()
        Called at the beginning and the end of the training and of every epoch.

    Returns
    -------
    FitResult

    Raises
    ------
    DivergedError
        If the loss, a weight or a logit is no longer a finite number.
    """
    run = Run(solver, criteria, observers)
    reason: StopReason | DivergedError
    try:
        for observer in observers:
            observer.train_begin(run)
        [(_, reason)] = filter(None, _run_epochs(_BatchOfOne(solver), {0: run}))
    except KeyboardInterrupt:
        reason = StopReason.INTERRUPTED
    if isinstance(reason, DivergedError):
        raise reason
    return _finish(run, reason)


@dataclass(frozen=True)
class Batch:
    """A batch of models to train, each until its own criteria are met.

    Parameters
    ----------
    solver : BatchedSolver
        The solver, which holds the models and their rows.
    criteria : sequence of StoppingCriteria
        When to stop each model.
    observers : sequence of sequence of Observer or None, default=None
        The observers of each model. They are called on the thread that trains.
    earlier : sequence of FitResult or None, default=None
        The result of the training that each model continues.
    """

    solver: BatchedSolver
    criteria: Sequence[StoppingCriteria]
    observers: Sequence[Sequence[Observer]] | None = None
    earlier: Sequence[FitResult | None] | None = None

    def runs(self) -> dict[int, Run]:
        """Return a new training run of each model."""
        n_models = len(self.criteria)
        observers = self.observers or [()] * n_models
        earlier = self.earlier or [None] * n_models
        each = enumerate(zip(self.criteria, observers, earlier, strict=True))
        return {k: Run(self.solver.solver_of(k), *arguments) for k, arguments in each}


Outcomes = list[FitResult | DivergedError | None]


def train_batch(
    solver: BatchedSolver,
    criteria_per_model: Sequence[StoppingCriteria],
    observers: Sequence[Sequence[Observer]] | None = None,
    earlier: Sequence[FitResult | None] | None = None,
) -> Outcomes:
    """Train a batch of models, as `train_batches` does, whose parameters ``Batch`` explains."""
    [outcomes] = train_batches([Batch(solver, criteria_per_model, observers, earlier)])
    return outcomes


def train_batches(batches: Sequence[Batch]) -> list[Outcomes]:
    """Train batches of models, one epoch of each batch in turn.

    Parameters
    ----------
    batches : sequence of Batch

    Returns
    -------
    list of list of FitResult, DivergedError or None
        The outcome for each model of each batch. If one diverges, the others go on. If the training
        is interrupted, models keep their weights so far, and a model without a finished epoch gets
        None.
    """
    outcomes: list[dict[int, FitResult | DivergedError]] = [{} for _ in batches]
    runs = [batch.runs() for batch in batches]
    try:
        for run in chain.from_iterable(each.values() for each in runs):
            for observer in run.observers:
                observer.train_begin(run)
        trainings = {i: _run_epochs(batch.solver, runs[i]) for i, batch in enumerate(batches)}
        while trainings:
            for i, training in list(trainings.items()):
                for end in training:
                    if end is None:  # of an epoch
                        break
                    k, reason = end
                    outcomes[i][k] = _outcome(runs[i][k], reason)
                else:
                    del trainings[i]
    except (KeyboardInterrupt, CancelledError):
        for i, runs_of_batch in enumerate(runs):
            for k, run in runs_of_batch.items():
                if k not in outcomes[i] and run.n_iter > 0:
                    outcomes[i][k] = _outcome(run, StopReason.INTERRUPTED)
    return [
        [ended.get(k) for k in range(len(batch.criteria))]
        for ended, batch in zip(outcomes, batches, strict=True)
    ]


class _BatchOfOne:
    """Makes a batch of one model of a solver of a single model."""

    def __init__(self, solver: Solver):
        self._solver = solver
        self.start = solver.start

    def run_epoch(self) -> Mapping[int, Progress]:
        return {0: self._solver.run_epoch()}

    def solver_of(self, k: int) -> Solver:
        return self._solver

    def select(self, models: Sequence[int]) -> None:
        """Return None: a single model is scored by itself."""

    def remove(self, models: Collection[int]) -> None:
        """Do nothing: the loop ends with the model."""


def _run_epochs(
    solver: BatchedSolver, runs: Mapping[int, Run]
) -> Iterator[tuple[int, StopReason | DivergedError] | None]:
    """Run epochs until all models are finished.

    Yields
    ------
    (number, reason) or None
        Each model when it ends, before its removal, and None after each epoch.
    """
    solver.start()
    active = dict(runs)
    validator = Validator(
        {
            k: (run.dataset.validation, run.criteria)
            for k, run in runs.items()
            if run.dataset.validation is not None
        },
        solver.select,
    )
    while active:
        for run in active.values():
            for observer in run.observers:
                observer.epoch_begin(run)
        begin = time.perf_counter()
        progress = solver.run_epoch()
        # Each model gets an equal share of the time of an epoch.
        seconds = (time.perf_counter() - begin) / len(active)
        validated = validator(active)
        finished = []
        for k, run in active.items():
            reason = _end_epoch(run, progress[k], seconds, validated.get(k))
            if reason is not None:
                yield k, reason
                finished.append(k)
        solver.remove(finished)
        for k in finished:
            del active[k]
        yield None


def _end_epoch(
    run: Run, progress: Progress, seconds: float, validated: tuple[float, float] | None
) -> StopReason | DivergedError | None:
    """Record an epoch; return the reason to stop, or None to go on."""
    try:
        run.record(progress, seconds, validated)
    except DivergedError as error:
        return error
    stop_requests = [observer.epoch_end(run) for observer in run.observers]
    if progress.stop_reason is not None:
        return progress.stop_reason
    if any(stop_requests):
        return StopReason.CALLBACK
    if run.is_on_plateau() and run.solver.on_plateau():
        return _PLATEAU_REASONS[run.criteria.monitored or "objective"]
    return StopReason.MAX_ITER if run.n_iter >= run.criteria.max_iter else None


def _outcome(run: Run, reason: StopReason | DivergedError) -> FitResult | DivergedError:
    if isinstance(reason, DivergedError):
        return reason
    try:
        return _finish(run, reason)
    except DivergedError as error:
        return error


def _finish(run: Run, reason: StopReason) -> FitResult:
    run.restore_best()
    for observer in run.observers:
        observer.train_end(run)
    result = run.result(reason)
    _check_finite(run, result)
    return result


def _check_finite(run: Run, result: FitResult) -> None:
    """Check the weights, and the logits after the last step."""
    if not bool(torch.isfinite(run.model_batch.parameters).all()):
        raise DivergedError(
            "The weights must stay finite numbers, got a weight that is not, after epoch "
            f"{result.n_iter}. Bring the features to one scale (StandardScaler) or lower "
            "learning_rate_init."
        )
    # A row of another process may have such a logit.
    is_finite = _has_finite_logits(run)
    if run.dataset.processes.sum_number(float(not is_finite)) > 0:
        raise DivergedError(
            "The logits must stay finite numbers, got a training row whose logit is not, after "
            f"epoch {result.n_iter}. Bring the features to one scale (StandardScaler) or lower "
            "learning_rate_init."
        )


def _has_finite_logits(run: Run) -> bool:
    model_batch, rows = run.model_batch, run.dataset.rows
    if not model_batch.architecture.is_row_wise:
        # The logits of a module have no bound, and another pass over all rows takes long.
        some = rows.batch(slice(0, min(_N_CHECKED_ROWS, rows.shape[0])))
        return bool(torch.isfinite(model_batch.logits(some)).all())
    # Most weights are far from overflowing, which can be checked without the rows.
    if model_batch.logit_bound() < _SAFE_LOGIT:
        return True
    return all(
        bool(torch.isfinite(model_batch.logits(rows.batch(chunk))).all()) for chunk in rows.chunks()
    )
