"""Containers and labels that a search takes, and inputs that stay unchanged."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from tests.model_selection.searches import BOTH, LOGISTIC, MLP, NOT_CONVERGED, PENALTIES, STRENGTHS

pytestmark = NOT_CONVERGED


@pytest.mark.parametrize(
    ("model", "grid", "labels"),
    [
        (LOGISTIC, STRENGTHS, ["no", "yes"]),
        (MLP, PENALTIES, [-1, 1]),
        (MLP, PENALTIES, [False, True]),
    ],
    ids=["words", "signs", "booleans"],
)
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


def test_lists_score_as_arrays(search_for, table):
    X, y = table
    lists = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss").fit(X.tolist(), y.tolist())
    arrays = search_for(LOGISTIC, STRENGTHS, scoring="neg_log_loss").fit(X, y)

    np.testing.assert_array_equal(
        lists.cv_results_["mean_test_score"], arrays.cv_results_["mean_test_score"]
    )


@BOTH
def test_data_frame_scores_as_an_array(model, grid, search_for, frame):
    X, y = frame
    frames = search_for(model, grid, scoring="neg_log_loss").fit(X, y)
    arrays = search_for(model, grid, scoring="neg_log_loss").fit(X.to_numpy(), y.to_numpy())

    np.testing.assert_array_equal(
        frames.cv_results_["mean_test_score"], arrays.cv_results_["mean_test_score"]
    )


def test_data_frame_keeps_its_feature_names(search_for, frame):
    search = search_for(LOGISTIC, STRENGTHS).fit(*frame)

    assert search.feature_names_in_.tolist() == frame[0].columns.tolist()


def test_samples_of_more_dimensions_score_as_flat_rows(search_for, table):
    X, y = table
    flat = search_for(MLP, PENALTIES, scoring="neg_log_loss").fit(X, y)
    shaped = search_for(MLP, PENALTIES, scoring="neg_log_loss").fit(X.reshape(150, 5, 2), y)

    np.testing.assert_array_equal(
        shaped.cv_results_["mean_test_score"], flat.cv_results_["mean_test_score"]
    )


def test_fit_leaves_the_data_unchanged(search_for, frame, uneven):
    X, y = (each.copy() for each in frame)
    weight = uneven.copy()
    search_for(LOGISTIC, STRENGTHS).fit(X, y, sample_weight=weight)

    pd.testing.assert_frame_equal(X, frame[0])
    pd.testing.assert_series_equal(y, frame[1])
    np.testing.assert_array_equal(weight, uneven)


def test_fit_leaves_the_estimator_unfitted(search_for, table):
    own = clone(LOGISTIC)
    search = search_for(own, STRENGTHS).fit(*table)

    assert search.estimator is own
    # Nothing but the parameters of the constructor, with the values that they had.
    assert vars(own) == LOGISTIC.get_params()
    with pytest.raises(NotFittedError):
        own.predict(table[0])


def test_fit_leaves_the_grid_unchanged(search_for, table):
    own = {name: list(values) for name, values in STRENGTHS.items()}
    search_for(LOGISTIC, own).fit(*table)

    assert own == STRENGTHS


def test_fit_leaves_the_global_random_state_unchanged(search_for, table):
    before = np.random.get_state()[1].copy()
    search_for(MLP, PENALTIES).fit(*table)

    np.testing.assert_array_equal(np.random.get_state()[1], before)
