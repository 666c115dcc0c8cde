"""The converters of this package, as skl2onnx knows them."""

from __future__ import annotations

from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import RandomizedSearchCV

from skbinary.estimators.logistic import TorchLogisticClassifier
from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.estimators.module import TorchModuleClassifier
from skbinary.export import onnx_classifiers as classifiers
from skbinary.export import onnx_encoders as encoders
from skbinary.export import onnx_sklearn
from skbinary.model_selection.halving import (
    VectorizedHalvingGridSearchCV,
    VectorizedHalvingRandomSearchCV,
)
from skbinary.model_selection.search import VectorizedGridSearchCV, VectorizedRandomizedSearchCV
from skbinary.model_selection.search_ensemble import SearchEnsemble
from skbinary.preprocessing.piecewise_linear import PiecewiseLinearEncoder
from skbinary.preprocessing.tabular import TabularEncoder

_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
    "raw_scores": [True, False],
}


def register_converters() -> None:
    """Register the converters of all estimators, those of skl2onnx's registry aside."""
    from skl2onnx import update_registered_converter
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import register_converter

    shape = classifiers.set_classifier_shape
    for kind, alias, convert in (
        (TorchLogisticClassifier, "SkbinaryClassifier", classifiers.convert_classifier),
        (TorchMLPClassifier, "SkbinaryClassifier", classifiers.convert_classifier),
        (TorchModuleClassifier, "SkbinaryClassifier", classifiers.convert_classifier),
        (classifiers.MeanProbability, "SkbinaryMean", classifiers.convert_mean),
        (CalibratedClassifierCV, "SklearnCalibratedClassifierCV", onnx_sklearn.convert_calibrated),
    ):
        update_registered_converter(kind, alias, shape, convert, options=_OPTIONS)
    nested: list[tuple[type, str, Any]] = [
        (SearchEnsemble, "SkbinarySearchEnsemble", classifiers.parse_ensemble),
        (VectorizedGridSearchCV, "SkbinarySearch", classifiers.parse_search),
        (VectorizedRandomizedSearchCV, "SkbinarySearch", classifiers.parse_search),
        (VectorizedHalvingGridSearchCV, "SkbinarySearch", classifiers.parse_search),
        (VectorizedHalvingRandomSearchCV, "SkbinarySearch", classifiers.parse_search),
    ]
    if RandomizedSearchCV not in sklearn_operator_name_map:  # as in later versions of skl2onnx
        nested.append((RandomizedSearchCV, "SkbinarySearch", classifiers.parse_search))
    keep, nest = classifiers.keep_shape, classifiers.convert_nested
    for kind, alias, parse in nested:
        update_registered_converter(kind, alias, keep, nest, parser=parse, options=_OPTIONS)
    for alias, convert, options in (
        ("SklearnVotingClassifier", onnx_sklearn.convert_voting, _OPTIONS),
        ("SklearnSimpleImputer", onnx_sklearn.convert_imputer, None),
    ):
        register_converter(alias, convert, overwrite=True, options=options)
    for kind, alias, convert in (
        (PiecewiseLinearEncoder, "SkbinaryPiecewise", encoders.convert_piecewise),
        (TabularEncoder, "SkbinaryTabular", encoders.convert_tabular),
    ):
        update_registered_converter(
            kind, alias, encoders.set_encoder_shape, convert, parser=encoders.parse_encoder
        )
