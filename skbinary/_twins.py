"""Equal rows: told by a hash, merged into one, and held out or put into a fold together."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from skbinary._batches import Batch
from skbinary._problem import Problem

_SMALL_GROUPS = 100  # of equal rows: as many fit into a fold, or more


def fingerprints(problem: Problem, seed: int) -> Tensor:
    """Hash each row and its target, so that equal rows can be told without comparing all pairs.

    Parameters
    ----------
    problem : Problem
        The rows to hash.
    seed : int
        Another seed gives other, unrelated hashes.

    Returns
    -------
    Tensor of shape (n_samples,)
        64-bit integers. Equal rows have equal hashes wherever they stand; different rows collide
        with a chance of about 2 ** -63 (multilinear hashing: Lemire and Kaser, "Strongly
        universal string hashing is fast", 2014, section 2).
    """
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randint(
        -(2**62), 2**62, (problem.n_features + 1,), generator=generator, dtype=torch.int64
    ).to(problem.device)
    factors = factors * 2 + 1
    hashes = torch.empty(problem.n_samples, dtype=torch.int64, device=problem.device)
    for span in problem.rows.spans():
        bits = (problem.target[span] > 0.5).long() + 1
        hashes[span] = _hash_batch(problem.rows.batch(span), factors) + bits * factors[-1]
    # Neighbouring rows must not have neighbouring hashes: mix the high bits into the low ones.
    hashes = (hashes ^ (hashes >> 32)) * factors[0]
    return hashes ^ (hashes >> 29)


def _hash_batch(batch: Batch, factors: Tensor) -> Tensor:
    values = batch.values
    if values.layout != torch.sparse_csr:
        return (_bits(values) * factors[:-1]).sum(1)
    terms = _bits(values.values()) * factors[values.col_indices().long()]
    lengths = torch.diff(values.crow_indices()).long()
    rows = torch.repeat_interleave(torch.arange(len(lengths), device=terms.device), lengths)
    return torch.zeros_like(lengths).index_add_(0, rows, terms)


def _bits(values: Tensor) -> Tensor:
    # Adding zero turns -0.0 into 0.0, which is the same number with other bits.
    same = values + 0.0
    whole = {8: torch.int64, 4: torch.int32}[same.element_size()]
    return same.view(whole).long()


def merge_equal_rows(problem: Problem, seed: int) -> Problem:
    """Replace equal rows with equal targets by one row that carries their weight.

    The weighted objective stays the same. The rows come out in an order that depends on their
    content alone, so a row of weight two and the same row given twice are one problem to the bit.
    """
    hashes = fingerprints(problem, seed)
    _, group = torch.unique(hashes, return_inverse=True)
    n_groups = int(group.max()) + 1
    first = torch.full((n_groups,), problem.n_samples, device=group.device)
    position = torch.arange(problem.n_samples, device=group.device)
    first = first.scatter_reduce(0, group, position, "amin")
    each = torch.ones_like(problem.target) if problem.weight is None else problem.weight
    weight = torch.zeros(n_groups, dtype=each.dtype, device=each.device).index_add_(0, group, each)
    merged = problem.take(first)
    return replace(
        merged,
        weight=None if bool((weight == 1).all()) else weight,
        validation=problem.validation,
    )


def hold_out(problem: Problem, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Choose the rows that validate: a share of each class's weight.

    Equal rows go to the same side, so that no validation row has a twin among the training rows,
    and a row of weight two counts like the same row given twice. Only rows of which there are so
    many that they hold more than the whole share are divided among both sides.

    Parameters
    ----------
    problem : Problem
        All rows.
    fraction : float
        Share of each class's weight to hold out, between 0 and 1.
    seed : int
        Decides which rows are held out.

    Returns
    -------
    train, validation : Tensor
        Positions of the rows, ascending.

    Raises
    ------
    ValueError
        If there is nothing to hold out: each class has but one row, or one row a few times.
    """
    hashes = fingerprints(problem, seed)
    chosen = torch.zeros(problem.n_samples, dtype=torch.bool, device=problem.device)
    for label in (0, 1):
        members = torch.nonzero(problem.target == label)[:, 0]
        weight = torch.ones_like(members) if problem.weight is None else problem.weight[members]
        if len(members) > 0:
            chosen[members] = _draw(hashes[members], weight.double(), fraction, seed)
    if not bool(chosen.any()):
        raise ValueError(
            "Early stopping must find two different rows of a class, one to train on and one to "
            "validate on. Got one of each class instead. Pass X_val and y_val, or set "
            "early_stopping=False."
        )
    return torch.nonzero(~chosen)[:, 0], torch.nonzero(chosen)[:, 0]


def folds(problem: Problem, n_folds: int, seed: int) -> Tensor:
    """Deal the rows out to folds, each with the same share of each class's weight.

    Equal rows go to the same fold, and a row of weight two counts like the row given twice.

    Parameters
    ----------
    problem : Problem
        All rows.
    n_folds : int
        At least 2.
    seed : int
        Decides which rows go where.

    Returns
    -------
    Tensor of shape (n_samples,)
        The fold of each row, counted from 0.
    """
    hashes = fingerprints(problem, seed)
    dealt = torch.zeros(problem.n_samples, dtype=torch.long, device=problem.device)
    for label in (0, 1):
        members = torch.nonzero(problem.target == label)[:, 0]
        if len(members) > 0:
            weight = problem.weight
            each = torch.ones_like(problem.target) if weight is None else weight
            fold = _deal(hashes[members], each[members].double(), n_folds)
            # Folds that have a row more of one class are not those that have one more of the other.
            dealt[members] = n_folds - 1 - fold if label else fold
    return dealt


def _deal(hashes: Tensor, weight: Tensor, n_folds: int) -> Tensor:
    """Tell the fold of each row of a class.

    Where groups of equal rows are large, the folds are as even as they can be: the largest groups
    go first, each to the fold that has least (Graham, "Bounds on multiprocessing timing anomalies",
    1969), and the many small ones fill them up.
    """
    group, _, of_group = _grouped(hashes, weight)
    is_large = of_group > of_group.sum() / (n_folds * _SMALL_GROUPS)
    large, small = torch.nonzero(is_large)[:, 0], torch.nonzero(~is_large)[:, 0]
    fold = torch.zeros_like(of_group, dtype=torch.long)
    filled = [0.0] * n_folds
    # The hashes are in random order, and so are groups of one weight.
    for i in large[torch.argsort(-of_group[large], stable=True)].tolist():
        fold[i] = least = min(range(n_folds), key=filled.__getitem__)
        filled[least] += float(of_group[i])
    middles = torch.cumsum(of_group[small], 0) - of_group[small] / 2
    rooms = weight.new_tensor(_rooms(filled, float(of_group[small].sum())))
    fold[small] = torch.searchsorted(torch.cumsum(rooms, 0)[:-1], middles, right=True)
    return fold[group]


def _grouped(hashes: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the group of equal rows that each row is in, and the rows and the weight of each."""
    _, group, n_rows = torch.unique(hashes, return_inverse=True, return_counts=True)
    of_group = torch.zeros(len(n_rows), dtype=weight.dtype, device=weight.device)
    return group, n_rows, of_group.index_add_(0, group, weight)


def _rooms(filled: list[float], more: float) -> list[float]:
    """Tell how much each fold takes of what is left, so that those that take any end level."""
    ascending = sorted(filled)
    for n in range(len(filled), 0, -1):
        level = (more + sum(ascending[:n])) / n
        if level >= ascending[n - 1]:
            break
    return [max(0.0, level - each) for each in filled]


def count_different(problem: Problem) -> tuple[int, int]:
    """Count the different rows of the negative and of the positive class."""
    hashes, positive = fingerprints(problem, 0), problem.target > 0.5
    return len(torch.unique(hashes[~positive])), len(torch.unique(hashes[positive]))


def _draw(hashes: Tensor, weight: Tensor, fraction: float, seed: int) -> Tensor:
    """Tell which rows are held out: about `fraction` of the weight, equal rows together."""
    group, n_rows, of_group = _grouped(hashes, weight)
    divided = of_group > fraction * weight.sum()
    whole = torch.nonzero(~divided)[:, 0]
    # The hashes are in random order, and so are the groups.
    n_held = _n_reaching(of_group[whole], fraction, most=len(n_rows) - 1)
    chosen = torch.isin(group, whole[:n_held])
    chosen |= divided[group] & (
        _rank_in_group(group, n_rows, seed) < (fraction * n_rows)[group].floor()
    )
    if not bool(chosen.any()) and len(n_rows) > 1:
        chosen = group == torch.argmin(of_group)
    return chosen


def _n_reaching(weight: Tensor, fraction: float, most: int) -> int:
    # The tolerance forgives the rounding of a sum of weights.
    short = torch.cumsum(weight, 0) < fraction * weight.sum() * (1 - 1e-9)
    return min(int(short.sum()) + 1, len(weight), most)


def _rank_in_group(group: Tensor, n_rows: Tensor, seed: int) -> Tensor:
    """Number the rows of each group from 0 on, in random order."""
    order = torch.randperm(len(group), generator=torch.Generator().manual_seed(seed))
    order = order.to(group.device)
    order = order[torch.argsort(group[order], stable=True)]
    start = torch.cumsum(n_rows, 0) - n_rows
    rank = torch.empty_like(group)
    rank[order] = torch.arange(len(group), device=group.device) - start[group[order]]
    return rank
