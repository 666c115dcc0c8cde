"""Joins the results of several runs, so that a long suite can be run in pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import cases
from benchmarks.results import Outcome, Result


def join(files: Sequence[Path]) -> Outcome:
    """Read runs, and make one of them.

    Parameters
    ----------
    files : sequence of Path
        The JSON files of runs on the same machine. Where a case is in more than one of them, the
        last one counts.

    Returns
    -------
    Outcome
        With the settings of the first, and how many threads each of them had.

    Raises
    ------
    ValueError
        If they were not run on the same machine, or not all of them with or without ``--quick``.
    """
    runs = [json.loads(path.read_text()) for path in files]
    for name in ("processor", "system"):
        found = {run["machine"].get(name) for run in runs}
        if len(found) > 1:
            raise ValueError(f"All runs must be of one {name}. Got {sorted(map(str, found))}.")
    if len({run["settings"]["quick"] for run in runs}) > 1:
        raise ValueError("All runs must be quick ones, or none. Run some of them again.")
    whole = Outcome(runs[0]["machine"], _settings(runs), [])
    for run in runs:
        measured = set(run["shapes"]) | {result["case"] for result in run["results"]}
        whole.results = [result for result in whole.results if result.case not in measured]
        whole.results += [_result(fields) for fields in run["results"]]
        whole.shapes |= run["shapes"]
        whole.skipped |= run["skipped"]
        whole.seconds += run["seconds"]
    names = {result.case for result in whole.results}
    whole.cases = [case for case in cases.ALL if case.name in names]
    whole.shapes = {c.name: whole.shapes[c.name] for c in whole.cases if c.name in whole.shapes}
    return whole


def _settings(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    joined = dict(runs[0]["settings"])
    for name in ("threads", "rounds"):
        values = sorted({run["settings"][name] for run in runs})
        joined[name] = " or ".join(map(str, values))
    return joined


def _result(fields: dict[str, Any]) -> Result:
    return Result(*(fields[n] for n in ("case", "contender", "values", "reason", "details")))
