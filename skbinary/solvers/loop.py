"""The training loop: run a solver, record, validate, stop, and keep the best weights."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from skbinary.solvers.recording import Outcome, Recorder, Recording
from skbinary.solvers.result import (
    CancelledError,
    DivergedError,
    FitResult,
    Progress,
    StopReason,
)
from skbinary.solvers.run import BatchedSolver, Observer, Run, Solver
from skbinary.solvers.stopping import MonitoredCurve, StoppingCriteria
from skbinary.solvers.validation import Validator

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


def train(
    solver: Solver,
    criteria: StoppingCriteria,
    observers: Sequence[Observer] = (),
    recorder: Recorder | None = None,
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
    recorder : Recorder or None, default=None
        Keeps the state after every epoch. A training that has not ended goes on from the state that
        it has kept.

    Returns
    -------
    FitResult

    Raises
    ------
    DivergedError
        If the loss, a weight or a logit is no longer a finite number.
    KeyboardInterrupt
        If the training is interrupted, and other processes hold rows, too.
    """
    run = Run(solver, criteria, observers)
    recording = Recording(recorder, solver, {0: run})
    recording.restore()
    reason: StopReason | DivergedError
    try:
        for observer in observers:
            observer.train_begin(run)
        for end in _run_epochs(_BatchOfOne(solver), {0: run}):
            if end is not None:
                _, reason = end
                break
            recording.end_epoch()
    except KeyboardInterrupt:
        recording.interrupt()
        if not run.dataset.processes.is_one:
            raise  # the others wait for what this process adds to the next step
        reason = StopReason.INTERRUPTED
    outcome = _outcome(run, reason)
    if reason is not StopReason.INTERRUPTED:
        recording.end_model(0, outcome)
        recording.end_epoch()
    if isinstance(outcome, DivergedError):
        raise outcome
    return outcome


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
    recorder : Recorder or None, default=None
        Keeps the state after every epoch. The training goes on from the one that it has kept.
    """

    solver: BatchedSolver
    criteria: Sequence[StoppingCriteria]
    observers: Sequence[Sequence[Observer]] | None = None
    earlier: Sequence[FitResult | None] | None = None
    recorder: Recorder | None = None

    def runs(self) -> dict[int, Run]:
        """Return a new training run of each model."""
        n_models = len(self.criteria)
        observers = self.observers or [()] * n_models
        earlier = self.earlier or [None] * n_models
        each = enumerate(zip(self.criteria, observers, earlier, strict=True))
        return {k: Run(self.solver.solver_of(k), *arguments) for k, arguments in each}


Outcomes = list[Outcome | None]


def train_batch(
    solver: BatchedSolver,
    criteria_per_model: Sequence[StoppingCriteria],
    observers: Sequence[Sequence[Observer]] | None = None,
    earlier: Sequence[FitResult | None] | None = None,
    recorder: Recorder | None = None,
) -> Outcomes:
    """Train a batch of models, as `train_batches` does, whose parameters ``Batch`` explains."""
    [outcomes] = train_batches([Batch(solver, criteria_per_model, observers, earlier, recorder)])
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
    trainings = [_Training(batch) for batch in batches]
    try:
        for run in chain.from_iterable(each.untrained.values() for each in trainings):
            for observer in run.observers:
                observer.train_begin(run)
        unfinished = list(trainings)
        while unfinished:
            unfinished = [each for each in unfinished if each.run_epoch()]
    except (KeyboardInterrupt, CancelledError) as error:
        if isinstance(error, KeyboardInterrupt) and all(each.has_ended for each in trainings):
            raise  # nothing would tell the caller
        for each in trainings:
            each.interrupt()
    return [
        [training.outcomes.get(k) for k in range(len(batch.criteria))]
        for training, batch in zip(trainings, batches, strict=True)
    ]


class _Training:
    """The training of a batch of models, epoch by epoch.

    Attributes
    ----------
    outcomes : dict of int to FitResult or DivergedError
        The models that have ended.
    untrained : dict of int to Run
        The runs of the models that have not ended before, in an earlier process.
    """

    def __init__(self, batch: Batch):
        self._runs = batch.runs()
        self._recording = Recording(batch.recorder, batch.solver, self._runs)
        self.outcomes = self._recording.restore()
        self.untrained = {k: run for k, run in self._runs.items() if k not in self.outcomes}
        self._epochs = _run_epochs(batch.solver, self.untrained)

    @property
    def has_ended(self) -> bool:
        """Whether all models have ended."""
        return len(self.outcomes) == len(self._runs)

    def run_epoch(self) -> bool:
        """Run an epoch, and return whether there was one left."""
        for end in self._epochs:
            if end is None:
                self._recording.end_epoch()
                return True
            k, reason = end
            self.outcomes[k] = outcome = _outcome(self._runs[k], reason)
            self._recording.end_model(k, outcome)
        return False

    def interrupt(self) -> None:
        """End the models that have finished an epoch with their weights so far."""
        self._recording.interrupt()
        for k, run in self._runs.items():
            if k not in self.outcomes and run.n_iter > 0:
                self.outcomes[k] = _outcome(run, StopReason.INTERRUPTED)


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
    active = dict(runs)
    if active:
        solver.start()
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


def _outcome(run: Run, reason: StopReason | DivergedError) -> Outcome:
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
