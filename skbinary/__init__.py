"""Binary classifiers trained by PyTorch that behave like scikit-learn's own.

Public are the names in ``__all__`` below, and nothing else: modules and their contents may change
in any release.
"""

from skbinary.estimators.logistic import TorchLogisticClassifier
from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.estimators.tabular_pipeline import make_tabular_pipeline
from skbinary.model_selection.halving import (
    VectorizedHalvingGridSearchCV,
    VectorizedHalvingRandomSearchCV,
)
from skbinary.model_selection.search import (
    VectorizedGridSearchCV,
    VectorizedRandomizedSearchCV,
)
from skbinary.model_selection.search_ensemble import SearchEnsemble
from skbinary.plotting.loss import LossCurveDisplay
from skbinary.plotting.search import SearchDisplay
from skbinary.plotting.threshold import ThresholdDisplay
from skbinary.preprocessing.piecewise_linear import PiecewiseLinearEncoder
from skbinary.preprocessing.tabular import TabularEncoder
from skbinary.solvers.result import StopReason
from skbinary.version import __version__ as __version__

__all__ = [
    "LossCurveDisplay",
    "PiecewiseLinearEncoder",
    "SearchDisplay",
    "SearchEnsemble",
    "StopReason",
    "TabularEncoder",
    "ThresholdDisplay",
    "TorchLogisticClassifier",
    "TorchMLPClassifier",
    "VectorizedGridSearchCV",
    "VectorizedHalvingGridSearchCV",
    "VectorizedHalvingRandomSearchCV",
    "VectorizedRandomizedSearchCV",
    "make_tabular_pipeline",
]

# Pickles name public paths, which survive a new layout.
for _name in __all__:
    globals()[_name].__module__ = "skbinary"
