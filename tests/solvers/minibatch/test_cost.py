"""What a training costs, counted and never timed: waits for the device, and calls a step."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from skbinary import TorchLogisticClassifier
from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.objective import LinearObjective
from skbinary.solvers.full_batch.small_objective import SmallLinearObjective
from skbinary.solvers.minibatch.dropout import Dropout
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import OneCycle, Schedule
from skbinary.solvers.minibatch.single import L2Penalty, MiniBatch, MiniBatchSetup


class Operations(TorchDispatchMode):
    """Counts the operations of torch."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def minibatch(n_rows, *, hidden=(8, 4), weighted=False, optimizer=Adam, dropout=0.0, pool=None):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n_rows, 5, generator=generator)
    weight = torch.rand(n_rows, generator=generator) + 0.5 if weighted else None
    dataset = Dataset(DenseRows(X, torch.float32), (X[:, 0] > 0).float(), weight)
    architecture = Architecture(5, hidden, "relu", (dropout,) * len(hidden))
    start = torch.randn(1, architecture.n_parameters, generator=generator)
    n_batches = -(-n_rows // 10)
    setup = MiniBatchSetup(
        dataset,
        optimizer(start),
        OneCycle(0.01, n_batches) if weighted else Schedule(0.01),
        batch_size=10,
        l2_penalty=L2Penalty(1e-4, per_batch=True),
        shuffler=np.random.RandomState(0),
        dropout=Dropout(architecture.dropout, generator) if dropout else None,
    )
    return MiniBatch(ModelBatch(architecture, start), setup, pool=pool)


def operations_of_an_epoch(step):
    step.run_epoch()  # the first one makes the buffers
    with Operations() as counted:
        step.run_epoch()
    return counted.names


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimizer", [Adam, SGD])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_epoch_waits_for_the_device_once(weighted, optimizer, dropout):
    step = minibatch(200, weighted=weighted, optimizer=optimizer, dropout=dropout)
    with Waits() as waits:
        step.run_epoch()
    # One list of two sums, read at the end.
    assert waits.count == 1


class Waits:
    """Counts how often Python asks a tensor for its values."""

    NAMES = ("item", "tolist", "__float__", "__int__", "__bool__")

    def __enter__(self):
        self.count = 0
        self._kept = {name: getattr(torch.Tensor, name) for name in self.NAMES}
        for name, method in self._kept.items():
            setattr(torch.Tensor, name, self._counting(method))
        return self

    def __exit__(self, *_):
        for name, method in self._kept.items():
            setattr(torch.Tensor, name, method)

    def _counting(self, method):
        def counted(tensor, *args):
            # What lies on the host anyway (a weight of each batch) is nothing to wait for.
            self.count += tensor.dtype != torch.float64 or tensor.numel() == 2
            return method(tensor, *args)

        return counted


@pytest.mark.parametrize(("hidden", "most"), [((), 20), ((8,), 24), ((8, 4), 30)])
def test_step_runs_a_bounded_count_of_operations(hidden, most):
    few = len(operations_of_an_epoch(minibatch(100, hidden=hidden)))
    many = len(operations_of_an_epoch(minibatch(400, hidden=hidden)))
    assert (many - few) / 30 <= most


@pytest.mark.parametrize(("hidden", "most"), [((), 60), ((8,), 75), ((8, 4), 95)])
def test_step_makes_a_bounded_count_of_python_calls(hidden, most):
    counts = []
    for n_rows in (100, 400):
        step = minibatch(n_rows, hidden=hidden)
        step.run_epoch()
        counts.append(calls_of(step.run_epoch))
    assert (counts[1] - counts[0]) / 30 <= most


def calls_of(function):
    """Count the calls, of Python and of C, that a function makes."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_epoch_reads_each_row_once():
    step = minibatch(200)
    gathered = [n for n in operations_of_an_epoch(step) if "index_select" in n]
    # 200 rows of five numbers fit one fetch.
    assert len(gathered) == 1


def test_large_step_is_cut_by_its_size_alone():
    sizes = []
    for n_threads in (1, 4):
        with ThreadPool(n_threads) as pool:
            step = minibatch(20, pool=pool)
            sizes.append([step._crew._n_shares(n) for n in (10, 10_000, 1_000_000)])
    assert sizes[0] == sizes[1]
    assert sizes[0][0] == 1


class _CompressedProducts(TorchDispatchMode):
    """Counts the products of two compressed matrices that make a third one."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        factors = [each for each in args if _is_compressed(each)]
        self.count += "mm" in str(func) and len(factors) > 1 and _is_compressed(result)
        return result


def _is_compressed(each):
    return isinstance(each, torch.Tensor) and each.layout == torch.sparse_csr


@pytest.mark.parametrize("shape", [(300, 20), (20, 300)])
@pytest.mark.parametrize("solver", ["newton-cholesky", "lbfgs", "prox-newton"])
def test_sparse_fit_makes_no_product_of_compressed_matrices(shape, solver):
    # torch keeps some of the memory of such a product for good.
    X = sp.random(*shape, density=0.2, format="csr", random_state=0)
    l1_ratio = 0.5 if solver == "prox-newton" else 0.0
    with _CompressedProducts() as products:
        TorchLogisticClassifier(solver=solver, l1_ratio=l1_ratio).fit(X, np.arange(shape[0]) % 2)
    assert products.count == 0


_MANY_FITS = """
import resource
import numpy as np, scipy.sparse as sp
from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def fit_all():
    for shape in [(3000, 300), (200, 5000)]:
        X = sp.random(*shape, density=0.05, format="csr", random_state=0)
        y = np.arange(shape[0]) % 2
        TorchLogisticClassifier().fit(X, y)
        VectorizedGridSearchCV(TorchLogisticClassifier(), {"C": [0.1, 1]}, cv=2).fit(X, y)

for _ in range(5):
    fit_all()
before = peak()
for _ in range(20):
    fit_all()
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of the peak memory differs")
def test_sparse_fits_one_after_the_other_take_no_more_memory():
    done = subprocess.run(
        [sys.executable, "-c", _MANY_FITS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 10 * 1024  # KiB


@pytest.mark.parametrize("kind", [LinearObjective, SmallLinearObjective])
def test_objective_that_has_looked_ahead_is_freed_at_once(kind):
    # In a reference cycle its rows would stay in memory until Python looks for cycles.
    rows = DenseRows(torch.eye(4, dtype=torch.float64), torch.float64)
    dataset = Dataset(rows, torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64))
    model_batch = ModelBatch(Architecture(4), torch.zeros(1, 5, dtype=torch.float64))
    objective = kind(model_batch, dataset, 0.1)
    objective.evaluate()
    objective.along(-objective.gradient).evaluate(1.0)
    gone = weakref.ref(objective)
    gc.disable()
    try:
        del objective
        assert gone() is None
    finally:
        gc.enable()
