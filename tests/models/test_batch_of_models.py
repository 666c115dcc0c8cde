"""The closed-form gradient against autograd, and K models against one."""

import itertools

import pytest
import torch
from torch.nn import functional

from skbinary.data import batches
from skbinary.data.batches import DenseBatch, SparseBatch
from skbinary.data.rows import SparseRows
from skbinary.models.activations import ACTIVATIONS
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.torch_module import build_module
from skbinary.runtime import chunks
from skbinary.solvers.minibatch.dropout import Dropout, DropoutMasks

N_ROWS, N_FEATURES = 7, 5


def make_stack(activation, n_models, hidden=(4, 3), fit_intercept=True):
    architecture = Architecture(N_FEATURES, hidden, activation, (), fit_intercept)
    generator = torch.Generator().manual_seed(0)
    shape = (n_models, architecture.n_parameters)
    return ModelBatch(architecture, torch.randn(shape, generator=generator, dtype=torch.float64))


def make_rows(n_models=None, sparse=False):
    generator = torch.Generator().manual_seed(1)
    shape = (N_ROWS, N_FEATURES) if n_models is None else (n_models, N_ROWS, N_FEATURES)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 2, shape[:-1], generator=generator).double()
    if sparse:
        values = values * (values > 0)
        stored = values.flatten() != 0
        starts = torch.nn.functional.pad((values != 0).sum(1).cumsum(0), (1, 0))
        columns = torch.arange(N_FEATURES).repeat(N_ROWS)[stored]
        rows = SparseRows(starts, columns, values.flatten()[stored], N_FEATURES, values.dtype)
        return rows.batch(slice(None)), values, target
    return DenseBatch(values), values, target


def autograd_loss(model_batch, parameters, values, target, weight, factors=None):
    """Write the same loss down for autograd, layer by layer."""
    activations = {
        "identity": lambda x: x,
        "logistic": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "leaky_relu": functional.leaky_relu,
        "gelu": functional.gelu,
        "silu": functional.silu,
    }
    weights, biases = model_batch.architecture.unpack(parameters)
    signal = values
    for i, matrix in enumerate(weights):
        signal = signal @ matrix
        if biases:
            signal = signal + biases[i]
        if i < len(weights) - 1:
            signal = activations[model_batch.architecture.activation](signal)
            if factors is not None:
                signal = signal * factors[i]
    target = target.expand(signal.shape[:2])
    weight = None if weight is None else weight.expand(signal.shape[:2])
    each = functional.binary_cross_entropy_with_logits(
        signal[..., 0], target, weight=weight, reduction="none"
    )
    return each.sum(dim=1)


WEIGHTS = {
    "none": None,
    "ones": torch.ones(N_ROWS, dtype=torch.float64),
    "uneven": torch.arange(1, N_ROWS + 1, dtype=torch.float64),
    "tiny": torch.full((N_ROWS,), 1e-6, dtype=torch.float64),
}
CASES = itertools.product(ACTIVATIONS, WEIGHTS, [1, 3], [False, True])


@pytest.mark.parametrize(("activation", "weighting", "n_models", "dropout"), list(CASES))
def test_gradient_closed_form_equals_autograd(activation, weighting, n_models, dropout):
    model_batch = make_stack(activation, n_models)
    batch, values, target = make_rows()
    factors, masks = None, None
    if dropout:
        dropouts = [Dropout((0.5, 0.25), torch.Generator().manual_seed(k)) for k in range(n_models)]
        factors = DropoutMasks(dropouts, N_ROWS, (4, 3), model_batch.parameters).draw()
        masks = [each[0] if n_models == 1 else each for each in factors]
    loss = model_batch.loss_and_gradient(batch, target, WEIGHTS[weighting], masks)

    free = model_batch.parameters.clone().requires_grad_()
    expected = autograd_loss(model_batch, free, values, target, WEIGHTS[weighting], factors)
    expected.sum().backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model_batch.gradient, free.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3, 2)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_gradient_any_depth_equals_autograd(hidden, fit_intercept):
    model_batch = make_stack("tanh", 2, hidden, fit_intercept)
    batch, values, target = make_rows()
    model_batch.loss_and_gradient(batch, target, None)
    free = model_batch.parameters.clone().requires_grad_()
    autograd_loss(model_batch, free, values, target, None).sum().backward()
    torch.testing.assert_close(model_batch.gradient, free.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_models", [1, 3])
def test_gradient_sparse_rows_equals_dense(n_models):
    model_batch = make_stack("relu", n_models)
    batch, values, target = make_rows(sparse=True)
    loss = model_batch.loss_and_gradient(batch, target, None)
    gradient = model_batch.gradient.clone()
    expected = model_batch.loss_and_gradient(DenseBatch(values), target, None)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, model_batch.gradient, rtol=1e-12, atol=1e-12)


def test_gradient_rows_of_their_own_equals_single_models():
    model_batch = make_stack("silu", 3)
    batch, values, target = make_rows(n_models=3)
    losses = model_batch.loss_and_gradient(batch, target, None)
    for k in range(3):
        single = ModelBatch(model_batch.architecture, model_batch.parameters[k : k + 1].clone())
        loss = single.loss_and_gradient(DenseBatch(values[k]), target[k], None)
        torch.testing.assert_close(losses[k], loss[0])
        torch.testing.assert_close(model_batch.gradient[k], single.gradient[0])


def test_logits_stack_equals_single_models():
    model_batch = make_stack("relu", 3)
    batch, _, _ = make_rows()
    logits = model_batch.logits(batch)
    for k in range(3):
        single = ModelBatch(model_batch.architecture, model_batch.parameters[k : k + 1].clone())
        torch.testing.assert_close(logits[k], single.logits(batch)[0])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_module_same_weights_same_logits(activation):
    model_batch = make_stack(activation, 1)
    batch, values, _ = make_rows()
    module = build_module(
        model_batch.architecture,
        [w[0] for w in model_batch.weights],
        [b[0] for b in model_batch.biases],
    )
    torch.testing.assert_close(module(values).detach(), model_batch.logits(batch)[0])


def test_module_shares_memory_with_the_weights():
    model_batch = make_stack("relu", 1)
    module = build_module(
        model_batch.architecture,
        [w[0] for w in model_batch.weights],
        [b[0] for b in model_batch.biases],
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert bool((model_batch.parameters == 0).all())


def test_loss_of_extreme_logits_is_finite():
    model_batch = make_stack("identity", 1, hidden=())
    model_batch.parameters.fill_(1e4)
    batch, _, target = make_rows()
    assert bool(torch.isfinite(model_batch.loss_and_gradient(batch, target, None)).all())
    assert bool(torch.isfinite(model_batch.gradient).all())


def compressed(n_rows=40, n_columns=7):
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(n_rows, n_columns, generator=generator, dtype=torch.float64)
    dense *= torch.rand(n_rows, n_columns, generator=generator) < 0.3
    dense[3] = 0.0  # an empty row
    return SparseBatch(dense.to_sparse_csr()), dense


@pytest.mark.parametrize("n_models", [None, 1, 3])
def test_sparse_rows_added_up_in_their_order_give_the_product(n_models):
    batch, dense = compressed()
    shape = (7,) if n_models is None else (7, n_models)
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(batches._sum_products_by_row(batch.values, weights), dense @ weights)
    torch.testing.assert_close(
        batches._sum_products_by_row(batch.transposed, dense @ weights),
        dense.mT @ (dense @ weights),
    )


def test_sparse_rows_made_dense_in_parts_give_the_same_products(monkeypatch):
    batch, dense = compressed()
    monkeypatch.setattr(chunks, "_CHUNK_VALUES", 70)  # parts of ten rows, or eight columns
    parts = list(batch._dense_chunks())
    assert [span.stop - span.start for span, _ in parts] == [10] * 4
    torch.testing.assert_close(torch.cat([part.values for _, part in parts]), dense)
    importance = torch.rand(40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    squares = sum(part.weighted_gram(importance[span]) for span, part in parts)
    torch.testing.assert_close(squares, batch.weighted_gram(importance))
    columns = SparseBatch(batch.transposed)._dense_chunks()
    products = sum(part.values.mT @ part.values for _, part in columns)
    torch.testing.assert_close(products, batch.row_products())


def test_weighted_squares_of_sparse_rows_are_those_of_dense_ones():
    batch, dense = compressed()
    importance = torch.rand(40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = DenseBatch(dense).weighted_squares(importance)
    torch.testing.assert_close(batch.weighted_squares(importance), expected)
