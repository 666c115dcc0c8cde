"""Label smoothing: targets that are moved towards one half."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV

from skbinary import TorchMLPClassifier, VectorizedGridSearchCV

SETTINGS = {"early_stopping": False, "max_iter": 5, "n_iter_no_change": np.inf, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    return make_classification(300, 8, random_state=0)


def test_smoothed_fit_equals_a_fit_on_rows_of_both_labels(table):
    # A row of target 0.9 is the row of weight 0.9 with label 1 and that of weight 0.1 with label 0.
    X, y = table
    both = np.repeat(X, 2, axis=0)
    weight = np.where(np.tile([True, False], len(y)), 0.9, 0.1)
    labels = np.column_stack([y, 1 - y]).ravel()
    settings = {**SETTINGS, "shuffle": False}
    smoothed = TorchMLPClassifier((4,), batch_size=300, label_smoothing=0.2, **settings)
    weighted = TorchMLPClassifier((4,), batch_size=600, **settings)
    smoothed.fit(X, y)
    weighted.fit(both, labels, sample_weight=weight)
    for mine, other in zip(smoothed.coefs_, weighted.coefs_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(smoothed.loss_curve_, weighted.loss_curve_, rtol=1e-5)


def test_validation_loss_is_that_of_the_labels_themselves(table):
    X, y = table
    settings = {**SETTINGS, "early_stopping": True, "label_smoothing": 0.5}
    model = TorchMLPClassifier((4,), **settings).fit(X, y, X_val=X, y_val=y)
    p = model.predict_proba(X)[np.arange(len(y)), y]
    best = min(model.validation_loss_curve_)
    np.testing.assert_allclose(best, -np.log(p).mean(), rtol=1e-5)


def test_search_over_label_smoothing_equals_single_fits(table):
    X, y = table
    grid = {"label_smoothing": [0.0, 0.1], "learning_rate_init": [1e-3, 1e-2]}
    model = TorchMLPClassifier((4,), **SETTINGS)
    searches = [
        kind(model, grid, scoring="neg_log_loss", cv=3, refit=False).fit(X, y)
        for kind in (VectorizedGridSearchCV, GridSearchCV)
    ]
    scores = [each.cv_results_["mean_test_score"] for each in searches]
    np.testing.assert_allclose(*scores, atol=1e-6)
    assert set(searches[0].cv_results_["fit_mode"]) == {"batched"}


def test_lbfgs_with_label_smoothing_is_an_error(table):
    model = TorchMLPClassifier(solver="lbfgs", label_smoothing=0.1)
    message = (
        "label_smoothing must be 0 with solver='lbfgs', which lowers a fixed objective, got 0.1. "
        "Use solver='adam'."
    )
    with pytest.raises(ValueError, match="label_smoothing must be 0") as error:
        model.fit(*table)
    assert str(error.value) == message
