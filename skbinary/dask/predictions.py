"""Predictions and scores for the rows of a collection."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score

from skbinary.dask.partitions import DistributedTable
from skbinary.data.labels import check_labels, encode
from skbinary.data.weights import check_weight
from skbinary.runtime.optional import require


def predict_later(method: Callable[..., Any], X: Any, **arguments: Any) -> Any:
    """Return the predictions of a fitted classifier as a Dask array.

    Parameters
    ----------
    method : callable
        A method of a fitted classifier, such as ``predict``.
    X : Dask array or data frame of shape (n_samples, n_features)
    **arguments : dict of str to object
        Further arguments of the method.

    Returns
    -------
    dask.array.Array
        With a chunk for each partition of `X`. Its chunks are as unknown as those of `X`.
    """
    array = require("dask.array", "dask", "skbinary.dask")
    predict = functools.partial(method, **arguments)
    if not isinstance(X, array.Array):
        one = predict(X._meta_nonempty)[:1]
        return X.map_partitions(functools.partial(_predict, predict, one[:0]), meta=one[:0])
    wide = {axis: -1 for axis in range(1, X.ndim) if X.numblocks[axis] > 1}
    X = X.rechunk(wide) if wide else X
    one = predict(np.ones((1, *X.shape[1:]), dtype=X.dtype))
    return X.map_blocks(
        functools.partial(_predict, predict, one[:0]),
        dtype=one.dtype,
        drop_axis=list(range(one.ndim, X.ndim)),
        chunks=(X.chunks[0], *((n,) for n in one.shape[1:])),
        meta=one[:0],
    )


def _predict(predict: Callable[[Any], Any], empty: Any, rows: Any) -> Any:
    return predict(rows) if rows.shape[0] else empty


def accuracy_of(client: Any, estimator: Any, table: DistributedTable) -> float:
    """Return the accuracy of a fitted classifier on a table on the cluster."""
    counts = table.map(client, _count_correct, estimator)
    correct, total = np.sum(counts, axis=0)
    return float(correct / total)


def _count_correct(
    estimator: Any, X: Any, y: Any, sample_weight: Any = None
) -> tuple[float, float]:
    """Return the weight of the rows that are predicted correctly, and of all rows."""
    if X.shape[0] == 0:
        return 0.0, 0.0
    predicted = estimator.predict(X)
    correct = accuracy_score(y, predicted, normalize=False, sample_weight=sample_weight)
    return float(correct), float(X.shape[0] if sample_weight is None else np.sum(sample_weight))


def logits_of(client: Any, estimator: Any, table: DistributedTable) -> tuple[Any, Any, Any]:
    """Return the logits, the labels and the weights of the rows of a table on the cluster."""
    scored = [each for each in table.map(client, _score, estimator) if each is not None]
    logits, labels, weights = zip(*scored, strict=True)
    weight = None if weights[0] is None else np.concatenate(weights)
    return np.concatenate(logits), np.concatenate(labels), weight


def _score(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
    if X.shape[0] == 0:
        return None
    logits = estimator.decision_function(X)
    labels = check_labels(estimator, X, y)
    encode(labels, estimator.classes_)  # raises for unknown labels
    return logits, labels, check_weight(sample_weight, X)
