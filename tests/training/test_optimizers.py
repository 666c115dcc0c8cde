"""Update rules, each re-derived by hand or against torch.optim."""

import numpy as np
import pytest
import torch

from skbinary._training.optimizers import SGD, Adam

START = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)


def gradients(n=6):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(n)]


def torch_path(optimizer_class, **settings):
    parameter = torch.nn.Parameter(START.clone())
    optimizer = optimizer_class([parameter], **settings)
    for gradient in gradients():
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("fused", [True, False])
def test_adam_equals_torch(weight_decay, fused):
    parameters = START.clone()
    adam = Adam(parameters, (0.8, 0.95), 1e-3, weight_decay)
    if not fused:
        adam._fused = None
    for gradient in gradients():
        adam.update(gradient, 0.05)
    expected = torch_path(
        torch.optim.AdamW, lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=weight_decay
    )
    torch.testing.assert_close(parameters, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_constant_rate_equals_torch(momentum, nesterov):
    parameters = START.clone()
    sgd = SGD(parameters, momentum, nesterov)
    for gradient in gradients():
        sgd.update(gradient, 0.05)
    expected = torch_path(torch.optim.SGD, lr=0.05, momentum=momentum, nesterov=nesterov)
    torch.testing.assert_close(parameters, expected, rtol=1e-12, atol=1e-12)


def test_sgd_moving_rate_equals_velocity_by_hand():
    parameters = START.clone()
    sgd = SGD(parameters, 0.9, True)
    value, velocity = START.numpy().copy(), np.zeros(3)
    for rate, gradient in zip([0.1, 0.05, 0.01], gradients(), strict=False):
        sgd.update(gradient, rate)
        velocity = 0.9 * velocity - rate * gradient.numpy()
        value = value + 0.9 * velocity - rate * gradient.numpy()
    np.testing.assert_allclose(parameters.numpy(), value, rtol=1e-12)


def test_sgd_weight_decay_is_decoupled():
    parameters = START.clone()
    SGD(parameters, weight_decay=0.1).update(torch.zeros(3, dtype=torch.float64), 0.5)
    torch.testing.assert_close(parameters, START * (1 - 0.5 * 0.1))


@pytest.mark.parametrize("make", [Adam, lambda p, state=None: SGD(p, 0.9, state=state)])
def test_state_restored_goes_on_as_if_never_stopped(make):
    whole, first = START.clone(), START.clone()
    without_stop, stopped = make(whole), make(first)
    for gradient in gradients()[:3]:
        without_stop.update(gradient, 0.1)
        stopped.update(gradient, 0.1)
    state = {k: v.clone() if torch.is_tensor(v) else v for k, v in stopped.state().items()}
    second = first.clone()
    resumed = make(second, state=state)
    for gradient in gradients()[3:]:
        without_stop.update(gradient, 0.1)
        resumed.update(gradient, 0.1)
    assert torch.equal(whole, second)
