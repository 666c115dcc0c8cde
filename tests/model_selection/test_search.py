"""How searches train models in batches: what they share, their memory, interrupts and warnings."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import warnings
import weakref
from dataclasses import replace

import joblib
import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from skbinary import (
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedRandomizedSearchCV,
)
from skbinary.data import preparation
from skbinary.estimators import batching, cross_fitting
from skbinary.estimators.model_fit import ModelFit
from skbinary.estimators.scoring import Scorer
from skbinary.model_selection import evaluation, splits
from skbinary.model_selection.evaluation import Evaluation
from skbinary.solvers import loop
from skbinary.solvers.full_batch.newton_path import PathNewton
from skbinary.solvers.minibatch.batched import BatchedMiniBatch
from skbinary.solvers.result import StopReason

OLD = parse_version(sklearn.__version__) < parse_version("1.9")
GRID = {"learning_rate_init": [1e-3, 1e-2], "alpha": [1e-4, 1e-2, 1.0]}


def network(**settings):
    settings = {"max_iter": 3, "n_iter_no_change": 3, "random_state": 0, **settings}
    settings.setdefault("early_stopping", False)
    return TorchMLPClassifier((6,), batch_size=20, **settings)


@pytest.fixture(scope="module")
def table():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X)[:200], y[:200]


@pytest.fixture(scope="module")
def long_table():
    # More numbers than a table has on which linear models are solved one by one.
    return make_classification(3000, 30, n_informative=5, flip_y=0.1, random_state=0)


@pytest.fixture
def batch_sizes(monkeypatch):
    """Count the models of every batch that is trained."""
    sizes = []

    def counted(kind):
        original = kind.__init__

        def make(self, architecture, *args, **kwargs):
            n_models = len(args[1]) if kind is BatchedMiniBatch else len(args[2])
            sizes.append(n_models)
            original(self, architecture, *args, **kwargs)

        monkeypatch.setattr(kind, "__init__", make)

    counted(BatchedMiniBatch)
    counted(PathNewton)
    return sizes


def scores(search):
    names = [f"split{i}_test_score" for i in range(search.n_splits_)]
    return np.array([search.cv_results_[name] for name in names])


@pytest.mark.parametrize("weighted", [False, True])
def test_network_scores_equal_single_fits_up_to_rounding(table, weighted):
    model = TorchMLPClassifier((16, 8), batch_size=32, max_iter=20, random_state=0)
    grid = {"learning_rate_init": [1e-3, 1e-2], "alpha": [1e-4, 1.0], "dropout": [0.0, 0.3]}
    weight = np.linspace(0.5, 2, len(table[1])) if weighted else None
    ours = VectorizedGridSearchCV(model, grid, cv=3, scoring="neg_log_loss", refit=False)
    theirs = GridSearchCV(model, grid, cv=3, scoring="neg_log_loss", refit=False)
    ours.fit(*table, sample_weight=weight)
    theirs.fit(*table, sample_weight=weight)
    np.testing.assert_allclose(scores(ours), scores(theirs), rtol=0, atol=1e-6)


def test_search_over_one_architecture_trains_one_batch(table, batch_sizes):
    VectorizedGridSearchCV(network(), GRID, cv=4, refit=False).fit(*table)
    assert batch_sizes == [24]


def test_search_over_architectures_trains_a_batch_for_each(table, batch_sizes):
    grid = {"hidden_layer_sizes": [(4,), (4, 4)], "activation": ["relu", "tanh"], **GRID}
    VectorizedGridSearchCV(network(), grid, cv=4, refit=False).fit(*table)
    assert sorted(batch_sizes) == [24] * 4


def test_candidates_that_differ_in_the_threshold_are_trained_once(table, batch_sizes):
    grid = {"threshold": list(np.linspace(0.1, 0.9, 9)), "alpha": [1e-4, 1e-2]}
    search = VectorizedGridSearchCV(network(), grid, cv=3, scoring="f1", refit=False).fit(*table)
    assert sum(batch_sizes) == 6
    assert len(np.unique(scores(search))) > 6


@pytest.mark.parametrize(("monitor", "n_models"), [("loss", 3), ("balanced_accuracy", 6)])
def test_candidates_that_differ_in_the_threshold_are_trained_each_if_monitor_uses_it(
    table, batch_sizes, monitor, n_models
):
    grid = {"threshold": [0.3, 0.5]}
    model = network(early_stopping=True, monitor=monitor, validation_fraction=0.3)
    VectorizedGridSearchCV(model, grid, cv=3, refit=False).fit(*table)
    assert sum(batch_sizes) == n_models


def test_logistic_folds_share_the_checked_rows(long_table, batch_sizes, monkeypatch):
    checked = []
    original = splits.check_data
    monkeypatch.setattr(
        splits, "check_data", lambda *a, **k: checked.append(1) or original(*a, **k)
    )
    grid = {"C": np.logspace(-3, 3, 7)}
    VectorizedGridSearchCV(TorchLogisticClassifier(), grid, cv=4, refit=False).fit(*long_table)
    assert batch_sizes == [28]
    assert len(checked) == 1


def test_parameters_of_a_candidate_are_checked_once_for_all_splits(long_table, monkeypatch):
    checked, original = [], TorchLogisticClassifier._validate_params
    monkeypatch.setattr(
        TorchLogisticClassifier,
        "_validate_params",
        lambda self: checked.append(self.C) or original(self),
    )
    grid = {"C": [0.1, 1.0, 10.0]}
    VectorizedGridSearchCV(TorchLogisticClassifier(), grid, cv=4, refit=False).fit(*long_table)
    assert sorted(checked) == grid["C"]


@pytest.mark.parametrize("n_members", [1, 3])
def test_invalid_parameter_fails_on_every_split(table, n_members):
    grid = {"alpha": [-1.0, 1e-4]}
    search = VectorizedGridSearchCV(network(n_members=n_members), grid, cv=3, refit=False)
    with pytest.warns(FitFailedWarning, match="3 fits failed with the following error") as caught:
        search.fit(*table)
    assert "The 'alpha' parameter of TorchMLPClassifier" in str(caught[0].message)
    assert np.isnan(scores(search)).tolist() == [[True, False]] * 3


def test_fold_with_one_class_fails_where_folds_share_rows(long_table):
    X, y = long_table
    splits = [(np.flatnonzero(y == 1), np.arange(9)), (np.arange(2000), np.arange(2000, 3000))]
    search = VectorizedGridSearchCV(TorchLogisticClassifier(), {"C": [1.0]}, cv=splits, refit=False)
    with pytest.warns(FitFailedWarning, match="got one class, 1[.]"):
        search.fit(X, y)
    assert np.isnan(scores(search)[:, 0]).tolist() == [True, False]


class Counted(TransformerMixin, BaseEstimator):
    """A step that notes when it is fitted."""

    fits = ()

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, X, y=None):
        Counted.fits = (*Counted.fits, self.shift)
        return self

    def transform(self, X):
        return X + self.shift


@pytest.mark.parametrize("nested", [False, True])
def test_step_is_fitted_once_for_each_fold_and_setting(table, nested):
    Counted.fits = ()
    model = Pipeline([("step", Counted()), ("clf", network())])
    grid = {"step__shift": [0.0, 1.0], "clf__alpha": [1e-4, 1e-2, 1.0]}
    if nested:
        model = Pipeline([("scale", StandardScaler()), ("inner", model)])
        grid = {f"inner__{name}": values for name, values in grid.items()}
    VectorizedGridSearchCV(model, grid, cv=3, refit=False).fit(*table)
    assert sorted(Counted.fits) == [0.0] * 3 + [1.0] * 3


def test_steps_that_cannot_be_pickled_are_fitted_separately(table):
    model = Pipeline([("step", "passthrough"), ("clf", network())])
    steps = [FunctionTransformer(lambda X, k=k: X * k) for k in (0.01, 1.0, 100.0)]
    ours = VectorizedGridSearchCV(model, {"step": steps}, cv=3, scoring="neg_log_loss")
    theirs = GridSearchCV(model, {"step": steps}, cv=3, scoring="neg_log_loss")
    np.testing.assert_allclose(scores(ours.fit(*table)), scores(theirs.fit(*table)), atol=1e-7)
    assert len(set(scores(ours)[0])) == 3


def test_verbose_pipeline_prints_its_steps(table, capsys):
    model = Pipeline([("scale", StandardScaler()), ("clf", network())], verbose=True)
    search = VectorizedGridSearchCV(model, {}, cv=2, refit=False).fit(*table)
    assert capsys.readouterr().out.count("[Pipeline]") == 4
    assert search.cv_results_["fit_mode"].tolist() == ["single"]


def test_memory_of_a_pipeline_is_used(table, tmp_path):
    Counted.fits = ()
    model = Pipeline(
        [("step", Counted()), ("clf", network())], memory=joblib.Memory(tmp_path, verbose=0)
    )
    for _ in range(2):
        VectorizedGridSearchCV(model, {"clf__alpha": [1e-4, 1.0]}, cv=3, refit=False).fit(*table)
    assert len(Counted.fits) == 3


def test_max_memory_splits_batches_and_changes_no_score(table, batch_sizes):
    whole = VectorizedGridSearchCV(network(), GRID, cv=4).fit(*table)
    assert batch_sizes == [24]
    cut = VectorizedGridSearchCV(network(), GRID, cv=4, max_memory=1.0).fit(*table)
    assert batch_sizes[1:] == [1] * 24
    np.testing.assert_allclose(scores(cut), scores(whole), rtol=0, atol=1e-7)


def test_batch_is_scored_before_the_next_one_is_trained(table, monkeypatch):
    calls = []
    trained, scored = batching._train_minibatches, Evaluation._score_jobs

    def note_training(*args, **kwargs):
        calls.append("trained")
        return trained(*args, **kwargs)

    def note_score(self, parts):
        calls.append(len(parts))
        scored(self, parts)

    monkeypatch.setattr(batching, "_train_minibatches", note_training)
    monkeypatch.setattr(Evaluation, "_score_jobs", note_score)
    grid = {"hidden_layer_sizes": [(4,), (5,), (6,)]}
    VectorizedGridSearchCV(network(), grid, cv=4, refit=False).fit(*table)
    assert calls == ["trained", 4] * 3


@pytest.mark.parametrize(("most_bytes", "most_alive"), [(None, 4), (1.0, 1)])
def test_max_memory_bounds_the_splits_that_are_held(table, monkeypatch, most_bytes, most_alive):
    made, original = [], splits.share_rows
    seen = []

    def share(*args):
        rows = original(*args)
        made.append(weakref.ref(rows))
        gc.collect()
        seen.append(sum(each() is not None for each in made))
        return rows

    monkeypatch.setattr("skbinary.model_selection.splits.share_rows", share)
    VectorizedGridSearchCV(network(), GRID, cv=4, max_memory=most_bytes).fit(*table)
    assert max(seen) == most_alive


@pytest.mark.parametrize("bad", [0, -1.0, "1 XB", "GB", "-1GB", "0 MB"])
def test_max_memory_that_is_no_size_raises(table, bad):
    search = VectorizedGridSearchCV(network(), GRID, max_memory=bad)
    with pytest.raises(ValueError, match=r"max_memory.* (must be|parameter of Vect)"):
        search.fit(*table)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("can't allocate memory")]
)
def test_batch_out_of_memory_is_halved(table, monkeypatch, error):
    expected = scores(VectorizedGridSearchCV(network(), GRID, cv=4).fit(*table))
    original, sizes = BatchedMiniBatch.run_epoch, []

    def run_epoch(self):
        sizes.append(self.model_batch.n_models)
        if self.model_batch.n_models > 5:
            raise error
        return original(self)

    monkeypatch.setattr(BatchedMiniBatch, "run_epoch", run_epoch)
    found = scores(VectorizedGridSearchCV(network(), GRID, cv=4).fit(*table))
    assert {24, 12, 6, 3} == set(sizes)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_single_model_out_of_memory_fails_for_itself_only(table, monkeypatch):
    original = BatchedMiniBatch.run_epoch

    def run_epoch(self):
        if any(setup.l2_penalty.strength == 1.0 for setup in self.setups):
            raise MemoryError("too large")
        return original(self)

    monkeypatch.setattr(BatchedMiniBatch, "run_epoch", run_epoch)
    search = VectorizedGridSearchCV(network(), GRID, cv=3, refit=False)
    with pytest.warns(sklearn.exceptions.FitFailedWarning, match="6 fits failed"):
        search.fit(*table)
    failed = np.isnan(search.cv_results_["mean_test_score"])
    assert [p["alpha"] for p in np.array(search.cv_results_["params"])[failed]] == [1.0, 1.0]


FULL = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 400000000000 bytes. Error code 12 (Cannot allocate memory)\nframe #0: ..."
)
# Where memory may run out in a search: a function and the settings that call it.
PLACES = {
    "rows": (preparation, "as_rows", {}),
    "rows on a device": (splits, "move_to_device", {}),
    "checked data": (splits, "check_data", {}),
    "weights": (ModelFit, "state_of", {}),
    "members": (cross_fitting, "join_models", {"n_members": 2}),
    "threshold": (cross_fitting, "choose_threshold", {"threshold": "f1"}),
    "scores": (Scorer, "scores", {}),
    "ROC AUCs": (evaluation, "precompute_roc_aucs", {}),
    "transformed rows": (splits, "transform", {}),
}


@pytest.mark.parametrize(
    ("place", "error"),
    list(zip(PLACES.values(), [FULL, MemoryError("Unable to allocate 3 GiB")] * 5, strict=False)),
    ids=PLACES.keys(),
)
def test_search_continues_after_one_memory_error(table, monkeypatch, place, error):
    where, name, settings = place
    original, n_calls = getattr(where, name), 0

    def full_once(*args, **kwargs):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(where, name, full_once)
    search = VectorizedGridSearchCV(
        network(**settings), {"alpha": [1e-4, 1.0]}, cv=2, scoring="roc_auc"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(*table)
    assert n_calls >= 1
    failed = np.isnan(search.cv_results_["mean_test_score"])
    assert failed.sum() <= 1
    assert 0 < search.best_score_ <= 1


def test_scorer_out_of_memory_with_error_score_raise_raises_with_advice(table):
    def full(estimator, X, y):
        raise FULL

    search = VectorizedGridSearchCV(
        network(), {"alpha": [1.0]}, cv=2, scoring=full, error_score="raise"
    )
    with pytest.raises(MemoryError, match="must fit into the memory of the device"):
        search.fit(*table)


def test_candidate_out_of_memory_raises_with_advice(table, monkeypatch):
    def full(*args, **kwargs):
        raise FULL

    monkeypatch.setattr(splits, "check_data", full)
    search = VectorizedGridSearchCV(network(), {"alpha": [1.0]}, cv=2, error_score="raise")
    with pytest.raises(MemoryError) as caught:
        search.fit(*table)
    assert str(caught.value) == (
        'A candidate must fit into the memory of the device, got "[enforce fail at '
        "alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        'allocate 400000000000 bytes. Error code 12 (Cannot allocate memory)". Lower '
        "max_memory or n_jobs, pass float32 rows, or leave out the largest candidates."
    )


class Picky(TransformerMixin, BaseEstimator):
    """Rejects rows that it was not fitted on, as an encoder rejects an unknown category."""

    def __init__(self, is_picky=False):
        self.is_picky = is_picky

    def fit(self, X, y=None):
        self.seen_ = X.sum()
        return self

    def transform(self, X):
        if self.is_picky and X.sum() != self.seen_:
            raise ValueError("unknown category")
        return X


def test_test_rows_that_a_transformer_rejects_score_nan_as_in_scikit_learn(table):
    model, grid = make_pipeline(Picky(), network()), {"picky__is_picky": [False, True]}
    found = []
    for kind in (GridSearchCV, VectorizedGridSearchCV):
        search = kind(model, grid, cv=3, scoring="roc_auc")
        with pytest.warns(Warning, match="unknown category"):
            search.fit(*table)
        found.append(np.isnan(search.cv_results_["mean_test_score"]).tolist())
    assert found == [[False, True]] * 2


def test_other_runtime_error_of_the_training_passes_unchanged(table, monkeypatch):
    def run_epoch(self):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(BatchedMiniBatch, "run_epoch", run_epoch)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        VectorizedGridSearchCV(network(), GRID, cv=3).fit(*table)


def test_small_logistic_scores_equal_single_fits_to_the_bit(table):
    # Also where tol ends a fit far from an optimum that is far away.
    grid = {"C": np.logspace(-4, 4, 5), "class_weight": [None, "balanced"]}
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    ours = VectorizedGridSearchCV(TorchLogisticClassifier(), grid, cv=cv, scoring="neg_log_loss")
    theirs = GridSearchCV(TorchLogisticClassifier(), grid, cv=cv, scoring="neg_log_loss")
    assert np.array_equal(scores(ours.fit(*table)), scores(theirs.fit(*table)))


def test_linear_model_that_fails_in_a_batch_is_fitted_singly(long_table, monkeypatch):
    grid = {"C": [0.1, 1.0, 10.0]}
    expected = GridSearchCV(TorchLogisticClassifier(), grid, cv=3).fit(*long_table)
    original = PathNewton.run_epoch

    def run_epoch(self):
        progress = dict(original(self))
        if 1 in progress:
            progress[1] = replace(progress[1], stop_reason=StopReason.LINE_SEARCH)
        return progress

    monkeypatch.setattr(PathNewton, "run_epoch", run_epoch)
    search = VectorizedGridSearchCV(TorchLogisticClassifier(), grid, cv=3).fit(*long_table)
    assert sorted(search.cv_results_["fit_mode"]) == ["batched", "batched", "single"]
    np.testing.assert_allclose(scores(search), scores(expected), atol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_stops_all_batches_and_leaves_the_search_unchanged(table, monkeypatch, n_threads):
    before = torch.get_num_threads()
    original, steps = BatchedMiniBatch._step, []

    def step(self, *args):
        steps.append(1)
        # Again if it is lost: Python ignores what is raised while it clears an object away.
        if len(steps) % 1000 == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args)

    monkeypatch.setattr(BatchedMiniBatch, "_step", step)
    grid = {"hidden_layer_sizes": [(50,), (51,)], **GRID}
    model = network(max_iter=100_000, n_iter_no_change=100_000)
    search = VectorizedGridSearchCV(model, grid, cv=3)
    untouched = dict(vars(search))
    torch.set_num_threads(n_threads)
    # Who starts the tests in the background may have Ctrl-C ignored.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            search.fit(*table)
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
        signal.signal(signal.SIGINT, handler)
    assert vars(search) == untouched
    assert len(steps) < 100_000  # of 1,400,000


@pytest.mark.parametrize(
    ("model", "refit"),
    [
        (TorchLogisticClassifier(), True),  # a path for each fold
        (TorchLogisticClassifier(solver="lbfgs"), False),  # single fits
        (make_pipeline(StandardScaler(), TorchLogisticClassifier(solver="lbfgs")), True),
    ],
)
@pytest.mark.filterwarnings("ignore:Training was interrupted by the user:UserWarning")
def test_ctrl_c_in_a_single_fit_ends_the_search(table, monkeypatch, model, refit):
    n_fits = []
    original = loop._run_epochs

    def run_epochs(*args):
        n_fits.append(1)
        if len(n_fits) == (7 if refit else 3):  # the last fit, or one of the six before
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(loop, "_run_epochs", run_epochs)
    name = "torchlogisticclassifier__C" if isinstance(model, Pipeline) else "C"
    search = VectorizedGridSearchCV(model, {name: [0.1, 1.0]}, cv=3, refit=refit)
    untouched = dict(vars(search))
    with pytest.raises(KeyboardInterrupt):
        search.fit(*table)
    assert vars(search) == untouched
    assert len(n_fits) == (7 if refit else 3)


def test_warm_search_that_is_interrupted_keeps_its_earlier_results(table, monkeypatch):
    search = VectorizedGridSearchCV(network(), GRID, cv=3).fit(*table)
    earlier = search.cv_results_

    def step(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(BatchedMiniBatch, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*table)
    assert search.cv_results_ is earlier


@pytest.mark.parametrize(
    ("n_members", "single", "n_jobs"),
    [(1, False, None), (2, False, 2), (1, True, 2), (2, True, None)],
)
def test_search_summarizes_convergence_warnings_at_the_line_of_the_caller(
    table, n_members, single, n_jobs
):
    model = network(max_iter=2, n_iter_no_change=1, n_members=n_members)
    if single:
        model.set_params(solver="lbfgs", dropout=0.0, n_iter_no_change="auto")
    grid = {"alpha": [1e-4, 1e-3, 1e-2]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        VectorizedGridSearchCV(model, grid, cv=3, refit=False, n_jobs=n_jobs).fit(*table)
    (warning,) = caught
    assert warning.category is ConvergenceWarning
    assert warning.filename == __file__
    text = str(warning.message)
    whose = r" for 2 of 2 ensemble members" if n_members == 2 else ""
    start = r"9 of 9 fits of this search, the first of them with alpha=0.0001: "
    assert text.startswith(f"{start}Training did not converge{whose}. max_iter was reached. ")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TorchLogisticClassifier(max_iter=1, solver="lbfgs"), "Raise max_iter, or bring"),
        (TorchMLPClassifier((3,), solver="lbfgs", max_fun=2), "Raise max_fun, or bring"),
        (TorchMLPClassifier((3,), max_iter=1), "Raise max_iter or learning_rate_init"),
        (
            TorchMLPClassifier((3,), max_iter=2, n_members=2),
            r"for 2 of 2 ensemble members\. max_iter",
        ),
    ],
)
def test_fit_without_convergence_warns_at_the_line_of_the_caller(table, model, message):
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        clone(model).fit(*table)
    assert [each.filename for each in caught] == [__file__]
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        cross_val_score(model, *table, cv=2)
    assert [each.filename for each in caught] == [__file__] * 2


def test_fit_time_of_a_batch_is_divided_among_its_models(table):
    search = VectorizedGridSearchCV(network(), GRID, cv=4, refit=False).fit(*table)
    times = search.cv_results_["mean_fit_time"]
    np.testing.assert_allclose(times, times.mean())
    assert times.mean() > 0


@pytest.mark.parametrize(
    ("model", "mode"),
    [
        (network(), "batched"),
        (TorchLogisticClassifier(), "batched"),
        (TorchLogisticClassifier(solver="adam"), "batched"),
        (network(callbacks=[]), "batched"),
        (network(solver="lbfgs"), "single"),
        (network(verbose=100), "single"),
        (TorchLogisticClassifier(solver="lbfgs"), "single"),
        (TorchLogisticClassifier(l1_ratio=0.5), "single"),
        (TorchLogisticClassifier(max_iter=5), "single"),
        (LogisticRegression(), "single"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "single"),
    ],
)
def test_fit_mode_is_batched_where_models_can_be_batched(table, model, mode):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = VectorizedGridSearchCV(model, {}, cv=2, refit=False).fit(*table)
    assert search.cv_results_["fit_mode"].tolist() == [mode]


def test_subclass_that_overrides_fit_is_fitted_by_it(table):
    class Noted(TorchMLPClassifier):
        n_fits = 0

        def fit(self, X, y, **kwargs):
            Noted.n_fits += 1
            return super().fit(X, y, **kwargs)

    model = Noted((3,), max_iter=2, n_iter_no_change=2, random_state=0)
    search = VectorizedGridSearchCV(model, {}, cv=2, refit=False).fit(*table)
    assert Noted.n_fits == 2
    assert search.cv_results_["fit_mode"].tolist() == ["single"]


def test_linear_models_with_many_features_are_fitted_singly():
    X, y = make_classification(60, 600, random_state=0)
    grid = {"C": [0.01, 1.0]}
    search = VectorizedGridSearchCV(TorchLogisticClassifier(), grid, cv=3).fit(X, y)
    peer = GridSearchCV(TorchLogisticClassifier(), grid, cv=3).fit(X, y)
    assert set(search.cv_results_["fit_mode"]) == {"single"}
    assert np.array_equal(scores(search), scores(peer))


def test_rows_twice_in_a_training_set_count_twice(table):
    rng = np.random.default_rng(0)
    cv = [(rng.integers(0, 200, 150), np.arange(0, 200, 3)) for _ in range(3)]
    grid = {"C": [0.01, 1.0]}
    model = TorchLogisticClassifier(tol=1e-8)
    ours = VectorizedGridSearchCV(model, grid, cv=cv, scoring="neg_log_loss").fit(*table)
    peer = GridSearchCV(model, grid, cv=cv, scoring="neg_log_loss").fit(*table)
    np.testing.assert_allclose(scores(ours), scores(peer), atol=1e-6)


def test_search_leaves_global_state_unchanged(table):
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    n_threads = torch.get_num_threads()
    grid = {"dropout": [0.0, 0.5], "random_state": [0, None]}
    VectorizedGridSearchCV(network(), grid, cv=2).fit(*table)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert torch.get_num_threads() == n_threads


def test_fitted_search_holds_no_torch_object(table):
    search = VectorizedGridSearchCV(network(), GRID, cv=2).fit(*table)
    script = (
        "import pickle, pickletools, sys\n"
        "data = sys.stdin.buffer.read()\n"
        "found = [a for o, a, _ in pickletools.genops(data) if isinstance(a, str)]\n"
        "assert not [a for a in found if a.startswith('torch')], found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(search), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.skipif(OLD, reason="scikit-learn has callbacks from 1.9 on")
def test_progress_bar_counts_the_fits_of_a_search(table, capsys):
    from sklearn.callback import ProgressBar

    search = VectorizedGridSearchCV(network(), GRID, cv=3)
    search.set_callbacks(ProgressBar())
    search.fit(*table)
    printed = capsys.readouterr().out
    assert "VectorizedGridSearchCV - fit" in printed
    assert "refit-with-best-params" in printed


@pytest.mark.skipif(OLD, reason="scikit-learn has callbacks from 1.9 on")
@pytest.mark.parametrize("ensemble_size", [None, 3])
def test_callbacks_are_called_for_every_task_and_the_refit(ensemble_size, table):
    begun, ended = [], []

    class Watcher:
        requires_fit_info = ()

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context, **kwargs):
            begun.append(context.task_name)

        def on_fit_task_end(self, estimator, context, **kwargs):
            ended.append(context.task_name)

        def teardown(self, estimator, context):
            pass

    search = VectorizedGridSearchCV(network(), GRID, cv=3, ensemble_size=ensemble_size)
    search.set_callbacks(Watcher())
    search.fit(*table)
    assert begun.count("candidate-split-evaluation") == 18
    assert sorted(begun) == sorted(ended)
    assert ("refit-with-best-params" in begun) == (ensemble_size is None)


class _Checked:
    grid = {"C": [0.1, 1.0]}  # noqa: RUF012  # read only

    @classmethod
    def searches(cls):
        model = TorchLogisticClassifier()
        yield VectorizedRandomizedSearchCV(model, cls.grid, n_iter=2, cv=2, error_score="raise")
        yield VectorizedGridSearchCV(model, cls.grid, cv=2, error_score="raise", ensemble_size=2)
        model = network(max_iter=60, learning_rate_init=0.01)
        yield VectorizedGridSearchCV(model, {"alpha": [1e-4]}, cv=2, error_score="raise")


@parametrize_with_checks(list(_Checked.searches()))
def test_searches_pass_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", [VectorizedGridSearchCV, VectorizedRandomizedSearchCV])
def test_search_is_a_subclass_of_scikit_learns(kind):
    assert issubclass(kind, (GridSearchCV, RandomizedSearchCV))
    search = clone(kind(TorchLogisticClassifier(), {"C": [1.0]}, max_memory=5e8))
    assert search.max_memory == 5e8


@pytest.mark.parametrize(("pipeline", "weighted"), [(False, True), (True, False)])
def test_path_reaches_the_scores_of_grid_search(long_table, pipeline, weighted):
    X, y = long_table
    name = "clf__" if pipeline else ""
    model = TorchLogisticClassifier(tol=1e-8)
    if pipeline:
        model = Pipeline([("scale", StandardScaler()), ("clf", model)])
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    fit_params = {f"{name}sample_weight": weight} if weighted else {}
    grid = {f"{name}C": np.logspace(-4, 4, 5), f"{name}class_weight": [None, "balanced"]}
    ours = VectorizedGridSearchCV(model, grid, cv=3, scoring="roc_auc").fit(X, y, **fit_params)
    theirs = GridSearchCV(model, grid, cv=3, scoring="roc_auc").fit(X, y, **fit_params)
    assert set(ours.cv_results_["fit_mode"]) == {"batched"}
    np.testing.assert_allclose(scores(ours), scores(theirs), atol=1e-6)
    assert ours.best_params_ == theirs.best_params_


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("model", "grid"),
    [
        (network(device="cuda"), {"alpha": np.logspace(-5, 1, 40), "dropout": [0.0]}),
        (network(device="cuda"), {"learning_rate_init": [0.01, 0.1], "dropout": [0.0, 0.3]}),
        (network(device="cuda", early_stopping=True), {"alpha": [0.01, 0.1, 1.0]}),
        (network(device="cuda", early_stopping=True, n_members=3), {"dropout": [0.0, 0.3]}),
        (network(device="cuda", solver="sgd"), {"momentum": [0.0, 0.5, 0.9]}),
        (TorchLogisticClassifier(device="cuda", tol=1e-8), {"C": np.logspace(-4, 4, 40)}),
    ],
)
def test_search_on_cuda_reaches_the_scores_of_single_fits(long_table, model, grid):
    ours = VectorizedGridSearchCV(model, grid, cv=3, scoring="roc_auc", refit=False)
    theirs = GridSearchCV(model, grid, cv=3, scoring="roc_auc", refit=False)
    ours.fit(*long_table)
    theirs.fit(*long_table)
    assert set(ours.cv_results_["fit_mode"]) == {"batched"}
    np.testing.assert_allclose(scores(ours), scores(theirs), atol=1e-3)
