"""Fitted classifiers in files of safetensors, which run no code when they are loaded."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import sklearn
import torch
from sklearn.utils.validation import check_is_fitted

from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.files import VERSION_KEY, defaults
from skbinary.estimators.logistic import TorchLogisticClassifier
from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.estimators.module import TorchModuleClassifier
from skbinary.estimators.module_parameters import PREFIX
from skbinary.estimators.state import FittedState
from skbinary.export.fitted_checks import check_fitted
from skbinary.export.json_values import (
    CONTENT_ERRORS,
    DamagedFileError,
    Tensors,
    decode,
    encode,
    encode_labels,
)
from skbinary.export.safetensors_module import MODULE_PARAMETERS, encode_module, give_module
from skbinary.runtime.optional import require
from skbinary.version import __version__

_HEADER = "skbinary"
_FORMAT = 1
_ENTRIES = ("format_version", "class", "versions", "parameters", "features", "fitted")
_CLASSES: dict[str, type[BinaryClassifier]] = {
    "TorchLogisticClassifier": TorchLogisticClassifier,
    "TorchMLPClassifier": TorchMLPClassifier,
    "TorchModuleClassifier": TorchModuleClassifier,
}
# How the tensors of a field are named, where that is not the field's own name.
_TENSOR_NAMES = {"weights": "coefs", "biases": "intercepts"}
_FEATURES = ("n_features_in_", "feature_names_in_", "sample_shape_")


def save_file(model: Any, path: str | os.PathLike[str]) -> None:
    """Save a fitted classifier in a file of safetensors.

    The weights are tensors: ``coefs.0``, ``intercepts.0`` and so on, with a leading axis for the
    networks of an ensemble. The other arrays are tensors, too: ``embedding.frequencies``,
    ``oof_logits``, ``threshold_curve.score``, ``optimizer_state.mean``. Those of a module of your
    own are ``parameters.`` and their names. All else is JSON in the header, under ``"skbinary"``:
    the class, the parameters, the labels, the names of the features, the curves, and the versions
    of the libraries.

    Parameters
    ----------
    model : TorchLogisticClassifier, TorchMLPClassifier or TorchModuleClassifier
        A fitted classifier, also an ensemble or one with sparse coefficients. Callbacks that
        ``set_callbacks`` has set and metadata requests are not saved. Of a module of your own the
        name of its class is saved, but no code.
    path : str or path-like
        The file. It is replaced in one step when all is written.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    TypeError
        If the model is of another class, such as a pipeline or a search.
    ValueError
        If a parameter is an object that JSON cannot hold, such as a function or a callback. Nothing
        is written then.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.

    See Also
    --------
    load_file : Load the file.

    Examples
    --------
    >>> from skbinary import TorchLogisticClassifier
    >>> from skbinary.export.safetensors import load_file, save_file
    >>> model = TorchLogisticClassifier().fit([[-1.0], [1.0]], ["no", "yes"])
    >>> save_file(model, "model.safetensors")  # doctest: +SKIP
    >>> load_file("model.safetensors").predict([[2.0]])  # doctest: +SKIP
    array(['yes'], dtype='<U3')
    """
    safetensors = require("safetensors.numpy", "safetensors", "save_file")
    if type(model) not in _CLASSES.values():
        raise TypeError(
            f"model must be one of {', '.join(_CLASSES)} to be saved with safetensors, got "
            f"{type(model).__name__}. {_advice(model)}"
        )
    check_is_fitted(model)
    model._validate_params()
    tensors: Tensors = {}
    header = _header(model, tensors)
    try:
        check_fitted(model._state, model.n_features_in_, getattr(model, "feature_names_in_", None))
    except DamagedFileError as error:
        raise ValueError(f"{error}. Fit the model again.") from None
    text = json.dumps(header, allow_nan=False)
    _write(safetensors.save(tensors, {_HEADER: text}), Path(os.path.realpath(path)))


def load_file(path: str | os.PathLike[str], *, module: Any = None) -> Any:
    """Load a classifier that ``save_file`` has saved.

    No code of the file is run: its class is one of three, and all that it holds is checked.

    Parameters
    ----------
    path : str or path-like
        The file.
    module : class, callable or torch.nn.Module, default=None
        The parameter ``module`` of a ``TorchModuleClassifier``, which the file does not hold.

    Returns
    -------
    TorchLogisticClassifier, TorchMLPClassifier or TorchModuleClassifier
        The fitted classifier: its parameters, predictions and fitted attributes are equal to those
        of the saved one.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    ValueError
        If the file is damaged, or was not written by ``save_file``. If the file needs a module and
        none is given, or one with other parameters.

    Warns
    -----
    InconsistentVersionWarning
        If another version of skbinary saved the file.

    See Also
    --------
    save_file : Save a classifier.

    Examples
    --------
    >>> from skbinary.export.safetensors import load_file
    >>> model = load_file("model.safetensors")  # doctest: +SKIP
    """
    require("safetensors", "safetensors", "load_file")
    try:
        header, tensors = _read(path)
        return _build(header, tensors, module)
    except (DamagedFileError, RecursionError) as error:
        raise ValueError(
            f"{error} in {os.fspath(path)!r}. Save the model again, or load another file."
        ) from None


def _advice(model: Any) -> str:
    if hasattr(model, "to_local"):
        return "Save the classifier that its to_local() returns."
    if isinstance(model, BinaryClassifier):
        return "Save a subclass with skops."
    if hasattr(model, "best_estimator_") or hasattr(model, "cv_results_"):
        return "Save it with skops, or save the classifier in its best_estimator_."
    if hasattr(model, "steps"):
        return "Save it with skops, or save its last step, model[-1]."
    return "Save it with skops."


def _header(model: Any, tensors: Tensors) -> dict[str, Any]:
    """Return all of a fitted classifier but its arrays, which become tensors."""
    attributes = BinaryClassifier.__getstate__(model)  # also of a class that has no public name
    parameters = {}
    for name, value in _saved_parameters(model, attributes).items():
        try:
            parameters[name] = encode(value, f"parameters.{name}", tensors)
        except TypeError:
            raise ValueError(
                f"{name} must be a value that JSON can hold to save a {type(model).__name__} with "
                f"safetensors, got {model.get_params(deep=False)[name]!r}. "
                f"{_replacement(model, name)} or save the model with skops."
            ) from None
    return {
        "format_version": _FORMAT,
        "class": type(model).__name__,
        "versions": _versions(),
        "parameters": parameters,
        "features": {
            name: encode(attributes[name], name, tensors)
            for name in _FEATURES
            if name in attributes
        },
        "fitted": _encode_state(attributes["_state"], tensors),
    }


def _versions() -> dict[str, str]:
    return {
        "skbinary": __version__,
        "torch": str(torch.__version__),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
    }


def _saved_parameters(model: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that a file holds: all but the module."""
    kind: type = type(model)
    own = {name: attributes[name] for name in defaults(kind)}
    return own | attributes.get(MODULE_PARAMETERS, {})


def _replacement(model: Any, name: str) -> str:
    """Return what to do about a parameter that cannot be saved."""
    kind: type = type(model)
    if name.startswith(PREFIX):
        return "Fit the model with another value,"
    value = model.threshold_ if name == "threshold" else defaults(kind)[name]
    return f"Set another one with set_params, such as {name}={value!r},"


def _encode_state(state: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    for name, value in state.items():
        try:
            if name == "classes":
                encoded[name] = encode_labels(value)
            elif name == "module" and value is not None:
                encoded[name] = encode_module(value, tensors)
            else:
                encoded[name] = encode(value, _TENSOR_NAMES.get(name, name), tensors)
        except TypeError as error:
            if name != "threshold_parameter":
                raise ValueError(
                    f"The fitted {name} must hold numbers, strings and booleans to save the model "
                    f"with safetensors, got another object ({error}). Save the model with skops."
                ) from None
            # A function. It is no longer the threshold parameter, which could be encoded.
            encoded[name] = None
    return encoded


def _write(data: bytes, path: Path) -> None:
    """Write a file beside its place first, so that there is never half of it."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Tensors]:
    """Return the JSON and the tensors of a file."""
    safetensors = require("safetensors", "safetensors", "load_file")
    with Path(path).open("rb"):
        pass  # the system's own errors name the file
    try:
        with safetensors.safe_open(path, framework="np") as file:
            header = _parse(file.metadata() or {})
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise DamagedFileError(
            f"The file must be a complete one of safetensors, got one with an error ({error})"
        ) from None
    except (AttributeError, TypeError) as error:
        raise DamagedFileError(f"Tensors must have types of NumPy, got others ({error})") from None


def _parse(metadata: dict[str, str]) -> dict[str, Any]:
    """Return the JSON of the header."""
    if _HEADER not in metadata:
        raise DamagedFileError(
            f"The header must have the entry {_HEADER!r} of save_file, got {sorted(metadata)}"
        )
    try:
        header = json.loads(metadata[_HEADER], parse_constant=_refuse_constant)
    except ValueError as error:
        raise DamagedFileError(f"The header must be JSON, got an error ({error})") from None
    found = header.get("format_version") if isinstance(header, dict) else None
    if type(found) is not int or not 1 <= found <= _FORMAT:
        raise DamagedFileError(
            f"The format version must be {_FORMAT}, which skbinary {__version__} can read, got "
            f"{found!r}"
        )
    _check_names("The header", header, set(_ENTRIES), set(_ENTRIES))
    if header["class"] not in list(_CLASSES):
        raise DamagedFileError(
            f"The class must be one of {list(_CLASSES)}, got {header['class']!r}"
        )
    return header


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _check_names(what: str, found: Any, required: set[str], allowed: set[str]) -> None:
    if not isinstance(found, dict):
        raise DamagedFileError(f"{what} must be entries by name, got {type(found).__name__}")
    missing, unknown = required - found.keys(), found.keys() - allowed
    if missing or unknown:
        names = ", ".join(sorted(missing or unknown))
        raise DamagedFileError(
            f"{what} must have {'all' if missing else 'only known'} entries, got "
            f"{'no ' if missing else ''}{names}"
        )


def _build(header: dict[str, Any], tensors: Tensors, module: Any) -> BinaryClassifier:
    """Return the classifier of the JSON and the tensors of a file, and a module."""
    kind: Any = _CLASSES[header["class"]]
    parameters, features, fitted = (
        decode(header[name], tensors) for name in ("parameters", "features", "fitted")
    )
    _check_names("The versions", header["versions"], {"skbinary"}, set(_versions()))
    saved_by = str(header["versions"]["skbinary"])
    # Another version may have had fewer parameters and fields, whose defaults are then right.
    names, known = set(defaults(kind)), {field.name for field in fields(FittedState)}
    is_same, attributes = saved_by == __version__, {}
    if kind is TorchModuleClassifier:
        attributes = give_module(parameters, fitted, module)
    _check_names("The parameters", parameters, names if is_same else set(), names)
    _check_names("The features", features, {"n_features_in_"}, set(_FEATURES))
    _check_names("The fitted state", fitted, known if is_same else set(), known)
    attributes |= {**parameters, **features, "_state": fitted, VERSION_KEY: saved_by}
    model = kind.__new__(kind)
    try:
        model.__setstate__(attributes)
    except CONTENT_ERRORS as error:
        raise DamagedFileError(f"The entries must be valid, got an error ({error})") from None
    try:
        model._validate_params()
    except (TypeError, ValueError) as error:
        raise DamagedFileError(f"The parameters must be valid, got an error ({error})") from None
    check_fitted(model._state, model.n_features_in_, getattr(model, "feature_names_in_", None))
    return model
