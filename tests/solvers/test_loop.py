"""The training loop: recording, stopping, keeping the best weights."""

import math

import numpy as np
import pytest
import torch

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.loop import train
from skbinary.solvers.result import DivergedError, Progress, StopReason
from skbinary.solvers.stopping import StoppingCriteria
from skbinary.solvers.validation import Validator, validate


class ScriptedSolver:
    """A solver that reports given losses and counts epochs in its only weight."""

    def __init__(self, losses, validation=None, converged_at=None, last_plateau=True):
        self.losses = iter(losses)
        self.converged_at = converged_at
        self.last_plateau = last_plateau
        self.n_plateaus = 0
        rows = DenseRows(torch.ones(2, 1), torch.float32)
        self.dataset = Dataset(rows, torch.tensor([0.0, 1.0]), validation=validation)
        self.model_batch = ModelBatch(Architecture(1, fit_intercept=False), torch.zeros(1, 1))
        self.n_epochs = 0

    def start(self):
        self.started = True

    def run_epoch(self):
        self.n_epochs += 1
        self.model_batch.parameters += 1
        loss = next(self.losses)
        done = StopReason.CONVERGED if self.n_epochs == self.converged_at else None
        return Progress(loss, loss, 0.1, stop_reason=done)

    def on_plateau(self):
        self.n_plateaus += 1
        return self.last_plateau

    def state(self):
        return {"n_epochs": self.n_epochs}


class RecordingObserver:
    """Records its calls, and stops the training in one epoch."""

    def __init__(self, stop_at=None, error=None):
        self.events = []
        self.stop_at = stop_at
        self.error = error

    def train_begin(self, run):
        self.events.append("begin")

    def epoch_begin(self, run):
        self.events.append("epoch begin")

    def epoch_end(self, run):
        self.events.append("epoch end")
        if self.error is not None and run.n_iter == self.stop_at:
            raise self.error
        return run.n_iter == self.stop_at

    def train_end(self, run):
        self.events.append("end")


def falling(start=1.0):
    while True:
        yield start
        start *= 0.5


def validation_of(X, y):
    return Dataset(DenseRows(torch.tensor(X), torch.float32), torch.tensor(y))


def test_train_all_epochs_reports_max_iter():
    result = train(ScriptedSolver(falling()), StoppingCriteria(5, 1e-4, 10, monitored="objective"))
    assert result.stop_reason is StopReason.MAX_ITER
    assert result.n_iter == result.best_epoch == 5
    assert result.history["loss"] == [1, 0.5, 0.25, 0.125, 0.0625]
    assert result.state == {"n_epochs": 5}


def test_train_converged_solver_stops_at_once():
    result = train(ScriptedSolver(falling(), converged_at=3), StoppingCriteria(5, 1e-4, 10))
    assert result.stop_reason is StopReason.CONVERGED
    assert result.n_iter == 3


def test_train_no_improvement_stops_after_patience():
    losses = [1.0, 0.5] + [0.5] * 20
    result = train(ScriptedSolver(losses), StoppingCriteria(22, 1e-4, 3, monitored="objective"))
    # scikit-learn tolerates n_iter_no_change epochs and stops at the next one.
    assert result.n_iter == 2 + 3 + 1
    assert result.stop_reason is StopReason.TRAINING_LOSS


def test_train_full_batch_without_improvement_goes_on():
    losses = [1.0] * 8
    result = train(ScriptedSolver(losses), StoppingCriteria(8, 1e-4, 3))
    assert result.n_iter == 8


def test_train_after_a_plateau_that_does_not_stop_counts_again():
    solver = ScriptedSolver([1.0] * 12, last_plateau=False)
    train(solver, StoppingCriteria(12, 1e-4, 3, monitored="objective"))
    assert solver.n_plateaus == 2


def test_train_improvement_below_tol_does_not_count():
    losses = [1.0 - 0.01 * i for i in range(20)]
    result = train(ScriptedSolver(losses), StoppingCriteria(20, 0.1, 3, monitored="objective"))
    assert result.stop_reason is StopReason.TRAINING_LOSS


def test_train_early_stopping_keeps_the_best_weights():
    # The weight counts epochs; the row x = -1 of class 0 has probability expit(-epoch), so it is
    # labelled right from the first epoch on, and x = 1 of class 0 never is.
    validation = validation_of([[-1.0], [1.0]], [0.0, 0.0])
    result = train(
        ScriptedSolver(falling(), validation),
        StoppingCriteria(10, 1e-4, 2, monitored="validation_score"),
    )
    assert result.stop_reason is StopReason.VALIDATION_SCORE
    assert result.best_epoch == 1
    assert float(result.parameters) == 1.0
    assert result.n_iter == 4
    assert result.history["validation_score"] == [0.5] * 4


def test_train_observer_can_stop_it():
    watcher = RecordingObserver(stop_at=2)
    result = train(ScriptedSolver(falling()), StoppingCriteria(5, 1e-4, 10), [watcher])
    assert result.stop_reason is StopReason.CALLBACK
    assert watcher.events == ["begin", *["epoch begin", "epoch end"] * 2, "end"]


def test_train_interrupted_returns_the_weights_so_far():
    watcher = RecordingObserver(stop_at=2, error=KeyboardInterrupt())
    result = train(ScriptedSolver(falling()), StoppingCriteria(5, 1e-4, 10), [watcher])
    assert result.stop_reason is StopReason.INTERRUPTED
    assert float(result.parameters) == 2.0
    assert watcher.events[-1] == "end"


def test_train_other_exceptions_pass_through():
    with pytest.raises(SystemExit):
        train(
            ScriptedSolver(falling()),
            StoppingCriteria(5, 1e-4, 10),
            [RecordingObserver(2, SystemExit())],
        )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_train_infinite_or_nan_loss_is_an_error(bad):
    message = (
        f"The training loss must stay a finite number, got {bad} in epoch 2 at learning "
        "rate 0.1. Bring the features to one scale (StandardScaler) or lower learning_rate_init."
    )
    with pytest.raises(DivergedError) as caught:
        train(ScriptedSolver([1.0, bad]), StoppingCriteria(5, 1e-4, 10))
    assert str(caught.value) == message


def test_validate_uses_different_weights_for_loss_and_score():
    model_batch = ModelBatch(
        Architecture(1, fit_intercept=False), torch.ones(1, 1, dtype=torch.float64)
    )
    X, y = np.array([[2.0], [-1.0], [0.5]]), np.array([1.0, 1.0, 0.0])
    weight, score_weight = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0])
    dataset = Dataset(
        DenseRows(torch.tensor(X), torch.float64),
        torch.tensor(y),
        torch.tensor(weight),
        score_weight=torch.tensor(score_weight),
    )
    loss, score = validate(model_batch, dataset, StoppingCriteria(1, 0, 1))
    z = X[:, 0]
    each = np.log1p(np.exp(z)) - y * z
    assert loss == pytest.approx(np.average(each, weights=weight))
    assert score == pytest.approx(np.average([1, 0, 0], weights=score_weight))


@pytest.mark.parametrize(("threshold", "score"), [(0.0, 0.5), (0.5, 1.0), (0.9, 0.5)])
def test_validate_score_uses_the_threshold(threshold, score):
    model_batch = ModelBatch(Architecture(1, fit_intercept=False), torch.ones(1, 1))
    validation = validation_of([[1.0], [-1.0]], [1.0, 0.0])
    assert (
        validate(model_batch, validation, StoppingCriteria(1, 0, 1, threshold=threshold))[1]
        == score
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_validator_of_a_batch_gives_the_values_of_each_single_model(weighted):
    generator = torch.Generator().manual_seed(0)
    architecture = Architecture(2, (3,), "relu")
    parameters = torch.randn(4, architecture.n_parameters, generator=generator)
    weight = torch.rand(50, generator=generator) if weighted else None
    X = torch.randn(50, 2, generator=generator)
    validation = Dataset(
        DenseRows(X, torch.float32), (X[:, 0] > 0).float(), weight, score_weight=weight
    )
    criteria_per_model = [
        StoppingCriteria(1, 0, 1, threshold=threshold) for threshold in (0.2, 0.4, 0.5, 0.9)
    ]
    validation_of_models = {
        k: (validation, criteria) for k, criteria in enumerate(criteria_per_model)
    }
    results = Validator(
        validation_of_models, lambda models: ModelBatch(architecture, parameters[models])
    )([0, 2, 3])
    assert list(results) == [0, 2, 3]
    for k, found in results.items():
        single = validate(ModelBatch(architecture, parameters[k : k + 1]), *validation_of_models[k])
        assert found == pytest.approx(single)
