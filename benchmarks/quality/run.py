"""Runs the parts one after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.data import MissingDataError
from benchmarks.machine import describe
from benchmarks.quality import fitting, tables
from benchmarks.quality.options import Options
from benchmarks.quality.report import CHAPTERS, Outcome


def run(wanted: Options, keep: Callable[[Outcome], None]) -> Outcome:
    """Run the parts that were asked for, on the tables that are there.

    Parameters
    ----------
    wanted : Options
    keep : callable
        Is given what is known after every part, so that a long run that is stopped is not lost.

    Returns
    -------
    Outcome
    """
    start = time.perf_counter()
    skipped = _missing(wanted.tables)
    there = replace(wanted, tables=tuple(name for name in wanted.tables if name not in skipped))
    machine = describe("cuda" if torch.cuda.is_available() else "cpu")
    outcome = Outcome(machine, there, skipped=skipped)
    for part in wanted.parts:
        chapter = CHAPTERS[part]
        if not there.tables_among(chapter.TABLES):
            fitting.say(f"{part}: none of its tables is there: {', '.join(chapter.TABLES)}")
            continue
        outcome.parts[part] = chapter.measure(there)
        outcome.seconds = time.perf_counter() - start
        keep(outcome)
    return outcome


def _missing(names: tuple[str, ...]) -> dict[str, str]:
    """Give the tables whose files are not there, and why."""
    missing = {}
    for name in names:
        try:
            tables.read(name)
        except MissingDataError as error:
            missing[name] = str(error)
    return missing
