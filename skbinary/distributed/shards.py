"""Check the rows of each process, and that they agree."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils.validation import _get_feature_names
from torch import Tensor

from skbinary.data.checked import CheckedData, Table
from skbinary.data.labels import check_groups, check_labels, encode, find_classes
from skbinary.data.validation import check_rows
from skbinary.data.weights import check_weight
from skbinary.distributed.process_group import GroupProcesses

Rows = tuple[Any, Any, Any]  # X, y and the weights, as they were passed
# Attributes of an estimator that its rows set.
_FROM_ROWS = ("n_features_in_", "feature_names_in_", "sample_shape_")


@dataclass(frozen=True)
class Shard:
    """What the process that has some rows says of them to the others.

    Parameters
    ----------
    number_of_features, names_of_features, shape_of_samples : object
        Of the rows. None for no names, and for samples without a shape of their own.
    kind_of_rows : str or None
        Dense or sparse, and their precision. None without rows.
    kind_of_labels : str or None
        None without rows.
    weights, groups, validation_rows, validation_weights : bool
        Whether they were passed.
    parameters : str
        The parameters that must be the same in all processes.
    labels : ndarray
        The different labels.
    group_names : ndarray
        The different groups.
    has_positive_weight : bool
        Whether a row has one.
    """

    number_of_features: int
    names_of_features: tuple[str, ...] | None
    shape_of_samples: tuple[int, ...] | None
    kind_of_rows: str | None
    kind_of_labels: str | None
    weights: bool
    groups: bool
    validation_rows: bool
    validation_weights: bool
    parameters: str
    labels: NDArray[np.generic]
    group_names: NDArray[np.generic]
    has_positive_weight: bool


_AGREED = [each.name for each in fields(Shard)][:-3]
_OF_ROWS = ("kind_of_rows", "kind_of_labels", "shape_of_samples", "names_of_features", "weights")


def check_shards(
    estimator: Any, table: Rows, validation: Rows, groups: Any, processes: GroupProcesses
) -> CheckedData:
    """Check the rows of this process, and that those of all processes agree.

    Parameters
    ----------
    estimator : BinaryClassifier
        Its attributes that rows set are set, to the same in all processes.
    table, validation : tuple of (X, y, sample_weight)
        The training rows of this process, and its validation rows or three times None.
    groups : array-like or None
    processes : GroupProcesses

    Returns
    -------
    CheckedData
        The rows of this process, with the classes of all rows.

    Raises
    ------
    ValueError
        In all processes, if the rows of one of them are invalid, or if they do not agree.
    """
    given = table[0]
    train = processes.together(lambda: _check_table(estimator, table, ("X", "y", "sample_weight")))
    names = processes.together(lambda: _check_group_names(groups, train))
    shards = processes.gather(_describe(estimator, train, names, table, validation))
    _check_agreement(shards)
    classes = find_classes(type(estimator).__name__, np.concatenate([s.labels for s in shards]))
    if not any(each.has_positive_weight for each in shards):
        raise ValueError(
            "sample_weight must not be all zero. Sample weights must contain at least one non-zero "
            "number."
        )
    rows = processes.gather({name: estimator.__dict__.get(name) for name in _FROM_ROWS})
    [with_rows, *_] = [each for each, shard in zip(rows, shards, strict=True) if shard.kind_of_rows]
    for name, value in with_rows.items():
        if value is not None:
            setattr(estimator, name, value)
    train = _like_others(train, shards)
    validated = processes.together(lambda: _check_validation(estimator, validation, classes))
    codes = None
    if names is not None:
        known = np.unique(np.concatenate([each.group_names for each in shards]))
        codes = np.searchsorted(known, names)
    return CheckedData(train, validated, classes, given, codes, processes=processes)


def _check_table(estimator: Any, table: Rows, names: tuple[str, str, str]) -> Table:
    """Check the rows, labels and weights of this process. There may be no rows."""
    X, y, sample_weight = table
    X_name, y_name, weight_name = names
    if X_name == "X":
        estimator._validate_params()
    if _has_no_rows(X):
        X = _without_rows(estimator, X, reset=X_name == "X")
        return Table(
            X, np.empty(0, np.asarray(y).dtype), None if sample_weight is None else np.empty(0)
        )
    X = check_rows(estimator, X, reset=X_name == "X", name=X_name)
    y = check_labels(estimator, X, y, y_name)
    return Table(X, y, check_weight(sample_weight, X, weight_name, allows_zeros=True))


def _has_no_rows(X: Any) -> bool:
    shape = getattr(X, "shape", None)
    return shape is not None and len(shape) >= 2 and shape[0] == 0


def _without_rows(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Return a table without rows, and set or compare the number of its features."""
    n_features = int(np.prod(X.shape[1:]))
    if reset:
        for name in _FROM_ROWS:
            estimator.__dict__.pop(name, None)
        estimator.n_features_in_ = n_features
        names = _get_feature_names(X) if hasattr(X, "columns") else None
        if names is not None:
            estimator.feature_names_in_ = names
    elif n_features != estimator.n_features_in_:
        raise ValueError(
            f"X_val must have {estimator.n_features_in_} features, as X has, got {n_features}. "
            "Pass the same columns."
        )
    return np.empty((0, n_features), dtype=np.float32)


def _check_group_names(groups: Any, train: Table) -> NDArray[np.generic] | None:
    """Return the group of each row, checked."""
    if groups is None:
        return None
    if not len(train.y):
        return np.empty(0, dtype=np.asarray(groups).dtype)
    check_groups(groups, train.X)
    return np.asarray(groups).reshape(-1)


def _describe(
    estimator: Any,
    train: Table,
    groups: NDArray[np.generic] | None,
    table: Rows,
    validation: Rows,
) -> Shard:
    weight, has_rows = train.sample_weight, len(train.y) > 0
    names = getattr(estimator, "feature_names_in_", None)
    labels = np.unique(train.y) if has_rows else train.y
    return Shard(
        number_of_features=train.X.shape[1],
        names_of_features=None if names is None else tuple(names.tolist()),
        shape_of_samples=getattr(estimator, "sample_shape_", None),
        kind_of_rows=_kind_of(train.X) if has_rows else None,
        kind_of_labels=_kind_of_labels(labels) if has_rows else None,
        weights=table[2] is not None,
        groups=groups is not None,
        validation_rows=validation[0] is not None,
        validation_weights=validation[2] is not None,
        parameters=_parameters(estimator),
        labels=labels,
        group_names=np.empty(0) if groups is None else np.unique(groups),
        has_positive_weight=has_rows and (weight is None or bool(np.any(weight > 0))),
    )


def _kind_of(X: Any) -> str:
    dtype = str(X.dtype).removeprefix("torch.")
    return f"{'sparse' if sp.issparse(X) else 'dense'} {dtype}"


def _kind_of_labels(labels: NDArray[np.generic]) -> str:
    value = labels.tolist()[0]
    if isinstance(value, bool | str):
        return type(value).__name__
    return "number" if isinstance(value, Real) else "object"


def _parameters(estimator: Any) -> str:
    """Return the parameters that are plain values. What is random is the first process's."""
    plain = (bool, int, float, str, tuple, list, dict, type(None))
    values = estimator.get_params(deep=False).items()
    differ = ("random_state", "device", "verbose")
    return ", ".join(f"{k}={v!r}" for k, v in values if k not in differ and isinstance(v, plain))


def _check_agreement(shards: list[Shard]) -> None:
    """Check that the processes passed rows of one kind, and the same parameters."""
    if not any(each.kind_of_rows for each in shards):
        raise ValueError(
            f"X must have rows in at least one process, got none in {len(shards)} processes. Check "
            "how the rows were split."
        )
    for name in _AGREED:
        values = [getattr(each, name) for each in shards]
        known = [
            (rank, value)
            for rank, value in enumerate(values)
            if shards[rank].kind_of_rows or name not in _OF_ROWS
        ]
        (first_rank, first), *others = known
        different = [rank for rank, value in others if value != first]
        if different:
            what = name.replace("_", " ")
            ranks = ", ".join(map(str, different))
            got = [value for rank, value in others if rank in different]
            raise ValueError(
                f"The {what} must be the same in all processes, got {first} in process "
                f"{first_rank} and {got[0]} in process {ranks}. Pass the same in each of them."
            )


def _like_others(train: Table, shards: list[Shard]) -> Table:
    """Return a table without rows in the kind of the others."""
    if len(train.y):
        return train
    [kind, *_] = [each.kind_of_rows for each in shards if each.kind_of_rows]
    has_weights = any(each.weights for each in shards)
    X = sp.csr_matrix(train.X) if kind.startswith("sparse") else train.X
    return replace(train, X=X, sample_weight=np.empty(0) if has_weights else None)


def _check_validation(
    estimator: Any, validation: Rows, classes: NDArray[np.generic]
) -> Table | None:
    X, y, sample_weight = validation
    if X is None and y is None and sample_weight is None:
        return None
    if X is None or y is None:
        raise ValueError(
            "X_val and y_val must be passed together, got one of them alone. Pass both, or none of "
            "them."
        )
    table = _check_table(estimator, validation, ("X_val", "y_val", "sample_weight_val"))
    encode(table.y, classes, "y_val")  # raises for unknown labels
    return table


def gather_rows(data: CheckedData, processes: GroupProcesses) -> CheckedData:
    """Return the rows of all processes, one process's rows after the other's."""
    tables = processes.gather(_portable(data.train))
    validation = None
    if data.validation is not None:
        validation = _joined(processes.gather(_portable(data.validation)))
    groups = None if data.groups is None else np.concatenate(processes.gather(data.groups))
    train = _joined(tables)
    return CheckedData(train, validation, data.classes, train.X, groups)


def _portable(table: Table) -> Table:
    X = table.X.cpu().numpy() if isinstance(table.X, Tensor) else table.X
    return replace(table, X=X if sp.issparse(X) else np.asarray(X))


def _joined(tables: list[Table]) -> Table:
    with_rows = [each for each in tables if len(each.y)]
    stack = sp.vstack if sp.issparse(with_rows[0].X) else np.concatenate
    X = stack([each.X for each in with_rows])
    weights = [each.sample_weight for each in with_rows if each.sample_weight is not None]
    y = np.concatenate([each.y for each in with_rows])
    return Table(
        sp.csr_matrix(X) if sp.issparse(X) else X, y, np.concatenate(weights) if weights else None
    )
