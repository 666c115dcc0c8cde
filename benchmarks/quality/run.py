"""Run the parts one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch

from benchmarks.data import MissingDataError
from benchmarks.machine import describe
from benchmarks.quality import fitting, tables
from benchmarks.quality.options import Options
from benchmarks.quality.report import SECTIONS, Outcome


def run(selected: Options, keep: Callable[[Outcome], None]) -> Outcome:
    """Run the selected parts on the tables that exist.

    Parameters
    ----------
    selected : Options
    keep : callable
        Called with the results after each part, so that an interrupted run is not lost.

    Returns
    -------
    Outcome
    """
    start = time.perf_counter()
    needed = {name for part in selected.parts for name in SECTIONS[part].TABLES}
    skipped = _missing(name for name in selected.tables if name in needed)
    available = replace(
        selected, tables=tuple(name for name in selected.tables if name not in skipped)
    )
    machine = describe("cuda" if torch.cuda.is_available() else "cpu")
    outcome = Outcome(machine, available, skipped=skipped)
    for part in selected.parts:
        section = SECTIONS[part]
        if not available.tables_among(section.TABLES):
            fitting.log(f"{part}: none of its tables exists: {', '.join(section.TABLES)}")
            continue
        outcome.parts[part] = section.measure(available)
        outcome.seconds = time.perf_counter() - start
        keep(outcome)
    return outcome


def _missing(names: Iterable[str]) -> dict[str, str]:
    """Return the tables whose files are missing, with the error messages."""
    missing = {}
    for name in names:
        try:
            tables.read(name)
        except MissingDataError as error:
            missing[name] = str(error)
    return missing
