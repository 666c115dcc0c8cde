"""A captured step against the step itself."""

import numpy as np
import pytest
import torch

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.periodic_embedding import PeriodicEmbedding
from skbinary.solvers.minibatch.cuda_graph import capture_cuda_graph
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import OneCycle
from skbinary.solvers.minibatch.setup import L2Penalty, MiniBatchSetup
from skbinary.solvers.minibatch.single import MiniBatch
from tests.solvers.fake_capture import FakeCapture

EMBEDDING = PeriodicEmbedding((0, 3), n_frequencies=4, n_outputs=2)
OPTIMIZERS = {"adam": Adam, "nesterov": lambda p: SGD(p, 0.9, nesterov=True), "sgd": SGD}


def train(
    capture,
    optimizer="adam",
    *,
    weighted=False,
    per_batch=True,
    device="cpu",
    n_rows=45,
    embedding=None,
    weight_average=0.0,
):
    """Train for three epochs; return the parameters, the objectives and the optimizer's state."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n_rows, 5, generator=generator).to(device)
    weight = torch.rand(n_rows, generator=generator).to(device) + 0.5 if weighted else None
    dataset = Dataset(DenseRows(X, torch.float32), (X[:, 0] > 0).float(), weight)
    architecture = Architecture(5, (8, 4), "relu", embedding=embedding)
    parameters = torch.randn(1, architecture.n_parameters, generator=generator).to(device)
    setup = MiniBatchSetup(
        dataset,
        OPTIMIZERS[optimizer](parameters),
        OneCycle(0.1, 15),
        batch_size=10,
        l2_penalty=L2Penalty(0.1, per_batch=per_batch),
        shuffler=np.random.RandomState(0),
        weight_average=weight_average,
    )
    solver = MiniBatch(ModelBatch(architecture, parameters), setup, capture=capture)
    objectives = [solver.run_epoch().objective for _ in range(3)]
    return parameters.cpu(), objectives, solver.state()


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        ("adam", {"weighted": False, "per_batch": True}),
        ("adam", {"weighted": True, "per_batch": False}),
        ("nesterov", {"weighted": True, "per_batch": True}),
        ("sgd", {"weighted": False, "per_batch": False}),
        ("adam", {"weight_average": 0.9}),
        ("adam", {"embedding": EMBEDDING}),
        ("sgd", {"embedding": EMBEDDING, "weighted": True, "weight_average": 0.5}),
    ],
)
def test_captured_step_trains_like_the_step_itself(optimizer, settings):
    capture = FakeCapture()
    expected, expected_objectives, expected_state = train(None, optimizer, **settings)
    parameters, objectives, state = train(capture, optimizer, **settings)
    torch.testing.assert_close(parameters, expected, rtol=1e-5, atol=1e-6)
    assert objectives == pytest.approx(expected_objectives, rel=1e-5)
    assert state.get("n_steps") == expected_state.get("n_steps")
    # The fifth batch of an epoch is padded.
    assert (capture.n_captured, capture.n_replayed) == (1, 15)


def test_captured_step_when_capture_fails_runs_the_step_itself():
    def fail(function):
        function()
        raise RuntimeError("operation not permitted when stream is capturing")

    torch.testing.assert_close(train(fail)[0], train(None)[0], rtol=1e-5, atol=1e-6)


def test_choose_capture_table_smaller_than_a_batch_is_not_captured():
    capture = FakeCapture()
    train(capture, n_rows=9)
    assert capture.n_captured == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is available")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("settings", [{}, {"embedding": EMBEDDING, "weight_average": 0.9}])
def test_captured_step_on_cuda_trains_like_the_step_on_the_cpu(optimizer, settings):
    parameters, objectives, _ = train(capture_cuda_graph, optimizer, device="cuda", **settings)
    expected, expected_objectives, _ = train(None, optimizer, **settings)
    torch.testing.assert_close(parameters, expected, rtol=1e-3, atol=1e-4)
    assert objectives == pytest.approx(expected_objectives, rel=1e-3)
