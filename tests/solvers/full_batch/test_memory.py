"""The memory of full-batch solvers: what they allocate, and when it is freed."""

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
from skbinary.solvers.full_batch.objective import LinearObjective
from skbinary.solvers.full_batch.small_objective import SmallLinearObjective


class CountSparseProducts(TorchDispatchMode):
    """Counts the products of two sparse matrices whose result is sparse."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        factors = [each for each in args if is_sparse(each)]
        self.count += "mm" in str(func) and len(factors) > 1 and is_sparse(result)
        return result


def is_sparse(value):
    return isinstance(value, torch.Tensor) and value.layout == torch.sparse_csr


@pytest.mark.parametrize("shape", [(300, 20), (20, 300)])
@pytest.mark.parametrize("solver", ["newton-cholesky", "lbfgs", "prox-newton"])
def test_fit_on_sparse_rows_computes_no_sparse_product(shape, solver):
    # torch does not free all of the memory of such a product.
    X = sp.random(*shape, density=0.2, format="csr", random_state=0)
    l1_ratio = 0.5 if solver == "prox-newton" else 0.0
    with CountSparseProducts() as products:
        TorchLogisticClassifier(solver=solver, l1_ratio=l1_ratio).fit(X, np.arange(shape[0]) % 2)
    assert products.count == 0


MANY_FITS = """
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


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
def test_fit_on_sparse_rows_repeated_needs_no_more_memory():
    done = subprocess.run(
        [sys.executable, "-c", MANY_FITS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 10 * 1024  # KiB


@pytest.mark.parametrize("objective_class", [LinearObjective, SmallLinearObjective])
def test_objective_along_a_direction_is_freed_at_once(objective_class):
    # A reference cycle would keep its rows in memory until the next garbage collection.
    rows = DenseRows(torch.eye(4, dtype=torch.float64), torch.float64)
    dataset = Dataset(rows, torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64))
    model_batch = ModelBatch(Architecture(4), torch.zeros(1, 5, dtype=torch.float64))
    objective = objective_class(model_batch, dataset, 0.1)
    objective.evaluate()
    objective.along(-objective.gradient).evaluate(1.0)
    reference = weakref.ref(objective)
    gc.disable()
    try:
        del objective
        assert reference() is None
    finally:
        gc.enable()
