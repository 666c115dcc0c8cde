"""The cost of a training, by counting: synchronizations with the device, operations, calls."""

import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.minibatch.dropout import Dropout
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import OneCycle, Schedule
from skbinary.solvers.minibatch.setup import L2Penalty, MiniBatchSetup
from skbinary.solvers.minibatch.single import MiniBatch


class CountOperations(TorchDispatchMode):
    """Records the names of torch's operations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


class CountSynchronizations:
    """Counts how often Python reads the values of a tensor, for which a GPU must finish."""

    NAMES = ("item", "tolist", "__float__", "__int__", "__bool__")

    def __enter__(self):
        self.count = 0
        self._originals = {name: getattr(torch.Tensor, name) for name in self.NAMES}
        for name, method in self._originals.items():
            setattr(torch.Tensor, name, self._counting(method))
        return self

    def __exit__(self, *_):
        for name, method in self._originals.items():
            setattr(torch.Tensor, name, method)

    def _counting(self, method):
        def counted(tensor, *args):
            # The weights of the batches are float64 tensors on the CPU, which need no waiting; the
            # two sums of an epoch are on the device.
            self.count += tensor.dtype != torch.float64 or tensor.numel() == 2
            return method(tensor, *args)

        return counted


def make_solver(n_rows, *, hidden=(8, 4), weighted=False, optimizer=Adam, dropout=0.0, pool=None):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n_rows, 5, generator=generator)
    weight = torch.rand(n_rows, generator=generator) + 0.5 if weighted else None
    dataset = Dataset(DenseRows(X, torch.float32), (X[:, 0] > 0).float(), weight)
    architecture = Architecture(5, hidden, "relu", (dropout,) * len(hidden))
    parameters = torch.randn(1, architecture.n_parameters, generator=generator)
    n_batches = -(-n_rows // 10)
    setup = MiniBatchSetup(
        dataset,
        optimizer(parameters),
        OneCycle(0.01, n_batches) if weighted else Schedule(0.01),
        batch_size=10,
        l2_penalty=L2Penalty(1e-4, per_batch=True),
        shuffler=np.random.RandomState(0),
        dropout=Dropout(architecture.dropout, generator) if dropout else None,
    )
    return MiniBatch(ModelBatch(architecture, parameters), setup, pool=pool)


def operations_of_epoch(solver):
    solver.run_epoch()  # allocates the buffers
    with CountOperations() as operations:
        solver.run_epoch()
    return operations.names


def count_calls(function):
    """Count the calls, of Python and of C functions, that a function makes."""
    count = 0

    def on_event(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    ("weighted", "optimizer", "dropout"), [(False, Adam, 0.0), (True, Adam, 0.5), (True, SGD, 0.0)]
)
def test_epoch_of_a_single_model_synchronizes_with_the_device_once(weighted, optimizer, dropout):
    solver = make_solver(200, weighted=weighted, optimizer=optimizer, dropout=dropout)
    with CountSynchronizations() as synchronizations:
        solver.run_epoch()
    assert synchronizations.count == 1


@pytest.mark.parametrize(("hidden", "maximum"), [((), 20), ((8,), 24), ((8, 4), 30)])
def test_step_of_a_single_model_runs_few_operations(hidden, maximum):
    few = len(operations_of_epoch(make_solver(100, hidden=hidden)))
    many = len(operations_of_epoch(make_solver(400, hidden=hidden)))
    assert (many - few) / 30 <= maximum


@pytest.mark.parametrize(("hidden", "maximum"), [((), 60), ((8,), 75), ((8, 4), 95)])
def test_step_of_a_single_model_makes_few_calls(hidden, maximum):
    counts = []
    for n_rows in (100, 400):
        solver = make_solver(n_rows, hidden=hidden)
        solver.run_epoch()
        counts.append(count_calls(solver.run_epoch))
    assert (counts[1] - counts[0]) / 30 <= maximum


def test_epoch_of_a_small_table_fetches_its_rows_once():
    operations = operations_of_epoch(make_solver(200))
    assert len([name for name in operations if "index_select" in name]) == 1


def test_sharded_gradient_number_of_shards_does_not_depend_on_threads():
    n_shards = []
    for n_threads in (1, 4):
        with ThreadPool(n_threads) as pool:
            gradient = make_solver(20, pool=pool)._gradient
            n_shards.append([gradient.n_shards_of(n) for n in (10, 10_000, 1_000_000)])
    assert n_shards[0] == n_shards[1]
    assert n_shards[0][0] == 1
