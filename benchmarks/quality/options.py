"""What the command line of the quality benchmarks asks for."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.__main__ import _positive

PARTS = ("probabilities", "thresholds", "recall", "stopping")
STUDIES = ("size", "patience", "rate", "members")
TABLES = ("adult", "covtype", "credit_default", "mammography", "spambase", "higgs_lgbm")
# Every part has a use for both, and both are read quickly.
_QUICK_TABLES = ("mammography", "credit_default")


@dataclass(frozen=True)
class Options:
    """What to run, and how much of it.

    Parameters
    ----------
    tables : tuple of str
        Names of the data tables. A part takes those of them that it is about.
    parts : tuple of str
    studies : tuple of str
        Which studies of the part "stopping".
    seeds : int or None
        How often everything is drawn and fitted. None leaves it to the part.
    rows : int
        Training rows.
    quick : bool
        Whether to be done in a minute or two, and rough.
    threads : int
    """

    tables: tuple[str, ...] = TABLES
    parts: tuple[str, ...] = PARTS[:3]
    studies: tuple[str, ...] = STUDIES
    seeds: int | None = None
    rows: int = 5000
    quick: bool = False
    threads: int = 1

    def seeds_or(self, default: int) -> range:
        """Give the seeds, as many as were asked for, else as many as `default` says."""
        return range(self.seeds or (1 if self.quick else default))

    def tables_among(self, names: tuple[str, ...]) -> list[str]:
        """Give those of the chosen tables that a part is about."""
        return [name for name in self.tables if name in names]

    def as_dict(self) -> dict[str, Any]:
        """Give what the JSON file says about the run."""
        return asdict(self)


def parse(arguments: list[str] | None, cores: int) -> tuple[Options, Path | None]:
    """Read the command line.

    Parameters
    ----------
    arguments : list of str or None
        None takes those of the process.
    cores : int
        The default of ``--threads``.

    Returns
    -------
    options : Options
    output : Path or None
        The folder to write to.
    """
    given = _parser(cores).parse_args(arguments)
    quick = given.quick
    options = Options(
        tables=tuple(given.table or (_QUICK_TABLES if quick else TABLES)),
        parts=tuple(given.part or PARTS[:3]),
        studies=tuple(given.study or STUDIES),
        seeds=given.seeds,
        rows=given.rows or (500 if quick else 5000),
        quick=quick,
        threads=given.threads,
    )
    return options, given.output


def _parser(cores: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="Are the probabilities honest, do the thresholds decide well?",
    )
    again = "may be given again"
    parser.add_argument(
        "--part", action="append", choices=PARTS, help=f"default: the first three; {again}"
    )
    parser.add_argument("--table", action="append", choices=TABLES, help=f"default: all; {again}")
    parser.add_argument(
        "--study",
        action="append",
        choices=STUDIES,
        help=f"of the part stopping, default: all; {again}",
    )
    parser.add_argument(
        "--seeds", type=_positive, metavar="N", help="default: 5, in the part stopping 3"
    )
    parser.add_argument(
        "--rows",
        type=_positive,
        metavar="N",
        help="to train on; default: 5000; the part recall has 2000",
    )
    parser.add_argument(
        "--quick", action="store_true", help="1 seed, 500 rows and two tables, for a rough look"
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        default=cores,
        help="of every contender (default: the count of cores)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where quality.md and quality.json go"
    )
    return parser
