"""skorch callbacks: early stopping, schedulers, loggers, names and order of calls."""

import re
import types
import warnings

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    InputShapeSetter,
    LRScheduler,
    MlflowLogger,
    PrintLog,
    TensorBoard,
    WandbLogger,
)

from skbinary import TorchLogisticClassifier
from tests.callbacks.models import (
    FULL_BATCH,
    MINIBATCH,
    STOPPED_BY_CALLBACK,
    VALIDATION,
    X_TRAIN,
    Y_TRAIN,
    name_of,
    overfitting_mlp,
    small_logistic,
    small_mlp,
    weights_in,
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


# -- EarlyStopping ------------------------------------------------------------------------------


NO_FILES = {"f_params": None, "f_optimizer": None, "f_criterion": None, "f_history": None}


def test_early_stopping_without_improvement_stops_after_patience():
    model = overfitting_mlp(EarlyStopping(patience=5, threshold=0))
    best = int(np.argmin(model.validation_loss_curve_)) + 1
    assert model.n_iter_ == best + 5
    assert model.n_iter_ < 100


def test_early_stopping_out_of_patience_stops_without_a_warning():
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


@pytest.mark.parametrize("model", FULL_BATCH, ids=name_of)
def test_early_stopping_on_full_batch_solver_stops(model):
    stopper = EarlyStopping("train_loss", patience=1, threshold=0.9)
    model = clone(model).set_params(callbacks=[stopper]).fit(X_TRAIN, Y_TRAIN)
    assert model.stop_reason_ == STOPPED_BY_CALLBACK


@pytest.mark.parametrize("model", FULL_BATCH, ids=name_of)
def test_early_stopping_on_full_batch_solver_restores_the_best_weights(model):
    recorder = Recorder()
    stopper = EarlyStopping("train_loss", patience=2, threshold=0.9, load_best=True)
    model = clone(model).set_params(callbacks=[recorder, stopper]).fit(X_TRAIN, Y_TRAIN)
    best = stopper.best_epoch_
    assert best < len(recorder.states_)
    assert_array_equal(weights_of(model), weights_in(recorder.states_[best - 1]))


def test_early_stopping_of_a_validation_score_stops():
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
def test_callback_that_monitors_valid_loss_without_a_validation_set_is_an_error(callback):
    model = small_mlp(callbacks=[callback])
    name = type(callback).__name__
    message = f"monitor of {name} must be available .*got 'valid_loss.*X_val and y_val"
    with pytest.raises(ValueError, match=message):
        model.fit(X_TRAIN, Y_TRAIN)


def test_callback_that_monitors_a_training_score_needs_no_validation_set():
    scoring = EpochScoring("roc_auc", lower_is_better=False, on_train=True, name="valid_like")
    stopper = EarlyStopping("valid_like", lower_is_better=False, patience=1, threshold=0.5)
    model = small_mlp(callbacks=[scoring, stopper]).fit(X_TRAIN, Y_TRAIN)
    assert model.stop_reason_ == STOPPED_BY_CALLBACK


def test_callback_that_monitors_the_best_training_score_needs_no_validation_set():
    scoring = EpochScoring("roc_auc", lower_is_better=False, on_train=True, name="valid_like")
    recorder = Recorder()
    small_mlp(callbacks=[scoring, Checkpoint("valid_like_best", **NO_FILES), recorder]).fit(
        X_TRAIN, Y_TRAIN
    )
    assert recorder.history_[:, "event_cp"][0] is True


def test_callback_that_cannot_work_leaves_the_estimator_unfitted():
    model = small_mlp(callbacks=[EarlyStopping()])
    before = dict(vars(model))
    with pytest.raises(ValueError, match="validation set"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert vars(model) == before


# -- LRScheduler --------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MINIBATCH)
def test_lr_scheduler_with_step_lr_sets_the_recorded_rates(make):
    schedule = LRScheduler("StepLR", step_size=2, gamma=0.5)
    model = make(learning_rate_init=0.08, callbacks=[schedule]).fit(X_TRAIN, Y_TRAIN)
    assert model.history_["learning_rate"] == [0.08, 0.08, 0.04, 0.04, 0.02, 0.02]


def test_lr_scheduler_with_exponential_lr_sets_the_recorded_rates():
    schedule = LRScheduler("ExponentialLR", gamma=0.9)
    model = small_mlp(learning_rate_init=0.08, callbacks=[schedule]).fit(X_TRAIN, Y_TRAIN)
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


def test_lr_scheduler_by_epoch_equals_a_plain_torch_loop():
    recorder = Recorder()
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.5)
    model = plain_sgd(max_iter=4, callbacks=[recorder, schedule]).fit(X_TRAIN, Y_TRAIN)
    expected = train_by_hand(recorder.initial_, lambda step: 0.1 * 0.5 ** (step // 5), 4)
    assert_allclose(weights_of(model), expected, atol=1e-5)


def test_lr_scheduler_by_batch_equals_a_plain_torch_loop():
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
    with pytest.raises(ValueError, match=r"must be constant for LRScheduler.*solver='adam'"):
        model.fit(X_TRAIN, Y_TRAIN)


def test_lr_scheduler_with_another_schedule_is_an_error():
    callbacks = [LRScheduler("StepLR", step_size=1)]
    model = small_mlp(learning_rate="cosine", callbacks=callbacks)
    with pytest.raises(ValueError, match="must be constant for LRScheduler, got another schedule"):
        model.fit(X_TRAIN, Y_TRAIN)


def test_lr_scheduler_alone_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        model = small_mlp(callbacks=[LRScheduler("ExponentialLR", gamma=0.9)])
        model.fit(X_TRAIN, Y_TRAIN)
    assert len(model.history_["learning_rate"]) == 6


def test_lr_scheduler_that_cycles_the_momentum_is_an_error():
    policy = {"policy": "CyclicLR", "base_lr": 0.001, "max_lr": 0.01, "step_every": "batch"}
    with pytest.raises(ValueError, match=r"cycle_momentum of .* must be False"):
        small_mlp(callbacks=[LRScheduler(**policy)]).fit(X_TRAIN, Y_TRAIN)
    callbacks = [LRScheduler(**policy, cycle_momentum=False)]
    model = small_mlp(callbacks=callbacks).fit(X_TRAIN, Y_TRAIN)
    assert model.history_["learning_rate"][-1] > 0.001


# -- history and loggers ------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, 3, 0.5], ids=repr)
@pytest.mark.parametrize("wrap", [lambda v: v, np.asarray, lambda v: np.asarray(v)[()]])
def test_history_value_recorded_by_a_callback_keeps_its_type(value, wrap):
    class Records(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("noted", wrap(value))

    model = small_mlp(max_iter=2, callbacks=[Records()]).fit(X_TRAIN, Y_TRAIN)
    assert model.history_["noted"] == [value, value]
    assert {type(each) for each in model.history_["noted"]} == {type(value)}
    assert model.net_.history[:, "noted"] == [value, value]


def test_history_tensor_recorded_by_a_callback_is_a_float():
    class Records(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("norm", torch.tensor(2.5))

    model = small_mlp(max_iter=2, callbacks=[Records()]).fit(X_TRAIN, Y_TRAIN)
    assert model.history_["norm"] == [2.5, 2.5]
    assert type(model.history_["norm"][0]) is float


def test_history_events_of_callbacks_are_booleans():
    callbacks = [EpochScoring("accuracy", lower_is_better=False), Checkpoint(**NO_FILES)]
    model = small_mlp(callbacks=callbacks).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    for name in ("accuracy_best", "event_cp"):
        assert {type(each) for each in model.history_[name]} == {bool}


class FakeTracker:
    """Replaces the run of an experiment tracker, and its client."""

    def __init__(self, folder=""):
        self.dir, self.info, self.logged = str(folder), types.SimpleNamespace(run_id=1), []

    def watch(self, module):
        self.module = module

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
@pytest.mark.parametrize("model", [small_mlp(), FULL_BATCH[0]], ids=name_of)
def test_logger_of_epochs_logs_the_loss_curve_without_batch_hooks(model, make, tmp_path, runs):
    tracker = FakeTracker(tmp_path)
    model = clone(model).set_params(callbacks=[make(tracker)])
    model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert tracker.logged == model.loss_curve_
    assert getattr(runs[0].solver, "hooks", None) is None


def test_wandb_logger_without_a_validation_set_is_an_error(tmp_path):
    model = small_mlp(callbacks=[WandbLogger(FakeTracker(tmp_path))])
    with pytest.raises(ValueError, match="monitor of WandbLogger must be available"):
        model.fit(X_TRAIN, Y_TRAIN)
    tracker = FakeTracker(tmp_path)
    model.set_params(callbacks=[WandbLogger(tracker, save_model=False)]).fit(X_TRAIN, Y_TRAIN)
    assert tracker.logged == model.loss_curve_


def test_input_shape_setter_is_an_error():
    with pytest.raises(ValueError, match="fit takes the number of features from X"):
        small_mlp(callbacks=[InputShapeSetter()]).fit(X_TRAIN, Y_TRAIN)


def test_net_during_training_has_the_batch_size():
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


# -- names, order of calls and side effects ------------------------------------------------------


@pytest.mark.parametrize("make", MINIBATCH)
def test_epoch_hooks_are_called_in_order(make):
    recorder = EpochRecorder()
    make(max_iter=2, callbacks=[recorder]).fit(X_TRAIN, Y_TRAIN)
    epochs = ["epoch_begin", "epoch_end"] * 2
    assert recorder.events_ == ["train_begin", *epochs, "train_end"]


@pytest.mark.parametrize("model", FULL_BATCH, ids=name_of)
def test_epoch_hooks_on_full_batch_solver_are_called_once_an_iteration(model):
    recorder = EpochRecorder()
    model = clone(model).set_params(callbacks=[recorder]).fit(X_TRAIN, Y_TRAIN)
    assert recorder.events_.count("epoch_end") == np.ravel(model.n_iter_)[0]


def test_callbacks_with_names_keep_them():
    recorder = Recorder()
    callbacks = [("stop", EarlyStopping()), ("look", recorder)]
    small_mlp(callbacks=callbacks).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    assert recorder.names_ == ["stop", "look"]


def test_callbacks_of_the_same_class_are_numbered():
    recorder = Recorder()
    small_mlp(callbacks=[EpochTimer(), EpochTimer(), recorder]).fit(X_TRAIN, Y_TRAIN)
    assert recorder.names_ == ["EpochTimer_1", "EpochTimer_2", "Recorder"]


def test_callbacks_with_the_same_given_name_are_an_error():
    model = small_mlp(callbacks=[("same", EpochTimer()), ("same", EpochRecorder())])
    with pytest.raises(ValueError, match="duplicate user-set callback name 'same'"):
        model.fit(X_TRAIN, Y_TRAIN)


def test_callbacks_given_as_classes_are_instantiated():
    recorder = Recorder()
    small_mlp(callbacks=(EpochTimer, recorder)).fit(X_TRAIN, Y_TRAIN)
    assert recorder.names_ == ["EpochTimer", "Recorder"]


def test_callbacks_that_are_not_a_list_are_an_error():
    with pytest.raises(ValueError, match="The 'callbacks' parameter of TorchMLPClassifier must be"):
        small_mlp(callbacks=EpochTimer()).fit(X_TRAIN, Y_TRAIN)


@pytest.mark.parametrize("callback", [EpochRecorder, BatchRecorder])
@pytest.mark.parametrize("params", [{"dropout": 0.3}, {"early_stopping": True}])
def test_callbacks_that_only_record_leave_a_network_bit_identical(callback, params):
    plain = small_mlp(**params).fit(X_TRAIN, Y_TRAIN)
    recorded = small_mlp(callbacks=[callback()], **params).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(plain), weights_of(recorded))


@pytest.mark.parametrize("callback", [EpochRecorder, BatchRecorder])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_callbacks_that_only_record_leave_a_logistic_regression_bit_identical(callback, solver):
    plain = small_logistic(solver=solver).fit(X_TRAIN, Y_TRAIN)
    recorded = small_logistic(solver=solver, callbacks=[callback()]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(plain), weights_of(recorded))


@pytest.mark.parametrize("model", FULL_BATCH, ids=name_of)
def test_callbacks_that_only_record_leave_a_full_batch_fit_bit_identical(model):
    plain = clone(model).fit(X_TRAIN, Y_TRAIN)
    recorded = clone(model).set_params(callbacks=[EpochRecorder()]).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(plain), weights_of(recorded))


@pytest.mark.parametrize("callback", [EpochRecorder, BatchRecorder])
def test_callbacks_keep_the_global_random_state(callback):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    small_mlp(callbacks=[callback()], dropout=0.2).fit(X_TRAIN, Y_TRAIN)
    assert torch.equal(before[0], torch.get_rng_state())
    assert_array_equal(before[1], np.random.get_state()[1])


def test_callbacks_of_partial_fit_see_one_epoch():
    recorder = EpochRecorder()
    small_mlp(callbacks=[recorder]).partial_fit(X_TRAIN, Y_TRAIN)
    assert recorder.events_ == ["train_begin", "epoch_begin", "epoch_end", "train_end"]
