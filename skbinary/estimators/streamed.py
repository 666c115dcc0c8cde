"""Fits and predictions on tables that are read in parts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbinary.data.checked import CheckedData
from skbinary.data.reservoir import Kept
from skbinary.data.scan import Scan, scan
from skbinary.data.sources import is_source
from skbinary.data.streamed_hold_out import HoldOut
from skbinary.data.streamed_table import as_matrix, open_table
from skbinary.data.validation import NamedColumns, check_data
from skbinary.estimators.recipe import MINIBATCH_SOLVERS, draw_seed, make_random_state

Given = tuple[Any, Any, Any]
_NO_ROWS = "X must have rows, got a table without any. Check the source."


def is_streamed(X: Any, y: Any) -> bool:
    """Whether the rows for a fit are read from a source, in which `y` names a column."""
    return is_source(X) and isinstance(y, str)


def check_streamed(
    estimator: Any, table: Given, validation: Given, *, reset: bool, groups: Any = None
) -> CheckedData:
    """Check a table that is read in parts, by a first pass over it.

    Parameters
    ----------
    estimator : BinaryClassifier
        Its parameters are valid. Its ``n_features_in_`` and ``feature_names_in_`` are set if
        `reset`, and compared otherwise.
    table : tuple of (X, y, sample_weight)
        The table, and the names of columns.
    validation : tuple of (X, y, sample_weight)
        Arrays, or another table and names of its columns, or three times None.
    reset : bool
        Whether the features are new to the estimator.
    groups : str or None, default=None
        The name of a column.

    Returns
    -------
    CheckedData
        The whole table if it is small. Otherwise its training rows are a sample, and without
        `validation` the validation rows are those that were held out.
    """
    X, y, sample_weight = table
    kind = type(estimator).__name__
    opened = open_table(X, {"y": y, "sample_weight": sample_weight, "groups": groups})
    opened = replace(opened, log=estimator.verbose > 0)
    found = scan(opened, kind, _hold_out(estimator, validation))
    validation = _read_validation(kind, validation, opened.features)
    rows = (_named(found, found.sample), *_labels(found.sample))
    if found.is_complete:
        return check_data(
            estimator, rows, validation, reset=reset, groups=found.sample.roles.get("groups")
        )
    _check_parameters(estimator)
    if found.held_out is not None:
        validation = (_named(found, found.held_out), *_labels(found.held_out))
    data = check_data(estimator, rows, validation, reset=reset, classes=found.classes)
    return replace(data, given=X, stream=found)


def _hold_out(estimator: Any, validation: Given) -> HoldOut | None:
    """Return the rows to hold out: for early stopping, or to choose a threshold on."""
    early = estimator.early_stopping
    stops_early = estimator.solver in MINIBATCH_SOLVERS if early == "auto" else bool(early)
    if validation[0] is not None or not (stops_early or not isinstance(estimator.threshold, Real)):
        return None
    # Of a copy, so that a table that is fitted as an array has the same random numbers as one.
    seed = draw_seed(make_random_state(copy.deepcopy(estimator.random_state)))
    return HoldOut(estimator.validation_fraction, seed)


def _read_validation(kind: str, validation: Given, features: list[str]) -> Given:
    """Read validation rows from their table, if they are in one: a sample of many."""
    X, y, sample_weight = validation
    if not is_streamed(X, y):
        return validation
    roles = {"y": y, "sample_weight": sample_weight}
    found = scan(open_table(X, roles, "_val", features=features), kind)
    return (_named(found, found.sample), *_labels(found.sample))


def _named(found: Scan, kept: Kept) -> NamedColumns:
    return NamedColumns(kept.X, found.table.features)


def _labels(kept: Kept) -> tuple[NDArray[Any], NDArray[Any] | None]:
    return kept.roles["y"], kept.roles.get("sample_weight")


def _check_parameters(estimator: Any) -> None:
    """Check that a model can be trained by passes over a table."""
    advice = "Pass a sample of the rows as a data frame, or raise the memory of Streamed."
    if getattr(estimator, "n_members", 1) != 1:
        raise ValueError(
            "n_members must be 1 for a table that is larger than memory, got "
            f"{estimator.n_members}. {advice}"
        )
    if estimator.callbacks:
        raise ValueError(
            "callbacks must be None for a table that is larger than memory, since skorch's "
            f"callbacks see all rows, got {len(estimator.callbacks)}. {advice}"
        )
    if estimator.solver == "lbfgs" and hasattr(estimator, "hidden_layer_sizes"):
        raise ValueError(
            "solver must be 'adam' or 'sgd' for a network on a table that is larger than memory, "
            f"got 'lbfgs'. {advice}"
        )


def read_labels(
    features: NDArray[np.object_], X: Any, y: str, sample_weight: Any
) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
    """Read the labels and the weights of a table in its order, without its features.

    Parameters
    ----------
    features : ndarray of str
        The features of the fitted model.
    X : Streamed or source
    y : str
        The column of the labels.
    sample_weight : str or None
        The column of the weights.
    """
    roles = {"y": y, "sample_weight": sample_weight}
    table = open_table(X, roles, features=features.tolist())
    names = list(dict.fromkeys(table.roles.values()))
    parts = [columns for _, _, columns in table.read(names=names)]
    if not parts:
        raise ValueError(_NO_ROWS)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return joined[y], None if sample_weight is None else joined[sample_weight]


def score_source(
    features: NDArray[np.object_], X: Any, score: Callable[[Any], NDArray[Any]]
) -> NDArray[Any]:
    """Score the rows of a table, one chunk at a time.

    Parameters
    ----------
    features : ndarray of str
        The features of the fitted model.
    X : Streamed or source
    score : callable(rows) -> ndarray of shape (n_samples, ...)

    Returns
    -------
    ndarray of shape (n_samples, ...)
        The scores in the order of the table.
    """
    table = open_table(X, {}, features=features.tolist())
    scores = [
        score(NamedColumns(as_matrix(columns, table.features, table.dtype), table.features))
        for _, _, columns in table.read(names=table.features)
    ]
    if not scores:
        raise ValueError(_NO_ROWS)
    return np.concatenate(scores)
