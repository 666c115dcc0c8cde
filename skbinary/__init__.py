"""Binary classifiers trained by PyTorch that behave like scikit-learn's own.

Public are the names in ``__all__`` below, those of ``skbinary.streaming`` and, with optional
libraries, the functions of ``skbinary.export`` that the reference lists and
``skbinary.callbacks.optuna.PruningCallback``. All else may change in any release.
"""

from skbinary.checkpoints.checkpoint import Checkpoint
from skbinary.estimators.logistic import TorchLogisticClassifier
from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.estimators.module import TorchModuleClassifier
from skbinary.estimators.tabular_pipeline import make_tabular_pipeline
from skbinary.export import skops as _skops
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
    "SKOPS_TRUSTED_TYPES",
    "Checkpoint",
    "LossCurveDisplay",
    "PiecewiseLinearEncoder",
    "SearchDisplay",
    "SearchEnsemble",
    "StopReason",
    "TabularEncoder",
    "ThresholdDisplay",
    "TorchLogisticClassifier",
    "TorchMLPClassifier",
    "TorchModuleClassifier",
    "VectorizedGridSearchCV",
    "VectorizedHalvingGridSearchCV",
    "VectorizedHalvingRandomSearchCV",
    "VectorizedRandomizedSearchCV",
    "make_tabular_pipeline",
]

#: Names of the types that skops must trust to load a model of this package, for
#: ``skops.io.load(file, trusted=skbinary.SKOPS_TRUSTED_TYPES)``: the estimators, and the types of
#: scikit-learn, PyTorch and NumPy that they may hold. None of them runs code that a file brings.
SKOPS_TRUSTED_TYPES = _skops.SKOPS_TRUSTED_TYPES

# Pickles name public paths, which survive a new layout.
for _name in __all__:
    if callable(globals()[_name]):
        globals()[_name].__module__ = "skbinary"
