"""Models, grids and checks that the tests of searches share."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import accuracy_score, log_loss, make_scorer
from sklearn.model_selection import StratifiedKFold

from skbinary import TorchLogisticClassifier, TorchMLPClassifier

# A small tol, so that the optima of a batch and of a single fit agree in the digits compared.
LOGISTIC = TorchLogisticClassifier(tol=1e-8)
MLP = TorchMLPClassifier((8,), learning_rate_init=0.05, batch_size=32, max_iter=5, random_state=0)
SGD = clone(MLP).set_params(solver="sgd")
STRENGTHS = {"C": [0.001, 1.0]}
PENALTIES = {"alpha": [100.0, 1e-4]}
PREDICTIONS = ["predict", "predict_proba", "predict_log_proba", "decision_function"]
FOLDS = StratifiedKFold(3)
# Training with the last rate diverges.
RATES = {"learning_rate_init": [0.01, 1e30]}
BOTH = pytest.mark.parametrize(
    ("model", "grid"),
    [pytest.param(LOGISTIC, STRENGTHS, id="logistic"), pytest.param(MLP, PENALTIES, id="mlp")],
)
DIVERGING = pytest.mark.parametrize(
    "model",
    [
        pytest.param(TorchLogisticClassifier(solver="sgd", max_iter=5), id="logistic"),
        pytest.param(SGD, id="mlp"),
    ],
)
NON_FINITE = pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
NOT_CONVERGED = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def make_table():
    return make_classification(
        150, n_features=10, n_informative=4, n_redundant=2, flip_y=0.1, random_state=2
    )


def scores_of(search, params, metric="score", part="test"):
    """Return the scores of a candidate, one for each fold."""
    row = search.cv_results_["params"].index(params)
    return np.array(
        [
            search.cv_results_[f"split{fold}_{part}_{metric}"][row]
            for fold in range(search.n_splits_)
        ]
    )


def scores_by_hand(model, X, y, score, folds=FOLDS, part="test", weight=None):
    """Fit on each training set, and score the test set or the training set."""
    scores = []
    for train, test in folds if isinstance(folds, list) else folds.split(X, y):
        weights = {} if weight is None else {"sample_weight": weight[train]}
        fitted = clone(model).fit(X[train], y[train], **weights)
        rows = test if part == "test" else train
        scores.append(score(fitted, X[rows], y[rows]))
    return np.array(scores)


def negative_log_loss(estimator, X, y):
    return -log_loss(y, estimator.predict_proba(X), labels=estimator.classes_)


def assert_as_by_hand(search, model, X, y, score=None, **options):
    """Compare the scores of every candidate with those of fits by hand."""
    score = score or negative_log_loss
    for params in search.cv_results_["params"]:
        # The parameters are cloned as well: they may be steps of a pipeline.
        candidate = clone(model).set_params(**clone(params, safe=False))
        by_hand = scores_by_hand(candidate, X, y, score, **options)
        found = scores_of(search, params, part=options.get("part", "test"))
        np.testing.assert_allclose(found, by_hand, rtol=0, atol=1e-6)


def accuracy_and_loss(estimator, X, y):
    return {
        "accuracy": estimator.score(X, y),
        "loss": negative_log_loss(estimator, X, y),
    }


SEVERAL = {
    "list": (["roc_auc", "accuracy"], ("roc_auc", "accuracy")),
    "tuple": (("accuracy", "neg_log_loss"), ("accuracy", "neg_log_loss")),
    "dict": ({"auc": "roc_auc", "hits": make_scorer(accuracy_score)}, ("auc", "hits")),
    "callable": (accuracy_and_loss, ("accuracy", "loss")),
}
METRICS = pytest.mark.parametrize(("scoring", "names"), SEVERAL.values(), ids=SEVERAL.keys())


def columns_of(search):
    """Return the columns of the results that both libraries have."""
    return set(search.cv_results_) - {"fit_mode"}
