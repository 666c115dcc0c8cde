"""A recorded step does what a plain one does."""

import numpy as np
import pytest
import torch

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.solvers.minibatch.cuda_graph import record_on_cuda
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import OneCycle
from skbinary.solvers.minibatch.single import L2Penalty, MiniBatch, MiniBatchSetup
from tests.solvers.recorder import Recorder

MAKE = {"adam": Adam, "sgd": lambda p: SGD(p, 0.9, nesterov=True), "plain sgd": SGD}


def trained(record, optimizer="adam", *, weighted=False, per_batch=True, device="cpu", n_rows=45):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n_rows, 5, generator=generator).to(device)
    weight = torch.rand(n_rows, generator=generator).to(device) + 0.5 if weighted else None
    dataset = Dataset(DenseRows(X, torch.float32), (X[:, 0] > 0).float(), weight)
    architecture = Architecture(5, (8, 4), "relu")
    start = torch.randn(1, architecture.n_parameters, generator=generator).to(device)
    setup = MiniBatchSetup(
        dataset,
        MAKE[optimizer](start),
        OneCycle(0.1, 15),
        batch_size=10,
        l2_penalty=L2Penalty(0.1, per_batch=per_batch),
        shuffler=np.random.RandomState(0),
    )
    step = MiniBatch(ModelBatch(architecture, start), setup, record=record)
    losses = [step.run_epoch().objective for _ in range(3)]
    return start.cpu(), losses, step.state()


@pytest.mark.parametrize("optimizer", MAKE)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("per_batch", [False, True])
def test_recorded_step_equals_the_plain_one(optimizer, weighted, per_batch):
    recorder = Recorder()
    settings = {"weighted": weighted, "per_batch": per_batch}
    plain, losses, state = trained(None, optimizer, **settings)
    recorded, recorded_losses, recorded_state = trained(recorder, optimizer, **settings)
    torch.testing.assert_close(recorded, plain, rtol=1e-5, atol=1e-6)
    assert recorded_losses == pytest.approx(losses, rel=1e-5)
    assert recorded_state.get("n_steps") == state.get("n_steps")
    # The fifth batch of an epoch is made up by rows that do not count.
    assert (recorder.n_recorded, recorder.n_replayed) == (1, 15)


def test_step_that_cannot_be_recorded_runs_as_it_is():
    def refuse(function):
        function()
        raise RuntimeError("operation not permitted when stream is capturing")

    torch.testing.assert_close(trained(refuse)[0], trained(None)[0], rtol=1e-5, atol=1e-6)


def test_table_smaller_than_a_batch_is_not_recorded():
    recorder = Recorder()
    trained(recorder, n_rows=9)
    assert recorder.n_recorded == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch reaches no CUDA device here")
@pytest.mark.parametrize("optimizer", MAKE)
def test_graph_on_cuda_equals_the_plain_step(optimizer):
    recorded, losses, _ = trained(record_on_cuda, optimizer, device="cuda")
    plain, plain_losses, _ = trained(None, optimizer)
    torch.testing.assert_close(recorded, plain, rtol=1e-3, atol=1e-4)
    assert losses == pytest.approx(plain_losses, rel=1e-3)
