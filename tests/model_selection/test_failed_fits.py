"""Fits that fail in a search."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from tests.model_selection.searches import (
    BOTH,
    DIVERGING,
    LOGISTIC,
    MLP,
    NON_FINITE,
    NOT_CONVERGED,
    PENALTIES,
    RATES,
    SEVERAL,
    SGD,
    STRENGTHS,
    negative_log_loss,
    scores_by_hand,
    scores_of,
)

pytestmark = NOT_CONVERGED

DIVERGED = r"3 fits failed out of a total of 6[\s\S]*must stay a finite number[^\n]*rate 1e\+30"


@NON_FINITE
@DIVERGING
def test_diverging_candidate_scores_nan_and_warns(model, any_search_for, table):
    search = any_search_for(model, RATES, error_score=np.nan)
    with pytest.warns(FitFailedWarning, match=DIVERGED):
        search.fit(*table)

    assert np.isnan(scores_of(search, {"learning_rate_init": 1e30})).all()
    assert search.best_params_ == {"learning_rate_init": 0.01}
    assert search.cv_results_["rank_test_score"][search.best_index_] == 1


@NON_FINITE
@DIVERGING
def test_diverging_candidate_leaves_the_other_scores_unchanged(model, search_for, table):
    with pytest.warns(FitFailedWarning):
        beside = search_for(model, RATES, scoring="neg_log_loss").fit(*table)
    alone = scores_by_hand(
        clone(model).set_params(learning_rate_init=0.01), *table, score=negative_log_loss
    )

    np.testing.assert_allclose(
        scores_of(beside, {"learning_rate_init": 0.01}), alone, rtol=0, atol=1e-6
    )


def test_diverging_candidate_with_error_score_raise_raises(search_for, table):
    with pytest.raises(ValueError, match="The training loss must stay a finite number"):
        search_for(SGD, RATES, error_score="raise").fit(*table)


def test_diverging_candidate_with_a_number_as_error_score_scores_it(search_for, table):
    search = search_for(SGD, RATES, error_score=0, return_train_score=True)
    with pytest.warns(FitFailedWarning, match="will be set to 0"):
        search.fit(*table)

    assert scores_of(search, {"learning_rate_init": 1e30}).tolist() == [0, 0, 0]
    assert scores_of(search, {"learning_rate_init": 1e30}, part="train").tolist() == [0, 0, 0]
    assert scores_of(search, {"learning_rate_init": 0.01}).min() > 0


@NON_FINITE
@pytest.mark.parametrize(("scoring", "names"), [SEVERAL["list"], SEVERAL["callable"]])
def test_diverging_candidate_with_several_metrics_scores_nan_in_each(
    scoring, names, search_for, table
):
    search = search_for(SGD, RATES, scoring=scoring, refit=names[0])
    with pytest.warns(FitFailedWarning):
        search.fit(*table)

    for name in names:
        assert np.isnan(scores_of(search, {"learning_rate_init": 1e30}, name)).all()
        assert np.isfinite(scores_of(search, {"learning_rate_init": 0.01}, name)).all()


def test_every_fit_diverging_raises(search_for, table):
    search = search_for(SGD, {"learning_rate_init": [1e30, 1e31]})

    with pytest.raises(ValueError, match=r"All the 6 fits failed[\s\S]*finite number"):
        search.fit(*table)


@NON_FINITE
def test_candidate_with_an_invalid_parameter_scores_nan_for_itself_only(search_for, table):
    search = search_for(LOGISTIC, {"C": [-1.0, 0.01, 1.0]})
    with pytest.warns(FitFailedWarning, match=r"3 fits failed out of a total of 9[\s\S]*'C'"):
        search.fit(*table)

    assert np.isnan(scores_of(search, {"C": -1.0})).all()
    by_hand = scores_by_hand(LOGISTIC, *table, score=lambda fitted, X, y: fitted.score(X, y))
    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=1e-12)


@NON_FINITE
@BOTH
def test_fold_with_one_training_class_scores_nan_for_that_fold_only(model, grid, search_for, table):
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


def test_missing_values_in_the_rows_fail_every_fit(search_for, table):
    X, y = table[0].copy(), table[1]
    X[::2, 0] = np.nan

    with pytest.raises(ValueError, match=r"All the 6 fits failed[\s\S]*NaN"):
        search_for(MLP, PENALTIES).fit(X, y)


def test_three_classes_fail_every_fit(search_for, table):
    X, y = table

    with pytest.raises(ValueError, match="All the 6 fits failed"):
        search_for(LOGISTIC, STRENGTHS).fit(X, np.arange(len(y)) % 3)


def test_labels_of_another_length_raise(search_for, table):
    X, y = table

    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        search_for(LOGISTIC, STRENGTHS).fit(X, y[:-1])
