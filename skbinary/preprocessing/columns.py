"""Read the columns of data frames and arrays as numbers, dates or categories."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import _get_feature_names

from skbinary.data.containers import as_array

_NUMBERS = (Real, Decimal, np.bool_)
_DATES = (datetime.date, np.datetime64)
_DURATIONS = (datetime.timedelta, np.timedelta64)


@dataclass(frozen=True)
class Column:
    """The values of a column.

    Parameters
    ----------
    kind : {"number", "date", "category", "missing"}
        Booleans and durations are numbers. "missing" is a column without any value.
    values : ndarray of shape (n_samples,)
        Numbers, with NaN where they are missing; seconds for durations. Dates as datetime64, with
        NaT. For categories, the position of each row's category in `labels`.
    labels : tuple of str or None
        The distinct categories in order of appearance. None is a missing value.
    """

    kind: str
    values: NDArray[Any]
    labels: tuple[str | None, ...] = ()

    def is_missing(self) -> NDArray[np.bool_]:
        """Return where a column of numbers or dates has no value."""
        if self.kind == "missing":
            return np.ones(len(self.values), dtype=bool)
        return np.isnan(self.values)

    def numeric_parts(self) -> dict[str, NDArray[np.float64]]:
        """Return the values of a column of numbers under "", or the parts of dates."""
        if self.kind == "date":
            return date_parts(self.values)
        return {"": self.values} if self.kind == "number" else {}

    def varies(self) -> bool:
        """Check whether a column of numbers or dates has two different values."""
        return any(_varies(part) for part in self.numeric_parts().values())


@dataclass(frozen=True)
class Table:
    """The columns of a data frame or an array, as they were passed.

    Parameters
    ----------
    X : data frame or ndarray of shape (n_samples, n_features)
    columns : list
        Series, or arrays of shape (n_samples,).
    names : list
        Names of the columns, or their positions.
    """

    X: Any
    columns: list[Any]
    names: list[Any]

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.X)


def read_table(X: Any, estimator: Any, order: list[Any] | None = None) -> Table:
    """Split a table into columns.

    Parameters
    ----------
    X : data frame or array-like of shape (n_samples, n_features)
    estimator : estimator
        Its name appears in messages.
    order : list or None, default=None
        Put the columns of a data frame in this order, if they have exactly these names.

    Returns
    -------
    Table
    """
    X = as_array(X, "X")
    if sp.issparse(X):
        raise ValueError(
            "X must be a data frame or a dense array, got a sparse matrix. Pass sparse features "
            "to the classifier as they are, or call toarray() on them."
        )
    if not (_is_pandas(X) or _is_polars(X)):
        X = np.array(X, dtype=object) if isinstance(X, list | tuple) else X
        X = check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator)
        return Table(X, list(X.T), list(range(X.shape[1])))
    for size, what, axis in ((X.shape[0], "sample", 0), (X.shape[1], "feature", 1)):
        if size == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required "
                f"by {type(estimator).__name__}. Pass a data frame with at least one "
                f"{'row' if axis == 0 else 'column'}."
            )
    names = list(X.columns)
    if len(set(names)) < len(names):
        repeated = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(
            f"X must have distinct column names, got {repeated!r} twice. Rename or drop one of "
            "these columns."
        )
    _get_feature_names(X)  # raises if only some of the names are strings
    if order is not None and names != order and set(names) == set(order):
        names = order
        X = X[names]
    if _is_pandas(X):
        return Table(X, [X.iloc[:, i] for i in range(len(names))], names)
    return Table(X, X.get_columns(), names)


def read_column(column: Any, name: Any, *, as_category: bool = False) -> Column:
    """Read a column of a table.

    Parameters
    ----------
    column : Series or ndarray of shape (n_samples,)
    name : object
        Its name in messages.
    as_category : bool, default=False
        Whether numbers are categories, too.

    Returns
    -------
    Column
    """
    dtype = column.dtype
    as_category |= str(dtype) == "category" or type(dtype).__name__ in ("Categorical", "Enum")
    values = to_numpy(column)
    kind = values.dtype.kind
    if values.ndim != 1 or kind not in "biufMmOUST":
        raise _unsupported(name, f"values of type {dtype}")
    if kind in "OUST" or as_category:
        return _read_objects(values.tolist(), name, as_category)
    if kind in "biuf":
        return _numbers(values, name)
    if np.isnat(values).all():
        return _missing(len(values))
    if kind == "m":
        return _numbers(values / np.timedelta64(1, "s"), name)
    return Column("date", values.astype("datetime64[us]"))


def find_medians(columns: dict[int, Column]) -> dict[tuple[int, str], float]:
    """Return the medians of numbers, and of the parts of dates, that vary.

    Parameters
    ----------
    columns : dict of int to Column

    Returns
    -------
    dict of (int, str) to float
        Keys are the key of the column and the part of the date, or "" for numbers.
    """
    return {
        (i, part): float(np.nanmedian(values))
        for i, column in columns.items()
        for part, values in column.numeric_parts().items()
        if _varies(values)
    }


def impute(
    columns: dict[int, Column], medians: dict[tuple[int, str], float]
) -> NDArray[np.float64]:
    """Return numbers and parts of dates, with the median where they are missing.

    Parameters
    ----------
    columns : dict of int to Column
    medians : dict of (int, str) to float
        What ``find_medians`` returned.

    Returns
    -------
    ndarray of shape (n_samples, n_medians)
    """
    parts = {i: columns[i].numeric_parts() for i in {i for i, _ in medians}}
    numbers = []
    for (i, part), median in medians.items():
        values = parts[i].get(part)
        if values is None:  # a column that is entirely missing has no parts
            values = np.full(len(columns[i].values), np.nan)
        numbers.append(np.where(np.isnan(values), median, values))
    return np.column_stack(numbers)


def date_parts(values: NDArray[np.datetime64]) -> dict[str, NDArray[np.float64]]:
    """Return days since 1970, and month, day of the month, day of the week and hour of dates.

    Parameters
    ----------
    values : ndarray of datetime64 of shape (n_samples,)

    Returns
    -------
    dict of str to ndarray of shape (n_samples,)
        NaN where the date is missing. Monday is day 0 of a week.
    """
    missing = np.isnat(values)
    days, months = values.astype("datetime64[D]"), values.astype("datetime64[M]")
    one_day = np.timedelta64(1, "D")
    parts = {
        "days": (values - np.datetime64(0, "us")) / one_day,
        "month": months.astype(np.int64) % 12 + 1.0,
        "day": (days - months.astype("datetime64[D]")) / one_day + 1.0,
        "weekday": (days.astype(np.int64) + 3) % 7 + 0.0,
        "hour": np.floor((values - days) / np.timedelta64(1, "h")),
    }
    return {name: np.where(missing, np.nan, part) for name, part in parts.items()}


def _is_pandas(X: Any) -> bool:
    return hasattr(X, "iloc") and getattr(X, "ndim", 0) == 2


def _is_polars(X: Any) -> bool:
    return type(X).__module__.startswith("polars") and hasattr(X, "get_columns")


def to_numpy(column: Any) -> NDArray[Any]:
    """Return the values of a column as an array; times with a time zone as local times."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        return np.asarray(column)
    if type(column).__module__.startswith("polars"):
        if getattr(dtype, "time_zone", None) is not None:
            column = column.dt.replace_time_zone(None)
        return column.to_numpy()
    kind = getattr(dtype, "kind", "O")
    if kind in "biuf":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if kind == "M":
        return column.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    if kind == "m":
        return column.to_numpy(dtype="timedelta64[us]")
    return column.to_numpy(dtype=object)


def _varies(values: NDArray[np.float64]) -> bool:
    values = values[~np.isnan(values)]
    return bool(values.min() < values.max())


def _numbers(values: NDArray[Any], name: Any) -> Column:
    values = values.astype(np.float64, copy=False)
    if np.isinf(values).any():
        raise ValueError(
            f"Column {name!r} of X must hold finite numbers, got infinity. Replace infinite "
            "values, by NaN if they are unknown."
        )
    return _missing(len(values)) if np.isnan(values).all() else Column("number", values)


def _missing(n_samples: int) -> Column:
    return Column("missing", np.zeros(n_samples, dtype=np.intp), (None,))


def _read_objects(values: list[Any], name: Any, as_category: bool) -> Column:
    try:
        distinct = dict.fromkeys(values)
    except TypeError:
        example = next(type(each) for each in values if type(each).__hash__ is None)
        raise _unsupported(name, f"values of type {example.__name__}") from None
    types = {type(value) for value in distinct if not _is_missing(value)}
    if not types:
        return _missing(len(values))
    if as_category or _all_of(types, str):
        return _categories(values, distinct)
    if _all_of(types, _NUMBERS):
        numbers = [np.nan if _is_missing(value) else float(value) for value in values]
        return _numbers(np.array(numbers), name)
    if _all_of(types, _DATES):
        dates = [None if _is_missing(value) else _local_time(value) for value in values]
        return Column("date", np.array(dates, dtype="datetime64[us]"))
    if _all_of(types, _DURATIONS):
        durations = [None if _is_missing(value) else value for value in values]
        seconds = np.array(durations, dtype="timedelta64[us]") / np.timedelta64(1, "s")
        return _numbers(seconds, name)
    found = " and ".join(sorted(each.__name__ for each in types))
    if all(issubclass(each, (str, *_NUMBERS)) for each in types):
        raise ValueError(
            f"Column {name!r} of X must hold values of one type, got {found}. Convert them to "
            "numbers, or to strings if they are categories."
        )
    raise _unsupported(name, f"values of type {found}")


def _categories(values: list[Any], distinct: Iterable[Any]) -> Column:
    """Number the categories. Each is a string, so that 1, 1.0 and "1" are the same."""
    codes: dict[str | None, int] = {}
    code_of = {
        value: codes.setdefault(None if _is_missing(value) else category_label(value), len(codes))
        for value in distinct
    }
    numbered = np.fromiter(map(code_of.__getitem__, values), np.intp, len(values))
    return Column("category", numbered, tuple(codes))


def category_label(value: Any) -> str:
    """Return the name of a category, which is the same for 1, 1.0 and "1"."""
    is_whole = isinstance(value, float | np.floating) and value.is_integer()
    return str(int(value)) if is_whole else str(value)


def _local_time(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime.datetime) else value


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value)


def _all_of(types: set[type], parents: Any) -> bool:
    return all(issubclass(each, parents) for each in types)


def _unsupported(name: Any, got: str) -> ValueError:
    return ValueError(
        f"Column {name!r} of X must hold numbers, strings, booleans, dates or durations, got "
        f"{got}. Convert or drop the column."
    )
