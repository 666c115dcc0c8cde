"""Encodings of categories, against scikit-learn's encoders."""

import numpy as np
import pytest
from sklearn.preprocessing import TargetEncoder

from skbinary.preprocessing.categories import (
    _draw_folds,
    cross_fit,
    find_frequent,
    has_identifiers,
    has_texts,
)
from skbinary.preprocessing.columns import read_column


def column_of(values):
    return read_column(np.array(values, dtype=object), "name")


def test_cross_fit_equals_target_encoder_fitted_on_the_other_folds():
    random = np.random.default_rng(0)
    target = random.integers(0, 2, 300).astype(float)
    values = [random.choice([f"c{k}" for k in range(n)], 300).tolist() for n in (7, 150)]
    _, encoded = cross_fit([column_of(each) for each in values], target, 3)
    X, folds = np.array(values, dtype=object).T, _draw_folds(target, 3)
    for fold in range(5):
        other = folds != fold
        encoder = TargetEncoder(target_type="binary").fit(X[other], target[other])
        np.testing.assert_allclose(encoded[~other], encoder.transform(X[~other]))


@pytest.mark.parametrize(("n_samples", "n_positive"), [(100, 30), (23, 2), (3, 1), (2, 1)])
def test_cross_fit_folds_are_stratified(n_samples, n_positive):
    target = (np.arange(n_samples) < n_positive).astype(float)
    folds = _draw_folds(target, 0)
    for label in (0, 1):
        counts = np.bincount(folds[target == label], minlength=min(5, n_samples))
        assert counts.max() - counts.min() <= 1
    _, encoded = cross_fit([column_of(["a", "b"] * n_samples)][:1], np.tile(target, 2), 0)
    assert np.isfinite(encoded).all()


def test_find_frequent_does_not_depend_on_the_order_of_rows():
    values = ["b", "a", "c", None, "c", "a", "b", None]
    expected = {"a": 0, "b": 1}, 2
    assert find_frequent(column_of(values), 1, 3) == expected
    assert find_frequent(column_of(values[::-1]), 1, 3) == expected


def test_find_frequent_missing_values_are_last():
    known, infrequent = find_frequent(column_of(["b", None, "a"]), 1, 5)
    assert known == {"a": 0, "b": 1, None: 2}
    assert infrequent == -1


@pytest.mark.parametrize(
    ("values", "texts", "identifiers"),
    [
        ([f"k-{i}" for i in range(50)], False, True),
        ([f"Mr. John Doe {i}" for i in range(50)], False, True),
        ([f"message {i} of a long list" for i in range(50)], True, True),
        (["yes, on the whole I agree", "no, I do not agree"] * 25, False, False),
        ([f"c{i % 30}" for i in range(50)], False, False),
        ([f"k-{i}" for i in range(50)] + [None] * 99, False, True),
    ],
)
def test_texts_and_identifiers_are_recognized(values, texts, identifiers):
    column = column_of(values)
    assert (has_texts(column), has_identifiers(column)) == (texts, identifiers)
