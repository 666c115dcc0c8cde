"""What a pickle of an estimator holds: plain data, and the version that wrote it."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

from skbinary.estimators.state import FittedState
from skbinary.version import __version__

_VERSION_KEY = "_skbinary_version"


class VersionWarning(InconsistentVersionWarning):
    """A model was saved by another version of skbinary."""

    def __str__(self) -> str:
        return (
            f"This {self.estimator_name} was saved by skbinary {self.original_sklearn_version}, "
            f"and is loaded by skbinary {self.current_sklearn_version}. It may not predict as it "
            "did. Fit it anew, or load it with the version that saved it."
        )


def to_file(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator as plain data, with the version of this package.

    The fitted state becomes a dict, so that a file names public classes only.
    """
    attributes = {**attributes, _VERSION_KEY: __version__}
    state = attributes.get("_state")
    if isinstance(state, FittedState):
        attributes["_state"] = state.as_dict()
    return attributes


def from_file(estimator_name: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator from plain data.

    Warns
    -----
    InconsistentVersionWarning
        If another version of this package has written them.
    """
    attributes = dict(attributes)
    version = attributes.pop(_VERSION_KEY, "an unknown version")
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
        attributes["_state"] = FittedState(**state)
    return attributes
