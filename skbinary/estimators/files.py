"""The state of estimators for files: plain data, and the version that wrote it."""

from __future__ import annotations

import functools
import inspect
from dataclasses import MISSING, fields
from typing import Any

from sklearn import config_context
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.utils.metadata_routing import MetadataRequest

from skbinary.data.plain import from_plain, to_plain
from skbinary.estimators.module_state import FittedModule
from skbinary.estimators.state import FittedState
from skbinary.runtime.warnings import warn
from skbinary.version import __version__

VERSION_KEY = "_skbinary_version"
_REQUEST = "_metadata_request"  # which metadata the methods take, as scikit-learn keeps it
_FIELDS = {field.name: field for field in fields(FittedState)}


class VersionWarning(InconsistentVersionWarning):
    """An estimator was saved by another version of skbinary."""

    def __str__(self) -> str:
        return (
            f"The {self.estimator_name} was saved by skbinary {self.original_sklearn_version} and "
            f"is loaded by skbinary {self.current_sklearn_version}, so its predictions may differ. "
            "Fit it again, or load it with the version that saved it."
        )


def to_pickle(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator as plain data, with the version of this package.

    The fitted state becomes a dict, so that a pickle names public classes only.
    """
    attributes = {**to_plain(attributes), VERSION_KEY: __version__}
    state, request = attributes.get("_state"), attributes.get(_REQUEST)
    if isinstance(state, FittedState):
        values = state.as_dict()
        module = None if state.module is None else state.module.as_dict()
        attributes["_state"] = values | {"weights": to_plain(state.weights), "module": module}
    if isinstance(request, MetadataRequest):  # refers to the estimator
        methods = {name: getattr(each, "requests", None) for name, each in vars(request).items()}
        attributes[_REQUEST] = {name: dict(each) for name, each in methods.items() if each}
    return attributes


def from_pickle(kind: type, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator from plain data.

    Fields of the fitted state that this version does not know are left out, and parameters that
    the other version did not have get their defaults.

    Parameters
    ----------
    kind : type
        The estimator's class.
    attributes : dict
        What ``to_pickle`` returned, perhaps in another version.

    Raises
    ------
    ValueError
        If the fitted state lacks a field that this version requires.

    Warns
    -----
    InconsistentVersionWarning
        If another version of this package saved the estimator.
    """
    state = attributes.get("_state")
    attributes = from_plain({k: each for k, each in attributes.items() if k != "_state"})
    version = attributes.pop(VERSION_KEY, "of an unknown version")
    if version != __version__:
        warning = VersionWarning(
            estimator_name=kind.__name__,
            current_sklearn_version=__version__,
            original_sklearn_version=version,
        )
        warn(warning, VersionWarning)
    if isinstance(state, dict):
        attributes["_state"] = _fitted_state(kind.__name__, state, version)
    return attributes | {k: v for k, v in defaults(kind).items() if k not in attributes}


def restore_request(estimator: Any) -> None:
    """Turn a metadata request that ``to_pickle`` has made plain into one of scikit-learn."""
    if type(vars(estimator).get(_REQUEST)) is not dict:
        return
    methods = vars(estimator).pop(_REQUEST)
    with config_context(enable_metadata_routing=True):
        for name, requests in methods.items():
            getattr(estimator, f"set_{name}_request")(**requests)


@functools.cache
def defaults(kind: type) -> dict[str, Any]:
    """Return the default of each parameter."""
    parameters = inspect.signature(kind).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _fitted_state(estimator_name: str, values: dict[str, Any], version: str) -> FittedState:
    missing = [
        name
        for name, field in _FIELDS.items()
        if name not in values and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise ValueError(
            f"A saved {estimator_name} must have {', '.join(map(repr, missing))}, got one by "
            f"skbinary {version} without. Load it with that version, or fit the model again."
        )
    values = values | {"weights": from_plain(values["weights"])}
    if values.get("module") is not None:
        values["module"] = FittedModule.from_dict(values["module"])
    return FittedState(**{name: value for name, value in values.items() if name in _FIELDS})
