"""Progress of members: scikit-learn's callbacks and verbose lines.

What a single model tells is tested in ``test_callbacks.py``, and searches in ``test_search.py``.
"""

import re
import warnings

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.solvers.minibatch import batched

X, Y = make_classification(200, n_features=5, random_state=0)
HAS_CALLBACKS = parse_version(sklearn.__version__) >= parse_version("1.9")
needs_callbacks = pytest.mark.skipif(
    not HAS_CALLBACKS, reason="scikit-learn has callbacks from 1.9 on"
)
SOLVERS = pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])


def network(**parameters):
    usual = {"hidden_layer_sizes": (4,), "max_iter": 4, "n_iter_no_change": 4, "random_state": 0}
    return TorchMLPClassifier(**{**usual, "n_members": 3, **parameters})


def fit(model, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*args, **kwargs)


class Recorder:
    """Writes down every task, and what the estimator of the moment predicts."""

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
    return [path for path in paths if path[:1] == (("member", member),) and len(path) == 2]


# -- scikit-learn's callbacks -------------------------------------------------------------------


@needs_callbacks
@SOLVERS
def test_callback_is_told_of_every_epoch_of_every_member(solver):
    recorder = Recorder()
    model = fit(network(solver=solver).set_callbacks(recorder), X, Y)
    for k, history in enumerate(model.history_):
        expected = [(("member", k), ("epoch", i)) for i in range(len(history["loss"]))]
        assert epochs_of(recorder.begun, k) == epochs_of(recorder.ended, k) == expected
    assert sorted(recorder.begun) == sorted(recorder.ended)
    assert recorder.begun[0] == recorder.ended[-1] == ()
    assert recorder.life == ["setup", "teardown"]


@needs_callbacks
@SOLVERS
def test_callback_leaves_members_bit_identical(solver):
    told = fit(network(solver=solver).set_callbacks(Recorder()), X, Y)
    plain = fit(network(solver=solver), X, Y)
    for one, other in zip(told.coefs_, plain.coefs_, strict=True):
        assert_array_equal(one, other)
    assert set(vars(told)) - set(vars(plain)) == {"_skl_callbacks"}


@needs_callbacks
@pytest.mark.parametrize("threshold", [0.5, "f1"])
def test_callback_gets_each_member_as_an_estimator_and_at_last_all(threshold):
    recorder = Recorder()
    model = fit(network(threshold=threshold).set_callbacks(recorder), X, Y)
    logits = [recorder.models[(("member", k),)].decision_function(X) for k in range(3)]
    np.testing.assert_allclose(np.mean(logits, axis=0), model.decision_function(X), rtol=1e-6)
    assert_array_equal(recorder.models[()].decision_function(X), model.decision_function(X))


@needs_callbacks
def test_callback_with_a_data_frame_warns_of_nothing():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(network().set_callbacks(Recorder()), frame, Y)


@needs_callbacks
def test_callback_that_asks_to_stop_stops_its_member_alone():
    def stops(context):
        return context.task_name == "epoch" and context.parent.task_id == context.task_id == 1

    model = fit(network().set_callbacks(Recorder(stops)), X, Y)
    assert [len(history["loss"]) for history in model.history_] == [4, 2, 4]
    assert model.stop_reason_[1] == "callback"


@needs_callbacks
def test_callback_where_fewer_members_are_possible_is_told_of_those():
    recorder = Recorder()
    few = np.array([0] * 20 + [1] * 2)
    with pytest.warns(UserWarning, match="n_members must be at most"):
        model = fit(network(n_members=8).set_callbacks(recorder), X[:22], few)
    members = [path for path in recorder.ended if len(path) == 1]
    assert len(members) == model.n_members_ == 2


@needs_callbacks
def test_callback_where_one_member_is_possible_is_told_of_its_epochs():
    recorder = Recorder()
    few = np.array([0] * 20 + [1])
    with pytest.warns(UserWarning, match="n_members must be at most"):
        fit(network(n_members=2, early_stopping=False).set_callbacks(recorder), X[:21], few)
    assert recorder.ended == [*((("epoch", i),) for i in range(4)), ()]


@needs_callbacks
@pytest.mark.parametrize("bad_epoch", [1, 3])
def test_callback_is_told_once_where_the_memory_does_not_suffice(bad_epoch, monkeypatch):
    recorder, begun = Recorder(), []
    whole = batched.BatchedMiniBatch.run_epoch

    def run_epoch(self):
        begun.append(self)
        if len(begun) == bad_epoch:
            raise MemoryError
        return whole(self)

    monkeypatch.setattr(batched.BatchedMiniBatch, "run_epoch", run_epoch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # so that all are in one stack
    fit(network(n_members=4).set_callbacks(recorder), X, Y)
    expected = [(("member", k), ("epoch", i)) for k in range(4) for i in range(4)]
    assert sorted(path for path in recorder.begun if len(path) == 2) == expected
    assert sorted(recorder.begun) == sorted(recorder.ended)


@needs_callbacks
def test_callback_is_torn_down_when_a_member_diverges():
    recorder = Recorder()
    wild = {"activation": "identity", "solver": "sgd", "learning_rate_init": 1e9, "max_iter": 50}
    with pytest.raises(ValueError, match="finite"):
        fit(network(**wild).set_callbacks(recorder), X * 1e3, Y)
    assert recorder.life == ["setup", "teardown"]


# -- the progress bar ---------------------------------------------------------------------------


def bar(**parameters):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    from sklearn.callback import ProgressBar

    return ProgressBar(**parameters)


@pytest.fixture
def wide(monkeypatch):
    """Let the bars have room for their names."""
    monkeypatch.setenv("COLUMNS", "200")


@needs_callbacks
def test_progress_bar_shows_each_member_to_its_end(capsys, wide):
    fit(network(n_members=8).set_callbacks(bar()), X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert [re.search(r"- (.*?) +\S*━", line)[1] for line in lines] == [
        "fit",
        *(f"member #{k}" for k in range(8)),
    ]
    assert all("100%" in line for line in lines)


@needs_callbacks
@pytest.mark.parametrize(
    "model", [TorchLogisticClassifier(), network(n_members=1)], ids=lambda m: type(m).__name__
)
def test_progress_bar_of_a_single_model_is_one_line(model, capsys, wide):
    fit(model.set_callbacks(bar()), X, Y)
    [line] = capsys.readouterr().out.splitlines()
    assert "100%" in line


@needs_callbacks
def test_progress_bar_in_a_pipeline_shows_the_members(capsys, wide):
    fit(make_pipeline(StandardScaler(), network()).set_callbacks(bar()), X, Y)
    out = capsys.readouterr().out
    assert out.count("TorchMLPClassifier - member") == 3


@needs_callbacks
@pytest.mark.parametrize(("kind", "n_fits"), [(GridSearchCV, 5), (VectorizedGridSearchCV, 1)])
def test_progress_bar_in_a_search_shows_the_members(kind, n_fits, capsys, wide):
    search = kind(network(), {"alpha": [0.1, 1.0]}, cv=2)
    fit(search.set_callbacks(bar(max_propagation_depth=None)), X, Y)
    out = capsys.readouterr().out
    assert out.count("TorchMLPClassifier - member") == 3 * n_fits
    assert "refit-with-best-params" in out


# -- verbose lines ------------------------------------------------------------------------------

LINE = r"member (\d), epoch (\d+): training loss \d\.\d+(, validation loss \d\.\d+)?, \d+\.\d+ s"


@pytest.mark.parametrize(("verbose", "epochs"), [(1, [1, 2, 3, 4]), (3, [3]), (9, [])])
@SOLVERS
def test_verbose_prints_a_line_of_each_member_every_few_epochs(solver, verbose, epochs, capsys):
    fit(network(solver=solver, verbose=verbose), X, Y)
    found = [re.fullmatch(LINE, line) for line in capsys.readouterr().out.splitlines()]
    for k in range(3):
        assert [int(line[2]) for line in found if line[1] == str(k)] == epochs


def test_verbose_tells_of_the_validation_rows_of_each_member(capsys):
    fit(network(verbose=4), X, Y)
    found = [re.fullmatch(LINE, line) for line in capsys.readouterr().out.splitlines()]
    assert all(line[3] for line in found)


@pytest.mark.parametrize("threshold", [0.5, "f1"])
@pytest.mark.parametrize("n_members", [1, 3])
def test_nothing_is_printed_by_default(n_members, threshold, capfd):
    fit(network(n_members=n_members, threshold=threshold), X, Y)
    search = VectorizedGridSearchCV(network(n_members=n_members), {"alpha": [0.1, 1.0]}, cv=2)
    fit(search, X, Y)
    assert capfd.readouterr() == ("", "")
