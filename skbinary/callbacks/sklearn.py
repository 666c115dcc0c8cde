"""Who looks on while a model is trained: verbose lines and scikit-learn's own callbacks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import sklearn
from joblib.logger import short_format_time

from skbinary.solvers.loop import Run

__all__ = [
    "Printer",
    "ScikitLearnCallbacks",
    "SearchCallbacks",
    "init_callback_context",
    "members_told",
    "set_callbacks",
    "task_line",
    "task_told",
]


@cache
def _callback_mixin() -> Any:
    """Load scikit-learn's CallbackSupportMixin, once. None before scikit-learn 1.9."""
    try:
        from sklearn.callback import CallbackSupportMixin
    except ImportError:
        return None
    return CallbackSupportMixin


def set_callbacks(estimator: Any, *callbacks: Any) -> None:
    """Set scikit-learn's callbacks of an estimator.

    Loading ``sklearn.callback`` loads a progress bar, which takes half as long as this package, so
    its mixin is called where it is needed, and is no base class.

    Raises
    ------
    ImportError
        If this scikit-learn has no callbacks.
    """
    mixin = _callback_mixin()
    if mixin is None:
        raise ImportError(
            f"set_callbacks must have scikit-learn 1.9 or newer, got {sklearn.__version__}. "
            "Upgrade scikit-learn, or pass skorch callbacks as the parameter callbacks."
        )
    mixin.set_callbacks(estimator, *callbacks)


def init_callback_context(estimator: Any, **settings: Any) -> Any:
    """Return the callback context of a fit, or None before scikit-learn 1.9."""
    mixin = _callback_mixin()
    return None if mixin is None else mixin._init_callback_context(estimator, **settings)


class Printer:
    """Prints a line every few epochs.

    Parameters
    ----------
    every : int
        How many epochs to a line.
    whose : str, default=""
        What each line begins with.
    """

    def __init__(self, every: int, whose: str = ""):
        self.every = every
        self.whose = whose

    def train_begin(self, run: Run) -> None:
        """Print nothing yet."""

    def epoch_begin(self, run: Run) -> None:
        """Print nothing yet."""

    def epoch_end(self, run: Run) -> bool:
        """Print epoch, losses and seconds."""
        if run.n_iter % self.every == 0:
            history = run.history
            line = f"{self.whose}epoch {run.n_iter}: training loss {history['loss'][-1]:.6f}"
            if "validation_loss" in history:
                line += f", validation loss {history['validation_loss'][-1]:.6f}"
            sys.stdout.write(f"{line}, {sum(history['seconds'][-self.every :]):.3f} s\n")
        return False

    def train_end(self, run: Run) -> None:
        """Print nothing more."""


class ScikitLearnCallbacks:
    """Tells scikit-learn's callbacks of every epoch, and of each once.

    A stack for which the memory does not suffice begins anew, in halves.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted.
    context : sklearn.callback.CallbackContext
        The context of its ``fit``.
    data : dict
        ``X``, ``y`` and ``metadata`` as the callbacks get them.
    snapshot : callable(Run) -> dict
        Gives the fitted attributes of an estimator that would stop now.
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
        self._n_told = 0

    def train_begin(self, run: Run) -> None:
        """Tell that ``fit`` begins."""
        if self._epoch is None and self._n_told == 0:
            self.context.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def epoch_begin(self, run: Run) -> None:
        """Tell that an epoch begins."""
        if self._epoch is not None or run.n_iter < self._n_told:
            return
        self._epoch = self.context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.snapshot(run),
            **self.data,
        )

    def epoch_end(self, run: Run) -> bool:
        """Tell that an epoch has ended, and pass on whether to stop."""
        if run.n_iter <= self._n_told:
            return False
        asked = self._epoch.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.snapshot(run),
            **self.data,
        )
        self._epoch, self._n_told = None, run.n_iter
        return bool(asked)

    def train_end(self, run: Run) -> None:
        """Tell that ``fit`` has ended."""
        self.context.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.snapshot(run),
            **self.data,
        )


@contextmanager
def members_told(
    estimator: Any,
    members: Sequence[Any],
    seen: dict[str, Any],
    context: Any,
    snapshot: Callable[[Any, Run], dict[str, Any]],
) -> Iterator[None]:
    """Notify the log and scikit-learn's callbacks of the epochs of each ensemble member.

    Parameters
    ----------
    estimator : estimator
        The ensemble that is fitted.
    members : sequence of ModelFit
        The models that are about to be trained. Each has observers.
    seen : dict
        ``X``, ``y`` and ``metadata`` as the callbacks get them.
    context : sklearn.callback.CallbackContext or None
        That of ``fit``.
    snapshot : callable(member, run) -> dict
        Returns the fitted attributes of an estimator that is this member alone.
    """
    for k, member in enumerate(members if estimator.verbose else ()):
        member.observers.append(Printer(int(estimator.verbose), f"ensemble member {k}, "))
    if context is None or not getattr(estimator, "_skl_callbacks", None):
        yield
        return
    context.call_on_fit_task_begin(estimator=estimator, **seen)
    for member in members:
        own = context.subcontext(task_name="member", max_subtasks=member.criteria.max_iter)
        callbacks = ScikitLearnCallbacks(estimator, own, seen, partial(snapshot, member))
        member.observers.append(callbacks)
    yield
    context.call_on_fit_task_end(estimator=estimator, reconstruction_attributes=dict, **seen)


class SearchCallbacks:
    """Tells scikit-learn's callbacks of a search, where scikit-learn has them.

    Parameters
    ----------
    search : estimator
    X, y : indexable
        All rows.
    params : dict
        What ``fit`` was given besides.
    """

    def __init__(self, search: Any, X: Any, y: Any, params: dict[str, Any]):
        self.search_cv = search
        weight = params.get("sample_weight")
        metadata = None if weight is None else {"sample_weight": weight}
        self._seen = {"estimator": search, "X": X, "y": y, "metadata": metadata}
        self._root: Any = None
        if hasattr(search, "_init_callback_context"):
            context = search._init_callback_context(max_subtasks=1 + (search.refit is not False))
            self._root = context.call_on_fit_task_begin(**self._seen)

    @staticmethod
    def of_tasks(context: Any, n_tasks: int) -> list[Any] | None:
        """Give a context to each task of a search."""
        if context is None:
            return None
        name = "candidate-split-evaluation"
        return [context.subcontext(task_name=name, task_id=i) for i in range(n_tasks)]

    def search(self, evaluate: Callable[..., Any]) -> None:
        """Let the search run, with its context if it takes one."""
        run = self.search_cv._run_search
        if self._root is not None and "callback_ctx" in inspect.signature(run).parameters:
            run(evaluate, callback_ctx=self._root)
        else:
            run(evaluate)

    @contextmanager
    def refit(self, best: Any) -> Iterator[None]:
        """Tell of the last fit, the one on all rows."""
        if self._root is None:
            yield
            return
        context = self._root.subcontext(task_name="refit-with-best-params")
        with context.propagate_callback_context(best):
            context.call_on_fit_task_begin(**self._seen)
            yield
        context.call_on_fit_task_end(**self._seen)

    def end(self) -> None:
        """Tell that the search has ended."""
        if self._root is not None:
            self._root.call_on_fit_task_end(**self._seen)


@contextmanager
def task_told(context: Any, search: Any, rows: Callable[[], tuple[Any, Any]]) -> Iterator[None]:
    """Tell scikit-learn's callbacks that a task of a search begins and ends.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext or None
        That of the task. None where scikit-learn has no callbacks.
    search : estimator
    rows : callable() -> (X, y)
        Gives the training rows, if there is a callback to see them.
    """
    if context is None:
        yield
        return
    seen: dict[str, Any] = {"estimator": search}
    if getattr(search, "_skl_callbacks", None):
        X, y = rows()
        seen.update(X=X, y=y, metadata=None)
    context.call_on_fit_task_begin(**seen)
    try:
        yield
    finally:
        context.call_on_fit_task_end(**seen)


def task_line(
    verbose: int, parameters: dict[str, Any], result: dict[str, Any], *, split: str, candidate: str
) -> str:
    """Give the line that a search prints of a task, as scikit-learn's do. Empty below verbose=2."""
    if verbose < 2:
        return ""
    progress = f" {split}" if verbose > 2 else ""
    progress += f"; {candidate}" if verbose > 9 else ""
    told = ", ".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    told += ";" if told else ""
    if verbose > 2:
        told += _told_scores(result["test_scores"], result.get("train_scores"))
    seconds = short_format_time(result["fit_time"] + result["score_time"])
    begin, end = f"[CV{progress}] END ", f"{told} total time={seconds}"
    return f"{begin}{'.' * (80 - len(begin) - len(end))}{end}\n"


def _told_scores(test: Any, train: Any) -> str:
    if isinstance(test, dict):
        told = ""
        for name in sorted(test):
            of_train = "" if train is None else f"train={train[name]:.3f}, "
            told += f" {name}: ({of_train}test={test[name]:.3f})"
        return told
    both = f"(train={train:.3f}, test={test:.3f})" if train is not None else f"{test:.3f}"
    return f", score={both}"
