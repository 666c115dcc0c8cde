"""Moving averages of the weights against plain PyTorch, and their life in a fit."""

import pickle
import re
from dataclasses import astuple

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from skorch.callbacks import Callback

from skbinary import TorchMLPClassifier
from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.torch_module import build_module
from skbinary.solvers.loop import train_batch
from skbinary.solvers.minibatch.batched import BatchedMiniBatch
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.setup import L2Penalty, MiniBatchSetup
from skbinary.solvers.minibatch.single import MiniBatch
from skbinary.solvers.minibatch.weight_average import WeightAverage, training_weights
from skbinary.solvers.stopping import StoppingCriteria

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(300, 6, n_informative=4, flip_y=0.1, random_state=0)
N_FEATURES, BATCH_SIZE = 4, 10
ARCHITECTURE = Architecture(N_FEATURES, (5,), "tanh")


def make_dataset():
    rows = torch.randn(45, N_FEATURES, generator=torch.Generator().manual_seed(0))
    return Dataset(DenseRows(rows, torch.float32), (rows[:, 0] > 0).float())


def make_start(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ARCHITECTURE.n_parameters, generator=generator)


def make_setup(parameters, decay, rate=0.05, optimizer=Adam):
    return MiniBatchSetup(
        make_dataset(),
        optimizer(parameters),
        Schedule(rate),
        batch_size=BATCH_SIZE,
        l2_penalty=L2Penalty(0.0, per_batch=True),
        shuffler=None,
        weight_average=decay,
    )


def train_single(decay, n_epochs, seed=0, **settings):
    """Return the solver of a model after some epochs."""
    parameters = make_start(seed)[None].clone()
    setup = make_setup(parameters, decay, **settings)
    solver = MiniBatch(ModelBatch(ARCHITECTURE, parameters), setup)
    for _ in range(n_epochs):
        solver.run_epoch()
    return solver


@pytest.mark.parametrize("decay", [0.2, 0.9, 0.999])
def test_weight_average_equals_that_of_a_plain_torch_loop(decay):
    solver = train_single(decay, 3, optimizer=SGD)
    weights, biases = ARCHITECTURE.unpack(make_start()[None].clone())
    module = build_module(ARCHITECTURE, [w[0] for w in weights], [b[0] for b in biases])
    averages = [each.detach().clone() for each in module.parameters()]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    rows, target = make_dataset().rows.values, make_dataset().target
    n_steps = 0
    for _ in range(3):
        for batch, labels in zip(rows.split(10), target.split(10), strict=True):
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(module(batch), labels).backward()
            optimizer.step()
            n_steps += 1
            kept = min(decay, (1 + n_steps) / (10 + n_steps))
            for average, parameter in zip(averages, module.parameters(), strict=True):
                average.mul_(kept).add_(parameter.detach(), alpha=1 - kept)
    expected = ARCHITECTURE.pack([averages[0].mT, averages[2].mT], [averages[1], averages[3]])
    torch.testing.assert_close(solver.model_batch.parameters[0], expected, rtol=1e-4, atol=1e-6)


def test_weight_average_does_not_change_the_weights_that_are_trained():
    averaged, plain = train_single(0.9, 3), train_single(0.0, 3)
    expected = plain.model_batch.parameters
    assert torch.equal(averaged.state()["trained_weights"], expected[0])
    assert not torch.equal(averaged.model_batch.parameters, expected)
    assert averaged.state()["n_averaged"] == 15
    assert "trained_weights" not in plain.state()


def test_weight_average_does_not_change_the_training_curves():
    averaged, plain = train_single(0.9, 2).run_epoch(), train_single(0.0, 2).run_epoch()
    assert_equal(astuple(averaged), astuple(plain))  # NaN equals NaN


def test_weight_averages_of_a_batch_equal_those_of_single_models_while_others_are_removed():
    decays, epochs = (0.3, 0.99, 0.9), (2, 1, 4)
    starts = [make_start(seed) for seed in range(3)]
    setups = [make_setup(start[None], a) for start, a in zip(starts, decays, strict=True)]
    solver = BatchedMiniBatch(ARCHITECTURE, starts, setups)
    results = train_batch(solver, [StoppingCriteria(n, 0.0, np.inf) for n in epochs])
    for seed, (result, decay, n) in enumerate(zip(results, decays, epochs, strict=True)):
        expected = train_single(decay, n, seed).model_batch.parameters[0]
        torch.testing.assert_close(result.parameters, expected, rtol=1e-4, atol=1e-6)


def test_weight_average_after_an_interrupted_epoch_is_in_the_parameters():
    parameters = torch.zeros(1, 2)
    average = WeightAverage(parameters, [0.9])

    def interrupted_epoch():
        with training_weights(average):
            parameters.fill_(11.0)
            average.update()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_epoch()
    # The decay of the first step is 2 / 11.
    torch.testing.assert_close(parameters, torch.full((1, 2), 9.0))
    assert average.trained.tolist() == [[11.0, 11.0]]


def test_training_weights_without_an_average_does_nothing():
    with training_weights(None):
        pass


def test_weight_average_trains_parameters_on_from_where_a_callback_put_them():
    parameters = torch.zeros(1, 3)
    average = WeightAverage(parameters, [0.9])
    with training_weights(average):
        parameters.fill_(1.0)
        average.update()
    parameters[0, 1] = 5.0
    with training_weights(average):
        assert parameters.tolist() == [[1.0, 5.0, 1.0]]
    assert float(parameters[0, 1]) == 5.0


# -- estimators -----------------------------------------------------------------------------------


def network(**params):
    params = {"max_iter": 8, "batch_size": 50, "random_state": 0, "weight_average": 0.9, **params}
    return TorchMLPClassifier((6,), **params)


class Recorder(Callback):
    """Keeps the logits of the net after each batch and each epoch."""

    def initialize(self):
        self.batches_, self.epochs_ = [], []
        return self

    def on_batch_end(self, net, **kwargs):
        self.batches_.append(net.decision_function(X[:5]))

    def on_epoch_end(self, net, **kwargs):
        self.epochs_.append(net.decision_function(X[:5]))


def test_fit_with_weight_average_0_is_the_same_as_without():
    assert_array_equal(network(weight_average=0.0).fit(X, Y).coefs_[0], plain().coefs_[0])
    assert not np.array_equal(network().fit(X, Y).coefs_[0], plain().coefs_[0])


def plain():
    return TorchMLPClassifier((6,), max_iter=8, batch_size=50, random_state=0).fit(X, Y)


def test_early_stopping_validates_and_keeps_the_averages():
    model = network(max_iter=60, n_iter_no_change=3, learning_rate_init=0.05)
    model.fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    losses = model.validation_loss_curve_
    assert model.best_epoch_ == 1 + int(np.argmin(losses)) < len(losses)
    probability = model.predict_proba(X[200:])
    assert log_loss(Y[200:], probability) == pytest.approx(min(losses), rel=1e-5)


def test_callbacks_see_the_trained_weights_after_a_batch_and_the_averages_after_an_epoch():
    recorder, without = Recorder(), Recorder()
    model = network(callbacks=[recorder], max_iter=3).fit(X, Y)
    network(callbacks=[without], max_iter=3, weight_average=0.0).fit(X, Y)
    assert_allclose(recorder.batches_, without.batches_, atol=1e-5)
    assert_allclose(recorder.epochs_[-1], model.decision_function(X[:5]), atol=1e-5)
    assert np.abs(np.subtract(recorder.epochs_, without.epochs_)).max() > 1e-3


def test_interrupt_inside_an_epoch_keeps_the_averages():
    class Interrupt(Callback):
        n_batches = 0

        def on_batch_end(self, net, **kwargs):
            self.n_batches += 1
            if self.n_batches == 9:
                self.trained = net.decision_function(X[:5])
                raise KeyboardInterrupt

    interrupt = Interrupt()
    model = network(callbacks=[interrupt])
    with pytest.warns(UserWarning, match="interrupted by the user after 1 epoch"):
        model.fit(X, Y)
    assert np.abs(model.decision_function(X[:5]) - interrupt.trained).max() > 1e-3


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_continues_as_if_it_had_not_ended(solver):
    params = {"shuffle": False, "solver": solver, "early_stopping": False}
    whole = network(max_iter=4, n_iter_no_change=4, **params).fit(X, Y)
    model = network(**params)
    for _ in range(4):
        model = pickle.loads(pickle.dumps(model.partial_fit(X, Y)))
    assert_array_equal(model.coefs_[0], whole.coefs_[0])
    assert_array_equal(model.intercepts_[1], whole.intercepts_[1])


def test_partial_fit_with_a_weight_average_that_is_set_later_starts_from_the_weights():
    model = network(weight_average=0.0).partial_fit(X, Y)
    before = model.coefs_[0]
    model.set_params(weight_average=0.999).partial_fit(X, Y)
    assert 0 < np.abs(model.coefs_[0] - before).max() < 0.05
    model.set_params(weight_average=0.0).partial_fit(X, Y)
    assert "trained_weights" not in model._state.optimizer_state


def test_warm_start_starts_from_the_averages():
    model = network(warm_start=True, max_iter=3, n_iter_no_change=3).fit(X, Y)
    first = model.loss_curve_[-1]
    model.fit(X, Y)
    assert len(model.loss_curve_) == 6
    assert model.loss_curve_[3] < first + 0.05


def test_ensemble_members_keep_their_averages():
    averaged = network(n_members=3, early_stopping=False, n_iter_no_change=8).fit(X, Y)
    without = clone(averaged).set_params(weight_average=0.0).fit(X, Y)
    for k in range(3):
        assert not np.array_equal(averaged.coefs_[0][k], without.coefs_[0][k])
    assert_allclose(averaged.loss_curve_, without.loss_curve_, rtol=1e-5)


def test_weight_average_with_lbfgs_raises():
    message = (
        "weight_average must be 0 with solver='lbfgs', which lowers a fixed objective, got 0.9. "
        "Use solver='adam'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network(solver="lbfgs").fit(X, Y)


@pytest.mark.parametrize("decay", [-0.1, 1.0, "0.9"])
def test_weight_average_outside_its_range_raises(decay):
    with pytest.raises(ValueError, match="The 'weight_average' parameter of TorchMLPClassifier"):
        network(weight_average=decay).fit(X, Y)
