"""Tables that are read in parts: Parquet files, pyarrow datasets, lazy frames, Dask frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skbinary.runtime.memory import parse_bytes
from skbinary.runtime.optional import require

Columns = dict[str, NDArray[Any]]

_KINDS = {("pyarrow", "Dataset"), ("polars", "LazyFrame"), ("dask", "DataFrame")}
_NUMBERS = "biuf"


class Streamed:
    """A table that is larger than memory, and how much of it is held in memory at once.

    Pass it as `X` to ``fit``, with the name of the label column as `y`, and to the methods that
    predict. A table without settings, such as a path, can be passed as it is.

    Parameters
    ----------
    source : str, Path, pyarrow.dataset.Dataset, polars.LazyFrame or dask DataFrame
        The table: the path of a Parquet file or of a folder of such files, or an object that is
        read in parts. A Dask data frame is read in this process, one partition at a time.
    memory : float or str, default="500MB"
        Bytes, or a string with a unit such as ``"2GB"``, for the rows that are held at once. A
        table of at most a quarter of it is read once, and fitted as an array. Of a larger one, a
        sample, the held-out rows and the rows that a network shuffles are held. PyTorch itself and
        the buffers of the reader come on top: about 500 MB.

    Raises
    ------
    TypeError
        If `source` is no such table.
    ValueError
        If `memory` is no amount of memory.

    Examples
    --------
    >>> from skbinary.streaming import Streamed
    >>> Streamed("rows.parquet", memory="2GB")
    Streamed('rows.parquet', memory='2GB')
    """

    def __init__(self, source: Any, *, memory: float | str = "500MB"):
        if isinstance(source, Streamed) or not is_source(source):
            raise TypeError(
                "source must be a path, a pyarrow dataset, a polars LazyFrame or a Dask data "
                f"frame, got {type(source).__name__}. Pass data in memory to fit directly."
            )
        n_bytes = parse_bytes(memory, "memory")
        if n_bytes is None or not 0 < n_bytes < float("inf"):
            raise ValueError(
                f"memory must be a positive amount of memory, got {memory!r}. Write a number of "
                "bytes, or a string such as '500MB'."
            )
        self.source = source
        self.memory = memory
        self.n_bytes = n_bytes

    def __repr__(self) -> str:
        return f"Streamed({self.source!r}, memory={self.memory!r})"


def is_source(values: Any) -> bool:
    """Check whether an object is a table that is read in parts, without an import of its library.

    A string is taken for a path.
    """
    if isinstance(values, str | Path | Streamed):
        return True
    return _kind(values) is not None


def _kind(values: Any) -> tuple[str, str] | None:
    for each in type(values).__mro__:
        library = each.__module__.partition(".")[0].partition("_")[0]
        if (library, each.__name__) in _KINDS:
            return library, each.__name__
    return None


class Source(Protocol):
    """A table of named columns in numbered parts, which are read independently of each other."""

    n_parts: int

    def empty(self) -> Columns:
        """Return all columns without rows, in their order."""
        ...

    def read(
        self, parts: Sequence[int], names: Sequence[str], n_rows: int
    ) -> Iterator[tuple[int, Columns]]:
        """Read columns of parts.

        Yields
        ------
        (part, columns)
            At most about `n_rows` rows of a part, in a fixed order.
        """
        ...


def open_source(table: Streamed) -> Source:
    """Return what reads a table.

    Raises
    ------
    ImportError
        If pyarrow is not installed and the table is a path.
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If a file is none of Parquet, or if a folder has no files.
    """
    source = table.source
    kind = _kind(source)
    if kind == ("polars", "LazyFrame"):
        return _PolarsSource(source)
    if kind == ("dask", "DataFrame"):
        return _DaskSource(source)
    if kind is not None:
        return _ArrowSource(source)
    return _parquet_source(source)


def _parquet_source(path: str | Path) -> Source:
    arrow = require("pyarrow", "parquet", "Parquet files")
    dataset = require("pyarrow.dataset", "parquet", "Parquet files")
    rule = (
        "X must be the path of a Parquet file or of a folder of such files, got "
        f"{str(path)!r}, which"
    )
    if not Path(path).exists():
        raise FileNotFoundError(f"{rule} does not exist. Check the path.")
    try:
        source = _ArrowSource(dataset.dataset(str(path), format="parquet", partitioning="hive"))
    except arrow.ArrowInvalid as error:
        raise ValueError(
            f"{rule} is read with the error {str(error)!r}. Pass other files, such as CSV, as a "
            "pyarrow.dataset.dataset of their format."
        ) from None
    if source.n_parts == 0 and not source.empty():
        raise ValueError(f"{rule} has no files. Check the path.")
    return source


class _ArrowSource:
    """A pyarrow dataset, whose parts are the row groups of its files."""

    def __init__(self, dataset: Any):
        module = require("pyarrow.dataset", "parquet", "pyarrow datasets")
        # A buffer of whole row groups takes as much memory again, and time where they are large.
        parquet = {"fragment_scan_options": module.ParquetFragmentScanOptions(pre_buffer=False)}
        self._schema = dataset.schema
        self._parts: list[tuple[Any, dict[str, Any]]] = []
        for fragment in dataset.get_fragments():
            if hasattr(fragment, "split_by_row_group"):
                self._parts += [(each, parquet) for each in fragment.split_by_row_group()]
            else:
                self._parts.append((fragment, {}))
        self.n_parts = len(self._parts)

    def empty(self) -> Columns:
        table = self._schema.empty_table()
        return {name: table[name].to_numpy() for name in self._schema.names}

    def read(
        self, parts: Sequence[int], names: Sequence[str], n_rows: int
    ) -> Iterator[tuple[int, Columns]]:
        for part in parts:
            for batch in self._batches(*self._parts[part], names, n_rows):
                if batch.num_rows:
                    yield part, {name: _arrow_values(batch, name) for name in names}

    def _batches(
        self, fragment: Any, options: dict[str, Any], names: Sequence[str], n_rows: int
    ) -> Iterator[Any]:
        try:
            # Read ahead as little as keeps the decoding threads busy.
            yield from fragment.to_batches(
                schema=self._schema,
                columns=list(names),
                batch_size=n_rows,
                batch_readahead=2,
                fragment_readahead=1,
                **options,
            )
        except (OSError, require("pyarrow", "parquet", "pyarrow datasets").ArrowInvalid) as error:
            raise ValueError(
                f"X must be whole files with columns of the same types, got the error "
                f"{str(error)!r} in {getattr(fragment, 'path', 'a part')!r}. Write this file "
                "again, or leave it out."
            ) from error


def _arrow_values(batch: Any, name: str) -> NDArray[Any]:
    column = batch.column(name)
    _check_no_missing(name, column.null_count)
    return np.asarray(column.to_numpy(zero_copy_only=False))


class _PolarsSource:
    """A lazy frame, which polars' streaming engine computes anew in each pass."""

    n_parts = 1

    def __init__(self, frame: Any):
        if not hasattr(frame, "collect_batches"):
            raise ValueError(
                "polars must have LazyFrame.collect_batches to stream a lazy frame, got an older "
                "version. Upgrade polars, or write the frame with sink_parquet and pass its path."
            )
        self._frame = frame

    def empty(self) -> Columns:
        frame = self._frame.head(0).collect()
        return {name: frame[name].to_numpy() for name in frame.columns}

    def read(
        self, parts: Sequence[int], names: Sequence[str], n_rows: int
    ) -> Iterator[tuple[int, Columns]]:
        for part in parts:
            batches = self._frame.select(list(names)).collect_batches(chunk_size=n_rows)
            for frame in batches:
                for first in range(0, len(frame), n_rows):
                    rows = frame[first : first + n_rows]
                    for name in names:
                        _check_no_missing(name, rows[name].null_count())
                    yield part, {name: rows[name].to_numpy() for name in names}


class _DaskSource:
    """A Dask data frame, whose partitions are computed one by one in this process."""

    def __init__(self, frame: Any):
        unnamed = [name for name in frame.columns if not isinstance(name, str)]
        if unnamed:
            raise ValueError(
                f"The columns of X must have strings as names, got {unnamed[0]!r}. Rename them "
                "with X.rename(columns=str)."
            )
        self._frame = frame
        self.n_parts = frame.npartitions

    def empty(self) -> Columns:
        frame = self._frame._meta
        return {name: _pandas_values(frame[name]) for name in frame.columns}

    def read(
        self, parts: Sequence[int], names: Sequence[str], n_rows: int
    ) -> Iterator[tuple[int, Columns]]:
        for part in parts:
            frame = self._frame.partitions[part][list(names)].compute(scheduler="synchronous")
            for first in range(0, len(frame), n_rows):
                rows = frame.iloc[first : first + n_rows]
                for name in names:
                    _check_no_missing(name, int(rows[name].isna().sum()))
                yield part, {name: _pandas_values(rows[name]) for name in names}


def _pandas_values(column: Any) -> NDArray[Any]:
    # Numbers of pandas' own types are objects in NumPy otherwise.
    dtype = getattr(column.dtype, "numpy_dtype", None)
    is_number = dtype is not None and dtype.kind in _NUMBERS
    return np.asarray(column.to_numpy(dtype=dtype) if is_number else column.to_numpy())


def _check_no_missing(name: str, n_missing: int) -> None:
    if n_missing:
        raise ValueError(
            f"Column {name!r} must hold a value in each row, got a missing value. Impute the "
            "missing values, or drop these rows."
        )
