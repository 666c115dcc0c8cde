"""Converters of classifiers and searches to ONNX, for skl2onnx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

from skbinary.estimators.base import BinaryClassifier
from skbinary.export.onnx_graph import (
    Float,
    Graph,
    add_both,
    add_is_positive,
    add_mean_logit,
    add_probabilities,
)
from skbinary.export.onnx_layers import add_logits
from skbinary.export.onnx_modules import add_module_logits
from skbinary.model_selection.candidates import as_pipeline_candidate
from skbinary.model_selection.search_ensemble import SearchEnsemble
from skbinary.thresholds.decision import positive_index


class MeanProbability(ClassifierMixin, BaseEstimator):
    """The last step of a ``SearchEnsemble``: the mean of the probabilities of its models.

    Parameters
    ----------
    ensemble : SearchEnsemble
    weights : list of float
        Weight of each model.
    """

    def __init__(self, ensemble: Any, weights: list[float]):
        self.ensemble = ensemble
        self.weights = weights

    @property
    def classes_(self) -> NDArray[np.generic]:
        """The labels in sorted order, an array of shape (2,)."""
        classes: NDArray[np.generic] = self.ensemble.classes_
        return classes


def set_classifier_shape(operator: Any) -> None:
    """Set the types of labels, of shape (n_samples,), and the shape of the probabilities."""
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType
    from skl2onnx.common.utils_classifier import get_label_classes

    n_samples = operator.inputs[0].get_first_dimension()
    classes = np.asarray(get_label_classes(operator.scope_inst, operator.raw_operator))
    kind = Int64TensorType if classes.dtype.kind in "biuf" else StringTensorType
    operator.outputs[0].set_type(kind([n_samples]))
    operator.outputs[1].type.shape = [n_samples, 2]


def keep_shape(operator: Any) -> None:
    """Leave the types of the outputs to the operators that a converter declares."""


def convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Convert a fitted classifier of this package."""
    model, [rows] = operator.raw_operator, operator.inputs
    state = model._fitted()
    # A module is scored in float32, whatever the rows are.
    graph = Graph(scope, container, np.float32 if state.module else precision([rows]))
    name = graph.cast(rows.full_name, graph.dtype)
    logit = (add_module_logits if state.module else add_logits)(graph, state, name)
    _write_outputs(graph, operator, logit, model)


def convert_mean(scope: Any, operator: Any, container: Any) -> None:
    """Convert the mean of the probabilities of models, of which the inputs are the logits."""
    mean = operator.raw_operator
    exact = Graph(scope, container, np.float64)
    logits = [
        exact.add("Gather", exact.cast(each.full_name, np.float64), [1], axis=1)
        for each in operator.inputs
    ]
    logs = np.log(mean.weights)
    joined = exact.add("Concat", *logits, axis=1)
    logit = add_mean_logit(exact, joined, axis=1, keepdims=True, log_weights=logs)
    logit = exact.add("Div", logit, float(mean.ensemble.temperature_))
    graph = Graph(scope, container, precision(operator.inputs))
    _write_outputs(graph, operator, graph.cast(logit, graph.dtype), mean.ensemble)


def convert_nested(scope: Any, operator: Any, container: Any) -> None:
    """Convert a search, or an ensemble of a search, that is inside of another model."""
    from skl2onnx._parse import _parse_sklearn

    model = operator.raw_operator
    model = getattr(model, "best_estimator_", model)
    options = {"zipmap": False, "raw_scores": _raw_scores(scope, container, operator)}
    scope.add_options(id(model), options)
    found = _parse_sklearn(scope, model, operator.inputs)
    graph = Graph(scope, container, np.float64)
    label, scores = (each.full_name for each in operator.outputs)
    graph.write("Identity", [found[0].full_name], label)
    graph.write("Cast", [found[1].full_name], scores, to=float_type(operator.outputs[1]))


def parse_search(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare the operators of the best estimator of a search."""
    from skl2onnx._parse import _parse_sklearn

    scope.add_options(id(model.best_estimator_), scope.get_options(model, {"zipmap": True}))
    return _parse_sklearn(scope, model.best_estimator_, inputs, custom_parsers=custom_parsers)


def parse_ensemble(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare the operators of all models of an ensemble, and of their mean.

    Models that share transformers, such as all candidates on one split, share their outputs.
    """
    from skl2onnx._parse import _parse_sklearn, _parse_sklearn_classifier

    shared: dict[tuple[int, ...], Any] = {}
    logits, weights = [], []
    for weight, models in zip(model.weights_, model.estimators_, strict=True):
        for each in models:
            candidate = as_pipeline_candidate(each)
            classifier = each if candidate is None else candidate.classifier
            rows = inputs
            key: tuple[int, ...] = ()
            for step in _transformers([] if candidate is None else candidate.pipelines):
                key = (*key, id(step))
                if key not in shared:
                    shared[key] = _parse_sklearn(scope, step, rows, custom_parsers)
                rows = shared[key]
            logits.append(declare_logits(scope, classifier, rows))
            weights.append(float(weight) / len(models))
    mean = MeanProbability(model, weights)
    scope.add_options(id(mean), scope.get_options(model, {"zipmap": True}))
    return _parse_sklearn_classifier(scope, mean, logits, custom_parsers=custom_parsers)


def precision(variables: Sequence[Any]) -> Float:
    """Return the type in which inputs are scored: float32 if all are, as in the library."""
    from skl2onnx.common.data_types import FloatTensorType

    is_single = all(isinstance(each.type, FloatTensorType) for each in variables)
    return np.float32 if is_single else np.float64


def last_step(model: Any) -> Any:
    """Return the classifier at the end of pipelines, searches and frozen estimators."""
    while True:
        if isinstance(model, Pipeline):
            model = model.steps[-1][1]
        elif hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif type(model).__name__ == "FrozenEstimator":
            model = model.estimator
        else:
            return model


def is_ours(model: Any) -> bool:
    """Whether a model, or its last step, is a classifier of this package."""
    return isinstance(last_step(model), BinaryClassifier | SearchEnsemble)


def declare_logits(scope: Any, classifier: Any, rows: Any) -> Any:
    """Declare a classifier, and return the variable of its logits, of shape (n_samples, 2)."""
    from skl2onnx._supported_operators import get_model_alias
    from skl2onnx.common.data_types import Int64TensorType, guess_tensor_type

    operator = scope.declare_local_operator(get_model_alias(type(classifier)), classifier)
    operator.inputs = rows
    label = scope.declare_local_variable("model_label", Int64TensorType())
    logits = scope.declare_local_variable("model_logits", guess_tensor_type(rows[0].type))
    operator.outputs.extend([label, logits])
    scope.add_options(id(classifier), {"zipmap": False, "raw_scores": True})
    scope.add_options(id(last_step(classifier)), {"zipmap": False, "raw_scores": True})
    return logits


def write_labels(graph: Graph, operator: Any, is_second: str) -> None:
    """Write the labels: ``classes[1]`` where a condition of shape (n_samples, 1) is met."""
    from skl2onnx.common.utils_classifier import get_label_classes

    classes = np.asarray(get_label_classes(graph.scope, operator.raw_operator))
    if classes.dtype.kind in "biuf":
        classes = classes.astype(np.int64)
    flat = graph.add("Reshape", is_second, [-1])
    names = [graph.constant(classes[i : i + 1]) for i in (1, 0)]
    graph.write("Where", [flat, *names], operator.outputs[0].full_name)


def float_type(variable: Any) -> int:
    """Return the number of the type of a variable."""
    from skl2onnx.common.data_types import guess_proto_type

    kind: int = guess_proto_type(variable.type)
    return kind


def _transformers(pipelines: Sequence[tuple[str, Any]]) -> list[Any]:
    steps = [step for _, pipeline in pipelines for _, step in pipeline.steps[:-1]]
    return [step for step in steps if step is not None and not isinstance(step, str)]


def _raw_scores(scope: Any, container: Any, operator: Any) -> bool:
    """Whether logits are asked for. Some converters say so to the container only."""
    model = operator.raw_operator
    options = [each.get_options(model, {"raw_scores": False}) for each in (scope, container)]
    return any(each["raw_scores"] for each in options)


def _write_outputs(graph: Graph, operator: Any, logit: str, model: Any) -> None:
    """Write the labels, and the probabilities or logits, of a classifier of this package."""
    raw_scores = _raw_scores(graph.scope, graph.container, operator)
    scores = add_both(graph, logit) if raw_scores else add_probabilities(graph, logit)
    output = operator.outputs[1]
    graph.write("Cast", [scores], output.full_name, to=float_type(output))
    positive = positive_index(model.pos_label, model.classes_)
    is_positive = add_is_positive(graph, logit, model._threshold_in_force(), positive)
    if not positive:
        is_positive = graph.add("Not", is_positive)
    write_labels(graph, operator, is_positive)
