"""From a user's table to a Problem: checked, encoded, weighed, split, on a device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from skbinary.data.compressed import CompressedRows, can_pay, compress
from skbinary.data.dataset import Dataset
from skbinary.data.duplicates import merge_duplicates
from skbinary.data.folds import count_units, folds, hold_out
from skbinary.data.rows import DenseRows, Rows
from skbinary.data.scales import scale_difference
from skbinary.data.validation import (
    as_rows,
    as_tensor,
    check_groups,
    check_labels,
    check_rows,
    check_weight,
    encode,
    scale_weights,
    two_classes,
    weigh_classes,
)
from skbinary.runtime.warnings import warn

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Table:
    """Checked rows with their labels.

    Parameters
    ----------
    X : ndarray, numpy.memmap, CSR matrix or tensor of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        The labels as the user gave them.
    sample_weight : ndarray of shape (n_samples,) or None
    """

    X: Any
    y: NDArray[np.generic]
    sample_weight: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class CheckedData:
    """What ``fit`` was given, checked.

    Parameters
    ----------
    train : Table
    validation : Table or None
        The validation rows that the user gave.
    classes : ndarray of shape (2,)
        The labels; the second one is positive.
    given : object
        The training rows before they were checked.
    groups : ndarray of int of shape (n_samples,) or None
        The group of each training row. Rows of one group are held out together.
    made : dict or None
        What was made of them so far, for those who train several models on the same data.
    """

    train: Table
    validation: Table | None
    classes: NDArray[np.generic]
    given: Any
    groups: NDArray[np.intp] | None = None
    made: dict[Hashable, Any] | None = None


@dataclass(frozen=True)
class Split:
    """A Problem, and which of the given rows it trains and validates on.

    Parameters
    ----------
    dataset : Dataset
    n_samples : int
        Count of the rows that it trains on.
    train, held_out : ndarray of int or None
        Positions of the rows where a part was held out.
    """

    dataset: Dataset
    n_samples: int
    train: NDArray[np.intp] | None = None
    held_out: NDArray[np.intp] | None = None


@dataclass(frozen=True)
class Fold:
    """Which rows a model trains on, and which are held out. All are positions of rows.

    Parameters
    ----------
    train : ndarray of int
        The rows that it trains on.
    held_out : ndarray of int
        The rows that it does not see.
    """

    train: NDArray[np.intp]
    held_out: NDArray[np.intp]


def check_data(
    estimator: Any,
    table: tuple[Any, Any, Any],
    validation: tuple[Any, Any, Any],
    *,
    reset: bool,
    groups: Any = None,
    classes: NDArray[np.generic] | None = None,
) -> CheckedData:
    """Check everything that ``fit`` is given.

    Parameters
    ----------
    estimator : estimator
        Its record of features is set if `reset`, else compared.
    table, validation : tuple of (X, y, sample_weight)
        The rows to train on, and those to validate on or three times None.
    reset : bool
        Whether this is the first look at the data.
    groups : array-like of shape (n_samples,) or None
        The group of each row to train on.
    classes : ndarray of shape (2,) or None
        The labels, where they are known beforehand.
    """
    given, y, sample_weight = table
    X = check_rows(estimator, given, reset=reset)
    y = check_labels(estimator, X, y)
    weight = check_weight(sample_weight, X)
    if classes is None:
        classes = two_classes(estimator, y)
    encode(y, classes)
    held = _check_validation(estimator, validation, classes)
    if held is not None:
        _compare_scales(estimator, X, held.X)
    codes = check_groups(groups, X)
    return CheckedData(Table(X, y, weight), held, classes, given, codes)


def _check_validation(
    estimator: Any, validation: tuple[Any, Any, Any], classes: NDArray[np.generic]
) -> Table | None:
    X, y, sample_weight = validation
    if X is None and y is None and sample_weight is None:
        return None
    if X is None or y is None:
        given, missing = ("X_val", "y_val") if y is None else ("y_val", "X_val")
        if X is None and y is None:
            given, missing = "sample_weight_val", "X_val and y_val"
        raise ValueError(
            f"X_val and y_val must be given together, got {given} alone. Pass {missing}, "
            "or leave all out."
        )
    X = check_rows(estimator, X, reset=False, name="X_val")
    y = check_labels(estimator, X, y, "y_val")
    encode(y, classes, "y_val")
    return Table(X, y, check_weight(sample_weight, X, "sample_weight_val"))


def _compare_scales(estimator: Any, X: Any, X_val: Any) -> None:
    """Warn if the validation rows do not seem to be transformed like the training rows."""
    found = scale_difference(X, X_val)
    if found is None:
        return
    names = getattr(estimator, "feature_names_in_", None)
    name = found.column if names is None else repr(str(names[found.column]))
    warn(
        "The columns of X_val must be on the scale of those of X, got the "
        f"{found.statistic} {found.value_val:.3g} instead of {found.value:.3g} in column {name}, "
        f"and another scale in {found.n_columns} of {found.n_compared} columns. In a pipeline, "
        'X_val is transformed only with metadata routing and Pipeline(transform_input=["X_val"]), '
        "as the docstring of fit shows."
    )


def build_dataset(
    data: CheckedData,
    *,
    class_weight: Any,
    device: torch.device,
    dtype: torch.dtype,
    convert: bool,
    merge_up_to: int = 0,
    fold: Fold | None = None,
    validates: bool = False,
    shares: bool = False,
) -> Split:
    """Put the data on a device and set validation rows aside.

    Parameters
    ----------
    data : CheckedData
    class_weight : None, "balanced" or dict
    device : torch.device
    dtype : torch.dtype
        The precision of the computation.
    convert : bool
        Whether dense rows are converted to `dtype` at once.
    merge_up_to : int, default=0
        Equal rows become one if there are at most so many rows.
    fold : Fold or None, default=None
        Which rows are trained on and which are held out. None for all rows that have a weight.
    validates : bool, default=False
        Whether the rows that are held out are the validation set.
    shares : bool, default=False
        Whether other folds of the same rows will be trained on, so that they share one table.
    """
    train = data.train
    of_class = weigh_classes(class_weight, data.classes, train.y, train.sample_weight)

    def build() -> Split:
        return _merged(split(), merge_up_to)

    def split() -> Split:
        def place(table: Table, name: str, *, convert: bool) -> Rows:
            what = f"{name} rows {device} {dtype} {convert}"
            return cached(data, what, lambda: as_rows(table.X, device, dtype, convert=convert))

        rows = place(train, "training", convert=convert)
        dataset = _weighed(train, rows, data.classes, of_class, device)
        if fold is not None:
            return _cut(dataset, fold, views=convert and shares, validates=validates)
        if dataset.weight is not None and not bool((dataset.weight > 0).all()):
            # A row without weight is a row that is not there.
            dataset = dataset.take(torch.nonzero(dataset.weight > 0)[:, 0])
        if data.validation is not None:
            held_rows = place(data.validation, "validation", convert=False)
            given = _weighed(data.validation, held_rows, data.classes, of_class, device)
            return Split(replace(dataset, validation=given), dataset.n_samples)
        return Split(dataset, dataset.n_samples)

    settings = (of_class.tolist(), merge_up_to, id(fold), validates)
    return cached(data, f"problem {device} {dtype} {convert} {settings}", build)


def _cut(dataset: Dataset, fold: Fold, *, views: bool, validates: bool) -> Split:
    """Cut the rows as a fold says. With views, folds share the memory of the rows."""
    learnt = torch.as_tensor(fold.train, device=dataset.device)
    held = torch.as_tensor(fold.held_out, device=dataset.device)
    part = dataset.view(learnt) if views else dataset.take(learnt)
    if validates:
        part = replace(part, validation=dataset.take(held))
    return Split(part, len(learnt), fold.train, fold.held_out if validates else None)


@dataclass(frozen=True)
class Candidates:
    """The training rows that can be held out: those that have a weight.

    Parameters
    ----------
    positions : ndarray of int of shape (n_candidates,)
        Where they are among all training rows.
    target : ndarray of shape (n_candidates,)
        1 for the positive class, 0 for the other.
    groups : ndarray of int of shape (n_candidates,) or None
    """

    positions: NDArray[np.intp]
    target: NDArray[np.float64]
    groups: NDArray[np.intp] | None

    @classmethod
    def of(
        cls, data: CheckedData, class_weight: Any, chosen: NDArray[np.intp] | None = None
    ) -> Candidates:
        """Find the candidates among the chosen rows, or among all rows."""
        table = data.train
        where = np.arange(len(table.y)) if chosen is None else chosen
        target = encode(table.y[where], data.classes)
        if table.sample_weight is not None or class_weight is not None:
            given = None if table.sample_weight is None else table.sample_weight[where]
            of_class = weigh_classes(class_weight, data.classes, table.y[where], given)
            # One by one: the product of two tiny weights may be rounded to zero.
            kept = of_class[target.astype(np.intp)] > 0
            kept &= True if given is None else given > 0
            where, target = where[kept], target[kept]
        return cls(where, target, None if data.groups is None else data.groups[where])

    def hold_out(self, fraction: float, random_state: Any) -> Fold:
        """Draw the validation set of early stopping."""
        return self._fold(hold_out(self.target, self.groups, fraction, random_state))

    def folds(self, n_folds: int, seed: int) -> list[Fold]:
        """Split them into folds, each row into one."""
        return [self._fold(each) for each in folds(self.target, self.groups, n_folds, seed)]

    def most_folds(self) -> int:
        """Count the rows of the rarer class, or the groups that contain one."""
        return min(count_units(self.target, self.groups))

    def _fold(self, parts: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Fold:
        train, held_out = parts
        return Fold(self.positions[train], self.positions[held_out])


def draw_hold_out(data: CheckedData, class_weight: Any, fraction: float, random_state: Any) -> Fold:
    """Draw the validation set of early stopping, once for all models that draw the same.

    Parameters
    ----------
    data : CheckedData
    class_weight : None, "balanced" or dict
    fraction : float
    random_state : RandomState
        Afterwards in the state after a draw, also if the draw was cached.
    """

    def draw() -> tuple[Fold, Any]:
        fold = Candidates.of(data, class_weight).hold_out(fraction, random_state)
        return fold, random_state.get_state()

    _, keys, position, *_ = random_state.get_state()
    what = ("hold-out", repr(class_weight), fraction, keys.tobytes(), position)
    fold, after = cached(data, what, draw)
    random_state.set_state(after)
    return fold


def _merged(split: Split, up_to: int) -> Split:
    if split.n_samples > up_to:
        return split
    return replace(split, dataset=merge_duplicates(split.dataset, seed=0))


def unweighted_dataset(data: CheckedData, device: torch.device, dtype: torch.dtype) -> Dataset:
    """Put all training rows on a device, without their weights."""

    def build() -> Dataset:
        what = f"training rows {device} {dtype} False"
        rows = cached(data, what, lambda: as_rows(data.train.X, device, dtype, convert=False))
        bare = replace(data.train, sample_weight=None)
        return _weighed(bare, rows, data.classes, np.ones(2), device)

    return cached(data, f"unweighted {device} {dtype}", build)


def compressed_rows(
    data: CheckedData, rows: Rows, width: int, batch_size: int
) -> CompressedRows | None:
    """Compress the rows that a network trains on, where its first layer gains by it.

    Parameters
    ----------
    data : CheckedData
    rows : Rows
        Those that were made of the data.
    width, batch_size : int
        Units of the first layer, and rows of a batch.
    """
    if not isinstance(rows, DenseRows) or not can_pay(rows.shape[1], width, batch_size):
        return None
    # The rows are kept with what was made of them, so that nothing else gets their name.
    table = cached(data, f"compressed {id(rows.values)}", lambda: (rows.values, compress(rows)))[1]
    if table is None or not table.pays(width, batch_size):
        return None
    index = rows.index
    return cached(data, f"compressed {id(rows)}", lambda: (rows, table.view(index)))[1]


def cached(data: CheckedData, what: Hashable, make: Callable[[], _Made]) -> _Made:
    """Make something of the data, or take it where it was made before."""
    if data.made is None:
        return make()
    if what not in data.made:
        data.made[what] = make()
    made: _Made = data.made[what]
    return made


def _weighed(
    table: Table,
    rows: Rows,
    classes: NDArray[np.generic],
    of_class: NDArray[np.float64],
    device: torch.device,
) -> Dataset:
    """Add targets and weights to rows on a device."""
    target = encode(table.y, classes)
    given = () if table.sample_weight is None else (table.sample_weight,)
    weight, exponent = scale_weights(of_class[target.astype(np.intp)], *given)
    least = torch.finfo(rows.dtype).tiny

    def put(values: NDArray[np.float64]) -> torch.Tensor | None:
        if np.all(values == 1):
            return None
        # A positive weight stays positive when it is rounded.
        kept = np.where(values > 0, np.maximum(values, least), 0.0)
        return as_tensor(kept).to(device=device, dtype=rows.dtype)

    whole = torch.as_tensor(target).to(device=device, dtype=rows.dtype)
    score_weight = put(scale_weights(*given)[0]) if given else None
    return Dataset(rows, whole, put(weight), score_weight=score_weight, weight_exponent=exponent)
