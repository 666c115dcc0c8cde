"""Observers of a fit: the log, skorch's callbacks and scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from skbinary.callbacks.progress import FitProgress
from skbinary.callbacks.sklearn import (
    EpochPrinter,
    ScikitLearnCallbacks,
    ensemble_callbacks,
    init_callback_context,
)
from skbinary.data.checked import CheckedData
from skbinary.estimators.model_fit import ModelFit
from skbinary.estimators.state import FittedState
from skbinary.estimators.views import net_settings
from skbinary.solvers.run import Run


class FitObservers:
    """Notifies the log, skorch's callbacks and scikit-learn's callbacks of one fit.

    Parameters
    ----------
    estimator : BinaryClassifier
    data : CheckedData
    is_partial : bool
        Whether this is a call of ``partial_fit``, of which scikit-learn's callbacks are not
        notified.
    """

    def __init__(self, estimator: Any, data: CheckedData, *, is_partial: bool):
        self.estimator = estimator
        self.data = data
        self.is_partial = is_partial
        self._context: Any = None
        self._progress = FitProgress() if estimator.verbose else None

    def follow(self, models: Sequence[ModelFit], n_later_rows: float = 0.0) -> None:
        """Count the rows of models that will be trained, for lines of ``verbose``.

        Parameters
        ----------
        models : sequence of ModelFit
        n_later_rows : float, default=0.0
            Number of rows that models will read at most that are planned after these.
        """
        if self._progress is None:
            return
        follow_models(self._progress, models)
        self._progress.expect(n_later_rows)

    def begin(self, n_models: int, max_iter: int) -> None:
        """Prepare for a fit of `n_models`, before any of them is trained.

        Raises
        ------
        ValueError
            If there are skorch callbacks and an ensemble.
        """
        if n_models > 1 and self.estimator.callbacks:
            raise ValueError(
                "callbacks must be None with n_members above 1, since the networks of an ensemble "
                f"are trained in one batch, got {len(self.estimator.callbacks)}. Set n_members=1, "
                "or leave them out."
            )
        if not self.is_partial:
            n_tasks = n_models if n_models > 1 else max_iter
            self._context = init_callback_context(self.estimator, max_subtasks=n_tasks)

    def watch(self, model: ModelFit) -> None:
        """Add the observers of a single model."""
        estimator = self.estimator
        if estimator.callbacks:
            from skbinary.callbacks.skorch import SkorchCallbacks, SkorchDatasets

            datasets = SkorchDatasets(self.data, model.split)
            settings = net_settings(estimator, model.recipe.device)
            classes = self.data.classes
            model.observers.append(
                SkorchCallbacks(estimator.callbacks, datasets, classes, settings)
            )
        if estimator.verbose:
            printer = EpochPrinter(int(estimator.verbose), progress=self._progress)
            model.observers.append(printer)
        if self._context is not None and getattr(estimator, "_skl_callbacks", None):
            model.observers.append(
                ScikitLearnCallbacks(
                    estimator, self._context, self._arguments(), lambda run: _snapshot(model, run)
                )
            )

    @contextmanager
    def watch_members(
        self, members: Sequence[ModelFit], trained_state: Callable[[], FittedState]
    ) -> Iterator[None]:
        """Add the observers of an ensemble, and notify them when it begins and ends.

        Parameters
        ----------
        members : sequence of ModelFit
            The ensemble members before training.
        trained_state : callable() -> FittedState
            Returns the state of the trained ensemble.
        """
        with ensemble_callbacks(
            self.estimator,
            members,
            self._arguments(),
            self._context,
            _snapshot,
            lambda: {"_state": trained_state()},
            self._progress,
        ):
            yield

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of scikit-learn's callbacks."""
        weight = self.data.train.sample_weight
        metadata = None if weight is None else {"sample_weight": weight}
        # The X that was passed to fit: a callback may use its column names or its shape.
        return {"X": self.data.given, "y": self.data.train.y, "metadata": metadata}


def follow_models(progress: FitProgress, models: Sequence[ModelFit]) -> None:
    """Count the rows that models read in their training, by an observer of each."""
    for model in models:
        # The rows of all processes, of which this one may have few.
        n_samples, max_iter = model.split.n_samples, model.criteria.max_iter
        model.observers.append(progress.follow(n_samples, max_iter, partial(_is_trained, model)))


def _is_trained(model: ModelFit) -> bool:
    return model.result is not None or model.error is not None


def _snapshot(model: ModelFit, run: Run) -> dict[str, Any]:
    """Return the attributes of an estimator that would stop now."""
    return {"_state": model.state_of(run.result(None))}
