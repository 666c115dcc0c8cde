"""Results and best candidate of a search."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score

from tests.model_selection.searches import (
    BOTH,
    LOGISTIC,
    MLP,
    NOT_CONVERGED,
    PENALTIES,
    STRENGTHS,
    assert_as_by_hand,
    columns_of,
    negative_log_loss,
    scores_by_hand,
    scores_of,
)

pytestmark = NOT_CONVERGED


def test_fit_returns_the_search(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS)

    assert search.fit(*table) is search


@BOTH
def test_split_scores_are_those_of_fits_by_hand(model, grid, any_search_for, table):
    search = any_search_for(model, grid, scoring=negative_log_loss).fit(*table)

    assert_as_by_hand(search, model, *table)


def test_default_scoring_is_the_score_of_the_estimator(search_for, table):
    search = search_for(LOGISTIC, {"C": [1.0]}).fit(*table)
    by_hand = scores_by_hand(
        LOGISTIC, *table, score=lambda fitted, X, y: accuracy_score(y, fitted.predict(X))
    )

    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=1e-12)


def test_results_have_the_documented_columns(any_search_for, table):
    search = any_search_for(LOGISTIC, STRENGTHS).fit(*table)
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


def test_results_times_are_positive(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS).fit(*table)
    results = search.cv_results_

    assert search.refit_time_ > 0
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


def test_best_attributes_are_those_of_the_first_rank(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss").fit(*table)
    results = search.cv_results_

    assert search.best_index_ == results["rank_test_score"].argmin()
    assert search.best_score_ == results["mean_test_score"].max()
    assert search.best_params_ == results["params"][search.best_index_]


@BOTH
def test_best_estimator_is_the_candidate_fitted_on_all_rows(model, grid, any_search_for, table):
    X, y = table
    search = any_search_for(model, grid).fit(X, y)
    by_hand = clone(model).set_params(**search.best_params_).fit(X, y)

    assert type(search.best_estimator_) is type(model)
    assert search.best_estimator_.get_params() == model.get_params() | search.best_params_
    np.testing.assert_array_equal(search.best_estimator_.predict_proba(X), by_hand.predict_proba(X))


def test_fit_again_replaces_the_results(search_for, table):
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
    # A patience of one epoch in two: max_iter ends every fit.
    hasty = clone(MLP).set_params(max_iter=2, n_iter_no_change=1, tol=0.0)
    # Without a refit, so that the warning comes from the folds.
    with pytest.warns(ConvergenceWarning):
        search_for(hasty, PENALTIES, refit=False).fit(*table)


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
