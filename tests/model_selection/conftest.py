"""Searches of both libraries, and the data that the tests of searches share.

What scikit-learn documents of its searches is tested with its own class as well: a test that fails
there is wrong, or scikit-learn has changed.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, ParameterGrid, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import VectorizedGridSearchCV, VectorizedRandomizedSearchCV
from tests.model_selection.searches import FOLDS, LOGISTIC, clone, make_table

GRID_SEARCHES = [GridSearchCV, VectorizedGridSearchCV]
RANDOMIZED_SEARCHES = [RandomizedSearchCV, VectorizedRandomizedSearchCV]


def builder(kind):
    """Return a function that builds a search; a randomized one draws every point of the grid."""

    def build(model, grid, **options):
        options = {"cv": FOLDS} | options
        if kind in GRID_SEARCHES:
            return kind(model, grid, **options)
        return kind(model, grid, n_iter=len(ParameterGrid(grid)), random_state=0, **options)

    return build


@pytest.fixture(params=GRID_SEARCHES)
def grid_search(request):
    return request.param


@pytest.fixture(params=RANDOMIZED_SEARCHES)
def randomized_search(request):
    return request.param


@pytest.fixture(params=GRID_SEARCHES)
def search_for(request):
    """Return a function that builds a grid search, of each library."""
    return builder(request.param)


@pytest.fixture(params=[*GRID_SEARCHES, *RANDOMIZED_SEARCHES])
def any_search_for(request):
    """Return a function that builds a search, of each kind and library."""
    return builder(request.param)


@pytest.fixture(scope="session")
def table():
    """Return rows whose classes overlap, so that scores differ. They are read-only."""
    X, y = make_table()
    X.flags.writeable = y.flags.writeable = False
    return X, y


@pytest.fixture(scope="session")
def frame(table):
    """Return the rows as a data frame whose index is not the position."""
    X, y = table
    index = np.arange(len(y))[::-1] + 1000
    names = [f"x{i}" for i in range(X.shape[1])]
    return pd.DataFrame(X, index, names), pd.Series(y, index)


@pytest.fixture(scope="session")
def uneven():
    """Return a weight for each row of the table."""
    return np.random.RandomState(0).uniform(0.1, 5.0, 150)


@pytest.fixture
def pipeline():
    return Pipeline([("scale", StandardScaler()), ("clf", clone(LOGISTIC))])
