"""Searches over pipelines."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from tests.model_selection.searches import (
    BOTH,
    FOLDS,
    LOGISTIC,
    MLP,
    NON_FINITE,
    NOT_CONVERGED,
    STRENGTHS,
    assert_as_by_hand,
    negative_log_loss,
    scores_of,
)

pytestmark = NOT_CONVERGED


@BOTH
def test_pipeline_is_fitted_on_the_training_rows_only(model, grid, search_for, table):
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


def test_pipeline_with_memory_scores_as_without_it(search_for, table, tmp_path):
    name, values = "C", STRENGTHS["C"]
    steps = [("scale", StandardScaler()), ("clf", LOGISTIC)]
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
