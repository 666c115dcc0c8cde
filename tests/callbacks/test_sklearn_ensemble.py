"""scikit-learn's callbacks during the fit of an ensemble."""

import re
import warnings

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from scipy.special import expit, logit
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.estimators import batching
from skbinary.solvers.minibatch import batched
from tests.callbacks.models import STOPPED_BY_CALLBACK

X, Y = make_classification(200, n_features=5, random_state=0)
HAS_CALLBACKS = parse_version(sklearn.__version__) >= parse_version("1.9")
needs_callbacks = pytest.mark.skipif(
    not HAS_CALLBACKS, reason="scikit-learn has callbacks from 1.9 on"
)
each_solver = pytest.mark.parametrize("solver", ["adam", "lbfgs"])


def ensemble(**parameters):
    defaults = {"hidden_layer_sizes": (4,), "max_iter": 4, "n_iter_no_change": 4, "random_state": 0}
    return TorchMLPClassifier(**{**defaults, "n_members": 3, **parameters})


def fit(model, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*args, **kwargs)


class Recorder:
    """A scikit-learn callback that records every task and its fitted estimator."""

    def __init__(self, stops=lambda context: False):
        self.stops = stops
        self.begun, self.ended, self.life, self.models = [], [], [], {}

    def setup(self, estimator, context):
        self.life.append("setup")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(self.path(context))

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.ended.append(self.path(context))
        self.models[self.path(context)] = fitted_estimator
        fitted_estimator.predict(X)
        return self.stops(context)

    def teardown(self, estimator, context):
        self.life.append("teardown")

    def path(self, context):
        ids = []
        while context is not None:
            ids.append((context.task_name, context.task_id))
            context = context.parent
        return tuple(reversed(ids))[1:]


def epochs_of(paths, member):
    return [path for path in paths if path[:1] == (("ensemble member", member),) and len(path) == 2]


@needs_callbacks
@each_solver
def test_callback_is_called_for_every_epoch_of_every_member(solver):
    recorder = Recorder()
    model = fit(ensemble(solver=solver).set_callbacks(recorder), X, Y)
    for k, history in enumerate(model.history_):
        expected = [(("ensemble member", k), ("epoch", i)) for i in range(len(history["loss"]))]
        assert epochs_of(recorder.begun, k) == epochs_of(recorder.ended, k) == expected
    assert sorted(recorder.begun) == sorted(recorder.ended)
    assert recorder.begun[0] == recorder.ended[-1] == ()
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
@each_solver
def test_callback_leaves_ensemble_members_bit_identical(solver):
    recorded = fit(ensemble(solver=solver).set_callbacks(Recorder()), X, Y)
    plain = fit(ensemble(solver=solver), X, Y)
    for one, other in zip(recorded.coefs_, plain.coefs_, strict=True):
        assert_array_equal(one, other)
    assert set(vars(recorded)) - set(vars(plain)) == {"_skl_callbacks"}


@needs_callbacks
@pytest.mark.parametrize("threshold", [0.5, "f1"])
def test_callback_receives_each_member_as_an_estimator_and_then_the_ensemble(threshold):
    recorder = Recorder()
    model = fit(ensemble(threshold=threshold).set_callbacks(recorder), X, Y)
    logits = [recorder.models[(("ensemble member", k),)].decision_function(X) for k in range(3)]
    combined = logit(expit(logits).mean(axis=0)) / model.temperature_
    np.testing.assert_allclose(combined, model.decision_function(X), rtol=1e-6)
    assert_array_equal(recorder.models[()].decision_function(X), model.decision_function(X))


@needs_callbacks
def test_callback_with_a_data_frame_warns_of_nothing():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(ensemble().set_callbacks(Recorder()), frame, Y)


@needs_callbacks
def test_callback_that_asks_to_stop_stops_one_member():
    def stops(context):
        return context.task_name == "epoch" and context.parent.task_id == context.task_id == 1

    model = fit(ensemble().set_callbacks(Recorder(stops)), X, Y)
    assert [len(history["loss"]) for history in model.history_] == [4, 2, 4]
    assert model.stop_reason_[1] == STOPPED_BY_CALLBACK


@needs_callbacks
def test_callback_with_fewer_possible_members_is_called_for_those():
    recorder = Recorder()
    few = np.array([0] * 20 + [1] * 2)
    with pytest.warns(UserWarning, match="n_members must be at most"):
        model = fit(ensemble(n_members=8).set_callbacks(recorder), X[:22], few)
    members = [path for path in recorder.ended if len(path) == 1]
    assert len(members) == model.n_members_ == 2


@needs_callbacks
def test_callback_with_one_possible_member_is_called_for_its_epochs():
    recorder = Recorder()
    few = np.array([0] * 20 + [1])
    with pytest.warns(UserWarning, match="n_members must be at most"):
        fit(ensemble(n_members=2, early_stopping=False).set_callbacks(recorder), X[:21], few)
    assert recorder.ended == [*((("epoch", i),) for i in range(4)), ()]


@needs_callbacks
@pytest.mark.parametrize("bad_epoch", [1, 3])
def test_callback_after_a_memory_error_is_called_once_for_each_epoch(bad_epoch, monkeypatch):
    recorder, begun = Recorder(), []
    whole = batched.BatchedMiniBatch.run_epoch

    def epoch(self):
        begun.append(self)
        if len(begun) == bad_epoch:
            raise MemoryError
        return whole(self)

    monkeypatch.setattr(batched.BatchedMiniBatch, "run_epoch", epoch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # so that all members are in one batch
    fit(ensemble(n_members=4).set_callbacks(recorder), X, Y)
    expected = [(("ensemble member", k), ("epoch", i)) for k in range(4) for i in range(4)]
    assert sorted(path for path in recorder.begun if len(path) == 2) == expected
    assert sorted(recorder.begun) == sorted(recorder.ended)


@needs_callbacks
def test_callback_is_torn_down_when_a_member_diverges():
    recorder = Recorder()
    wild = {"activation": "identity", "solver": "sgd", "learning_rate_init": 1e9, "max_iter": 50}
    with pytest.raises(ValueError, match="finite"):
        fit(ensemble(**wild).set_callbacks(recorder), X * 1e3, Y)
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
def test_callback_sees_batches_of_an_ensemble_train_in_turn(monkeypatch):
    monkeypatch.setattr(batching, "_count_batches", lambda models: 2)
    plain = fit(ensemble(n_members=4), X, Y)
    recorder = Recorder()
    recorded = fit(ensemble(n_members=4).set_callbacks(recorder), X, Y)
    epochs = [path[1][1] for path in recorder.ended if len(path) == 2]
    assert epochs == sorted(epochs)
    assert_array_equal(recorded.decision_function(X), plain.decision_function(X))


@needs_callbacks
def test_callback_with_batches_beyond_the_memory_sees_them_one_after_another(monkeypatch):
    monkeypatch.setattr(batching, "memory_for", lambda models, max_bytes: 1.0)
    recorder = Recorder()
    fit(ensemble(n_members=2).set_callbacks(recorder), X, Y)
    members = [path[0][1] for path in recorder.ended if len(path) == 2]
    assert members == [0] * 4 + [1] * 4


# -- the progress bar ---------------------------------------------------------------------------


def bar(**parameters):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar

    return ProgressBar(**parameters)


@pytest.fixture
def wide(monkeypatch):
    """Make the terminal wide enough for the names."""
    monkeypatch.setenv("COLUMNS", "200")


@needs_callbacks
def test_progress_bar_of_an_ensemble_has_a_line_for_each_member(capsys, wide):
    fit(ensemble(n_members=8).set_callbacks(bar()), X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert [re.search(r"- (.*?) +\S*━", line)[1] for line in lines] == [
        "fit",
        *(f"ensemble member #{k}" for k in range(8)),
    ]
    assert all("100%" in line for line in lines)


@needs_callbacks
@pytest.mark.parametrize(
    "model", [TorchLogisticClassifier(), ensemble(n_members=1)], ids=lambda m: type(m).__name__
)
def test_progress_bar_of_a_single_model_has_one_line(model, capsys, wide):
    fit(model.set_callbacks(bar()), X, Y)
    [line] = capsys.readouterr().out.splitlines()
    assert "100%" in line


@needs_callbacks
def test_progress_bar_in_a_pipeline_has_a_line_for_each_member(capsys, wide):
    fit(make_pipeline(StandardScaler(), ensemble()).set_callbacks(bar()), X, Y)
    out = capsys.readouterr().out
    assert out.count("TorchMLPClassifier - ensemble member") == 3


@needs_callbacks
@pytest.mark.parametrize(("kind", "n_fits"), [(GridSearchCV, 5), (VectorizedGridSearchCV, 1)])
def test_progress_bar_in_a_search_has_a_line_for_each_member(kind, n_fits, capsys, wide):
    search = kind(ensemble(), {"alpha": [0.1, 1.0]}, cv=2)
    fit(search.set_callbacks(bar(max_propagation_depth=None)), X, Y)
    out = capsys.readouterr().out
    assert out.count("TorchMLPClassifier - ensemble member") == 3 * n_fits
    assert "refit-with-best-params" in out
