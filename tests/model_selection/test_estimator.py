"""A search as an estimator: predictions, cloning, pickling and parameters."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skbinary import VectorizedGridSearchCV
from tests.model_selection.searches import (
    FOLDS,
    LOGISTIC,
    MLP,
    NOT_CONVERGED,
    PENALTIES,
    PREDICTIONS,
    STRENGTHS,
    negative_log_loss,
    scores_by_hand,
)

pytestmark = NOT_CONVERGED


def test_predictions_are_those_of_the_best_estimator(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS).fit(*table)

    for method in PREDICTIONS:
        np.testing.assert_array_equal(
            getattr(search, method)(table[0]), getattr(search.best_estimator_, method)(table[0])
        )


def test_score_is_that_of_the_scoring(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring="roc_auc").fit(*table)

    assert search.score(*table) == roc_auc_score(table[1], search.decision_function(table[0]))


def test_classes_and_features_are_those_of_the_data(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS).fit(*table)

    assert search.classes_.tolist() == [0, 1]
    assert search.n_features_in_ == 10
    assert not hasattr(search, "feature_names_in_")


def test_method_that_the_estimator_lacks_is_unavailable(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS).fit(*table)

    for method in ("transform", "inverse_transform", "score_samples"):
        assert not hasattr(search, method)


def test_method_before_fit_raises(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS)

    for method in PREDICTIONS:
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            getattr(search, method)(table[0])
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        search.score(*table)


def test_fitted_attributes_before_fit_are_unavailable(search_for):
    search = search_for(LOGISTIC, STRENGTHS)

    for name in ("classes_", "n_features_in_", "best_estimator_", "cv_results_", "best_params_"):
        assert not hasattr(search, name)


def test_search_is_a_classifier(any_search_for):
    assert is_classifier(any_search_for(LOGISTIC, STRENGTHS))


def test_clone_of_a_fitted_search_is_unfitted(search_for, table):
    fitted = search_for(LOGISTIC, STRENGTHS).fit(*table)
    copy = clone(fitted)

    assert set(vars(copy)) == set(copy.get_params(deep=False))
    assert copy.estimator.get_params() == LOGISTIC.get_params()
    assert not hasattr(copy, "cv_results_")


def test_pickle_of_a_fitted_search_gives_the_same_search(any_search_for, table):
    fitted = any_search_for(MLP, PENALTIES).fit(*table)
    loaded = pickle.loads(pickle.dumps(fitted))

    assert loaded.best_params_ == fitted.best_params_
    assert loaded.cv_results_["params"] == fitted.cv_results_["params"]
    np.testing.assert_array_equal(
        loaded.cv_results_["mean_test_score"], fitted.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(loaded.predict_proba(table[0]), fitted.predict_proba(table[0]))


def test_joblib_of_a_fitted_search_gives_the_same_search(table, tmp_path):
    fitted = VectorizedGridSearchCV(MLP, PENALTIES, cv=FOLDS).fit(*table)
    joblib.dump(fitted, tmp_path / "search.joblib", compress=3)
    loaded = joblib.load(tmp_path / "search.joblib")

    assert loaded.best_score_ == fitted.best_score_
    np.testing.assert_array_equal(loaded.predict_proba(table[0]), fitted.predict_proba(table[0]))


def test_get_params_reaches_the_estimator(any_search_for):
    search = any_search_for(clone(LOGISTIC).set_params(C=7.0), STRENGTHS)

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


def test_repr_shows_search_and_estimator(search_for):
    search = search_for(LOGISTIC, STRENGTHS)

    assert repr(search).startswith(f"{type(search).__name__}(")
    assert "TorchLogisticClassifier(tol=1e-08)" in repr(search)


def test_html_shows_search_and_estimator(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS)
    before = search._repr_html_()
    after = search.fit(*table)._repr_html_()

    for page in (before, after):
        assert type(search).__name__ in page
        assert type(LOGISTIC).__name__ in page
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


def test_search_as_the_last_step_receives_transformed_rows(search_for, table):
    X, y = table
    pipeline = make_pipeline(MinMaxScaler(), search_for(LOGISTIC, STRENGTHS)).fit(X, y)
    scaled = MinMaxScaler().fit_transform(X)
    direct = search_for(LOGISTIC, STRENGTHS).fit(scaled, y)

    np.testing.assert_array_equal(pipeline.predict_proba(X), direct.predict_proba(scaled))
