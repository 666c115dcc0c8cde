"""Binary classifiers trained by PyTorch that behave like scikit-learn's own."""

from skbinary._logistic import TorchLogisticClassifier
from skbinary._mlp import TorchMLPClassifier
from skbinary._search import VectorizedGridSearchCV, VectorizedRandomizedSearchCV

__all__ = [
    "TorchLogisticClassifier",
    "TorchMLPClassifier",
    "VectorizedGridSearchCV",
    "VectorizedRandomizedSearchCV",
]
__version__ = "0.1.0"
