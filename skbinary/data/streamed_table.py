"""The columns of a table that is read in parts, and how many of its rows are held at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skbinary.data.sources import Columns, Source, Streamed, open_source

# Rows are read in chunks of about this many values, or a sixteenth of the memory.
_CHUNK_VALUES, _CHUNK_FRACTION = 1 << 20, 16
# Bytes of a row besides its features: label, weight, group, order and logits.
_BYTES_PER_ROW = 48
_LOG_SECONDS = 10.0


@dataclass(frozen=True)
class StreamedTable:
    """A table that is read in parts, and what its columns are.

    Parameters
    ----------
    source : Source
    features : list of str
        The columns that are features, in their order.
    dtype : type
        Type of the features: float32 if all of them are that or less, and else float64.
    n_bytes : float
        Memory for the rows that are held at once.
    label, sample_weight, groups : str or None, default=None
        The columns with these roles.
    log : bool, default=False
        Whether passes over all parts are printed.
    """

    source: Source
    features: list[str]
    dtype: Any
    n_bytes: float
    label: str | None = None
    sample_weight: str | None = None
    groups: str | None = None
    log: bool = False

    @property
    def roles(self) -> dict[str, str]:
        """The columns that are no features, by the name of their argument."""
        roles = {"y": self.label, "sample_weight": self.sample_weight, "groups": self.groups}
        return {role: name for role, name in roles.items() if name is not None}

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.features)

    @property
    def rows_per_chunk(self) -> int:
        """Number of rows that are read at once."""
        values = min(_CHUNK_VALUES, self.n_bytes / 8 / _CHUNK_FRACTION)
        return max(1, int(values / (self.n_features + 2)))

    def rows_within(self, fraction: float, itemsize: int) -> int:
        """Return the number of rows that fit into a fraction of the memory, at least one.

        Parameters
        ----------
        fraction : float
        itemsize : int
            Bytes of a feature.
        """
        per_row = itemsize * self.n_features + _BYTES_PER_ROW
        return max(1, int(self.n_bytes * fraction / per_row))

    def read(
        self, parts: Sequence[int] | None = None, names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, int, Columns]]:
        """Read parts of the table in chunks.

        Parameters
        ----------
        parts : sequence of int or None, default=None
            The parts in the order in which they are read. None for all.
        names : sequence of str or None, default=None
            The columns. None for all features and those with a role.

        Yields
        ------
        (part, first, columns)
            Rows of a part, from the position `first` in it.
        """
        parts = range(self.source.n_parts) if parts is None else parts
        if names is None:
            names = list(dict.fromkeys([*self.features, *self.roles.values()]))
        last_part, first = -1, 0
        log = PassLog() if self.log else None
        for part, columns in self.source.read(parts, names, self.rows_per_chunk):
            first = first if part == last_part else 0
            yield part, first, columns
            last_part, first = part, first + n_rows_of(columns)
            if log is not None:
                log.add(n_rows_of(columns))
        if log is not None:
            log.end()


class PassLog:
    """Prints how many rows of a pass were read, every ten seconds and at its end."""

    def __init__(self) -> None:
        self._n_rows, self._begin = 0, time.perf_counter()
        self._next = self._begin + _LOG_SECONDS

    def add(self, n_rows: int) -> None:
        """Count rows."""
        self._n_rows += n_rows
        if time.perf_counter() > self._next:
            self._next += _LOG_SECONDS
            self._print("so far")

    def end(self) -> None:
        """Print the rows of the whole pass."""
        self._print("in all")

    def _print(self, when: str) -> None:
        rate = self._n_rows / max(time.perf_counter() - self._begin, 1e-9)
        sys.stdout.write(f"pass: {self._n_rows:,} rows {when}, {rate:,.0f} rows/s\n")


def n_rows_of(columns: Columns) -> int:
    """Return the number of rows of columns."""
    return len(next(iter(columns.values())))


def as_matrix(columns: Columns, names: Sequence[str], dtype: Any) -> NDArray[Any]:
    """Return columns as a matrix of shape (n_samples, n_columns), in Fortran order.

    Columns are contiguous in memory where they come from, so they are copied as they are.
    """
    matrix = np.empty((n_rows_of(columns), len(names)), dtype=dtype, order="F")
    for j, name in enumerate(names):
        matrix[:, j] = columns[name]
    return matrix


def open_table(
    X: Any, roles: dict[str, Any], suffix: str = "", *, features: Sequence[str] | None = None
) -> StreamedTable:
    """Open a table, and check that it has the columns that are read.

    Parameters
    ----------
    X : Streamed or source
    roles : dict
        Names of the columns with the labels (``"y"``), the weights (``"sample_weight"``) and the
        groups (``"groups"``), or None.
    suffix : str, default=""
        Added to the names of the arguments in messages, such as ``"_val"``.
    features : sequence of str or None, default=None
        The columns that are features. None for all columns without a role.

    Raises
    ------
    ValueError
        If a name is no column, or a feature holds no numbers.
    """
    table = X if isinstance(X, Streamed) else Streamed(X)
    source = open_source(table)
    empty = source.empty()
    for role, name in roles.items():
        if name is not None and not (isinstance(name, str) and name in empty):
            got = repr(name) if isinstance(name, str) else f"an object of {type(name).__name__}"
            raise ValueError(
                f"{role}{suffix} must be the name of a column of X{suffix}, got {got}. The columns "
                f"are {_listed(empty)}."
            )
    names = [name for name in empty if name not in roles.values()]
    if features is not None:
        names = list(features)
        missing = [name for name in names if name not in empty]
        if missing:
            raise ValueError(
                f"X{suffix} must have the columns of fit, got none that is named "
                f"{_listed(missing)}. The columns are {_listed(empty)}."
            )
    if not names:
        raise ValueError(
            f"X{suffix} must have columns of features, got {_listed(empty)} only. Add features to "
            "the table."
        )
    return StreamedTable(
        source,
        names,
        _common_type(empty, names, f"X{suffix}"),
        table.n_bytes,
        label=roles.get("y"),
        sample_weight=roles.get("sample_weight"),
        groups=roles.get("groups"),
    )


def _common_type(empty: Columns, features: Sequence[str], name: str) -> Any:
    for each in features:
        if empty[each].dtype.kind not in "biuf":
            raise ValueError(
                f"{name} must hold numbers, got {empty[each].dtype} in column {each!r}. Encode it "
                "as numbers, or drop it."
            )
    common = np.result_type(*(empty[each].dtype for each in features))
    return np.float32 if common.kind == "f" and common.itemsize <= 4 else np.float64


def _listed(names: Iterable[str], n_shown: int = 10) -> str:
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:n_shown])
    return shown if len(names) <= n_shown else f"{shown} and {len(names) - n_shown} more"
