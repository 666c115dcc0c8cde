"""What an ONNX file says about its model: versions, and a model card."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from skbinary.estimators.base import BinaryClassifier
from skbinary.export.onnx_classifiers import last_step
from skbinary.model_selection.search_ensemble import SearchEnsemble
from skbinary.thresholds.decision import positive_index
from skbinary.version import __version__

_LIBRARIES = ("scikit-learn", "skl2onnx", "onnx", "torch", "numpy")


def model_card(model: Any) -> dict[str, Any]:
    """Return what a file says about a fitted model.

    Parameters
    ----------
    model : estimator

    Returns
    -------
    dict of str to object
        Lists, numbers, strings and dicts of them. What the model does not have is left out.
    """
    classifier = last_step(model)
    names = getattr(model, "feature_names_in_", None)
    card = {
        "estimator": _describe(model),
        "classes": _plain(getattr(classifier, "classes_", None)),
        "n_features": getattr(model, "n_features_in_", None),
        "features": None if names is None else names.tolist(),
    }
    if isinstance(classifier, BinaryClassifier | SearchEnsemble):
        classes = classifier.classes_.tolist()
        card["pos_label"] = classes[positive_index(classifier.pos_label, classifier.classes_)]
        card["threshold"] = classifier._threshold_in_force()
        card["threshold_objective"] = _plain(classifier.threshold)
        card["training_log_loss"] = _training_loss(classifier)
        card["out_of_fold_log_loss"] = getattr(classifier, "oof_loss_", None)
    return {key: value for key, value in card.items() if value is not None}


def add_metadata(onnx_model: Any, model: Any) -> None:
    """Write versions and the model card into ``metadata_props``, as JSON."""
    by_domain = {each.domain or "ai.onnx": each.version for each in onnx_model.opset_import}
    opsets = dict(sorted(by_domain.items()))  # skl2onnx writes them in any order
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    values = {
        "versions": {"skbinary": __version__, **versions},
        "opset": opsets,
        "model_card": model_card(model),
    }
    for key, value in values.items():
        onnx_model.metadata_props.add(key=key, value=json.dumps(value))


def _describe(model: Any) -> str:
    """Return the names of the classes of a model, such as a pipeline's steps."""
    name = type(model).__name__
    if hasattr(model, "best_estimator_"):
        return f"{name}({_describe(model.best_estimator_)})"
    if hasattr(model, "steps"):
        return f"{name}({', '.join(_describe(step) for _, step in model.steps)})"
    return name


def _training_loss(classifier: Any) -> float | None:
    """Return the training loss of the weights that were kept, the mean over an ensemble."""
    if not isinstance(classifier, BinaryClassifier):
        return None
    state = classifier._fitted()
    pairs = zip(state.curves, state.best_epoch, strict=True)
    losses = [curves["loss"][epoch - 1] for curves, epoch in pairs if curves.get("loss")]
    return float(np.mean(losses)) if losses else None


def _plain(value: Any) -> Any:
    """Return a value of Python types that JSON has, with functions by their names."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return getattr(value, "__name__", str(value))
