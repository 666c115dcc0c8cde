"""Classifiers that may have several members, and may choose their threshold."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from skbinary import _inputs
from skbinary._base import BinaryClassifier, unchanged_on_error
from skbinary._cuts import Choice, Evidence, choose
from skbinary._objectives import parse_threshold
from skbinary._observers import members_told
from skbinary._parts import Parts, own_problem, plan_cross, plan_members
from skbinary._prepare import Data
from skbinary._settled import Training
from skbinary._stacking import SharedRows
from skbinary._twins import count_different


class CrossFitted(BinaryClassifier):
    """A classifier that may have several members, and may choose its threshold."""

    n_members: int = 1

    def _train(
        self,
        data: Data,
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
                f"n_members must be {getattr(self, 'n_members_', 1)} to go on from the last fit. "
                f"Got {n_members} instead. Set warm_start=False to start anew."
            )
        context = None
        if not keep_state:
            n_tasks = n_members if n_members > 1 else n_epochs
            context = self._init_callback_context(max_subtasks=n_tasks)
        if n_members > 1:
            self._refuse_onlookers()
            parts = plan_members(None, self, rows, training, n_members, goes_on=goes_on)
            with members_told(self, parts.members, self._seen_by_callbacks(data), context):
                parts.train()
                parts.finish()
        else:
            split = self._train_one(
                training, goes_on=goes_on, n_epochs=n_epochs, context=context, keep_state=keep_state
            )
            parts = Parts(None, self, training, rows, [], split=split)
            if training.objective is not None and split.problem.validation is None:
                parts.cross = plan_cross(parts, may_be_alone=True)
                parts.train()
        if training.objective is not None:
            parts.decide(self, training.objective)
        return self

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
        >>> from sklearn.preprocessing import scale
        >>> from skbinary import TorchLogisticClassifier
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> model = TorchLogisticClassifier().fit(scale(X)[:300], y[:300])
        >>> model = model.tune_threshold(scale(X)[300:], y[300:], {"recall": 0.99})
        >>> print(f"{(model.predict(scale(X)[300:])[y[300:] == 1] == 1).mean():.2f}")
        0.99
        """
        check_is_fitted(self)
        wanted = parse_threshold(objective)
        if isinstance(wanted, float):
            raise ValueError(
                "objective must be the name of a metric, a callable, a constraint or costs. Got "
                f"{objective!r} instead. Set the parameter threshold to use a number."
            )
        rows = _inputs.check_rows(self, X, reset=False)
        labels = _inputs.check_labels(self, rows, y)
        weight = _inputs.check_weight(sample_weight, rows)
        target = _inputs.encode(labels, self.classes_)
        evidence = Evidence(self._logits(rows), target, weight, self.classes_)
        self._keep_choice(choose(wanted, evidence))
        return self

    def _keep_choice(self, choice: Choice) -> None:
        """Become one whose threshold was chosen."""
        for text in choice.complaints:
            warnings.warn(text, UserWarning, stacklevel=7)
        self.threshold_ = choice.threshold
        self.threshold_curve_ = choice.curve
        self.threshold_interval_ = choice.interval
        self._threshold_for = self.threshold

    def _count_members(self, training: Training, rows: SharedRows) -> int:
        """Give how many members there can be: each leaves out a row of the rarer class."""
        if self.n_members == 1 or training.data.validation is not None:
            return self.n_members
        fewest = min(count_different(own_problem(self, rows, training)[0]))
        if fewest >= self.n_members:
            return self.n_members
        warnings.warn(
            "n_members must be at most the number of different rows of the rarer class, "
            f"{fewest}. Got {self.n_members} instead. {max(fewest, 1)} are trained.",
            UserWarning,
            stacklevel=6,
        )
        return max(fewest, 1)

    def _refuse_onlookers(self) -> None:
        if self.callbacks:
            raise ValueError(
                "callbacks must be None with n_members above 1, since members are trained side by "
                f"side. Got {len(self.callbacks)} instead. Set n_members=1, or leave them out."
            )
