"""Cross-fitting: the models of an ensemble, and those that score the folds they are not trained on.

Both leave rows out, so that each row is scored by a model that was not trained on it. Those scores
are what the out-of-fold loss is computed from, and what a threshold is chosen on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from skbinary.data.checked import CheckedData, Table, with_cache
from skbinary.data.folds import Fold, SplittableRows
from skbinary.data.labels import encode
from skbinary.data.weights import rescale_extreme_weights
from skbinary.estimators.batching import train_models
from skbinary.estimators.model_fit import ModelFit, prepare_model
from skbinary.estimators.path_fit import path_fit
from skbinary.estimators.recipe import Recipe, draw_seed
from skbinary.estimators.scoring import Scorer
from skbinary.estimators.state import FittedState, join_models
from skbinary.runtime.warnings import warn
from skbinary.solvers.result import convergence_warning
from skbinary.thresholds.curve import ThresholdChoice, ThresholdData, choose_threshold
from skbinary.thresholds.objectives import Objective

# Folds on which a threshold is chosen, where no other rows were held out.
_THRESHOLD_FOLDS = 5


@dataclass
class Ensemble:
    """All models that one fit trains: one model, or K networks trained on different folds.

    Parameters
    ----------
    recipe : Recipe
    data : CheckedData
    chosen : ndarray of int or None
        Positions of the rows that the fit may use. None for all.
    members : list of ModelFit
        The models whose logits are averaged: one for a single model.
    folds : list of Fold
        What each member, or each of the fold models, holds out. Empty if nothing is left out.
    fold_models : list of ModelFit
        Models that score the folds they are not trained on, and are then dropped.
    unscored : list of int
        Positions of the rows that were held out by models that were not trained.
    """

    recipe: Recipe
    data: CheckedData
    chosen: NDArray[np.intp] | None = None
    members: list[ModelFit] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    fold_models: list[ModelFit] = field(default_factory=list)
    unscored: list[int] = field(default_factory=list)

    @property
    def models(self) -> list[ModelFit]:
        """All models that are to be trained."""
        return self.members + self.fold_models

    @property
    def needs_fold_models(self) -> bool:
        """Whether a threshold can only be chosen on the scores of additional models."""
        validated = self.members[0].split.dataset.validation is not None
        return not (self.folds or validated)

    @property
    def error(self) -> Exception | None:
        """Why the fit has failed."""
        return next((model.error for model in self.models if model.error is not None), None)

    @property
    def must_fit_alone(self) -> bool:
        """Whether the solver for batches has left one of the models to its own solver."""
        return any(model.must_fit_alone for model in self.models)

    @property
    def seconds(self) -> float:
        """The training time of the models."""
        return sum(model.seconds for model in self.models)

    @property
    def candidates(self) -> SplittableRows:
        """The rows that can be held out."""
        return SplittableRows.from_data(self.data, self.recipe.class_weight, self.chosen)

    def train(self) -> None:
        """Train all models that are not trained yet.

        Raises
        ------
        KeyboardInterrupt
            When training is interrupted. Models then keep the weights so far.
        """
        untrained = [model for model in self.models if model.result is None]
        with closing(train_models(untrained, spreads=True)) as batches:
            for model in chain.from_iterable(batches):
                if model.error is not None:
                    raise model.error
        for group in (self.members, self.fold_models):
            for i, model in enumerate(group):
                if model.must_fit_alone:
                    group[i] = alone = prepare_model(model.recipe, model.data, fold=model.fold)
                    alone.train()
                    if alone.is_interrupted:
                        raise KeyboardInterrupt

    def keep_trained(self) -> None:
        """Keep the members that have weights after an interrupt.

        Raises
        ------
        KeyboardInterrupt
            If no member has weights.
        """
        kept = [i for i, member in enumerate(self.members) if member.result is not None]
        if not kept:
            raise KeyboardInterrupt
        warn(
            "Training was interrupted by the user. The weights so far of "
            f"{len(kept)} of {len(self.members)} ensemble members are kept."
        )
        if self.folds:
            missing = [fold for i, fold in enumerate(self.folds) if i not in kept]
            self.unscored = [where for fold in missing for where in fold.held_out.tolist()]
            self.folds = [self.folds[i] for i in kept]
        self.members = [self.members[i] for i in kept]

    def warn(self) -> None:
        """Warn of members that did not converge."""
        if len(self.members) == 1:
            self.members[0].warn()
            return
        ended = [(m.result, m.criteria) for m in self.members if m.result is not None]
        unfinished = [each for each in ended if convergence_warning(*each) is not None]
        if unfinished:
            whose = f" for {len(unfinished)} of {len(self.members)} ensemble members"
            warn(str(convergence_warning(*unfinished[0], whose)), ConvergenceWarning)

    @cached_property
    def state(self) -> FittedState:
        """The fitted model, with its out-of-fold logits and loss if it is an ensemble."""
        states = [member.state for member in self.members if member.state is not None]
        recipe = self.recipe
        joined = states[0] if len(states) == 1 else join_models(states)
        joined = replace(
            joined,
            threshold=recipe.threshold,
            threshold_parameter=recipe.threshold_parameter,
            pos_label_parameter=recipe.pos_label_parameter,
        )
        if recipe.n_models == 1 or not self.folds:
            return joined
        logits = self._out_of_fold_logits(joined)
        return replace(joined, oof_logits=logits, oof_loss=self._out_of_fold_loss(logits))

    def choose(self, objective: Objective) -> ThresholdChoice | None:
        """Choose a threshold on rows that did not train the model that scores them.

        Returns
        -------
        ThresholdChoice or None
            None, with a warning, if these rows are of one class.
        """
        data = self.threshold_data
        if data is not None and data.has_both_classes:
            return choose_threshold(objective, data)
        fewest = self.candidates.max_folds()
        what = "rows" if self.data.groups is None else "groups with a row"
        got = f"{fewest} of the rarer class" if fewest < 2 else "one class where rows are held out"
        warn(
            f"Choosing a threshold must have two {what} of each class, one to train on and one to "
            f"choose on, got {got}, so the threshold is 0.5. Pass X_val and y_val, or set a number."
        )
        return None

    @cached_property
    def threshold_data(self) -> ThresholdData | None:
        """Scores of rows by models that were not trained on them, if there are any."""
        data, held_out = self.data, self.members[0].split.held_out
        if self.folds:
            where, logits = (np.concatenate(each) for each in zip(*self._scored(), strict=True))
            held = _part(data.train, where)
        elif data.validation is not None:
            held = data.validation
            logits = Scorer.of(self.state).logits(held.X)
        elif held_out is not None:
            held = _part(data.train, held_out)
            logits = Scorer.of(self.state).logits(data.train.X[held_out])
        else:
            return None
        positive = self.recipe.positive
        return ThresholdData.from_logits(logits, held.y, held.sample_weight, data.classes, positive)

    def _scored(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.floating]]]:
        """Return positions of rows, and their logits by the model that held them out."""
        for fold, model in zip(self.folds, self.fold_models or self.members, strict=True):
            if model.state is None:
                raise AssertionError("models are scored after they were trained")
            yield fold.held_out, Scorer.of(model.state).logits(self.data.train.X[fold.held_out])

    def _out_of_fold_logits(self, state: FittedState) -> NDArray[np.floating]:
        table = self.data.train
        logits = np.empty(len(table.y))
        in_no_fold = np.ones(len(table.y), dtype=bool)
        for where, logit in self._scored():
            logits[where], in_no_fold[where] = logit, False
        if in_no_fold.any():  # rows without weight
            logits[in_no_fold] = Scorer.of(state).logits(table.X[in_no_fold])
        logits[self.unscored] = np.nan
        return logits

    def _out_of_fold_loss(self, logits: NDArray[np.floating]) -> float:
        table = self.data.train
        known = ~np.isnan(logits)
        target = encode(table.y, self.data.classes)
        losses = np.logaddexp(0, logits[known]) - (target * logits)[known]
        weight = None if table.sample_weight is None else table.sample_weight[known]
        weight = None if weight is None else rescale_extreme_weights(weight)
        return float(np.average(losses, weights=weight))


def plan_single(
    recipe: Recipe, data: CheckedData, *, previous: FittedState | None = None
) -> Ensemble:
    """Return a single model with its own solver, ready for training."""
    return Ensemble(recipe, data, members=[prepare_model(recipe, data, previous=previous)])


def plan_batched(
    recipe: Recipe,
    data: CheckedData,
    *,
    chosen: NDArray[np.intp] | None = None,
    chooses_threshold: bool = False,
) -> Ensemble | None:
    """Return all models of a fit that can be trained in batches, or None if they cannot.

    Parameters
    ----------
    recipe : Recipe
    data : CheckedData
        Shared by several fits.
    chosen : ndarray of int or None, default=None
        Positions of the rows that the fit may use. None for all.
    chooses_threshold : bool, default=False
        Whether a threshold will be chosen on rows that were held out.
    """
    recipe = replace(recipe, n_models=count_models(recipe, data))
    if recipe.n_models > 1:
        return plan_members(recipe, data) if recipe.in_batches else None
    if not recipe.in_batches and recipe.path_strength is None:
        return None
    model = prepare_model(recipe, data, path=path_fit(recipe, data, chosen))
    ensemble = Ensemble(recipe, data, chosen, [model])
    if chooses_threshold and ensemble.needs_fold_models:
        plan_fold_models(ensemble)
    return ensemble


def plan_members(
    recipe: Recipe, data: CheckedData, *, previous: FittedState | None = None
) -> Ensemble:
    """Return the networks of an ensemble, ready for training.

    Each leaves out its own fold, or all of them share the validation rows that were given.
    """
    n_models, data = recipe.n_models, with_cache(data)
    ensemble = Ensemble(recipe, data)
    if data.validation is None:
        ensemble.folds = ensemble.candidates.folds(n_models, recipe.draw_seed())
    for k in range(n_models):
        own = recipe.for_member(recipe.draw_seed())
        fold = ensemble.folds[k] if ensemble.folds else None
        before = None if previous is None else previous.model(k)
        ensemble.members.append(prepare_model(own, data, fold=fold, previous=before))
    return ensemble


def plan_fold_models(ensemble: Ensemble) -> None:
    """Add models to a single one, each of which leaves out a fifth of the rows."""
    recipe, data, chosen = ensemble.recipe, with_cache(ensemble.data), ensemble.chosen
    candidates = ensemble.candidates
    n_folds = min(_THRESHOLD_FOLDS, candidates.max_folds())
    if n_folds < 2:
        return
    random_state = recipe.fold_random_state
    ensemble.folds = candidates.folds(n_folds, draw_seed(random_state))
    for fold in ensemble.folds:
        own = recipe.for_fold(draw_seed(random_state))
        path = path_fit(own, data, chosen, fold)
        ensemble.fold_models.append(prepare_model(own, data, fold=fold, path=path))


def count_models(recipe: Recipe, data: CheckedData) -> int:
    """Return how many models an ensemble can have: each holds out a row of the rarer class."""
    wanted = recipe.n_models
    if wanted == 1 or data.validation is not None:
        return wanted
    fewest = Ensemble(recipe, data).candidates.max_folds()
    if fewest >= wanted:
        return wanted
    what = "rows" if data.groups is None else "groups with a row"
    warn(
        f"n_members must be at most the number of {what} of the rarer class, {fewest}, got "
        f"{wanted}. {max(fewest, 1)} are trained."
    )
    return max(fewest, 1)


def _part(table: Table, where: NDArray[np.intp]) -> Table:
    weight = table.sample_weight
    return Table(None, table.y[where], None if weight is None else weight[where])
