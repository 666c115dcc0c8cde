"""What scikit-learn's documentation says of its two searches, asked of them and of ours.

Every test runs with scikit-learn's own classes, too: where those fail, the test is wrong.
"""

import pickle
import re
from functools import cache
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from scipy.stats import loguniform
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification
from sklearn.exceptions import (
    ConvergenceWarning,
    FitFailedWarning,
    NotFittedError,
    UnsetMetadataPassedError,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, make_scorer, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    ParameterGrid,
    ParameterSampler,
    PredefinedSplit,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback

import skbinary
from skbinary import TorchLogisticClassifier, TorchMLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# A tight tol, so that both ways to the optimum end at the same digits.
LOGISTIC = TorchLogisticClassifier(tol=1e-8)
MLP = TorchMLPClassifier((8,), learning_rate_init=0.05, batch_size=32, max_iter=5, random_state=0)
STRENGTHS = {"C": [0.001, 1.0]}
PENALTIES = {"alpha": [100.0, 1e-4]}
BOTH = pytest.mark.parametrize(
    ("model", "grid"),
    [pytest.param(LOGISTIC, STRENGTHS, id="logistic"), pytest.param(MLP, PENALTIES, id="mlp")],
)
# With the last rate of each, training leaves the numbers that a computer has.
DIVERGING = pytest.mark.parametrize(
    "model",
    [
        pytest.param(TorchLogisticClassifier(solver="sgd", max_iter=5), id="logistic"),
        pytest.param(clone(MLP).set_params(solver="sgd"), id="mlp"),
    ],
)
RATES = {"learning_rate_init": [0.01, 1e30]}
FOLDS = StratifiedKFold(3)
NON_FINITE = pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")


def search_classes(library):
    """Give the two searches of a library: over a grid, and over random draws."""
    if library == "scikit-learn":
        return GridSearchCV, RandomizedSearchCV
    return skbinary.VectorizedGridSearchCV, skbinary.VectorizedRandomizedSearchCV


@pytest.fixture(params=["scikit-learn", "skbinary"])
def library(request):
    return search_classes(request.param)


@pytest.fixture
def grid_search(library):
    return library[0]


@pytest.fixture
def randomized_search(library):
    return library[1]


@pytest.fixture(params=["grid", "randomized"])
def search_for(request, library):
    """Give a function that builds a search; the randomized one draws every point of the grid."""

    def build(model, grid, **options):
        options = {"cv": FOLDS} | options
        if request.param == "grid":
            return library[0](model, grid, **options)
        return library[1](model, grid, n_iter=len(ParameterGrid(grid)), random_state=0, **options)

    return build


def make_table():
    return make_classification(
        150, n_features=10, n_informative=4, n_redundant=2, flip_y=0.1, random_state=2
    )


@pytest.fixture(scope="module")
def table():
    """Give rows that no model tells apart without errors, so that scores say something."""
    X, y = make_table()
    # The tests share them, so whoever wrote to them would be found.
    X.flags.writeable = y.flags.writeable = False
    return X, y


@pytest.fixture(scope="module")
def frame(table):
    """Give the rows as a data frame whose index is not the position."""
    X, y = table
    index = np.arange(len(y))[::-1] + 1000
    names = [f"x{i}" for i in range(X.shape[1])]
    return pd.DataFrame(X, index, names), pd.Series(y, index)


@pytest.fixture(scope="module")
def uneven():
    """Give a weight to each row of the table."""
    return np.random.RandomState(0).uniform(0.1, 5.0, 150)


def scores_of(search, params, metric="score", part="test"):
    """Give the scores of a candidate, one for each fold."""
    row = search.cv_results_["params"].index(params)
    return np.array(
        [
            search.cv_results_[f"split{fold}_{part}_{metric}"][row]
            for fold in range(search.n_splits_)
        ]
    )


def scores_by_hand(model, X, y, score, folds=FOLDS, part="test", weight=None):
    """Fit on each training part, and score the test part or the training part."""
    scores = []
    for train, test in folds if isinstance(folds, list) else folds.split(X, y):
        weights = {} if weight is None else {"sample_weight": weight[train]}
        fitted = clone(model).fit(X[train], y[train], **weights)
        rows = test if part == "test" else train
        scores.append(score(fitted, X[rows], y[rows]))
    return np.array(scores)


def negative_log_loss(estimator, X, y):
    return -log_loss(y, estimator.predict_proba(X), labels=estimator.classes_)


def assert_as_by_hand(search, model, X, y, score=None, **options):
    """Compare the scores of every candidate with those of fits by hand."""
    score = score or negative_log_loss
    for params in search.cv_results_["params"]:
        # A clone of the parameters, too: steps of a pipeline can be among them.
        candidate = clone(model).set_params(**clone(params, safe=False))
        by_hand = scores_by_hand(candidate, X, y, score, **options)
        found = scores_of(search, params, part=options.get("part", "test"))
        np.testing.assert_allclose(found, by_hand, rtol=0, atol=1e-6)


def accuracy_and_loss(estimator, X, y):
    return {
        "accuracy": estimator.score(X, y),
        "loss": negative_log_loss(estimator, X, y),
    }


def columns_of(search):
    """Give the columns of the results that both libraries have."""
    return set(search.cv_results_) - {"fit_mode"}


# -- results --------------------------------------------------------------------------------------


def test_fit_returns_the_search(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS)

    assert search.fit(*table) is search


@BOTH
def test_split_scores_are_those_of_fits_by_hand(model, grid, search_for, table):
    search = search_for(model, grid, scoring=negative_log_loss).fit(*table)

    assert_as_by_hand(search, model, *table)


def test_default_scoring_is_the_score_of_the_estimator(search_for, table):
    search = search_for(LOGISTIC, {"C": [1.0]}).fit(*table)
    by_hand = scores_by_hand(
        LOGISTIC, *table, score=lambda fitted, X, y: accuracy_score(y, fitted.predict(X))
    )

    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=1e-12)


def test_results_have_the_documented_columns(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS).fit(*table)
    times = {f"{what}_{time}" for what in ("mean", "std") for time in ("fit_time", "score_time")}
    scores = {f"split{fold}_test_score" for fold in range(3)}
    summary = {"mean_test_score", "std_test_score", "rank_test_score"}

    assert columns_of(search) == times | scores | summary | {"params", "param_C"}


def test_results_mean_and_deviation_are_over_the_folds(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss").fit(*table)
    results = search.cv_results_
    splits = np.column_stack([results[f"split{fold}_test_score"] for fold in range(3)])

    np.testing.assert_allclose(results["mean_test_score"], splits.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(results["std_test_score"], splits.std(axis=1), rtol=1e-9)


@BOTH
def test_results_times_are_positive(model, grid, search_for, table):
    results = search_for(model, grid).fit(*table).cv_results_

    assert np.all(results["mean_fit_time"] > 0)
    assert np.all(results["mean_score_time"] > 0)
    assert np.all(results["std_fit_time"] >= 0)


def test_results_rank_counts_from_the_best(search_for, table):
    search = search_for(LOGISTIC, {"C": [1e-4, 1e-2, 1.0]}, scoring="neg_log_loss").fit(*table)
    means = search.cv_results_["mean_test_score"]
    ranks = search.cv_results_["rank_test_score"]

    assert ranks.dtype == np.int32
    assert ranks[np.argsort(-means)].tolist() == [1, 2, 3]


def test_results_rank_of_equal_candidates_is_shared(search_for, table):
    search = search_for(LOGISTIC, {"C": [1e-4, 1.0, 1.0]}, scoring="neg_log_loss").fit(*table)
    ranks = search.cv_results_["rank_test_score"]

    assert sorted(ranks.tolist()) == [1, 1, 3]
    assert search.best_index_ == ranks.tolist().index(1)


def test_results_parameter_columns_are_typed_by_their_values(search_for, table):
    grid = {
        "C": [0.1, 1.0],
        "max_iter": [50],
        "fit_intercept": [True, False],
        "class_weight": [None, "balanced"],
        "solver": ["lbfgs"],
    }
    results = search_for(LOGISTIC, grid, cv=2).fit(*table).cv_results_
    kinds = {name: results[f"param_{name}"].dtype.kind for name in grid}

    assert kinds == {
        "C": "f", "max_iter": "i", "fit_intercept": "b", "class_weight": "O", "solver": "O",
    }  # fmt: skip


def test_results_parameter_column_of_sequences_is_flat(search_for, table):
    grid = {"hidden_layer_sizes": [(4, 3), (6, 2)]}
    column = search_for(MLP, grid, cv=2).fit(*table).cv_results_["param_hidden_layer_sizes"]

    assert column.shape == (2,)
    assert column.dtype == object
    assert sorted(column) == [(4, 3), (6, 2)]


def test_results_of_grids_with_different_parameters_are_masked(search_for, table):
    grids = [{"C": [0.1, 1.0]}, {"class_weight": ["balanced"], "fit_intercept": [False]}]
    search = search_for(LOGISTIC, grids).fit(*table)
    params = search.cv_results_["params"]

    assert len(params) == 3
    for name in ("C", "class_weight", "fit_intercept"):
        column = search.cv_results_[f"param_{name}"]
        assert isinstance(column, np.ma.MaskedArray)
        assert column.mask.tolist() == [name not in each for each in params]
        assert column.compressed().tolist() == [each[name] for each in params if name in each]


def test_results_make_a_data_frame(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS).fit(*table)
    frame = pd.DataFrame(search.cv_results_)

    assert len(frame) == 2
    assert frame.loc[search.best_index_, "mean_test_score"] == search.best_score_
    assert frame.set_index("param_C").loc[0.001, "params"] == {"C": 0.001}


@BOTH
def test_best_attributes_are_those_of_the_first_rank(model, grid, search_for, table):
    search = search_for(model, grid, scoring="neg_log_loss").fit(*table)
    results = search.cv_results_

    assert search.best_index_ == results["rank_test_score"].argmin()
    assert search.best_score_ == results["mean_test_score"].max()
    assert search.best_params_ == results["params"][search.best_index_]


@BOTH
def test_best_estimator_is_the_candidate_fitted_on_all_rows(model, grid, search_for, table):
    X, y = table
    search = search_for(model, grid).fit(X, y)
    by_hand = clone(model).set_params(**search.best_params_).fit(X, y)

    assert type(search.best_estimator_) is type(model)
    assert search.best_estimator_.get_params() == model.get_params() | search.best_params_
    np.testing.assert_array_equal(search.best_estimator_.predict_proba(X), by_hand.predict_proba(X))


def test_refit_time_is_told(search_for, table):
    assert search_for(LOGISTIC, STRENGTHS).fit(*table).refit_time_ > 0


def test_fit_again_forgets_the_earlier_results(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS).fit(*table)
    search.set_params(cv=2, refit=True).fit(*table)

    assert search.n_splits_ == 2
    assert "split2_test_score" not in search.cv_results_


def test_fit_twice_gives_the_same_scores(search_for, table):
    search = search_for(MLP, PENALTIES, scoring="neg_log_loss")
    first = search.fit(*table).cv_results_["mean_test_score"]
    second = search.fit(*table).cv_results_["mean_test_score"]

    np.testing.assert_array_equal(first, second)


def test_fit_that_ends_early_warns_of_convergence(search_for, table):
    # It would forgive one epoch without improvement, and does not come to it.
    hasty = clone(MLP).set_params(max_iter=2, n_iter_no_change=1, tol=0.0)
    # Without a refit, so that it is the folds that warn.
    with pytest.warns(ConvergenceWarning):
        search_for(hasty, PENALTIES, refit=False).fit(*table)


# -- the training scores --------------------------------------------------------------------------


def test_train_scores_by_default_are_left_out(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS).fit(*table)

    assert [name for name in search.cv_results_ if "train" in name] == []


def test_train_scores_when_asked_for_have_columns_without_a_rank(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, return_train_score=True).fit(*table)

    assert {name for name in search.cv_results_ if "train" in name} == {
        "split0_train_score", "split1_train_score", "split2_train_score", "mean_train_score",
        "std_train_score",
    }  # fmt: skip


@BOTH
def test_train_scores_are_those_of_the_training_rows(model, grid, search_for, table):
    search = search_for(model, grid, scoring=negative_log_loss, return_train_score=True)
    search.fit(*table)

    assert_as_by_hand(search, model, *table, part="train")


# -- several metrics ------------------------------------------------------------------------------

SEVERAL = {
    "list": (["roc_auc", "accuracy"], ("roc_auc", "accuracy")),
    "tuple": (("accuracy", "neg_log_loss"), ("accuracy", "neg_log_loss")),
    "dict": ({"auc": "roc_auc", "hits": make_scorer(accuracy_score)}, ("auc", "hits")),
    "callable": (accuracy_and_loss, ("accuracy", "loss")),
}
METRICS = pytest.mark.parametrize(("scoring", "names"), SEVERAL.values(), ids=SEVERAL.keys())


@METRICS
def test_several_metrics_have_columns_each(scoring, names, search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit=names[0]).fit(*table)

    assert search.multimetric_ is True
    for name in names:
        kinds = ["mean_test", "std_test", "rank_test", "split0_test", "split2_test"]
        assert {f"{kind}_{name}" for kind in kinds} <= set(search.cv_results_)
    assert "mean_test_score" not in search.cv_results_


@METRICS
def test_several_metrics_refit_takes_the_best_of_the_named_one(scoring, names, search_for, table):
    for name in names:
        search = search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit=name).fit(*table)
        assert search.best_index_ == search.cv_results_[f"rank_test_{name}"].argmin()
        assert search.best_score_ == search.cv_results_[f"mean_test_{name}"].max()


@METRICS
@pytest.mark.parametrize("refit", [True, "nonsense"])
def test_several_metrics_refit_that_names_none_raises(scoring, names, refit, search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit=refit)

    with pytest.raises(ValueError, match="For multi-metric scoring, the parameter refit must be"):
        search.fit(*table)


def test_several_metrics_score_is_the_one_of_refit(search_for, table):
    X, y = table
    scoring = ["accuracy", "roc_auc"]
    search = search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit="roc_auc").fit(X, y)

    assert search.score(X, y) == roc_auc_score(y, search.predict_proba(X)[:, 1])
    assert set(search.scorer_) == {"accuracy", "roc_auc"}


@BOTH
def test_several_metrics_are_the_same_as_one_at_a_time(model, grid, search_for, table):
    names = ["roc_auc", "neg_log_loss", "accuracy"]
    together = search_for(model, grid, scoring=names, refit=False).fit(*table)
    for name in names:
        alone = search_for(model, grid, scoring=name, refit=False).fit(*table)
        np.testing.assert_array_equal(
            together.cv_results_[f"mean_test_{name}"], alone.cv_results_["mean_test_score"]
        )


def test_several_metrics_train_scores_have_columns_each(search_for, table):
    search = search_for(
        LOGISTIC, STRENGTHS, scoring=accuracy_and_loss, refit="loss", return_train_score=True
    ).fit(*table)
    by_hand = scores_by_hand(LOGISTIC, *table, score=negative_log_loss, part="train")

    assert "mean_train_accuracy" in search.cv_results_
    np.testing.assert_allclose(
        scores_of(search, {"C": 1.0}, "loss", "train"), by_hand, rtol=0, atol=1e-6
    )


# -- scorers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scoring", ["nonsense", ["accuracy", "nonsense"]], ids=["one", "several"])
def test_scoring_unknown_raises(scoring, search_for, table):
    with pytest.raises(ValueError, match=r"nonsense|'scoring' parameter"):
        search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit=False).fit(*table)


def test_scorer_whose_less_is_better_is_negated(search_for, table):
    loss = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba")
    search = search_for(LOGISTIC, STRENGTHS, scoring=loss).fit(*table)
    by_hand = scores_by_hand(LOGISTIC, *table, score=negative_log_loss)

    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=0, atol=1e-6)


def test_scorer_sees_what_the_fitted_estimator_has_learnt(search_for, table):
    sparse = TorchLogisticClassifier(l1_ratio=1.0, tol=1e-8)

    def n_zeros(estimator, X, y):
        return int(np.sum(estimator.coef_ == 0))

    search = search_for(sparse, {"C": [0.02, 0.1]}, scoring=n_zeros).fit(*table)

    assert_as_by_hand(search, sparse, *table, score=n_zeros)
    assert scores_of(search, {"C": 0.02}).min() > 0


def test_scorer_sees_the_curves_of_the_fit(search_for, table):
    def last_loss(estimator, X, y):
        assert len(estimator.loss_curve_) == estimator.n_iter_ == estimator.max_iter
        return -estimator.loss_

    search = search_for(MLP, {"max_iter": [2, 5]}, scoring=last_loss, error_score="raise")
    search.fit(*table)

    assert_as_by_hand(search, MLP, *table, score=last_loss)


@BOTH
def test_scorer_sees_the_parameters_of_the_candidate(model, grid, search_for, table):
    ((name, values),) = grid.items()
    search = search_for(
        model, grid, scoring=lambda estimator, X, y: estimator.get_params()[name]
    ).fit(*table)

    for value in values:
        assert scores_of(search, {name: value}).tolist() == [value] * 3


def test_scorer_gets_the_test_rows_of_a_data_frame(search_for, frame):
    X, y = frame

    def first_index(estimator, X, y):
        assert X.columns.tolist() == estimator.feature_names_in_.tolist()
        assert X.index.equals(y.index)
        return int(X.index.min())

    search = search_for(LOGISTIC, STRENGTHS, scoring=first_index, error_score="raise").fit(X, y)
    expected = [int(X.index[test].min()) for _, test in FOLDS.split(X, y)]

    assert scores_of(search, {"C": 1.0}).tolist() == expected


def test_scorer_of_a_pipeline_sees_its_steps(search_for, table):
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", LOGISTIC)])

    def first_mean(estimator, X, y):
        assert estimator.named_steps["clf"].coef_.shape == (1, X.shape[1])
        return estimator.named_steps["scale"].mean_[0]

    search = search_for(
        pipeline, {"clf__C": [0.1, 1.0]}, scoring=first_mean, error_score="raise"
    ).fit(*table)
    expected = [table[0][train, 0].mean() for train, _ in FOLDS.split(*table)]

    np.testing.assert_allclose(scores_of(search, {"clf__C": 0.1}), expected, rtol=1e-9)


def fails_with_little_penalty(estimator, X, y):
    """Score by accuracy, but not every model."""
    if estimator.C > 0.1:
        raise ZeroDivisionError("too little penalty")
    return estimator.score(X, y)


@NON_FINITE
def test_scorer_that_raises_scores_nan_and_warns(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=fails_with_little_penalty)
    with pytest.warns(UserWarning, match=r"Scoring failed[\s\S]*too little penalty"):
        search.fit(*table)

    assert np.isnan(scores_of(search, {"C": 1.0})).all()
    assert np.isfinite(scores_of(search, {"C": 0.001})).all()
    assert search.best_params_ == {"C": 0.001}


def test_scorer_that_raises_with_error_score_raise_raises(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=fails_with_little_penalty, error_score="raise")

    with pytest.raises(ZeroDivisionError, match="too little penalty"):
        search.fit(*table)


@NON_FINITE
def test_scorer_that_raises_among_several_scores_nan_alone(search_for, table):
    scoring = {"hits": "accuracy", "picky": fails_with_little_penalty}
    search = search_for(LOGISTIC, STRENGTHS, scoring=scoring, refit="hits")
    with pytest.warns(UserWarning, match="Scoring failed"):
        search.fit(*table)

    assert np.isnan(scores_of(search, {"C": 1.0}, "picky")).all()
    assert np.isfinite(scores_of(search, {"C": 1.0}, "hits")).all()


@pytest.mark.parametrize("answer", ["many", None, [0.5, 0.5]], ids=["words", "none", "list"])
def test_scorer_that_returns_no_number_raises(answer, search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=lambda estimator, X, y: answer)

    with pytest.raises(ValueError, match="scoring must return a number, got"):
        search.fit(*table)


# -- refit ----------------------------------------------------------------------------------------


def test_refit_false_with_one_metric_still_names_the_best(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss", refit=False).fit(*table)

    assert search.best_params_ == {"C": 1.0}
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()


def test_refit_false_with_several_metrics_names_no_best(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=["accuracy", "roc_auc"], refit=False)
    search.fit(*table)

    for name in ("best_index_", "best_params_", "best_score_", "best_estimator_"):
        assert not hasattr(search, name)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function", "score"]
)
def test_refit_false_leaves_no_way_to_predict(method, search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, refit=False).fit(*table)

    assert not hasattr(search, "best_estimator_")
    with pytest.raises(AttributeError) as caught:
        getattr(search, method)(*table)
    # The reason is in the error, or in the one that caused it.
    assert "refit=False" in f"{caught.value} {caught.value.__cause__}"


@BOTH
def test_refit_callable_chooses_the_candidate(model, grid, search_for, table):
    X, y = table

    def worst(results):
        assert len(results["params"]) == len(results["mean_test_score"]) == 2
        return int(results["rank_test_score"].argmax())

    search = search_for(model, grid, scoring="neg_log_loss", refit=worst).fit(X, y)
    by_hand = clone(model).set_params(**search.best_params_).fit(X, y)

    assert search.best_index_ == search.cv_results_["mean_test_score"].argmin()
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]
    np.testing.assert_array_equal(search.predict_proba(X), by_hand.predict_proba(X))


def test_refit_callable_leaves_no_best_score(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, refit=lambda results: 0).fit(*table)

    assert not hasattr(search, "best_score_")


def test_refit_callable_with_several_metrics_sees_all(search_for, table):
    def by_accuracy(results):
        assert "mean_test_roc_auc" in results
        return int(results["mean_test_accuracy"].argmax())

    search = search_for(
        LOGISTIC, STRENGTHS, scoring=["roc_auc", "accuracy"], refit=by_accuracy
    ).fit(*table)

    assert search.best_index_ == search.cv_results_["mean_test_accuracy"].argmax()


def test_refit_callable_that_returns_no_integer_raises(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, refit=lambda results: "0")

    with pytest.raises(TypeError, match="best_index_ returned is not an integer"):
        search.fit(*table)


@pytest.mark.parametrize("index", [-1, 2])
def test_refit_callable_that_returns_no_candidate_raises(index, search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, refit=lambda results: index)

    with pytest.raises(IndexError, match="best_index_ index out of range"):
        search.fit(*table)


# -- fits that fail -------------------------------------------------------------------------------


@NON_FINITE
@DIVERGING
def test_diverging_candidate_scores_nan_and_warns(model, search_for, table):
    search = search_for(model, RATES, error_score=np.nan)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
        search.fit(*table)

    assert np.isnan(scores_of(search, {"learning_rate_init": 1e30})).all()
    assert search.best_params_ == {"learning_rate_init": 0.01}
    assert search.cv_results_["rank_test_score"][search.best_index_] == 1


@NON_FINITE
@DIVERGING
def test_diverging_candidate_is_explained_in_the_warning(model, search_for, table):
    with pytest.warns(FitFailedWarning, match=r"must stay a finite number[^\n]*rate 1e\+30"):
        search_for(model, RATES).fit(*table)


@NON_FINITE
@DIVERGING
def test_diverging_candidate_does_not_move_the_others(model, search_for, table):
    with pytest.warns(FitFailedWarning):
        beside = search_for(model, RATES, scoring="neg_log_loss").fit(*table)
    alone = scores_by_hand(
        clone(model).set_params(learning_rate_init=0.01), *table, score=negative_log_loss
    )

    np.testing.assert_allclose(
        scores_of(beside, {"learning_rate_init": 0.01}), alone, rtol=0, atol=1e-6
    )


@DIVERGING
def test_diverging_candidate_with_error_score_raise_raises(model, search_for, table):
    with pytest.raises(ValueError, match="The training loss must stay a finite number"):
        search_for(model, RATES, error_score="raise").fit(*table)


@DIVERGING
def test_diverging_candidate_with_a_number_as_error_score_scores_it(model, search_for, table):
    search = search_for(model, RATES, error_score=0, return_train_score=True)
    with pytest.warns(FitFailedWarning, match="will be set to 0"):
        search.fit(*table)

    assert scores_of(search, {"learning_rate_init": 1e30}).tolist() == [0, 0, 0]
    assert scores_of(search, {"learning_rate_init": 1e30}, part="train").tolist() == [0, 0, 0]
    assert scores_of(search, {"learning_rate_init": 0.01}).min() > 0


@NON_FINITE
@METRICS
def test_diverging_candidate_with_several_metrics_scores_nan_in_each(
    scoring, names, search_for, table
):
    model = clone(MLP).set_params(solver="sgd")
    search = search_for(model, RATES, scoring=scoring, refit=names[0])
    with pytest.warns(FitFailedWarning):
        search.fit(*table)

    for name in names:
        assert np.isnan(scores_of(search, {"learning_rate_init": 1e30}, name)).all()
        assert np.isfinite(scores_of(search, {"learning_rate_init": 0.01}, name)).all()


@DIVERGING
def test_every_fit_diverging_raises(model, search_for, table):
    search = search_for(model, {"learning_rate_init": [1e30, 1e31]})

    with pytest.raises(ValueError, match=r"All the 6 fits failed[\s\S]*finite number"):
        search.fit(*table)


@NON_FINITE
def test_candidate_with_a_forbidden_value_fails_alone(search_for, table):
    search = search_for(LOGISTIC, {"C": [-1.0, 0.01, 1.0]})
    with pytest.warns(FitFailedWarning, match=r"3 fits failed out of a total of 9[\s\S]*'C'"):
        search.fit(*table)

    assert np.isnan(scores_of(search, {"C": -1.0})).all()
    by_hand = scores_by_hand(LOGISTIC, *table, score=lambda fitted, X, y: fitted.score(X, y))
    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=1e-12)


@NON_FINITE
@BOTH
def test_fold_whose_training_rows_are_of_one_class_fails_alone(model, grid, search_for, table):
    X, y = table
    train, test = np.arange(100), np.arange(100, 150)
    folds = [(train, test), (np.flatnonzero(y[:100]), test)]
    search = search_for(model, grid, cv=folds)
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 4"):
        search.fit(X, y)

    assert np.isfinite(search.cv_results_["split0_test_score"]).all()
    assert np.isnan(search.cv_results_["split1_test_score"]).all()


def test_error_score_unknown_raises(search_for, table):
    with pytest.raises(ValueError, match=r"The 'error_score' parameter of \w+ must be"):
        search_for(LOGISTIC, STRENGTHS, error_score="ignore").fit(*table)


@BOTH
def test_missing_values_in_the_rows_fail_every_fit(model, grid, search_for, table):
    X, y = table[0].copy(), table[1]
    X[::2, 0] = np.nan

    with pytest.raises(ValueError, match=r"All the 6 fits failed[\s\S]*NaN"):
        search_for(model, grid).fit(X, y)


@BOTH
def test_three_classes_fail_every_fit(model, grid, search_for, table):
    X, y = table

    with pytest.raises(ValueError, match="All the 6 fits failed"):
        search_for(model, grid).fit(X, np.arange(len(y)) % 3)


def test_labels_of_another_length_raise(search_for, table):
    X, y = table

    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        search_for(LOGISTIC, STRENGTHS).fit(X, y[:-1])


# -- what else goes to fit ------------------------------------------------------------------------


@BOTH
@pytest.mark.filterwarnings("ignore:The scoring .* does not support sample_weight")
def test_sample_weight_is_split_with_the_rows(model, grid, search_for, table, uneven):
    search = search_for(model, grid, scoring=negative_log_loss)
    search.fit(*table, sample_weight=uneven)

    assert_as_by_hand(search, model, *table, weight=uneven)


@BOTH
def test_sample_weight_changes_the_scores(model, grid, search_for, table, uneven):
    search = search_for(model, grid, scoring="neg_log_loss")
    plain = search.fit(*table).cv_results_["mean_test_score"]
    weighted = search.fit(*table, sample_weight=uneven).cv_results_["mean_test_score"]

    assert np.abs(plain - weighted).min() > 1e-4


@BOTH
def test_sample_weight_reaches_the_refit(model, grid, search_for, table, uneven):
    X, y = table
    search = search_for(model, grid).fit(X, y, sample_weight=uneven)
    by_hand = clone(model).set_params(**search.best_params_).fit(X, y, uneven)

    np.testing.assert_array_equal(search.predict_proba(X), by_hand.predict_proba(X))


def test_sample_weight_weighs_the_scores_of_a_scorer_that_takes_it(search_for, table, uneven):
    X, y = table
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss")
    search.fit(X, y, sample_weight=uneven)
    by_hand = []
    for train, test in FOLDS.split(X, y):
        fitted = clone(LOGISTIC).fit(X[train], y[train], uneven[train])
        probability = fitted.predict_proba(X[test])
        by_hand.append(-log_loss(y[test], probability, sample_weight=uneven[test]))

    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=0, atol=1e-6)


def test_sample_weight_none_is_as_left_out(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss")
    given = search.fit(*table, sample_weight=None).cv_results_["mean_test_score"]
    left_out = search.fit(*table).cv_results_["mean_test_score"]

    np.testing.assert_array_equal(given, left_out)


@pytest.mark.parametrize("kind", [list, pd.Series], ids=["list", "series"])
def test_sample_weight_of_any_kind_is_as_an_array(kind, search_for, table, uneven):
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss")
    array = search.fit(*table, sample_weight=uneven).cv_results_["mean_test_score"]
    other = search.fit(*table, sample_weight=kind(uneven)).cv_results_["mean_test_score"]

    np.testing.assert_array_equal(array, other)


@BOTH
def test_sample_weight_of_another_length_raises(model, grid, search_for, table, uneven):
    with pytest.raises(ValueError, match="sample_weight"):
        search_for(model, grid).fit(*table, sample_weight=uneven[:-1])


def test_validation_rows_go_whole_to_every_fit(search_for, table):
    X, y = table
    kept, validation = slice(0, 110), slice(110, None)
    stopped = clone(MLP).set_params(early_stopping=True, n_iter_no_change=2, max_iter=10)
    given = {"X_val": X[validation], "y_val": y[validation]}

    def validation_score(estimator, X, y):
        return estimator.best_validation_score_

    search = search_for(stopped, PENALTIES, scoring=validation_score)
    search.fit(X[kept], y[kept], **given)
    by_hand = [
        clone(stopped).fit(X[train], y[train], **given).best_validation_score_
        for train, _ in FOLDS.split(X[kept], y[kept])
    ]

    np.testing.assert_allclose(scores_of(search, {"alpha": 1e-4}), by_hand, rtol=1e-12)


def test_fit_parameter_that_fit_does_not_take_raises(search_for, table):
    with pytest.raises(ValueError, match=r"All the 6 fits failed[\s\S]*unexpected keyword"):
        search_for(LOGISTIC, STRENGTHS).fit(*table, colour="red")


def test_routed_sample_weight_reaches_fit_and_scorer(search_for, table, uneven):
    X, y = table
    with sklearn.config_context(enable_metadata_routing=True):
        asks = clone(LOGISTIC).set_fit_request(sample_weight=True)
        accuracy = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        search = search_for(asks, STRENGTHS, scoring=accuracy).fit(X, y, sample_weight=uneven)
    by_hand = []
    for train, test in FOLDS.split(X, y):
        fitted = clone(LOGISTIC).fit(X[train], y[train], uneven[train])
        by_hand.append(fitted.score(X[test], y[test], uneven[test]))

    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=1e-12)


def test_routed_sample_weight_that_only_the_scorer_wants_leaves_the_fit_alone(
    search_for, table, uneven
):
    X, y = table
    with sklearn.config_context(enable_metadata_routing=True):
        refuses = clone(LOGISTIC).set_fit_request(sample_weight=False)
        accuracy = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        search = search_for(refuses, STRENGTHS, scoring=accuracy).fit(X, y, sample_weight=uneven)
    by_hand = []
    for train, test in FOLDS.split(X, y):
        fitted = clone(LOGISTIC).fit(X[train], y[train])
        by_hand.append(fitted.score(X[test], y[test], uneven[test]))

    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=1e-12)


def test_routed_sample_weight_that_nobody_asked_for_raises(search_for, table, uneven):
    search = search_for(LOGISTIC, STRENGTHS)

    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.raises(UnsetMetadataPassedError, match="sample_weight"),
    ):
        search.fit(*table, sample_weight=uneven)


def test_routed_sample_weight_reaches_score(search_for, table, uneven):
    X, y = table
    with sklearn.config_context(enable_metadata_routing=True):
        asks = clone(LOGISTIC).set_fit_request(sample_weight=True)
        accuracy = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        search = search_for(asks, STRENGTHS, scoring=accuracy).fit(X, y, sample_weight=uneven)
        score = search.score(X, y, sample_weight=uneven)

    assert score == accuracy_score(y, search.predict(X), sample_weight=uneven)


def test_routed_groups_reach_the_splitter(search_for, table):
    groups = np.arange(150) % 7
    search = search_for(clone(LOGISTIC), STRENGTHS, cv=GroupKFold(3), scoring="neg_log_loss")
    plain = search.fit(*table, groups=groups).cv_results_["mean_test_score"]
    with sklearn.config_context(enable_metadata_routing=True):
        search.estimator.set_fit_request(groups=False)  # they are for the splitter alone
        routed = search.fit(*table, groups=groups).cv_results_["mean_test_score"]

    np.testing.assert_array_equal(routed, plain)


# -- folds ----------------------------------------------------------------------------------------


def test_cv_number_splits_by_class_without_shuffling(search_for, table):
    number = search_for(LOGISTIC, STRENGTHS, cv=3, scoring="neg_log_loss").fit(*table)
    splitter = search_for(LOGISTIC, STRENGTHS, cv=FOLDS, scoring="neg_log_loss").fit(*table)

    assert number.n_splits_ == 3
    np.testing.assert_array_equal(scores_of(number, {"C": 1.0}), scores_of(splitter, {"C": 1.0}))


def test_cv_by_default_is_of_five_folds(search_for, table):
    assert search_for(LOGISTIC, STRENGTHS, cv=None).fit(*table).n_splits_ == 5


@BOTH
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "generator"])
def test_cv_iterable_of_rows_is_followed(model, grid, kind, search_for, table):
    folds = list(ShuffleSplit(2, test_size=0.3, random_state=0).split(*table))
    search = search_for(model, grid, cv=kind(folds), scoring=negative_log_loss).fit(*table)

    assert search.n_splits_ == 2
    assert_as_by_hand(search, model, *table, folds=folds)


def test_cv_iterable_of_masks_is_followed(search_for, table):
    folds = list(FOLDS.split(*table))
    masks = [tuple(np.isin(np.arange(150), rows) for rows in fold) for fold in folds]
    by_mask = search_for(LOGISTIC, STRENGTHS, cv=masks, scoring="neg_log_loss").fit(*table)
    by_rows = search_for(LOGISTIC, STRENGTHS, cv=folds, scoring="neg_log_loss").fit(*table)

    np.testing.assert_array_equal(
        by_mask.cv_results_["mean_test_score"], by_rows.cv_results_["mean_test_score"]
    )


@BOTH
def test_cv_of_unequal_parts_scores_each_part(model, grid, search_for, table):
    sizes = [(40, 10), (77, 50), (120, 3), (149, 1)]
    order = np.random.RandomState(0).permutation(150)
    folds = [(order[:n_train], order[150 - n_test :]) for n_train, n_test in sizes]
    search = search_for(model, grid, cv=folds, scoring=negative_log_loss).fit(*table)

    assert_as_by_hand(search, model, *table, folds=folds)


@BOTH
def test_cv_that_draws_a_row_twice_trains_on_it_twice(model, grid, search_for, table):
    random = np.random.RandomState(0)
    folds = [(random.randint(0, 100, 100), np.arange(100, 150)) for _ in range(2)]
    search = search_for(model, grid, cv=folds, scoring=negative_log_loss).fit(*table)

    assert_as_by_hand(search, model, *table, folds=folds)


@BOTH
def test_cv_of_one_split_is_enough(model, grid, search_for, table):
    search = search_for(model, grid, cv=PredefinedSplit(np.repeat([-1, 0], [100, 50])))
    search.fit(*table)

    assert search.n_splits_ == 1
    assert search.cv_results_["std_test_score"].tolist() == [0, 0]
    assert search.best_score_ > 0.5


def test_cv_that_shuffles_anew_gives_every_candidate_the_same_folds(search_for, table):
    search = search_for(
        LOGISTIC, {"C": [1.0, 1.0]}, cv=ShuffleSplit(3, test_size=0.5), scoring="neg_log_loss"
    ).fit(*table)

    for fold in range(3):
        one, other = search.cv_results_[f"split{fold}_test_score"]
        assert one == pytest.approx(other, abs=1e-12)


@BOTH
def test_groups_are_kept_together(model, grid, search_for, table):
    X, y = table
    groups = np.arange(150) % 7
    search = search_for(model, grid, cv=GroupKFold(3), scoring=negative_log_loss)
    search.fit(X, y, groups=groups)
    folds = list(GroupKFold(3).split(X, y, groups))

    assert_as_by_hand(search, model, X, y, folds=folds)


def test_groups_that_are_missing_raise(search_for, table):
    with pytest.raises(ValueError, match="The 'groups' parameter should not be None"):
        search_for(LOGISTIC, STRENGTHS, cv=GroupKFold(3)).fit(*table)


def test_cv_whose_count_is_wrong_raises(search_for, table):
    class Miscounted(StratifiedKFold):
        def get_n_splits(self, X=None, y=None, groups=None):
            return self.n_splits + 1

    with pytest.raises(ValueError, match=r"inconsistent results\. Expected 4 splits, got 3"):
        search_for(LOGISTIC, STRENGTHS, cv=Miscounted(3)).fit(*table)


def test_cv_without_a_split_raises(search_for, table):
    with pytest.raises(ValueError, match="No fits were performed"):
        search_for(LOGISTIC, STRENGTHS, cv=[]).fit(*table)


def test_cv_with_more_folds_than_rows_of_a_class_raises(search_for, table):
    X, y = table
    rows = np.r_[np.flatnonzero(y == 0)[:20], np.flatnonzero(y == 1)[:20]]

    with pytest.raises(ValueError, match="n_splits=30 cannot be greater than"):
        search_for(LOGISTIC, STRENGTHS, cv=30).fit(X[rows], y[rows])


# -- candidates -----------------------------------------------------------------------------------


@BOTH
def test_grid_order_is_that_of_parameter_grid(model, grid, grid_search, table):
    wider = grid | {"threshold": [0.3, 0.5]}
    search = grid_search(model, wider, cv=2).fit(*table)

    assert search.cv_results_["params"] == list(ParameterGrid(wider))


@BOTH
def test_single_candidate_is_scored_and_refitted(model, grid, search_for, table):
    ((name, values),) = grid.items()
    search = search_for(model, {name: values[:1]}).fit(*table)

    assert search.best_params_ == {name: values[0]}
    assert search.cv_results_["rank_test_score"].tolist() == [1]
    assert search.best_estimator_.get_params()[name] == values[0]


@BOTH
def test_empty_grid_is_the_estimator_as_it_is(model, grid, search_for, table):
    search = search_for(model, {}, scoring=negative_log_loss).fit(*table)

    assert search.cv_results_["params"] == [{}]
    assert search.best_params_ == {}
    assert_as_by_hand(search, model, *table)


def test_list_of_grids_with_an_empty_one_holds_the_estimator_as_it_is(search_for, table):
    search = search_for(LOGISTIC, [{}, {"C": [0.001]}]).fit(*table)

    assert {} in search.cv_results_["params"]
    assert search.cv_results_["param_C"].mask.sum() == 1


def test_grid_without_values_raises(grid_search, table):
    with pytest.raises(ValueError, match="for parameter 'C' need to be a non-empty sequence"):
        grid_search(LOGISTIC, {"C": []}).fit(*table)


def test_distributions_without_values_raise(randomized_search, table):
    with pytest.raises(ValueError, match="for parameter 'C' need to be a non-empty sequence"):
        randomized_search(LOGISTIC, {"C": []}, n_iter=1).fit(*table)


@pytest.mark.parametrize("value", [1.0, "balanced"])
def test_grid_value_that_is_not_in_a_list_raises(value, grid_search, table):
    with pytest.raises(TypeError, match="for parameter 'class_weight' needs to be a list or a num"):
        grid_search(LOGISTIC, {"class_weight": value}).fit(*table)


def test_grid_values_in_a_table_raise(grid_search, table):
    with pytest.raises(ValueError, match="array for 'C' should be one-dimensional"):
        grid_search(LOGISTIC, {"C": np.ones((2, 2))}).fit(*table)


@BOTH
def test_parameter_that_the_estimator_lacks_raises(model, grid, search_for, table):
    with pytest.raises(ValueError, match="Invalid parameter 'strength' for estimator"):
        search_for(model, {"strength": [1.0, 2.0]}).fit(*table)


@BOTH
def test_parameter_that_the_step_lacks_raises(model, grid, search_for, table):
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", model)])

    with pytest.raises(ValueError, match="Invalid parameter 'strength' for estimator"):
        search_for(pipeline, {"clf__strength": [1.0]}).fit(*table)


def test_numpy_values_in_the_grid_are_candidates(search_for, table):
    search = search_for(LOGISTIC, {"C": np.logspace(-2, 0, 3), "fit_intercept": np.array([True])})
    search.fit(*table)

    assert len(search.cv_results_["params"]) == 3
    assert search.cv_results_["param_C"].dtype == np.float64


def test_draws_are_those_of_parameter_sampler(randomized_search, table):
    space = {"C": loguniform(1e-3, 1e2), "class_weight": [None, "balanced"]}
    search = randomized_search(LOGISTIC, space, n_iter=5, random_state=3, cv=2).fit(*table)

    assert search.cv_results_["params"] == list(ParameterSampler(space, 5, random_state=3))


def test_draws_of_the_same_random_state_are_repeated(randomized_search, table):
    space = {"learning_rate_init": loguniform(1e-3, 1e-1), "alpha": loguniform(1e-5, 1.0)}
    one, two, other = (
        randomized_search(
            MLP, space, n_iter=3, random_state=seed, cv=2, scoring="neg_log_loss"
        ).fit(*table)
        for seed in (0, 0, 1)
    )

    assert one.cv_results_["params"] == two.cv_results_["params"] != other.cv_results_["params"]
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )


def test_draws_from_several_spaces_take_each_from_one(randomized_search, table):
    spaces = [{"C": loguniform(1e-3, 1e2)}, {"threshold": [0.3, 0.4], "fit_intercept": [False]}]
    search = randomized_search(LOGISTIC, spaces, n_iter=8, random_state=0, cv=2).fit(*table)
    names = {tuple(sorted(params)) for params in search.cv_results_["params"]}

    assert names == {("C",), ("fit_intercept", "threshold")}


def test_draws_by_default_are_ten(randomized_search, table):
    search = randomized_search(LOGISTIC, {"C": loguniform(1e-3, 1e2)}, random_state=0, cv=2)

    assert len(search.fit(*table).cv_results_["params"]) == 10


def test_draws_from_lists_are_without_repetition(randomized_search, table):
    values = [0.001, 0.01, 0.1, 1.0]
    search = randomized_search(LOGISTIC, {"C": values}, n_iter=4, random_state=0, cv=2)

    assert sorted(search.fit(*table).cv_results_["param_C"]) == values


def test_draws_beyond_the_space_warn_and_take_all(randomized_search, table):
    search = randomized_search(LOGISTIC, STRENGTHS, n_iter=5, cv=2)
    with pytest.warns(UserWarning, match="total space of parameters 2 is smaller than n_iter=5"):
        search.fit(*table)

    assert len(search.cv_results_["params"]) == 2


def test_threshold_in_the_grid_moves_the_labels(search_for, table):
    values = [0.2, 0.5, 0.8]
    search = search_for(LOGISTIC, {"threshold": values}, scoring=["f1", "accuracy"], refit="f1")
    search.fit(*table)

    for value in values:
        cut = clone(LOGISTIC).set_params(threshold=value)
        for name, metric in (("f1", f1_score), ("accuracy", accuracy_score)):
            by_hand = scores_by_hand(
                cut, *table, score=lambda fitted, X, y, m=metric: m(y, fitted.predict(X))
            )
            np.testing.assert_allclose(
                scores_of(search, {"threshold": value}, name), by_hand, rtol=1e-12
            )
    assert len(set(search.cv_results_["mean_test_f1"])) == 3


def test_threshold_in_the_grid_leaves_the_probabilities(search_for, table):
    search = search_for(MLP, {"threshold": [0.2, 0.8]}, scoring=["roc_auc", "recall"], refit=False)
    results = search.fit(*table).cv_results_

    assert np.ptp(results["mean_test_roc_auc"]) == 0
    assert np.ptp(results["mean_test_recall"]) > 0.1


def test_random_state_none_scores_finite_numbers(search_for, table):
    model = clone(MLP).set_params(random_state=None)
    search = search_for(model, PENALTIES).fit(*table)

    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_random_state_instance_starts_every_fit_at_the_same_state(search_for, table):
    random = np.random.RandomState(5)
    model = clone(MLP).set_params(random_state=random)
    search = search_for(model, PENALTIES, scoring=negative_log_loss).fit(*table)

    unmoved = clone(MLP).set_params(random_state=np.random.RandomState(5))
    assert_as_by_hand(search, unmoved, *table)
    assert random.randint(10**9) == np.random.RandomState(5).randint(10**9)


def test_callbacks_are_told_of_the_epochs_of_every_fit(search_for, table):
    epochs = []

    class Counting(Callback):
        def on_epoch_end(self, net, **kwargs):
            epochs.append(len(net.history))

    # A clone of the list holds copies of the callbacks, and all of them write to the same list.
    model = clone(MLP).set_params(callbacks=[Counting()], max_iter=2)
    search = search_for(model, PENALTIES, scoring=negative_log_loss).fit(*table)

    assert epochs == [1, 2] * 7
    assert_as_by_hand(search, clone(MLP).set_params(max_iter=2), *table)


# -- jobs and words -------------------------------------------------------------------------------


# Threads, because every process would spend seconds on importing torch.
@BOTH
@pytest.mark.parametrize("pre_dispatch", ["2*n_jobs", "all", 1])
def test_two_jobs_give_the_scores_of_one(model, grid, pre_dispatch, search_for, table):
    one = search_for(model, grid, scoring="neg_log_loss").fit(*table)
    with joblib.parallel_config(backend="threading"):
        two = search_for(
            model, grid, scoring="neg_log_loss", n_jobs=2, pre_dispatch=pre_dispatch
        ).fit(*table)

    np.testing.assert_allclose(
        two.cv_results_["mean_test_score"],
        one.cv_results_["mean_test_score"],
        rtol=0,
        atol=1e-6,
    )


@BOTH
def test_verbose_zero_prints_nothing(model, grid, search_for, table, capfd):
    search_for(model, grid, verbose=0).fit(*table)

    assert capfd.readouterr() == ("", "")


@BOTH
def test_verbose_one_prints_how_many_fits(model, grid, search_for, table, capsys):
    search_for(model, grid, verbose=1).fit(*table)

    line = "Fitting 3 folds for each of 2 candidates, totalling 6 fits"
    assert line in capsys.readouterr().out.splitlines()


def test_verbose_two_prints_a_line_for_each_fit(search_for, table, capsys):
    search_for(LOGISTIC, STRENGTHS, verbose=2).fit(*table)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[CV] END ")]

    assert len(lines) == 6
    assert sum("C=0.001; total time=" in line for line in lines) == 3


@BOTH
def test_verbose_three_prints_fold_and_score_of_each_fit(model, grid, search_for, table, capsys):
    ((name, values),) = grid.items()
    search = search_for(model, grid, verbose=3).fit(*table)
    lines = [line for line in capsys.readouterr().out.splitlines() if " END " in line]

    assert len(lines) == 6
    for value in values:
        for fold, score in enumerate(scores_of(search, {name: value}), start=1):
            pattern = rf"\[CV {fold}/3\] END \.*{name}={value};, score={score:.3f} total time="
            assert sum(bool(re.match(pattern, line)) for line in lines) == 1


def test_verbose_three_prints_train_scores_that_were_asked_for(search_for, table, capsys):
    search_for(LOGISTIC, STRENGTHS, verbose=3, return_train_score=True).fit(*table)

    found = re.findall(r"score=\(train=0\.\d{3}, test=0\.\d{3}\)", capsys.readouterr().out)
    assert len(found) == 6


# -- data -----------------------------------------------------------------------------------------

LABELS = {
    "words": ["no", "yes"],
    "signs": [-1, 1],
    "truth": [False, True],
}


@BOTH
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_labels_of_any_kind_give_the_same_scores(model, grid, labels, search_for, table):
    X, y = table
    named = np.array(labels)[y]
    search = search_for(model, grid, scoring="neg_log_loss").fit(X, named)
    plain = search_for(model, grid, scoring="neg_log_loss").fit(X, y)

    assert search.classes_.tolist() == labels
    assert set(search.predict(X)) == set(labels)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], rtol=1e-9
    )


@BOTH
def test_lists_are_as_arrays(model, grid, search_for, table):
    X, y = table
    lists = search_for(model, grid, scoring="neg_log_loss").fit(X.tolist(), y.tolist())
    arrays = search_for(model, grid, scoring="neg_log_loss").fit(X, y)

    np.testing.assert_array_equal(
        lists.cv_results_["mean_test_score"], arrays.cv_results_["mean_test_score"]
    )


@BOTH
def test_data_frame_is_as_an_array(model, grid, search_for, frame):
    X, y = frame
    frames = search_for(model, grid, scoring="neg_log_loss").fit(X, y)
    arrays = search_for(model, grid, scoring="neg_log_loss").fit(X.to_numpy(), y.to_numpy())

    np.testing.assert_array_equal(
        frames.cv_results_["mean_test_score"], arrays.cv_results_["mean_test_score"]
    )


def test_data_frame_keeps_its_feature_names(search_for, frame):
    search = search_for(LOGISTIC, STRENGTHS).fit(*frame)

    assert search.feature_names_in_.tolist() == frame[0].columns.tolist()


def test_samples_of_more_dimensions_are_as_flat_ones(search_for, table):
    X, y = table
    flat = search_for(MLP, PENALTIES, scoring="neg_log_loss").fit(X, y)
    shaped = search_for(MLP, PENALTIES, scoring="neg_log_loss").fit(X.reshape(150, 5, 2), y)

    np.testing.assert_array_equal(
        shaped.cv_results_["mean_test_score"], flat.cv_results_["mean_test_score"]
    )


@BOTH
def test_fit_leaves_the_data_as_it_was(model, grid, search_for, frame, uneven):
    X, y = (each.copy() for each in frame)
    weight = uneven.copy()
    search_for(model, grid).fit(X, y, sample_weight=weight)

    pd.testing.assert_frame_equal(X, frame[0])
    pd.testing.assert_series_equal(y, frame[1])
    np.testing.assert_array_equal(weight, uneven)


@BOTH
def test_fit_leaves_the_estimator_as_it_was(model, grid, search_for, table):
    own = clone(model)
    search = search_for(own, grid).fit(*table)

    assert search.estimator is own
    # Nothing but the parameters of the constructor, with the values that they had.
    assert vars(own) == model.get_params()
    with pytest.raises(NotFittedError):
        own.predict(table[0])


@BOTH
def test_fit_leaves_the_grid_as_it_was(model, grid, search_for, table):
    own = {name: list(values) for name, values in grid.items()}
    search_for(model, own).fit(*table)

    assert own == grid


def test_fit_leaves_numpy_random_numbers_where_they_were(search_for, table):
    before = np.random.get_state()[1].copy()
    search_for(MLP, PENALTIES).fit(*table)

    np.testing.assert_array_equal(np.random.get_state()[1], before)


# -- the fitted search as an estimator ------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_method_answers_as_the_best_estimator(model, grid, method, search_for, table):
    search = search_for(model, grid).fit(*table)

    np.testing.assert_array_equal(
        getattr(search, method)(table[0]), getattr(search.best_estimator_, method)(table[0])
    )


@BOTH
def test_score_is_that_of_the_scoring(model, grid, search_for, table):
    search = search_for(model, grid, scoring="roc_auc").fit(*table)

    assert search.score(*table) == roc_auc_score(table[1], search.decision_function(table[0]))


@BOTH
def test_classes_and_features_are_those_of_the_data(model, grid, search_for, table):
    search = search_for(model, grid).fit(*table)

    assert search.classes_.tolist() == [0, 1]
    assert search.n_features_in_ == 10
    assert not hasattr(search, "feature_names_in_")


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score_samples"])
def test_method_that_the_estimator_lacks_is_missing(method, search_for, table):
    assert not hasattr(search_for(LOGISTIC, STRENGTHS).fit(*table), method)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function", "score"]
)
def test_method_before_fit_raises(method, search_for, table):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(search_for(LOGISTIC, STRENGTHS), method)(*table[: 1 + (method == "score")])


@pytest.mark.parametrize(
    "name", ["classes_", "n_features_in_", "best_estimator_", "cv_results_", "best_params_"]
)
def test_attribute_before_fit_is_missing(name, search_for):
    assert not hasattr(search_for(LOGISTIC, STRENGTHS), name)


def test_search_is_a_classifier(search_for):
    assert is_classifier(search_for(LOGISTIC, STRENGTHS))


@BOTH
def test_clone_of_a_fitted_search_has_learnt_nothing(model, grid, search_for, table):
    fitted = search_for(model, grid).fit(*table)
    copy = clone(fitted)

    assert set(vars(copy)) == set(copy.get_params(deep=False))
    assert copy.estimator.get_params() == model.get_params()
    assert not hasattr(copy, "cv_results_")


@BOTH
def test_pickle_of_a_fitted_search_gives_the_same_search(model, grid, search_for, table):
    fitted = search_for(model, grid).fit(*table)
    loaded = pickle.loads(pickle.dumps(fitted))

    assert loaded.best_params_ == fitted.best_params_
    assert loaded.cv_results_["params"] == fitted.cv_results_["params"]
    np.testing.assert_array_equal(
        loaded.cv_results_["mean_test_score"], fitted.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(loaded.predict_proba(table[0]), fitted.predict_proba(table[0]))


@BOTH
def test_joblib_of_a_fitted_search_gives_the_same_search(model, grid, search_for, table, tmp_path):
    fitted = search_for(model, grid).fit(*table)
    joblib.dump(fitted, tmp_path / "search.joblib", compress=3)
    loaded = joblib.load(tmp_path / "search.joblib")

    assert loaded.best_score_ == fitted.best_score_
    np.testing.assert_array_equal(loaded.predict_proba(table[0]), fitted.predict_proba(table[0]))


def test_get_params_reaches_the_estimator(search_for):
    search = search_for(clone(LOGISTIC).set_params(C=7.0), STRENGTHS)

    assert search.get_params()["estimator__C"] == 7.0
    assert "estimator__C" not in search.get_params(deep=False)


def test_set_params_reaches_the_estimator(search_for, table):
    search = search_for(clone(LOGISTIC), {"class_weight": [None]}, scoring="neg_log_loss")
    before = search.fit(*table).best_score_
    search.set_params(estimator__C=1e-4, cv=4).fit(*table)

    assert search.best_estimator_.C == search.estimator.C == 1e-4
    assert search.n_splits_ == 4
    assert search.best_score_ < before


def test_set_params_with_a_wrong_name_raises(search_for):
    with pytest.raises(ValueError, match="Invalid parameter 'folds' for estimator"):
        search_for(LOGISTIC, STRENGTHS).set_params(folds=3)


def test_representation_names_search_and_estimator(search_for):
    search = search_for(LOGISTIC, STRENGTHS)

    assert repr(search).startswith(f"{type(search).__name__}(")
    assert "TorchLogisticClassifier(tol=1e-08)" in repr(search)


@BOTH
def test_html_representation_names_search_and_estimator(model, grid, search_for, table):
    search = search_for(model, grid)
    before = search._repr_html_()
    after = search.fit(*table)._repr_html_()

    for page in (before, after):
        assert type(search).__name__ in page
        assert type(model).__name__ in page
    assert "best_estimator_" in after


def test_cross_validation_of_a_search_searches_in_every_fold(search_for, table):
    X, y = table
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss")
    scores = cross_val_score(search, X, y, cv=FOLDS)
    by_hand = [
        clone(search).fit(X[train], y[train]).score(X[test], y[test])
        for train, test in FOLDS.split(X, y)
    ]

    np.testing.assert_array_equal(scores, by_hand)
    np.testing.assert_allclose(
        scores, scores_by_hand(LOGISTIC, X, y, score=negative_log_loss), rtol=0, atol=1e-6
    )


def test_search_as_the_last_step_sees_transformed_rows(search_for, table):
    X, y = table
    pipeline = make_pipeline(MinMaxScaler(), search_for(LOGISTIC, STRENGTHS)).fit(X, y)
    scaled = MinMaxScaler().fit_transform(X)
    direct = search_for(LOGISTIC, STRENGTHS).fit(scaled, y)

    np.testing.assert_array_equal(pipeline.predict_proba(X), direct.predict_proba(scaled))


# -- pipelines ------------------------------------------------------------------------------------


@pytest.fixture
def pipeline():
    return Pipeline([("scale", StandardScaler()), ("clf", clone(LOGISTIC))])


@BOTH
def test_pipeline_scales_by_the_training_rows_alone(model, grid, search_for, table):
    ((name, values),) = grid.items()
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", model)])
    search = search_for(pipeline, {f"clf__{name}": values}, scoring=negative_log_loss)
    # Far outliers, so that the scale of all rows is another one than that of two thirds of them.
    X, y = table[0].copy(), table[1]
    X[:3] *= 30
    search.fit(X, y)

    assert_as_by_hand(search, pipeline, X, y)


def test_pipeline_parameters_of_both_steps_are_searched(pipeline, search_for, table):
    grid = {"scale__with_mean": [True, False], "clf__C": [0.01, 1.0], "clf__threshold": [0.4]}
    search = search_for(pipeline, grid, scoring=negative_log_loss).fit(*table)

    assert len(search.cv_results_["params"]) == 4
    assert_as_by_hand(search, pipeline, *table)


def test_pipeline_scaler_is_exchanged(pipeline, search_for, table):
    grid = {"scale": [StandardScaler(), MinMaxScaler(), "passthrough"], "clf__C": [0.01, 1.0]}
    search = search_for(pipeline, grid, scoring=negative_log_loss).fit(*table)

    assert_as_by_hand(search, pipeline, *table)


def test_pipeline_classifier_is_exchanged(pipeline, search_for, table):
    classifiers = [clone(LOGISTIC), LogisticRegression(C=0.01), clone(MLP)]
    search = search_for(pipeline, {"clf": classifiers}, scoring=negative_log_loss).fit(*table)

    assert_as_by_hand(search, pipeline, *table)


def test_pipeline_classifiers_with_grids_of_their_own_are_searched(pipeline, search_for, table):
    grids = [
        {"clf": [clone(LOGISTIC)], "clf__C": [0.01, 1.0]},
        {"clf": [LogisticRegression()], "clf__C": [0.1]},
        {"clf": [clone(MLP)], "clf__alpha": [1e-4, 1.0]},
    ]
    search = search_for(pipeline, grids, scoring=negative_log_loss).fit(*table)

    assert_as_by_hand(search, pipeline, *table)
    assert search.cv_results_["param_clf__alpha"].mask.sum() == 3


def test_pipeline_steps_in_the_grid_stay_unfitted(pipeline, search_for, table):
    grid = {"scale": [StandardScaler(), MinMaxScaler()], "clf": [clone(LOGISTIC), clone(MLP)]}
    search_for(pipeline, grid).fit(*table)

    for step in [*grid["scale"], *grid["clf"], *pipeline.named_steps.values()]:
        with pytest.raises(NotFittedError):
            check_is_fitted(step)


@BOTH
def test_pipeline_with_memory_scores_as_without(model, grid, search_for, table, tmp_path):
    ((name, values),) = grid.items()
    steps = [("scale", StandardScaler()), ("clf", model)]
    plain, remembering = (
        search_for(
            Pipeline(steps, memory=memory), {f"clf__{name}": values}, scoring="neg_log_loss"
        ).fit(*table)
        for memory in (None, str(tmp_path))
    )

    np.testing.assert_allclose(
        remembering.cv_results_["mean_test_score"],
        plain.cv_results_["mean_test_score"],
        rtol=0,
        atol=1e-6,
    )
    assert any(tmp_path.iterdir())


def test_pipeline_best_estimator_is_a_fitted_pipeline(pipeline, search_for, table):
    search = search_for(pipeline, {"clf__C": [0.01, 1.0]}, scoring="neg_log_loss").fit(*table)
    best = search.best_estimator_

    assert isinstance(best, Pipeline)
    assert search.best_params_ == {"clf__C": best["clf"].C}
    np.testing.assert_allclose(best["scale"].mean_, table[0].mean(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(search.predict_proba(table[0]), best.predict_proba(table[0]))


@pytest.mark.filterwarnings("ignore:The scoring .* does not support sample_weight")
def test_pipeline_sample_weight_by_step_name_reaches_the_classifier(
    pipeline, search_for, table, uneven
):
    X, y = table
    search = search_for(pipeline, {"clf__C": [0.01, 1.0]}, scoring=negative_log_loss)
    search.fit(X, y, clf__sample_weight=uneven)
    by_hand = []
    for train, test in FOLDS.split(X, y):
        fitted = clone(pipeline).fit(X[train], y[train], clf__sample_weight=uneven[train])
        by_hand.append(negative_log_loss(fitted, X[test], y[test]))

    np.testing.assert_allclose(scores_of(search, {"clf__C": 1.0}), by_hand, rtol=0, atol=1e-6)


@NON_FINITE
def test_pipeline_whose_transformer_fails_on_a_candidate_scores_nan_for_it(search_for, table):
    pipeline = Pipeline([("scale", MinMaxScaler()), ("clf", LOGISTIC)])
    grid = {"scale__feature_range": [(0, 1), (1, 0)]}
    search = search_for(pipeline, grid)
    with pytest.warns(
        FitFailedWarning, match=r"3 fits failed out of a total of 6[\s\S]*feature range"
    ):
        search.fit(*table)

    assert np.isnan(scores_of(search, {"scale__feature_range": (1, 0)})).all()
    assert search.best_params_ == {"scale__feature_range": (0, 1)}


# -- what only ours has ---------------------------------------------------------------------------


def test_fit_mode_of_a_stackable_grid_is_stacked():
    search = skbinary.VectorizedGridSearchCV(LOGISTIC, STRENGTHS, cv=FOLDS).fit(*make_table())

    assert search.cv_results_["fit_mode"].tolist() == ["batched", "batched"]


def test_fit_mode_with_callbacks_is_single():
    model = clone(MLP).set_params(callbacks=[Callback()])
    search = skbinary.VectorizedGridSearchCV(model, PENALTIES, cv=FOLDS).fit(*make_table())

    assert search.cv_results_["fit_mode"].tolist() == ["single", "single"]


def test_fit_mode_of_another_estimator_is_single_beside_stacked_ones(pipeline):
    grids = [{"clf__C": [0.1, 1.0]}, {"clf": [LogisticRegression()]}]
    search = skbinary.VectorizedGridSearchCV(pipeline, grids, cv=FOLDS).fit(*make_table())

    assert search.cv_results_["fit_mode"].tolist() == ["batched", "batched", "single"]


def test_max_memory_by_default_is_none():
    search = skbinary.VectorizedGridSearchCV(LOGISTIC, STRENGTHS)

    assert search.get_params()["max_memory"] is None


# -- side by side with GridSearchCV ---------------------------------------------------------------


class Comparison(NamedTuple):
    """A search to do twice, on a kind of data, and what to compare."""

    model: Any
    grid: Any
    data: str = "dense"
    scoring: Any = None


def n_iter(estimator, X, y):
    return int(np.max(estimator.n_iter_))


TWO_SCORES = ["roc_auc", "neg_log_loss"]
# How long each model trained, as well.
WITH_LENGTH = {"roc_auc": "roc_auc", "n_iter": n_iter}
ADAM = TorchLogisticClassifier(solver="adam", max_iter=5, batch_size=32, random_state=0)
SGD = clone(MLP).set_params(solver="sgd", learning_rate_init=0.1)
SCALED = Pipeline([("scale", StandardScaler()), ("clf", LOGISTIC)])
SCALED_MLP = Pipeline([("scale", StandardScaler()), ("clf", MLP)])

COMPARISONS = {
    "logistic-c": Comparison(LOGISTIC, {"C": [1e-3, 0.1, 1.0, 100.0]}),
    "logistic-weights-intercept": Comparison(
        LOGISTIC,
        {
            "C": [0.01, 1.0],
            "class_weight": [None, "balanced", {0: 1, 1: 3}],
            "fit_intercept": [True, False],
        },
    ),
    "logistic-elastic-net": Comparison(
        clone(LOGISTIC).set_params(l1_ratio=0.5), {"C": [0.03, 0.3, 3.0]}
    ),
    "logistic-solvers": Comparison(LOGISTIC, {"solver": ["newton-cholesky", "lbfgs", "auto"]}),
    "logistic-adam": Comparison(ADAM, {"C": [0.1, 10.0], "learning_rate_init": [0.01, 0.1]}),
    "logistic-max-iter": Comparison(LOGISTIC, {"max_iter": [1, 2, 20]}),
    "logistic-tol": Comparison(
        LOGISTIC, {"tol": [1e-8, 1e-3, 1e-1]}, scoring=["neg_log_loss", "accuracy"]
    ),
    "logistic-threshold": Comparison(
        LOGISTIC, {"threshold": [0.2, 0.5, 0.8], "C": [0.1, 1.0]}, scoring="f1"
    ),
    "logistic-sparse": Comparison(LOGISTIC, {"C": [0.01, 1.0]}, "sparse"),
    "logistic-float32": Comparison(LOGISTIC, {"C": [0.01, 1.0]}, "float32"),
    "logistic-weighted": Comparison(LOGISTIC, {"C": [0.01, 1.0]}, "weighted"),
    "logistic-words": Comparison(LOGISTIC, {"class_weight": [{"no": 2, "yes": 1}]}, "words"),
    "logistic-pipeline": Comparison(SCALED, {"clf__C": [0.01, 1.0], "scale__with_std": [True]}),
    "mlp-rates": Comparison(
        MLP, {"learning_rate_init": [0.01, 0.05], "alpha": [1e-4, 1.0], "dropout": [0.0, 0.2]}
    ),
    "mlp-early-stopping": Comparison(
        clone(MLP).set_params(early_stopping=True, n_iter_no_change=2, max_iter=15),
        {"learning_rate_init": [0.01, 0.1]},
        scoring=WITH_LENGTH,
    ),
    # The validation rows are chosen by what is in them, so the scaled rows must be the same bits.
    "mlp-early-stopping-pipeline": Comparison(
        clone(SCALED_MLP).set_params(clf__early_stopping=True, clf__n_iter_no_change=2),
        {"clf__alpha": [1e-4, 1.0]},
    ),
    "mlp-class-weight": Comparison(MLP, {"class_weight": [None, "balanced", {0: 1, 1: 3}]}),
    "mlp-weighted": Comparison(MLP, {"alpha": [1e-4, 1.0]}, "weighted"),
    "mlp-momentum": Comparison(SGD, {"momentum": [0.0, 0.9], "nesterovs_momentum": [True, False]}),
    "mlp-schedules": Comparison(
        SGD, {"learning_rate": ["constant", "invscaling", "adaptive", "cosine", "onecycle"]}
    ),
    "mlp-shapes": Comparison(
        MLP,
        [
            {"hidden_layer_sizes": [(8,), (6, 4)], "activation": ["relu", "tanh"]},
            {"hidden_layer_sizes": [5], "activation": ["gelu"]},
        ],
    ),
    "mlp-batch-size": Comparison(MLP, {"batch_size": [16, 50, "auto"]}),
    "mlp-shuffle": Comparison(MLP, {"shuffle": [True, False]}),
    "mlp-weight-decay": Comparison(MLP, {"weight_decay": [0.0, 0.1], "beta_1": [0.5, 0.9]}),
    "mlp-random-state": Comparison(MLP, {"random_state": [0, 1, 2]}),
    "mlp-max-iter": Comparison(MLP, {"max_iter": [1, 4, 7]}, scoring=WITH_LENGTH),
    "mlp-stopping": Comparison(
        clone(MLP).set_params(max_iter=30),
        {"tol": [1e-4, 0.05], "n_iter_no_change": [1, 3]},
        scoring=WITH_LENGTH,
    ),
    "mlp-lbfgs": Comparison(
        clone(MLP).set_params(solver="lbfgs", max_iter=15), {"alpha": [0.01, 1.0]}
    ),
    "mlp-sparse": Comparison(MLP, {"alpha": [1e-4, 1.0]}, "sparse"),
    "mlp-float32": Comparison(MLP, {"alpha": [1e-4, 1.0]}, "float32"),
    "mlp-threshold": Comparison(MLP, {"threshold": [0.3, 0.5, 0.7]}, scoring="f1"),
    "mlp-pipeline": Comparison(SCALED_MLP, {"clf__alpha": [1e-4, 1.0]}),
}


def data_of(kind):
    """Give the rows, the labels and whatever else goes to fit."""
    X, y = make_table()
    rest = {}
    if kind == "sparse":
        X = sp.csr_array(np.where(np.abs(X) > 1, X, 0))
    elif kind == "float32":
        X = X.astype(np.float32)
    elif kind == "words":
        y = np.array(["no", "yes"])[y]
    elif kind == "weighted":
        rest["sample_weight"] = np.random.RandomState(0).uniform(0.1, 5.0, len(y))
    return X, y, rest


def compare_by(name):
    """Give the scoring of a comparison, the metric to refit by, and how close scores must be."""
    linear = name.startswith("logistic")
    scoring = COMPARISONS[name].scoring or ("neg_log_loss" if linear else TWO_SCORES)
    refit = True if isinstance(scoring, str) else next(iter(scoring))
    return scoring, refit, 1e-6 if linear else 1e-4


@cache
def searched(side, kind, name):
    """Give a fitted search over the grid of a comparison; each side has one of its own."""
    model, grid, data, _ = COMPARISONS[name]
    X, y, rest = data_of(data)
    scoring, refit, _ = compare_by(name)
    search = kind(model, grid, cv=FOLDS, scoring=scoring, refit=refit, return_train_score=True)
    return search.fit(X, y, **rest)


SAME = pytest.mark.parametrize("name", COMPARISONS)


class TestComparedWithGridSearchCV:
    """The same search by scikit-learn's class, and by the one under test."""

    @SAME
    def test_scores_of_the_same_grid_agree(self, name, grid_search):
        theirs = searched("theirs", GridSearchCV, name)
        ours = searched("ours", grid_search, name)
        close = compare_by(name)[2]
        columns = [each for each in theirs.cv_results_ if each.startswith(("split", "mean_t"))]

        assert any("train" in each for each in columns)
        for column in columns:
            np.testing.assert_allclose(
                ours.cv_results_[column], theirs.cv_results_[column], rtol=0, atol=close,
                err_msg=column,
            )  # fmt: skip
        assert ours.best_params_ == theirs.best_params_

    @SAME
    def test_columns_of_the_same_grid_agree(self, name, grid_search):
        theirs = searched("theirs", GridSearchCV, name)
        ours = searched("ours", grid_search, name)

        assert columns_of(ours) == columns_of(theirs)
        assert ours.cv_results_["params"] == theirs.cv_results_["params"]
        for column in columns_of(theirs) - {"params"}:
            one, other = theirs.cv_results_[column], ours.cv_results_[column]
            assert (type(one), one.dtype, one.shape) == (type(other), other.dtype, other.shape)
            if column.startswith("param_"):
                assert one.tolist() == other.tolist()

    @pytest.mark.parametrize("name", ["logistic-c", "mlp-rates"])
    def test_attributes_of_the_same_search_agree(self, name, grid_search):
        theirs = searched("theirs", GridSearchCV, name)
        ours = searched("ours", grid_search, name)

        assert {each for each in vars(theirs) if each.endswith("_")} <= set(vars(ours))
        for each in ("n_splits_", "multimetric_", "best_index_"):
            assert getattr(ours, each) == getattr(theirs, each)

    @pytest.mark.parametrize(
        ("model", "space"),
        [
            pytest.param(LOGISTIC, {"C": loguniform(1e-3, 1e2)}, id="logistic"),
            pytest.param(MLP, {"learning_rate_init": loguniform(1e-3, 0.1)}, id="mlp"),
        ],
    )
    def test_scores_of_the_same_draws_agree(self, model, space, randomized_search, table):
        theirs, ours = (
            kind(model, space, n_iter=4, random_state=0, cv=FOLDS, scoring="roc_auc").fit(*table)
            for kind in (RandomizedSearchCV, randomized_search)
        )

        assert ours.cv_results_["params"] == theirs.cv_results_["params"]
        assert ours.best_params_ == theirs.best_params_
        np.testing.assert_allclose(
            ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"],
            rtol=0, atol=1e-4,
        )  # fmt: skip
