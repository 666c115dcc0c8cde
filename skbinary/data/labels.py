"""Check labels and groups, and encode labels as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import assert_all_finite, check_consistent_length, column_or_1d

from skbinary.data.containers import as_array, first_missing


def check_labels(estimator: Any, X: Any, y: Any, name: str = "y") -> NDArray[np.generic]:
    """Check that there is one label for each row.

    Parameters
    ----------
    estimator : estimator
        Its name appears in messages.
    X : checked rows
        Their number is compared.
    y : array-like of shape (n_samples,)
        The labels.
    name : str, default="y"
        Name of the labels in messages.

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None. Pass the labels of the rows."
        )
    y = as_array(y, name)
    if isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "biuUS":
        # Booleans, integers and strings are labels, whatever their values.
        check_consistent_length(X, y)
        return y
    check_no_missing_labels(y, name)
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported. {name} must hold labels.")
    assert_all_finite(y, input_name=name, estimator_name=type(estimator).__name__)
    check_classification_targets(y)
    check_consistent_length(X, y)
    return y


def check_no_missing_labels(y: Any, name: str = "y") -> None:
    """Check that no label is NaN, None or another missing value."""
    if sp.issparse(y):
        return
    labels = np.asarray(y)
    missing = first_missing(labels)
    if missing is not None:
        raise ValueError(
            f"{name} must hold a label for each row, got {labels.flat[missing]} in row {missing}, "
            "which is NaN, None or another missing value. Drop these rows, or label them."
        )


def find_classes(name: str, y: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the two labels, sorted. Raise a ValueError if there are not two.

    Parameters
    ----------
    name : str
        Name of the estimator's class, for messages.
    y : ndarray of shape (n_samples,)

    Returns
    -------
    ndarray of shape (2,)
    """
    classes = np.unique(y)
    if len(classes) == 2:
        return classes
    if len(classes) == 1:
        raise ValueError(
            f"y must hold two classes, got one class, {classes.tolist()[0]!r}. {name} "
            "cannot learn from one class: check how the rows were selected, or pass both classes "
            "to partial_fit."
        )
    kind = type_of_target(y, input_name="y")
    raise ValueError(
        "Only binary classification is supported. The type of the target is "
        f"{kind}, got {len(classes)} classes. Wrap {name} in "
        "sklearn.multiclass.OneVsRestClassifier."
    )


def encode(
    y: NDArray[np.generic], classes: NDArray[np.generic], name: str = "y"
) -> NDArray[np.float64]:
    """Encode labels: 1.0 for the positive class, 0.0 for the other."""
    is_positive: NDArray[np.bool_] = y == classes[1]
    if not np.all(is_positive | (y == classes[0])):
        unknown = [label for label in np.unique(y).tolist() if label not in classes.tolist()]
        raise ValueError(
            f"{name} must hold the classes {classes.tolist()} only, got {unknown} as well. Drop "
            "these rows, or fit a new model on all classes."
        )
    return is_positive.astype(np.float64)


def check_groups(groups: Any, X: Any, name: str = "groups") -> NDArray[np.intp] | None:
    """Check the groups of rows, and number them.

    Parameters
    ----------
    groups : array-like of shape (n_samples,) or None
    X : checked rows
        Their number is compared.
    name : str, default="groups"
        Name of the groups in messages.

    Returns
    -------
    ndarray of int of shape (n_samples,) or None
    """
    if groups is None:
        return None
    values = as_array(groups, name)
    if sp.issparse(values) or np.ndim(values) == 0:
        kind = "a sparse matrix" if sp.issparse(values) else f"{groups!r}"
        raise ValueError(
            f"{name} must be an array with one entry for each row, got {kind}. Pass one group for "
            "each row."
        )
    groups = np.asarray(values)
    groups = groups[:, 0] if groups.ndim == 2 and groups.shape[1] == 1 else groups
    if groups.shape != (X.shape[0],):
        got = len(groups) if groups.ndim == 1 else f"shape {groups.shape}"
        raise ValueError(
            f"{name} must have one entry for each row, {X.shape[0]}, got {got}. Pass one group for "
            "each row."
        )
    missing = first_missing(groups)
    if missing is not None:
        raise ValueError(
            f"{name} must hold a group for each row, got {groups[missing]} in row {missing}, which "
            "is NaN, None or another missing value. Drop these rows, or name their groups."
        )
    assert_all_finite(groups, input_name=name)
    try:
        codes: NDArray[np.intp] = np.unique(groups, return_inverse=True)[1]
    except TypeError:
        raise ValueError(
            f"{name} must be of one type that can be sorted, such as int or str, got values of "
            "several types. Convert them to one type."
        ) from None
    return codes
