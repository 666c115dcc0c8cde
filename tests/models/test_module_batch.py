"""Batches of modules against plain autograd."""

import copy

import pytest
import torch
from torch.nn import functional

from skbinary.data.batches import DenseBatch, SharedBatch
from skbinary.models.module_architecture import ModuleArchitecture, as_logits
from skbinary.models.module_batch import ModuleBatch
from skbinary.models.module_builder import ModuleBuilder
from tests.estimators import modules

N_FEATURES, N_ROWS = 6, 20


def architecture_of(module=modules.ReLUNetwork, **arguments):
    return ModuleArchitecture(
        ModuleBuilder(module, {"n_features": N_FEATURES, **arguments}, (N_FEATURES,))
    )


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N_ROWS, N_FEATURES, generator=generator)


@pytest.fixture
def target():
    return (torch.arange(N_ROWS) % 3 == 0).float()


def plain_step(architecture, seed, rows, target, scale):
    """Return logits and gradients by name, by ten lines of plain PyTorch."""
    module = architecture.builder.build(seed)
    logits = as_logits(module.train()(rows), len(rows))
    losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    (losses * scale).sum().backward()
    return logits.detach(), {k: p.grad for k, p in module.named_parameters() if p.requires_grad}


EACH = [
    modules.ReLUNetwork,
    modules.Softmax,
    modules.LayerNorm,
    modules.TiedWeights,
    modules.Frozen,
    modules.RandomFeatures,
    modules.Inplace,
]


@pytest.mark.parametrize("maps", [True, False])
@pytest.mark.parametrize("module", EACH)
def test_step_of_a_batch_is_that_of_plain_autograd(rows, target, module, maps):
    architecture, scale = architecture_of(module), torch.rand(3, N_ROWS)
    values = torch.stack([architecture.draw(seed) for seed in range(3)])
    batch = ModuleBatch(architecture, values, maps)
    logits = batch.forward_backward(DenseBatch(rows), target, scale)
    gradients = architecture.trained_views(batch.gradient)
    for k in range(3):
        wanted, wanted_gradients = plain_step(architecture, k, rows, target, scale[k])
        torch.testing.assert_close(logits[k], wanted)
        for name, each in wanted_gradients.items():
            torch.testing.assert_close(gradients[name][k], each)


@pytest.mark.parametrize("maps", [True, False])
def test_models_may_have_rows_of_their_own(rows, target, maps):
    architecture = architecture_of()
    values = torch.stack([architecture.draw(seed) for seed in range(3)])
    batch = ModuleBatch(architecture, values, maps)
    others = rows.flip(0)
    shared = SharedBatch([(slice(0, 2), DenseBatch(rows)), (slice(2, 3), DenseBatch(others))])
    logits = batch.forward_backward(shared, target, 0.1)
    for k, own in enumerate([rows, rows, others]):
        wanted, _ = plain_step(architecture, k, own, target, 0.1)
        torch.testing.assert_close(logits[k], wanted)


def test_single_model_writes_logits_where_it_is_told(rows, target):
    architecture = architecture_of()
    batch = ModuleBatch(architecture, architecture.draw(0)[None])
    out = torch.empty(N_ROWS, 1)
    logits = batch.forward_backward(DenseBatch(rows), target, 0.1, out=out)
    assert logits.shape == (N_ROWS,)
    assert torch.equal(out[:, 0], logits)


def test_penalty_is_on_parameters_of_two_dimensions(rows, target):
    architecture = architecture_of()
    batch = ModuleBatch(architecture, architecture.draw(0)[None])
    batch.penalize(torch.tensor(2.0))
    tensors = architecture.views(batch.values)
    for name, gradient in architecture.trained_views(batch.gradient).items():
        factor = 2.0 if tensors[name].ndim - 1 >= 2 else 0.0
        torch.testing.assert_close(gradient, factor * tensors[name])


def test_logits_are_those_of_evaluation_mode_and_change_no_buffers(rows):
    architecture = architecture_of(modules.BatchNorm)
    batch = ModuleBatch(architecture, architecture.draw(0)[None])
    before = batch.values.clone()
    logits = batch.logits(DenseBatch(rows))
    wanted = architecture.builder.build(0).eval()(rows)[:, 0]
    torch.testing.assert_close(logits[0], wanted.detach())
    assert torch.equal(batch.values, before)


@pytest.mark.parametrize("module", [modules.BatchNorm, modules.DoubleBuffers])
def test_buffers_that_a_step_changes_are_values_of_the_model(rows, target, module):
    architecture = architecture_of(module)
    batch = ModuleBatch(architecture, architecture.draw(0)[None])
    with batch.training():
        for _ in range(3):
            batch.forward_backward(DenseBatch(rows), target, 0.1)
    plain = copy.deepcopy(architecture.builder.build(0)).train()
    for _ in range(3):
        plain(rows)
    tensors = architecture.views(batch.values)
    for name, buffer in plain.named_buffers():
        assert tensors[name].dtype == buffer.dtype
        torch.testing.assert_close(tensors[name][0], buffer)


def test_values_hold_tensors_of_any_type_exactly():
    architecture = architecture_of(modules.DoubleBuffers)
    values = architecture.draw(0)
    tensors = architecture.views(values[None])
    packed = architecture.pack({name: each[0] for name, each in tensors.items()})
    assert torch.equal(packed.view(torch.int32), values.view(torch.int32))
    assert tensors["mean"].dtype == torch.float64


@pytest.mark.parametrize(
    ("shape", "n_rows", "is_valid"),
    [
        ((5,), 5, True),
        ((5, 1), 5, True),
        ((5, 2), 5, True),
        ((), 1, True),
        ((2,), 1, True),
        ((5, 3), 5, False),
        ((5, 1, 1), 5, False),
        ((4,), 5, False),
        ((), 5, False),
    ],
)
def test_logits_are_one_or_two_values_a_row(shape, n_rows, is_valid):
    logits = as_logits(torch.ones(shape), n_rows)
    assert (logits is not None) == is_valid
    if logits is not None:
        assert logits.shape == (n_rows,)
