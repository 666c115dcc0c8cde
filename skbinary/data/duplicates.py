"""Equal rows: found by a hash, and merged into one that carries their weight."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from skbinary.data.batches import Batch
from skbinary.data.dataset import Dataset


def _row_hashes(dataset: Dataset, seed: int) -> Tensor:
    """Hash each row and its target, so that equal rows can be told without comparing all pairs.

    Parameters
    ----------
    dataset : Dataset
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
        -(2**62), 2**62, (dataset.n_features + 1,), generator=generator, dtype=torch.int64
    ).to(dataset.device)
    factors = factors * 2 + 1
    hashes = torch.empty(dataset.n_samples, dtype=torch.int64, device=dataset.device)
    for chunk in dataset.rows.chunks():
        bits = (dataset.target[chunk] > 0.5).long() + 1
        hashes[chunk] = _hash_batch(dataset.rows.batch(chunk), factors) + bits * factors[-1]
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


def merge_duplicates(dataset: Dataset, seed: int) -> Dataset:
    """Replace equal rows with equal targets by one row that carries their weight.

    The weighted objective stays the same. The rows come out in an order that depends on their
    content alone, so a row of weight two and the same row given twice are one problem to the bit.
    """
    hashes = _row_hashes(dataset, seed)
    _, group = torch.unique(hashes, return_inverse=True)
    n_groups = int(group.max()) + 1
    first = torch.full((n_groups,), dataset.n_samples, device=group.device)
    position = torch.arange(dataset.n_samples, device=group.device)
    first = first.scatter_reduce(0, group, position, "amin")
    each = torch.ones_like(dataset.target) if dataset.weight is None else dataset.weight
    weight = torch.zeros(n_groups, dtype=each.dtype, device=each.device).index_add_(0, group, each)
    merged = dataset.take(first)
    return replace(
        merged,
        weight=None if bool((weight == 1).all()) else weight,
        validation=dataset.validation,
    )
