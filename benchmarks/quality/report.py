"""Assemble the report and write it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.quality import pipelines, recall, stopping, thresholds
from benchmarks.quality.markdown import Record
from benchmarks.quality.options import Options

FILES = ("quality.md", "quality.json")
SECTIONS: dict[str, Any] = {
    "pipelines": pipelines,
    "thresholds": thresholds,
    "recall": recall,
    "stopping": stopping,
}


@dataclass
class Outcome:
    """All results of a run, from which the report is written.

    Parameters
    ----------
    machine : dict
        See `benchmarks.machine.describe`.
    options : Options
    parts : dict of str to list of Record
        Measurements of each part.
    skipped : dict of str to str
        Reasons why tables are missing.
    seconds : float
        Duration of the run.
    """

    machine: dict[str, str]
    options: Options
    parts: dict[str, list[Record]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def markdown(outcome: Outcome) -> str:
    """Return the report in Markdown."""
    sections = ["# Quality", _head(outcome)]
    sections += [SECTIONS[part].report(records) for part, records in outcome.parts.items()]
    if outcome.skipped:
        lines = [f"- {name}: {reason}" for name, reason in outcome.skipped.items()]
        sections += ["## Skipped tables", "\n".join(lines)]
    return "\n\n".join(sections) + "\n"


def write(outcome: Outcome, folder: Path) -> None:
    """Write the Markdown and the JSON file.

    Parameters
    ----------
    outcome : Outcome
    folder : Path
        Created if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILES[0]).write_text(markdown(outcome))
    contents = {
        "machine": outcome.machine,
        "settings": outcome.options.as_dict(),
        "seconds": outcome.seconds,
        "skipped": outcome.skipped,
        "parts": outcome.parts,
    }
    (folder / FILES[1]).write_text(json.dumps(contents, indent=1))


def _head(outcome: Outcome) -> str:
    options = outcome.options
    machine = ", ".join(
        value if name in {"processor", "system"} else f"{name} {value}"
        for name, value in outcome.machine.items()
    )
    quick = " `--quick`: the numbers are rough." if options.quick else ""
    sizes = {*options.sizes} if "pipelines" in outcome.parts else set()
    if set(outcome.parts) != {"pipelines"}:
        sizes.add(options.rows)
    rows = " or ".join(f"{size:,}" for size in sorted(sizes))
    return (
        f"{machine}. Threads: {options.threads}, training rows: {rows}, and at most "
        f"three quarters of a table. The run took {outcome.seconds / 60:.1f} minutes.{quick}"
    )
