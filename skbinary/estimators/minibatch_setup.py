"""How a model is trained in mini-batches, from its recipe: rows, optimizer, schedule, dropout."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor

from skbinary.data.checked import CheckedData
from skbinary.data.dataset import Dataset
from skbinary.data.preparation import compressed_rows
from skbinary.data.rows import BatchSource
from skbinary.estimators.recipe import Recipe
from skbinary.estimators.state import FittedState
from skbinary.runtime.device import generator
from skbinary.solvers.minibatch.dropout import Dropout
from skbinary.solvers.minibatch.setup import L2Penalty, MiniBatchSetup


def make_minibatch_setup(
    recipe: Recipe,
    data: CheckedData,
    dataset: Dataset,
    parameters: Tensor,
    previous: FittedState | None,
) -> MiniBatchSetup:
    """Return how a model is trained in mini-batches.

    Parameters
    ----------
    recipe : Recipe
    data : CheckedData
    dataset : Dataset
        The training set, built from the data.
    parameters : Tensor of shape (1, n_parameters)
        Those to start from, which the optimizer changes in place.
    previous : FittedState or None
        The model to continue from.
    """
    n_samples = dataset.total_samples
    batch_size = min(recipe.batch_size, n_samples)
    n_seen = 0 if previous is None else previous.n_seen
    rates, dropout, generator_seed = recipe.architecture.dropout, None, None
    # Another seed for each call of partial_fit, so that dropout masks differ.
    if any(rates):
        dropout = Dropout(rates, generator(recipe.draw_seed() + n_seen, dataset.device))
    if recipe.architecture.is_random:
        generator_seed = recipe.draw_seed() + n_seen
    schedule = recipe.schedule(math.ceil(n_samples / batch_size))
    state = None
    if previous is not None and recipe.is_partial:
        state = previous.optimizer_state
        schedule.resume(n_seen, n_seen // batch_size)
    shuffler = recipe.random_state if recipe.shuffle else None
    return MiniBatchSetup(
        _smoothed(dataset, recipe.label_smoothing),
        recipe.optimizer(parameters, state),
        schedule,
        batch_size=batch_size,
        l2_penalty=_l2_penalty(recipe, dataset),
        shuffler=shuffler,
        shuffle_key=_shuffle_key(shuffler),
        dropout=dropout,
        compressed=_compressed(recipe, data, dataset, batch_size),
        weight_average=recipe.weight_average,
        n_seen=n_seen,
        generator_seed=generator_seed,
        can_replay=recipe.architecture.can_replay,
    )


def _l2_penalty(recipe: Recipe, dataset: Dataset) -> L2Penalty:
    """Return the penalty for the scaled weights of the rows."""
    penalty = recipe.l2_penalty
    return replace(
        penalty,
        strength=dataset.penalty(penalty.strength),
        # With tiny weights, the losses are negligible compared with the penalty.
        max_strength=max(penalty.strength, 1 / recipe.learning_rate_init),
    )


def _shuffle_key(shuffler: Any) -> tuple[bytes, int] | None:
    """Return a key that is equal for generators that shuffle rows in the same way."""
    if shuffler is None:
        return None
    _, keys, position, *_ = shuffler.get_state()
    return keys.tobytes(), position


def _smoothed(dataset: Dataset, label_smoothing: float) -> Dataset:
    """Return the rows with targets that are moved towards one half."""
    if not label_smoothing:
        return dataset
    target = dataset.target * (1 - label_smoothing) + label_smoothing / 2
    return replace(dataset, target=target)


def _compressed(
    recipe: Recipe, data: CheckedData, dataset: Dataset, batch_size: int
) -> BatchSource | None:
    architecture = recipe.architecture
    if architecture.embedding is not None:  # which reads single columns
        return None
    if not architecture.is_row_wise:  # a module, which reads all columns
        return None
    if dataset.n_samples == 0:  # another process has the rows
        return None
    if recipe.is_partial:  # compression takes longer than it saves in a single pass
        return None
    return compressed_rows(data, dataset.rows, architecture.first_width, batch_size)
