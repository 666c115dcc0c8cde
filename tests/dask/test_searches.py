"""What runs where in searches under ``joblib.parallel_config("dask")``."""

import re

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate

from skbinary import (
    TorchLogisticClassifier,
    VectorizedGridSearchCV,
    VectorizedHalvingGridSearchCV,
)
from skbinary.dask import DaskTorchLogisticClassifier
from tests.dask.tables import collection, noisy

pytest.importorskip("dask.array", reason="needs the extra dask")
dd = pytest.importorskip("dask.dataframe", reason="needs the extra dask")
distributed = pytest.importorskip("distributed", reason="needs the extra dask")

GRID = {"C": [0.01, 0.1, 1.0]}
X, y, _ = noisy()


def in_task(estimator, X, y):
    """Score 1 in a task of the cluster, and 0 in the process of the caller."""
    try:
        distributed.get_worker()
    except ValueError:
        return 0.0
    return 1.0


def split_scores(search):
    results = search.cv_results_
    names = [name for name in results if name.startswith("split") and name.endswith("test_score")]
    return np.array([results[name] for name in names])


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize(
    ("kind", "estimator", "share"),
    [
        (GridSearchCV, TorchLogisticClassifier(), 1.0),
        (VectorizedGridSearchCV, TorchLogisticClassifier(), 0.0),
        (VectorizedHalvingGridSearchCV, TorchLogisticClassifier(), 0.0),
        (VectorizedGridSearchCV, LogisticRegression(), 1.0),  # fitted singly
    ],
)
def test_search_scores_where_the_guide_says(client, kind, estimator, share, n_jobs):
    search = kind(estimator, GRID, scoring=in_task, cv=3, n_jobs=n_jobs)
    with joblib.parallel_config("dask"):
        search.fit(X, y)
    assert np.mean(split_scores(search)) == share


@pytest.mark.parametrize("kind", [GridSearchCV, VectorizedGridSearchCV])
@pytest.mark.parametrize("scoring", [None, "roc_auc"])
def test_search_on_a_cluster_has_the_same_results(client, kind, scoring):
    search, other = (kind(TorchLogisticClassifier(), GRID, scoring=scoring, cv=3) for _ in range(2))
    with joblib.parallel_config("dask"):
        search.fit(X, y)
    other.fit(X, y)
    np.testing.assert_array_equal(split_scores(search), split_scores(other))
    np.testing.assert_array_equal(search.best_estimator_.coef_, other.best_estimator_.coef_)


def test_batched_search_in_outer_folds_is_a_task_for_each_fold(client):
    search = VectorizedGridSearchCV(TorchLogisticClassifier(), GRID, cv=2)
    with joblib.parallel_config("dask"):
        scores = cross_validate(search, X, y, cv=3, scoring=in_task)["test_score"]
    assert scores.tolist() == [1.0, 1.0, 1.0]


def test_batched_search_can_be_submitted_as_a_whole(client):
    search = VectorizedGridSearchCV(TorchLogisticClassifier(), GRID, scoring=in_task, cv=3)
    search = client.submit(search.fit, X, y).result()
    assert np.mean(split_scores(search)) == 1.0


def test_dask_classifier_in_a_search_uses_the_cluster_of_its_task(client):
    search = GridSearchCV(DaskTorchLogisticClassifier(), GRID, cv=3)
    with joblib.parallel_config("dask"):
        search.fit(X, y)
    local = GridSearchCV(TorchLogisticClassifier(), GRID, cv=3).fit(X, y)
    np.testing.assert_allclose(split_scores(search), split_scores(local), atol=0.01)
    assert search.best_params_ == local.best_params_


def test_batched_search_on_a_dask_data_frame_raises():
    frame = dd.from_array(collection(X, (300, 300)), columns=list("abcde"))
    sentence = (
        "X must be an array, a data frame or a tensor in memory for a search, got a Dask data "
        "frame. Call compute() on it."
    )
    search = VectorizedGridSearchCV(TorchLogisticClassifier(), GRID)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        search.fit(frame, y)
