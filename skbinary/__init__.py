"""Binary classifiers trained by PyTorch that behave like scikit-learn's own."""

from skbinary._displays.loss import LossCurveDisplay
from skbinary._displays.search import SearchDisplay
from skbinary._displays.threshold import ThresholdDisplay
from skbinary._encoder import PiecewiseLinearEncoder
from skbinary._logistic import TorchLogisticClassifier
from skbinary._mlp import TorchMLPClassifier
from skbinary._search import VectorizedGridSearchCV, VectorizedRandomizedSearchCV

__all__ = [
    "LossCurveDisplay",
    "PiecewiseLinearEncoder",
    "SearchDisplay",
    "ThresholdDisplay",
    "TorchLogisticClassifier",
    "TorchMLPClassifier",
    "VectorizedGridSearchCV",
    "VectorizedRandomizedSearchCV",
]
__version__ = "0.1.0"
