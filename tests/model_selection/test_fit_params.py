"""Weights, validation sets and other metadata that a search passes to fit and to the scorers."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import accuracy_score, log_loss, make_scorer
from sklearn.model_selection import GroupKFold

from tests.model_selection.searches import (
    BOTH,
    FOLDS,
    LOGISTIC,
    MLP,
    NOT_CONVERGED,
    PENALTIES,
    STRENGTHS,
    assert_as_by_hand,
    negative_log_loss,
    scores_of,
)

pytestmark = NOT_CONVERGED


@BOTH
@pytest.mark.filterwarnings("ignore:The scoring .* does not support sample_weight")
def test_sample_weight_is_split_like_the_rows(model, grid, search_for, table, uneven):
    search = search_for(model, grid, scoring=negative_log_loss)
    search.fit(*table, sample_weight=uneven)

    assert_as_by_hand(search, model, *table, weight=uneven)


def test_sample_weight_changes_the_scores(search_for, table, uneven):
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss")
    plain = search.fit(*table).cv_results_["mean_test_score"]
    weighted = search.fit(*table, sample_weight=uneven).cv_results_["mean_test_score"]

    assert np.abs(plain - weighted).min() > 1e-4


def test_sample_weight_reaches_the_refit(search_for, table, uneven):
    X, y = table
    search = search_for(LOGISTIC, STRENGTHS).fit(X, y, sample_weight=uneven)
    by_hand = clone(LOGISTIC).set_params(**search.best_params_).fit(X, y, uneven)

    np.testing.assert_array_equal(search.predict_proba(X), by_hand.predict_proba(X))


def test_sample_weight_reaches_a_scorer_that_accepts_it(any_search_for, table, uneven):
    X, y = table
    search = any_search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss")
    search.fit(X, y, sample_weight=uneven)
    by_hand = []
    for train, test in FOLDS.split(X, y):
        fitted = clone(LOGISTIC).fit(X[train], y[train], uneven[train])
        probability = fitted.predict_proba(X[test])
        by_hand.append(-log_loss(y[test], probability, sample_weight=uneven[test]))

    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=0, atol=1e-6)


def test_sample_weight_none_equals_no_sample_weight(search_for, table):
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss")
    given = search.fit(*table, sample_weight=None).cv_results_["mean_test_score"]
    left_out = search.fit(*table).cv_results_["mean_test_score"]

    np.testing.assert_array_equal(given, left_out)


@pytest.mark.parametrize("kind", [list, pd.Series], ids=["list", "series"])
def test_sample_weight_in_any_container_scores_as_an_array(kind, search_for, table, uneven):
    search = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss")
    array = search.fit(*table, sample_weight=uneven).cv_results_["mean_test_score"]
    other = search.fit(*table, sample_weight=kind(uneven)).cv_results_["mean_test_score"]

    np.testing.assert_array_equal(array, other)


def test_sample_weight_of_another_length_raises(search_for, table, uneven):
    with pytest.raises(ValueError, match="sample_weight"):
        search_for(LOGISTIC, STRENGTHS).fit(*table, sample_weight=uneven[:-1])


def test_validation_set_is_passed_whole_to_every_fit(search_for, table):
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


def test_routed_sample_weight_requested_by_the_scorer_only_leaves_the_fit_unweighted(
    search_for, table, uneven
):
    X, y = table
    with sklearn.config_context(enable_metadata_routing=True):
        unweighted = clone(LOGISTIC).set_fit_request(sample_weight=False)
        accuracy = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        search = search_for(unweighted, STRENGTHS, scoring=accuracy).fit(X, y, sample_weight=uneven)
    by_hand = []
    for train, test in FOLDS.split(X, y):
        fitted = clone(LOGISTIC).fit(X[train], y[train])
        by_hand.append(fitted.score(X[test], y[test], uneven[test]))

    np.testing.assert_allclose(scores_of(search, {"C": 1.0}), by_hand, rtol=1e-12)


def test_routed_sample_weight_without_a_request_raises(search_for, table, uneven):
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
