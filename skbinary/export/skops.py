"""The types that skops must trust to load a model of this package."""

from __future__ import annotations

from types import FunctionType

import numpy as np
import torch
from sklearn import metrics, model_selection

# Our estimators, under the names that files have.
_ESTIMATORS = (
    "skbinary.PiecewiseLinearEncoder",
    "skbinary.SearchEnsemble",
    "skbinary.TabularEncoder",
    "skbinary.TorchLogisticClassifier",
    "skbinary.TorchMLPClassifier",
    "skbinary.TorchModuleClassifier",
    "skbinary.VectorizedGridSearchCV",
    "skbinary.VectorizedHalvingGridSearchCV",
    "skbinary.VectorizedHalvingRandomSearchCV",
    "skbinary.VectorizedRandomizedSearchCV",
    "skbinary.dask.DaskTorchLogisticClassifier",
    "skbinary.dask.DaskTorchMLPClassifier",
)
# What their parameters and attributes may hold. None of these types runs code that a file brings:
# they consist of the plain data that is in the file, and of functions that are in this list. Do not
# add distributions of scipy.stats, which execute a string of their state when they are loaded, nor
# sparse matrices, whose indices may point outside their arrays.
_OF_LIBRARIES: tuple[type | FunctionType, ...] = (
    np.dtype,  # of SimpleImputer and OneHotEncoder
    torch.device,
    model_selection.GroupKFold,
    model_selection.KFold,
    model_selection.RepeatedStratifiedKFold,
    model_selection.ShuffleSplit,
    model_selection.StratifiedGroupKFold,
    model_selection.StratifiedKFold,
    model_selection.StratifiedShuffleSplit,
    model_selection.TimeSeriesSplit,
    metrics.accuracy_score,
    metrics.average_precision_score,
    metrics.balanced_accuracy_score,
    metrics.brier_score_loss,
    metrics.cohen_kappa_score,
    metrics.f1_score,
    metrics.fbeta_score,
    metrics.jaccard_score,
    metrics.log_loss,
    metrics.matthews_corrcoef,
    metrics.precision_score,
    metrics.recall_score,
    metrics.roc_auc_score,
)
# Private classes of scikit-learn in searches: the scorer, and splits that were passed as a list.
_PRIVATE = (
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.model_selection._split._CVIterableWrapper",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
)

SKOPS_TRUSTED_TYPES: tuple[str, ...] = (
    *_ESTIMATORS,
    *(f"{each.__module__}.{each.__name__}" for each in _OF_LIBRARIES),
    *_PRIVATE,
)
