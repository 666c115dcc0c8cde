"""Build datasets on a device from checked data: encoded, weighted and split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skbinary.data.checked import CheckedData, Table, cached
from skbinary.data.compressed import CompressedRows, compress, may_pay_off
from skbinary.data.conversion import as_rows, as_tensor
from skbinary.data.dataset import Dataset
from skbinary.data.duplicates import merge_duplicates
from skbinary.data.folds import Fold
from skbinary.data.labels import encode
from skbinary.data.row_ranges import RowRanges
from skbinary.data.rows import DenseRows, Rows
from skbinary.data.weights import compute_class_weights, scale_weights, weigh_rows


@dataclass(frozen=True)
class Split:
    """A dataset, and which of the training rows it trains and validates on.

    Parameters
    ----------
    dataset : Dataset
    n_samples : int
        Number of rows to train on, of all processes, before duplicates are merged.
    train, held_out : ndarray of int or None, default=None
        Positions of the rows if some were held out for validation, among those of all processes.
    """

    dataset: Dataset
    n_samples: int
    train: NDArray[np.intp] | None = None
    held_out: NDArray[np.intp] | None = None


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
    """Build the dataset that a model is trained on.

    Parameters
    ----------
    data : CheckedData
    class_weight : None, "balanced", dict or ndarray of shape (2,)
    device : torch.device
    dtype : torch.dtype
        The precision of the computation.
    convert : bool
        Whether dense rows are converted to `dtype` at once.
    merge_up_to : int, default=0
        Duplicates are merged if there are at most this many rows, and one process has them.
    fold : Fold or None, default=None
        Which rows are trained on and which are held out. None to train on all rows with a positive
        weight.
    validates : bool, default=False
        Whether the held-out rows of the fold are the validation set.
    shares : bool, default=False
        Whether models are trained on other folds of the same rows, so that they share one table.
    """
    class_weights = compute_class_weights(
        class_weight, data.classes, data.train.y, data.train.sample_weight
    )

    def build() -> Split:
        split = build_split()
        if not 0 < split.n_samples <= merge_up_to or not data.processes.is_one:
            return split
        return replace(split, dataset=merge_duplicates(split.dataset, seed=0))

    def build_split() -> Split:
        rows = _rows_on_device(data, "training", device, dtype, convert=convert)
        dataset = to_dataset(data, data.train, rows, class_weights, device)
        if fold is not None:
            as_view = convert and shares
            return _apply_fold(dataset, fold, data.ranges, as_view=as_view, validates=validates)
        if dataset.weight is not None and not bool((dataset.weight > 0).all()):
            # A row with weight zero is left out.
            dataset = dataset.take(torch.nonzero(dataset.weight > 0)[:, 0])
        if data.validation is not None:
            rows = _rows_on_device(data, "validation", device, dtype, convert=False)
            validation = to_dataset(data, data.validation, rows, class_weights, device)
            dataset = replace(dataset, validation=validation)
        return Split(dataset, dataset.total_samples)

    settings = (class_weights.tolist(), merge_up_to, id(fold), validates)
    return cached(data, f"dataset {device} {dtype} {convert} {settings}", build)


def unweighted_dataset(data: CheckedData, device: torch.device, dtype: torch.dtype) -> Dataset:
    """Build the dataset of all training rows, without their weights."""

    def build() -> Dataset:
        rows = _rows_on_device(data, "training", device, dtype, convert=False)
        table = replace(data.train, sample_weight=None)
        return to_dataset(data, table, rows, np.ones(2), device)

    return cached(data, f"unweighted {device} {dtype}", build)


def compressed_rows(
    data: CheckedData, rows: Rows, width: int, batch_size: int
) -> CompressedRows | None:
    """Compress the rows that a network is trained on, if its first layer becomes faster.

    Parameters
    ----------
    data : CheckedData
    rows : Rows
        Rows that were built from the data.
    width, batch_size : int
        Number of units of the first layer, and of rows of a batch.

    Returns
    -------
    CompressedRows or None
        None if compression does not pay off.
    """
    if not isinstance(rows, DenseRows) or not may_pay_off(rows.shape[1], width, batch_size):
        return None
    # The cache holds the rows as well, so that no other object can get their id.
    _, table = cached(data, f"compressed {id(rows.values)}", lambda: (rows.values, compress(rows)))
    if table is None or not table.pays_off(width, batch_size):
        return None
    index = rows.index
    return cached(data, f"compressed {id(rows)}", lambda: (rows, table.view(index)))[1]


def _rows_on_device(
    data: CheckedData, part: str, device: torch.device, dtype: torch.dtype, *, convert: bool
) -> Rows:
    """Put the rows of the training or validation table on a device, once for all models."""
    table = data.train if part == "training" else data.validation
    assert table is not None
    key = f"{part} rows {device} {dtype} {convert}"
    return cached(data, key, lambda: as_rows(table.X, device, dtype, convert=convert))


def to_dataset(
    data: CheckedData,
    table: Table,
    rows: Rows,
    class_weights: NDArray[np.float64],
    device: torch.device,
) -> Dataset:
    """Add targets and weights to rows on a device."""
    target = encode(table.y, data.classes)
    given, overall = table.sample_weight, data.processes.max_number
    weight, exponent = weigh_rows(class_weights, target, given, overall)
    smallest = torch.finfo(rows.dtype).tiny

    def to_device(weights: NDArray[np.float64]) -> torch.Tensor | None:
        if np.all(weights == 1):
            return None
        # A positive weight stays positive when it is rounded.
        weights = np.where(weights > 0, np.maximum(weights, smallest), 0.0)
        return as_tensor(weights).to(device=device, dtype=rows.dtype)

    return Dataset(
        rows,
        torch.as_tensor(target).to(device=device, dtype=rows.dtype),
        to_device(weight),
        score_weight=None if given is None else to_device(scale_weights(given, overall=overall)[0]),
        weight_exponent=exponent,
        processes=data.processes,
    )


def _apply_fold(
    dataset: Dataset, fold: Fold, ranges: RowRanges, *, as_view: bool, validates: bool
) -> Split:
    """Select the training rows of a fold. As views, folds share the memory of the rows."""
    train = torch.as_tensor(ranges.own(fold.train), device=dataset.device)
    selected = dataset.view(train) if as_view else dataset.take(train)
    selected = replace(selected, processes=ranges.numbering(fold.train))
    if validates:
        held_out = torch.as_tensor(ranges.own(fold.held_out), device=dataset.device)
        selected = replace(selected, validation=dataset.take(held_out))
    return Split(selected, len(fold.train), fold.train, fold.held_out if validates else None)
