"""Encode categories by their position, or by the share of the positive class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import TargetEncoder
from sklearn.utils import check_random_state

from skbinary.preprocessing.columns import Column

# What stands for each category, and for all others.
Lookup = tuple[dict[str | None, Any], Any]

_N_FOLDS = 5  # as in scikit-learn's TargetEncoder
_MIN_WORDS = 5  # of a text, on average; names and keys have fewer
_MIN_TEXTS = 10  # in fewer rows, one cannot know
_IDENTIFIER_FRACTION = 0.95  # distinct values among those that are not missing


def look_up(column: Column, lookup: Lookup) -> NDArray[Any]:
    """Return what stands for the category of each row.

    Parameters
    ----------
    column : Column
        A column of categories, or one that is entirely missing.
    lookup : Lookup

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    known, other = lookup
    return np.array([known.get(label, other) for label in column.labels])[column.values]


def find_frequent(column: Column, min_frequency: float, max_categories: int) -> Lookup:
    """Number the frequent categories of a column in sorted order, with missing values last.

    Parameters
    ----------
    column : Column
    min_frequency : int or float
        Categories with fewer rows, or a smaller fraction of the rows, are infrequent.
    max_categories : int
        Largest number of categories, including one for all infrequent ones.

    Returns
    -------
    Lookup
        The position of each frequent category, and of all others: -1 if none is infrequent.
    """
    counts = np.bincount(column.values, minlength=len(column.labels)).tolist()
    min_count = min_frequency * len(column.values) if min_frequency < 1 else min_frequency
    frequent = [
        (-count, label is None, label)
        for count, label in zip(counts, column.labels, strict=True)
        if count >= min_count
    ]
    if len(frequent) > max_categories:
        frequent = sorted(frequent)[: max_categories - 1]
    known = {label: i for i, (_, label) in enumerate(sorted(each[1:] for each in frequent))}
    return known, len(known) if len(known) < len(counts) else -1


def has_texts(column: Column) -> bool:
    """Check whether the values of a column are texts, rather than categories."""
    labels = [label for label in column.labels if label is not None]
    n_words = sum(label.count(" ") + 1 for label in labels)
    many = len(labels) >= max(_MIN_TEXTS, _count_present(column) / 2)
    return many and n_words >= _MIN_WORDS * len(labels)


def has_identifiers(column: Column) -> bool:
    """Check whether the values of a column are nearly all distinct."""
    n_distinct = len(column.labels) - (None in column.labels)
    return n_distinct > _IDENTIFIER_FRACTION * _count_present(column)


def cross_fit(
    columns: list[Column], target: NDArray[np.float64], random_state: Any
) -> tuple[list[Lookup], NDArray[np.float64]]:
    """Encode categories by the smoothed share of the positive class.

    Parameters
    ----------
    columns : list of Column
    target : ndarray of shape (n_samples,)
        1 for the positive class, 0 for the other.
    random_state : int, RandomState instance or None
        Draws the folds.

    Returns
    -------
    lookups : list of Lookup
        The encoding of each category, computed from all rows.
    encoded : ndarray of shape (n_samples, n_columns)
        The encoding of each row, computed from the rows of the other folds.
    """
    codes = np.column_stack([column.values for column in columns])
    folds = _draw_folds(target, random_state)
    encoded = np.empty(codes.shape)
    for fold in range(folds.max() + 1):
        held_out = folds == fold
        encoder = _fit_target_encoder(codes[~held_out], target[~held_out])
        encoded[held_out] = encoder.transform(codes[held_out])
    encoder = _fit_target_encoder(codes, target)
    mean = float(encoder.target_mean_)
    lookups: list[Lookup] = [
        (dict(zip(column.labels, encodings.tolist(), strict=True)), mean)
        for column, encodings in zip(columns, encoder.encodings_, strict=True)
    ]
    return lookups, encoded


def _count_present(column: Column) -> int:
    if None not in column.labels:
        return len(column.values)
    return int((column.values != column.labels.index(None)).sum())


def _fit_target_encoder(codes: NDArray[np.intp], target: NDArray[np.float64]) -> TargetEncoder:
    # Of a binary target, TargetEncoder would encode the first label if a fold has only one.
    return TargetEncoder(target_type="continuous").fit(codes, target)


def _draw_folds(target: NDArray[np.float64], random_state: Any) -> NDArray[np.intp]:
    """Assign each row to a fold at random, stratified by class."""
    if random_state is None:  # NumPy's global state is not changed
        random_state = np.random.RandomState(np.random.default_rng().integers(2**32))
    order = check_random_state(random_state).permutation(len(target))
    order = order[np.argsort(target[order], kind="stable")]
    folds = np.empty(len(target), dtype=np.intp)
    folds[order] = np.arange(len(target)) % _N_FOLDS
    return folds
