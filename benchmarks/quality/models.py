"""The contenders and their settings."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from benchmarks.quality.objectives import Objective
from skbinary import PiecewiseLinearEncoder, TorchLogisticClassifier, TorchMLPClassifier

# The setting that the documentation recommends where probabilities matter.
RECOMMENDED: dict[str, Any] = {
    "hidden_layer_sizes": (128, 128, 128),
    "activation": "tanh",
    "weight_decay": 0.1,
    "dropout": 0.1,
    "learning_rate_init": 4e-3,
}
N_NETWORKS = 8

DEFAULT = "skbinary"
ENSEMBLE = f"skbinary, ensemble of {N_NETWORKS}"
ONE_NETWORK = "skbinary, one network"
ENSEMBLE_NO_ENCODER = f"skbinary, ensemble of {N_NETWORKS}, no encoder"
MLP = "MLPClassifier"
EARLY_STOPPING_MLP = "MLPClassifier, early stopping"
BOOSTING = "HistGradientBoosting"
LOGISTIC = "LogisticRegression"

OUR_LOGISTIC = "TorchLogisticClassifier"
OUR_ENSEMBLE = f"TorchMLPClassifier, ensemble of {N_NETWORKS}"
PEER = "scikit-learn"


def ensemble(seed: int, **others: Any) -> TorchMLPClassifier:
    """Return an ensemble with the recommended settings."""
    parameters = {"n_members": N_NETWORKS, **RECOMMENDED, "random_state": seed, **others}
    return TorchMLPClassifier(**parameters)


def recommended(seed: int, **others: Any) -> Pipeline:
    """Return the recommended pipeline of an encoder and an ensemble."""
    return make_pipeline(PiecewiseLinearEncoder(), ensemble(seed, **others))


def contenders(seed: int) -> dict[str, Any]:
    """Return the models whose probabilities are compared."""
    return {
        DEFAULT: TorchMLPClassifier(random_state=seed),
        ENSEMBLE: recommended(seed),
        ONE_NETWORK: recommended(seed, n_members=1),
        ENSEMBLE_NO_ENCODER: ensemble(seed),
        MLP: MLPClassifier(random_state=seed),
        EARLY_STOPPING_MLP: MLPClassifier(early_stopping=True, random_state=seed),
        BOOSTING: HistGradientBoostingClassifier(random_state=seed),
        LOGISTIC: logistic(seed),
    }


def threshold_contenders(objective: Objective, seed: int) -> dict[str, Any]:
    """Return the models whose thresholds are compared; the peer if it supports the objective."""
    ours = {
        OUR_LOGISTIC: TorchLogisticClassifier(threshold=objective.threshold, random_state=seed),
        OUR_ENSEMBLE: ensemble(seed, threshold=objective.threshold),
    }
    peer = _peer(objective, seed)
    return ours if peer is None else {**ours, PEER: peer}


def _peer(objective: Objective, seed: int) -> Any:
    if objective.constrained is not None:
        return None
    scoring = objective.scoring()
    if scoring is None:
        return logistic(seed)
    return TunedThresholdClassifierCV(logistic(seed), scoring=scoring, cv=5, random_state=seed)


def logistic(seed: int) -> LogisticRegression:
    """Return a logistic regression."""
    return LogisticRegression(max_iter=1000, random_state=seed)
