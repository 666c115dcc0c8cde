"""Models of every solver, and what they learn, for tests of persistence and reproducibility."""

import numpy as np
import pytest
from sklearn.pipeline import Pipeline, make_pipeline

from skbinary import (
    PiecewiseLinearEncoder,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)

QUIET = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# Every solver, and all that draws random numbers.
MODELS = {
    "logistic-newton": TorchLogisticClassifier(solver="newton-cholesky", random_state=0),
    "logistic-lbfgs": TorchLogisticClassifier(solver="lbfgs", random_state=0),
    "logistic-adam": TorchLogisticClassifier(solver="adam", max_iter=5, random_state=0),
    "logistic-sgd": TorchLogisticClassifier(solver="sgd", max_iter=5, random_state=0),
    "logistic-stopped": TorchLogisticClassifier(
        solver="adam", max_iter=5, early_stopping=True, random_state=0
    ),
    "mlp-adam": TorchMLPClassifier((8,), max_iter=5, random_state=0),
    "mlp-sgd": TorchMLPClassifier((8,), solver="sgd", max_iter=5, random_state=0),
    "mlp-lbfgs": TorchMLPClassifier((8,), solver="lbfgs", max_iter=20, random_state=0),
    "mlp-dropout": TorchMLPClassifier((8, 4), dropout=0.2, max_iter=5, random_state=0),
    "mlp-stopped": TorchMLPClassifier((8,), early_stopping=True, max_iter=5, random_state=0),
    "mlp-embedding": TorchMLPClassifier(
        (8,), numeric_embedding="periodic", weight_average=0.9, max_iter=5, random_state=0
    ),
}
EVERY = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
BOTH_KINDS = [MODELS["logistic-newton"], MODELS["mlp-adam"]]
BOTH = pytest.mark.parametrize("model", BOTH_KINDS, ids=["logistic", "mlp"])
WITH_BATCHES = pytest.mark.parametrize(
    "model",
    [MODELS[name] for name in ("logistic-adam", "logistic-sgd", "mlp-adam", "mlp-sgd")],
    ids=["logistic-adam", "logistic-sgd", "mlp-adam", "mlp-sgd"],
)
SCORES = ["predict", "predict_proba", "predict_log_proba", "decision_function"]


def weights_of(model):
    """Return all weights in one array."""
    arrays = [model.coef_, model.intercept_] if hasattr(model, "coef_") else None
    arrays = arrays or [*model.coefs_, *model.intercepts_]
    return np.concatenate([each.ravel() for each in arrays])


def curves_of(model):
    return {name: values for name, values in model.history_.items() if name != "seconds"}


def assert_same_fit(one, other):
    np.testing.assert_array_equal(weights_of(one), weights_of(other))
    assert curves_of(one) == curves_of(other)


def network(hidden=(24,), **parameters):
    """Return a network with dropout that is trained for three epochs."""
    settings = {"dropout": 0.2, "max_iter": 3, "n_iter_no_change": 5, "random_state": 0}
    return TorchMLPClassifier(hidden, **(settings | parameters))


def search(**parameters):
    """Return a search over learning rates and dropout."""
    grid = {"learning_rate_init": [1e-3, 1e-2], "dropout": [0.0, 0.3]}
    return VectorizedGridSearchCV(network(**parameters), grid, cv=3, scoring="neg_log_loss")


WITH_DROPOUT = {
    "one": network(),
    # Products large enough for threads, and folds of two sizes.
    "ensemble": network((128, 64), n_members=8),
    "small ensemble": network((8,), n_members=8),
    "ensemble of several epochs": network((256,), n_members=5, max_iter=6, solver="sgd"),
    "objective": network(threshold="f1"),
    "ensemble and objective": network((128, 64), n_members=4, threshold={"recall": 0.8}),
    "large batches": network((200, 100), batch_size=2500),
    "ensemble with embeddings": network(
        (128, 64), n_members=4, numeric_embedding="periodic", weight_average=0.9
    ),
    "embedding": network((64,), numeric_embedding="periodic", batch_size=2500),
    "encoder": make_pipeline(PiecewiseLinearEncoder(), network((64,), n_members=4)),
    "search": search(),
    "search of large networks": search(hidden=(128, 64)),
    "search of ensembles": search(n_members=3),
    "search of an encoder": VectorizedGridSearchCV(
        make_pipeline(PiecewiseLinearEncoder(), network((64,))),
        {"torchmlpclassifier__dropout": [0.0, 0.5]},
        cv=2,
    ),
}


def table(n_samples=3001, n_features=40):
    rng = np.random.RandomState(0)
    X = rng.randn(n_samples, n_features)
    return X, (X[:, 0] + rng.randn(n_samples) > 0).astype(int)


def learned(model, X):
    """Return all results of a fit in one array."""
    best = model.best_estimator_ if hasattr(model, "best_estimator_") else model
    last = best[-1] if isinstance(best, Pipeline) else best
    scores = model.cv_results_["mean_test_score"] if hasattr(model, "cv_results_") else []
    out_of_fold = getattr(last, "oof_decision_function_", [])
    return np.concatenate(
        [weights_of(last), [last.threshold_], scores, out_of_fold, model.predict_proba(X)[:, 1]]
    )


FORKED = {
    **{f"logistic-{s}": TorchLogisticClassifier(solver=s) for s in ("newton-cholesky", "lbfgs")},
    "logistic-elastic-net": TorchLogisticClassifier(l1_ratio=0.5, C=0.1),
    **{name: MODELS[name] for name in ("logistic-adam", "mlp-adam", "mlp-lbfgs", "mlp-stopped")},
    **{n: WITH_DROPOUT[n] for n in ("one", "ensemble", "objective", "large batches", "search")},
    "logistic-objective": TorchLogisticClassifier(threshold="f1"),
    "logistic-search": VectorizedGridSearchCV(TorchLogisticClassifier(), {"C": [0.1, 1.0]}, cv=3),
}
