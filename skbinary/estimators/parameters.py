"""Checks of parameters that scikit-learn's constraints cannot express."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.metaestimators import available_if

from skbinary.callbacks.monitor import check_monitor
from skbinary.estimators.recipe import MINIBATCH_SOLVERS
from skbinary.thresholds.objectives import parse_threshold

_Method = TypeVar("_Method", bound=Callable[..., Any])
_PROBABILITY = Interval(Real, 0, 1, closed="both")


def _has_partial_fit(estimator: Any) -> bool:
    """Whether partial_fit is available. Raises an error that says why not."""
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


def validated_parameters(*, is_nested: bool = False) -> Callable[[_Method], _Method]:
    """Decorate a method so that the estimator's parameters are checked first.

    Unlike scikit-learn's decorator, it keeps the type of the method.

    Parameters
    ----------
    is_nested : bool, default=False
        Whether the parameters are estimators of the user, whose parameters are checked, too.
    """

    def decorate(method: _Method) -> _Method:
        decorated: _Method = _fit_context(prefer_skip_nested_validation=not is_nested)(method)
        return decorated

    return decorate


def if_partial_fit_is_available(method: _Method) -> _Method:
    """Decorate partial_fit so that estimators whose parameters do not allow it do not have it."""
    decorated: _Method = available_if(_has_partial_fit)(method)
    return decorated


def check_monitor_and_threshold(estimator: Any) -> None:
    """Check the parameters that may be names, callables or objectives.

    Raises
    ------
    ValueError
        If a name, a callable or an objective is unknown.
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


def check_callbacks(callbacks: Any) -> None:
    """Check that the callbacks of the parameter ``callbacks`` are not scikit-learn's.

    Raises
    ------
    ValueError
        If one of them follows scikit-learn's protocol.
    """
    for callback in callbacks or ():
        if hasattr(callback, "on_fit_task_end"):
            raise ValueError(
                f"callbacks must be skorch callbacks, got {type(callback).__name__}. Pass it to "
                "set_callbacks."
            )


def check_can_resume(estimator: Any) -> None:
    """Check that a fit with a checkpoint can be resumed.

    Raises
    ------
    ValueError
        If there are callbacks, whose state cannot be saved.
    """
    if estimator.callbacks:
        names = [type(each).__name__ for each in estimator.callbacks]
        raise ValueError(
            "callbacks must be None with checkpoint, since the state of a callback cannot be "
            f"saved, got {names}. Leave out one of them."
        )


@contextmanager
def naming_pruning_callback(callbacks: Any) -> Iterator[None]:
    """Say what to use instead if a clone fails because of a callback that holds a trial."""
    try:
        yield
    except (TypeError, AttributeError, RuntimeError) as error:
        for callback in callbacks or ():
            if _holds_trial(callback):
                raise TypeError(
                    f"callbacks must be possible to clone, got {type(callback).__name__}, which "
                    "holds a trial of Optuna. Use PruningCallback of skbinary.callbacks.optuna: "
                    "write set_callbacks(PruningCallback(trial))."
                ) from error
        raise


def _holds_trial(callback: Any) -> bool:
    held = getattr(callback, "__dict__", {}).values()
    return any(type(each).__module__.partition(".")[0] == "optuna" for each in held)


@contextmanager
def suggesting(estimator: Any) -> Iterator[None]:
    """Add the option that was probably meant to errors of scikit-learn's constraints."""
    try:
        yield
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{error}{_suggestion(estimator)}") from None


def _suggestion(estimator: Any) -> str:
    """Return a sentence with the option that was probably meant."""
    for name, constraints in estimator._parameter_constraints.items():
        value = getattr(estimator, name, None)
        options = [c.options for c in constraints if isinstance(c, StrOptions)]
        if options and isinstance(value, str) and value not in options[0]:
            near = difflib.get_close_matches(value, sorted(options[0]), n=1)
            return f" Did you mean {near[0]!r}?" if near else ""
    return ""
