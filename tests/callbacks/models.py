"""Data and small models that the tests of callbacks share."""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import scale

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.solvers.result import StopReason


def _breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


X, Y = _breast_cancer()
X_TRAIN, Y_TRAIN, X_VAL, Y_VAL = X[:300], Y[:300], X[300:400], Y[300:400]
VALIDATION = {"X_val": X_VAL, "y_val": Y_VAL}
STOPPED_BY_CALLBACK = StopReason.CALLBACK.value
INTERRUPTED = StopReason.INTERRUPTED.value
LABELS = {
    "integers": np.array([0, 1]),
    "signs": np.array([-1, 1]),
    "strings": np.array(["benign", "malignant"]),
    "booleans": np.array([False, True]),
}


def small_mlp(**params):
    """Make a network that trains in milliseconds."""
    defaults = {"hidden_layer_sizes": (6,), "max_iter": 6, "batch_size": 64, "random_state": 0}
    defaults["early_stopping"] = False
    return TorchMLPClassifier(**{**defaults, **params})


def small_logistic(**params):
    """Make a logistic regression with a mini-batch solver."""
    defaults = {"solver": "sgd", "max_iter": 6, "batch_size": 64, "random_state": 0}
    return TorchLogisticClassifier(**{**defaults, **params})


MINIBATCH = [small_mlp, small_logistic]
FULL_BATCH = [
    TorchLogisticClassifier(solver="newton-cholesky"),
    TorchLogisticClassifier(solver="lbfgs"),
    TorchMLPClassifier((6,), solver="lbfgs", max_iter=20, random_state=0),
]
EVERY_SOLVER = [small_mlp(), small_logistic(), *FULL_BATCH]


def name_of(model):
    """Name a model in the id of a test."""
    return f"{type(model).__name__}-{model.solver}"


def overfitting_mlp(*callbacks, **params):
    """Fit random labels, so that the validation loss soon rises."""
    y = np.random.RandomState(0).randint(2, size=400)
    settings = {"max_iter": 100, "learning_rate_init": 0.01, "n_iter_no_change": 100}
    model = small_mlp(hidden_layer_sizes=(40,), callbacks=list(callbacks), **settings, **params)
    return model.fit(X[:300], y[:300], X_val=X[300:400], y_val=y[300:])


def weights_of(model):
    """Return all weights and biases of an estimator in one vector."""
    if hasattr(model, "coefs_"):
        return np.concatenate([each.ravel() for each in [*model.coefs_, *model.intercepts_]])
    return np.concatenate([model.coef_.ravel(), model.intercept_])


def weights_in(state):
    """Return all weights and biases of a state dict, in the order of ``weights_of``."""
    arrays = [value.numpy() for value in state.values()]
    return np.concatenate([each.T.ravel() for each in [*arrays[::2], *arrays[1::2]]])
