"""Build the dataset of a table that is read in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skbinary.data.checked import CheckedData
from skbinary.data.conversion import as_rows
from skbinary.data.preparation import Split, to_dataset
from skbinary.data.rows import DenseRows, StreamedRows
from skbinary.data.scan import ClassTotals, Scan
from skbinary.data.streamed_dataset import StreamedDataset
from skbinary.data.streamed_passes import RowWeights, TablePasses
from skbinary.data.weights import compute_class_weights


def build_streamed_dataset(
    data: CheckedData,
    *,
    class_weight: Any,
    device: torch.device,
    dtype: torch.dtype,
    label_smoothing: float = 0.0,
) -> Split:
    """Build the dataset that a model is trained on, by passes over a table.

    Parameters
    ----------
    data : CheckedData
        Its `stream` is the table, and its `train` is a sample of the rows.
    class_weight : None, "balanced" or dict
    device : torch.device
    dtype : torch.dtype
        The precision of the computation.
    label_smoothing : float, default=0.0
        Fraction of the labels that is spread over both classes.
    """
    scan: Scan = data.stream
    of_classes = _class_weights(class_weight, scan)
    trained, weights = scan.trained, None
    if scan.table.sample_weight is not None or np.any(of_classes != 1):
        weights = RowWeights.scaled(of_classes, trained.largest)
    n_rows = int(trained.n_rows[of_classes > 0].sum())
    if n_rows == 0:
        raise ValueError(
            "validation_fraction must leave rows to train on, got a table whose rows are all held "
            "out. Lower it, or pass X_val and y_val."
        )
    rows = _rows(data.train.X, device, dtype)
    sample = to_dataset(data, data.train, rows, of_classes, device)
    if sample.weight is not None:
        sample = sample.take(torch.nonzero(sample.weight > 0)[:, 0])
    validation = None
    if data.validation is not None:
        held_out = as_rows(data.validation.X, device, dtype, convert=False)
        validation = to_dataset(data, data.validation, held_out, of_classes, device)
    dataset = StreamedDataset(
        StreamedRows((n_rows, scan.table.n_features), rows),
        torch.empty(0, dtype=dtype, device=device),
        validation=validation,
        weight_exponent=0 if weights is None else weights.exponent,
        passes=TablePasses(
            scan.table, data.classes, weights, scan.hold_out, n_rows, device, dtype, label_smoothing
        ),
        sample=sample,
        sum_of_weights=_total(trained, weights),
    )
    return Split(dataset, n_rows)


def _rows(X: Any, device: torch.device, dtype: torch.dtype) -> DenseRows:
    rows = as_rows(X, device, dtype, convert=False)
    assert isinstance(rows, DenseRows)
    return rows


def _class_weights(class_weight: Any, scan: Scan) -> NDArray[np.float64]:
    """Return the weights of the classes, from the totals of all rows."""
    totals, classes = scan.totals, scan.classes
    has_rows = totals.n_rows > 0
    return compute_class_weights(class_weight, classes, classes, totals.weight * has_rows)


def _total(trained: ClassTotals, weights: RowWeights | None) -> float:
    """Return the sum of the scaled weights of the training rows."""
    if weights is None:
        return float(trained.n_rows.sum())
    return float(weights.scale(trained.weight, np.arange(2)).sum())
