"""Cross-fitting: models trained without a fold, whose rows they then score.

Those are the members of an ensemble, and additional models that only choose a threshold. The
out-of-fold loss is computed from these scores, and the threshold is chosen on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from skbinary.data.checked import CheckedData, Table, with_cache
from skbinary.data.folds import Fold, SplittableRows
from skbinary.data.labels import encode
from skbinary.data.weights import compute_class_weights, rescale_extreme_weights, weigh_rows
from skbinary.estimators.all_rows import AllRows
from skbinary.estimators.batching import train_models
from skbinary.estimators.calibration import fit_temperature
from skbinary.estimators.model_fit import ModelFit, prepare_model
from skbinary.estimators.path_fit import path_fit
from skbinary.estimators.recipe import Recipe, draw_seed
from skbinary.estimators.state import FittedState, join_models
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.runtime.warnings import warn
from skbinary.solvers.result import convergence_warning
from skbinary.thresholds.curve import ThresholdChoice, ThresholdData, choose_threshold
from skbinary.thresholds.objectives import Objective

# Number of folds on which a threshold is chosen if there is no other held-out set.
THRESHOLD_FOLDS = 5


@dataclass
class Ensemble:
    """All models that one fit trains: one model, or K networks trained on different folds.

    Parameters
    ----------
    recipe : Recipe
    data : CheckedData
    chosen : ndarray of int or None
        Indices of the rows that the fit may use. None for all.
    members : list of ModelFit
        The models whose probabilities are averaged: one for a single model.
    folds : list of Fold
        The fold that each member, or each of the fold models, is trained without.
    fold_models : list of ModelFit
        Additional models that score the folds they are not trained on, for the threshold.
    unscored : list of int
        Indices of the rows that were held out by models that were not trained.
    """

    recipe: Recipe
    data: CheckedData
    chosen: NDArray[np.intp] | None = None
    members: list[ModelFit] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    fold_models: list[ModelFit] = field(default_factory=list)
    unscored: list[int] = field(default_factory=list)
    _state: FittedState | None = field(default=None, init=False)

    @property
    def models(self) -> list[ModelFit]:
        """All models to train."""
        return self.members + self.fold_models

    @property
    def needs_fold_models(self) -> bool:
        """Whether additional models must be trained to choose a threshold."""
        validated = self.members[0].split.dataset.validation is not None
        return not (self.folds or validated)

    @property
    def error(self) -> Exception | None:
        """The first error of a model."""
        return next((model.error for model in self.models if model.error is not None), None)

    @property
    def needs_single_fit(self) -> bool:
        """Whether a model must be trained singly, since the solver for batches did not converge."""
        return any(model.needs_single_fit for model in self.models)

    @property
    def seconds(self) -> float:
        """The training time of all models."""
        return sum(model.seconds for model in self.models)

    @property
    def candidates(self) -> SplittableRows:
        """The rows that can be held out."""
        return SplittableRows.from_data(self.data, self.recipe.class_weight, self.chosen)

    @property
    def _rows(self) -> AllRows:
        return AllRows(self.data)

    def train(self) -> None:
        """Train all models that are not trained yet.

        Raises
        ------
        KeyboardInterrupt
            When training is interrupted. Models then keep the weights so far.
        """
        untrained = [model for model in self.models if model.result is None]
        # Observers such as a pruner compare all members after the same number of epochs.
        in_turn = any(model.observers for model in untrained)
        with closing(train_models(untrained, spreads=True, in_turn=in_turn)) as batches:
            for model in chain.from_iterable(batches):
                if model.error is not None:
                    raise model.error
        for group in (self.members, self.fold_models):
            for i, model in enumerate(group):
                if model.needs_single_fit:
                    group[i] = single = prepare_model(model.recipe, model.data, fold=model.fold)
                    single.train()
                    if single.is_interrupted:
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
            dropped = [fold for i, fold in enumerate(self.folds) if i not in kept]
            self.unscored = [index for fold in dropped for index in fold.held_out.tolist()]
            self.folds = [self.folds[i] for i in kept]
        self.members = [self.members[i] for i in kept]

    def warn(self) -> None:
        """Warn if members did not converge."""
        if len(self.members) == 1:
            self.members[0].warn()
            return
        ended = [(m.result, m.criteria) for m in self.members if m.result is not None]
        unfinished = [each for each in ended if convergence_warning(*each) is not None]
        if unfinished:
            suffix = f" for {len(unfinished)} of {len(self.members)} ensemble members"
            warn(str(convergence_warning(*unfinished[0], suffix)), ConvergenceWarning)

    @property
    def state(self) -> FittedState:
        """The fitted model, with its out-of-fold logits and loss if it is an ensemble."""
        # Not a functools.cached_property, whose lock (before Python 3.12) would stop threads that
        # are processes of one group, and wait for each other in here.
        if self._state is None:
            self._state = self._join_members()
        return self._state

    def _join_members(self) -> FittedState:
        states = [member.state for member in self.members if member.state is not None]
        recipe = self.recipe
        joined = states[0] if len(states) == 1 else join_models(states)
        joined = replace(
            joined,
            threshold=recipe.threshold,
            threshold_parameter=recipe.threshold_parameter,
            pos_label_parameter=recipe.pos_label_parameter,
        )
        if recipe.n_models == 1:
            return joined
        # A single network that is left after an interrupt is not calibrated.
        calibrates = recipe.calibrates and joined.n_models > 1
        if not self.folds:
            if not calibrates or self.data.validation is None:
                return joined
            logits, labels = self._rows.validation_logits(joined)
            return replace(joined, temperature=self._temperature(logits, labels))
        logits = self._out_of_fold_logits(joined)
        labels = self._rows.labels()
        temperature = self._temperature(logits, labels) if calibrates else 1.0
        logits /= temperature
        loss = self._out_of_fold_loss(logits, labels)
        return replace(joined, oof_logits=logits, oof_loss=loss, temperature=temperature)

    def choose(self, objective: Objective) -> ThresholdChoice | None:
        """Choose a threshold on held-out rows.

        Returns
        -------
        ThresholdChoice or None
            None, with a warning, if these rows are of one class.
        """
        data = self._threshold_data()
        if data is not None and data.has_both_classes:
            return choose_threshold(objective, data)
        fewest = self.candidates.max_folds()
        what = "rows" if self.data.groups is None else "groups with a row"
        got = f"{fewest} of the rarer class" if fewest < 2 else "one class where rows are held out"
        warn(
            f"To choose a threshold, there must be two {what} of each class, one to train on and "
            f"one to choose on, got {got}. The threshold is 0.5. Pass X_val and y_val, or set "
            "threshold to a number."
        )
        return None

    def _threshold_data(self) -> ThresholdData | None:
        """Return held-out rows and their logits, by models that were not trained on them."""
        data, held_out = self.data, self.members[0].split.held_out
        if self.folds:
            folds = zip(*self._scored_folds(), strict=True)
            indices, logits = (np.concatenate(each) for each in folds)
            logits = logits / self.state.temperature
            held = self._rows.labels_of(indices)
        elif data.validation is not None:
            logits, held = self._rows.validation_logits(self.state)
        elif held_out is not None:
            held = self._rows.labels_of(held_out)
            logits = self._rows.logits(self.state, held_out)
        else:
            return None
        positive = self.recipe.positive
        return ThresholdData.from_logits(logits, held.y, held.sample_weight, data.classes, positive)

    def _scored_folds(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.floating]]]:
        """Return the indices of each fold, and its logits by the model trained without it."""
        for fold, model in zip(self.folds, self.fold_models or self.members, strict=True):
            if model.state is None:
                raise AssertionError("models must be trained before they score rows")
            yield fold.held_out, self._rows.logits(model.state, fold.held_out)

    def _out_of_fold_logits(self, state: FittedState) -> NDArray[np.floating]:
        logits = np.empty(self.data.n_samples)
        is_in_no_fold = np.ones(len(logits), dtype=bool)
        for indices, fold_logits in self._scored_folds():
            logits[indices], is_in_no_fold[indices] = fold_logits, False
        if is_in_no_fold.any():  # rows of weight 0
            logits[is_in_no_fold] = self._rows.logits(state, np.flatnonzero(is_in_no_fold))
        logits[self.unscored] = np.nan
        return logits

    def _temperature(self, logits: NDArray[np.floating], table: Table) -> float:
        """Return the temperature for the logits of rows that were not trained on.

        Class weights count, as in the loss that was minimized: without them it would not only
        scale the logits, but also make up for the shift that class weights bring about.
        """
        train, classes = self.data.train, self.data.classes
        class_weights = compute_class_weights(
            self.recipe.class_weight, classes, train.y, train.sample_weight
        )
        target = encode(table.y, classes)
        weight, _ = weigh_rows(class_weights, target, table.sample_weight)
        return fit_temperature(logits, target, weight)

    def _out_of_fold_loss(self, logits: NDArray[np.floating], table: Table) -> float:
        is_scored = ~np.isnan(logits)
        target = encode(table.y, self.data.classes)
        losses = np.logaddexp(0, logits[is_scored]) - (target * logits)[is_scored]
        weight = None if table.sample_weight is None else table.sample_weight[is_scored]
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
        Indices of the rows that the fit may use. None for all.
    chooses_threshold : bool, default=False
        Whether a threshold will be chosen on held-out rows.
    """
    recipe = replace(recipe, n_models=count_models(recipe, data))
    warn_if_single(recipe)
    if recipe.n_models > 1:
        return plan_members(recipe, data) if recipe.in_batches else None
    if not recipe.in_batches and recipe.path_strength is None:
        return None
    model = prepare_model(recipe, data, path=path_fit(recipe, data, chosen))
    ensemble = Ensemble(recipe, data, chosen, [model])
    if chooses_threshold and ensemble.needs_fold_models:
        plan_fold_models(ensemble)
    return ensemble


def warn_if_single(recipe: Recipe) -> None:
    """Warn if models are trained one by one because of their module, and say why."""
    architecture = recipe.architecture
    if isinstance(architecture, ModuleArchitecture) and architecture.facts.mapping_problem:
        warn(
            f"The models of {architecture.builder.name} are trained one by one, not in a batch of "
            f"models: {architecture.facts.mapping_problem}."
        )


def plan_members(
    recipe: Recipe, data: CheckedData, *, previous: FittedState | None = None
) -> Ensemble:
    """Return the networks of an ensemble, ready for training.

    Each is trained without its own fold, or all of them share the validation set ``X_val``.
    """
    n_models, data = recipe.n_models, with_cache(data)
    ensemble = Ensemble(recipe, data)
    if data.validation is None:
        ensemble.folds = ensemble.candidates.folds(n_models, recipe.draw_seed())
    for k in range(n_models):
        member_recipe = recipe.for_member(recipe.draw_seed())
        fold = ensemble.folds[k] if ensemble.folds else None
        start = None if previous is None else previous.model(k)
        member = prepare_model(member_recipe, data, fold=fold, previous=start)
        ensemble.members.append(member)
    return ensemble


def plan_fold_models(ensemble: Ensemble) -> None:
    """Add models to a single one, each trained without a fifth of the rows."""
    recipe, data, chosen = ensemble.recipe, with_cache(ensemble.data), ensemble.chosen
    candidates = ensemble.candidates
    n_folds = min(THRESHOLD_FOLDS, candidates.max_folds())
    if n_folds < 2:
        return
    random_state = recipe.fold_random_state()
    ensemble.folds = candidates.folds(n_folds, draw_seed(random_state))
    for fold in ensemble.folds:
        fold_recipe = recipe.for_fold(draw_seed(random_state))
        path = path_fit(fold_recipe, data, chosen, fold)
        ensemble.fold_models.append(prepare_model(fold_recipe, data, fold=fold, path=path))


def count_models(recipe: Recipe, data: CheckedData) -> int:
    """Return the number of models of an ensemble: each fold needs a row of the rarer class."""
    n_models = recipe.n_models
    if n_models == 1 or data.validation is not None:
        return n_models
    max_folds = Ensemble(recipe, data).candidates.max_folds()
    if max_folds >= n_models:
        return n_models
    what = "rows" if data.groups is None else "groups with a row"
    warn(
        f"n_members must be at most the number of {what} of the rarer class, {max_folds}, got "
        f"{n_models}. The number of networks is {max(max_folds, 1)}."
    )
    return max(max_folds, 1)
