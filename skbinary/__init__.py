"""Binary classifiers trained by PyTorch that behave like scikit-learn's own."""

from skbinary.estimators.logistic import TorchLogisticClassifier
from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.model_selection.search import VectorizedGridSearchCV, VectorizedRandomizedSearchCV
from skbinary.plotting.loss import LossCurveDisplay
from skbinary.plotting.search import SearchDisplay
from skbinary.plotting.threshold import ThresholdDisplay
from skbinary.preprocessing.piecewise_linear import PiecewiseLinearEncoder

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
