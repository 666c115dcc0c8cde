"""Dropout masks drawn for several steps at once: those of single models, in whole steps."""

import pytest
import torch

from skbinary.solvers.minibatch import dropout as dropout_module
from skbinary.solvers.minibatch.dropout import Dropout, PrefetchedMasks, prefetched_bytes

N_ROWS, WIDTHS = 6, (5, 3)
N_VALUES = N_ROWS * sum(WIDTHS)


def make_dropout(seed, rates=(0.5, 0.25)):
    return Dropout(rates, torch.Generator().manual_seed(seed))


def prefetch(*dropouts):
    return PrefetchedMasks(dropouts, N_ROWS, WIDTHS, torch.empty(0))


@pytest.fixture(params=[1, 3])
def n_steps(request, monkeypatch):
    """Return the number of steps that are drawn at once."""
    monkeypatch.setattr(dropout_module, "_PREFETCHED_VALUES", request.param * N_VALUES + 7)
    return request.param


def test_prefetched_masks_of_two_models_equal_those_of_single_models(n_steps):
    batched = prefetch(make_dropout(1), make_dropout(2, (0.1, 0.0)))
    single = [prefetch(make_dropout(1)), prefetch(make_dropout(2, (0.1, 0.0)))]
    for _ in range(7):
        expected = torch.cat([each.next_step() for each in single])
        assert torch.equal(batched.next_step(), expected)


def test_prefetched_masks_selected_models_continue_with_their_masks(n_steps):
    batched = prefetch(make_dropout(1), make_dropout(2), make_dropout(3))
    single = prefetch(make_dropout(3))
    for _ in range(4):
        batched.next_step()
        single.next_step()
    batched.select([0, 2])
    for _ in range(4):
        assert torch.equal(batched.next_step()[1:], single.next_step())


def test_prefetched_masks_are_drawn_for_several_steps_at_once(n_steps, monkeypatch):
    calls, uniform_ = [], torch.Tensor.uniform_
    monkeypatch.setattr(
        torch.Tensor, "uniform_", lambda self, **kwargs: calls.append(1) or uniform_(self, **kwargs)
    )
    masks = prefetch(make_dropout(1), make_dropout(2))
    for _ in range(6):
        masks.next_step()
    assert len(calls) == 2 * 6 // n_steps


def test_prefetched_masks_of_different_steps_differ(n_steps):
    masks = prefetch(make_dropout(1))
    steps = [tuple(masks.next_step()[0].tolist()) for _ in range(6)]
    assert len(set(steps)) == 6


def test_prefetched_masks_drop_units_at_the_rate_of_their_layer():
    masks = PrefetchedMasks([make_dropout(0, (0.3, 0.0))], 500, (40, 2), torch.empty(0))
    shapes = [torch.Size((500, 40)), torch.Size((500, 2))]
    first, second = masks.split_layers(masks.next_step(), shapes)
    assert first.shape == shapes[0]
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert first.mean() == pytest.approx(1, abs=0.02)
    assert torch.equal(second, torch.ones(500, 2))


def test_split_layers_of_two_models_have_a_leading_axis():
    masks = prefetch(make_dropout(1), make_dropout(2))
    step = masks.next_step().clone()
    layers = masks.split_layers(step, [torch.Size((2, N_ROWS, width)) for width in WIDTHS])
    assert [tuple(each.shape) for each in layers] == [(2, 6, 5), (2, 6, 3)]
    assert torch.equal(torch.cat([each.flatten(1) for each in layers], dim=1), step)


@pytest.mark.parametrize(("n_rows", "n_steps"), [(200, 13), (100_000, 1)])
def test_prefetched_bytes_of_a_model_equal_the_memory_of_its_masks(n_rows, n_steps):
    masks = PrefetchedMasks([make_dropout(0, (0.5,))], n_rows, (384,), torch.empty(0))
    assert masks.next_step().numel() == n_rows * 384
    assert masks._drawn.shape == (1, n_steps, n_rows * 384)
    assert prefetched_bytes(n_rows, (384,)) == masks._drawn.numel() * 4
