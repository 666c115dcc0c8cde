"""Default models on raw data frames, from preprocessing to probabilities."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.quality import fitting, options, pipeline_report, tables
from benchmarks.quality.markdown import Record
from benchmarks.quality.pipeline_models import CONTENDERS, categorical_columns

TABLES = options.TABLES
_SEEDS = 3
_WARM_UP_ROWS = 200
# A table with fewer training rows than this fraction of a size is left out at that size.
_MIN_FRACTION = 0.5

report = pipeline_report.report


class Key(NamedTuple):
    """What identifies a fit.

    Parameters
    ----------
    contender, table : str
    rows, seed, threads : int
        The number of rows is the requested one, which small tables do not have.
    """

    contender: str
    table: str
    rows: int
    seed: int
    threads: int

    @classmethod
    def of(cls, record: Record) -> Key:
        """Return the key of a record."""
        return cls(*(record[name] for name in cls._fields))


def measure(selected: options.Options) -> list[Record]:
    """Fit and evaluate every model on every table with every number of training rows.

    Parameters
    ----------
    selected : Options

    Returns
    -------
    list of Record
        One for each fit: ``contender``, ``table``, ``rows``, ``seed``, ``threads``, ``version``,
        ``training_rows``, ``seconds``, ``cpu_seconds``, ``converged``, ``log_loss``, ``auc``,
        ``brier``, ``ece``.
    """
    known = read_records(selected.reuse)
    names = installed(selected.contenders or tuple(CONTENDERS))
    splits = list(_splits(selected))
    needed = {key for key in _keys(names, splits) if selected.contenders or key not in known}
    for name in dict.fromkeys(key.contender for key in sorted(needed)):
        _fit(Key(name, splits[0].table, _WARM_UP_ROWS, 0, selected.threads))
    for where in splits:
        own = [key for key in _keys(names, [where]) if key in needed]
        if not own:
            continue
        fitting.log(f"pipelines: {where.table}, {where.rows} rows, seed {where.seed}")
        for key in fitting.rotated(own, where.seed):
            known[key] = _fit(key)
        if selected.records:
            write_records(known.values(), Path(selected.records))
    shown = [key for name in CONTENDERS for key in _keys([name], splits) if key in known]
    return [known[key] for key in shown]


def read_records(paths: Iterable[str]) -> dict[Key, Record]:
    """Return the records of JSON files; of two with the same key, the later one.

    Parameters
    ----------
    paths : iterable of str
        Files of `write_records`, or of `report.write`.
    """
    records: list[Record] = []
    for path in paths:
        contents = json.loads(Path(path).read_text())
        records += contents if isinstance(contents, list) else contents["parts"]["pipelines"]
    return {Key.of(record): record for record in records}


def write_records(records: Iterable[Record], path: Path) -> None:
    """Write records, so that a reader sees the old file or the new one, never a part of it."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(json.dumps(list(records), indent=1))
    unfinished.replace(path)


def installed(names: Iterable[str]) -> list[str]:
    """Return the models whose packages are installed, and log the others."""
    found = []
    for name in names:
        if CONTENDERS[name].is_installed:
            found.append(name)
        else:
            fitting.log(f"pipelines: {name} is left out, since it is not installed.")
    return found


def takes_part(n_rows: int, size: int) -> bool:
    """Return whether a table is long enough for a number of training rows."""
    return tables.max_training_rows(n_rows) >= _MIN_FRACTION * size


def _splits(selected: options.Options) -> Iterator[Key]:
    """Yield the splits, as keys without a contender: first all splits of the first seed."""
    for seed in selected.seeds_or(_SEEDS):
        for rows in selected.sizes:
            for name in selected.tables_among(TABLES):
                if takes_part(len(tables.read(name)[1]), rows):
                    yield Key("", name, rows, seed, selected.threads)


def _keys(names: Iterable[str], splits: Iterable[Key]) -> list[Key]:
    return [where._replace(contender=name) for where in splits for name in names]


def _fit(key: Key) -> Record:
    X_train, y_train, X_test, y_test = tables.raw_split(key.table, key.rows, key.seed)
    contender = CONTENDERS[key.contender]
    model: Any = contender.make(categorical_columns(X_train), key.seed, key.threads)
    start = time.process_time()
    fit = fitting.fit(model, X_train, y_train)
    cpu_seconds = time.process_time() - start
    return {
        **key._asdict(),
        "version": contender.version,
        "training_rows": len(y_train),
        **asdict(fit),
        "cpu_seconds": cpu_seconds,
        **fitting.evaluate(model, X_test, y_test),
    }
