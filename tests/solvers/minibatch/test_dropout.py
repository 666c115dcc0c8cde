"""Dropout drawn ahead: each model has the noise that it has alone, in whole steps."""

import pytest
import torch

from skbinary.solvers.minibatch import dropout as dropout_module
from skbinary.solvers.minibatch.dropout import Dropout, NoiseAhead, bytes_ahead

N_ROWS, WIDTHS = 6, (5, 3)
N_NUMBERS = N_ROWS * sum(WIDTHS)


def dropout(seed, rates=(0.5, 0.25)):
    return Dropout(rates, torch.Generator().manual_seed(seed))


def ahead(*dropouts):
    return NoiseAhead(dropouts, N_ROWS, WIDTHS, torch.empty(0))


@pytest.fixture(params=[1, 3])
def n_steps(request, monkeypatch):
    monkeypatch.setattr(dropout_module, "_NUMBERS_AHEAD", request.param * N_NUMBERS + 7)
    return request.param


def test_each_model_has_the_noise_that_it_has_alone(n_steps):
    together = ahead(dropout(1), dropout(2, (0.1, 0.0)))
    alone = [ahead(dropout(1)), ahead(dropout(2, (0.1, 0.0)))]
    for _ in range(7):
        expected = torch.cat([each.next() for each in alone])
        assert torch.equal(together.next(), expected)


def test_models_that_stay_go_on_with_their_noise(n_steps):
    together, alone = ahead(dropout(1), dropout(2), dropout(3)), ahead(dropout(3))
    for _ in range(4):
        together.next()
        alone.next()
    together.keep([0, 2])
    for _ in range(4):
        assert torch.equal(together.next()[1:], alone.next())


def test_steps_are_drawn_several_at_a_time(n_steps, monkeypatch):
    calls, draw = [], torch.Tensor.uniform_
    monkeypatch.setattr(
        torch.Tensor, "uniform_", lambda self, **kwargs: calls.append(1) or draw(self, **kwargs)
    )
    source = ahead(dropout(1), dropout(2))
    for _ in range(6):
        source.next()
    assert len(calls) == 2 * 6 // n_steps


def test_no_two_steps_have_the_same_noise(n_steps):
    source = ahead(dropout(1))
    steps = [tuple(source.next()[0].tolist()) for _ in range(6)]
    assert len(set(steps)) == 6


def test_layers_lose_their_shares_and_are_scaled_up():
    source = NoiseAhead([dropout(0, (0.3, 0.0))], 500, (40, 2), torch.empty(0))
    shapes = [torch.Size((500, 40)), torch.Size((500, 2))]
    first, second = source.of_layers(source.next(), shapes)
    assert first.shape == shapes[0]
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert first.mean() == pytest.approx(1, abs=0.02)
    assert torch.equal(second, torch.ones(500, 2))


def test_layers_of_a_stack_have_a_leading_axis():
    source = ahead(dropout(1), dropout(2))
    factors = source.next().clone()
    layers = source.of_layers(factors, [torch.Size((2, N_ROWS, w)) for w in WIDTHS])
    assert [tuple(each.shape) for each in layers] == [(2, 6, 5), (2, 6, 3)]
    assert torch.equal(torch.cat([each.flatten(1) for each in layers], dim=1), factors)


@pytest.mark.parametrize(("n_rows", "n_steps"), [(200, 13), (100_000, 1)])
def test_what_is_drawn_ahead_is_bounded(n_rows, n_steps):
    source = NoiseAhead([dropout(0, (0.5,))], n_rows, (384,), torch.empty(0))
    assert source.next().numel() == n_rows * 384
    assert source._drawn.shape == (1, n_steps, n_rows * 384)
    assert bytes_ahead(n_rows, (384,)) == source._drawn.numel() * 4
