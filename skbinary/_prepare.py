"""From a user's table to a Problem: checked, encoded, weighed, split, on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skbinary import _inputs
from skbinary._compressed import CompressedRows, can_pay, compress
from skbinary._problem import Problem
from skbinary._rows import DenseRows, Rows
from skbinary._twins import folds, hold_out, merge_equal_rows

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
class Data:
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
    made : dict or None
        What was made of them so far, for those who train several models on the same data.
    """

    train: Table
    validation: Table | None
    classes: NDArray[np.generic]
    given: Any
    made: dict[str, Any] | None = None


@dataclass(frozen=True)
class Split:
    """A Problem, and which of the given rows it trains and validates on.

    Parameters
    ----------
    problem : Problem
    n_samples : int
        Count of the rows that it trains on.
    train, held_out : ndarray of int or None
        Positions of the rows where a part was held out.
    """

    problem: Problem
    n_samples: int
    train: NDArray[np.intp] | None = None
    held_out: NDArray[np.intp] | None = None


@dataclass(frozen=True)
class Fold:
    """What one of several models that are fitted together leaves out. All are positions of rows.

    Parameters
    ----------
    train : ndarray of int
        The rows that it trains on.
    held_out : ndarray of int
        The rows that it does not see, and every other model does.
    """

    train: NDArray[np.intp]
    held_out: NDArray[np.intp]


def check_data(
    estimator: Any,
    table: tuple[Any, Any, Any],
    validation: tuple[Any, Any, Any],
    *,
    reset: bool,
    classes: NDArray[np.generic] | None = None,
) -> Data:
    """Check everything that ``fit`` is given.

    Parameters
    ----------
    estimator : estimator
        Its record of features is set if `reset`, else compared.
    table, validation : tuple of (X, y, sample_weight)
        The rows to train on, and those to validate on or three times None.
    reset : bool
        Whether this is the first look at the data.
    classes : ndarray of shape (2,) or None
        The labels, where they are known beforehand.
    """
    given, y, sample_weight = table
    X = _inputs.check_rows(estimator, given, reset=reset)
    y = _inputs.check_labels(estimator, X, y)
    weight = _inputs.check_weight(sample_weight, X)
    if classes is None:
        classes = _inputs.two_classes(estimator, y)
        _inputs.check_both_classes(y, weight)
    _inputs.encode(y, classes)
    held = _check_validation(estimator, validation, classes)
    return Data(Table(X, y, weight), held, classes, given)


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
            f"X_val and y_val must be given together. Got {given} alone instead. Pass {missing}, "
            "or leave all out."
        )
    X = _inputs.check_rows(estimator, X, reset=False)
    y = _inputs.check_labels(estimator, X, y, "y_val")
    _inputs.encode(y, classes, "y_val")
    return Table(X, y, _inputs.check_weight(sample_weight, X, "sample_weight_val"))


def build_problem(
    data: Data,
    *,
    class_weight: Any,
    device: torch.device,
    dtype: torch.dtype,
    convert: bool,
    hold_out_fraction: float | None,
    seed: int,
    merge_up_to: int = 0,
    fold: Fold | None = None,
) -> Split:
    """Put the data on a device and set validation rows aside.

    Parameters
    ----------
    data : Data
    class_weight : None, "balanced" or dict
    device : torch.device
    dtype : torch.dtype
        The precision of the computation.
    convert : bool
        Whether dense rows are converted to `dtype` at once.
    hold_out_fraction : float or None
        Share of the training rows to validate on. Not used if there are given ones.
    seed : int
        Decides which rows are held out.
    merge_up_to : int, default=0
        Equal rows become one if there are at most so many rows.
    fold : Fold or None, default=None
        Which rows are held out, where that was settled before. They validate if
        `hold_out_fraction` is given.
    """
    train = data.train
    of_class = _inputs.weigh_classes(class_weight, data.classes, train.y, train.sample_weight)

    def build() -> Split:
        return _merged(split(), merge_up_to)

    def split() -> Split:
        def place(table: Table, name: str, *, convert: bool) -> Rows:
            what = f"{name} rows {device} {dtype} {convert}"
            return remembered(
                data, what, lambda: _inputs.as_rows(table.X, device, dtype, convert=convert)
            )

        rows = place(train, "training", convert=convert)
        problem = _weighed(train, rows, data.classes, of_class, device)
        if fold is not None:
            return _cut(problem, fold, convert=convert, validates=hold_out_fraction is not None)
        kept = None
        if problem.weight is not None and not bool((problem.weight > 0).all()):
            # A row without weight is a row that is not there.
            kept = torch.nonzero(problem.weight > 0)[:, 0]
            problem = problem.take(kept)
        if data.validation is not None:
            held_rows = place(data.validation, "validation", convert=False)
            given = _weighed(data.validation, held_rows, data.classes, of_class, device)
            return Split(replace(problem, validation=given), problem.n_samples)
        if hold_out_fraction is None:
            return Split(problem, problem.n_samples)
        return _held_out(problem, kept, hold_out_fraction, seed)

    settings = (of_class.tolist(), hold_out_fraction, seed, merge_up_to, id(fold))
    return remembered(data, f"problem {device} {dtype} {convert} {settings}", build)


def _held_out(problem: Problem, kept: Tensor | None, fraction: float, seed: int) -> Split:
    """Hold rows out. `kept` tells where they were before some were left out."""
    learnt, held = hold_out(problem, fraction, seed)
    validation = problem.take(held)
    problem = replace(problem.take(learnt), validation=validation)
    if kept is not None:
        learnt, held = kept[learnt], kept[held]
    return Split(problem, problem.n_samples, learnt.cpu().numpy(), held.cpu().numpy())


def _cut(problem: Problem, fold: Fold, *, convert: bool, validates: bool) -> Split:
    """Cut the rows as a fold says. Rows that were converted as a whole are shared by the folds."""
    learnt = torch.as_tensor(fold.train, device=problem.device)
    held = torch.as_tensor(fold.held_out, device=problem.device)
    part = problem.view(learnt) if convert else problem.take(learnt)
    if validates:
        part = replace(part, validation=problem.take(held))
    return Split(part, len(learnt), fold.train, fold.held_out if validates else None)


def cross_folds(
    problem: Problem, positions: NDArray[np.intp], n_folds: int, seed: int
) -> list[Fold]:
    """Share rows out among folds, each row to one of them.

    Parameters
    ----------
    problem : Problem
        The rows that have a weight.
    positions : ndarray of int of shape (n_samples,)
        Where they are among all rows.
    n_folds : int
    seed : int
        Decides which rows go where.
    """
    dealt = folds(problem, n_folds, seed).cpu().numpy()
    return [Fold(positions[dealt != k], positions[dealt == k]) for k in range(n_folds)]


def _merged(split: Split, up_to: int) -> Split:
    if split.n_samples > up_to:
        return split
    return replace(split, problem=merge_equal_rows(split.problem, seed=0))


def unweighted_problem(data: Data, device: torch.device, dtype: torch.dtype) -> Problem:
    """Put all training rows on a device, without their weights."""

    def build() -> Problem:
        what = f"training rows {device} {dtype} False"
        rows = remembered(
            data, what, lambda: _inputs.as_rows(data.train.X, device, dtype, convert=False)
        )
        bare = replace(data.train, sample_weight=None)
        return _weighed(bare, rows, data.classes, np.ones(2), device)

    return remembered(data, f"unweighted {device} {dtype}", build)


def compressed_rows(data: Data, rows: Rows, width: int, batch_size: int) -> CompressedRows | None:
    """Compress the rows that a network trains on, where its first layer gains by it.

    Parameters
    ----------
    data : Data
    rows : Rows
        Those that were made of the data.
    width, batch_size : int
        Units of the first layer, and rows of a batch.
    """
    if not isinstance(rows, DenseRows) or not can_pay(rows.shape[1], width, batch_size):
        return None
    # The rows are kept with what was made of them, so that nothing else gets their name.
    table = remembered(
        data, f"compressed {id(rows.values)}", lambda: (rows.values, compress(rows))
    )[1]
    if table is None or not table.pays(width, batch_size):
        return None
    index = rows.index
    return remembered(data, f"compressed {id(rows)}", lambda: (rows, table.view(index)))[1]


def remembered(data: Data, what: str, make: Callable[[], _Made]) -> _Made:
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
) -> Problem:
    """Add targets and weights to rows on a device."""
    target = _inputs.encode(table.y, classes)
    given = () if table.sample_weight is None else (table.sample_weight,)
    weight, exponent = _inputs.scale_weights(of_class[target.astype(np.intp)], *given)
    least = torch.finfo(rows.dtype).tiny

    def put(values: NDArray[np.float64]) -> torch.Tensor | None:
        if np.all(values == 1):
            return None
        # A row that has a weight keeps one where it is rounded.
        kept = np.where(values > 0, np.maximum(values, least), 0.0)
        return _inputs.as_tensor(kept).to(device=device, dtype=rows.dtype)

    whole = torch.as_tensor(target).to(device=device, dtype=rows.dtype)
    score_weight = put(_inputs.scale_weights(*given)[0]) if given else None
    return Problem(rows, whole, put(weight), score_weight=score_weight, weight_exponent=exponent)
