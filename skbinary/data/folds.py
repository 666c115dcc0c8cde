"""Random, stratified splits of the training rows: hold-outs for early stopping, and folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.utils import check_random_state

from skbinary.data.checked import CheckedData, cached
from skbinary.data.labels import encode
from skbinary.data.weights import compute_class_weights

Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Fold:
    """The rows that a model is trained on, and those that are held out.

    Parameters
    ----------
    train : ndarray of int of shape (n_train_samples,)
        Positions of the rows that it is trained on.
    held_out : ndarray of int of shape (n_held_out_samples,)
        Positions of the rows that it is not trained on.
    """

    train: Positions
    held_out: Positions


@dataclass(frozen=True)
class SplittableRows:
    """The training rows of all processes that can be held out: those with a positive weight.

    Parameters
    ----------
    positions : ndarray of int of shape (n_splittable,)
        Positions among all training rows.
    target : ndarray of shape (n_splittable,)
        1 for the positive class, 0 for the other.
    groups : ndarray of int of shape (n_splittable,) or None
        Rows of one group are held out together.
    """

    positions: Positions
    target: NDArray[np.float64]
    groups: Positions | None

    @classmethod
    def from_data(
        cls, data: CheckedData, class_weight: Any, subset: Positions | None = None
    ) -> SplittableRows:
        """Find the rows with a positive weight, among a subset or among all training rows.

        A subset is of the rows of one process that holds all of them.
        """
        table = data.train
        positions = np.arange(len(table.y)) if subset is None else subset
        target = encode(table.y[positions], data.classes)
        if table.sample_weight is not None or class_weight is not None:
            weight = None if table.sample_weight is None else table.sample_weight[positions]
            class_weights = compute_class_weights(
                class_weight, data.classes, table.y[positions], weight
            )
            # Both are compared with zero, since the product of tiny weights may be rounded to it.
            has_weight = class_weights[target.astype(np.intp)] > 0
            has_weight &= True if weight is None else weight > 0
            positions, target = positions[has_weight], target[has_weight]
        groups = None if data.groups is None else data.groups[positions]
        if data.processes.is_one:
            return cls(positions, target, groups)
        # One byte for each row is sent: its class, or -1 for a row that cannot be held out.
        own = np.full(len(table.y), -1, dtype=np.int8)
        own[positions] = target
        together = data.processes.concatenate
        code = together(own)
        positions = np.flatnonzero(code >= 0)
        groups = None if groups is None else together(groups)
        return cls(positions, code[positions].astype(np.float64), groups)

    def hold_out(self, fraction: float, random_state: Any) -> Fold:
        """Draw a validation set for early stopping."""
        return self._to_fold(hold_out(self.target, self.groups, fraction, random_state))

    def folds(self, n_folds: int, seed: int) -> list[Fold]:
        """Split the rows into folds, each row into one."""
        return [self._to_fold(each) for each in folds(self.target, self.groups, n_folds, seed)]

    def max_folds(self) -> int:
        """Return the largest possible number of folds.

        This is the number of rows of the rarer class, or of groups that contain such a row.
        """
        return min(count_units(self.target, self.groups))

    def _to_fold(self, split: tuple[Positions, Positions]) -> Fold:
        train, held_out = split
        return Fold(self.positions[train], self.positions[held_out])


def draw_hold_out(data: CheckedData, class_weight: Any, fraction: float, random_state: Any) -> Fold:
    """Draw the validation set of early stopping, once for all models with the same random state.

    Parameters
    ----------
    data : CheckedData
    class_weight : None, "balanced" or dict
    fraction : float
        Fraction of the rows to hold out.
    random_state : RandomState
        Left in the state after the draw, also where the draw was cached.
    """

    def draw() -> tuple[Fold, Any]:
        rows = SplittableRows.from_data(data, class_weight)
        fold = rows.hold_out(fraction, random_state)
        return fold, random_state.get_state()

    _, state_words, position, *_ = random_state.get_state()
    key = ("hold-out", repr(class_weight), fraction, state_words.tobytes(), position)
    fold, state_after = cached(data, key, draw)
    random_state.set_state(state_after)
    return fold


def hold_out(
    target: NDArray[np.float64],
    groups: Positions | None,
    fraction: float,
    random_state: Any,
) -> tuple[Positions, Positions]:
    """Draw the validation set of early stopping.

    Without groups this is scikit-learn's ``train_test_split(stratify=y)``, order included, so that
    the same random state draws what ``MLPClassifier`` draws. If a class is so rare that one side
    would have none of its rows, that side gets one of them. With groups, groups are drawn instead
    of rows, stratified by whether they contain a row of the rarer class.

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
        units = "rows" if groups is None else "groups"
        raise ValueError(
            f"Early stopping must find two {units} of a class, one to train on and one to validate "
            "on, got one of each class. Pass X_val and y_val, or set early_stopping=False."
        )
    n_strata = len(np.unique(stratum[several]))
    n_held_out = int(np.clip(np.ceil(fraction * len(several)), n_strata, len(several) - n_strata))
    random_state = check_random_state(random_state)
    splitter = StratifiedShuffleSplit(1, test_size=n_held_out, random_state=random_state)
    train, held_out = (several[side] for side in next(splitter.split(several, stratum[several])))
    # A class may be so rare that its share of either side is less than a row.
    for missing in np.setdiff1d(stratum[several], stratum[held_out]):
        moved = random_state.choice(train[stratum[train] == missing])
        train, held_out = train[train != moved], np.append(held_out, moved)
    for missing in np.setdiff1d(stratum[several], stratum[train]):
        moved = random_state.choice(held_out[stratum[held_out] == missing])
        train, held_out = np.append(train, moved), held_out[held_out != moved]
    if groups is None:
        return np.append(train, np.flatnonzero(is_single)), held_out
    return _split_by_mask(target, np.isin(unit, held_out))


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
    fold_of_unit = np.empty(len(stratum), dtype=np.intp)
    for k, (_, held_out) in enumerate(splitter.split(stratum, stratum)):
        fold_of_unit[held_out] = k
    return [_split_by_mask(target, fold_of_unit[unit] == k) for k in range(n_folds)]


def count_units(target: NDArray[np.float64], groups: Positions | None) -> tuple[int, int]:
    """Count the rows of either class, or the groups that contain such a row."""
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


def _split_by_mask(
    target: NDArray[np.float64], is_held_out: NDArray[np.bool_]
) -> tuple[Positions, Positions]:
    train = np.flatnonzero(~is_held_out)
    if not 0 < np.count_nonzero(target[train]) < len(train):
        raise ValueError(
            "groups must leave both classes in the training set when some groups are held out, got "
            "a split that trains on one class only. Use more groups, or pass X_val and y_val."
        )
    return train, np.flatnonzero(is_held_out)
