"""What a step of a module shows before it is trained."""

import pytest
import torch
from torch import nn

from skbinary.models import module_mapping
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.models.module_builder import ModuleBuilder
from skbinary.models.module_mapping import inspect_module
from tests.estimators import modules

N_FEATURES = 6


def inspected(module, **arguments):
    names = {"n_features": N_FEATURES} if module is not modules.Lazy else {}
    builder = ModuleBuilder(module, names | arguments, (N_FEATURES,))
    architecture = ModuleArchitecture(builder)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(8, N_FEATURES, generator=generator)
    rows[:, 0] = torch.arange(8) % 3
    inspect_module(architecture, rows)
    return architecture


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("module", modules.MODULES, ids=lambda each: each.__name__)
def test_module_is_mapped_or_there_is_a_reason(module):
    reason, found = modules.MODULES[module], inspected(module).facts.mapping_problem
    if reason is None:
        assert found is None
    else:
        assert reason in found


class CrossTalk(modules.ReLUNetwork):
    """Computes something else where it is mapped."""

    def forward(self, X):
        return super().forward(X) * (2 if torch._C._functorch.is_batchedtensor(X) else 1)


def test_step_that_differs_when_it_is_mapped_is_found():
    reason = inspected(CrossTalk).facts.mapping_problem
    assert reason.startswith("a step of two of them at once differs by ")


def test_dropout_is_random_and_layers_are_not():
    assert inspected(modules.Dropout).is_random
    assert not inspected(modules.ReLUNetwork).is_random


def test_products_and_units_are_counted():
    facts = inspected(modules.ReLUNetwork, width=10).facts
    assert facts.n_products == N_FEATURES * 10 + 10
    assert 10 <= facts.n_units <= 3 * 10 + 2 * N_FEATURES


def test_wide_modules_are_not_mapped_on_a_cpu_but_on_a_gpu():
    narrow, wide = (inspected(modules.ReLUNetwork, width=width) for width in (10, 4096))
    assert narrow.is_mapped(200, torch.device("cpu"))
    assert not wide.is_mapped(200, torch.device("cpu"))
    assert wide.is_mapped(200, torch.device("cuda"))


def test_facts_of_a_class_are_found_once(monkeypatch):
    class Counted(modules.ReLUNetwork):
        pass

    calls = []
    facts = module_mapping._facts
    monkeypatch.setattr(
        module_mapping, "_facts", lambda *arguments: calls.append(1) or facts(*arguments)
    )
    for width in (4, 4, 5):
        inspected(Counted, width=width)
    assert len(calls) == 2


def test_inspection_leaves_the_global_random_state_and_the_rows():
    before = torch.get_rng_state()
    inspected(modules.Transformer)
    assert torch.equal(torch.get_rng_state(), before)


def test_builders_of_equal_arguments_have_equal_keys():
    def builder(**arguments):
        return ModuleBuilder(modules.ListOfLayers, arguments, (N_FEATURES,))

    assert builder(widths=[4, 5]).key() == builder(widths=[4, 5]).key()
    assert builder(widths=[4, 5]).key() != builder(widths=[5, 4]).key()
    network = nn.Linear(3, 1)
    keys = [ModuleBuilder(each, {}, (3,)).key() for each in (network, nn.Linear(3, 1))]
    assert keys[0] != keys[1]


class Centered(modules.ReLUNetwork):
    """Subtracts the mean of the batch."""

    def forward(self, X):
        return super().forward(X - X.mean(dim=0))


def test_modules_that_mix_rows_draw_or_cannot_be_mapped_are_not_captured():
    assert inspected(modules.LayerNorm).can_replay
    centered = inspected(Centered)
    assert centered.facts.mapping_problem is None
    assert centered.facts.mixes_rows
    for architecture in (centered, *map(inspected, (modules.Dropout, modules.BatchNorm))):
        assert not architecture.can_replay
