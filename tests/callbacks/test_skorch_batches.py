"""skorch callbacks with batch-level methods."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    PrintLog,
    Unfreezer,
)

from skbinary import TorchLogisticClassifier
from tests.callbacks.models import (
    VALIDATION,
    X_TRAIN,
    Y_TRAIN,
    small_logistic,
    small_mlp,
    weights_of,
)
from tests.callbacks.plain_torch import plain_sgd, train_by_hand
from tests.callbacks.recorders import (
    BatchRecorder,
    EpochRecorder,
    Recorder,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]


NO_FILES = {"f_params": None, "f_optimizer": None, "f_criterion": None, "f_history": None}


EPOCH_LEVEL = {
    "recorder": lambda: EpochRecorder(),
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
    small_mlp(callbacks=[BatchRecorder()]).fit(X_TRAIN, Y_TRAIN)
    assert runs[0].solver.hooks is not None


def test_batch_hooks_are_called_once_for_each_batch_and_each_validation():
    recorder = BatchRecorder()
    small_mlp(callbacks=[recorder]).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert recorder.begun_ == recorder.ended_ == ([True] * 5 + [False]) * 6
    assert recorder.n_gradients_ == 30


def test_batch_hooks_see_every_row_once_in_each_epoch():
    recorder = BatchRecorder()
    small_mlp(callbacks=[recorder], max_iter=1).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert recorder.sizes_ == [64, 64, 64, 64, 44, 100]


@pytest.mark.parametrize("clip", [0.05, 1e6])
def test_gradient_norm_clipping_equals_a_clipped_plain_torch_loop(clip):
    recorder = Recorder()
    model = plain_sgd(callbacks=[recorder, GradientNormClipping(clip)]).fit(X_TRAIN, Y_TRAIN)
    expected = train_by_hand(recorder.initial_, lambda step: 0.1, 6, clip=clip)
    assert_allclose(weights_of(model), expected, atol=2e-6)


def test_gradient_norm_clipping_changes_the_weights():
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
    with pytest.raises(ValueError, match="must be a mini-batch solver for GradientNormClipping"):
        model.fit(X_TRAIN, Y_TRAIN)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_freezer_keeps_the_frozen_layer_unchanged(solver):
    recorder = Recorder()
    model = small_mlp(solver=solver, callbacks=[recorder, Freezer("0.*")]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(model.coefs_[0], recorder.initial_["0.weight"].numpy().T)
    assert_array_equal(model.intercepts_[0], recorder.initial_["0.bias"].numpy())


def test_freezer_trains_the_other_layer():
    recorder = Recorder()
    model = small_mlp(callbacks=[recorder, Freezer("0.*")]).fit(X_TRAIN, Y_TRAIN)
    assert np.all(model.coefs_[1] != recorder.initial_["2.weight"].numpy().T)


def test_unfreezer_trains_the_layer_from_its_epoch_on():
    recorder = Recorder()
    callbacks = [recorder, Freezer("0.*"), Unfreezer("0.*", at=3)]
    small_mlp(callbacks=callbacks).fit(X_TRAIN, Y_TRAIN)
    weights = [state["0.weight"] for state in recorder.states_]
    assert torch.equal(weights[1], recorder.initial_["0.weight"])
    assert not torch.equal(weights[2], recorder.initial_["0.weight"])
