import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import loguniform, randint, rv_continuous

from skbinary import TabularEncoder, TorchLogisticClassifier, VectorizedRandomizedSearchCV
from skbinary.data.plain import from_plain, to_plain
from tests.export.equal_models import assert_equal_value


class Triangle(rv_continuous):
    """A distribution of the user."""


MASKED = np.ma.array([{True: 1.0}, None, "balanced"], mask=[False, True, False], dtype=object)
VALUES = {
    "strings": {"a": 1, "b": [1.5, (None, "c")]},
    "numbers": {1: "a", 2.5: "b", (1, ""): "c", None: "d"},
    "booleans": {True: 1.0, False: 2.0},
    "nested": [{0: {None: (1, {2: 3})}}],
    "marks": {"__items__": [1, 2]},
    "mark of a matrix": {"__sparse__": "csr_matrix"},
    "array": np.arange(6.0).reshape(2, 3),
    "objects": np.array([{1: 2}, (3,), None], dtype=object),
    "masked": MASKED,
    "distributions": {"C": loguniform(0.1, 1.0), "n": [randint(2, high=9)]},
    "matrix": sp.csr_matrix(np.eye(3)),
    "sparse array": (sp.csc_array(np.eye(3)),),
}


def types_within(value):
    """Return the types of everything inside plain data."""
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        value = list(value.values())
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return {type(value)}.union(*map(types_within, value))
    return {type(value)}


@pytest.mark.parametrize("name", VALUES)
def test_plain_data_has_simple_types_and_gives_the_value_back(name):
    plain = to_plain(VALUES[name])
    assert types_within(plain) <= {list, tuple, int, float, str, bool, type(None)}
    assert_equal_value(from_plain(plain), VALUES[name])


def test_plain_data_leaves_the_value_unchanged():
    value = {1: MASKED, "a": [{2: 3}]}
    to_plain(value)
    assert value == {1: MASKED, "a": [{2: 3}]}
    assert MASKED.data[0] == {True: 1.0}


def test_distribution_of_the_user_stays_what_it_is():
    frozen = Triangle(name="norm")()
    assert to_plain(frozen) is frozen


@pytest.mark.parametrize("name", ["os", "distributions", "norm.__class__", None])
def test_name_that_is_no_distribution_is_refused(name):
    message = (
        f"A distribution in a file must be one of scipy.stats, got {name!r}. Save the model again."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        from_plain({"__distribution__": [name, (), {}]})


@pytest.mark.parametrize("name", ["os", "csr_matrix.__class__", None])
def test_name_that_is_no_sparse_matrix_is_refused(name):
    message = (
        "A sparse matrix in a file must be one of csr_matrix, csr_array, csc_matrix, csc_array, "
        f"got {name!r}. Save the model again."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        from_plain({"__sparse__": name, "shape": (1, 1)})


@pytest.mark.parametrize(
    "estimator",
    [
        TabularEncoder(max_categories=2),
        VectorizedRandomizedSearchCV(
            TorchLogisticClassifier(),
            {"C": loguniform(0.1, 1.0), "class_weight": [{False: 1.0, True: 2.0}]},
            n_iter=2,
            cv=2,
        ),
        TorchLogisticClassifier(class_weight={False: 1.0, True: 2.0}),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_estimator_whose_dicts_have_other_keys_is_the_same_after_pickling(estimator):
    rows = np.arange(60.0).reshape(30, 2)
    y = np.arange(30) % 3 == 0
    if isinstance(estimator, TabularEncoder):
        rows = [[str(i % 5), f"{i % 3}", float(i)] for i in range(30)]
    estimator.fit(rows, y)
    assert_equal_value(pickle.loads(pickle.dumps(estimator)), estimator)
