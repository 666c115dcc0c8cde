"""The same search by scikit-learn's class and by ours, over many grids and kinds of data."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV, VectorizedRandomizedSearchCV
from tests.model_selection.searches import (
    FOLDS,
    LOGISTIC,
    MLP,
    NOT_CONVERGED,
    SGD,
    columns_of,
    make_table,
)

pytestmark = NOT_CONVERGED


class Comparison(NamedTuple):
    """A search to run by both classes, on one kind of data."""

    model: Any
    grid: Any
    data: str = "dense"
    scoring: Any = None


def n_iter(estimator, X, y):
    return int(np.max(estimator.n_iter_))


TWO_SCORES = ["roc_auc", "neg_log_loss"]
# The number of epochs, as well.
WITH_LENGTH = {"roc_auc": "roc_auc", "n_iter": n_iter}
ADAM = TorchLogisticClassifier(solver="adam", max_iter=5, batch_size=32, random_state=0)
FAST_SGD = clone(SGD).set_params(learning_rate_init=0.1)
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
    # Rows are held out by their hashes, so the scaled rows must be the same to the last bit.
    "mlp-early-stopping-pipeline": Comparison(
        clone(SCALED_MLP).set_params(clf__early_stopping=True, clf__n_iter_no_change=2),
        {"clf__alpha": [1e-4, 1.0]},
    ),
    "mlp-class-weight": Comparison(MLP, {"class_weight": [None, "balanced", {0: 1, 1: 3}]}),
    "mlp-weighted": Comparison(MLP, {"alpha": [1e-4, 1.0]}, "weighted"),
    "mlp-momentum": Comparison(
        FAST_SGD, {"momentum": [0.0, 0.9], "nesterovs_momentum": [True, False]}
    ),
    "mlp-schedules": Comparison(
        FAST_SGD, {"learning_rate": ["constant", "invscaling", "adaptive", "cosine", "onecycle"]}
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
    "mlp-weight-average": Comparison(MLP, {"weight_average": [0.0, 0.5, 0.9]}),
    "mlp-embedding": Comparison(MLP, {"numeric_embedding": [None, "periodic"]}),
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
    """Return the rows, the labels and other arguments of fit."""
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
    """Return the scoring, the metric to refit by, and the tolerance of the scores."""
    linear = name.startswith("logistic")
    scoring = COMPARISONS[name].scoring or ("neg_log_loss" if linear else TWO_SCORES)
    refit = True if isinstance(scoring, str) else next(iter(scoring))
    return scoring, refit, 1e-6 if linear else 1e-4


def searched(kind, name):
    """Return a fitted search over the grid of a comparison."""
    model, grid, data, _ = COMPARISONS[name]
    X, y, rest = data_of(data)
    scoring, refit, _ = compare_by(name)
    search = kind(model, grid, cv=FOLDS, scoring=scoring, refit=refit, return_train_score=True)
    return search.fit(X, y, **rest)


@pytest.mark.parametrize("name", COMPARISONS)
def test_grid_search_has_the_results_of_scikit_learn(name):
    theirs, ours = (searched(kind, name) for kind in (GridSearchCV, VectorizedGridSearchCV))
    close = compare_by(name)[2]

    assert columns_of(ours) == columns_of(theirs)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    assert ours.best_params_ == theirs.best_params_
    for column in columns_of(theirs) - {"params"}:
        expected, found = theirs.cv_results_[column], ours.cv_results_[column]
        assert (type(found), found.dtype) == (type(expected), expected.dtype)
        if column.startswith("param_"):
            assert found.tolist() == expected.tolist()
        elif column.startswith(("split", "mean_t")):
            np.testing.assert_allclose(found, expected, rtol=0, atol=close, err_msg=column)
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
def test_randomized_search_has_the_results_of_scikit_learn(model, space, table):
    theirs, ours = (
        kind(model, space, n_iter=4, random_state=0, cv=FOLDS, scoring="roc_auc").fit(*table)
        for kind in (RandomizedSearchCV, VectorizedRandomizedSearchCV)
    )

    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"],
        rtol=0, atol=1e-4,
    )  # fmt: skip
