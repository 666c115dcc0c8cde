"""Models, tables and containers that the tests of data share."""

import tracemalloc
from itertools import cycle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skbinary import TorchLogisticClassifier, TorchMLPClassifier

QUIET = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]

RNG = np.random.RandomState(0)
REALS = RNG.normal(size=(120, 6))
WHOLE = RNG.randint(0, 5, size=(120, 6)).astype(float)
FLAGS = RNG.randint(0, 2, size=(120, 6)).astype(float)
Y = (REALS @ [1, -2, 0.5, 0, 1, 0] + WHOLE @ [1, -1, 0, 0, 0, 0] + RNG.normal(size=120) > 0) * 1
HOLED = np.where(RNG.rand(120, 6) < 0.6, 0, REALS)
NAMES = [f"x{i}" for i in range(6)]

FULL_BATCH = {
    "newton": TorchLogisticClassifier(solver="newton-cholesky", tol=1e-10),
    "lbfgs": TorchLogisticClassifier(solver="lbfgs", tol=1e-10, max_iter=1000),
}
WITH_BATCHES = {
    "logistic": TorchLogisticClassifier(
        solver="adam", max_iter=3, batch_size=32, random_state=0, learning_rate_init=0.05
    ),
    "mlp": TorchMLPClassifier((5,), max_iter=3, batch_size=32, random_state=0),
}
MLP_LBFGS = TorchMLPClassifier((3,), solver="lbfgs", max_iter=5, random_state=0, activation="tanh")


def by_name(cases):
    return pytest.mark.parametrize("make", cases.values(), ids=cases.keys())


def models(*tables):
    merged = {name: model for table in tables for name, model in table.items()}
    return pytest.mark.parametrize("model", merged.values(), ids=merged.keys())


def in_turns(cases, *tables):
    """Parametrize a test over cases, each with one model of each table, the models in turns."""
    return pytest.mark.parametrize(
        ("model", "case"),
        [
            pytest.param(model, case, id=f"{case_name}-{name}")
            for table in tables
            for (name, model), (case_name, case) in zip(
                cycle(table.items()), cases.items(), strict=False
            )
        ],
    )


def weights_of(model):
    """Return all weights and biases in one vector."""
    if hasattr(model, "coefs_"):
        return np.concatenate([each.ravel() for each in [*model.coefs_, *model.intercepts_]])
    return np.concatenate([model.coef_.ravel(), model.intercept_])


def fitted(model, X, y=Y, *args, **kwargs):
    return clone(model).fit(X, y, *args, **kwargs)


def with_gaps(X):
    wide = np.zeros((2 * len(X), 2 * X.shape[1]))
    wide[::2, ::2] = X
    return wide[::2, ::2]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def mixed_frame(X):
    frame = pd.DataFrame(X, columns=NAMES)
    return frame.astype({"x0": "float64", "x1": "Float64", "x2": object})


DENSE = {
    "list": lambda X: X.tolist(),
    "list of arrays": list,
    "fortran order": np.asfortranarray,
    "negative strides": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "gaps": with_gaps,
    "read-only": read_only,
    "big endian": lambda X: X.astype(">f8"),
    "objects": lambda X: X.astype(object),
    "long double": lambda X: X.astype(np.longdouble),
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES),
    "pandas nullable": lambda X: pd.DataFrame(X, columns=NAMES).astype("Float64"),
    "pandas mixed": mixed_frame,
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
    "torch": lambda X: torch.tensor(X),
    "torch with gradient": lambda X: torch.tensor(X, requires_grad=True),
    "torch transposed": lambda X: torch.tensor(X.T.copy()).T,
}


def with_duplicates(X):
    """Store every number as two halves in unsorted order."""
    rows, columns = np.nonzero(X)
    order = np.random.RandomState(0).permutation(2 * len(rows))
    values = np.tile(X[rows, columns] / 2, 2)[order]
    coordinates = np.tile(rows, 2)[order], np.tile(columns, 2)[order]
    return sparse.coo_array((values, coordinates), shape=X.shape)


def csr_with_duplicates(X):
    rows = [np.repeat(np.flatnonzero(row)[::-1], 2) for row in X]
    values = np.concatenate([X[i, each] / 2 for i, each in enumerate(rows)])
    starts = np.cumsum([0, *map(len, rows)])
    return sparse.csr_array((values, np.concatenate(rows), starts), shape=X.shape)


def with_long_indices(X):
    table = sparse.csr_array(X)
    table.indices, table.indptr = table.indices.astype(np.int64), table.indptr.astype(np.int64)
    return table


def with_stored_zeros(X):
    table = sparse.csr_array(np.ones_like(X))
    table.data = X.ravel().copy()
    return table


SPARSE = {
    "csr array": sparse.csr_array,
    "csr matrix": sparse.csr_matrix,
    "csc array": sparse.csc_array,
    "csc matrix": sparse.csc_matrix,
    "coo array": sparse.coo_array,
    "coo matrix": sparse.coo_matrix,
    "lil matrix": sparse.lil_matrix,
    "long indices": with_long_indices,
    "long coo indices": lambda X: sparse.coo_array(with_long_indices(X)),
    "duplicates": with_duplicates,
    "csr with duplicates": csr_with_duplicates,
    "stored zeros": with_stored_zeros,
}


LABELS = {
    "ints": np.array([0, 1]),
    "other ints": np.array([3, 7]),
    "uint8": np.array([0, 1], dtype=np.uint8),
    "signs": np.array([-1, 1]),
    "floats": np.array([0.0, 1.0]),
    "float signs": np.array([-1.0, 1.0]),
    "bools": np.array([False, True]),
    "strings": np.array(["ham", "spam"]),
    "objects": np.array(["ham", "spam"], dtype=object),
}
TABLE_KINDS = pytest.mark.parametrize(
    "kind", [np.asarray, sparse.csr_array], ids=["dense", "sparse"]
)

MAPPED_MODELS = {
    "mlp": TorchMLPClassifier((4,), max_iter=1, random_state=0),
    "early stopping": TorchMLPClassifier((4,), max_iter=1, random_state=0, early_stopping=True),
    "logistic": TorchLogisticClassifier(solver="sgd", max_iter=1, random_state=0),
}


def mapped(tmp_path, values):
    tmp_path.mkdir(exist_ok=True)
    np.save(tmp_path / "rows.npy", values)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


def long_table(dtype, shape=(8000, 64)):
    X = np.random.RandomState(0).randint(0, 200, size=shape).astype(dtype)
    return X, (X.reshape(len(X), -1)[:, 0] > 100).astype(int)


def peak_of(function):
    """Return the most bytes that numpy held at once."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def log_loss(scores, y, weight):
    return np.average(np.logaddexp(0, scores) - y * scores, weights=weight)


def oracle(X, y, **kwargs):
    model = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y, **kwargs)
    return np.concatenate([model.coef_.ravel(), model.intercept_])
