"""The loosest tolerance at which a logistic contender is accurate enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.cases import LogisticCase
from benchmarks.crew import Member, TimeLimitError

LADDER = tuple(10.0**-power for power in range(2, 13))
# Enough to see how long one takes; most solvers need no more.
_FIRST_ITERATIONS = 100
_MOST_ITERATIONS = 1_000_000


@dataclass
class Search:
    """How far a contender came.

    Parameters
    ----------
    reached : bool
        Whether a tolerance is tight enough.
    answer : dict or None
        The worker's answer at that tolerance, else at the one that came closest, with its ``tol``
        and ``max_iter``. None if no fit ended in time.
    gap : float
        Its relative distance from the best known objective.
    gave_up : str or None
        Why the search ended early.
    """

    reached: bool = False
    answer: dict[str, Any] | None = None
    gap: float = float("inf")
    gave_up: str | None = None


def find(member: Member, case: LogisticCase, best: float, limit: float) -> Search:
    """Climb down the ladder until a fit is accurate enough.

    Iterations are limited to what fits into the time, so that a solver that crawls still says how
    close it came. One that does not keep to it is killed after twice the time.

    Parameters
    ----------
    member : Member
    case : LogisticCase
    best : float
        The best known objective.
    limit : float
        Seconds that a fit may take.

    Returns
    -------
    Search
    """
    search = Search()
    max_iter, most = _FIRST_ITERATIONS, _MOST_ITERATIONS
    rungs = list(LADDER)
    while rungs:
        try:
            answer = member.ask("fit_logistic", case, rungs[0], max_iter, 0.0, limit=2 * limit)
        except TimeLimitError as error:
            search.gave_up = f"{error} at tol={rungs[0]:g}"
            break
        answer |= {"tol": rungs[0], "max_iter": max_iter}
        gap = (answer["objective"] - best) / abs(best)
        if search.answer is None or gap < search.gap:
            search.answer, search.gap = answer, gap
        exhausted = answer["iterations"] >= max_iter
        if exhausted and max_iter < most:
            most = int(limit / answer["seconds"] * max_iter)
            max_iter = max(max_iter, min(most, _MOST_ITERATIONS))
            most = max_iter
            continue
        search.reached = gap <= case.accuracy
        if search.reached or exhausted:
            if not search.reached:
                search.gave_up = f"not within {limit:g} s"
            break
        rungs.pop(0)
    return search
