"""Makes Markdown of records."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from statistics import mean
from typing import Any

Record = dict[str, Any]
Statistic = Callable[[list[float]], float]


def table(header: list[str], rows: list[list[str]]) -> str:
    """Make a table whose first column is of words and whose others are of numbers.

    Parameters
    ----------
    header : list of str
    rows : list of list of str
    """
    marks = ["---", *(["--:"] * (len(header) - 1))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, marks, *rows])


def distinct(records: Iterable[Record], key: str) -> list[Any]:
    """Give the values of a key, each once, in the order of their first record."""
    return list(dict.fromkeys(record[key] for record in records))


def having(records: Iterable[Record], **values: Hashable) -> list[Record]:
    """Give the records that have these values."""
    return [
        record for record in records if all(record[key] == value for key, value in values.items())
    ]


def summary(records: Iterable[Record], key: str, statistic: Statistic = mean) -> float | None:
    """Give one number for all records, or None if none of them has one."""
    known = [record[key] for record in records if record[key] is not None]
    return float(statistic(known)) if known else None


def number(value: float | None, digits: int = 4) -> str:
    """Write a number, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def pivot(
    records: list[Record],
    value: str,
    *,
    columns: str,
    statistic: Statistic = mean,
    last: tuple[str, Statistic] = ("mean", mean),
    digits: int = 4,
) -> str:
    """Make a table with a line for every data table, and a last line that sums them up.

    Parameters
    ----------
    records : list of Record
    value, columns : str
        Keys of what the cells hold, and of what the columns are.
    statistic : callable
        Makes one cell of the seeds.
    last : tuple of (str, callable)
        Name of the last line, and what makes it of the cells above.
    digits : int
        After the point.
    """
    names, shown = distinct(records, "table"), distinct(records, columns)
    cells: list[list[float | None]] = [
        [
            summary(having(records, table=name, **{columns: each}), value, statistic)
            for each in shown
        ]
        for name in names
    ]
    sums = [
        summary([{value: cell} for cell in column], value, last[1])
        for column in zip(*cells, strict=True)
    ]
    lines = zip([*names, last[0]], [*cells, sums], strict=True)
    rows = [[name, *(number(cell, digits) for cell in line)] for name, line in lines]
    return table(["table", *shown], rows)
