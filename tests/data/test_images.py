"""Samples of more than one dimension."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skbinary import TorchLogisticClassifier
from tests.data.models import QUIET, WITH_BATCHES, Y, by_name, fitted, weights_of

pytestmark = QUIET


IMAGES = np.random.RandomState(0).rand(60, 3, 8, 8)
FLAT = IMAGES.reshape(60, -1)
IMAGE_CONTAINERS = {
    "array": np.asarray,
    "fortran order": np.asfortranarray,
    "channels last, moved": lambda X: np.moveaxis(np.moveaxis(X, 1, 3).copy(), 3, 1),
    "torch": torch.tensor,
    "torch channels last": lambda X: torch.tensor(X).to(memory_format=torch.channels_last),
    "list": lambda X: X.tolist(),
    "list of arrays": list,
}
IMAGE_MLP = WITH_BATCHES["mlp"]


@by_name(IMAGE_CONTAINERS)
def test_images_are_fitted_and_scored_like_flat_rows(make):
    flat, shaped = (fitted(IMAGE_MLP, X, Y[:60]) for X in (FLAT, make(IMAGES)))
    assert_array_equal(weights_of(shaped), weights_of(flat))
    scores = shaped.decision_function(make(IMAGES))
    assert_allclose(scores, flat.decision_function(FLAT), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "bool"])
def test_images_of_any_precision_give_the_weights_of_flat_rows(dtype):
    images = (IMAGES * 255).astype(dtype)
    flat = weights_of(fitted(IMAGE_MLP, images.reshape(60, -1), Y[:60]))
    assert_array_equal(weights_of(fitted(IMAGE_MLP, images, Y[:60])), flat)


def test_images_set_the_sample_shape():
    model = fitted(IMAGE_MLP, IMAGES, Y[:60])
    assert model.sample_shape_ == (3, 8, 8)
    assert model.n_features_in_ == 192


def test_images_then_flat_rows_remove_the_sample_shape():
    model = fitted(IMAGE_MLP, IMAGES, Y[:60]).fit(FLAT, Y[:60])
    assert not hasattr(model, "sample_shape_")


OTHER_SHAPES = {
    "flat": FLAT,
    "other order": IMAGES.transpose(0, 2, 3, 1),
    "smaller": IMAGES[:, :, :4],
    "three-dimensional": IMAGES.reshape(60, 3, 64),
    "tensor": torch.tensor(FLAT),
}


@pytest.mark.parametrize("other", OTHER_SHAPES.values(), ids=OTHER_SHAPES.keys())
def test_images_of_another_shape_are_an_error_at_predict(other):
    model = fitted(IMAGE_MLP, IMAGES, Y[:60])
    message = r"The samples in X must have the shape \(3, 8, 8\), as in fit, got \("
    with pytest.raises(ValueError, match=message):
        model.predict(other)


def test_images_after_flat_rows_are_an_error_at_predict():
    model = fitted(IMAGE_MLP, FLAT, Y[:60])
    with pytest.raises(ValueError, match=r"must have the shape \(192,\), as in fit"):
        model.predict(IMAGES)


def test_images_as_validation_rows_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r"must have the shape \(3, 8, 8\)"):
        fitted(IMAGE_MLP, IMAGES, Y[:60], X_val=FLAT, y_val=Y[:60])


def test_images_as_validation_rows_give_the_loss_of_flat_rows():
    curves = [
        fitted(IMAGE_MLP, X[:40], Y[:40], X_val=X[40:], y_val=Y[40:60]).validation_loss_curve_
        for X in (IMAGES, FLAT)
    ]
    assert curves[0] == curves[1]


def test_images_in_partial_fit_keep_their_shape():
    model = clone(IMAGE_MLP).partial_fit(IMAGES, Y[:60])
    with pytest.raises(ValueError, match=r"must have the shape \(3, 8, 8\)"):
        model.partial_fit(FLAT, Y[:60])


@pytest.mark.parametrize("X", [IMAGES, torch.tensor(IMAGES)], ids=["array", "tensor"])
def test_images_for_a_logistic_regression_are_an_error(X):
    with pytest.raises(ValueError, match=r"dim 4|2-dimensional"):
        TorchLogisticClassifier().fit(X, Y[:60])
