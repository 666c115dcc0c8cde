"""Converters of scikit-learn's estimators that skl2onnx does not convert, or not exactly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from skbinary.export.onnx_classifiers import (
    declare_logits,
    float_type,
    is_ours,
    precision,
    write_labels,
)
from skbinary.export.onnx_encoders import MISSING_STRINGS
from skbinary.export.onnx_graph import Graph


def convert_calibrated(scope: Any, operator: Any, container: Any) -> None:
    """Convert a ``CalibratedClassifierCV`` around classifiers of this package.

    The converter of skl2onnx takes the nearest point of an isotonic regression instead of
    interpolating, calibrates the probabilities of a pipeline instead of its logits, and knows
    neither ``FrozenEstimator`` nor temperatures. It converts all other models.
    """
    from skl2onnx.operator_converters.calibrated_classifier_cv import (
        convert_sklearn_calibrated_classifier_cv as convert_other,
    )

    model = operator.raw_operator
    if not all(is_ours(each.estimator) for each in model.calibrated_classifiers_):
        convert_other(scope, operator, container)
        return
    graph = Graph(scope, container, np.float64)
    calibrated = [_add_calibrated(graph, operator, each) for each in model.calibrated_classifiers_]
    others = [graph.add("Sub", 1.0, each) for each in calibrated]
    n = float(len(calibrated))
    negative, positive = (graph.add("Div", graph.add("Sum", *p), n) for p in (others, calibrated))
    both = graph.add("Concat", negative, positive, axis=1)
    scores = operator.outputs[1]
    graph.write("Cast", [both], scores.full_name, to=float_type(scores))
    write_labels(graph, operator, graph.add("Greater", positive, negative))


def convert_voting(scope: Any, operator: Any, container: Any) -> None:
    """Convert a ``VotingClassifier``.

    The converter of skl2onnx refuses the default of ``flatten_transform``, which only ``transform``
    uses, and weights that are a list.
    """
    from skl2onnx.operator_converters.voting_classifier import convert_voting_classifier

    model = copy.copy(operator.raw_operator)
    model.flatten_transform = False
    if model.weights is not None:
        model.weights = np.asarray(model._weights_not_none, dtype=np.float64)
    operator.raw_operator = model
    convert_voting_classifier(scope, operator, container)


def convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Convert a ``SimpleImputer``.

    The converter of skl2onnx makes a node for which onnxruntime has no float64, and does not know
    missing values in strings. It converts what this one does not.
    """
    from skl2onnx.common.data_types import (
        DoubleTensorType,
        FloatTensorType,
        StringTensorType,
    )
    from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer

    model, inputs = operator.raw_operator, operator.inputs
    has_strings = isinstance(inputs[0].type, StringTensorType)
    has_floats = all(isinstance(each.type, FloatTensorType | DoubleTensorType) for each in inputs)
    statistics, missing = model.statistics_, model.missing_values
    is_plain = missing is None or missing != missing or type(missing).__name__ == "NAType"
    if model.add_indicator or not is_plain or not (has_floats or has_strings):
        convert_sklearn_imputer(scope, operator, container)
        return
    graph = Graph(scope, container, precision(inputs))
    rows = graph.add("Concat", *(each.full_name for each in inputs), axis=1)
    if has_strings:
        keys = {"keys_strings": list(MISSING_STRINGS), "values_int64s": [1] * len(MISSING_STRINGS)}
        found = graph.add("LabelEncoder", rows, domain="ai.onnx.ml", default_int64=0, **keys)
        is_missing, kind = graph.cast(found, np.bool_), object
    else:
        is_missing, kind = graph.add("IsNaN", rows), graph.dtype
    values = graph.constant(np.asarray(statistics, dtype=kind)[None])
    graph.write("Where", [is_missing, values, rows], operator.outputs[0].full_name)


def _add_calibrated(graph: Graph, operator: Any, calibrated: Any) -> str:
    """Add the calibrated probability of ``classes[1]``, of shape (n_samples, 1)."""
    model = calibrated.estimator
    while type(model).__name__ == "FrozenEstimator":
        model = model.estimator
    logits = declare_logits(graph.scope, model, operator.inputs)
    score = graph.add("Gather", graph.cast(logits.full_name, np.float64), [1], axis=1)
    calibrator = calibrated.calibrators[0]
    add: Callable[[Graph, Any, str], str] = {
        "sigmoid": _add_sigmoid,
        "isotonic": _add_isotonic,
        "temperature": _add_temperature,
    }[calibrated.method]
    return add(graph, calibrator, score)


def _add_sigmoid(graph: Graph, calibrator: Any, score: str) -> str:
    scaled = graph.add("Mul", score, float(calibrator.a_))
    odds = graph.add("Exp", graph.add("Add", scaled, float(calibrator.b_)))
    return graph.add("Reciprocal", graph.add("Add", odds, 1.0))


def _add_temperature(graph: Graph, calibrator: Any, score: str) -> str:
    odds = graph.add("Exp", graph.add("Mul", score, -2 * float(calibrator.beta_)))
    return graph.add("Reciprocal", graph.add("Add", odds, 1.0))


def _add_isotonic(graph: Graph, calibrator: Any, score: str) -> str:
    """Add an interpolation between the points of an isotonic regression."""
    x, y = calibrator.X_thresholds_, calibrator.y_thresholds_
    x, y = np.append(x, x[-1] + 1).astype(np.float64), np.append(y, y[-1]).astype(np.float64)
    slope = np.append(np.diff(y) / np.diff(x), 0.0)
    score = graph.add("Min", graph.add("Max", score, x[0]), x[-2])
    is_reached = graph.cast(graph.add("GreaterOrEqual", score, x), np.float64)
    n_reached = graph.add("MatMul", is_reached, np.ones((len(x), 1)))
    last = graph.add("Sub", graph.cast(n_reached, np.int64), 1)
    beyond = graph.add("Sub", score, graph.add("Gather", x, last))
    rise = graph.add("Mul", graph.add("Gather", slope, last), beyond)
    return graph.add("Add", rise, graph.add("Gather", y, last))
