"""Pickles of estimators: plain data, and the version that wrote it."""

from __future__ import annotations

import warnings
from dataclasses import MISSING, fields
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

from skbinary.estimators.state import FittedState
from skbinary.version import __version__

_VERSION_KEY = "_skbinary_version"
_FIELDS = {field.name: field for field in fields(FittedState)}


class VersionWarning(InconsistentVersionWarning):
    """An estimator was pickled by another version of skbinary."""

    def __str__(self) -> str:
        return (
            f"The {self.estimator_name} was pickled by skbinary {self.original_sklearn_version} "
            f"and is unpickled by skbinary {self.current_sklearn_version}, so its predictions may "
            "differ. Fit it again, or load it with the version that pickled it."
        )


def to_pickle(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator as plain data, with the version of this package.

    The fitted state becomes a dict, so that a pickle names public classes only.
    """
    attributes = {**attributes, _VERSION_KEY: __version__}
    state = attributes.get("_state")
    if isinstance(state, FittedState):
        attributes["_state"] = state.as_dict()
    return attributes


def from_pickle(estimator_name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator from plain data.

    Fields of the fitted state that this version does not know are left out.

    Parameters
    ----------
    estimator_name : str
        Name of the estimator's class, for messages.
    attributes : dict
        What ``to_pickle`` returned, perhaps in another version.

    Raises
    ------
    ValueError
        If the fitted state lacks a field that this version requires.

    Warns
    -----
    InconsistentVersionWarning
        If another version of this package pickled the estimator.
    """
    attributes = dict(attributes)
    version = attributes.pop(_VERSION_KEY, "of an unknown version")
    if version != __version__:
        warnings.warn(
            VersionWarning(
                estimator_name=estimator_name,
                current_sklearn_version=__version__,
                original_sklearn_version=version,
            ),
            stacklevel=3,
        )
    state = attributes.get("_state")
    if isinstance(state, dict):
        attributes["_state"] = _fitted_state(estimator_name, state, version)
    return attributes


def _fitted_state(estimator_name: str, values: dict[str, Any], version: str) -> FittedState:
    missing = [
        name
        for name, field in _FIELDS.items()
        if name not in values and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise ValueError(
            f"A pickle of {estimator_name} must have {', '.join(map(repr, missing))}, got one by "
            f"skbinary {version} without. Load it with that version, or fit the model again."
        )
    return FittedState(**{name: value for name, value in values.items() if name in _FIELDS})
