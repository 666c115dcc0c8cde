"""Pickles of estimators: plain data, and the version that wrote it."""

from __future__ import annotations

import functools
import inspect
import warnings
from dataclasses import MISSING, fields
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

from skbinary.data.plain import from_plain, to_plain
from skbinary.estimators.state import FittedState
from skbinary.version import __version__

_VERSION_KEY = "_skbinary_version"
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
    attributes = {**to_plain(attributes), _VERSION_KEY: __version__}
    state = attributes.get("_state")
    if isinstance(state, FittedState):
        attributes["_state"] = state.as_dict()
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
    version = attributes.pop(_VERSION_KEY, "of an unknown version")
    if version != __version__:
        warnings.warn(
            VersionWarning(
                estimator_name=kind.__name__,
                current_sklearn_version=__version__,
                original_sklearn_version=version,
            ),
            stacklevel=3,
        )
    if isinstance(state, dict):
        attributes["_state"] = _fitted_state(kind.__name__, state, version)
    return attributes | {k: v for k, v in _defaults(kind).items() if k not in attributes}


@functools.cache
def _defaults(kind: type) -> dict[str, Any]:
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
    return FittedState(**{name: value for name, value in values.items() if name in _FIELDS})
