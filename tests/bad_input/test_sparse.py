"""Sparse matrices whose index arrays do not fit: an error before they are read."""

import numpy as np
import pytest
import scipy.sparse as sp

from skbinary import TorchMLPClassifier
from tests.bad_input.cases import CLASSIFIERS, Y, assert_raises_unchanged, fitted, in_turns, whole
from tests.bad_input.test_containers import WITH_ROWS

PLACES = np.random.RandomState(0).permutation(240)[:120]
SPARSE = sp.coo_array((np.linspace(0.1, 1, 120), np.divmod(PLACES, 6)), shape=(40, 6))
FITS = (
    "{} must be a sparse matrix whose index arrays fit its shape, got {}. Rebuild the matrix "
    "from rows, columns and values with scipy.sparse.coo_array."
)


def damaged_matrix(layout, damage):
    matrix = SPARSE.tocsr().tobsr((2, 2)) if layout == "bsr" else getattr(SPARSE, f"to{layout}")()
    matrix = matrix.copy()
    damage(matrix)
    return matrix


def put(name, where, value):
    def damage(matrix):
        getattr(matrix, name)[where] = value

    return damage


def shorten(name):
    def damage(matrix):
        setattr(matrix, name, getattr(matrix, name)[:-3])

    return damage


def as_floats(matrix):
    matrix.indices = matrix.indices.astype(float)


def columns_only(matrix):
    matrix.data[0] = matrix.data[0][:-1]


MALFORMED = {
    "csr beyond": ("csr", put("indices", 5, 6), "the column index 6 with 6 columns"),
    "csr negative": ("csr", put("indices", 5, -1), "the column index -1 with 6 columns"),
    "csr decreasing": ("csr", put("indptr", 1, 99), "an indptr that decreases"),
    "csr start": ("csr", put("indptr", 0, 1), "an indptr that starts at 1"),
    "csr end": ("csr", put("indptr", -1, 999), "an indptr that ends at 999 with 120 indices"),
    "csr short data": ("csr", shorten("data"), "117 values with 120 indices"),
    "csr short indices": ("csr", shorten("indices"), "120 values with 117 indices"),
    "csr short indptr": (
        "csr", shorten("indptr"), "an indptr of shape (38,), where (41,) is needed,",
    ),
    "csr floats": ("csr", as_floats, "column indices of float64"),
    "csc beyond": ("csc", put("indices", 5, 40), "the row index 40 with 40 rows"),
    "csc decreasing": ("csc", put("indptr", 1, 99), "an indptr that decreases"),
    "csc short data": ("csc", shorten("data"), "117 values with 120 indices"),
    "bsr beyond": ("bsr", put("indices", 5, 3), "the column index 3 with 3 columns"),
    "coo column": ("coo", lambda m: put("col", 5, 6)(m), "the column index 6 with 6 columns"),
    "coo row": ("coo", lambda m: put("row", 5, -2)(m), "the row index -2 with 40 rows"),
    "coo short data": (
        "coo", shorten("data"), "117 values with 120 row and 120 column indices",
    ),
    "lil beyond": (
        "lil", lambda m: m.rows[0].__setitem__(-1, 7), "the column index 7 with 6 columns",
    ),
    "lil short": ("lil", columns_only, "lists of columns and of values that differ in length"),
    "dia short": ("dia", shorten("data"), "43 offsets for data of shape (40, 6)"),
}  # fmt: skip


@pytest.fixture(scope="module")
def models():
    """Return both classifiers, fitted on the sparse matrix."""
    return {kind: fitted(kind, (SPARSE, Y), solver="adam") for kind in CLASSIFIERS}


def assert_malformed(model, use, name):
    layout, damage, flaw = MALFORMED[name]
    call, argument = use
    matrix = damaged_matrix(layout, damage)
    pattern = whole(FITS.format(argument, flaw))
    assert_raises_unchanged(model, lambda m: call(m, matrix), ValueError, pattern)


@in_turns({name: name for name in MALFORMED})
def test_fit_on_a_malformed_matrix_raises(models, kind, case):
    assert_malformed(models[kind], WITH_ROWS["fit"], case)


@in_turns(
    WITH_ROWS | {"validate": (lambda m, rows: m.fit(SPARSE, Y, X_val=rows, y_val=Y), "X_val")}
)
@pytest.mark.parametrize("name", ["csr beyond", "coo short data"])
def test_every_use_of_a_malformed_matrix_raises(models, kind, case, name):
    assert_malformed(models[kind], case, name)


def test_net_with_a_malformed_matrix_raises():
    net = fitted(TorchMLPClassifier, (SPARSE, Y)).net_
    matrix = damaged_matrix(*MALFORMED["csr beyond"][:2])
    with pytest.raises(ValueError, match="the column index 6 with 6 columns"):
        net.predict_proba(matrix)


def test_fit_on_a_matrix_with_unused_entries_ignores_them():
    matrix = SPARSE.tocsr()
    longer = sp.csr_array(
        (np.r_[matrix.data, 9.0], np.r_[matrix.indices, 77], matrix.indptr), shape=matrix.shape
    )
    kind = TorchMLPClassifier
    found, expected = fitted(kind, (longer, Y)), fitted(kind, (matrix, Y))
    np.testing.assert_array_equal(found.predict_proba(longer), expected.predict_proba(matrix))
