"""Targets of the package: upper bounds of the median ratios skbinary / peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Outcome

_SMALL_NETWORKS = ("mlp/circles", "mlp/table", "mlp/images", "mlp/text")
_LARGE_NETWORKS = ("mlp/wide", "mlp/big-batch")
_NETWORK_PEERS = ("MLPClassifier", "plain PyTorch", "skorch")
_NETWORK_LIMITS = {_SMALL_NETWORKS: (0.5, 0.7, 0.2), _LARGE_NETWORKS: (0.9, 1.0, 0.8)}
_MODULE_LIMITS = {"plain PyTorch": 1.05, "skorch": 0.4}
_LARGE_LOGISTIC = ("logistic/dense", "logistic/covtype", "logistic/long")
_HALVING_LIMITS = {"skbinary, full grid": 0.4, "HalvingGridSearchCV, skbinary": 0.5}
_SEARCH_LIMITS = {
    "grid/mlp": {"GridSearchCV, MLPClassifier": 0.25, "GridSearchCV, skorch": 0.08},
    "grid/module": {"GridSearchCV, skorch": 0.25},
    "grid/logistic": {"GridSearchCV, lbfgs": 0.08, "GridSearchCV, newton-cholesky": 0.15},
    "halving/credit-default": _HALVING_LIMITS,
    "halving/adult": _HALVING_LIMITS,
    "memory/grid-mlp": {"GridSearchCV, MLPClassifier": 2.0},
}
_SOLVERS = ("lbfgs", "newton-cholesky", "newton-cg", "sag", "saga", "liblinear")


@dataclass(frozen=True)
class Check:
    """A target and the measured value.

    Parameters
    ----------
    case : str
    against : str
        The peer, or another reference.
    limit : float
        The largest ratio that meets the target.
    measured : float or None
        None if skbinary did not reach the optimum.
    is_bound : bool
        Whether the ratio is only known to be less than `measured`, because the peer did not reach
        the optimum within the time limit.
    """

    case: str
    against: str
    limit: float
    measured: float | None
    is_bound: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the target is met."""
        return self.measured is not None and self.measured <= self.limit

    @property
    def status(self) -> str:
        """``"yes"``, ``"**no**"``, or ``"open"`` if the ratio is only known to be below a bound."""
        if self.is_met:
            return "yes"
        return "open" if self.is_bound else "**no**"

    def __str__(self) -> str:
        if self.measured is None:
            return "not reached"
        return f"{'< ' if self.is_bound else ''}{self.measured:.2f}"


def check(outcome: Outcome) -> list[Check]:
    """Compare an outcome with the targets; cases that were not run are left out.

    Parameters
    ----------
    outcome : Outcome

    Returns
    -------
    list of Check
    """
    checks: list[Check] = []
    for name in outcome.shapes:
        group = name.split("/")[0]
        checks += {
            "mlp": _check_network,
            "module": _check_module,
            "logistic": _check_logistic,
            "grid": _check_search,
            "many": _check_search,
            "halving": _check_search,
            "predict": _check_prediction,
            "memory": _check_memory,
            "growth": _check_growth,
        }[group](outcome, name)
    checks += _compare(outcome, "import", "torch, sklearn", 1.1)
    return checks


def _compare(
    outcome: Outcome, case: str, peer: str, limit: float, against: str | None = None
) -> Iterator[Check]:
    """Compare with a peer if it was measured."""
    ours, theirs = outcome.find(case, "skbinary"), outcome.find(case, peer)
    if ours is None or theirs is None or not (theirs.values or "suboptimality" in theirs.details):
        return
    against = against or peer
    if not ours.values:
        yield Check(case, against, limit, None)
    elif theirs.values:
        yield Check(case, against, limit, outcome.ratio(case, peer))
    else:
        yield Check(case, against, limit, ours.median / theirs.details["seconds"], is_bound=True)


def _check_network(outcome: Outcome, case: str) -> Iterator[Check]:
    for cases, limits in _NETWORK_LIMITS.items():
        if case in cases:
            for peer, limit in zip(_NETWORK_PEERS, limits, strict=True):
                yield from _compare(outcome, case, peer, limit)


def _check_module(outcome: Outcome, case: str) -> Iterator[Check]:
    for peer, limit in _MODULE_LIMITS.items():
        yield from _compare(outcome, case, peer, limit)


def _check_logistic(outcome: Outcome, case: str) -> Iterator[Check]:
    if "elastic-net" in case:
        yield from _compare(outcome, case, "saga", 0.3)
        return
    large = case.removesuffix("-float32") in _LARGE_LOGISTIC
    fastest = _fastest_solver(outcome, case)
    if fastest is not None:
        limit = 0.6 if large else 1.0
        yield from _compare(outcome, case, fastest, limit, f"fastest: {fastest}")
    if large:
        yield from _compare(outcome, case, "lbfgs", 0.3)


def _fastest_solver(outcome: Outcome, case: str) -> str | None:
    found = [outcome.find(case, solver) for solver in _SOLVERS]
    timed = [result for result in found if result is not None and result.values]
    return min(timed, key=lambda result: result.median).contender if timed else None


def _check_prediction(outcome: Outcome, case: str) -> Iterator[Check]:
    peer = "lbfgs" if "logistic" in case else "MLPClassifier"
    yield from _compare(outcome, case, peer, 1.0 if "one-row" in case else 0.7)


def _check_search(outcome: Outcome, case: str) -> Iterator[Check]:
    for peer, limit in _SEARCH_LIMITS.get(case, {}).items():
        yield from _compare(outcome, case, peer, limit)


def _check_memory(outcome: Outcome, case: str) -> Iterator[Check]:
    if case in _SEARCH_LIMITS:
        yield from _check_search(outcome, case)
        return
    ours = outcome.find(case, "skbinary")
    if ours is not None and ours.values:
        yield Check(case, "X in the training dtype", 1.2, ours.median)


def _check_growth(outcome: Outcome, case: str) -> Iterator[Check]:
    """Compare the seconds per row with those of the smallest case."""
    smallest = next(name for name in outcome.shapes if name.startswith("growth/"))
    here, there = outcome.find(case, "skbinary"), outcome.find(smallest, "skbinary")
    if case == smallest or not (here and here.values and there and there.values):
        return
    more_rows = _rows(outcome, case) / _rows(outcome, smallest)
    growth = here.median / there.median / more_rows
    yield Check(case, f"seconds per row of {smallest}", 1.0, growth)


def _rows(outcome: Outcome, case: str) -> int:
    return int(outcome.shapes[case].split(" x ")[0].replace(",", ""))
