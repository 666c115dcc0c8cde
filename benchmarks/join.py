"""Join the results of several runs, so that the benchmarks can be run in parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import cases
from benchmarks.results import Outcome, Result


def join(files: Sequence[Path]) -> Outcome:
    """Join the results of several runs.

    Parameters
    ----------
    files : sequence of Path
        The JSON files of runs on the same machine. If a case is in more than one of them, the
        last one is used.

    Returns
    -------
    Outcome
        With the settings of the first run, and the threads and rounds of all runs.

    Raises
    ------
    ValueError
        If the machines differ, or if only some of the runs used ``--quick``.
    """
    runs = [json.loads(path.read_text()) for path in files]
    for name in ("processor", "system"):
        found = {run["machine"].get(name) for run in runs}
        if len(found) > 1:
            raise ValueError(f"{name} must be the same in all runs, got {sorted(map(str, found))}.")
    if len({run["settings"]["quick"] for run in runs}) > 1:
        raise ValueError("--quick must be used in all runs or in none, got both. Repeat some runs.")
    joined = Outcome(runs[0]["machine"], _settings(runs), [])
    for run in runs:
        measured = set(run["shapes"]) | {result["case"] for result in run["results"]}
        joined.results = [result for result in joined.results if result.case not in measured]
        joined.results += [_result(fields) for fields in run["results"]]
        joined.shapes |= run["shapes"]
        joined.skipped |= run["skipped"]
        joined.seconds += run["seconds"]
    names = {result.case for result in joined.results}
    joined.cases = [case for case in cases.ALL if case.name in names]
    joined.shapes = {c.name: joined.shapes[c.name] for c in joined.cases if c.name in joined.shapes}
    return joined


def _settings(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    joined = dict(runs[0]["settings"])
    for name in ("threads", "rounds"):
        values = sorted({run["settings"][name] for run in runs})
        joined[name] = " or ".join(map(str, values))
    return joined


def _result(fields: dict[str, Any]) -> Result:
    return Result(*(fields[n] for n in ("case", "contender", "values", "reason", "details")))
