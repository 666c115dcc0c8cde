"""Train one model on the rows of all processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skbinary.callbacks.sklearn import EpochPrinter
from skbinary.data.checked import CheckedData, Table
from skbinary.data.folds import Fold, SplittableRows
from skbinary.data.preparation import Split, build_dataset
from skbinary.data.weights import compute_class_weights, scale_weights
from skbinary.distributed.process_group import GroupProcesses
from skbinary.estimators.minibatch_setup import make_minibatch_setup
from skbinary.estimators.model_fit import ModelFit, SingleFit, stopping_criteria
from skbinary.estimators.recipe import Recipe
from skbinary.estimators.scoring import Scorer
from skbinary.estimators.state import FittedState
from skbinary.runtime.device import full_precision
from skbinary.solvers.minibatch.setup import MiniBatchSetup
from skbinary.thresholds.curve import ThresholdData


@dataclass(frozen=True)
class HoldOut:
    """A validation set that was drawn from the rows of all processes.

    Parameters
    ----------
    overall : Fold
        Positions among the rows of all processes.
    own : Fold
        Positions among the rows of this process, in the same order.
    first : int
        Number of rows in the processes before this one.
    is_own : ndarray of bool of shape (n_train_samples,)
        Which of the rows that are trained on are in this process.
    """

    overall: Fold
    own: Fold
    first: int
    is_own: NDArray[np.bool_]


def class_weights(
    class_weight: Any, data: CheckedData, processes: GroupProcesses
) -> NDArray[np.float64]:
    """Compute the weights of the two classes from the rows of all processes."""
    y, weight = data.train.y, data.train.sample_weight
    is_second = y == data.classes[1]
    if weight is None:
        totals = [np.count_nonzero(~is_second), np.count_nonzero(is_second)]
    else:
        scaled, _ = scale_weights(weight, overall=processes.max_number)
        totals = [scaled[~is_second].sum(), scaled[is_second].sum()]
    sums = processes.sum(torch.tensor(totals, dtype=torch.float64)).numpy()
    # Two rows with the weights of the classes are balanced as all rows are.
    return compute_class_weights(class_weight, data.classes, data.classes, sums)


def train_model(
    recipe: Recipe, data: CheckedData, processes: GroupProcesses, verbose: int
) -> tuple[ModelFit, HoldOut | None]:
    """Train one model on the rows of all processes.

    Parameters
    ----------
    recipe : Recipe
        The same in all processes, and its random state, too.
    data : CheckedData
        The rows of this process.
    processes : GroupProcesses
    verbose : int
        The first process prints a line every so many epochs. 0 prints nothing.

    Returns
    -------
    model : ModelFit
        The trained model, the same in all processes.
    hold_out : HoldOut or None
        The rows that were held out for validation, if any.
    """
    start = recipe.initial_parameters(recipe.architecture, recipe.random_state)
    hold_out = None
    if recipe.stops_early and data.validation is None:
        hold_out = _draw_hold_out(recipe, data, processes)
    split = _build(recipe, data, hold_out)
    if hold_out is not None:
        numbers = torch.from_numpy(np.flatnonzero(hold_out.is_own))
        dataset = replace(split.dataset, processes=processes.numbering(numbers))
        split = replace(split, dataset=dataset)
    how: MiniBatchSetup | SingleFit = SingleFit(split.dataset)
    if recipe.in_batches:
        start = start.to(device=recipe.device, dtype=split.dataset.target.dtype)
        trained = start[None, : recipe.architecture.n_parameters]
        order = _order(split, hold_out, processes)
        how = make_minibatch_setup(recipe, data, split.dataset, trained, None, order)
    criteria = stopping_criteria(recipe, data, split)
    model = ModelFit(recipe, data, criteria, how, start, split)
    if verbose and processes.rank == 0:
        model.observers.append(EpochPrinter(int(verbose)))
    model.train()
    return model, hold_out


def held_out_rows(
    state: FittedState,
    recipe: Recipe,
    data: CheckedData,
    hold_out: HoldOut | None,
    processes: GroupProcesses,
) -> ThresholdData:
    """Score the validation rows of all processes, to choose a threshold on.

    Parameters
    ----------
    state : FittedState
        The trained model.
    recipe, data, hold_out, processes
        As in ``train_model``.
    """
    rows = _held_out_table(data, hold_out)
    logits = processes.together(lambda: _logits(state, rows))
    parts = processes.gather((logits, rows.y, rows.sample_weight))
    logits, y = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    weight = None if parts[0][2] is None else np.concatenate([part[2] for part in parts])
    if hold_out is not None:
        # In the order of a single process.
        positions = np.concatenate(processes.gather(hold_out.own.held_out + hold_out.first))
        order = np.argsort(positions)[np.argsort(np.argsort(hold_out.overall.held_out))]
        logits, y = logits[order], y[order]
        weight = None if weight is None else weight[order]
    return ThresholdData.from_logits(logits, y, weight, data.classes, recipe.positive)


def _draw_hold_out(recipe: Recipe, data: CheckedData, processes: GroupProcesses) -> HoldOut:
    """Draw the rows that a single process would hold out of all rows."""
    n_rows = len(data.train.y)
    first = processes.first_row(n_rows)
    each = SplittableRows.from_data(data, recipe.class_weight)
    parts = processes.gather((each.positions + first, each.target.astype(np.int8), each.groups))
    groups = None if data.groups is None else np.concatenate([part[2] for part in parts])
    rows = SplittableRows(
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]).astype(np.float64),
        groups,
    )
    overall = rows.hold_out(recipe.validation_fraction, recipe.random_state)

    is_own, is_own_held_out = (
        (positions >= first) & (positions < first + n_rows)
        for positions in (overall.train, overall.held_out)
    )
    own = Fold(overall.train[is_own] - first, overall.held_out[is_own_held_out] - first)
    return HoldOut(overall, own, first, is_own)


def _build(recipe: Recipe, data: CheckedData, hold_out: HoldOut | None) -> Split:
    return build_dataset(
        data,
        class_weight=recipe.class_weight,
        device=recipe.device,
        dtype=torch.float32 if recipe.in_batches else full_precision(recipe.device),
        convert=recipe.in_batches,
        fold=None if hold_out is None else hold_out.own,
        validates=hold_out is not None,
    )


def _order(split: Split, hold_out: HoldOut | None, processes: GroupProcesses) -> Tensor:
    """Return where the rows are that a single process would train on, in its order."""
    n_own = split.dataset.n_samples
    order = torch.full((split.dataset.total_samples,), -1)
    if hold_out is None:
        first = processes.first_row(n_own)
        order[first : first + n_own] = torch.arange(n_own)
    else:
        order[torch.from_numpy(hold_out.is_own)] = torch.arange(n_own)
    return order


def _held_out_table(data: CheckedData, hold_out: HoldOut | None) -> Table:
    """Return the validation rows of this process."""
    if data.validation is not None:
        return data.validation
    if hold_out is None:
        raise AssertionError("there are validation rows, or rows are held out")
    table, index = data.train, hold_out.own.held_out
    weight = None if table.sample_weight is None else table.sample_weight[index]
    return Table(table.X[index], table.y[index], weight)


def _logits(state: FittedState, rows: Table) -> NDArray[np.floating]:
    return Scorer.of(state).logits(rows.X) if len(rows.y) else np.empty(0)
