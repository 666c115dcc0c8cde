"""scikit-learn's callbacks during the fit of a single model."""

import re
import warnings

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version
from skorch.callbacks import (
    EpochTimer,
)

from tests.callbacks.models import (
    FULL_BATCH,
    LABELS,
    MINIBATCH,
    STOPPED_BY_CALLBACK,
    X_TRAIN,
    X_VAL,
    Y_TRAIN,
    Y,
    name_of,
    small_logistic,
    small_mlp,
    weights_of,
)
from tests.callbacks.recorders import (
    EpochRecorder,
    RaiseAtEpochEnd,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]


HAS_CALLBACKS = parse_version(sklearn.__version__) >= parse_version("1.9")
needs_callbacks = pytest.mark.skipif(
    not HAS_CALLBACKS, reason="scikit-learn has callbacks from 1.9 on"
)
MODELS = [small_mlp(max_iter=3), small_logistic(max_iter=3), FULL_BATCH[0], FULL_BATCH[2]]
each_model = pytest.mark.parametrize("model", MODELS, ids=name_of)


class FitRecorder:
    """A scikit-learn callback that records its calls, and can ask to stop or raise."""

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


def scoring_monitor(scoring):
    """Make a ScoringMonitor."""
    from sklearn.callback import ScoringMonitor

    return ScoringMonitor(scoring=scoring)


def epoch_rows(log):
    return [row for row in log.data if row["task_name"] == "epoch"]


@needs_callbacks
@each_model
def test_scoring_monitor_logs_one_entry_an_epoch(model):
    monitor = scoring_monitor("roc_auc")
    model = clone(model).set_callbacks(monitor).fit(X_TRAIN, Y_TRAIN)
    assert len(epoch_rows(monitor.get_logs())) == np.ravel(model.n_iter_)[0]


@needs_callbacks
@each_model
def test_scoring_monitor_logs_the_score_of_the_final_epoch(model):
    monitor = scoring_monitor("neg_log_loss")
    model = clone(model).set_callbacks(monitor).fit(X_TRAIN, Y_TRAIN)
    expected = -log_loss(Y_TRAIN, model.predict_proba(X_TRAIN))
    assert epoch_rows(monitor.get_logs())[-1]["neg_log_loss"] == pytest.approx(expected, rel=1e-9)


@needs_callbacks
def test_scoring_monitor_logs_the_score_of_every_epoch():
    monitor = scoring_monitor("roc_auc")
    small_mlp(max_iter=4).set_callbacks(monitor).fit(X_TRAIN, Y_TRAIN)
    expected = [
        roc_auc_score(
            Y_TRAIN, small_mlp(max_iter=n).fit(X_TRAIN, Y_TRAIN).decision_function(X_TRAIN)
        )
        for n in (1, 2, 3, 4)
    ]
    assert [row["roc_auc"] for row in epoch_rows(monitor.get_logs())] == expected


@needs_callbacks
def test_scoring_monitor_with_sample_weight_logs_the_weighted_score():
    monitor = scoring_monitor("accuracy")
    weight = np.random.RandomState(0).rand(300)
    model = small_mlp().set_callbacks(monitor).fit(X_TRAIN, Y_TRAIN, sample_weight=weight)
    expected = accuracy_score(Y_TRAIN, model.predict(X_TRAIN), sample_weight=weight)
    assert epoch_rows(monitor.get_logs())[-1]["accuracy"] == pytest.approx(expected)


@needs_callbacks
def test_scoring_monitor_with_string_labels_scores_them():
    monitor = scoring_monitor("accuracy")
    labels = LABELS["strings"][Y_TRAIN]
    model = small_mlp().set_callbacks(monitor).fit(X_TRAIN, labels)
    assert epoch_rows(monitor.get_logs())[-1]["accuracy"] == model.score(X_TRAIN, labels)


@needs_callbacks
def test_scoring_monitor_with_a_data_frame_warns_of_nothing():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X_TRAIN, columns=[f"x{i}" for i in range(30)])
    monitor = scoring_monitor("roc_auc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        small_mlp(max_iter=2).set_callbacks(monitor).fit(frame, Y_TRAIN)
    assert len(epoch_rows(monitor.get_logs())) == 2


@needs_callbacks
def test_scoring_monitor_with_images_scores_them():
    images = np.random.RandomState(0).rand(60, 3, 8, 8)
    monitor = scoring_monitor("roc_auc")
    model = small_mlp(max_iter=2).set_callbacks(monitor).fit(images, Y[:60])
    expected = roc_auc_score(Y[:60], model.decision_function(images))
    assert epoch_rows(monitor.get_logs())[-1]["roc_auc"] == pytest.approx(expected)


@needs_callbacks
def test_scoring_monitor_with_sparse_rows_scores_them():
    rows = sparse.csr_array(X_TRAIN)
    monitor = scoring_monitor("roc_auc")
    model = small_mlp(max_iter=2).set_callbacks(monitor).fit(rows, Y_TRAIN)
    expected = roc_auc_score(Y_TRAIN, model.decision_function(rows))
    assert epoch_rows(monitor.get_logs())[-1]["roc_auc"] == pytest.approx(expected)


@needs_callbacks
def test_scoring_monitor_in_a_pipeline_logs_every_epoch():
    monitor = scoring_monitor("roc_auc")
    pipeline = make_pipeline(StandardScaler(), small_mlp().set_callbacks(monitor))
    pipeline.fit(X_TRAIN, Y_TRAIN)
    expected = roc_auc_score(Y_TRAIN, pipeline.decision_function(X_TRAIN))
    rows = epoch_rows(monitor.get_logs())
    assert len(rows) == 6
    assert rows[-1]["roc_auc"] == pytest.approx(expected)


@needs_callbacks
@each_model
def test_scoring_monitor_in_a_grid_search_logs_every_epoch_of_every_fit(model):
    monitor = scoring_monitor("roc_auc")
    model = clone(model).set_params(max_iter=3).set_callbacks(monitor)
    name = "C" if hasattr(model, "C") else "alpha"
    search = GridSearchCV(model, {name: [0.1, 1.0]}, cv=2, error_score="raise")
    search.fit(X_TRAIN, Y_TRAIN)
    assert len(epoch_rows(monitor.get_logs())) == 3 * (2 * 2 + 1)


@needs_callbacks
def test_scoring_monitor_in_a_grid_search_agrees_with_the_refitted_model():
    monitor = scoring_monitor("neg_log_loss")
    pipeline = make_pipeline(StandardScaler(), small_mlp().set_callbacks(monitor))
    search = GridSearchCV(pipeline, {"torchmlpclassifier__alpha": [0.1, 1.0]}, cv=2)
    search.fit(X_TRAIN, Y_TRAIN)
    expected = -log_loss(Y_TRAIN, search.predict_proba(X_TRAIN))
    refit = [r for r in epoch_rows(monitor.get_logs()) if len(r["task_id_path"]) == 4]
    assert len(refit) == 6
    assert refit[-1]["neg_log_loss"] == pytest.approx(expected, rel=1e-9)


@needs_callbacks
def test_scoring_monitor_in_a_parallel_grid_search_logs_the_same_scores():
    logs = []
    for n_jobs in (1, 2):
        monitor = scoring_monitor("roc_auc")
        model = small_logistic(max_iter=2).set_callbacks(monitor)
        GridSearchCV(model, {"C": [0.1, 1.0]}, cv=2, n_jobs=n_jobs).fit(X_TRAIN, Y_TRAIN)
        logs.append([row["roc_auc"] for row in epoch_rows(monitor.get_logs())])
    assert logs[0] == logs[1]


@needs_callbacks
@each_model
def test_progress_bar_on_the_estimator_reaches_the_end(model, capsys):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar

    name = type(model).__name__
    clone(model).set_callbacks(ProgressBar()).fit(X_TRAIN, Y_TRAIN)
    out = capsys.readouterr().out
    assert re.search(rf"{name} - fit", out)
    assert "100%" in out


@needs_callbacks
def test_progress_bar_in_a_pipeline_shows_the_epochs(capsys):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar

    pipeline = make_pipeline(StandardScaler(), small_mlp(max_iter=2))
    pipeline.set_callbacks(ProgressBar()).fit(X_TRAIN, Y_TRAIN)
    assert "TorchMLPClassifier" in capsys.readouterr().out


@needs_callbacks
def test_progress_bar_in_a_grid_search_shows_the_estimator(capsys):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar

    search = GridSearchCV(small_mlp(max_iter=2), {"alpha": [0.1, 1.0]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X_TRAIN, Y_TRAIN)
    out = capsys.readouterr().out
    assert "GridSearchCV" in out
    assert "TorchMLPClassifier" in out


@needs_callbacks
@each_model
def test_fit_callback_is_called_at_the_start_and_end_of_each_epoch(model):
    recorder = FitRecorder()
    model = clone(model).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    epochs = ["epoch"] * int(np.ravel(model.n_iter_)[0])
    assert recorder.begun == ["fit", *epochs]
    assert recorder.ended == [*epochs, "fit"]


@needs_callbacks
def test_fit_callback_in_a_grid_search_is_called_at_the_start_and_end_of_each_epoch():
    recorder = FitRecorder()
    model = small_mlp(max_iter=2).set_callbacks(recorder)
    GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2, error_score="raise").fit(X_TRAIN, Y_TRAIN)
    assert recorder.begun.count("epoch") == recorder.ended.count("epoch") == 2 * 5
    assert recorder.begun.count("fit") == recorder.ended.count("fit") == 5


@needs_callbacks
@each_model
def test_fit_callback_that_returns_true_stops_the_training(model):
    recorder = FitRecorder(stop_after=2)
    model = clone(model).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert np.ravel(model.n_iter_)[0] == 2
    assert model.stop_reason_ == STOPPED_BY_CALLBACK


@needs_callbacks
@each_model
def test_fit_callback_receives_an_estimator_with_the_weights_of_the_epoch(model):
    recorder = FitRecorder()
    model = clone(model).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    first = clone(model).set_callbacks().set_params(max_iter=1).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(recorder.predictions[0], first.predict_proba(X_VAL))
    assert_array_equal(recorder.predictions[-1], model.predict_proba(X_VAL))


@needs_callbacks
def test_fit_callback_with_early_stopping_receives_the_best_weights_at_the_end():
    recorder = FitRecorder()
    model = small_mlp(early_stopping=True, max_iter=30, learning_rate_init=0.3)
    model.set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert model.best_epoch_ < model.n_iter_
    assert_array_equal(recorder.predictions[-1], model.predict_proba(X_VAL))


@needs_callbacks
def test_fit_callback_leaves_the_weights_bit_identical():
    recorded = small_mlp(dropout=0.2).set_callbacks(FitRecorder()).fit(X_TRAIN, Y_TRAIN)
    plain = small_mlp(dropout=0.2).fit(X_TRAIN, Y_TRAIN)
    assert_array_equal(weights_of(recorded), weights_of(plain))


@needs_callbacks
def test_fit_callback_leaves_no_context_in_the_estimator():
    recorder = FitRecorder()
    recorded = small_mlp().set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    plain = small_mlp().fit(X_TRAIN, Y_TRAIN)
    assert set(vars(recorded)) - set(vars(plain)) == {"_skl_callbacks"}


@needs_callbacks
def test_fit_callback_with_skorch_callbacks_calls_both():
    recorder, epochs = FitRecorder(), EpochRecorder()
    small_mlp(callbacks=[epochs]).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert recorder.ended.count("epoch") == epochs.events_.count("epoch_end") == 6


@needs_callbacks
@pytest.mark.parametrize("model", [small_mlp(), small_logistic()], ids=name_of)
def test_fit_callback_is_torn_down_after_fit(model):
    recorder = FitRecorder()
    clone(model).set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
def test_fit_callback_is_torn_down_when_it_raises():
    recorder = FitRecorder(raise_after=2)
    with pytest.raises(RuntimeError, match="boom"):
        small_mlp().set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
def test_fit_callback_is_torn_down_when_the_fit_diverges():
    recorder = FitRecorder()
    model = small_mlp(activation="identity", solver="sgd", learning_rate_init=1e9, max_iter=50)
    with pytest.raises(ValueError, match="finite"):
        model.set_callbacks(recorder).fit(X_TRAIN * 1e3, Y_TRAIN)
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
def test_fit_callback_that_raises_leaves_the_estimator_unchanged():
    model = small_mlp().set_callbacks(FitRecorder(raise_after=2))
    before = dict(vars(model))
    with pytest.raises(RuntimeError, match="boom"):
        model.fit(X_TRAIN, Y_TRAIN)
    assert vars(model) == before


@needs_callbacks
def test_fit_callback_after_an_interrupt_is_called_at_the_end_of_fit():
    recorder = FitRecorder()
    model = small_mlp(callbacks=[RaiseAtEpochEnd(KeyboardInterrupt(), 2)])
    with pytest.warns(UserWarning, match="interrupted by the user"):
        model.set_callbacks(recorder).fit(X_TRAIN, Y_TRAIN)
    assert recorder.ended[-1] == "fit"
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
@pytest.mark.parametrize("model", [small_mlp(), small_logistic()], ids=name_of)
def test_clone_keeps_callbacks_like_scikit_learns_estimators(model):
    recorder = FitRecorder()
    model, oracle = clone(model).set_callbacks(recorder), LogisticRegression()
    oracle.set_callbacks(recorder)
    assert clone(model)._skl_callbacks == clone(oracle)._skl_callbacks == [recorder]


@needs_callbacks
def test_set_callbacks_without_arguments_removes_them():
    model = small_mlp().set_callbacks(FitRecorder()).set_callbacks()
    assert not hasattr(clone(model), "_skl_callbacks")


@needs_callbacks
def test_set_callbacks_with_a_skorch_callback_is_an_error():
    with pytest.raises(TypeError, match="FitCallback protocol"):
        small_mlp().set_callbacks(EpochTimer())


@pytest.mark.skipif(HAS_CALLBACKS, reason="scikit-learn has callbacks")
@pytest.mark.parametrize("make", MINIBATCH)
def test_set_callbacks_with_old_scikit_learn_is_an_error(make):
    message = (
        r"scikit-learn must be version 1\.9 or newer for set_callbacks, got .*parameter callbacks"
    )
    with pytest.raises(ImportError, match=message):
        make().set_callbacks(object())
