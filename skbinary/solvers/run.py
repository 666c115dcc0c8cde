"""A training run: the curves of one model, its best weights, and whether it still improves."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from skbinary.data.dataset import Dataset
from skbinary.models.make_batch import AnyBatch
from skbinary.solvers.result import DivergedError, FitResult, Progress, StopReason
from skbinary.solvers.stopping import StoppingCriteria
from skbinary.solvers.validation import validate


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
    """Follows the training of a model: callbacks, progress bars, logs.

    What a subclass does not define does nothing.
    """

    def train_begin(self, run: Run) -> None:
        return

    def epoch_begin(self, run: Run) -> None:
        return

    def epoch_end(self, run: Run) -> bool:
        """React to the end of an epoch; return whether to stop the training."""
        ...

    def train_end(self, run: Run) -> None:
        return


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
            self._continue(earlier)

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

    def snapshot(self) -> dict[str, Any]:
        """Return what has been recorded so far."""
        best = self._best_values
        return {
            "history": {name: list(curve) for name, curve in self.history.items()},
            "gradient_norm": self.gradient_norm,
            "best_epoch": self.best_epoch,
            "best_values": None if best is None else best.detach().cpu(),
            "best_value": self._best_value,
            "n_no_improvement": self._n_no_improvement,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``snapshot()``. The solver is restored by the caller."""
        self.history = {name: list(curve) for name, curve in state["history"].items()}
        self.gradient_norm = state["gradient_norm"]
        self.best_epoch = state["best_epoch"]
        best = state["best_values"]
        self._best_values = None if best is None else best.clone()
        self._best_value = state["best_value"]
        self._n_no_improvement = state["n_no_improvement"]

    def _continue(self, earlier: FitResult) -> None:
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
