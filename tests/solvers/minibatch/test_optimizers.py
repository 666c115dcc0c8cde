"""Adam and SGD against torch.optim, and a batch of models against single models."""

import numpy as np
import pytest
import torch

from skbinary.solvers.minibatch import optimizers
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.per_model_optimizers import PerModelAdam, combine_optimizers

START = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)


def make_gradients(n=6):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(n)]


def torch_parameters(optimizer_class, **settings):
    """Return the parameters after the steps of an optimizer of torch."""
    parameter = torch.nn.Parameter(START.clone())
    optimizer = optimizer_class([parameter], **settings)
    for gradient in make_gradients():
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("fused", [True, False])
def test_adam_six_steps_equal_torch(weight_decay, fused):
    parameters = START.clone()
    adam = Adam(parameters, (0.8, 0.95), 1e-3, weight_decay)
    if not fused:
        adam._fused = None
    for gradient in make_gradients():
        adam.update(gradient, 0.05)
    expected = torch_parameters(
        torch.optim.AdamW, lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=weight_decay
    )
    torch.testing.assert_close(parameters, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 100])
def test_adam_in_chunks_equals_adam_on_whole_tensors(size, monkeypatch):
    start, gradient = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    whole, chunked = start.clone(), start.clone()
    monkeypatch.setattr(optimizers, "_chunk_size", lambda parameters: size)
    Adam(chunked).update(gradient, 0.1)
    monkeypatch.setattr(optimizers, "_chunk_size", lambda parameters: 8)
    Adam(whole).update(gradient, 0.1)
    torch.testing.assert_close(chunked, whole, rtol=1e-6, atol=0)
    assert not torch.equal(chunked, start)


@pytest.mark.parametrize(
    ("shape", "n_chunks"), [((46_000,), 23), ((8, 46_000), 96), ((1000, 9_000), 1000)]
)
def test_adam_not_on_the_cpu_splits_large_tensors(shape, n_chunks):
    parameters = torch.empty(shape, device="meta")
    size = optimizers._chunk_size(parameters)
    assert len(optimizers._split_chunks(parameters, size)) == n_chunks


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_constant_rate_equals_torch(momentum, nesterov):
    parameters = START.clone()
    sgd = SGD(parameters, momentum, nesterov)
    for gradient in make_gradients():
        sgd.update(gradient, 0.05)
    expected = torch_parameters(torch.optim.SGD, lr=0.05, momentum=momentum, nesterov=nesterov)
    torch.testing.assert_close(parameters, expected, rtol=1e-12, atol=1e-12)


def test_sgd_falling_rate_equals_the_formula_of_the_velocity():
    parameters = START.clone()
    sgd = SGD(parameters, 0.9, True)
    value, velocity = START.numpy().copy(), np.zeros(3)
    for rate, gradient in zip([0.1, 0.05, 0.01], make_gradients(), strict=False):
        sgd.update(gradient, rate)
        velocity = 0.9 * velocity - rate * gradient.numpy()
        value = value + 0.9 * velocity - rate * gradient.numpy()
    np.testing.assert_allclose(parameters.numpy(), value, rtol=1e-12)


def test_sgd_weight_decay_is_decoupled():
    parameters = START.clone()
    SGD(parameters, weight_decay=0.1).update(torch.zeros(3, dtype=torch.float64), 0.5)
    torch.testing.assert_close(parameters, START * (1 - 0.5 * 0.1))


@pytest.mark.parametrize("make", [Adam, lambda p, state=None: SGD(p, 0.9, state=state)])
def test_state_restored_resumes_without_a_difference(make):
    expected, stopped_parameters = START.clone(), START.clone()
    optimizer, stopped = make(expected), make(stopped_parameters)
    for gradient in make_gradients()[:3]:
        optimizer.update(gradient, 0.1)
        stopped.update(gradient, 0.1)
    state = {k: v.clone() if torch.is_tensor(v) else v for k, v in stopped.state().items()}
    parameters = stopped_parameters.clone()
    resumed = make(parameters, state=state)
    for gradient in make_gradients()[3:]:
        optimizer.update(gradient, 0.1)
        resumed.update(gradient, 0.1)
    assert torch.equal(expected, parameters)


ADAM = [((0.9, 0.999), 1e-8, 0.0), ((0.5, 0.99), 1e-3, 0.1), ((0.0, 0.9), 1e-8, 0.0)]
# The class of the single models' optimizers, and their settings.
MODELS = {
    "fused adam": (Adam, ADAM),
    "adam": (Adam, ADAM),
    "sgd": (SGD, [(0.0, False, 0.1), (0.9, True, 0.0), (0.9, False, 0.0)]),
    "sgd without momentum": (SGD, [(0.0, False, 0.0)] * 3),
}


def train_three_models(name, dtype, n_steps=6):
    """Update three models, one by one and in a batch, which the second leaves before the last step.

    Returns
    -------
    single, batched : Tensor of shape (2, 3)
        The parameters of the two models that stay.
    """
    optimizer_class, settings = MODELS[name]
    start = torch.stack([START, START / 2, -START]).to(dtype)
    single, batched = start.clone(), start.clone()
    singles = [optimizer_class(row, *each) for row, each in zip(single, settings, strict=True)]
    if name == "adam":  # as on a GPU
        optimizer = PerModelAdam(batched, settings)
    else:
        optimizer = combine_optimizers(batched, singles)
    kept = torch.tensor([0, 2])
    for step, gradient in enumerate(make_gradients(n_steps)):
        rates = torch.tensor([0.1, 0.01, 0.05], dtype=dtype)[:, None] / (step + 1)
        gradients = (single * gradient).to(dtype)
        for each, own_gradient, rate in zip(singles, gradients, rates, strict=True):
            each.update(own_gradient, float(rate))
        if step < n_steps - 1:
            optimizer.update(gradients, rates)
    remaining = batched[kept]
    optimizer.with_parameters(remaining, kept).update(gradients[kept], rates[kept])
    return single[kept], remaining


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_combine_optimizers_updates_each_model_as_its_own_optimizer(name, dtype, rtol):
    single, batched = train_three_models(name, dtype)
    torch.testing.assert_close(batched, single, rtol=rtol, atol=rtol)


def test_combine_optimizers_of_another_class_raises():
    other = type("Other", (), {"settings": ()})()
    message = "^The optimizer of a batch of models must be Adam or SGD, got Other.$"
    with pytest.raises(TypeError, match=message):
        combine_optimizers(torch.zeros(1, 3), [other])
