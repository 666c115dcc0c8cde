"""Command line options of the quality benchmarks."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.__main__ import _positive

PARTS = ("pipelines", "thresholds", "recall", "stopping")
STUDIES = ("size", "patience", "rate", "ensemble")
# The parts that preprocess the features have these tables, "pipelines" has all.
PREPROCESSED_TABLES = (
    "adult",
    "covtype",
    "credit_default",
    "mammography",
    "spambase",
    "higgs_lgbm",
)
TABLES = (
    *PREPROCESSED_TABLES,
    "bank_marketing",
    "credit_data",
    "german_credit",
    "telco_churn",
    "diabetes130",
)
SIZES = (500, 2000, 5000, 20_000)
CONTENDERS = (
    "skbinary",
    "TorchMLPClassifier",
    "CatBoost",
    "LightGBM",
    "XGBoost",
    "HistGradientBoosting",
    "LogisticRegression",
    "RandomForest",
)
# All parts use both, and both load quickly.
_QUICK_TABLES = ("mammography", "credit_default")


@dataclass(frozen=True)
class Options:
    """Options of a run.

    Parameters
    ----------
    tables : tuple of str
        Names of the data tables. Each part uses those of them that it supports.
    parts : tuple of str
    studies : tuple of str
        Studies of the part "stopping".
    seeds : int or None
        Number of seeds. None uses the default of each part.
    rows : int
        Number of training rows.
    sizes : tuple of int
        Numbers of training rows of the part "pipelines".
    contenders : tuple of str
        Models of the part "pipelines" that are measured. Empty measures all, except what the
        files of `reuse` hold.
    reuse : tuple of str
        JSON files with records of the part "pipelines".
    records : str or None
        JSON file to which the part "pipelines" writes its records after each split.
    quick : bool
        Whether to measure roughly within a minute or two.
    threads : int
    """

    tables: tuple[str, ...] = TABLES
    parts: tuple[str, ...] = PARTS[:3]
    studies: tuple[str, ...] = STUDIES
    seeds: int | None = None
    rows: int = 5000
    sizes: tuple[int, ...] = SIZES
    contenders: tuple[str, ...] = ()
    reuse: tuple[str, ...] = ()
    records: str | None = None
    quick: bool = False
    threads: int = 1

    def seeds_or(self, default: int) -> range:
        """Return the seeds, `default` of them unless the number was set."""
        return range(self.seeds or (1 if self.quick else default))

    def tables_among(self, names: tuple[str, ...]) -> list[str]:
        """Return the selected tables that are among `names`."""
        return [name for name in self.tables if name in names]

    def as_dict(self) -> dict[str, Any]:
        """Return the options for the JSON file."""
        return asdict(self)


def parse(arguments: list[str] | None, cores: int) -> tuple[Options, Path | None]:
    """Parse the command line.

    Parameters
    ----------
    arguments : list of str or None
        None uses those of the process.
    cores : int
        Default of ``--threads``.

    Returns
    -------
    options : Options
    output : Path or None
        Folder of the report.
    """
    given = _parser(cores).parse_args(arguments)
    quick = given.quick
    options = Options(
        tables=tuple(given.table or (_QUICK_TABLES if quick else TABLES)),
        parts=tuple(given.part or PARTS[:3]),
        studies=tuple(given.study or STUDIES),
        seeds=given.seeds,
        rows=given.rows or (500 if quick else 5000),
        sizes=tuple(given.size or (SIZES[:1] if quick else SIZES)),
        contenders=tuple(given.contender or ()),
        reuse=tuple(given.reuse or ()),
        records=given.records,
        quick=quick,
        threads=given.threads,
    )
    return options, given.output


def _parser(cores: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="Measure the quality of probabilities and tuned thresholds.",
    )
    again = "can be repeated"
    parser.add_argument(
        "--part", action="append", choices=PARTS, help=f"default: the first three; {again}"
    )
    parser.add_argument("--table", action="append", choices=TABLES, help=f"default: all; {again}")
    parser.add_argument(
        "--study",
        action="append",
        choices=STUDIES,
        help=f"study of the part stopping; default: all; {again}",
    )
    parser.add_argument(
        "--seeds",
        type=_positive,
        metavar="N",
        help="default: 5; in stopping and pipelines 3",
    )
    parser.add_argument(
        "--rows",
        type=_positive,
        metavar="N",
        help="training rows; default: 5000; the part recall uses 2000",
    )
    pipelines = parser.add_argument_group("the part pipelines")
    pipelines.add_argument(
        "--size",
        type=_positive,
        action="append",
        metavar="N",
        help=f"training rows; default: {', '.join(map(str, SIZES))}; {again}",
    )
    pipelines.add_argument(
        "--contender",
        action="append",
        choices=CONTENDERS,
        help=f"measure only this model, also where --reuse has records of it; {again}",
    )
    pipelines.add_argument(
        "--reuse",
        action="append",
        metavar="FILE",
        help=f"take the records of other models from this JSON file; {again}",
    )
    pipelines.add_argument(
        "--records",
        metavar="FILE",
        help="write all records to this JSON file after each split, for --reuse",
    )
    parser.add_argument(
        "--quick", action="store_true", help="1 seed, 500 rows and two tables, for rough results"
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        default=cores,
        help="threads of each contender (default: number of cores)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder of the report and the chart",
    )
    return parser
