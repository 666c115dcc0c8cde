"""Update rules, each re-derived by hand or against torch.optim."""

import numpy as np
import pytest
import torch

from skbinary.solvers.minibatch import optimizers
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.per_model_optimizers import of_each

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


@pytest.mark.parametrize("size", [2, 3, 100])
def test_adam_in_pieces_moves_like_adam(size, monkeypatch):
    start, gradient = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    whole, cut = start.clone(), start.clone()
    monkeypatch.setattr(optimizers, "_piece_size", lambda parameters: size)
    Adam(cut).update(gradient, 0.1)
    monkeypatch.setattr(optimizers, "_piece_size", lambda parameters: 8)
    Adam(whole).update(gradient, 0.1)
    torch.testing.assert_close(cut, whole, rtol=1e-6, atol=0)
    assert not torch.equal(cut, start)


@pytest.mark.parametrize(
    ("shape", "n_pieces"), [((46_000,), 23), ((8, 46_000), 96), ((1000, 9_000), 1000)]
)
def test_adam_on_a_gpu_keeps_its_processors_busy(shape, n_pieces):
    parameters = torch.empty(shape, device="meta")
    size = optimizers._piece_size(parameters)
    assert len(optimizers._pieces(parameters, size)) == n_pieces


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


OF_EACH = {
    "adam": (Adam, [((0.9, 0.999), 1e-8, 0.0), ((0.5, 0.99), 1e-3, 0.1), ((0.0, 0.9), 1e-8, 0.0)]),
    "sgd": (SGD, [(0.0, False, 0.1), (0.9, True, 0.0), (0.9, False, 0.0)]),
    "plain sgd": (SGD, [(0.0, False, 0.0)] * 3),
}


def of_both(name, dtype, n_steps=6):
    """Make the parameters of three models, moved one by one and at once, the last by two alone."""
    kind, settings = OF_EACH[name]
    start = torch.stack([START, START / 2, -START]).to(dtype)
    one_by_one, at_once = start.clone(), start.clone()
    singles = [kind(row, *each) for row, each in zip(one_by_one, settings, strict=True)]
    rule = of_each(at_once, [kind(row, *each) for row, each in zip(start, settings, strict=True)])
    for step, gradient in enumerate(gradients(n_steps)):
        rates = torch.tensor([0.1, 0.01, 0.05], dtype=dtype)[:, None] / (step + 1)
        slopes = (one_by_one * gradient).to(dtype)
        for single, slope, rate in zip(singles, slopes, rates, strict=True):
            single.update(slope, float(rate))
        if step == n_steps - 1:  # one leaves
            kept = torch.tensor([0, 2])
            rest = at_once[kept]
            rule.moved(rest, kept).update(slopes[kept], rates[kept])
            return one_by_one[kept], rest
        rule.update(slopes, rates)
    raise AssertionError("there must be a step")


@pytest.mark.parametrize("name", OF_EACH)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_rule_of_each_moves_models_as_their_own_rules_do(name, dtype, rtol):
    one_by_one, at_once = of_both(name, dtype)
    torch.testing.assert_close(at_once, one_by_one, rtol=rtol, atol=rtol)


def test_rule_of_each_of_another_kind_is_an_error():
    with pytest.raises(TypeError, match="must be Adam or SGD"):
        of_each(torch.zeros(1, 3), [object.__new__(type("Other", (), {"settings": ()}))])
