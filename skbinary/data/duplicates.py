"""Find duplicate rows by hashes, and merge each group into one row with their total weight."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from skbinary.data.batches import Batch
from skbinary.data.dataset import Dataset


def _row_hashes(dataset: Dataset, seed: int) -> Tensor:
    """Hash each row with its target, so that duplicates are found without comparing all pairs.

    Parameters
    ----------
    dataset : Dataset
        The rows to hash.
    seed : int
        Different seeds give unrelated hashes.

    Returns
    -------
    Tensor of shape (n_samples,)
        64-bit integers. Equal rows have equal hashes, whatever their position; different rows
        collide with a probability of about 2 ** -63 (multilinear hashing: Lemire and Kaser,
        "Strongly universal string hashing is fast", 2014, section 2).
    """
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randint(
        -(2**62), 2**62, (dataset.n_features + 1,), generator=generator, dtype=torch.int64
    ).to(dataset.device)
    factors = factors * 2 + 1
    hashes = torch.empty(dataset.n_samples, dtype=torch.int64, device=dataset.device)
    for chunk in dataset.rows.chunks():
        target_codes = (dataset.target[chunk] > 0.5).long() + 1
        hashes[chunk] = _hash_batch(dataset.rows.batch(chunk), factors) + target_codes * factors[-1]
    # Similar rows should not have similar hashes: mix the high bits into the low ones.
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
    # Adding zero turns -0.0 into 0.0, which equals it but has other bits.
    values = values + 0.0
    integer = {8: torch.int64, 4: torch.int32}[values.element_size()]
    return values.view(integer).long()


def merge_duplicates(dataset: Dataset, seed: int) -> Dataset:
    """Merge equal rows with equal targets into one row with their total weight.

    The weighted objective stays the same. The order of the result depends on the content of the
    rows alone, so a row of weight two gives exactly the same dataset as the same row twice.
    """
    hashes = _row_hashes(dataset, seed)
    _, group = torch.unique(hashes, return_inverse=True)
    n_groups = int(group.max()) + 1
    first = torch.full((n_groups,), dataset.n_samples, device=group.device)
    position = torch.arange(dataset.n_samples, device=group.device)
    first = first.scatter_reduce(0, group, position, "amin")
    weight = torch.ones_like(dataset.target) if dataset.weight is None else dataset.weight
    total = torch.zeros(n_groups, dtype=weight.dtype, device=weight.device)
    total.index_add_(0, group, weight)
    merged = dataset.take(first)
    return replace(
        merged,
        weight=None if bool((total == 1).all()) else total,
        validation=dataset.validation,
    )
