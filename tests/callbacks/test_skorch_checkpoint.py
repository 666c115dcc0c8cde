"""skorch's Checkpoint, TrainEndCheckpoint and LoadInitState."""

import sys
import types

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_classification
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LoadInitState,
    TrainEndCheckpoint,
)

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.callbacks import skorch
from tests.callbacks.models import (
    FULL_BATCH,
    VALIDATION,
    X_TRAIN,
    Y_TRAIN,
    name_of,
    overfitting_mlp,
    small_mlp,
    weights_in,
    weights_of,
)
from tests.callbacks.recorders import (
    Recorder,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]


NO_FILES = {"f_params": None, "f_optimizer": None, "f_criterion": None, "f_history": None}


def test_checkpoint_with_load_best_restores_the_best_weights(tmp_path):
    recorder = Recorder()
    checkpoint = Checkpoint(dirname=str(tmp_path), load_best=True)
    model = overfitting_mlp(recorder, checkpoint, EarlyStopping(patience=4, threshold=0))
    best = int(np.argmin(model.validation_loss_curve_))
    assert_array_equal(weights_of(model), weights_in(recorder.states_[best]))


def test_checkpoint_params_load_into_the_net(tmp_path):
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
def test_checkpoint_event_is_true_where_the_loss_improved(name):
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


def test_load_init_state_keeps_the_curves_of_this_fit(tmp_path):
    checkpoint = Checkpoint(monitor=None, dirname=str(tmp_path))
    small_mlp(callbacks=[checkpoint]).fit(X_TRAIN, Y_TRAIN)
    model = small_mlp(callbacks=[LoadInitState(checkpoint)]).fit(X_TRAIN, Y_TRAIN)
    assert len(model.loss_curve_) == 6


def test_load_init_state_without_a_file_starts_from_random_weights(tmp_path):
    load = LoadInitState(Checkpoint(monitor=None, dirname=str(tmp_path)))
    model = small_mlp(callbacks=[load]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(model), weights_of(small_mlp().fit(X_TRAIN, Y_TRAIN)))


@pytest.fixture
def safetensors(monkeypatch):
    """Replace the package safetensors, which saves contiguous tensors only."""

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
    "model", [small_mlp(hidden_layer_sizes=(6, 5)), FULL_BATCH[0]], ids=name_of
)
def test_checkpoint_with_safetensors_saves_the_weights(kind, model, safetensors, tmp_path):
    every_epoch = {"monitor": None} if kind is Checkpoint else {}
    files = {"f_optimizer": None, "f_criterion": None, "fn_prefix": "", "dirname": str(tmp_path)}
    checkpoint = kind(use_safetensors=True, **files, **every_epoch)
    model = clone(model).set_params(callbacks=[checkpoint]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_in(torch.load(tmp_path / "params.pt")), weights_of(model))


def test_checkpoint_with_safetensors_leaves_the_module_unchanged(safetensors, tmp_path):
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
    message = rf"use_safetensors of {kind.__name__} must be False without the package.*Run 'python"
    with pytest.raises(ValueError, match=message):
        model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize("kind", [Checkpoint, TrainEndCheckpoint])
def test_checkpoint_that_cannot_write_warns_once(kind, tmp_path):
    files = {**NO_FILES, "f_params": str(tmp_path / "no folder" / "params.pt")}
    checkpoint = kind(**files, fn_prefix="")
    with pytest.warns(UserWarning, match=r"could not save its files: RuntimeError") as caught:
        small_mlp(callbacks=[checkpoint]).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    [warning] = [each for each in caught if "could not save" in str(each.message)]
    assert warning.filename == __file__


@pytest.mark.parametrize("name", ["EarlyStopping", "Checkpoint"])
def test_best_epoch_after_load_best_is_the_loaded_one(name, tmp_path):
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
