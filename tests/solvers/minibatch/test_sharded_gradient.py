"""The gradient of a batch in shards against that of the whole batch."""

import pytest
import torch

from skbinary.data.batches import DenseBatch
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.periodic_embedding import PeriodicEmbedding
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.minibatch import sharded_gradient
from skbinary.solvers.minibatch.sharded_gradient import BatchSlice, ShardedGradient

EMBEDDING = PeriodicEmbedding((0, 2), n_frequencies=3, n_outputs=2)


@pytest.mark.parametrize("embedding", [None, EMBEDDING], ids=["features", "embedding"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_gradient_in_shards_is_that_of_the_whole_batch(embedding, n_threads, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    architecture = Architecture(4, (5,), "tanh", embedding=embedding)
    parameters = torch.randn(1, architecture.n_parameters, generator=generator)
    rows = torch.randn(50, 4, generator=generator)
    target, logits = (rows[:, 0] > 0).float(), torch.empty(50, 1)
    batch_slice = BatchSlice(torch.arange(50), target, logits, 1 / 50, 50.0)
    whole = ModelBatch(architecture, parameters)
    with ThreadPool(n_threads) as pool:
        ShardedGradient(whole, None, pool).compute(DenseBatch(rows), batch_slice)
        expected_logits = logits.clone()
        monkeypatch.setattr(sharded_gradient, "_MIN_SHARD_PRODUCTS", 1)
        monkeypatch.setattr(sharded_gradient, "_MIN_SHARD_ROWS", 16)
        sharded = ModelBatch(architecture, parameters)
        ShardedGradient(sharded, None, pool).compute(DenseBatch(rows), batch_slice)
    torch.testing.assert_close(sharded.gradient, whole.gradient)
    torch.testing.assert_close(logits, expected_logits)
