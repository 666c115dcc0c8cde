"""Who takes part, and with which settings."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from benchmarks.quality.objectives import Objective
from skbinary import PiecewiseLinearEncoder, TorchLogisticClassifier, TorchMLPClassifier

# The setting that the documentation recommends for a table when probabilities count.
RECOMMENDED: dict[str, Any] = {
    "hidden_layer_sizes": (128, 128, 128),
    "activation": "tanh",
    "weight_decay": 0.1,
    "dropout": 0.1,
    "learning_rate_init": 4e-3,
}
N_MEMBERS = 8

DEFAULT = "skbinary"
MEMBERS = f"skbinary, {N_MEMBERS} members"
ONE_MEMBER = "skbinary, 1 member"
PLAIN_MEMBERS = f"skbinary, {N_MEMBERS} members, no encoder"
MLP = "MLPClassifier"
STOPPED_MLP = "MLPClassifier, early stopping"
BOOSTING = "HistGradientBoosting"
LOGISTIC = "LogisticRegression"

OUR_LOGISTIC = "TorchLogisticClassifier"
OUR_MEMBERS = f"TorchMLPClassifier, {N_MEMBERS} members"
PEER = "peer"


def members(seed: int, **others: Any) -> TorchMLPClassifier:
    """Make a classifier of several members."""
    parameters = {"n_members": N_MEMBERS, **RECOMMENDED, "random_state": seed, **others}
    return TorchMLPClassifier(**parameters)


def recommended(seed: int, **others: Any) -> Pipeline:
    """Make the recommended pipeline: columns are encoded, and several members see them."""
    return make_pipeline(PiecewiseLinearEncoder(), members(seed, **others))


def contenders(seed: int) -> dict[str, Any]:
    """Make those whose probabilities are compared, each by its name."""
    return {
        DEFAULT: TorchMLPClassifier(random_state=seed),
        MEMBERS: recommended(seed),
        ONE_MEMBER: recommended(seed, n_members=1),
        PLAIN_MEMBERS: members(seed),
        MLP: MLPClassifier(random_state=seed),
        STOPPED_MLP: MLPClassifier(early_stopping=True, random_state=seed),
        BOOSTING: HistGradientBoostingClassifier(random_state=seed),
        LOGISTIC: _logistic(seed),
    }


def deciders(objective: Objective, seed: int) -> dict[str, Any]:
    """Make those whose decisions are compared; the peer only where it can say the objective."""
    ours = {
        OUR_LOGISTIC: TorchLogisticClassifier(threshold=objective.threshold, random_state=seed),
        OUR_MEMBERS: members(seed, threshold=objective.threshold),
    }
    peer = _peer(objective, seed)
    return ours if peer is None else {**ours, PEER: peer}


def _peer(objective: Objective, seed: int) -> Any:
    if objective.bound is not None:
        return None
    scoring = objective.scoring()
    if scoring is None:
        return _logistic(seed)
    return TunedThresholdClassifierCV(_logistic(seed), scoring=scoring, cv=5, random_state=seed)


def _logistic(seed: int) -> LogisticRegression:
    return LogisticRegression(max_iter=1000, random_state=seed)
