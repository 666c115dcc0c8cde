"""Checks that the parts of a fitted classifier are valid and fit each other."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from skbinary.estimators.module_state import FittedModule
from skbinary.estimators.state import FittedState
from skbinary.export.json_values import DamagedFileError
from skbinary.models.activations import ACTIVATIONS
from skbinary.models.architecture import Architecture
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.solvers.result import StopReason

# What each optimizer keeps between calls of partial_fit, and what weight averages add.
_OPTIMIZER_STATES = ({"n_steps", "mean", "square", "n_seen"}, {"velocity", "n_seen"})
# The largest integer up to which a float64 holds all integers.
_LARGEST_INTEGER = 2**53
_AVERAGE_STATE = {"trained_weights", "n_averaged"}


def check_fitted(state: FittedState, n_features: Any, feature_names: Any) -> None:
    """Check the parts of a fitted classifier.

    Parameters
    ----------
    state : FittedState
        Its fields may hold anything.
    n_features : object
        ``n_features_in_``.
    feature_names : object
        ``feature_names_in_``, or None without names.

    Raises
    ------
    DamagedFileError
        If a part is not valid, or does not fit the others.
    """
    rules = _RULES if state.module is None else _RULES | _RULES_OF_MODULES
    for name, (rule, is_valid) in rules.items():
        value = getattr(state, name)
        _check(is_valid(value), name, rule, value)
    if state.module is None:
        n_models = _check_layers(state)
        _check_embedding(state, n_features)
        architecture: Architecture | ModuleArchitecture = state.architecture
    else:
        n_models, architecture = _check_module(state.module)
    for name in ("curves", "n_iter", "best_epoch", "stop_reason"):
        found = len(getattr(state, name))
        _check(found == n_models, name, f"one for each of the {n_models} models", found)
    expected = architecture.n_features
    is_equal = type(n_features) is int and n_features == expected > 0
    _check(is_equal, "n_features_in_", f"{expected}, as the weights have it", n_features)
    if feature_names is not None:
        are_names = _is_array(feature_names, "O", 1) and len(feature_names) == n_features
        are_names = are_names and all(type(each) is str for each in feature_names)
        _check(are_names, "feature_names_in_", f"{n_features} strings", feature_names)
    if state.optimizer_state is not None:
        _check_optimizer(state.optimizer_state, architecture.n_parameters)


def _check(is_valid: bool, what: str, rule: str, value: Any) -> None:
    if not is_valid:
        raise DamagedFileError(f"{what} must be {rule}, got {_describe(value)}")


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim > 1:
        return f"{value.dtype} of shape {value.shape}"
    if isinstance(value, tuple) and any(isinstance(each, np.ndarray) for each in value):
        return ", ".join(map(_describe, value))
    return reprlib.repr(value.tolist() if isinstance(value, np.ndarray) else value)


def _check_finite(values: Any, what: str) -> None:
    is_finite = np.isfinite(values)
    if not is_finite.all():
        _check(False, what, "finite numbers", float(values[~is_finite][0]))


def _check_layers(state: FittedState) -> int:
    """Check types and shapes of the weights and the biases, and return the number of models."""
    first = state.weights[0]
    ensemble, dtype = first.shape[:-2], first.dtype
    shapes = [each.shape for each in state.weights]
    for i, (name, array) in enumerate(_layers(state)):
        values = array.data if sp.issparse(array) else array
        _check_finite(values, name)
        _check(array.dtype == dtype, name, f"of type {dtype}, like coefs.0", array.dtype)
        _check(i > 0 or min(array.shape) > 0, name, "an array with values", array.shape)
    widths = [*(shape[-2] for shape in shapes[1:]), 1]
    for i, (shape, width) in enumerate(zip(shapes, widths, strict=True)):
        expected = (*ensemble, shape[-2], width)
        _check(shape == expected, f"coefs.{i}", f"an array of shape {expected}", shape)
    n_biases = len(state.biases)
    _check(n_biases in (0, len(shapes)), "intercepts", f"{len(shapes)} arrays or none", n_biases)
    for i, bias in enumerate(state.biases):
        expected = (*ensemble, widths[i])
        _check(
            bias.shape == expected, f"intercepts.{i}", f"an array of shape {expected}", bias.shape
        )
    n_hidden = len(shapes) - 1
    _check(len(state.dropout) == n_hidden, "dropout", f"{n_hidden} rates", state.dropout)
    return int(ensemble[0]) if ensemble else 1


def _check_module(fitted: FittedModule) -> tuple[int, ModuleArchitecture]:
    """Check the arrays of a module, and return the number of models and their architecture."""
    counts = {len(each) for each in fitted.arrays.values()} if fitted.is_ensemble else {1}
    _check(len(counts) == 1, "module.arrays", "arrays of the same number of models", counts)
    for name, array in fitted.arrays.items():
        if array.dtype.kind == "f":
            _check_finite(array, f"parameters.{name}")
    [n_models] = counts
    try:
        return n_models, fitted.check(n_models)
    except ValueError:
        raise ValueError(
            "module must have the parameters and buffers of the file, got "
            f"{fitted.builder.name} with other names or shapes. Pass the class that was fitted."
        ) from None


def _layers(state: FittedState) -> Iterator[tuple[str, Any]]:
    for i, each in enumerate(state.weights):
        yield f"coefs.{i}", each
    for i, each in enumerate(state.biases):
        yield f"intercepts.{i}", each


def _check_embedding(state: FittedState, n_features: Any) -> None:
    """Check the arrays of a periodic embedding, and that its columns are features."""
    arrays = state.embedding
    if arrays is None:
        return
    names = ["columns", "frequencies", "phases", "maps"]
    _check(list(arrays) == names, "embedding", f"the arrays {', '.join(names)}", list(arrays))
    columns, dtype, ensemble = (
        arrays["columns"],
        state.weights[0].dtype,
        state.weights[0].shape[:-2],
    )
    is_valid = _is_array(columns, "i", 1) and type(n_features) is int and len(columns) > 0
    is_valid = is_valid and all(a < b for a, b in pairwise([-1, *columns.tolist(), n_features]))
    _check(is_valid, "embedding.columns", "features in ascending order", columns)
    maps = arrays["maps"]
    expected = (*ensemble, len(columns), *np.shape(maps)[-2:])
    for name in names[1:]:
        array = arrays[name]
        shape = expected if name == "maps" else expected[:-1]
        fits = _is_array(array, "f", len(shape)) and (array.shape, array.dtype) == (shape, dtype)
        rule = f"{dtype} of shape {shape}"
        _check(fits and min(shape) > 0, f"embedding.{name}", rule, array)
        _check_finite(array, f"embedding.{name}")


def _check_optimizer(state: dict[str, Any], n_parameters: int) -> None:
    """Check the state of the optimizer and of the averages of weights."""
    names = set(state)
    is_known = names - _AVERAGE_STATE in _OPTIMIZER_STATES
    is_known &= names & _AVERAGE_STATE in (set(), _AVERAGE_STATE)
    _check(is_known, "optimizer_state", "that of Adam or SGD", sorted(names))
    for name, value in state.items():
        if name.startswith("n_"):
            _check(_is_count(value), f"optimizer_state.{name}", "a number of steps or rows", value)
            continue
        fits = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        fits = fits and value.size == n_parameters
        rule = f"numbers, one for each of the {n_parameters} weights and biases"
        _check(fits, f"optimizer_state.{name}", rule, value)
        _check_finite(value, f"optimizer_state.{name}")


def _is_array(value: Any, kinds: str, n_dims: int | None = None) -> bool:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds:
        return False
    return n_dims in (None, value.ndim)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any, low: float, high: float) -> bool:
    is_number = isinstance(value, float | int | np.floating) and not isinstance(value, bool)
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return False
    return is_number and low <= value <= high


def _are_classes(value: Any) -> bool:
    if not _is_array(value, "biufUO", 1) or len(value) != 2:
        return False
    first, second = value.tolist()
    try:
        return bool(first < second)
    except TypeError:
        return False


def _are_weights(value: Any) -> bool:
    if not isinstance(value, tuple) or not value:
        return False
    if len(value) == 1 and sp.issparse(value[0]):
        return value[0].dtype in (np.float32, np.float64)
    dims = {each.ndim if _is_array(each, "f") else 0 for each in value}
    return dims in ({2}, {3}) and value[0].dtype.itemsize in (4, 8)


def _are_curves(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(each, dict)
        and isinstance(each.get("loss"), list)
        and all(isinstance(curve, list) for curve in each.values())
        and all(_is_number(loss, -math.inf, math.inf) for loss in each["loss"])
        for each in value
    )


def _is_threshold_curve(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or not all(_is_array(each, "f", 1) for each in value.values()):
        return False
    return "threshold" in value and len({len(each) for each in value.values()}) == 1


def _is_objective(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(each, Real | str) for each in value.values())
    # A function is replaced when the model is saved, and JSON holds none.
    return value is None or isinstance(value, Real | str) or callable(value)


def _is_device(value: Any) -> bool:
    try:
        return type(value) is str and bool(torch.device(value))
    except RuntimeError:
        return False


def _is_tuple_of(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(is_valid, value))


def _are_module_fields(value: Any) -> bool:
    """Check types; ``_check_module`` checks whether the arrays are those of the module."""
    if not isinstance(value, FittedModule):
        return False
    arrays, shape = value.arrays, value.builder.sample_shape
    return (
        type(value.is_ensemble) is bool
        and _is_count(value.values_per_row)
        and isinstance(value.builder.arguments, dict)
        and isinstance(arrays, dict)
        and len(arrays) > 0
        and all(_is_array(each, "biuf") for each in arrays.values())
        and all(each.ndim > 0 or not value.is_ensemble for each in arrays.values())
        and isinstance(shape, tuple)
        and all(map(_is_count, shape))
    )


_REASONS = (None, *map(str, StopReason))
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "classes": ("two different labels in sorted order", _are_classes),
    "weights": ("matrices of float32 or float64, one for each layer", _are_weights),
    "biases": ("arrays of numbers", _is_tuple_of(lambda each: _is_array(each, "f"))),
    "activation": ("an activation function", lambda v: type(v) is str and v in ACTIVATIONS),
    "dropout": ("rates in [0, 1)", _is_tuple_of(lambda v: _is_number(v, 0, 1) and v < 1)),
    "module": ("None", lambda v: v is None),
    "solver": ("a string", lambda v: type(v) is str),
    "device": ("the name of a device", _is_device),
    "curves": ("lists of numbers by name, with 'loss', for each model", _are_curves),
    "n_iter": ("numbers of epochs", _is_tuple_of(_is_count)),
    "best_epoch": ("numbers of epochs", _is_tuple_of(_is_count)),
    "stop_reason": ("reasons or None", _is_tuple_of(lambda v: v is None or v in _REASONS)),
    "stopped_early": ("True or False", lambda v: type(v) is bool),
    "n_seen": ("a number of rows", _is_count),
    "threshold": ("a number in [0, 1]", lambda v: _is_number(v, 0, 1)),
    "threshold_parameter": ("a number, a string or a dict of them, or None", _is_objective),
    "pos_label_parameter": ("a label, or None", lambda v: v is None or isinstance(v, Real | str)),
    "threshold_curve": ("arrays of one length, with 'threshold', or None", _is_threshold_curve),
    "threshold_interval": (
        "two numbers in [0, 1], or None",
        lambda v: v is None or (_is_tuple_of(lambda x: _is_number(x, 0, 1))(v) and len(v) == 2),
    ),
    "oof_logits": ("an array of numbers, or None", lambda v: v is None or _is_array(v, "f", 1)),
    "oof_loss": ("a number, or None", lambda v: v is None or _is_number(v, 0, math.inf)),
    "temperature": (
        "a number above 0",
        lambda v: _is_number(v, 0, math.inf) and 0 < v < math.inf,
    ),
    "embedding": ("arrays by name, or None", lambda v: v is None or isinstance(v, dict)),
    "optimizer_state": ("arrays by name, or None", lambda v: v is None or isinstance(v, dict)),
}
# A module of the user has no layers of its own kinds.
_RULES_OF_MODULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "weights": ("()", lambda v: v == ()),
    "biases": ("()", lambda v: v == ()),
    "activation": ("an empty string", lambda v: v == ""),
    "dropout": ("()", lambda v: v == ()),
    "embedding": ("None", lambda v: v is None),
    "module": ("arrays by name, with the arguments of the module", _are_module_fields),
}
