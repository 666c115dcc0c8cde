"""What cannot be exported to ONNX, and what to do instead."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from skbinary.estimators.base import BinaryClassifier
from skbinary.export.onnx_classifiers import is_ours, last_step

_N_COMPARED = 100  # rows
_MAX_DIFFERENCE = 1e-3  # a steep isotonic regression multiplies the rounding of float32 logits


def check_supported(model: Any) -> None:
    """Check that skl2onnx computes what scikit-learn computes."""
    for part in _parts(model):
        name, advice = type(part).__name__, None
        if isinstance(part, TunedThresholdClassifierCV):
            advice = "Set the threshold of its classifier instead, as in threshold='f1'"
        elif isinstance(part, VotingClassifier) and part.voting == "hard":
            if any(_has_threshold(each) for each in part.estimators_):
                advice = "Set voting='soft', or the thresholds of its estimators to 0.5"
        elif isinstance(part, StackingClassifier):
            if _has_threshold(part.final_estimator_):
                advice = "Set the threshold of its final_estimator to 0.5"
            elif len(part.classes_) == 2 and "decision_function" in part.stack_method_:
                raise ValueError(
                    f"stack_method of {name} must be 'predict_proba' for an export to ONNX, got "
                    "'decision_function', which skl2onnx does not convert. Fit it with "
                    "stack_method='predict_proba'."
                )
        if advice is not None:
            raise ValueError(
                f"The labels of {name} must not depend on a threshold that skl2onnx ignores. "
                f"{advice}."
            )


def check_valid(onnx_model: Any) -> None:
    """Check the types and shapes of all nodes."""
    from onnx import checker, shape_inference

    try:
        checker.check_model(onnx_model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ValueError(
            "The graph must be valid, got one whose types or shapes do not fit, perhaps because "
            "skl2onnx converts one of the estimators for float32 rows only. Pass X as float32."
        ) from error


def check_probabilities(onnx_model: Any, model: Any, X: Any, inputs: dict[str, Any]) -> None:
    """Check that the graph gives the probabilities of the model, if onnxruntime is installed.

    Parameters
    ----------
    onnx_model : onnx.ModelProto
    model : estimator
    X : array-like of shape (n_samples, ...)
        The first rows are compared.
    inputs : dict of str to ndarray
        The rows as inputs of the graph.
    """
    if not hasattr(model, "predict_proba"):
        return
    found = _run(onnx_model, {name: each[:_N_COMPARED] for name, each in inputs.items()})
    if found is None:
        return
    wanted = model.predict_proba(X[:_N_COMPARED])
    difference = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else np.inf
    if difference > _MAX_DIFFERENCE:
        others = [
            each for each in _parts(model) if not isinstance(each, BinaryClassifier | Pipeline)
        ]
        names = [type(each).__name__ for each in others]
        raise ValueError(
            "The graph must give the probabilities of the model, got ones that differ by up to "
            f"{difference:.2g}. skl2onnx does not convert one of these exactly: "
            f"{', '.join(dict.fromkeys(names))}. Replace it, or report it to skl2onnx."
        )


def _run(onnx_model: Any, inputs: dict[str, Any]) -> NDArray[np.floating] | None:
    """Return the probabilities that a graph gives, or None if it cannot be run here."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ModuleNotFoundError:
        return None
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(onnx_model.SerializeToString(), settings)
        outputs = session.run(None, inputs)[1:]
    except Exception:  # another runtime may run it, or the same one on another system
        return None
    if outputs and isinstance(outputs[0], list):
        return np.array([list(row.values()) for row in outputs[0]])
    if len(outputs) > 1 and outputs[0].ndim == 1:
        return np.column_stack(outputs)
    return outputs[0] if outputs else None


def find_without_converter(model: Any) -> str:
    """Return the names of the classes of estimators that cannot be converted."""
    from skl2onnx._parse import sklearn_parsers_map
    from skl2onnx._supported_operators import sklearn_operator_name_map

    known = {*sklearn_operator_name_map, *sklearn_parsers_map}
    names = [type(each).__name__ for each in _parts(model) if type(each) not in known]
    return ", ".join(dict.fromkeys(names))


def _has_threshold(model: Any) -> bool:
    return is_ours(model) and bool(last_step(model)._threshold_in_force() != 0.5)


def _parts(model: Any) -> Iterator[Any]:
    """Give an estimator, and all estimators that it consists of."""
    if isinstance(model, BaseEstimator):
        yield model
        model = vars(model)
    if isinstance(model, dict):
        model = list(model.values())
    if isinstance(model, list | tuple):
        for each in model:
            yield from _parts(each)
