"""Classifiers that may have several members, and may choose their threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skbinary.callbacks.sklearn import members_told
from skbinary.data.preparation import CheckedData
from skbinary.data.validation import check_labels, check_rows, check_weight, encode
from skbinary.estimators.base import BinaryClassifier, unchanged_on_error
from skbinary.estimators.batching import SharedRows
from skbinary.estimators.ensemble import Parts, candidates_of, plan_cross, plan_members
from skbinary.estimators.fit_context import FitContext
from skbinary.runtime.interrupts import is_raised
from skbinary.runtime.threads import one_torch_thread
from skbinary.runtime.warnings import warn
from skbinary.solvers.result import StopReason
from skbinary.thresholds.curve import ThresholdChoice, ThresholdData, choose
from skbinary.thresholds.decision import positive_index
from skbinary.thresholds.objectives import Objective, parse_threshold


class CrossFitted(BinaryClassifier):
    """A classifier that may have several members, and may choose its threshold."""

    @property
    def _n_networks(self) -> int:
        """Number of models that are averaged."""
        return 1

    def _train(
        self,
        data: CheckedData,
        *,
        goes_on: bool,
        n_epochs: int,
        state: dict[str, Any] | None = None,
        keep_state: bool = False,
    ) -> Self:
        training = self._settle(data, goes_on=goes_on, state=state, is_partial=keep_state)
        rows = SharedRows(replace(data, made={}), {})
        n_members = self._count_members(training, rows)
        if goes_on and n_members != getattr(self, "n_members_", 1):
            raise ValueError(
                f"n_members must be {getattr(self, 'n_members_', 1)} to go on from the last fit, "
                f"got {n_members}. Set warm_start=False to start anew."
            )
        context = None
        if not keep_state:
            n_tasks = n_members if n_members > 1 else n_epochs
            context = self._init_callback_context(max_subtasks=n_tasks)
        if n_members > 1:
            parts, interrupted = self._train_members(training, rows, n_members, goes_on, context)
        else:
            split, result = self._train_one(
                training, goes_on=goes_on, n_epochs=n_epochs, context=context, keep_state=keep_state
            )
            parts = Parts(None, self, training, rows, [], split=split)
            interrupted = result.stop_reason is StopReason.INTERRUPTED
        if interrupted and (keep_state or is_raised()):
            raise KeyboardInterrupt
        if training.objective is not None:
            self._choose_threshold(parts, training.objective, interrupted=interrupted)
        return self

    def _train_members(
        self, training: FitContext, rows: SharedRows, n_members: int, goes_on: bool, context: Any
    ) -> tuple[Parts, bool]:
        """Train an ensemble, and tell whether the training was interrupted."""
        self._refuse_onlookers()
        parts = plan_members(None, self, rows, training, n_members, goes_on=goes_on)
        interrupted = False
        with members_told(self, parts.members, self._seen_by_callbacks(rows.data), context):
            try:
                parts.train()
            except KeyboardInterrupt:
                interrupted = True
                parts.keep_trained()
            else:
                parts.warn()
            parts.finish()
        return parts, interrupted

    def _choose_threshold(self, parts: Parts, objective: Objective, *, interrupted: bool) -> None:
        """Choose the threshold of a trained model. Ctrl-C leaves it at 0.5."""
        self._warn_of_majority(parts.rows.data.train.y)
        try:
            if parts.needs_folds:
                if interrupted:
                    raise KeyboardInterrupt
                parts.cross = plan_cross(parts, may_be_alone=True)
                parts.train()
            parts.decide(self, objective)
        except KeyboardInterrupt:
            if is_raised():
                raise
            warn(
                "The threshold was not chosen, since fit was interrupted by the user. It is 0.5. "
                "Call tune_threshold to choose one."
            )
            self._keep_threshold(0.5)

    @unchanged_on_error
    def tune_threshold(self, X: Any, y: Any, objective: Any, *, sample_weight: Any = None) -> Self:
        """Choose the threshold on rows of one's choice, without training.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, tensor} of shape (n_samples, n_features)
            The rows. They should not be those that the model was trained on.
        y : array-like of shape (n_samples,)
            Their labels.
        objective : str, callable or dict
            What the threshold shall achieve, as the parameter ``threshold`` says it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : estimator
            With new ``threshold_``, ``threshold_curve_`` and ``threshold_interval_``.

        Raises
        ------
        ValueError
            If the objective is a number or none that is known, or the rows hold one class only.
            The estimator is then what it was before.

        Examples
        --------
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.preprocessing import StandardScaler
        >>> from skbinary import TorchLogisticClassifier
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> malignant = y == 0
        >>> X = StandardScaler().fit(X[:300]).transform(X)
        >>> model = TorchLogisticClassifier().fit(X[:300], malignant[:300])
        >>> model = model.tune_threshold(X[300:], malignant[300:], {"recall": 0.95})
        >>> print(f"{model.predict(X[300:])[malignant[300:]].mean():.2f}")
        0.98
        """
        check_is_fitted(self)
        wanted = parse_threshold(objective)
        if isinstance(wanted, float):
            raise ValueError(
                "objective must be the name of a metric, a callable, a constraint or costs, got "
                f"{objective!r}. Set the parameter threshold to use a number."
            )
        with one_torch_thread():
            rows = check_rows(self, X, reset=False)
            labels = check_labels(self, rows, y)
            weight = check_weight(sample_weight, rows)
            encode(labels, self.classes_)
            positive = positive_index(self.pos_label, self.classes_)
            threshold_data = ThresholdData.of(
                self._logits(rows), labels, weight, self.classes_, positive
            )
            self._warn_of_majority(labels)
            self._keep_choice(choose(wanted, threshold_data))
        return self

    def _keep_choice(self, choice: ThresholdChoice) -> None:
        """Become one whose threshold was chosen."""
        for text in choice.complaints:
            warn(text)
        self._keep_threshold(choice.threshold)
        self.threshold_curve_ = choice.curve
        self.threshold_interval_ = choice.interval

    def _keep_threshold(self, threshold: float) -> None:
        """Set the threshold, and record the parameters for which it was chosen."""
        self.threshold_ = threshold
        self._threshold_for, self._pos_label_for = self.threshold, self.pos_label

    def _warn_of_majority(self, y: NDArray[np.generic]) -> None:
        """Warn if the threshold is probably chosen for the wrong one of two string labels."""
        first, second = self.classes_.tolist()
        is_majority = np.count_nonzero(y == self.classes_[1]) > len(y) / 2
        if self.pos_label is None and isinstance(second, str) and is_majority:
            warn(
                f"threshold is chosen for the class {second!r}, which is the more frequent one: "
                "without pos_label, the second label in sorted order is the positive one. Set "
                f"pos_label={first!r} if you are interested in that class, or "
                f"pos_label={second!r} to confirm."
            )

    def _count_members(self, training: FitContext, rows: SharedRows) -> int:
        """Return how many members there can be: each holds out a row of the rarer class."""
        if self._n_networks == 1 or training.data.validation is not None:
            return self._n_networks
        fewest = candidates_of(self, rows).most_folds()
        if fewest >= self._n_networks:
            return self._n_networks
        what = "rows" if rows.data.groups is None else "groups with a row"
        warn(
            f"n_members must be at most the number of {what} of the rarer class, {fewest}, got "
            f"{self._n_networks}. {max(fewest, 1)} are trained."
        )
        return max(fewest, 1)

    def _refuse_onlookers(self) -> None:
        if self.callbacks:
            raise ValueError(
                "callbacks must be None with n_members above 1, since members are trained side by "
                f"side, got {len(self.callbacks)}. Set n_members=1, or leave them out."
            )
