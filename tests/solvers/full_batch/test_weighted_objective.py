"""Sums over rows for several models under several row weights, against autograd."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from skbinary.data.batches import DenseBatch
from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows, SparseRows
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.weighted_objective import WeightedLosses

N_ROWS, CHUNKS = 90, [slice(i, i + 10) for i in range(0, 90, 10)]
MODELS = {0: slice(0, 2), 1: slice(2, 3), 2: slice(3, 6)}


def dataset_of(kind="dense", dtype=torch.float64):
    rng = np.random.default_rng(0)
    values = torch.as_tensor(rng.normal(size=(N_ROWS, 4)))
    target = torch.as_tensor(rng.integers(0, 2, N_ROWS), dtype=torch.float64)
    if kind == "dense":
        return Dataset(DenseRows(values, dtype), target)
    starts = torch.arange(0, 4 * N_ROWS + 1, 4)
    columns = torch.arange(4).repeat(N_ROWS)
    return Dataset(SparseRows(starts, columns, values.flatten(), 4, dtype), target)


def weights_of(kind):
    if kind == "uneven":
        return torch.as_tensor(np.random.default_rng(1).uniform(0, 3, (3, N_ROWS)))
    number = torch.arange(N_ROWS) // 30 if kind == "neighbours" else torch.arange(N_ROWS) % 3
    return torch.stack([(number != k).double() for k in range(3)])


def parameters_of(fit_intercept):
    rng = np.random.default_rng(2)
    return torch.as_tensor(rng.normal(size=(6, 4 + fit_intercept)))


def expected_of(dataset, weights, parameters):
    flat = parameters.clone().requires_grad_()
    logits = dataset.rows.batch(slice(0, N_ROWS)).dense() @ flat[:, :4].mT
    if flat.shape[1] > 4:
        logits = logits + flat[:, 4]
    own = torch.stack([weights[k] for k in (0, 0, 1, 2, 2, 2)], dim=1)
    each = functional.softplus(logits) - dataset.target[:, None] * logits
    losses = (own * each).sum(dim=0)
    losses.sum().backward()
    return losses.detach(), flat.grad


def sums(dataset, weights, parameters, n_threads=1, dtype=torch.float64):
    with ThreadPool(n_threads) as pool:
        return WeightedLosses(dataset, weights).evaluate(parameters, MODELS, dtype, CHUNKS, pool)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("weighting", ["uneven", "neighbours", "dealt"])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_weighted_losses_equal_autograd(kind, weighting, fit_intercept):
    dataset, weights = dataset_of(kind), weights_of(weighting)
    parameters = parameters_of(fit_intercept)
    losses, gradients = sums(dataset, weights, parameters)
    expected, slopes = expected_of(dataset, weights, parameters)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients, slopes, rtol=1e-12, atol=1e-12)


def test_weighted_losses_in_float32_are_close():
    dataset, weights, parameters = dataset_of(), weights_of("uneven"), parameters_of(True)
    losses, gradients = sums(dataset, weights, parameters, dtype=torch.float32)
    expected, slopes = expected_of(dataset, weights, parameters)
    assert losses.dtype == gradients.dtype == torch.float64
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, slopes, rtol=1e-5, atol=1e-4)


def test_weighted_losses_of_a_badly_wrong_row_keep_their_digits():
    dataset = dataset_of()
    parameters = parameters_of(False) * 20
    losses, _ = sums(dataset, weights_of("dealt"), parameters)
    expected, _ = expected_of(dataset, weights_of("dealt"), parameters)
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=0)


def test_weighted_losses_rows_without_weight_are_skipped(monkeypatch):
    multiplied, original = [], DenseBatch.affine_into

    def counted(self, bias, weights, out):
        multiplied.append(out.numel())
        original(self, bias, weights, out)

    monkeypatch.setattr(DenseBatch, "affine_into", counted)
    sums(dataset_of(), weights_of("neighbours"), parameters_of(True))
    # 30 rows are left out by two models, 30 by one and 30 by three.
    assert sum(multiplied) == 30 * 4 + 30 * 5 + 30 * 3
    multiplied.clear()
    sums(dataset_of(), weights_of("dealt"), parameters_of(True))
    assert sum(multiplied) == 90 * 6
    assert len(multiplied) == len(CHUNKS)


def test_weighted_losses_without_any_weight_are_zero():
    losses, gradients = sums(dataset_of(), torch.zeros(3, N_ROWS), parameters_of(True))
    assert not losses.any()
    assert not gradients.any()


def test_weighted_losses_on_more_threads_give_the_same_bits():
    dataset, weights, parameters = dataset_of(), weights_of("neighbours"), parameters_of(True)
    one, two = (sums(dataset, weights, parameters, n_threads=n) for n in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
