"""Format records as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from statistics import mean
from typing import Any

Record = dict[str, Any]
Statistic = Callable[[list[float]], float]


def table(header: list[str], rows: list[list[str]]) -> str:
    """Format a table whose first column is text and whose other columns are numbers.

    Parameters
    ----------
    header : list of str
    rows : list of list of str
    """
    marks = ["---", *(["--:"] * (len(header) - 1))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, marks, *rows])


def distinct(records: Iterable[Record], key: str) -> list[Any]:
    """Return the distinct values of a key in order of appearance."""
    return list(dict.fromkeys(record[key] for record in records))


def select(records: Iterable[Record], **values: Hashable) -> list[Record]:
    """Return the records that have these values."""
    return [
        record for record in records if all(record[key] == value for key, value in values.items())
    ]


def summary(records: Iterable[Record], key: str, statistic: Statistic = mean) -> float | None:
    """Return a statistic over all records that have a value, or None."""
    known = [record[key] for record in records if record[key] is not None]
    return float(statistic(known)) if known else None


def number(value: float | None, digits: int = 4) -> str:
    """Format a number; None gives an empty string."""
    return "" if value is None else f"{value:.{digits}f}"


def pivot(
    records: list[Record],
    value: str,
    *,
    columns: str,
    last: tuple[str, Statistic] = ("mean", mean),
    digits: int = 4,
) -> str:
    """Format a table with a row for each data table and a last row over all of them.

    Parameters
    ----------
    records : list of Record
    value, columns : str
        Keys of the cells and of the columns.
    last : tuple of (str, callable)
        Name of the last row, and how it is computed from the cells above.
    digits : int
        Digits after the decimal point.
    """
    names, shown = distinct(records, "table"), distinct(records, columns)
    cells: list[list[float | None]] = [
        [summary(select(records, table=name, **{columns: each}), value) for each in shown]
        for name in names
    ]
    sums = [
        summary([{value: cell} for cell in column], value, last[1])
        for column in zip(*cells, strict=True)
    ]
    lines = zip([*names, last[0]], [*cells, sums], strict=True)
    rows = [[name, *(number(cell, digits) for cell in line)] for name, line in lines]
    return table(["table", *shown], rows)
