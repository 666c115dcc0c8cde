"""Tables with one feature, few rows, constant or equal columns."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.data.models import (
    FULL_BATCH,
    QUIET,
    REALS,
    RNG,
    TABLE_KINDS,
    WITH_BATCHES,
    Y,
    fitted,
    in_turns,
    oracle,
    weights_of,
)

pytestmark = QUIET


TABLES = {
    "one feature": (REALS[:, :1], Y),
    "more features than rows": (RNG.normal(size=(20, 60)), np.arange(20) % 2),
    "constant column": (np.column_stack([REALS, np.full(120, 3.0)]), Y),
    "column of zeros": (np.column_stack([REALS, np.zeros(120)]), Y),
    "equal columns": (np.column_stack([REALS, REALS]), Y),
    "two rows": (REALS[:2], np.array([0, 1])),
}


@in_turns(TABLES, FULL_BATCH)
@TABLE_KINDS
def test_logistic_on_an_extreme_table_finds_the_optimum_of_scikit_learn(model, case, kind):
    X, y = case
    assert_allclose(weights_of(fitted(model, kind(X), y)), oracle(X, y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_network_on_an_extreme_table_trains(table):
    X, y = table
    model = fitted(WITH_BATCHES["mlp"], X, y)
    assert np.isfinite(model.predict_proba(X)).all()
