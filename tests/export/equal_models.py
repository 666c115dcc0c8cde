"""Compare what a file gives back with the model that was saved, to the last bit."""

import numpy as np
import scipy.sparse as sp
from scipy.stats.distributions import rv_frozen
from sklearn.base import BaseEstimator


def assert_equal_value(found, expected, path="model"):
    """Compare types and values of everything inside two objects."""
    assert type(found) is type(expected), path
    if isinstance(expected, BaseEstimator) or type(expected).__module__.startswith("sklearn"):
        found, expected = (dict(sorted(vars(each).items())) for each in (found, expected))
    if isinstance(expected, np.random.RandomState):
        found, expected = found.get_state(legacy=False), expected.get_state(legacy=False)
    if isinstance(expected, rv_frozen):
        found, expected = ((each.dist.name, each.args, each.kwds) for each in (found, expected))
    if sp.issparse(expected):
        assert found.format == expected.format, path
        found, expected = (
            [each.data, each.indices, each.indptr, each.shape] for each in (found, expected)
        )
    if hasattr(expected, "as_dict"):
        found, expected = found.as_dict(), expected.as_dict()
    if isinstance(expected, dict):
        assert list(found) == list(expected), path
        assert [type(key) for key in found] == [type(key) for key in expected], path
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), path
        if expected.dtype != object:
            np.testing.assert_array_equal(found, expected, err_msg=path)
            np.testing.assert_array_equal(np.ma.getmask(found), np.ma.getmask(expected))
            return
        found, expected = found.tolist(), expected.tolist()
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected), path
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_equal_value(one, other, f"{path}.{i}")
        return
    if callable(expected) or expected is None:
        assert found is expected, path
        return
    assert repr(found) == repr(expected), path  # the same for NaN


def assert_equal_model(found, expected, X):
    """Compare two fitted models, and their predictions."""
    assert_equal_value(found, expected)
    for score in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(found, score)(X), getattr(expected, score)(X))
