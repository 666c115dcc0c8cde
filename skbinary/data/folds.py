"""Random, stratified splits of a table: the hold-out of early stopping, and folds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.utils import check_random_state

Positions = NDArray[np.intp]


def hold_out(
    target: NDArray[np.float64],
    groups: Positions | None,
    fraction: float,
    random_state: Any,
) -> tuple[Positions, Positions]:
    """Draw the validation set of early stopping.

    Without groups this is scikit-learn's ``train_test_split(stratify=y)``, order included, so that
    the same random state draws what ``MLPClassifier`` draws. Only of a class so rare that one side
    would have none of its rows, that side gets one. With groups, groups are drawn instead of rows,
    stratified by whether they contain a row of the rarer class.

    Parameters
    ----------
    target : ndarray of shape (n_samples,)
        1 for the positive class, 0 for the other.
    groups : ndarray of int of shape (n_samples,) or None
        Rows of one group stay together.
    fraction : float
        Fraction of the rows, or of the groups, to hold out, between 0 and 1.
    random_state : RandomState or int

    Returns
    -------
    train, validation : ndarray of int
        Positions of the rows.

    Raises
    ------
    ValueError
        If no class has two rows (or groups), or the training set would lack a class.
    """
    unit, stratum = _units(target, groups)
    # A class with a single row is trained on.
    is_single = np.bincount(stratum, minlength=2)[stratum] == 1
    several = np.flatnonzero(~is_single)
    if not len(several):
        what = "rows" if groups is None else "groups"
        raise ValueError(
            f"Early stopping must find two {what} of a class, one to train on and one to validate "
            "on, got one of each class. Pass X_val and y_val, or set early_stopping=False."
        )
    n_strata = len(np.unique(stratum[several]))
    n_held = int(np.clip(np.ceil(fraction * len(several)), n_strata, len(several) - n_strata))
    random_state = check_random_state(random_state)
    splitter = StratifiedShuffleSplit(1, test_size=n_held, random_state=random_state)
    train, held = (several[part] for part in next(splitter.split(several, stratum[several])))
    # A class may be so rare that its share of either side is less than a row.
    for missing in np.setdiff1d(stratum[several], stratum[held]):
        one = random_state.choice(train[stratum[train] == missing])
        train, held = train[train != one], np.append(held, one)
    for missing in np.setdiff1d(stratum[several], stratum[train]):
        one = random_state.choice(held[stratum[held] == missing])
        train, held = np.append(train, one), held[held != one]
    if groups is None:
        return np.append(train, np.flatnonzero(is_single)), held
    return _parted(target, np.isin(unit, held))


def folds(
    target: NDArray[np.float64],
    groups: Positions | None,
    n_folds: int,
    random_state: Any,
) -> list[tuple[Positions, Positions]]:
    """Split the rows into folds, stratified by class.

    Parameters
    ----------
    target, groups, random_state
        As in ``hold_out``.
    n_folds : int
        At least 2, and at most the smaller of the numbers that ``count_units`` returns.

    Returns
    -------
    list of (train, held_out)
        Positions of the rows, ascending. Each row is held out once.

    Raises
    ------
    ValueError
        If the training set of a fold would lack a class.
    """
    unit, stratum = _units(target, groups)
    if np.bincount(stratum, minlength=2).min() < n_folds:
        stratum = np.zeros_like(stratum)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    dealt = np.empty(len(stratum), dtype=np.intp)
    for k, (_, held) in enumerate(splitter.split(stratum, stratum)):
        dealt[held] = k
    return [_parted(target, dealt[unit] == k) for k in range(n_folds)]


def count_units(target: NDArray[np.float64], groups: Positions | None) -> tuple[int, int]:
    """Count the rows of either class, or the groups that contain one."""
    if groups is None:
        n_positive = int(np.count_nonzero(target))
        return len(target) - n_positive, n_positive
    return len(np.unique(groups[target == 0])), len(np.unique(groups[target != 0]))


def _units(target: NDArray[np.float64], groups: Positions | None) -> tuple[Any, Positions]:
    """Number the units that are split, rows or groups, and assign them to strata.

    Returns
    -------
    unit : slice or ndarray of int of shape (n_samples,)
        The row or group that each row belongs to.
    stratum : ndarray of int of shape (n_units,)
        Class of the row, or whether the group contains a row of the rarer class.
    """
    if groups is None:
        return slice(None), target.astype(np.intp)
    names, unit = np.unique(groups, return_inverse=True)
    is_rare = target == float(np.mean(target) <= 0.5)
    stratum = np.zeros(len(names), dtype=np.intp)
    stratum[unit[is_rare]] = 1
    return unit, stratum


def _parted(target: NDArray[np.float64], is_held: NDArray[np.bool_]) -> tuple[Positions, Positions]:
    train = np.flatnonzero(~is_held)
    if not 0 < np.count_nonzero(target[train]) < len(train):
        raise ValueError(
            "groups must leave both classes in the training set when some groups are held out, got "
            "a split that trains on one class only. Use more groups, or pass X_val and y_val."
        )
    return train, np.flatnonzero(is_held)
