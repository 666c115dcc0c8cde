"""The loosest tolerance at which a logistic contender is accurate enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.cases import LogisticCase
from benchmarks.processes import ContenderProcess, TimeLimitError

TOLERANCES = tuple(10.0**-power for power in range(2, 13))
# Enough to measure the time of an iteration; most solvers need no more.
_FIRST_ITERATIONS = 100
_MAX_ITERATIONS = 1_000_000


@dataclass
class Search:
    """Result of the search for a tolerance.

    Parameters
    ----------
    reached : bool
        Whether a tolerance reaches the required accuracy.
    answer : dict or None
        The worker's answer at that tolerance, else at the most accurate one, with its ``tol`` and
        ``max_iter``. None if no fit ended in time.
    suboptimality : float
        Relative distance of that answer from the best known objective.
    reason : str or None
        Why the search ended early.
    """

    reached: bool = False
    answer: dict[str, Any] | None = None
    suboptimality: float = float("inf")
    reason: str | None = None


def find(process: ContenderProcess, case: LogisticCase, best: float, limit: float) -> Search:
    """Try tighter and tighter tolerances until a fit is accurate enough.

    The number of iterations is limited to what fits into the time, so that a slow solver still
    reports how close it came. A solver that exceeds twice the time is killed.

    Parameters
    ----------
    process : ContenderProcess
    case : LogisticCase
    best : float
        The best known objective.
    limit : float
        Maximum seconds of a fit.

    Returns
    -------
    Search
    """
    search = Search()
    max_iter, most = _FIRST_ITERATIONS, _MAX_ITERATIONS
    remaining = list(TOLERANCES)
    while remaining:
        try:
            answer = process.call(
                "fit_logistic", case, remaining[0], max_iter, 0.0, limit=2 * limit
            )
        except TimeLimitError as error:
            search.reason = f"{error} at tol={remaining[0]:g}"
            break
        answer |= {"tol": remaining[0], "max_iter": max_iter}
        suboptimality = (answer["objective"] - best) / abs(best)
        if search.answer is None or suboptimality < search.suboptimality:
            search.answer, search.suboptimality = answer, suboptimality
        exhausted = answer["iterations"] >= max_iter
        if exhausted and max_iter < most:
            most = int(limit / answer["seconds"] * max_iter)
            max_iter = max(max_iter, min(most, _MAX_ITERATIONS))
            most = max_iter
            continue
        search.reached = suboptimality <= case.accuracy
        if search.reached or exhausted:
            if not search.reached:
                search.reason = f"not within {limit:g} s"
            break
        remaining.pop(0)
    return search
