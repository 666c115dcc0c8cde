"""Fit: from checked data and a recipe to a FittedState."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skbinary.checkpoints.session import mark_interrupted
from skbinary.data.checked import CheckedData
from skbinary.estimators.cross_fitting import (
    THRESHOLD_FOLDS,
    Ensemble,
    count_models,
    plan_fold_models,
    plan_members,
    plan_single,
    warn_if_single,
)
from skbinary.estimators.epoch_choice import (
    plan_epoch_models,
    train_epoch_models,
    with_chosen_epochs,
)
from skbinary.estimators.observers import FitObservers
from skbinary.estimators.recipe import Recipe
from skbinary.estimators.state import FittedState
from skbinary.runtime.interrupts import interrupts_are_raised
from skbinary.runtime.warnings import warn
from skbinary.thresholds.curve import ThresholdChoice


@dataclass
class Fit:
    """One call of ``fit`` or ``partial_fit``.

    Parameters
    ----------
    recipe : Recipe
    data : CheckedData
    observers : FitObservers
    previous : FittedState or None
        The model to continue from.
    """

    recipe: Recipe
    data: CheckedData
    observers: FitObservers
    previous: FittedState | None = None

    def run(self) -> FittedState:
        """Train, choose the threshold if it is an objective, and return the fitted state.

        Raises
        ------
        ValueError
            If the data or the parameters do not allow the fit, or if it diverges.
        KeyboardInterrupt
            If training is interrupted before there are weights, or in ``partial_fit``.
        """
        self._check_classes()
        n_models = count_models(self.recipe, self.data)
        if self.previous is not None and n_models != self.previous.n_models:
            raise ValueError(
                f"n_members must be {self.previous.n_models} to continue from the last fit, got "
                f"{n_models}. Set warm_start=False to start anew."
            )
        recipe = replace(self.recipe, n_models=n_models)
        if self.previous is None:
            recipe = self._with_chosen_epochs(recipe)
        self.observers.begin(n_models, recipe.max_iter)
        train = self._train_members if n_models > 1 else self._train_single
        ensemble, interrupted = train(recipe)
        if interrupted and (recipe.is_partial or interrupts_are_raised()):
            raise KeyboardInterrupt
        return self._with_threshold(ensemble, interrupted=interrupted)

    def _check_classes(self) -> None:
        """Check that the classes are those of the last fit."""
        previous, found = self.previous, self.data.classes
        if previous is not None and not np.array_equal(previous.classes, found):
            raise ValueError(
                f"y must hold the classes {previous.classes.tolist()} to continue from the last "
                f"fit, got {found.tolist()}. Set warm_start=False to start anew."
            )

    def _with_chosen_epochs(self, recipe: Recipe) -> Recipe:
        """Choose the number of epochs by cross-validation, if the recipe says so."""
        models = plan_epoch_models(recipe, self.data)
        later = self._max_rows(recipe) + self._max_threshold_rows(recipe)
        self.observers.follow(models, later)
        train_epoch_models(models)
        return with_chosen_epochs(recipe, models)

    def _train_single(self, recipe: Recipe) -> tuple[Ensemble, bool]:
        """Train one model, and return whether training was interrupted."""
        ensemble = plan_single(recipe, self.data, previous=self.previous)
        model = ensemble.members[0]
        later = self._max_threshold_rows(recipe) if ensemble.needs_fold_models else 0
        self.observers.follow([model], later)
        self.observers.watch(model)
        model.train()
        if not recipe.is_partial:
            model.warn()
        return ensemble, model.is_interrupted

    def _train_members(self, recipe: Recipe) -> tuple[Ensemble, bool]:
        """Train the networks of an ensemble, and return whether training was interrupted."""
        warn_if_single(recipe)
        ensemble = plan_members(recipe, self.data, previous=self.previous)
        interrupted = False
        self.observers.follow(ensemble.members)
        with self.observers.watch_members(ensemble.members, lambda: ensemble.state):
            try:
                ensemble.train()
            except KeyboardInterrupt:
                if interrupts_are_raised():
                    raise
                interrupted = True
                ensemble.keep_trained()
            else:
                ensemble.warn()
        return ensemble, interrupted

    def _max_rows(self, recipe: Recipe) -> int:
        """Return the number of rows that a model of all rows reads at most."""
        return self.data.n_samples * recipe.max_iter

    def _max_threshold_rows(self, recipe: Recipe) -> int:
        """Return the number of rows that models read at most to choose a threshold."""
        n_models = 0 if recipe.objective is None else THRESHOLD_FOLDS
        # Each is trained without its own fold.
        return max(n_models - 1, 0) * self._max_rows(recipe)

    def _with_threshold(self, ensemble: Ensemble, *, interrupted: bool) -> FittedState:
        """Choose the threshold if there is an objective. After Ctrl-C it is 0.5."""
        recipe, state = ensemble.recipe, ensemble.state
        if recipe.objective is None:
            return state
        n_second = float(np.count_nonzero(self.data.train.y == state.classes[1]))
        share = self.data.processes.sum_number(n_second) / self.data.n_samples
        warn_of_majority(state.classes, recipe.pos_label_parameter, share)
        try:
            if ensemble.needs_fold_models:
                if interrupted:
                    raise KeyboardInterrupt
                plan_fold_models(ensemble)
                self.observers.follow(ensemble.fold_models)
                ensemble.train()
            choice = ensemble.choose(recipe.objective)
        except KeyboardInterrupt:
            if interrupts_are_raised():
                raise
            mark_interrupted()
            warn(
                "The threshold was not chosen, since fit was interrupted by the user. It is 0.5. "
                "Call tune_threshold to choose one."
            )
            choice = None
        return with_choice(state, choice, recipe.threshold_parameter, recipe.pos_label_parameter)


def with_choice(
    state: FittedState,
    choice: ThresholdChoice | None,
    threshold_parameter: object,
    pos_label_parameter: object,
) -> FittedState:
    """Return a fitted state with the chosen threshold, or with 0.5 if none could be chosen."""
    if choice is None:
        return state.with_threshold(0.5, threshold_parameter, pos_label_parameter)
    for text in choice.warnings:
        warn(text)
    return state.with_threshold(
        choice.threshold, threshold_parameter, pos_label_parameter, choice.curve, choice.interval
    )


def warn_of_majority(classes: NDArray[np.generic], pos_label: object, share: float) -> None:
    """Warn if the threshold is probably chosen for the wrong one of two string labels.

    Parameters
    ----------
    classes : ndarray of shape (2,)
    pos_label : object
        The parameter.
    share : float
        Fraction of the training rows that have the second label.
    """
    first, second = classes.tolist()
    if pos_label is None and isinstance(second, str) and share > 0.5:
        warn(
            f"threshold is chosen for the class {second!r}, which is the more frequent one: "
            "without pos_label, the second label in sorted order is the positive one. Set "
            f"pos_label={first!r} if you are interested in that class, or "
            f"pos_label={second!r} to confirm."
        )
