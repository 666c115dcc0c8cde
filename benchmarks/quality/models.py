"""The contenders and their settings."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV

from benchmarks.quality.objectives import Objective
from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.estimators.tabular_pipeline import RECOMMENDED

N_NETWORKS: int = RECOMMENDED["n_members"]

OUR_LOGISTIC = "TorchLogisticClassifier"
OUR_ENSEMBLE = f"TorchMLPClassifier, ensemble of {N_NETWORKS}"
PEER = "scikit-learn"


def ensemble(seed: int, **others: Any) -> TorchMLPClassifier:
    """Return an ensemble with the settings of `make_tabular_pipeline`."""
    return TorchMLPClassifier(**{**RECOMMENDED, "random_state": seed, **others})


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
