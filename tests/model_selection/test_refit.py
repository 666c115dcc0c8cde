"""The refit of the best candidate."""

import numpy as np
import pytest
from sklearn.base import clone

from tests.model_selection.searches import LOGISTIC, NOT_CONVERGED, PREDICTIONS, STRENGTHS

pytestmark = NOT_CONVERGED


def test_refit_false_with_one_metric_keeps_the_best_parameters(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss", refit=False).fit(*table)

    assert search.best_params_ == {"C": 1.0}
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()


def test_refit_false_with_several_metrics_has_no_best_attributes(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring=["accuracy", "roc_auc"], refit=False)
    search.fit(*table)

    for name in ("best_index_", "best_params_", "best_score_", "best_estimator_"):
        assert not hasattr(search, name)


def test_refit_false_makes_predictions_unavailable(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, refit=False).fit(*table)

    assert not hasattr(search, "best_estimator_")
    for method in (*PREDICTIONS, "score"):
        with pytest.raises(AttributeError) as caught:
            getattr(search, method)(*table)
        # The reason is in the error, or in the one that caused it.
        assert "refit=False" in f"{caught.value} {caught.value.__cause__}"


def test_refit_callable_chooses_the_candidate(search_for, table):
    X, y = table

    def worst(results):
        assert len(results["params"]) == len(results["mean_test_score"]) == 2
        return int(results["rank_test_score"].argmax())

    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss", refit=worst).fit(X, y)
    by_hand = clone(LOGISTIC).set_params(**search.best_params_).fit(X, y)

    assert search.best_index_ == search.cv_results_["mean_test_score"].argmin()
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]
    np.testing.assert_array_equal(search.predict_proba(X), by_hand.predict_proba(X))


def test_refit_callable_leaves_no_best_score(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, refit=lambda results: 0).fit(*table)

    assert not hasattr(search, "best_score_")


def test_refit_callable_with_several_metrics_receives_all(any_search_for, table):
    def by_accuracy(results):
        assert "mean_test_roc_auc" in results
        return int(results["mean_test_accuracy"].argmax())

    search = any_search_for(
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
