"""Ctrl-C and other exceptions during a fit."""

from copy import deepcopy

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss
from skorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    LRScheduler,
)

from skbinary import TorchMLPClassifier
from skbinary.models.batch_of_models import ModelBatch
from tests.callbacks.models import (
    FULL_BATCH,
    INTERRUPTED,
    VALIDATION,
    X_TRAIN,
    X_VAL,
    Y_TRAIN,
    name_of,
    small_logistic,
    small_mlp,
    weights_in,
    weights_of,
)
from tests.callbacks.recorders import (
    RaiseAtBatchEnd,
    RaiseAtEpochEnd,
    RaiseAtTrainBegin,
    Recorder,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]


@pytest.mark.parametrize("model", [small_mlp(), small_logistic()], ids=name_of)
def test_interrupt_at_an_epochs_end_keeps_the_weights_so_far(model):
    recorder = Recorder()
    interrupt = RaiseAtEpochEnd(KeyboardInterrupt(), 3)
    model = clone(model).set_params(callbacks=[recorder, interrupt])
    with pytest.warns(UserWarning, match="interrupted by the user after 3 epochs.*best weights"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(model), weights_in(recorder.states_[2]))
    assert model.stop_reason_ == INTERRUPTED


@pytest.mark.parametrize("model", FULL_BATCH, ids=name_of)
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


@pytest.mark.parametrize("evaluation", [7, 10, 13])
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
def test_interrupt_inside_a_batch_keeps_callbacks_with_load_best_working(tmp_path, epoch):
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


def test_interrupt_after_two_epochs_loads_the_best_checkpoint(tmp_path):
    recorder = Recorder()
    checkpoint = Checkpoint(dirname=str(tmp_path), load_best=True)
    interrupt = RaiseAtBatchEnd(KeyboardInterrupt(), 3)
    model = small_mlp(callbacks=[recorder, checkpoint, interrupt])
    with pytest.warns(UserWarning, match="interrupted by the user"):
        model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert_array_equal(weights_of(model), weights_in(recorder.states_[1]))


@pytest.mark.parametrize("raiser", [RaiseAtEpochEnd, RaiseAtBatchEnd])
@pytest.mark.parametrize("error", [SystemExit(), RuntimeError("boom")], ids=repr)
def test_exception_leaves_a_new_estimator_unchanged(raiser, error):
    model = small_mlp(callbacks=[raiser(error, 3)])
    before = dict(vars(model))
    with pytest.raises(type(error)):
        model.fit(X_TRAIN, Y_TRAIN)
    assert vars(model) == before


@pytest.mark.parametrize("error", [SystemExit(), RuntimeError("boom")], ids=repr)
@pytest.mark.parametrize("warm_start", [False, True])
def test_exception_leaves_a_fitted_estimator_unchanged(error, warm_start):
    model = small_mlp(warm_start=warm_start).fit(X_TRAIN, Y_TRAIN)
    model.callbacks = [RaiseAtEpochEnd(error, 3)]
    before = {name: id(value) for name, value in vars(model).items()}
    coefs, history = deepcopy(model.coefs_), deepcopy(model.history_)
    with pytest.raises(type(error)):
        model.fit(X_TRAIN[:, :5] if not warm_start else X_TRAIN, Y_TRAIN)
    assert {name: id(value) for name, value in vars(model).items()} == before
    assert_array_equal(model.coefs_[0], coefs[0])
    assert model.history_ == history


def test_exception_during_partial_fit_leaves_the_estimator_unchanged():
    model = small_mlp().partial_fit(X_TRAIN, Y_TRAIN)
    weights, n_seen = weights_of(model), model.t_
    model.callbacks = [RaiseAtBatchEnd(SystemExit(), 1)]
    with pytest.raises(SystemExit):
        model.partial_fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(model), weights)
    assert model.t_ == n_seen
