"""Who looks on during a fit: skorch's callbacks, scikit-learn's own, Ctrl-C, and verbose lines."""

import math
import re
import sys
import types
import warnings
from copy import deepcopy

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.fixes import parse_version
from skorch import NeuralNet
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    Freezer,
    GradientNormClipping,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    MlflowLogger,
    PassthroughScoring,
    PrintLog,
    TensorBoard,
    TrainEndCheckpoint,
    Unfreezer,
    WandbLogger,
)
from skorch.dataset import Dataset
from skorch.utils import to_numpy
from torch.utils.data import TensorDataset

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.callbacks import skorch
from skbinary.models.batch_of_models import ModelBatch

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]

STOPPED_BY_CALLBACK = "callback"
INTERRUPTED = "interrupted"
NO_FILES = {"f_params": None, "f_optimizer": None, "f_criterion": None, "f_history": None}


def cancer_rows():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


X, Y = cancer_rows()
X_TRAIN, Y_TRAIN, X_VAL, Y_VAL = X[:300], Y[:300], X[300:400], Y[300:400]
VALIDATION = {"X_val": X_VAL, "y_val": Y_VAL}


def small_mlp(**params):
    """Make a network that trains in milliseconds."""
    defaults = {"hidden_layer_sizes": (6,), "max_iter": 6, "batch_size": 64, "random_state": 0}
    defaults["early_stopping"] = False
    return TorchMLPClassifier(**{**defaults, **params})


def small_logistic(**params):
    """Make a logistic regression with batches."""
    defaults = {"solver": "sgd", "max_iter": 6, "batch_size": 64, "random_state": 0}
    return TorchLogisticClassifier(**{**defaults, **params})


WITH_BATCHES = [small_mlp, small_logistic]
FULL_BATCH = [
    TorchLogisticClassifier(solver="newton-cholesky"),
    TorchLogisticClassifier(solver="lbfgs"),
    TorchMLPClassifier((6,), solver="lbfgs", max_iter=20, random_state=0),
]
SCORED_MODELS = [small_mlp(), small_logistic(), *FULL_BATCH]


def weights_of(model):
    """Give all weights and biases in one vector."""
    if hasattr(model, "coefs_"):
        return np.concatenate([each.ravel() for each in [*model.coefs_, *model.intercepts_]])
    return np.concatenate([model.coef_.ravel(), model.intercept_])


def weights_in(state):
    """Give all weights and biases of a module's state dict, in the order of ``weights_of``."""
    arrays = [value.numpy() for value in state.values()]
    return np.concatenate([each.T.ravel() for each in [*arrays[::2], *arrays[1::2]]])


class Recorder(Callback):
    """Keeps the weights and the history; sees no batch."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.initial_ = deepcopy(net.module_.state_dict())
        self.states_ = []
        self.names_ = [name for name, _ in net.callbacks_]

    def on_epoch_end(self, net, **kwargs):
        self.states_.append(deepcopy(net.module_.state_dict()))
        self.history_ = deepcopy(net.history)

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.history_ = deepcopy(net.history)
        self.final_ = deepcopy(net.module_.state_dict())


class BatchCounter(Callback):
    """Counts the calls of every hook."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.begun_, self.ended_, self.gradients_ = [], [], 0
        self.sizes_ = []

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.begun_.append(training)

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.gradients_ += 1

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.ended_.append(training)
        self.sizes_.append(len(batch[0]))


class EpochCounter(Callback):
    """Counts epochs."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.events_ = ["train_begin"]

    def on_epoch_begin(self, net, **kwargs):
        self.events_.append("epoch_begin")

    def on_epoch_end(self, net, **kwargs):
        self.events_.append("epoch_end")

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.events_.append("train_end")


class RaiseAtEpochEnd(Callback):
    """Raises at the end of an epoch."""

    def __init__(self, error, epoch):
        self.error = error
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise self.error


class RaiseAtBatchEnd(Callback):
    """Raises at the end of the second batch of an epoch."""

    def __init__(self, error, epoch):
        self.error = error
        self.epoch = epoch

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        if len(net.history) == self.epoch and len(net.history[-1, "batches"]) == 2:
            raise self.error


class RaiseAtTrainBegin(Callback):
    """Raises before the first epoch."""

    def __init__(self, error):
        self.error = error

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        raise self.error


@pytest.fixture
def runs(monkeypatch):
    """Collect the run of every fit that has skorch callbacks."""
    seen = []
    begin = skorch.SkorchHost.train_begin

    def spy(self, run):
        begin(self, run)
        seen.append(run)

    monkeypatch.setattr(skorch.SkorchHost, "train_begin", spy)
    return seen


def train_by_hand(initial, rate_of_step, n_epochs, *, clip=None, alpha=0.0):
    """Train one hidden layer of relu with plain SGD in plain torch, batches in the given order."""
    model = torch.nn.Sequential(torch.nn.Linear(30, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    model.load_state_dict(initial)
    rows = torch.tensor(X_TRAIN, dtype=torch.float32)
    target = torch.tensor(Y_TRAIN, dtype=torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate_of_step(0))
    step = 0
    for _ in range(n_epochs):
        for batch in torch.arange(len(rows)).split(64):
            optimizer.param_groups[0]["lr"] = rate_of_step(step)
            optimizer.zero_grad()
            logits = model(rows[batch])[:, 0]
            torch.nn.functional.binary_cross_entropy_with_logits(logits, target[batch]).backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            step += 1
    return weights_in(model.state_dict())


def plain_sgd(**params):
    """Make the network that ``train_by_hand`` trains."""
    settings = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "shuffle": False}
    return small_mlp(**{**settings, "learning_rate_init": 0.1, **params})


# -- EarlyStopping ------------------------------------------------------------------------------


def noisy_labels():
    return np.random.RandomState(0).randint(2, size=400)


def overfitting_mlp(*callbacks, **params):
    """Fit random labels, so that the validation loss soon rises."""
    y = noisy_labels()
    settings = {"max_iter": 100, "learning_rate_init": 0.01, "n_iter_no_change": 100}
    model = small_mlp(hidden_layer_sizes=(40,), callbacks=list(callbacks), **settings, **params)
    return model.fit(X[:300], y[:300], X_val=X[300:400], y_val=y[300:])


@pytest.mark.parametrize("patience", [2, 5])
def test_early_stopping_without_improvement_stops_after_patience(patience):
    model = overfitting_mlp(EarlyStopping(patience=patience, threshold=0))
    best = int(np.argmin(model.validation_loss_curve_)) + 1
    assert model.n_iter_ == best + patience
    assert model.n_iter_ < 100


def test_early_stopping_out_of_patience_gives_callback_as_reason():
    assert overfitting_mlp(EarlyStopping(patience=2)).stop_reason_ == STOPPED_BY_CALLBACK


def test_early_stopping_out_of_patience_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = overfitting_mlp(EarlyStopping(patience=2))
    assert model.stop_reason_ == STOPPED_BY_CALLBACK


def test_early_stopping_with_load_best_restores_the_best_weights():
    recorder = Recorder()
    model = overfitting_mlp(recorder, EarlyStopping(patience=4, threshold=0, load_best=True))
    best = int(np.argmin(model.validation_loss_curve_))
    assert best + 1 < model.n_iter_
    assert_array_equal(weights_of(model), weights_in(recorder.states_[best]))


def test_early_stopping_without_load_best_keeps_the_last_weights():
    recorder = Recorder()
    model = overfitting_mlp(recorder, EarlyStopping(patience=4, threshold=0))
    assert_array_equal(weights_of(model), weights_in(recorder.states_[-1]))


def test_early_stopping_on_logistic_with_batches_stops():
    model = small_logistic(
        max_iter=50, callbacks=[EarlyStopping("train_loss", patience=2, threshold=0.5)]
    ).fit(X_TRAIN, Y_TRAIN)
    assert model.stop_reason_ == STOPPED_BY_CALLBACK
    assert model.n_iter_[0] < 50


@pytest.mark.parametrize("model", FULL_BATCH, ids=lambda model: f"{type(model).__name__}")
def test_early_stopping_on_full_batch_solver_stops(model):
    stopper = EarlyStopping("train_loss", patience=1, threshold=0.9)
    model = clone(model).set_params(callbacks=[stopper]).fit(X_TRAIN, Y_TRAIN)
    assert model.stop_reason_ == STOPPED_BY_CALLBACK


@pytest.mark.parametrize("model", FULL_BATCH, ids=lambda model: f"{type(model).__name__}")
def test_early_stopping_on_full_batch_solver_restores_the_best_weights(model):
    recorder = Recorder()
    stopper = EarlyStopping("train_loss", patience=2, threshold=0.9, load_best=True)
    model = clone(model).set_params(callbacks=[recorder, stopper]).fit(X_TRAIN, Y_TRAIN)
    best = stopper.best_epoch_
    assert best < len(recorder.states_)
    assert_array_equal(weights_of(model), weights_in(recorder.states_[best - 1]))


def test_early_stopping_on_held_out_rows_monitors_them():
    model = small_mlp(
        early_stopping=True,
        max_iter=60,
        n_iter_no_change=60,
        callbacks=[EarlyStopping("valid_acc", patience=3, lower_is_better=False)],
    ).fit(X_TRAIN, Y_TRAIN)
    assert model.stop_reason_ == STOPPED_BY_CALLBACK


@pytest.mark.parametrize(
    "callback",
    [EarlyStopping(), Checkpoint(**NO_FILES), LRScheduler("StepLR", "valid_loss", step_size=1)],
    ids=lambda callback: type(callback).__name__,
)
def test_callback_that_monitors_valid_loss_without_validation_rows_is_an_error(callback):
    model = small_mlp(callbacks=[callback])
    name = type(callback).__name__
    message = f"{name} must have validation rows to monitor .*got none.*X_val and y_val"
    with pytest.raises(ValueError, match=message):
        model.fit(X_TRAIN, Y_TRAIN)


def test_callback_that_monitors_a_score_of_training_rows_needs_no_validation_rows():
    scoring = EpochScoring("roc_auc", lower_is_better=False, on_train=True, name="valid_like")
    stopper = EarlyStopping("valid_like", lower_is_better=False, patience=1, threshold=0.5)
    model = small_mlp(callbacks=[scoring, stopper]).fit(X_TRAIN, Y_TRAIN)
    assert model.stop_reason_ == STOPPED_BY_CALLBACK


def test_callback_that_monitors_the_best_score_of_training_rows_needs_no_validation_rows():
    scoring = EpochScoring("roc_auc", lower_is_better=False, on_train=True, name="valid_like")
    recorder = Recorder()
    small_mlp(callbacks=[scoring, Checkpoint("valid_like_best", **NO_FILES), recorder]).fit(
        X_TRAIN, Y_TRAIN
    )
    assert recorder.history_[:, "event_cp"][0] is True


def test_callback_without_its_rows_leaves_the_estimator_unfitted():
    model = small_mlp(callbacks=[EarlyStopping()])
    before = dict(vars(model))
    with pytest.raises(ValueError, match="validation rows"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert vars(model) == before


# -- LRScheduler --------------------------------------------------------------------------------


@pytest.mark.parametrize("make", WITH_BATCHES)
def test_lr_scheduler_with_step_lr_sets_the_recorded_rates(make):
    schedule = LRScheduler("StepLR", step_size=2, gamma=0.5)
    model = make(learning_rate_init=0.08, callbacks=[schedule]).fit(X_TRAIN, Y_TRAIN)
    assert model.history_["learning_rate"] == [0.08, 0.08, 0.04, 0.04, 0.02, 0.02]


@pytest.mark.parametrize("make", WITH_BATCHES)
def test_lr_scheduler_with_exponential_lr_sets_the_recorded_rates(make):
    schedule = LRScheduler("ExponentialLR", gamma=0.9)
    model = make(learning_rate_init=0.08, callbacks=[schedule]).fit(X_TRAIN, Y_TRAIN)
    assert model.history_["learning_rate"] == schedule.simulate(6, 0.08).tolist()


def test_lr_scheduler_on_plateau_follows_the_monitored_loss():
    schedule = LRScheduler("ReduceLROnPlateau", "valid_loss", patience=0, factor=0.5)
    model = small_mlp(max_iter=12, learning_rate_init=0.3, callbacks=[schedule])
    model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    expected = []
    for loss in model.validation_loss_curve_:
        expected.append(optimizer.param_groups[0]["lr"])
        oracle.step(loss)
    assert model.history_["learning_rate"] == expected
    assert expected[-1] < 0.3


def test_lr_scheduler_by_epoch_equals_a_loop_of_plain_torch():
    recorder = Recorder()
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.5)
    model = plain_sgd(max_iter=4, callbacks=[recorder, schedule]).fit(X_TRAIN, Y_TRAIN)
    expected = train_by_hand(recorder.initial_, lambda step: 0.1 * 0.5 ** (step // 5), 4)
    assert_allclose(weights_of(model), expected, atol=1e-5)


def test_lr_scheduler_by_batch_equals_a_loop_of_plain_torch():
    recorder = Recorder()
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.8, step_every="batch")
    model = plain_sgd(max_iter=4, callbacks=[recorder, schedule]).fit(X_TRAIN, Y_TRAIN)
    expected = train_by_hand(recorder.initial_, lambda step: 0.1 * 0.8**step, 4)
    assert_allclose(weights_of(model), expected, atol=1e-5)


def test_lr_scheduler_by_batch_records_the_rate_of_each_epochs_first_batch():
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.8, step_every="batch")
    model = plain_sgd(max_iter=3, callbacks=[schedule]).fit(X_TRAIN, Y_TRAIN)
    rates = schedule.simulate(15, 0.1)
    assert_allclose(model.history_["learning_rate"], rates[[0, 5, 10]], rtol=1e-12)


def test_lr_scheduler_on_full_batch_solver_is_an_error():
    model = TorchLogisticClassifier(callbacks=[LRScheduler("StepLR", step_size=1)])
    with pytest.raises(ValueError, match=r"LRScheduler must be the only one.*solver='adam'"):
        model.fit(X_TRAIN, Y_TRAIN)


@pytest.mark.parametrize("learning_rate", ["cosine", "onecycle"])
def test_lr_scheduler_beside_another_schedule_is_an_error(learning_rate):
    callbacks = [LRScheduler("StepLR", step_size=1)]
    model = small_mlp(learning_rate=learning_rate, callbacks=callbacks)
    with pytest.raises(ValueError, match="LRScheduler must be the only one"):
        model.fit(X_TRAIN, Y_TRAIN)


def test_lr_scheduler_that_is_the_only_callback_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        model = small_mlp(callbacks=[LRScheduler("ExponentialLR", gamma=0.9)])
        model.fit(X_TRAIN, Y_TRAIN)
    assert len(model.history_["learning_rate"]) == 6


@pytest.mark.parametrize("make", WITH_BATCHES)
def test_lr_scheduler_that_cycles_the_momentum_is_an_error(make):
    policy = {"policy": "CyclicLR", "base_lr": 0.001, "max_lr": 0.01, "step_every": "batch"}
    with pytest.raises(ValueError, match=r"changes the momentum.*cycle_momentum=False"):
        make(callbacks=[LRScheduler(**policy)]).fit(X_TRAIN, Y_TRAIN)
    model = make(callbacks=[LRScheduler(**policy, cycle_momentum=False)]).fit(X_TRAIN, Y_TRAIN)
    assert model.history_["learning_rate"][-1] > 0.001


# -- Checkpoint, TrainEndCheckpoint, LoadInitState ----------------------------------------------


def test_checkpoint_with_load_best_restores_the_best_weights(tmp_path):
    recorder = Recorder()
    checkpoint = Checkpoint(dirname=str(tmp_path), load_best=True)
    model = overfitting_mlp(recorder, checkpoint, EarlyStopping(patience=4, threshold=0))
    best = int(np.argmin(model.validation_loss_curve_))
    assert_array_equal(weights_of(model), weights_in(recorder.states_[best]))


def test_checkpoint_params_load_into_the_net_view(tmp_path):
    model = small_mlp(callbacks=[Checkpoint(monitor=None, dirname=str(tmp_path))])
    model.fit(X_TRAIN, Y_TRAIN)
    net = small_mlp(random_state=1).fit(X_TRAIN, Y_TRAIN).net_
    net.load_params(f_params=str(tmp_path / "params.pt"))
    assert_array_equal(weights_in(net.module_.state_dict()), weights_of(model))


def test_checkpoint_writes_all_its_files(tmp_path):
    model = small_mlp(callbacks=[Checkpoint(dirname=str(tmp_path), fn_prefix="best_")])
    model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"best_params.pt", "best_optimizer.pt", "best_history.json"} <= names


@pytest.mark.parametrize("name", ["event_cp", "is_best"])
def test_checkpoint_event_marks_the_epochs_with_a_better_loss(name):
    recorder = Recorder()
    checkpoint = Checkpoint(event_name=name, **NO_FILES)
    model = overfitting_mlp(checkpoint, EarlyStopping(patience=3), recorder)
    losses = model.validation_loss_curve_
    expected = [all(loss < each for each in losses[:i]) for i, loss in enumerate(losses)]
    assert recorder.history_[:, name] == expected
    assert not all(expected)


def test_checkpoint_on_full_batch_solver_restores_the_monitored_epoch(tmp_path):
    recorder = Recorder()
    checkpoint = Checkpoint(
        lambda net: len(net.history) == 2, dirname=str(tmp_path), load_best=True
    )
    model = TorchLogisticClassifier(callbacks=[recorder, checkpoint]).fit(X_TRAIN, Y_TRAIN)
    assert len(recorder.states_) > 2
    assert_array_equal(weights_of(model), weights_in(recorder.states_[1]))


def test_train_end_checkpoint_saves_the_fitted_weights(tmp_path):
    model = small_mlp(callbacks=[TrainEndCheckpoint(dirname=str(tmp_path))]).fit(X_TRAIN, Y_TRAIN)
    state = torch.load(tmp_path / "train_end_params.pt")
    assert_array_equal(weights_in(state), weights_of(model))


@pytest.mark.parametrize("kind", [Checkpoint, TrainEndCheckpoint])
def test_load_init_state_starts_from_the_saved_weights(tmp_path, kind):
    monitor = {"monitor": None} if kind is Checkpoint else {}
    first = small_mlp(callbacks=[kind(dirname=str(tmp_path), **monitor)]).fit(X_TRAIN, Y_TRAIN)
    recorder = Recorder()
    load = LoadInitState(kind(dirname=str(tmp_path), **monitor).initialize())
    small_mlp(random_state=1, callbacks=[load, recorder]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_in(recorder.initial_), weights_of(first))


def test_load_init_state_leaves_the_curves_of_this_fit_alone(tmp_path):
    checkpoint = Checkpoint(monitor=None, dirname=str(tmp_path))
    small_mlp(callbacks=[checkpoint]).fit(X_TRAIN, Y_TRAIN)
    model = small_mlp(callbacks=[LoadInitState(checkpoint)]).fit(X_TRAIN, Y_TRAIN)
    assert len(model.loss_curve_) == 6


def test_load_init_state_without_a_file_starts_anew(tmp_path):
    load = LoadInitState(Checkpoint(monitor=None, dirname=str(tmp_path)))
    model = small_mlp(callbacks=[load]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(model), weights_of(small_mlp().fit(X_TRAIN, Y_TRAIN)))


@pytest.fixture
def safetensors(monkeypatch):
    """Stand in for the package safetensors, which takes contiguous tensors only."""

    def save_file(state, path):
        if not all(value.is_contiguous() for value in state.values()):
            raise ValueError("You are trying to save a non contiguous tensor")
        torch.save(dict(state), path)

    module = types.ModuleType("safetensors.torch")
    module.save_file, module.save = save_file, None
    package = types.ModuleType("safetensors")
    package.torch = module
    monkeypatch.setitem(sys.modules, "safetensors", package)
    monkeypatch.setitem(sys.modules, "safetensors.torch", module)
    monkeypatch.setattr(skorch, "_HAS_SAFETENSORS", True)


@pytest.mark.parametrize("kind", [Checkpoint, TrainEndCheckpoint])
@pytest.mark.parametrize(
    "model", [*SCORED_MODELS, small_mlp(hidden_layer_sizes=(6, 5))], ids=lambda m: type(m).__name__
)
def test_checkpoint_with_safetensors_saves_the_weights(kind, model, safetensors, tmp_path):
    every_epoch = {"monitor": None} if kind is Checkpoint else {}
    files = {"f_optimizer": None, "f_criterion": None, "fn_prefix": "", "dirname": str(tmp_path)}
    checkpoint = kind(use_safetensors=True, **files, **every_epoch)
    model = clone(model).set_params(callbacks=[checkpoint]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_in(torch.load(tmp_path / "params.pt")), weights_of(model))


def test_checkpoint_with_safetensors_leaves_the_module_as_it_was(safetensors, tmp_path):
    class SharesMemory(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.save_params(f_params=str(tmp_path / "params.pt"), use_safetensors=True)
            first, *_ = net.module_.parameters()
            self.shared_ = net.module_.state_dict()["0.weight"].data_ptr() == first.data_ptr()

    sharing = SharesMemory()
    small_mlp(callbacks=[sharing]).fit(X_TRAIN, Y_TRAIN)
    assert sharing.shared_


@pytest.mark.parametrize("kind", [Checkpoint, TrainEndCheckpoint, LoadInitState])
def test_checkpoint_without_safetensors_is_an_error(kind, monkeypatch, tmp_path):
    monkeypatch.setattr(skorch, "_HAS_SAFETENSORS", False)
    files = {"f_optimizer": None, "dirname": str(tmp_path)}
    if kind is LoadInitState:
        files = {"checkpoint": Checkpoint()}
    model = small_mlp(callbacks=[kind(use_safetensors=True, **files)])
    message = rf"{kind.__name__} must have the package safetensors.*It is not installed. Run 'pyth"
    with pytest.raises(ValueError, match=message):
        model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize("kind", [Checkpoint, TrainEndCheckpoint])
def test_checkpoint_that_cannot_write_warns_once(kind, tmp_path):
    files = {**NO_FILES, "f_params": str(tmp_path / "no folder" / "params.pt")}
    checkpoint = kind(**files, fn_prefix="")
    with pytest.warns(UserWarning, match=r"could not save its files: RuntimeError") as caught:
        small_mlp(callbacks=[checkpoint]).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    [told] = [each for each in caught if "could not save" in str(each.message)]
    assert told.filename == __file__


# -- EpochScoring, BatchScoring, PassthroughScoring ---------------------------------------------

LABELS = {
    "ints": np.array([0, 1]),
    "signs": np.array([-1, 1]),
    "strings": np.array(["benign", "malignant"]),
    "bools": np.array([False, True]),
}


@pytest.mark.parametrize("model", SCORED_MODELS, ids=lambda model: f"{type(model).__name__}")
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_epoch_scoring_of_validation_rows_equals_the_estimators_score(model, labels):
    recorder = Recorder()
    scoring = EpochScoring("roc_auc", lower_is_better=False)
    model = clone(model).set_params(callbacks=[scoring, recorder])
    model.fit(X_TRAIN, labels[Y_TRAIN], X_val=X_VAL, y_val=labels[Y_VAL])
    score = roc_auc_score(Y_VAL, model.decision_function(X_VAL))
    assert recorder.history_[-1, "roc_auc"] == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_epoch_scoring_of_training_rows_equals_the_estimators_score(labels):
    recorder = Recorder()
    scoring = EpochScoring("accuracy", lower_is_better=False, on_train=True, name="train_acc")
    model = small_mlp(callbacks=[scoring, recorder]).fit(X_TRAIN, labels[Y_TRAIN])
    score = model.score(X_TRAIN, labels[Y_TRAIN])
    assert recorder.history_[-1, "train_acc"] == pytest.approx(score, abs=1e-12)


def test_epoch_scoring_with_a_threshold_labels_by_it():
    recorder = Recorder()
    scoring = EpochScoring("recall", lower_is_better=False)
    model = small_mlp(threshold=0.9, callbacks=[scoring, recorder], max_iter=2)
    model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    recall = model.predict(X_VAL)[Y_VAL == 1].mean()
    assert recorder.history_[-1, "recall"] == pytest.approx(recall, abs=1e-12)
    assert recall < 1


def test_epoch_scoring_with_own_function_equals_the_validation_loss():
    recorder = Recorder()
    scoring = EpochScoring("neg_log_loss", lower_is_better=False, name="logs")
    model = small_mlp(callbacks=[scoring, recorder]).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    expected = -np.array(model.validation_loss_curve_)
    assert_allclose(recorder.history_[:, "logs"], expected, rtol=1e-5)


def test_epoch_scoring_of_held_out_rows_sees_no_training_row():
    recorder = Recorder()
    scoring = EpochScoring("accuracy", lower_is_better=False)
    model = small_mlp(early_stopping=True, callbacks=[scoring, recorder]).fit(X_TRAIN, Y_TRAIN)
    assert_allclose(recorder.history_[:, "accuracy"], model.validation_scores_, atol=1e-6)


def test_epoch_scoring_without_validation_rows_records_nothing():
    recorder = Recorder()
    small_mlp(callbacks=[EpochScoring("roc_auc"), recorder]).fit(X_TRAIN, Y_TRAIN)
    assert "roc_auc" not in recorder.history_[-1]


@pytest.mark.parametrize("model", [small_mlp(), *FULL_BATCH], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("on_train", [False, True])
def test_epoch_scoring_of_sparse_rows_equals_that_of_dense_rows(model, on_train):
    scores = []
    for kind in (np.asarray, sparse.csr_array):
        recorder = Recorder()
        scoring = EpochScoring("roc_auc", lower_is_better=False, on_train=on_train)
        each = clone(model).set_params(callbacks=[scoring, recorder])
        each.fit(kind(X_TRAIN), Y_TRAIN, X_val=kind(X_VAL), y_val=Y_VAL)
        scores.append(recorder.history_[-1, "roc_auc"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_epoch_scoring_of_held_out_sparse_rows_scores_them():
    recorder = Recorder()
    scoring = EpochScoring("accuracy", lower_is_better=False)
    model = small_mlp(early_stopping=True, callbacks=[scoring, recorder])
    model.fit(sparse.csr_array(X_TRAIN), Y_TRAIN)
    assert_allclose(recorder.history_[:, "accuracy"], model.validation_scores_, atol=1e-6)


def test_epoch_scoring_of_images_equals_the_estimators_score():
    images, labels, recorder = np.random.RandomState(0).rand(60, 3, 8, 8), Y[:60], Recorder()
    scoring = EpochScoring("roc_auc", lower_is_better=False, on_train=True)
    model = small_mlp(callbacks=[scoring, recorder]).fit(images, labels)
    score = roc_auc_score(labels, model.decision_function(images))
    assert recorder.history_[-1, "roc_auc"] == pytest.approx(score, abs=1e-9)


class CachedScoring(EpochScoring):
    """Scores what skorch has cached, as its documentation of ``get_test_data`` shows."""

    def on_epoch_end(self, net, dataset_train, dataset_valid, **kwargs):
        self.data_ = self.get_test_data(dataset_train, dataset_valid, self.use_caching)
        _, y_test, y_pred = self.data_
        logits = np.concatenate([to_numpy(each) for each in y_pred])
        self._record_score(net.history, roc_auc_score(y_test == net.classes_[1], logits))


class ScoredAgain(EpochScoring):
    """Predicts the rows of ``get_test_data`` itself, as ``EpochScoring`` does."""

    def on_epoch_end(self, net, dataset_train, dataset_valid, **kwargs):
        rows, y_test, _ = self.get_test_data(dataset_train, dataset_valid, self.use_caching)
        self._record_score(net.history, self._scoring(net, rows, y_test))


def fit_scored(model, scoring, labels, rows=X_TRAIN):
    """Fit with the callback, and give the model and the ROC AUC of the rows it scores."""
    model = clone(model).set_params(callbacks=[scoring])
    model.fit(rows, labels[Y_TRAIN], X_val=X_VAL, y_val=labels[Y_VAL])
    scored = (rows, Y_TRAIN) if scoring.on_train else (X_VAL, Y_VAL)
    return model, roc_auc_score(scored[1], model.decision_function(scored[0]))


@pytest.mark.parametrize("on_train", [False, True])
@pytest.mark.parametrize("kind", [CachedScoring, ScoredAgain])
@pytest.mark.parametrize("model", SCORED_MODELS, ids=lambda model: f"{type(model).__name__}")
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_epoch_scoring_subclass_with_get_test_data_equals_the_estimators_score(
    labels, model, kind, on_train
):
    scoring = kind("roc_auc", lower_is_better=False, on_train=on_train, name="auc")
    model, expected = fit_scored(model, scoring, labels)
    assert model.history_["auc"][-1] == pytest.approx(expected, abs=1e-9)


def test_epoch_scoring_subclass_without_caching_gets_rows_and_no_predictions():
    scoring = ScoredAgain("roc_auc", lower_is_better=False, name="auc", use_caching=False)
    model, expected = fit_scored(FULL_BATCH[0], scoring, LABELS["strings"])
    assert model.history_["auc"][-1] == pytest.approx(expected, abs=1e-9)


def test_epoch_scoring_subclass_of_held_out_sparse_rows_scores_them():
    scoring = CachedScoring("roc_auc", lower_is_better=False, name="auc")
    model = small_mlp(early_stopping=True, callbacks=[scoring])
    model.fit(sparse.csr_matrix(X_TRAIN), Y_TRAIN)
    _, y_test, y_pred = scoring.data_
    assert len(y_test) == sum(map(len, y_pred)) == math.ceil(0.1 * len(Y_TRAIN))
    assert len(model.history_["auc"]) == model.n_iter_


def test_epoch_scoring_subclass_with_hooks_of_its_own_sees_batches_and_predictions():
    class Counting(CachedScoring):
        def on_batch_end(self, net, batch, training, **kwargs):
            super().on_batch_end(net, batch=batch, training=training, **kwargs)
            self.counted_ = getattr(self, "counted_", 0) + 1

    scoring = Counting("roc_auc", lower_is_better=False, name="auc")
    model, expected = fit_scored(small_mlp(), scoring, LABELS["ints"])
    assert model.history_["auc"][-1] == pytest.approx(expected, abs=1e-9)
    assert scoring.counted_ == 6 * (5 + 1)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_batch_scoring_of_validation_rows_equals_the_estimators_score(labels):
    recorder = Recorder()
    scoring = BatchScoring("accuracy", lower_is_better=False)
    model = small_mlp(callbacks=[scoring, recorder])
    model.fit(X_TRAIN, labels[Y_TRAIN], X_val=X_VAL, y_val=labels[Y_VAL])
    score = model.score(X_VAL, labels[Y_VAL])
    assert recorder.history_[-1, "accuracy"] == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_batch_scoring_of_one_training_batch_equals_the_estimators_score(labels):
    recorder = Recorder()
    scoring = BatchScoring("accuracy", lower_is_better=False, on_train=True)
    model = small_mlp(
        callbacks=[scoring, recorder], batch_size=300, learning_rate_init=1e-9, max_iter=2
    ).fit(X_TRAIN, labels[Y_TRAIN])
    score = model.score(X_TRAIN, labels[Y_TRAIN])
    assert recorder.history_[-1, "accuracy"] == pytest.approx(score, abs=0.01)


def test_batch_scoring_of_sparse_rows_equals_that_of_dense_rows():
    scores = []
    for kind in (np.asarray, sparse.csr_array):
        recorder = Recorder()
        callbacks = [BatchScoring("accuracy", lower_is_better=False), recorder]
        model = small_mlp(callbacks=callbacks)
        model.fit(kind(X_TRAIN), Y_TRAIN, X_val=kind(X_VAL), y_val=Y_VAL)
        scores.append(recorder.history_[-1, "accuracy"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


class BatchNumber(Callback):
    """Records the number of each training batch."""

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        if training:
            net.history.record_batch("number", len(net.history[-1, "batches"]))


def test_passthrough_scoring_averages_what_batches_recorded():
    recorder = Recorder()
    through = PassthroughScoring("number", on_train=True)
    small_mlp(callbacks=[BatchNumber(), through, recorder]).fit(X_TRAIN, Y_TRAIN)
    expected = np.average([1, 2, 3, 4, 5], weights=[64, 64, 64, 64, 44])
    assert recorder.history_[-1, "number"] == pytest.approx(expected)


def test_passthrough_scoring_of_the_training_loss_equals_the_loss_curve():
    recorder = Recorder()
    through = PassthroughScoring("train_loss", on_train=True)
    model = small_mlp(callbacks=[BatchNumber(), through, recorder]).fit(X_TRAIN, Y_TRAIN)
    assert_allclose(recorder.history_[:, "train_loss"], model.loss_curve_, rtol=1e-5)


@pytest.mark.parametrize("model", SCORED_MODELS, ids=lambda model: f"{type(model).__name__}")
@pytest.mark.parametrize(("name", "on_train"), [("train_loss", True), ("valid_loss", False)])
def test_passthrough_scoring_by_itself_equals_the_curve(model, name, on_train):
    recorder = Recorder()
    callbacks = [PassthroughScoring(name, on_train=on_train), recorder]
    model = clone(model).set_params(callbacks=callbacks).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    curve = model.loss_curve_ if on_train else model.validation_loss_curve_
    assert_allclose(recorder.history_[:, name], curve, rtol=1e-6)


# -- what callbacks record ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, False, 3, 0.5], ids=repr)
@pytest.mark.parametrize("wrap", [lambda v: v, np.asarray, lambda v: np.asarray(v)[()]])
def test_history_keeps_what_a_callback_records_as_it_is(value, wrap):
    class Records(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("noted", wrap(value))

    model = small_mlp(max_iter=2, callbacks=[Records()]).fit(X_TRAIN, Y_TRAIN)
    assert model.history_["noted"] == [value, value]
    assert {type(each) for each in model.history_["noted"]} == {type(value)}
    assert model.net_.history[:, "noted"] == [value, value]


def test_history_holds_numbers_that_are_recorded_as_tensors():
    class Records(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("norm", torch.tensor(2.5))

    model = small_mlp(max_iter=2, callbacks=[Records()]).fit(X_TRAIN, Y_TRAIN)
    assert model.history_["norm"] == [2.5, 2.5]
    assert type(model.history_["norm"][0]) is float


def test_history_holds_the_events_of_callbacks_as_truth_values():
    callbacks = [EpochScoring("accuracy", lower_is_better=False), Checkpoint(**NO_FILES)]
    model = small_mlp(callbacks=callbacks).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    for name in ("accuracy_best", "event_cp"):
        assert {type(each) for each in model.history_[name]} == {bool}


# -- logs ---------------------------------------------------------------------------------------


class FakeTracker:
    """Stands in for the run of a tracker, and for its client."""

    def __init__(self, folder=""):
        self.dir, self.info, self.logged = str(folder), types.SimpleNamespace(run_id=1), []

    def watch(self, module):
        self.watched = module

    def log(self, values):
        self.logged.append(values["train_loss"])

    def log_metric(self, run, name, value, step):
        self.logged += [value] if name == "train_loss" else []

    def add_scalar(self, tag, scalar_value, global_step):
        self.logged += [scalar_value] if tag == "Loss/train_loss" else []

    def log_artifact(self, run, path):
        self.saved = path.exists()

    def set_terminated(self, run):
        self.ended = True

    def close(self):
        self.ended = True


LOGGERS = {
    "wandb": lambda tracker: WandbLogger(tracker),
    "mlflow": lambda tracker: MlflowLogger(tracker, tracker),
    "tensorboard": lambda tracker: TensorBoard(tracker),
}


@pytest.mark.parametrize("make", LOGGERS.values(), ids=LOGGERS.keys())
@pytest.mark.parametrize("model", SCORED_MODELS, ids=lambda model: f"{type(model).__name__}")
def test_tracker_of_epochs_logs_the_loss_curve(model, make, tmp_path, runs):
    tracker = FakeTracker(tmp_path)
    model = clone(model).set_params(callbacks=[make(tracker)])
    model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert tracker.logged == model.loss_curve_
    assert getattr(runs[0].solver, "hooks", None) is None  # no second pass over each batch


def test_wandb_logger_without_validation_rows_is_an_error(tmp_path):
    model = small_mlp(callbacks=[WandbLogger(FakeTracker(tmp_path))])
    with pytest.raises(ValueError, match="WandbLogger must have validation rows to monitor"):
        model.fit(X_TRAIN, Y_TRAIN)
    tracker = FakeTracker(tmp_path)
    model.set_params(callbacks=[WandbLogger(tracker, save_model=False)]).fit(X_TRAIN, Y_TRAIN)
    assert tracker.logged == model.loss_curve_


def test_input_shape_setter_is_an_error():
    with pytest.raises(ValueError, match="fit takes the number of features from X"):
        small_mlp(callbacks=[InputShapeSetter()]).fit(X_TRAIN, Y_TRAIN)


def test_net_under_training_knows_the_size_of_batches():
    class Sizes(Callback):
        def on_train_begin(self, net, **kwargs):
            self.size_ = net.batch_size

    sizes = Sizes()
    small_mlp(batch_size="auto", callbacks=[sizes]).fit(X_TRAIN, Y_TRAIN)
    assert sizes.size_ == 200


def test_print_log_with_a_sink_writes_a_row_for_each_epoch():
    lines = []
    small_mlp(callbacks=[PrintLog(sink=lines.append)]).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    rows = [re.sub(r"\x1b\[\d+m", "", line).split() for line in lines[2:]]
    assert lines[0].split() == ["epoch", "train_loss", "valid_acc", "valid_loss", "dur"]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6"]


def test_print_log_shows_the_losses_of_the_curves():
    lines = []
    model = small_mlp(callbacks=[PrintLog(sink=lines.append)])
    model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    shown = [float(re.sub(r"\x1b\[\d+m", "", line).split()[1]) for line in lines[2:]]
    assert_allclose(shown, model.loss_curve_, atol=1e-4)


def test_epoch_timer_records_durations():
    recorder = Recorder()
    small_mlp(callbacks=[EpochTimer(), recorder]).fit(X_TRAIN, Y_TRAIN)
    assert all(seconds > 0 for seconds in recorder.history_[:, "dur"])


# -- gradients and frozen layers ----------------------------------------------------------------


@pytest.mark.parametrize("clip", [0.05, 1e6])
def test_gradient_norm_clipping_equals_a_clipped_loop_of_plain_torch(clip):
    recorder = Recorder()
    model = plain_sgd(callbacks=[recorder, GradientNormClipping(clip)]).fit(X_TRAIN, Y_TRAIN)
    expected = train_by_hand(recorder.initial_, lambda step: 0.1, 6, clip=clip)
    assert_allclose(weights_of(model), expected, atol=2e-6)


def test_gradient_norm_clipping_changes_what_is_learnt():
    clipped = plain_sgd(callbacks=[GradientNormClipping(0.05)]).fit(X_TRAIN, Y_TRAIN)
    free = plain_sgd().fit(X_TRAIN, Y_TRAIN)
    assert np.abs(weights_of(clipped) - weights_of(free)).max() > 1e-2


def test_gradient_norm_clipping_on_logistic_bounds_every_step():
    model = small_logistic(
        momentum=0.0,
        learning_rate_init=1.0,
        max_iter=1,
        batch_size=300,
        callbacks=[GradientNormClipping(0.01)],
    ).fit(X_TRAIN, Y_TRAIN)
    assert np.linalg.norm(weights_of(model)) == pytest.approx(0.01, rel=1e-3)


def test_gradient_norm_clipping_on_full_batch_solver_is_an_error():
    model = TorchLogisticClassifier(callbacks=[GradientNormClipping(1.0)])
    with pytest.raises(ValueError, match="GradientNormClipping must have a solver with batches"):
        model.fit(X_TRAIN, Y_TRAIN)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_freezer_keeps_the_frozen_layer_as_it_was(solver):
    recorder = Recorder()
    model = small_mlp(solver=solver, callbacks=[recorder, Freezer("0.*")]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(model.coefs_[0], recorder.initial_["0.weight"].numpy().T)
    assert_array_equal(model.intercepts_[0], recorder.initial_["0.bias"].numpy())


def test_freezer_lets_the_other_layer_learn():
    recorder = Recorder()
    model = small_mlp(callbacks=[recorder, Freezer("0.*")]).fit(X_TRAIN, Y_TRAIN)
    assert np.all(model.coefs_[1] != recorder.initial_["2.weight"].numpy().T)


def test_unfreezer_lets_the_layer_learn_from_its_epoch_on():
    recorder = Recorder()
    callbacks = [recorder, Freezer("0.*"), Unfreezer("0.*", at=3)]
    small_mlp(callbacks=callbacks).fit(X_TRAIN, Y_TRAIN)
    weights = [state["0.weight"] for state in recorder.states_]
    assert torch.equal(weights[1], recorder.initial_["0.weight"])
    assert not torch.equal(weights[2], recorder.initial_["0.weight"])


# -- cost, names, what changes and what does not ------------------------------------------------

EPOCH_LEVEL = {
    "counter": lambda: EpochCounter(),
    "early stopping": lambda: EarlyStopping(),
    "scheduler": lambda: LRScheduler("StepLR", step_size=1, gamma=1.0),
    "checkpoint": lambda: Checkpoint(**NO_FILES),
    "scoring": lambda: EpochScoring("roc_auc", lower_is_better=False),
    "timer": lambda: EpochTimer(),
    "log": lambda: PrintLog(sink=lambda line: None),
}


@pytest.mark.parametrize("make", EPOCH_LEVEL.values(), ids=EPOCH_LEVEL.keys())
def test_epoch_level_callback_installs_no_batch_hooks(runs, make):
    small_mlp(callbacks=[make()]).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert runs[0].solver.hooks is None


def test_batch_level_callback_installs_batch_hooks(runs):
    small_mlp(callbacks=[BatchCounter()]).fit(X_TRAIN, Y_TRAIN)
    assert runs[0].solver.hooks is not None


def test_batch_hooks_are_called_once_for_each_batch_and_each_validation():
    counter = BatchCounter()
    small_mlp(callbacks=[counter]).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert counter.begun_ == counter.ended_ == ([True] * 5 + [False]) * 6
    assert counter.gradients_ == 30


def test_batch_hooks_see_every_row_once_in_each_epoch():
    counter = BatchCounter()
    small_mlp(callbacks=[counter], max_iter=1).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert counter.sizes_ == [64, 64, 64, 64, 44, 100]


@pytest.mark.parametrize("make", WITH_BATCHES)
def test_epoch_hooks_are_called_in_order(make):
    counter = EpochCounter()
    make(max_iter=2, callbacks=[counter]).fit(X_TRAIN, Y_TRAIN)
    epochs = ["epoch_begin", "epoch_end"] * 2
    assert counter.events_ == ["train_begin", *epochs, "train_end"]


@pytest.mark.parametrize("model", FULL_BATCH, ids=lambda model: type(model).__name__)
def test_epoch_hooks_on_full_batch_solver_are_called_once_an_iteration(model):
    counter = EpochCounter()
    model = clone(model).set_params(callbacks=[counter]).fit(X_TRAIN, Y_TRAIN)
    assert counter.events_.count("epoch_end") == np.ravel(model.n_iter_)[0]


def test_callbacks_with_names_keep_them():
    recorder = Recorder()
    callbacks = [("stop", EarlyStopping()), ("look", recorder)]
    small_mlp(callbacks=callbacks).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert recorder.names_ == ["stop", "look"]


def test_callbacks_of_one_kind_are_numbered():
    recorder = Recorder()
    small_mlp(callbacks=[EpochTimer(), EpochTimer(), recorder]).fit(X_TRAIN, Y_TRAIN)
    assert recorder.names_ == ["EpochTimer_1", "EpochTimer_2", "Recorder"]


def test_callbacks_with_the_same_given_name_are_an_error():
    model = small_mlp(callbacks=[("same", EpochTimer()), ("same", EpochCounter())])
    with pytest.raises(ValueError, match="duplicate user-set callback name 'same'"):
        model.fit(X_TRAIN, Y_TRAIN)


def test_callbacks_given_as_classes_are_instantiated():
    recorder = Recorder()
    small_mlp(callbacks=(EpochTimer, recorder)).fit(X_TRAIN, Y_TRAIN)
    assert recorder.names_ == ["EpochTimer", "Recorder"]


def test_callbacks_that_are_no_list_are_an_error():
    with pytest.raises(ValueError, match="The 'callbacks' parameter of TorchMLPClassifier must be"):
        small_mlp(callbacks=EpochTimer()).fit(X_TRAIN, Y_TRAIN)


@pytest.mark.parametrize("callback", [EpochCounter, BatchCounter])
@pytest.mark.parametrize("params", [{}, {"dropout": 0.3}, {"early_stopping": True}])
def test_callbacks_that_do_nothing_leave_a_network_bit_identical(callback, params):
    plain = small_mlp(**params).fit(X_TRAIN, Y_TRAIN)
    watched = small_mlp(callbacks=[callback()], **params).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(plain), weights_of(watched))


@pytest.mark.parametrize("callback", [EpochCounter, BatchCounter])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_callbacks_that_do_nothing_leave_a_logistic_bit_identical(callback, solver):
    plain = small_logistic(solver=solver).fit(X_TRAIN, Y_TRAIN)
    watched = small_logistic(solver=solver, callbacks=[callback()]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(plain), weights_of(watched))


@pytest.mark.parametrize("model", FULL_BATCH, ids=lambda model: type(model).__name__)
def test_callbacks_that_do_nothing_leave_a_full_batch_fit_bit_identical(model):
    plain = clone(model).fit(X_TRAIN, Y_TRAIN)
    watched = clone(model).set_params(callbacks=[EpochCounter()]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(plain), weights_of(watched))


@pytest.mark.parametrize("callback", [EpochCounter, BatchCounter])
def test_callbacks_move_no_global_random_state(callback):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    small_mlp(callbacks=[callback()], dropout=0.2).fit(X_TRAIN, Y_TRAIN)
    assert torch.equal(before[0], torch.get_rng_state())
    assert_array_equal(before[1], np.random.get_state()[1])


def test_callbacks_see_partial_fit_as_a_training_of_one_epoch():
    counter = EpochCounter()
    small_mlp(callbacks=[counter]).partial_fit(X_TRAIN, Y_TRAIN)
    assert counter.events_ == ["train_begin", "epoch_begin", "epoch_end", "train_end"]


# -- Ctrl-C and other ends ----------------------------------------------------------------------


@pytest.mark.parametrize("model", [small_mlp(), small_logistic()], ids=lambda m: type(m).__name__)
def test_interrupt_at_an_epochs_end_keeps_the_weights_so_far(model):
    recorder = Recorder()
    interrupt = RaiseAtEpochEnd(KeyboardInterrupt(), 3)
    model = clone(model).set_params(callbacks=[recorder, interrupt])
    with pytest.warns(UserWarning, match="interrupted by the user after 3 epochs.*best weights"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(model), weights_in(recorder.states_[2]))
    assert model.stop_reason_ == INTERRUPTED


@pytest.mark.parametrize("model", FULL_BATCH, ids=lambda model: type(model).__name__)
def test_interrupt_of_a_full_batch_solver_keeps_the_weights_so_far(model):
    recorder = Recorder()
    interrupt = RaiseAtEpochEnd(KeyboardInterrupt(), 2)
    model = clone(model).set_params(callbacks=[recorder, interrupt])
    with pytest.warns(UserWarning, match="interrupted by the user after 2 epochs"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(model), weights_in(recorder.states_[1]))


def test_interrupt_inside_a_batch_leaves_a_usable_estimator():
    model = small_mlp(callbacks=[RaiseAtBatchEnd(KeyboardInterrupt(), 3)])
    with pytest.warns(UserWarning, match="interrupted by the user after 2 epochs"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert len(model.loss_curve_) == 2
    assert model.score(X_TRAIN, Y_TRAIN) == accuracy_score(Y_TRAIN, model.predict(X_TRAIN))
    assert model.stop_reason_ == INTERRUPTED


@pytest.mark.parametrize("evaluation", range(7, 14))
def test_interrupt_inside_a_line_search_keeps_the_weights_of_the_last_iteration(
    monkeypatch, evaluation
):
    rows = np.random.RandomState(0).normal(size=(400, 5))
    y = np.where(rows[:, 0] * rows[:, 1] > 0, 1, 0)
    evaluate, calls = ModelBatch.loss_and_gradient, []

    def interrupted(self, *args, **kwargs):
        calls.append(None)
        if len(calls) == evaluation:
            raise KeyboardInterrupt
        return evaluate(self, *args, **kwargs)

    monkeypatch.setattr(ModelBatch, "loss_and_gradient", interrupted)
    model = TorchMLPClassifier((20,), solver="lbfgs", random_state=0)
    with pytest.warns(UserWarning, match="interrupted by the user"):
        model.fit(rows, y)
    loss = log_loss(y, model.predict_proba(rows))
    assert loss == pytest.approx(model.loss_curve_[-1], rel=1e-9)


@pytest.mark.parametrize("interrupt", [RaiseAtEpochEnd, RaiseAtBatchEnd])
def test_interrupt_with_early_stopping_keeps_the_best_epochs_weights(interrupt):
    recorder = Recorder()
    model = small_mlp(
        early_stopping=True,
        monitor="accuracy",
        max_iter=30,
        n_iter_no_change=30,
        learning_rate_init=0.3,
        validation_fraction=0.3,
        callbacks=[recorder, interrupt(KeyboardInterrupt(), 20)],
    )
    with pytest.warns(UserWarning, match="interrupted by the user"):
        model.fit(X_TRAIN, Y_TRAIN)
    best = int(np.argmax(model.validation_scores_))
    assert best + 1 < model.n_iter_
    assert_array_equal(weights_of(model), weights_in(recorder.states_[best]))


def test_interrupt_before_the_first_epoch_leaves_a_usable_estimator():
    model = small_mlp(callbacks=[RaiseAtTrainBegin(KeyboardInterrupt())])
    with pytest.warns(UserWarning, match="interrupted by the user after 0 epochs"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert model.predict_proba(X_VAL).shape == (100, 2)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_interrupt_in_the_first_epoch_leaves_a_usable_estimator(early_stopping):
    interrupt = RaiseAtBatchEnd(KeyboardInterrupt(), 1)
    model = small_mlp(early_stopping=early_stopping, callbacks=[interrupt])
    with pytest.warns(UserWarning, match="interrupted by the user after 0 epochs"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert model.predict_proba(X_VAL).shape == (100, 2)


@pytest.mark.parametrize("epoch", [1, 3])
def test_interrupt_inside_a_batch_still_lets_callbacks_load_their_best(tmp_path, epoch):
    callbacks = [
        EarlyStopping(load_best=True),
        Checkpoint(dirname=str(tmp_path)),
        LRScheduler("StepLR", step_size=1),
        RaiseAtBatchEnd(KeyboardInterrupt(), epoch),
    ]
    model = small_mlp(callbacks=callbacks)
    with pytest.warns(UserWarning, match="interrupted by the user"):
        model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert model.stop_reason_ == INTERRUPTED


def test_interrupt_after_one_finished_epoch_lets_checkpoint_load_its_best(tmp_path):
    recorder = Recorder()
    checkpoint = Checkpoint(dirname=str(tmp_path), load_best=True)
    interrupt = RaiseAtBatchEnd(KeyboardInterrupt(), 3)
    model = small_mlp(callbacks=[recorder, checkpoint, interrupt])
    with pytest.warns(UserWarning, match="interrupted by the user"):
        model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert_array_equal(weights_of(model), weights_in(recorder.states_[1]))


@pytest.mark.parametrize("raiser", [RaiseAtEpochEnd, RaiseAtBatchEnd])
@pytest.mark.parametrize("error", [SystemExit(), GeneratorExit(), RuntimeError("boom")], ids=repr)
def test_other_exception_leaves_a_new_estimator_as_it_was(raiser, error):
    model = small_mlp(callbacks=[raiser(error, 3)])
    before = dict(vars(model))
    with pytest.raises(type(error)):
        model.fit(X_TRAIN, Y_TRAIN)
    assert vars(model) == before


@pytest.mark.parametrize("error", [SystemExit(), GeneratorExit(), RuntimeError("boom")], ids=repr)
@pytest.mark.parametrize("warm_start", [False, True])
def test_other_exception_leaves_a_fitted_estimator_as_it_was(error, warm_start):
    model = small_mlp(warm_start=warm_start).fit(X_TRAIN, Y_TRAIN)
    model.callbacks = [RaiseAtEpochEnd(error, 3)]
    before = {name: id(value) for name, value in vars(model).items()}
    state = deepcopy(model.__getstate__())
    with pytest.raises(type(error)):
        model.fit(X_TRAIN[:, :5] if not warm_start else X_TRAIN, Y_TRAIN)
    assert {name: id(value) for name, value in vars(model).items()} == before
    assert_array_equal(model.coefs_[0], state["coefs_"][0])
    assert model.history_ == state["history_"]


def test_other_exception_during_partial_fit_leaves_the_estimator_as_it_was():
    model = small_mlp().partial_fit(X_TRAIN, Y_TRAIN)
    weights, n_seen = weights_of(model), model.t_
    model.callbacks = [RaiseAtBatchEnd(SystemExit(), 1)]
    with pytest.raises(SystemExit):
        model.partial_fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(model), weights)
    assert model.t_ == n_seen


# -- net_ and module_ ---------------------------------------------------------------------------

VIEWED_MODELS = {
    "mlp": small_mlp(),
    "deep mlp": small_mlp(hidden_layer_sizes=(5, 4), activation="gelu", dropout=0.5),
    "mlp lbfgs": FULL_BATCH[2],
    "logistic": TorchLogisticClassifier(),
    "logistic sgd": small_logistic(),
    "no intercept": TorchLogisticClassifier(fit_intercept=False),
    "threshold": TorchLogisticClassifier(threshold=0.9),
}
VIEWS = pytest.mark.parametrize("model", VIEWED_MODELS.values(), ids=VIEWED_MODELS.keys())


@VIEWS
def test_net_is_a_skorch_net_with_the_estimators_probabilities(model):
    model = clone(model).fit(X_TRAIN, Y_TRAIN)
    assert isinstance(model.net_, NeuralNet)
    probabilities = model.net_.predict_proba(X_VAL)
    assert_allclose(probabilities, model.predict_proba(X_VAL), atol=1e-6)


@VIEWS
def test_net_predicts_the_estimators_labels(model):
    labels = LABELS["strings"][Y_TRAIN]
    model = clone(model).fit(X_TRAIN, labels)
    assert_array_equal(model.net_.predict(X_VAL), model.predict(X_VAL))


@VIEWS
def test_net_scores_like_the_estimator(model):
    labels = LABELS["strings"]
    model = clone(model).fit(X_TRAIN, labels[Y_TRAIN])
    score = model.score(X_VAL, labels[Y_VAL])
    assert model.net_.score(X_VAL, labels[Y_VAL]) == pytest.approx(score)


@VIEWS
def test_net_history_holds_the_estimators_curves(model):
    model = clone(model).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    history = model.net_.history
    assert history[:, "train_loss"] == model.history_["loss"]
    assert history[:, "valid_loss"] == model.history_["validation_loss"]
    assert history[:, "epoch"] == list(range(1, len(model.loss_curve_) + 1))


@VIEWS
def test_net_partial_fit_leaves_the_estimator_alone(model):
    labels = LABELS["strings"][Y_TRAIN]
    model = clone(model).fit(X_TRAIN, labels)
    before = weights_of(model).copy()
    net = model.net_
    net.partial_fit(X_TRAIN, labels)
    assert_array_equal(weights_of(model), before)
    assert np.any(weights_in(net.module_.state_dict())[: len(before) - 1] != before[:-1])


def test_net_partial_fit_goes_on_learning():
    model = small_mlp(max_iter=1, batch_size=300).fit(X_TRAIN, Y_TRAIN)
    before = log_loss(Y_TRAIN, model.predict_proba(X_TRAIN))
    net = model.net_
    for _ in range(20):
        net.partial_fit(X_TRAIN, Y_TRAIN)
    assert log_loss(Y_TRAIN, net.predict_proba(X_TRAIN)) < before - 0.02


def test_net_of_images_predicts_them_in_their_shape():
    images = np.random.RandomState(0).rand(60, 3, 8, 8)
    model = small_mlp().fit(images, Y[:60])
    assert_allclose(model.net_.predict_proba(images), model.predict_proba(images), atol=1e-6)


def test_net_shows_nothing_in_the_estimators_state():
    model = small_mlp().fit(X_TRAIN, Y_TRAIN)
    before = set(vars(model))
    assert model.net_ is not model.net_
    assert set(vars(model)) == before


@VIEWS
@pytest.mark.parametrize("kind", [Dataset, TensorDataset])
def test_net_takes_a_dataset_of_any_precision(model, kind):
    model = clone(model).fit(X_TRAIN, Y_TRAIN)
    rows, net = kind(torch.tensor(X_VAL), torch.tensor(Y_VAL)), model.net_
    assert_allclose(net.predict_proba(rows), model.predict_proba(X_VAL), atol=1e-6)
    logits = to_numpy(net.forward(rows))
    assert_allclose(logits, model.decision_function(X_VAL), rtol=1e-4, atol=1e-5)


def test_net_predicts_without_dropout_after_its_own_training():
    model = small_mlp(dropout=0.5).fit(X_TRAIN, Y_TRAIN)
    net = model.net_.partial_fit(X_TRAIN, Y_TRAIN)
    assert net.module_.training
    assert_array_equal(net.predict_proba(X_VAL), net.predict_proba(X_VAL))
    assert not any(each.training for each in net.module_.modules())


@VIEWS
def test_module_gives_the_estimators_logits(model):
    model = clone(model).fit(X_TRAIN, Y_TRAIN)
    module = model.module_
    rows = torch.tensor(X_VAL).to(next(module.parameters()).dtype)
    with torch.no_grad():
        logits = module(rows).numpy()
    assert isinstance(module, torch.nn.Module)
    assert_allclose(logits, model.decision_function(X_VAL), rtol=1e-4, atol=1e-5)


@VIEWS
def test_module_has_contiguous_parameters_with_memory_of_their_own(model):
    module = clone(model).fit(X_TRAIN, Y_TRAIN).module_
    for each in module.state_dict().values():
        assert each.is_contiguous()
        assert each.untyped_storage().nbytes() == each.nbytes


def test_module_of_images_takes_them_in_their_shape():
    images = np.random.RandomState(0).rand(60, 3, 8, 8).astype(np.float32)
    model = small_mlp().fit(images, Y[:60])
    with torch.no_grad():
        logits = model.module_(torch.tensor(images)).numpy()
    assert_allclose(logits, model.decision_function(images), rtol=1e-4, atol=1e-5)


def test_module_changed_by_its_user_leaves_the_estimator_alone():
    model = small_mlp().fit(X_TRAIN, Y_TRAIN)
    before = weights_of(model).copy()
    with torch.no_grad():
        for parameter in model.module_.parameters():
            parameter.zero_()
    assert_array_equal(weights_of(model), before)


# -- scikit-learn's own callbacks ---------------------------------------------------------------

HAS_CALLBACKS = parse_version(sklearn.__version__) >= parse_version("1.9")
needs_callbacks = pytest.mark.skipif(
    not HAS_CALLBACKS, reason="scikit-learn has callbacks from 1.9 on"
)
WITHIN = [small_mlp(max_iter=3), small_logistic(max_iter=3), *FULL_BATCH]
EVERY_SOLVER = pytest.mark.parametrize("model", WITHIN, ids=lambda m: f"{type(m).__name__}")


class FitRecorder:
    """A callback of scikit-learn's protocol that counts, and may ask to stop or raise."""

    def __init__(self, stop_after=None, raise_after=None):
        self.stop_after = stop_after
        self.raise_after = raise_after
        self.begun, self.ended, self.predictions, self.life = [], [], [], []

    def setup(self, estimator, context):
        self.life.append("setup")

    def teardown(self, estimator, context):
        self.life.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.ended.append(context.task_name)
        self.predictions.append(fitted_estimator.predict_proba(X_VAL))
        if self.raise_after is not None and len(self.ended) >= self.raise_after:
            raise RuntimeError("boom")
        return self.stop_after is not None and len(self.ended) >= self.stop_after


def fit_recorder(**kwargs):
    return FitRecorder(**kwargs)


def monitor_of(scoring):
    """Make a ScoringMonitor."""
    from sklearn.callback import ScoringMonitor

    return ScoringMonitor(scoring=scoring)


def epochs_of(log):
    return [row for row in log.data if row["task_name"] == "epoch"]


@needs_callbacks
@EVERY_SOLVER
def test_scoring_monitor_logs_one_entry_an_epoch(model):
    monitor = monitor_of("roc_auc")
    model = clone(model).set_callbacks(monitor).fit(X_TRAIN, Y_TRAIN)
    assert len(epochs_of(monitor.get_logs())) == np.ravel(model.n_iter_)[0]


@needs_callbacks
@EVERY_SOLVER
def test_scoring_monitor_logs_the_score_of_the_final_epoch(model):
    monitor = monitor_of("neg_log_loss")
    model = clone(model).set_callbacks(monitor).fit(X_TRAIN, Y_TRAIN)
    expected = -log_loss(Y_TRAIN, model.predict_proba(X_TRAIN))
    assert epochs_of(monitor.get_logs())[-1]["neg_log_loss"] == pytest.approx(expected, rel=1e-9)


@needs_callbacks
def test_scoring_monitor_logs_the_score_of_every_epoch():
    monitor = monitor_of("roc_auc")
    small_mlp(max_iter=4).set_callbacks(monitor).fit(X_TRAIN, Y_TRAIN)
    expected = [
        roc_auc_score(
            Y_TRAIN, small_mlp(max_iter=n).fit(X_TRAIN, Y_TRAIN).decision_function(X_TRAIN)
        )
        for n in (1, 2, 3, 4)
    ]
    assert [row["roc_auc"] for row in epochs_of(monitor.get_logs())] == expected


@needs_callbacks
def test_scoring_monitor_with_sample_weight_weighs_the_score():
    monitor = monitor_of("accuracy")
    weight = np.random.RandomState(0).rand(300)
    model = small_mlp().set_callbacks(monitor).fit(X_TRAIN, Y_TRAIN, sample_weight=weight)
    expected = accuracy_score(Y_TRAIN, model.predict(X_TRAIN), sample_weight=weight)
    assert epochs_of(monitor.get_logs())[-1]["accuracy"] == pytest.approx(expected)


@needs_callbacks
def test_scoring_monitor_with_string_labels_scores_them():
    monitor = monitor_of("accuracy")
    labels = LABELS["strings"][Y_TRAIN]
    model = small_mlp().set_callbacks(monitor).fit(X_TRAIN, labels)
    assert epochs_of(monitor.get_logs())[-1]["accuracy"] == model.score(X_TRAIN, labels)


@needs_callbacks
def test_scoring_monitor_with_a_data_frame_warns_of_nothing():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X_TRAIN, columns=[f"x{i}" for i in range(30)])
    monitor = monitor_of("roc_auc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        small_mlp(max_iter=2).set_callbacks(monitor).fit(frame, Y_TRAIN)
    assert len(epochs_of(monitor.get_logs())) == 2


@needs_callbacks
def test_scoring_monitor_with_images_scores_them():
    images = np.random.RandomState(0).rand(60, 3, 8, 8)
    monitor = monitor_of("roc_auc")
    model = small_mlp(max_iter=2).set_callbacks(monitor).fit(images, Y[:60])
    expected = roc_auc_score(Y[:60], model.decision_function(images))
    assert epochs_of(monitor.get_logs())[-1]["roc_auc"] == pytest.approx(expected)


@needs_callbacks
def test_scoring_monitor_with_sparse_rows_scores_them():
    rows = sparse.csr_array(X_TRAIN)
    monitor = monitor_of("roc_auc")
    model = small_mlp(max_iter=2).set_callbacks(monitor).fit(rows, Y_TRAIN)
    expected = roc_auc_score(Y_TRAIN, model.decision_function(rows))
    assert epochs_of(monitor.get_logs())[-1]["roc_auc"] == pytest.approx(expected)


@needs_callbacks
def test_scoring_monitor_inside_a_pipeline_logs_every_epoch():
    monitor = monitor_of("roc_auc")
    pipeline = make_pipeline(StandardScaler(), small_mlp().set_callbacks(monitor))
    pipeline.fit(X_TRAIN, Y_TRAIN)
    expected = roc_auc_score(Y_TRAIN, pipeline.decision_function(X_TRAIN))
    rows = epochs_of(monitor.get_logs())
    assert len(rows) == 6
    assert rows[-1]["roc_auc"] == pytest.approx(expected)


@needs_callbacks
@EVERY_SOLVER
def test_scoring_monitor_through_grid_search_logs_every_epoch_of_every_fit(model):
    monitor = monitor_of("roc_auc")
    model = clone(model).set_params(max_iter=3).set_callbacks(monitor)
    name = "C" if hasattr(model, "C") else "alpha"
    search = GridSearchCV(model, {name: [0.1, 1.0]}, cv=2, error_score="raise")
    search.fit(X_TRAIN, Y_TRAIN)
    assert len(epochs_of(monitor.get_logs())) == 3 * (2 * 2 + 1)


@needs_callbacks
def test_scoring_monitor_through_grid_search_agrees_with_the_refitted_model():
    monitor = monitor_of("neg_log_loss")
    pipeline = make_pipeline(StandardScaler(), small_mlp().set_callbacks(monitor))
    search = GridSearchCV(pipeline, {"torchmlpclassifier__alpha": [0.1, 1.0]}, cv=2)
    search.fit(X_TRAIN, Y_TRAIN)
    expected = -log_loss(Y_TRAIN, search.predict_proba(X_TRAIN))
    refit = [r for r in epochs_of(monitor.get_logs()) if len(r["task_id_path"]) == 4]
    assert len(refit) == 6
    assert refit[-1]["neg_log_loss"] == pytest.approx(expected, rel=1e-9)


@needs_callbacks
def test_scoring_monitor_through_parallel_grid_search_logs_the_same_scores():
    logs = []
    for n_jobs in (1, 2):
        monitor = monitor_of("roc_auc")
        model = small_logistic(max_iter=2).set_callbacks(monitor)
        GridSearchCV(model, {"C": [0.1, 1.0]}, cv=2, n_jobs=n_jobs).fit(X_TRAIN, Y_TRAIN)
        logs.append([row["roc_auc"] for row in epochs_of(monitor.get_logs())])
    assert logs[0] == logs[1]


@needs_callbacks
@EVERY_SOLVER
def test_progress_bar_on_the_estimator_reaches_the_end(model, capsys):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar

    name = type(model).__name__
    clone(model).set_callbacks(ProgressBar()).fit(X_TRAIN, Y_TRAIN)
    out = capsys.readouterr().out
    assert re.search(rf"{name} - fit", out)
    assert "100%" in out


@needs_callbacks
def test_progress_bar_inside_a_pipeline_shows_the_epochs(capsys):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar

    pipeline = make_pipeline(StandardScaler(), small_mlp(max_iter=2))
    pipeline.set_callbacks(ProgressBar()).fit(X_TRAIN, Y_TRAIN)
    assert "TorchMLPClassifier" in capsys.readouterr().out


@needs_callbacks
def test_progress_bar_through_grid_search_shows_the_estimator(capsys):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar

    search = GridSearchCV(small_mlp(max_iter=2), {"alpha": [0.1, 1.0]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X_TRAIN, Y_TRAIN)
    out = capsys.readouterr().out
    assert "GridSearchCV" in out
    assert "TorchMLPClassifier" in out


@needs_callbacks
@EVERY_SOLVER
def test_fit_callback_sees_as_many_ends_as_beginnings(model):
    recorder = fit_recorder()
    model = clone(model).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    epochs = ["epoch"] * int(np.ravel(model.n_iter_)[0])
    assert recorder.begun == ["fit", *epochs]
    assert recorder.ended == [*epochs, "fit"]


@needs_callbacks
def test_fit_callback_through_grid_search_sees_as_many_ends_as_beginnings():
    recorder = fit_recorder()
    model = small_mlp(max_iter=2).set_callbacks(recorder)
    GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2, error_score="raise").fit(X_TRAIN, Y_TRAIN)
    assert recorder.begun.count("epoch") == recorder.ended.count("epoch") == 2 * 5
    assert recorder.begun.count("fit") == recorder.ended.count("fit") == 5


@needs_callbacks
@EVERY_SOLVER
def test_fit_callback_that_returns_true_stops_the_training(model):
    recorder = fit_recorder(stop_after=2)
    model = clone(model).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert np.ravel(model.n_iter_)[0] == 2
    assert model.stop_reason_ == STOPPED_BY_CALLBACK


@needs_callbacks
@EVERY_SOLVER
def test_fit_callback_gets_an_estimator_that_predicts_as_of_its_epoch(model):
    recorder = fit_recorder()
    model = clone(model).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    first = clone(model).set_callbacks().set_params(max_iter=1).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(recorder.predictions[0], first.predict_proba(X_VAL))
    assert_array_equal(recorder.predictions[-1], model.predict_proba(X_VAL))


@needs_callbacks
def test_fit_callback_with_early_stopping_sees_the_best_weights_at_the_end():
    recorder = fit_recorder()
    model = small_mlp(early_stopping=True, max_iter=30, learning_rate_init=0.3)
    model.set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert model.best_epoch_ < model.n_iter_
    assert_array_equal(recorder.predictions[-1], model.predict_proba(X_VAL))


@needs_callbacks
def test_fit_callback_leaves_the_weights_bit_identical():
    watched = small_mlp(dropout=0.2).set_callbacks(fit_recorder()).fit(X_TRAIN, Y_TRAIN)
    plain = small_mlp(dropout=0.2).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(watched), weights_of(plain))


@needs_callbacks
def test_fit_callback_leaves_no_context_behind():
    recorder = fit_recorder()
    watched = small_mlp().set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    plain = small_mlp().fit(X_TRAIN, Y_TRAIN)
    assert set(vars(watched)) - set(vars(plain)) == {"_skl_callbacks"}


@needs_callbacks
def test_fit_callback_beside_skorch_callbacks_both_look_on():
    recorder, counter = fit_recorder(), EpochCounter()
    small_mlp(callbacks=[counter]).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert recorder.ended.count("epoch") == counter.events_.count("epoch_end") == 6


@needs_callbacks
@pytest.mark.parametrize("model", [small_mlp(), small_logistic()], ids=lambda m: type(m).__name__)
def test_fit_callback_is_torn_down_after_fit(model):
    recorder = fit_recorder()
    clone(model).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
def test_fit_callback_is_torn_down_when_it_raises():
    recorder = fit_recorder(raise_after=2)
    with pytest.raises(RuntimeError, match="boom"):
        small_mlp().set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
def test_fit_callback_is_torn_down_when_the_fit_diverges():
    recorder = fit_recorder()
    model = small_mlp(activation="identity", solver="sgd", learning_rate_init=1e9, max_iter=50)
    with pytest.raises(ValueError, match="finite"):
        model.set_callbacks(recorder).fit(X_TRAIN * 1e3, Y_TRAIN)
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
def test_fit_callback_that_raises_leaves_the_estimator_as_it_was():
    model = small_mlp().set_callbacks(fit_recorder(raise_after=2))
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="boom"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert vars(model) == before


@needs_callbacks
def test_fit_callback_after_an_interrupt_is_told_of_the_end_of_fit():
    recorder = fit_recorder()
    model = small_mlp(callbacks=[RaiseAtEpochEnd(KeyboardInterrupt(), 2)])
    with pytest.warns(UserWarning, match="interrupted by the user"):
        model.set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert recorder.ended[-1] == "fit"
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
@pytest.mark.parametrize("model", [small_mlp(), small_logistic()], ids=lambda m: type(m).__name__)
def test_clone_keeps_callbacks_as_scikit_learns_estimators_do(model):
    recorder = fit_recorder()
    model, oracle = clone(model).set_callbacks(recorder), LogisticRegression()
    oracle.set_callbacks(recorder)
    assert clone(model)._skl_callbacks == clone(oracle)._skl_callbacks == [recorder]


@needs_callbacks
def test_set_callbacks_without_arguments_removes_them():
    model = small_mlp().set_callbacks(fit_recorder()).set_callbacks()
    assert not hasattr(clone(model), "_skl_callbacks")


@needs_callbacks
def test_set_callbacks_with_a_skorch_callback_is_an_error():
    with pytest.raises(TypeError, match="FitCallback protocol"):
        small_mlp().set_callbacks(EpochTimer())


@pytest.mark.skipif(HAS_CALLBACKS, reason="scikit-learn has callbacks")
@pytest.mark.parametrize("make", WITH_BATCHES)
def test_set_callbacks_on_old_scikit_learn_says_what_is_missing(make):
    message = r"set_callbacks must have scikit-learn 1\.9.*got .*.*parameter callbacks"
    with pytest.raises(ImportError, match=message):
        make().set_callbacks(object())


# -- verbose ------------------------------------------------------------------------------------

LINE = r"epoch (\d+): training loss (\d\.\d+)(?:, validation loss (\d\.\d+))?, (\d+\.\d+) s"


@pytest.mark.parametrize(
    ("verbose", "epochs"),
    [(1, [1, 2, 3, 4, 5, 6]), (True, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (4, [4])],
)
@pytest.mark.parametrize("make", WITH_BATCHES)
def test_verbose_prints_a_line_every_few_epochs(make, verbose, epochs, capsys):
    make(verbose=verbose).fit(X_TRAIN, Y_TRAIN)
    lines = capsys.readouterr().out.splitlines()
    assert [int(re.fullmatch(LINE, line)[1]) for line in lines] == epochs


@pytest.mark.parametrize("model", FULL_BATCH, ids=lambda model: type(model).__name__)
def test_verbose_on_full_batch_solver_prints_every_iteration(model, capsys):
    model = clone(model).set_params(verbose=1).fit(X_TRAIN, Y_TRAIN)
    assert len(capsys.readouterr().out.splitlines()) == np.ravel(model.n_iter_)[0]


def test_verbose_with_validation_rows_prints_both_losses(capsys):
    model = small_mlp(verbose=1).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    shown = [re.fullmatch(LINE, line) for line in capsys.readouterr().out.splitlines()]
    assert_allclose([float(each[2]) for each in shown], model.loss_curve_, atol=1e-6)
    assert_allclose([float(each[3]) for each in shown], model.validation_loss_curve_, atol=1e-6)


def test_verbose_without_validation_rows_prints_no_validation_loss(capsys):
    small_mlp(verbose=1).fit(X_TRAIN, Y_TRAIN)
    assert "validation" not in capsys.readouterr().out


SILENT = {
    "mlp": small_mlp(),
    "logistic": TorchLogisticClassifier(),
    "early stopping": small_mlp(early_stopping=True),
    "callbacks": small_mlp(
        callbacks=[
            EarlyStopping("train_loss"),
            LRScheduler("StepLR", step_size=1),
            PrintLog(),
            BatchCounter(),
        ]
    ),
}


@pytest.mark.parametrize("model", SILENT.values(), ids=SILENT.keys())
def test_verbose_zero_prints_nothing(model, capfd):
    clone(model).fit(X_TRAIN, Y_TRAIN)
    out, err = capfd.readouterr()
    assert out == err == ""


@pytest.mark.parametrize("name", ["EarlyStopping", "Checkpoint"])
def test_best_epoch_is_the_one_a_callback_has_loaded(name, tmp_path):
    X, y = make_classification(300, 8, flip_y=0.3, random_state=0)
    if name == "EarlyStopping":
        callback = EarlyStopping(patience=4, load_best=True, sink=lambda text: None)
    else:
        callback = Checkpoint(dirname=tmp_path, load_best=True, sink=lambda text: None)
    model = TorchMLPClassifier(
        learning_rate_init=0.05, max_iter=30, n_iter_no_change=30, callbacks=[callback],
        random_state=0,
    ).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])  # fmt: skip
    assert model.best_epoch_ == 1 + int(np.argmin(model.validation_loss_curve_)) < model.n_iter_
