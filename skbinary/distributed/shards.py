"""Check the rows of each process, and that they agree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import _get_feature_names
from torch import Tensor

from skbinary.data.checked import CheckedData, Table
from skbinary.data.labels import check_groups, check_labels, encode, find_classes
from skbinary.data.row_ranges import RowRanges
from skbinary.data.validation import check_rows
from skbinary.data.weights import check_weight, compute_class_weights, scale_weights
from skbinary.distributed.process_group import GroupProcesses
from skbinary.estimators.streamed import is_streamed

Rows = tuple[Any, Any, Any]  # X, y and the weights, as they were passed
# Attributes of an estimator that its rows set.
_FROM_ROWS = ("n_features_in_", "feature_names_in_", "sample_shape_")
_ARGUMENTS = ("X", "y", "sample_weight", "groups", "X_val", "y_val", "sample_weight_val")
_TYPE = "type of the rows"
# Parameters that may be others in each process. The random numbers are those of the first one.
_MAY_DIFFER = ("random_state", "device", "verbose")


@dataclass(frozen=True)
class Shard:
    """What a process says of its rows to the others.

    Parameters
    ----------
    agreed : dict of str to object
        What must be the same in all processes.
    agreed_of_rows : dict of str to object
        What must be the same in all processes that have rows. Empty without rows.
    labels : ndarray
        The different labels.
    group_names : ndarray or None
        The different groups.
    has_positive_weight : bool
        Whether a row has one.
    fitted : dict of str to object
        The attributes of the estimator that rows set.
    """

    agreed: dict[str, Any]
    agreed_of_rows: dict[str, Any]
    labels: NDArray[np.generic]
    group_names: NDArray[np.generic] | None
    has_positive_weight: bool
    fitted: dict[str, Any]


def check_shards(
    estimator: Any,
    table: Rows,
    validation: Rows,
    groups: Any,
    processes: GroupProcesses,
    *,
    reset: bool,
) -> CheckedData:
    """Check the rows of this process, and that those of all processes agree.

    Parameters
    ----------
    estimator : BinaryClassifier
        Its attributes that rows set are set if `reset`, to the same in all processes, and compared
        otherwise.
    table, validation : tuple of (X, y, sample_weight)
        The training rows of this process, and its validation rows or three times None.
    groups : array-like or None
    processes : GroupProcesses
    reset : bool
        Whether the features are new to the estimator.

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
    names = ("X", "y", "sample_weight")
    train = processes.together(lambda: _check_table(estimator, table, names, reset=reset))
    group_names = processes.together(lambda: _check_group_names(groups, train))
    passed = (*table, groups, *validation)
    shards = processes.gather(_describe(estimator, train, group_names, passed))
    _check_agreement(shards)
    with_rows = [each for each in shards if each.agreed_of_rows]
    labels = np.concatenate([each.labels for each in with_rows])
    classes = find_classes(type(estimator).__name__, labels)
    _check_any_weight([each.has_positive_weight for each in shards], "sample_weight")
    for name in _FROM_ROWS:
        estimator.__dict__.pop(name, None)
    estimator.__dict__.update(with_rows[0].fitted)
    if not len(train.y) and with_rows[0].agreed_of_rows[_TYPE].startswith("sparse"):
        train = replace(train, X=sp.csr_matrix(train.X))
    validated = processes.together(lambda: _check_validation(estimator, validation, classes))
    if validated is not None:
        _check_all_validation(validated, processes)
    codes = None
    if group_names is not None:
        known = np.unique(np.concatenate([each.group_names for each in with_rows]))
        codes = np.empty(0, dtype=np.intp)
        if len(group_names):
            codes = np.searchsorted(known, group_names)
    ranges = RowRanges.of(len(train.y), processes)
    return CheckedData(train, validated, classes, given, codes, ranges=ranges)


def _check_table(estimator: Any, table: Rows, names: tuple[str, str, str], *, reset: bool) -> Table:
    """Check the rows, labels and weights of this process. There may be no rows."""
    X, y, sample_weight = table
    X_name, y_name, weight_name = names
    if is_streamed(X, y):
        raise ValueError(
            f"{X_name} must be rows in memory, or a memory map, for a fit by several processes, "
            f"got {type(X).__name__}. Read the part of the table that this process has."
        )
    if X_name == "X":
        estimator._validate_params()
    if _has_no_rows(X):
        X = _without_rows(estimator, X, X_name, reset=reset)
        _check_no_entries(y, y_name)
        _check_no_entries(sample_weight, weight_name)
        return Table(
            X, np.empty(0, np.asarray(y).dtype), None if sample_weight is None else np.empty(0)
        )
    X = check_rows(estimator, X, reset=reset, name=X_name)
    y = check_labels(estimator, X, y, y_name)
    return Table(X, y, check_weight(sample_weight, X, weight_name, allows_zeros=True))


def _has_no_rows(X: Any) -> bool:
    shape = getattr(X, "shape", None)
    return shape is not None and len(shape) >= 2 and shape[0] == 0


def _without_rows(estimator: Any, X: Any, name: str, *, reset: bool) -> Any:
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
            f"{name} must have {estimator.n_features_in_} features, as the estimator was fitted "
            f"with, got {n_features}. Pass the same columns."
        )
    return np.empty((0, n_features), dtype=np.float32)


def _check_no_entries(values: Any, name: str) -> None:
    """Check that there are no labels, weights or groups where there are no rows."""
    if np.ndim(values) > 0 and len(values) > 0:
        raise ValueError(
            f"{name} must have one entry for each row, got {len(values)} for 0 rows. Take both "
            "from one table."
        )


def _check_group_names(groups: Any, train: Table) -> NDArray[np.generic] | None:
    """Return the group of each row, checked."""
    if groups is None:
        return None
    if not len(train.y):
        _check_no_entries(groups, "groups")
        return np.empty(0, dtype=np.asarray(groups).dtype)
    check_groups(groups, train.X)
    return np.asarray(groups).reshape(-1)


def _describe(
    estimator: Any, train: Table, groups: NDArray[np.generic] | None, passed: tuple[Any, ...]
) -> Shard:
    has_rows = len(train.y) > 0
    fitted = {name: estimator.__dict__[name] for name in _FROM_ROWS if name in estimator.__dict__}
    names = fitted.get("feature_names_in_")
    labels = np.unique(train.y) if has_rows else train.y
    arguments = [name for name, each in zip(_ARGUMENTS, passed, strict=True) if each is not None]
    agreed_of_rows = {
        _TYPE: _type_of(train.X),
        "names of the features": None if names is None else names.tolist(),
        "shape of the samples": fitted.get("sample_shape_"),
    }
    if has_rows:
        agreed_of_rows["type of the labels"] = _type_of_labels(labels)
    return Shard(
        {
            "number of features": train.X.shape[1],
            "arguments": ", ".join(arguments),
            "weights to start from": _digest_of_weights(estimator),
        }
        | _parameters(estimator),
        agreed_of_rows if has_rows else {},
        labels,
        None if groups is None else np.unique(groups),
        _has_weight(train),
        fitted,
    )


def _has_weight(table: Table) -> bool:
    """Whether a row has a positive weight."""
    weight = table.sample_weight
    return len(table.y) > 0 if weight is None else bool(np.any(weight > 0))


def _type_of(X: Any) -> str:
    dtype = str(X.dtype).removeprefix("torch.")
    return f"{'sparse' if sp.issparse(X) else 'dense'} {dtype}"


def _type_of_labels(labels: NDArray[np.generic]) -> str:
    value = labels.tolist()[0]
    if isinstance(value, bool | str):
        return type(value).__name__
    return "number" if isinstance(value, Real) else "object"


def _parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters, as far as they can be compared."""
    values = estimator.get_params(deep=False).items()
    return {f"parameter {name}": _plain(each) for name, each in values if name not in _MAY_DIFFER}


def _plain(value: Any) -> Any:
    """Return a parameter if it is a plain value, else the name of its type."""
    plain = (bool, int, float, str, tuple, list, dict, np.ndarray, np.generic, type(None))
    return value if isinstance(value, plain) else type(value).__name__


def _digest_of_weights(estimator: Any) -> str:
    """Return a text that differs for other weights of the last fit, if the next continues it."""
    state = estimator.__dict__.get("_state") if estimator.warm_start else None
    if state is None:
        return "new ones"
    arrays = [*state.dense_weights(), *state.biases]
    return hashlib.sha256(b"".join(each.tobytes() for each in arrays)).hexdigest()[:8]


def _check_agreement(shards: list[Shard]) -> None:
    """Check that the processes passed rows of one kind, and the same parameters."""
    _check_any_rows([bool(each.agreed_of_rows) for each in shards], "X")
    _check_equal([each.agreed | each.agreed_of_rows for each in shards])


def _check_all_validation(table: Table, processes: GroupProcesses) -> None:
    """Check that the validation rows of all processes are of one kind, and count."""
    kind = {"type of the validation rows": _type_of(table.X)} if len(table.y) else {}
    kinds, have_weight = zip(*processes.gather((kind, _has_weight(table))), strict=True)
    _check_any_rows(list(map(bool, kinds)), "X_val")
    _check_equal(kinds)
    _check_any_weight(have_weight, "sample_weight_val")


def _check_any_rows(have_rows: Sequence[bool], name: str) -> None:
    if not any(have_rows):
        raise ValueError(
            f"{name} must have rows in at least one process, got none in {len(have_rows)} "
            "processes. Check how the rows were split."
        )


def _check_any_weight(have_weight: Sequence[bool], name: str) -> None:
    if not any(have_weight):
        raise ValueError(
            f"{name} must not be all zero. Sample weights must contain at least one non-zero "
            "number."
        )


def _check_equal(values: Sequence[dict[str, Any]]) -> None:
    """Check that the values of the processes, by name, are equal where they have any."""
    ranks: dict[str, dict[str, list[int]]] = {}
    for rank, values_of_rank in enumerate(values):
        for what, value in values_of_rank.items():
            ranks.setdefault(what, {}).setdefault(str(value), []).append(rank)
    for what, ranks_of_values in ranks.items():
        if len(ranks_of_values) > 1:
            got = " and ".join(
                f"{value} in process {', '.join(map(str, ranks_of_value))}"
                for value, ranks_of_value in ranks_of_values.items()
            )
            raise ValueError(
                f"The {what} must be the same in all processes, got {got}. Pass the same in each "
                "of them."
            )


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
    names = ("X_val", "y_val", "sample_weight_val")
    table = _check_table(estimator, validation, names, reset=False)
    encode(table.y, classes, "y_val")  # raises for unknown labels
    return table


def class_weights(class_weight: Any, data: CheckedData) -> NDArray[np.float64]:
    """Compute the weights of the two classes from the rows of all processes."""
    y, weight, processes = data.train.y, data.train.sample_weight, data.processes
    is_second = y == data.classes[1]
    if weight is None:
        totals = [np.count_nonzero(~is_second), np.count_nonzero(is_second)]
    else:
        scaled, _ = scale_weights(weight, overall=processes.max_number)
        totals = [scaled[~is_second].sum(), scaled[is_second].sum()]
    sums = processes.sum(torch.tensor(totals, dtype=torch.float64)).numpy()
    # Two rows with the weights of the classes are balanced as all rows are.
    return compute_class_weights(class_weight, data.classes, data.classes, sums)


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
