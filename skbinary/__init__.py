"""Binary classifiers trained by PyTorch that behave like scikit-learn's own."""

from skbinary._logistic import TorchLogisticClassifier
from skbinary._mlp import TorchMLPClassifier

__all__ = ["TorchLogisticClassifier", "TorchMLPClassifier"]
__version__ = "0.1.0"
