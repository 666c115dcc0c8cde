"""scikit-learn's own check suite, over every family of settings."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbinary import TorchLogisticClassifier, TorchMLPClassifier

ESTIMATORS = [
    TorchLogisticClassifier(),
    TorchLogisticClassifier(solver="newton-cholesky", class_weight="balanced"),
    TorchLogisticClassifier(solver="lbfgs", C=10),
    TorchLogisticClassifier(solver="adam"),
    TorchLogisticClassifier(solver="sgd", learning_rate_init=0.1),
    TorchLogisticClassifier(early_stopping=True),
    TorchLogisticClassifier(l1_ratio=0.5),
    TorchMLPClassifier(),
    TorchMLPClassifier(solver="sgd", learning_rate="adaptive", learning_rate_init=0.1),
    TorchMLPClassifier(solver="lbfgs", activation="tanh"),
    TorchMLPClassifier(early_stopping=True, validation_fraction=0.2),
    TorchMLPClassifier(dropout=0.1, weight_decay=0.01),
    TorchMLPClassifier((20, 10), "gelu", class_weight="balanced", learning_rate="onecycle"),
    TorchMLPClassifier(learning_rate="cosine", early_stopping=True, dropout=0.2),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_obeys_scikit_learn(estimator, check):
    check(estimator)
