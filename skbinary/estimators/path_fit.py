"""PathFit: linear models on the same rows with other weights, on a path of penalties."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from torch import Tensor

from skbinary.data.checked import CheckedData, cached
from skbinary.data.conversion import as_tensor
from skbinary.data.dataset import Dataset, scale_penalty
from skbinary.data.folds import Fold
from skbinary.data.labels import encode, find_classes
from skbinary.data.preparation import unweighted_dataset
from skbinary.data.weights import check_weight, compute_class_weights, weigh_rows
from skbinary.estimators.recipe import Recipe
from skbinary.runtime.device import full_precision
from skbinary.solvers.full_batch.small_objective import SMALL


@dataclass(frozen=True)
class PathFit:
    """A linear model that is solved on a path of penalties, on rows that other models share.

    Parameters
    ----------
    dataset : Dataset
        All rows.
    weight : Tensor of shape (n_samples,)
        Weights of the rows: 0 for those that are not in the training set.
    l2 : float
        Strength of the penalty, relative to the mean loss.
    """

    dataset: Dataset
    weight: Tensor
    l2: float


def path_fit(
    recipe: Recipe,
    data: CheckedData,
    chosen: NDArray[np.intp] | None,
    fold: Fold | None = None,
) -> PathFit | None:
    """Return the rows of a linear model as weights of all rows, which other models share.

    Parameters
    ----------
    recipe : Recipe
    data : CheckedData
        All rows.
    chosen : ndarray of int or None
        Indices of the rows that the fit may use. None for all.
    fold : Fold or None, default=None
        The rows of these to hold out.

    Returns
    -------
    PathFit or None
        None if the model must be fitted singly, or if that is faster.
    """
    strength = recipe.path_strength
    if strength is None or not data.processes.is_one:
        return None
    if chosen is None and is_small(data.train.X):
        return None
    dataset = unweighted_dataset(data, recipe.device, full_precision(recipe.device))
    key = f"weights {id(chosen)} {id(fold)} {recipe.class_weight!r} {recipe.device}"
    weight, total, exponent = cached(
        data, key, lambda: _row_weights(recipe, data, chosen, fold, dataset)
    )
    return PathFit(dataset, weight, scale_penalty(strength, exponent) / total)


def is_small(X: Any) -> bool:
    """Whether linear models on this data are fitted singly, since that is faster."""
    return not sp.issparse(X) and math.prod(np.shape(X)) <= SMALL


def _row_weights(
    recipe: Recipe,
    data: CheckedData,
    chosen: NDArray[np.intp] | None,
    fold: Fold | None,
    dataset: Dataset,
) -> tuple[Tensor, float, int]:
    """Return the weights of all rows, their sum, and the power of two they were divided by."""
    table, classes = data.train, data.classes
    chosen = np.arange(len(table.y)) if chosen is None else chosen
    labels, sample_weight = table.y[chosen], None
    if table.sample_weight is not None:
        sample_weight = check_weight(table.sample_weight[chosen], labels)
    if not 0 < np.count_nonzero(labels == classes[1]) < len(labels):
        find_classes(recipe.estimator_name, labels)  # raises an error that names the class
    per_class = compute_class_weights(recipe.class_weight, classes, labels, sample_weight)
    used = chosen if fold is None else fold.train
    used_weight = None if table.sample_weight is None else table.sample_weight[used]
    weight, exponent = weigh_rows(per_class, encode(table.y[used], classes), used_weight)
    # A row that is in the training set twice counts twice.
    row_weight = np.bincount(used, weight, len(table.y))
    return as_tensor(row_weight).to(dataset.target), float(weight.sum()), exponent
