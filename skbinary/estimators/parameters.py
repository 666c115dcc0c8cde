"""Checks of parameters that scikit-learn's constraints cannot express."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)

from skbinary.callbacks.monitor import check_monitor
from skbinary.estimators.recipe import MINIBATCH_SOLVERS
from skbinary.thresholds.objectives import parse_threshold

_PROBABILITY = Interval(Real, 0, 1, closed="both")


def has_partial_fit(estimator: Any) -> bool:
    """Whether partial_fit is available, and if not, why."""
    if estimator.early_stopping is True:
        raise AttributeError(
            "partial_fit must have early_stopping=False, since it sees no validation rows, got "
            "early_stopping=True. Use fit, or set early_stopping=False."
        )
    if not isinstance(estimator.threshold, Real):
        raise AttributeError(
            "partial_fit must have a number as threshold, since it sees no rows to choose one on, "
            f"got threshold={estimator.threshold!r}. Use tune_threshold afterwards."
        )
    n_members = getattr(estimator, "n_members", 1)
    if n_members != 1:
        raise AttributeError(
            "partial_fit must have n_members=1, since ensemble members leave rows out, got "
            f"n_members={n_members!r}. Use fit."
        )
    if estimator.solver in MINIBATCH_SOLVERS:
        return True
    raise AttributeError(
        f"partial_fit must have a mini-batch solver, got solver={estimator.solver!r}. Use "
        "solver='adam' or solver='sgd'."
    )


def check_monitor_and_threshold(estimator: Any) -> None:
    """Check the parameters that may be names, callables or objectives.

    Raises
    ------
    ValueError
        If they are none that is known.
    """
    check_monitor(estimator.monitor)
    if not isinstance(estimator.threshold, Real):
        parse_threshold(estimator.threshold)
        return
    validate_parameter_constraints(
        {"threshold": [_PROBABILITY]},
        {"threshold": estimator.threshold},
        caller_name=type(estimator).__name__,
    )


@contextmanager
def suggesting(estimator: Any) -> Iterator[None]:
    """Add a hint at the option that was probably meant to errors of scikit-learn's constraints."""
    try:
        yield
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{error}{_suggestion(estimator)}") from None


def _suggestion(estimator: Any) -> str:
    """Return a hint at the option that was probably meant."""
    for name, constraints in estimator._parameter_constraints.items():
        value = getattr(estimator, name, None)
        options = [c.options for c in constraints if isinstance(c, StrOptions)]
        if options and isinstance(value, str) and value not in options[0]:
            near = difflib.get_close_matches(value, sorted(options[0]), n=1)
            return f" Did you mean {near[0]!r}?" if near else ""
    return ""
