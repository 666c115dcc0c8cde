"""The number of epochs with few rows: chosen by cross-validation, to train on all rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from skbinary.data.checked import CheckedData, with_cache
from skbinary.data.folds import SplittableRows
from skbinary.estimators.batching import train_models
from skbinary.estimators.model_fit import ModelFit, prepare_model
from skbinary.estimators.recipe import Recipe, draw_seed
from skbinary.runtime.warnings import warn
from skbinary.solvers.result import convergence_warning

_N_FOLDS = 5


def plan_epoch_models(
    recipe: Recipe, data: CheckedData, chosen: NDArray[np.intp] | None = None
) -> list[ModelFit]:
    """Return models that choose the number of epochs, each of which stops early on a fold.

    Parameters
    ----------
    recipe : Recipe
    data : CheckedData
    chosen : ndarray of int or None, default=None
        Indices of the rows that the fit may use. None for all.

    Returns
    -------
    list of ModelFit
        Empty if the recipe does not ask for it, for an ensemble, or if a class has a single row.
    """
    # The networks of an ensemble stop early on their own folds.
    if not recipe.chooses_epochs or recipe.n_models > 1:
        return []
    data = with_cache(data)
    rows = SplittableRows.from_data(data, recipe.class_weight, chosen)
    n_folds = min(_N_FOLDS, rows.max_folds())
    if n_folds < 2:
        return []
    random_state = recipe.fold_random_state()
    return [
        prepare_model(recipe.for_epoch_choice(draw_seed(random_state)), data, fold=fold)
        for fold in rows.folds(n_folds, draw_seed(random_state))
    ]


def train_epoch_models(models: Sequence[ModelFit]) -> None:
    """Train models that choose the number of epochs, of one fit or of several, in batches.

    Models that are trained already are left as they are.

    Raises
    ------
    KeyboardInterrupt
        If training is interrupted.
    """
    untrained = [model for model in models if model.result is None]
    with closing(train_models(untrained, spreads=True)) as batches:
        for model in chain.from_iterable(batches):
            if model.is_interrupted:
                raise KeyboardInterrupt


def with_chosen_epochs(recipe: Recipe, models: Sequence[ModelFit]) -> Recipe:
    """Return the recipe with the mean of the best epochs of trained models, if there are any.

    Raises
    ------
    ValueError
        If a model diverged.
    """
    recipe = replace(recipe, chooses_epochs=False)
    if not models:
        return recipe
    for model in models:
        if model.error is not None:
            raise model.error
    ended = [(model.result, model.criteria) for model in models if model.result is not None]
    unfinished = [each for each in ended if convergence_warning(*each) is not None]
    if len(unfinished) > len(models) / 2:
        suffix = f" for {len(unfinished)} of {len(models)} folds"
        warn(str(convergence_warning(*unfinished[0], suffix)), ConvergenceWarning)
    n_epochs = max(1, round(np.mean([result.best_epoch for result, _ in ended])))
    return replace(recipe, max_iter=n_epochs, patience=math.inf, epochs_are_chosen=True)
