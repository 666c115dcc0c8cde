"""Verbose output, and scikit-learn's callbacks during fits, ensembles and searches."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import sklearn
from joblib.logger import short_format_time

from skbinary.callbacks.progress import FitProgress
from skbinary.solvers.run import Observer, Run

__all__ = [
    "EpochPrinter",
    "ScikitLearnCallbacks",
    "SearchCallbacks",
    "ensemble_callbacks",
    "format_task_line",
    "init_callback_context",
    "require_callbacks",
    "set_callbacks",
    "task_callbacks",
]


@cache
def _callback_mixin() -> Any:
    """Return scikit-learn's CallbackSupportMixin, or None before scikit-learn 1.9."""
    try:
        from sklearn.callback import CallbackSupportMixin
    except ImportError:
        return None
    return CallbackSupportMixin


def set_callbacks(estimator: Any, *callbacks: Any) -> None:
    """Set scikit-learn's callbacks of an estimator.

    Importing ``sklearn.callback`` imports a progress bar, which takes half as long as importing
    this package, so its mixin is called when it is needed and is no base class.

    Raises
    ------
    ImportError
        If the installed scikit-learn has no callbacks.
    """
    require_callbacks("set_callbacks").set_callbacks(estimator, *callbacks)


def require_callbacks(purpose: str) -> Any:
    """Return scikit-learn's CallbackSupportMixin.

    Parameters
    ----------
    purpose : str
        What needs it, for the error message.

    Raises
    ------
    ImportError
        If the installed scikit-learn has no callbacks.
    """
    mixin = _callback_mixin()
    if mixin is None:
        raise ImportError(
            f"scikit-learn must be version 1.9 or newer for {purpose}, got "
            f"{sklearn.__version__}. Upgrade scikit-learn, or pass skorch callbacks to the "
            "parameter callbacks."
        )
    return mixin


def init_callback_context(estimator: Any, **settings: Any) -> Any:
    """Return the callback context of a fit, or None before scikit-learn 1.9."""
    mixin = _callback_mixin()
    return None if mixin is None else mixin._init_callback_context(estimator, **settings)


class EpochPrinter(Observer):
    """Prints the losses every few epochs, for ``verbose``.

    Parameters
    ----------
    interval : int
        Number of epochs per line.
    prefix : str, default=""
        Printed at the start of each line.
    progress : FitProgress or None, default=None
        Rows a second and the time left, for the end of each line.
    """

    def __init__(self, interval: int, prefix: str = "", progress: FitProgress | None = None):
        self.interval = interval
        self.prefix = prefix
        self.progress = progress

    def epoch_end(self, run: Run) -> bool:
        """Print the epoch, its losses and the seconds since the last line."""
        if run.n_iter % self.interval == 0:
            history = run.history
            line = f"{self.prefix}epoch {run.n_iter}: training loss {history['loss'][-1]:.6f}"
            if "validation_loss" in history:
                line += f", validation loss {history['validation_loss'][-1]:.6f}"
            line += f", {sum(history['seconds'][-self.interval :]):.3f} s"
            progress = "" if self.progress is None else f", {self.progress.text()}"
            sys.stdout.write(f"{line}{progress}\n")
        return False


class ScikitLearnCallbacks:
    """An observer of the training loop that calls scikit-learn's callbacks.

    Each epoch is reported once. A batch of models that does not fit into memory starts again as
    two smaller batches; epochs that were reported before are then not reported again.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted.
    context : sklearn.callback.CallbackContext
        The context of its ``fit``.
    data : dict
        ``X``, ``y`` and ``metadata`` that callbacks receive.
    snapshot : callable(Run) -> dict
        Returns the fitted attributes of the estimator if training stopped now.
    """

    def __init__(
        self,
        estimator: Any,
        context: Any,
        data: dict[str, Any],
        snapshot: Callable[[Run], dict[str, Any]],
    ):
        self.estimator = estimator
        self.context = context
        self.data = data
        self.snapshot = snapshot
        self._epoch: Any = None
        self._n_reported = 0

    def train_begin(self, run: Run) -> None:
        """Report the start of ``fit``."""
        if self._epoch is None and self._n_reported == 0:
            self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def epoch_begin(self, run: Run) -> None:
        """Report the start of an epoch."""
        if self._epoch is not None or run.n_iter < self._n_reported:
            return
        self._epoch = self.context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.snapshot(run),
            **self.data,
        )

    def epoch_end(self, run: Run) -> bool:
        """Report the end of an epoch, and return whether a callback asks to stop."""
        if run.n_iter <= self._n_reported:
            return False
        stop = self._epoch.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.snapshot(run),
            **self.data,
        )
        self._epoch, self._n_reported = None, run.n_iter
        return bool(stop)

    def train_end(self, run: Run) -> None:
        """Report the end of ``fit``."""
        self.context.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.snapshot(run),
            **self.data,
        )


@contextmanager
def ensemble_callbacks(
    estimator: Any,
    members: Sequence[Any],
    data: dict[str, Any],
    context: Any,
    snapshot: Callable[[Any, Run], dict[str, Any]],
    trained_attributes: Callable[[], dict[str, Any]],
    progress: FitProgress | None = None,
) -> Iterator[None]:
    """Print and report the epochs of each ensemble member while the ensemble is trained.

    Parameters
    ----------
    estimator : estimator
        The ensemble that is fitted.
    members : sequence of ModelFit
        The ensemble members before training. Observers are added to each.
    data : dict
        ``X``, ``y`` and ``metadata`` that callbacks receive.
    context : sklearn.callback.CallbackContext or None
        The context of ``fit``.
    snapshot : callable(member, run) -> dict
        Returns the fitted attributes of an estimator that consists of this member alone.
    trained_attributes : callable() -> dict
        Returns the fitted attributes of the trained ensemble.
    progress : FitProgress or None, default=None
        What lines of ``verbose`` say of all members.
    """
    if estimator.verbose:
        for k, member in enumerate(members):
            prefix = f"ensemble member {k}, "
            member.observers.append(EpochPrinter(int(estimator.verbose), prefix, progress))
    if context is None or not getattr(estimator, "_skl_callbacks", None):
        yield
        return
    context.call_on_fit_task_begin(estimator=estimator, **data)
    for member in members:
        member_context = context.subcontext(
            task_name="ensemble member", max_subtasks=member.criteria.max_iter
        )
        member.observers.append(
            ScikitLearnCallbacks(estimator, member_context, data, partial(snapshot, member))
        )
    yield
    context.call_on_fit_task_end(
        estimator=estimator, reconstruction_attributes=trained_attributes, **data
    )


class SearchCallbacks:
    """Reports a search to scikit-learn's callbacks, if this scikit-learn has them.

    Parameters
    ----------
    search : estimator
        The search that is fitted.
    X : indexable of length n_samples
        The whole training data.
    y : indexable of length n_samples
        The labels.
    params : dict
        Further arguments of ``fit``.
    """

    def __init__(self, search: Any, X: Any, y: Any, params: dict[str, Any]):
        self.search_cv = search
        weight = params.get("sample_weight")
        metadata = None if weight is None else {"sample_weight": weight}
        self._arguments = {"estimator": search, "X": X, "y": y, "metadata": metadata}
        self._root: Any = None
        if hasattr(search, "_init_callback_context"):
            refits = search.refit is not False and search.ensemble_size is None
            context = search._init_callback_context(max_subtasks=1 + refits)
            self._root = context.call_on_fit_task_begin(**self._arguments)

    @staticmethod
    def task_contexts(context: Any, n_tasks: int) -> list[Any] | None:
        """Return one context for each candidate and fold, or None without callbacks."""
        if context is None:
            return None
        name = "candidate-split-evaluation"
        return [context.subcontext(task_name=name, task_id=i) for i in range(n_tasks)]

    def search(self, evaluate: Callable[..., Any]) -> None:
        """Run the search, with the callback context if its method takes one."""
        run = self.search_cv._run_search
        if self._root is not None and "callback_ctx" in inspect.signature(run).parameters:
            run(evaluate, callback_ctx=self._root)
        else:
            run(evaluate)

    @contextmanager
    def refit(self, best: Any) -> Iterator[None]:
        """Report the fit of the best candidate on all rows."""
        if self._root is None:
            yield
            return
        context = self._root.subcontext(task_name="refit-with-best-params")
        with context.propagate_callback_context(best):
            context.call_on_fit_task_begin(**self._arguments)
            yield
        context.call_on_fit_task_end(**self._arguments)

    def end(self) -> None:
        """Report the end of the search."""
        if self._root is not None:
            self._root.call_on_fit_task_end(**self._arguments)


@contextmanager
def task_callbacks(
    context: Any, search: Any, rows: Callable[[], tuple[Any, Any]]
) -> Iterator[None]:
    """Report the start and end of one task of a search (a candidate on a fold).

    Parameters
    ----------
    context : sklearn.callback.CallbackContext or None
        The context of the task. None if this scikit-learn has no callbacks.
    search : estimator
        The search that is fitted.
    rows : callable() -> (X, y)
        Returns the training set of the fold. Called only if callbacks are set.
    """
    if context is None:
        yield
        return
    arguments: dict[str, Any] = {"estimator": search}
    if getattr(search, "_skl_callbacks", None):
        X, y = rows()
        arguments.update(X=X, y=y, metadata=None)
    context.call_on_fit_task_begin(**arguments)
    try:
        yield
    finally:
        context.call_on_fit_task_end(**arguments)


def format_task_line(
    verbose: int, parameters: dict[str, Any], result: dict[str, Any], *, split: str, candidate: str
) -> str:
    """Return the line that a verbose search prints for a task, in scikit-learn's format.

    It is empty if `verbose` is below 2.
    """
    if verbose < 2:
        return ""
    progress = f" {split}" if verbose > 2 else ""
    progress += f"; {candidate}" if verbose > 9 else ""
    details = ", ".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    details += ";" if details else ""
    if verbose > 2:
        details += _format_scores(result["test_scores"], result.get("train_scores"))
    seconds = short_format_time(result["fit_time"] + result["score_time"])
    begin, end = f"[CV{progress}] END ", f"{details} total time={seconds}"
    return f"{begin}{'.' * (80 - len(begin) - len(end))}{end}\n"


def _format_scores(test: Any, train: Any) -> str:
    if isinstance(test, dict):
        text = ""
        for name in sorted(test):
            train_text = "" if train is None else f"train={train[name]:.3f}, "
            text += f" {name}: ({train_text}test={test[name]:.3f})"
        return text
    both = f"(train={train:.3f}, test={test:.3f})" if train is not None else f"{test:.3f}"
    return f", score={both}"
