"""skorch's EpochScoring, BatchScoring and PassthroughScoring."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EpochScoring,
    PassthroughScoring,
)
from skorch.utils import to_numpy

from tests.callbacks.models import (
    EVERY_SOLVER,
    FULL_BATCH,
    LABELS,
    VALIDATION,
    X_TRAIN,
    X_VAL,
    Y_TRAIN,
    Y_VAL,
    Y,
    name_of,
    small_mlp,
)
from tests.callbacks.recorders import (
    Recorder,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]


@pytest.mark.parametrize("model", EVERY_SOLVER, ids=name_of)
def test_epoch_scoring_of_the_validation_set_equals_the_estimators_score(model):
    labels = LABELS["strings"]
    recorder = Recorder()
    scoring = EpochScoring("roc_auc", lower_is_better=False)
    model = clone(model).set_params(callbacks=[scoring, recorder])
    model.fit(X_TRAIN, labels[Y_TRAIN], X_val=X_VAL, y_val=labels[Y_VAL])
    score = roc_auc_score(Y_VAL, model.decision_function(X_VAL))
    assert recorder.history_[-1, "roc_auc"] == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_epoch_scoring_of_the_training_set_equals_the_estimators_score(labels):
    recorder = Recorder()
    scoring = EpochScoring("accuracy", lower_is_better=False, on_train=True, name="train_acc")
    model = small_mlp(callbacks=[scoring, recorder]).fit(X_TRAIN, labels[Y_TRAIN])
    score = model.score(X_TRAIN, labels[Y_TRAIN])
    assert recorder.history_[-1, "train_acc"] == pytest.approx(score, abs=1e-12)


def test_epoch_scoring_with_a_threshold_uses_it():
    recorder = Recorder()
    scoring = EpochScoring("recall", lower_is_better=False)
    model = small_mlp(threshold=0.9, callbacks=[scoring, recorder], max_iter=2)
    model.fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    recall = model.predict(X_VAL)[Y_VAL == 1].mean()
    assert recorder.history_[-1, "recall"] == pytest.approx(recall, abs=1e-12)
    assert recall < 1


def test_epoch_scoring_of_neg_log_loss_equals_the_validation_loss():
    recorder = Recorder()
    scoring = EpochScoring("neg_log_loss", lower_is_better=False, name="logs")
    model = small_mlp(callbacks=[scoring, recorder]).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    expected = -np.array(model.validation_loss_curve_)
    assert_allclose(recorder.history_[:, "logs"], expected, rtol=1e-5)


def test_epoch_scoring_of_held_out_rows_equals_the_validation_scores():
    recorder = Recorder()
    scoring = EpochScoring("accuracy", lower_is_better=False)
    model = small_mlp(early_stopping=True, callbacks=[scoring, recorder]).fit(X_TRAIN, Y_TRAIN)
    assert_allclose(recorder.history_[:, "accuracy"], model.validation_scores_, atol=1e-6)


def test_epoch_scoring_without_a_validation_set_records_nothing():
    recorder = Recorder()
    small_mlp(callbacks=[EpochScoring("roc_auc"), recorder]).fit(X_TRAIN, Y_TRAIN)
    assert "roc_auc" not in recorder.history_[-1]


@pytest.mark.parametrize("model", [small_mlp(), FULL_BATCH[0]], ids=name_of)
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


def test_epoch_scoring_of_held_out_sparse_rows_equals_the_validation_scores():
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
    """Scores the cached predictions, as skorch's documentation of ``get_test_data`` shows."""

    def on_epoch_end(self, net, dataset_train, dataset_valid, **kwargs):
        self.data_ = self.get_test_data(dataset_train, dataset_valid, self.use_caching)
        _, y_test, y_pred = self.data_
        logits = np.concatenate([to_numpy(each) for each in y_pred])
        self._record_score(net.history, roc_auc_score(y_test == net.classes_[1], logits))


class ScoringAgain(EpochScoring):
    """Predicts the rows of ``get_test_data`` itself, as ``EpochScoring`` does."""

    def on_epoch_end(self, net, dataset_train, dataset_valid, **kwargs):
        rows, y_test, _ = self.get_test_data(dataset_train, dataset_valid, self.use_caching)
        self._record_score(net.history, self._scoring(net, rows, y_test))


def fit_scored(model, scoring, labels, rows=X_TRAIN):
    """Fit with the scoring, and return the model and the ROC AUC of the rows that it scores."""
    model = clone(model).set_params(callbacks=[scoring])
    model.fit(rows, labels[Y_TRAIN], X_val=X_VAL, y_val=labels[Y_VAL])
    scored = (rows, Y_TRAIN) if scoring.on_train else (X_VAL, Y_VAL)
    return model, roc_auc_score(scored[1], model.decision_function(scored[0]))


@pytest.mark.parametrize("on_train", [False, True])
@pytest.mark.parametrize("kind", [CachedScoring, ScoringAgain])
@pytest.mark.parametrize("model", [small_mlp(), FULL_BATCH[0]], ids=name_of)
def test_epoch_scoring_subclass_with_get_test_data_equals_the_estimators_score(
    model, kind, on_train
):
    scoring = kind("roc_auc", lower_is_better=False, on_train=on_train, name="auc")
    model, expected = fit_scored(model, scoring, LABELS["strings"])
    assert model.history_["auc"][-1] == pytest.approx(expected, abs=1e-9)


def test_epoch_scoring_subclass_without_caching_predicts_itself():
    scoring = ScoringAgain("roc_auc", lower_is_better=False, name="auc", use_caching=False)
    model, expected = fit_scored(FULL_BATCH[0], scoring, LABELS["strings"])
    assert model.history_["auc"][-1] == pytest.approx(expected, abs=1e-9)


def test_epoch_scoring_subclass_of_held_out_sparse_rows_receives_them():
    scoring = CachedScoring("roc_auc", lower_is_better=False, name="auc")
    model = small_mlp(early_stopping=True, callbacks=[scoring])
    model.fit(sparse.csr_matrix(X_TRAIN), Y_TRAIN)
    _, y_test, y_pred = scoring.data_
    assert len(y_test) == sum(map(len, y_pred)) == math.ceil(0.1 * len(Y_TRAIN))
    assert len(model.history_["auc"]) == model.n_iter_


def test_epoch_scoring_subclass_with_batch_methods_receives_batches_and_predictions():
    class Counting(CachedScoring):
        def on_batch_end(self, net, batch, training, **kwargs):
            super().on_batch_end(net, batch=batch, training=training, **kwargs)
            self.counted_ = getattr(self, "counted_", 0) + 1

    scoring = Counting("roc_auc", lower_is_better=False, name="auc")
    model, expected = fit_scored(small_mlp(), scoring, LABELS["integers"])
    assert model.history_["auc"][-1] == pytest.approx(expected, abs=1e-9)
    assert scoring.counted_ == 6 * (5 + 1)


def test_batch_scoring_of_the_validation_set_equals_the_estimators_score():
    labels = LABELS["strings"]
    recorder = Recorder()
    scoring = BatchScoring("accuracy", lower_is_better=False)
    model = small_mlp(callbacks=[scoring, recorder])
    model.fit(X_TRAIN, labels[Y_TRAIN], X_val=X_VAL, y_val=labels[Y_VAL])
    score = model.score(X_VAL, labels[Y_VAL])
    assert recorder.history_[-1, "accuracy"] == pytest.approx(score, abs=1e-6)


def test_batch_scoring_of_one_training_batch_equals_the_estimators_score():
    labels = LABELS["strings"]
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


def test_passthrough_scoring_averages_over_batches():
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


@pytest.mark.parametrize("model", EVERY_SOLVER, ids=name_of)
@pytest.mark.parametrize(("name", "on_train"), [("train_loss", True), ("valid_loss", False)])
def test_passthrough_scoring_without_batch_callbacks_equals_the_curve(model, name, on_train):
    recorder = Recorder()
    callbacks = [PassthroughScoring(name, on_train=on_train), recorder]
    model = clone(model).set_params(callbacks=callbacks).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    curve = model.loss_curve_ if on_train else model.validation_loss_curve_
    assert_allclose(recorder.history_[:, name], curve, rtol=1e-6)
