"""Results of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np


@dataclass
class Result:
    """Measurements of a contender in a case.

    Parameters
    ----------
    case, contender : str
    values : list of float
        One per round: seconds, or multiples of X for memory. Empty if the contender does not
        support the case or did not reach the optimum.
    reason : str or None
        Why `values` is empty.
    details : dict
        Other results: ``loss``, ``suboptimality``, ``tol``, ``iterations``, ``solver``, ``warned``,
        ``seconds`` of the fit that came closest; of searches the best ``score`` and all
        ``split_scores``.
    """

    case: str
    contender: str
    values: list[float] = field(default_factory=list)
    reason: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return median(self.values)


@dataclass
class Outcome:
    """All results of a run, from which the report is written.

    Parameters
    ----------
    machine : dict
        See `benchmarks.machine.describe`.
    settings : dict
        Options of the run.
    cases : list of Case
    results : list of Result
    skipped : dict of str to str
        Reasons why cases could not be run.
    shapes : dict of str to str
        ``"200,000 x 50"`` for each case that has data.
    seconds : float
        Duration of the run.
    """

    machine: dict[str, str]
    settings: dict[str, Any]
    cases: list[Any]
    results: list[Result] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def find(self, case: str, contender: str) -> Result | None:
        """Return the result of a contender in a case, or None."""
        for result in self.results:
            if (result.case, result.contender) == (case, contender):
                return result
        return None

    def contenders(self, case: str) -> list[str]:
        """Return the contenders that have a result in a case, or a reason for having none."""
        return [result.contender for result in self.results if result.case == case]

    def ratios(self, case: str, peer: str) -> list[float]:
        """Divide skbinary's value by the peer's in each round, so that drift affects both."""
        ours, theirs = self.find(case, "skbinary"), self.find(case, peer)
        if ours is None or theirs is None:
            return []
        return [a / b for a, b in zip(ours.values, theirs.values, strict=False)]

    def ratio(self, case: str, peer: str) -> float | None:
        """Return the median of the ratios, or None if one of the two has no values."""
        ratios = self.ratios(case, peer)
        return median(ratios) if ratios else None

    def largest_difference(self, case: str, one: str, other: str) -> float | None:
        """Return the largest difference between the split scores of two searches, or None."""
        results = [self.find(case, contender) for contender in (one, other)]
        scores = [result.details.get("split_scores") if result else None for result in results]
        if None in scores:
            return None
        return float(np.abs(np.subtract(*scores)).max())

    def peer_ratios(self, case: str) -> dict[str, float]:
        """Return the ratios to all peers that have values."""
        ratios = {name: self.ratio(case, name) for name in self.contenders(case)}
        return {
            name: ratio
            for name, ratio in ratios.items()
            if ratio is not None and name != "skbinary"
        }
