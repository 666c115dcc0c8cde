"""Logits and gradients against autograd, and a batch of models against single models."""

import itertools

import pytest
import torch
from torch.nn import functional

from skbinary.data.batches import DenseBatch
from skbinary.data.rows import SparseRows
from skbinary.models.activations import ACTIVATIONS
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch, pad_parameters
from skbinary.solvers.minibatch.dropout import Dropout, DropoutMasks

N_ROWS, N_FEATURES = 7, 5


def make_models(activation, n_models, hidden=(4, 3), fit_intercept=True):
    architecture = Architecture(N_FEATURES, hidden, activation, (), fit_intercept)
    generator = torch.Generator().manual_seed(0)
    shape = (n_models, architecture.n_parameters)
    return ModelBatch(architecture, torch.randn(shape, generator=generator, dtype=torch.float64))


def single_model(model_batch, k):
    return ModelBatch(model_batch.architecture, model_batch.parameters[k : k + 1].clone())


def make_rows(n_models=None, sparse=False):
    """Return a batch, its dense values and its targets, with an axis n_models if that is given."""
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


def autograd(model_batch, values, target, weight=None, masks=None):
    """Return the losses, of shape (n_models,), and the gradient, both by autograd."""
    activations = {
        "identity": lambda x: x,
        "logistic": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "leaky_relu": functional.leaky_relu,
        "gelu": functional.gelu,
        "silu": functional.silu,
    }
    parameters = model_batch.parameters.clone().requires_grad_()
    weights, biases = model_batch.architecture.unpack(parameters)
    outputs = values
    for i, matrix in enumerate(weights):
        outputs = outputs @ matrix
        if biases:
            outputs = outputs + biases[i]
        if i < len(weights) - 1:
            outputs = activations[model_batch.architecture.activation](outputs)
            if masks is not None:
                outputs = outputs * masks[i]
    target = target.expand(outputs.shape[:2])
    weight = None if weight is None else weight.expand(outputs.shape[:2])
    losses = functional.binary_cross_entropy_with_logits(
        outputs[..., 0], target, weight=weight, reduction="none"
    ).sum(dim=1)
    losses.sum().backward()
    return losses.detach(), parameters.grad


WEIGHTS = {"unweighted": None, "weighted": torch.arange(1, N_ROWS + 1, dtype=torch.float64)}
CASES = itertools.product(ACTIVATIONS, WEIGHTS, [1, 3], [False, True])


@pytest.mark.parametrize(("activation", "weighting", "n_models", "has_dropout"), list(CASES))
def test_loss_and_gradient_two_hidden_layers_equal_autograd(
    activation, weighting, n_models, has_dropout
):
    model_batch = make_models(activation, n_models)
    batch, values, target = make_rows()
    all_masks, masks = None, None
    if has_dropout:
        dropouts = [Dropout((0.5, 0.25), torch.Generator().manual_seed(k)) for k in range(n_models)]
        all_masks = DropoutMasks(dropouts, N_ROWS, (4, 3), model_batch.parameters).draw()
        masks = [each[0] if n_models == 1 else each for each in all_masks]
    loss = model_batch.loss_and_gradient(batch, target, WEIGHTS[weighting], masks)
    expected_loss, expected = autograd(model_batch, values, target, WEIGHTS[weighting], all_masks)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model_batch.gradient, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3, 2)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_loss_and_gradient_any_depth_equal_autograd(hidden, fit_intercept):
    model_batch = make_models("tanh", 2, hidden, fit_intercept)
    batch, values, target = make_rows()
    loss = model_batch.loss_and_gradient(batch, target, None)
    expected_loss, expected = autograd(model_batch, values, target)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model_batch.gradient, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_models", [1, 3])
def test_loss_and_gradient_of_sparse_rows_equal_those_of_dense_rows(n_models):
    model_batch = make_models("relu", n_models)
    batch, values, target = make_rows(sparse=True)
    loss = model_batch.loss_and_gradient(batch, target, None)
    gradient = model_batch.gradient.clone()
    expected = model_batch.loss_and_gradient(DenseBatch(values), target, None)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, model_batch.gradient, rtol=1e-12, atol=1e-12)


def test_loss_and_gradient_of_different_rows_equal_those_of_single_models():
    model_batch = make_models("silu", 3)
    batch, values, target = make_rows(n_models=3)
    losses = model_batch.loss_and_gradient(batch, target, None)
    for k in range(3):
        single = single_model(model_batch, k)
        loss = single.loss_and_gradient(DenseBatch(values[k]), target[k], None)
        torch.testing.assert_close(losses[k], loss[0])
        torch.testing.assert_close(model_batch.gradient[k], single.gradient[0])


def test_loss_and_gradient_of_large_logits_are_finite():
    model_batch = make_models("identity", 1, hidden=())
    model_batch.parameters.fill_(1e4)
    batch, _, target = make_rows()
    assert bool(torch.isfinite(model_batch.loss_and_gradient(batch, target, None)).all())
    assert bool(torch.isfinite(model_batch.gradient).all())


def test_logits_of_a_batch_equal_those_of_single_models():
    model_batch = make_models("relu", 3)
    batch, _, _ = make_rows()
    logits = model_batch.logits(batch)
    for k in range(3):
        torch.testing.assert_close(logits[k], single_model(model_batch, k).logits(batch)[0])


def test_pad_parameters_distance_of_models_is_a_multiple_of_the_width():
    parameters = torch.randn(3, 31, generator=torch.Generator().manual_seed(0))
    padded = pad_parameters(parameters, width=5)
    assert torch.equal(padded, parameters)
    assert padded.stride(0) == 80  # the least common multiple of 5 and 16 floats, at least 31
