"""Torch modules made from weights, against the models that they stand for."""

import pytest
import torch

from skbinary.data.batches import DenseBatch
from skbinary.models.activations import ACTIVATIONS
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.torch_module import build_module


def make_model(activation="relu"):
    architecture = Architecture(5, (4, 3), activation)
    generator = torch.Generator().manual_seed(0)
    return ModelBatch(architecture, torch.randn(1, architecture.n_parameters, generator=generator))


def module_of(model_batch):
    weights = [each[0] for each in model_batch.weights]
    biases = [each[0] for each in model_batch.biases]
    return build_module(model_batch.architecture, weights, biases)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_build_module_same_weights_return_the_same_logits(activation):
    model_batch = make_model(activation)
    X = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    logits = module_of(model_batch)(X).detach()
    torch.testing.assert_close(logits, model_batch.logits(DenseBatch(X))[0])


def test_build_module_shares_memory_with_the_weights():
    model_batch = make_model()
    module = module_of(model_batch)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert bool((model_batch.parameters == 0).all())
