"""Prunes Optuna's trials while their models train, through scikit-learn's callbacks."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NoReturn

from skbinary.callbacks.sklearn import require_callbacks
from skbinary.runtime.optional import require

# What a fit records in each epoch, and the direction of a study in which it improves.
_DIRECTIONS = {"loss": "minimize", "validation_loss": "minimize", "validation_score": "maximize"}


class PruningCallback:
    """Report a trial's epochs to Optuna, and end the fit of a trial that Optuna prunes.

    It is a scikit-learn callback, which requires scikit-learn 1.9 or newer. Set it on a classifier
    of this package, or on a pipeline that ends with one. The fit of a pruned trial raises
    ``optuna.TrialPruned``, which ``Study.optimize`` expects, and leaves the classifier unchanged.

    Parameters
    ----------
    trial : optuna.trial.Trial
        The trial that the model is trained for. Use a callback in one trial only.
    monitor : {"validation_loss", "validation_score", "loss"}, default="validation_loss"
        The curve of the fit that is reported. The validation curves need a validation set:
        ``early_stopping=True`` or ``X_val``. What ``"validation_score"`` is, the classifier's
        parameter ``monitor`` says. The study must minimize a loss, and maximize a score.

    Raises
    ------
    ImportError
        If Optuna is not installed, or if the installed scikit-learn has no callbacks.
    TypeError
        If `trial` is no trial of Optuna.
    ValueError
        If `monitor` is unknown, or does not fit the direction of the study.

    Notes
    -----
    Step 0 is the first epoch. For an ensemble, the value of a step is the mean over its networks
    after as many epochs; a network that has stopped counts with the epoch that it keeps.

    Each further fit with the same callback counts as the next fold of a cross-validation. Its steps
    begin at the number of folds before it, times ``max_iter``, and their values are means over the
    folds so far, of which those before it count with the epochs that they keep.

    Examples
    --------
    >>> import optuna
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbinary import TorchMLPClassifier
    >>> from skbinary.callbacks.optuna import PruningCallback
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> def objective(trial):
    ...     rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    ...     network = TorchMLPClassifier(
    ...         learning_rate_init=rate, early_stopping=True, random_state=0
    ...     )
    ...     model = make_pipeline(StandardScaler(), network)
    ...     model.set_callbacks(PruningCallback(trial)).fit(X, y)
    ...     return min(network.validation_loss_curve_)
    >>> study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    >>> study.enqueue_trial({"rate": 1e-2})
    >>> study.enqueue_trial({"rate": 1e-4})
    >>> study.optimize(objective, n_trials=2)
    >>> [trial.state.name for trial in study.trials]
    ['COMPLETE', 'PRUNED']
    """

    def __init__(self, trial: Any, monitor: str = "validation_loss"):
        optuna = require("optuna", "optuna", "PruningCallback")
        require_callbacks("PruningCallback")
        if not isinstance(trial, optuna.trial.BaseTrial):
            raise TypeError(
                f"trial must be a trial of Optuna, got {type(trial).__name__}. Pass the argument "
                "of the objective."
            )
        _check_monitor(monitor, trial)
        self.trial = trial
        self.monitor = monitor
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()  # the networks of an ensemble may train on several threads
        self._fits: dict[Any, _Fit] = {}
        self._n_fits = 0
        self._kept: list[float] = []  # the value that each finished fit keeps
        self._pruned = ""

    def __getstate__(self) -> dict[str, Any]:
        # A copy of a trial, in another process or in the file of a model, would report to nobody.
        return {"monitor": self.monitor}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.trial = None
        self.monitor = state["monitor"]
        self._reset()

    # -- scikit-learn's protocol ------------------------------------------------------------

    def setup(self, estimator: Any, context: Any) -> None:
        """Prepare for a fit.

        Raises
        ------
        optuna.TrialPruned
            If the trial has been pruned.
        ValueError
            If the estimator reports no epochs, or if this is a copy of the callback.
        """
        if self.trial is None:
            raise ValueError(
                "PruningCallback must be in the process of its trial, got a copy. Set n_jobs=1 for "
                "the folds and run several trials at a time, or call set_callbacks() on a model "
                "that was copied or loaded."
            )
        if self._pruned:
            self._raise_pruned(" Pass error_score='raise' to the cross-validation that went on.")
        if hasattr(estimator, "steps"):
            self._propagate(estimator)
        elif hasattr(type(estimator), "history_"):
            self._fits[context] = _Fit(self._n_fits * int(estimator.max_iter))
            self._n_fits += 1
        else:
            raise ValueError(_wrong_estimator(estimator))

    def teardown(self, estimator: Any, context: Any) -> None:
        """Forget a fit that has ended."""
        self._fits.pop(context, None)
        if hasattr(estimator, "steps"):
            last = estimator.steps[-1][1]
            callbacks = getattr(last, "_skl_callbacks", [])
            if self in callbacks:
                last.set_callbacks(*(each for each in callbacks if each is not self))

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, fitted_estimator: Any = None
    ) -> None:
        """Report an epoch to Optuna.

        Raises
        ------
        optuna.TrialPruned
            If Optuna prunes the trial.
        ValueError
            If the fit does not record what is monitored.
        """
        is_epoch = context.task_name == "epoch"
        network = context.parent if is_epoch else context
        is_member = network.task_name == "ensemble member"
        with self._lock:
            fit = self._fits.get(network.parent if is_member else network)
            if fit is None:
                return  # a task of a pipeline
            if self._pruned:  # on another thread
                self._raise_pruned()
            if is_member:
                fit.n_networks = network.parent.max_subtasks
            if is_epoch or is_member or fit.n_networks == 1:
                curve, key = self._curve(fitted_estimator), network.task_id if is_member else 0
                if is_epoch:
                    fit.curves[key].append(curve[-1])
                elif curve:
                    fit.kept[key] = curve[fitted_estimator.best_epoch_ - 1]
                self._report(fit)
            if network is context and not is_member and fit.kept:
                self._kept.append(fmean(fit.kept.values()))

    def _curve(self, fitted_estimator: Any) -> list[float]:
        """Return the monitored curve of a network, up to this epoch."""
        curve: list[float] | None = fitted_estimator.history_.get(self.monitor)
        if curve is None:
            raise ValueError(
                f"monitor must be recorded by the fit, got {self.monitor!r} in a fit without a "
                "validation set. Set early_stopping=True, pass X_val and y_val, or set "
                "monitor='loss'."
            )
        return curve

    def _report(self, fit: _Fit) -> None:
        """Report the epochs that all networks of a fit have reached."""
        for step, value in fit.new_steps():
            mean = fmean([*self._kept, value])
            self.trial.report(mean, step)
            if self.trial.should_prune():
                self._pruned = f"The trial was pruned at step {step}, {self.monitor} {mean:.6g}."
                self._raise_pruned()

    def _raise_pruned(self, advice: str = "") -> NoReturn:
        optuna = require("optuna", "optuna", "PruningCallback")
        raise optuna.TrialPruned(self._pruned + advice)

    def _propagate(self, pipeline: Any) -> None:
        """Set the callback on the last step of a pipeline, until its fit has ended.

        scikit-learn would propagate it to every step, and warn of those without callbacks.
        """
        last = pipeline.steps[-1][1]
        if not hasattr(last, "set_callbacks"):
            raise ValueError(_wrong_estimator(last))
        callbacks = getattr(last, "_skl_callbacks", [])
        if self not in callbacks:
            last.set_callbacks(*callbacks, self)


@dataclass
class _Fit:
    """The values of one fit, of a single network or of an ensemble.

    Parameters
    ----------
    first_step : int
        The step of the first epoch.
    n_networks : int
        Number of networks.
    n_reported : int
        Number of epochs that were reported.
    curves : dict of int to list of float
        The value of each epoch, for each network.
    kept : dict of int to float
        The value of the epoch that a network keeps, for each network that has ended.
    """

    first_step: int
    n_networks: int = 1
    n_reported: int = 0
    curves: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    kept: dict[int, float] = field(default_factory=dict)

    def new_steps(self) -> Iterator[tuple[int, float]]:
        """Yield the step and the mean value of each further epoch that all networks reached."""
        while len(self.curves) == self.n_networks:
            epoch = self.n_reported
            values = [
                curve[epoch] if epoch < len(curve) else self.kept.get(key)
                for key, curve in self.curves.items()
            ]
            known = [value for value in values if value is not None]
            is_last = all(epoch >= len(curve) for curve in self.curves.values())
            if is_last or len(known) < len(values):
                return
            self.n_reported += 1
            yield self.first_step + epoch, fmean(known)


def _check_monitor(monitor: Any, trial: Any) -> None:
    """Raise a ValueError if a monitor is unknown, or does not fit the direction of the study."""
    if monitor not in list(_DIRECTIONS):
        names = ", ".join(map(repr, _DIRECTIONS))
        raise ValueError(f"monitor must be one of {names}, got {monitor!r}.")
    study = getattr(trial, "study", None)  # trials of fixed parameters have none
    directions = [] if study is None else [each.name.lower() for each in study.directions]
    if directions not in ([], [_DIRECTIONS[monitor]]):
        others = [name for name, each in _DIRECTIONS.items() if [each] == directions]
        advice = f" Or set monitor={others[-1]!r}." if others else ""
        raise ValueError(
            f"The study must {_DIRECTIONS[monitor]} one value for monitor={monitor!r}, got "
            f"{directions}. Set direction={_DIRECTIONS[monitor]!r} in create_study.{advice}"
        )


def _wrong_estimator(estimator: Any) -> str:
    return (
        "PruningCallback must be set on a classifier of skbinary or a pipeline that ends with one, "
        f"got {type(estimator).__name__}. Set it on the classifier itself."
    )
