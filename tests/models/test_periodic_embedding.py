"""Periodic embeddings: their gradient against autograd, and the features that they embed."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from skbinary.data.batches import DenseBatch, SharedBatch
from skbinary.data.rows import DenseRows, SparseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch, pad_parameters
from skbinary.models.periodic_embedding import (
    PeriodicEmbedding,
    continuous_columns,
    draw_embedding_parameters,
)
from skbinary.models.torch_module import build_module

N_ROWS, N_FEATURES = 7, 5
EMBEDDING = PeriodicEmbedding((0, 2, 3), n_frequencies=6, n_outputs=2)


def make_models(n_models, hidden=(4, 3), activation="tanh", fit_intercept=True):
    architecture = Architecture(N_FEATURES, hidden, activation, (), fit_intercept, EMBEDDING)
    generator = torch.Generator().manual_seed(0)
    shape = (n_models, architecture.n_parameters)
    parameters = torch.randn(shape, generator=generator, dtype=torch.float64)
    return ModelBatch(architecture, pad_parameters(parameters, architecture.layers[0][1]))


def make_rows(n_models=None):
    """Return the values of a batch and its targets, with an axis n_models if that is given."""
    generator = torch.Generator().manual_seed(1)
    shape = (N_ROWS, N_FEATURES) if n_models is None else (n_models, N_ROWS, N_FEATURES)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return values, torch.randint(0, 2, shape[:-1], generator=generator).double()


def naive_logits(architecture, parameters, values):
    """Return the logits of one model, of shape (n_rows,), from its formula, column by column."""
    weights, biases = architecture.unpack(parameters[None])
    embedding = architecture.unpack_embedding(parameters[None])
    parts = [values]
    for i, column in enumerate(architecture.embedding.columns):
        angles = 2 * math.pi * values[:, column, None] * embedding.frequencies[0, i]
        parts.append(torch.cos(angles + embedding.phases[0, i]) @ embedding.maps[0, i])
    outputs = torch.cat(parts, dim=1)
    for i, matrix in enumerate(weights):
        outputs = outputs @ matrix[0]
        if biases:
            outputs = outputs + biases[i][0]
        if i < len(weights) - 1:
            outputs = torch.tanh(outputs) if architecture.activation == "tanh" else outputs.relu()
    return outputs[:, 0]


def autograd(model_batch, values, target, weight=None):
    """Return the losses, of shape (n_models,), and the gradient, both by autograd."""
    parameters = model_batch.parameters.clone().requires_grad_()
    losses = []
    for k, each in enumerate(parameters):
        own, labels = (t if t.ndim == n else t[k] for t, n in ((values, 2), (target, 1)))
        logits = naive_logits(model_batch.architecture, each, own)
        losses.append(
            functional.binary_cross_entropy_with_logits(
                logits, labels, weight=weight, reduction="sum"
            )
        )
    torch.stack(losses).sum().backward()
    return torch.stack(losses).detach(), parameters.grad


def assert_equals_autograd(model_batch, batch, values, target, weight=None):
    for _ in range(2):  # the second time in the same buffers
        loss = model_batch.loss_and_gradient(batch, target, weight)
        expected_loss, expected = autograd(model_batch, values, target, weight)
        torch.testing.assert_close(loss, expected_loss, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(model_batch.gradient, expected, rtol=1e-10, atol=1e-10)
        model_batch.parameters.mul_(0.5)


CASES = itertools.product([1, 3], [(), (4,), (4, 3), (4, 3, 2)], [True, False])


@pytest.mark.parametrize(("n_models", "hidden", "fit_intercept"), list(CASES))
def test_gradient_of_models_with_shared_rows_equals_autograd(n_models, hidden, fit_intercept):
    model_batch = make_models(n_models, hidden, fit_intercept=fit_intercept)
    values, target = make_rows()
    assert_equals_autograd(model_batch, DenseBatch(values), values, target)


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_gradient_of_models_with_their_own_rows_equals_autograd(hidden):
    model_batch = make_models(3, hidden)
    values, target = make_rows(n_models=3)
    assert_equals_autograd(model_batch, DenseBatch(values), values, target)


@pytest.mark.parametrize("hidden", [(), (4, 3)])
def test_gradient_of_models_that_share_rows_in_groups_equals_autograd(hidden):
    model_batch = make_models(3, hidden)
    values, target = make_rows(n_models=2)
    index = torch.tensor([0, 0, 1])
    batch = SharedBatch(
        [(slice(0, 2), DenseBatch(values[0])), (slice(2, 3), DenseBatch(values[1]))]
    )
    weight = torch.arange(1, N_ROWS + 1, dtype=torch.float64)
    assert_equals_autograd(
        model_batch, batch_with_shape(batch), values[index], target[index], weight
    )


def batch_with_shape(batch):
    """Add the shape that ``loss_and_gradient`` reads, and mini-batches do not need."""
    batch.shape = (N_ROWS, N_FEATURES)
    return batch


@pytest.mark.parametrize("n_models", [1, 3])
def test_gradient_with_dropout_is_that_of_the_kept_units(n_models):
    # A unit that is always dropped gives no gradient; the others are scaled by 2.
    model_batch = make_models(n_models, (4,), "relu")
    values, target = make_rows()
    mask = torch.tensor([0.0, 2.0, 2.0, 0.0], dtype=torch.float64).expand(N_ROWS, 4)
    model_batch.loss_and_gradient(DenseBatch(values), target, None, [mask])
    found = model_batch.gradient.clone()
    weights, _ = model_batch.architecture.unpack(model_batch.parameters)
    before = weights[1].clone()
    weights[1].mul_(mask[0][:, None])
    model_batch.loss_and_gradient(DenseBatch(values), target, None)
    embedding = model_batch.architecture.embedding.n_parameters
    torch.testing.assert_close(found[:, -embedding:], model_batch.gradient[:, -embedding:])
    weights[1].copy_(before)


@pytest.mark.parametrize("n_models", [1, 3])
def test_logits_equal_the_formula(n_models):
    model_batch = make_models(n_models)
    values, _ = make_rows()
    for found, own in zip(
        model_batch.logits(DenseBatch(values)), model_batch.parameters, strict=True
    ):
        expected = naive_logits(model_batch.architecture, own, values)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_logits_of_sparse_rows_equal_those_of_dense_rows():
    model_batch = make_models(3)
    values, _ = make_rows()
    csr = (values * (values > 0)).to_sparse_csr()
    rows = SparseRows(
        csr.crow_indices(), csr.col_indices(), csr.values(), N_FEATURES, torch.float64
    )
    expected = model_batch.logits(DenseBatch(csr.to_dense()))
    torch.testing.assert_close(model_batch.logits(rows.batch(slice(None))), expected)


def test_module_gives_the_logits_and_shares_the_parameters():
    model_batch = make_models(1)
    values, target = make_rows()
    module = build_module(
        model_batch.architecture,
        [each[0] for each in model_batch.weights],
        [each[0] for each in model_batch.biases],
        model_batch.embedding.single(),
    )
    assert "PeriodicLayer(n_columns=3, n_frequencies=6, n_outputs=2)" in repr(module)
    logits = module(values)
    torch.testing.assert_close(logits, model_batch.logits(DenseBatch(values))[0])
    functional.binary_cross_entropy_with_logits(logits, target, reduction="sum").backward()
    model_batch.loss_and_gradient(DenseBatch(values), target, None)
    n = EMBEDDING.n_parameters
    expected = torch.cat([each.grad.flatten() for each in list(module.parameters())[:3]])
    torch.testing.assert_close(model_batch.gradient[0, -n:], expected)
    model_batch.parameters.zero_()
    assert not any(bool(each.any()) for each in module.parameters())


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_logit_bound_is_at_least_every_logit(scale):
    for seed, n_models in itertools.product(range(20), (1, 3)):
        model_batch = make_models(n_models, (4,), "relu")
        model_batch.parameters.normal_(generator=torch.Generator().manual_seed(seed))
        values, _ = make_rows()
        values *= scale / values.abs().max()
        bound = model_batch.logit_bound() * max(scale, 1.0)
        assert float(model_batch.logits(DenseBatch(values)).abs().max()) <= bound


def test_logit_bound_is_reached():
    architecture = Architecture(1, embedding=PeriodicEmbedding((0,), 1, 1))
    # Weights of the feature and of its embedding, bias, frequency, phase and map.
    parameters = torch.tensor([[3.0, 2.0, 1.0, 1.0, 0.0, -5.0]])
    model_batch = ModelBatch(architecture, parameters)
    assert model_batch.logit_bound() == 3 + 2 * 5 + 1
    assert float(model_batch.logits(DenseBatch(torch.ones(1, 1)))) == pytest.approx(3 - 10 + 1)


# -- which features are embedded -------------------------------------------------------------------


def columns_of(values, is_used=None):
    rows = DenseRows(torch.as_tensor(np.asarray(values)), torch.float64)
    return continuous_columns(rows, is_used)


def test_continuous_columns_are_those_with_most_values_between_the_extremes():
    random = np.random.RandomState(0)
    n = 100
    columns = {
        "normal": random.normal(size=n),
        "flag": random.randint(0, 2, n),
        "constant": np.full(n, 3.0),
        "three levels": random.randint(0, 3, n),
        "ten levels": random.randint(0, 10, n),
        "clipped": np.clip(random.normal(size=n), 1, 2),
        "half between": np.r_[np.zeros(25), np.ones(50), np.full(25, 2)],
        "more than half": np.r_[np.zeros(24), np.ones(51), np.full(25, 2)],
    }
    found = columns_of(np.column_stack(list(columns.values())))
    assert [list(columns)[i] for i in found] == ["normal", "ten levels", "more than half"]


def test_continuous_columns_do_not_count_rows_that_are_not_used():
    values = np.r_[np.zeros(10), np.linspace(1, 2, 8), np.full(6, 3)][:, None]
    assert columns_of(values) == ()
    assert columns_of(values, torch.arange(24) >= 9) == (0,)


def test_continuous_columns_of_many_chunks_are_those_of_all_rows(monkeypatch):
    values = np.random.RandomState(0).normal(size=(50, 3))
    values[:, 1] = values[:, 1] > 0
    monkeypatch.setattr(
        DenseRows, "chunks", lambda self: [slice(i, i + 7) for i in range(0, 50, 7)]
    )
    assert columns_of(values) == (0, 2)
    used = torch.arange(50) >= 20  # so that there are chunks without a row
    assert columns_of(values, used) == (0, 2)


@pytest.mark.parametrize("n_rows", [1, 2])
def test_continuous_columns_of_one_or_two_rows_are_none(n_rows):
    assert columns_of(np.arange(2.0 * n_rows).reshape(n_rows, 2)) == ()


def test_draw_embedding_parameters_have_their_shapes_and_ranges():
    embedding = PeriodicEmbedding(tuple(range(50)))
    frequencies, phases, maps = draw_embedding_parameters(embedding, np.random.RandomState(0))
    assert [tuple(each.shape) for each in (frequencies, phases, maps)] == embedding.shapes
    assert float(frequencies.std()) == pytest.approx(0.15, rel=0.1)
    assert float(phases.abs().max()) <= math.pi
    assert float(maps.abs().max()) <= 1 / 4
    assert embedding.width == 400
    assert embedding.n_parameters == 50 * (16 + 16 + 128)
