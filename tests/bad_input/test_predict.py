"""Bad input to the predictions: one clear message, and the model is unchanged."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.exceptions import NotFittedError

from skbinary import TorchMLPClassifier
from tests.bad_input.cases import (
    CLASSIFIERS,
    EMPTY,
    FRAME,
    IMAGES,
    SCORES,
    X,
    Y,
    assert_raises_unchanged,
    fitted,
    in_turns,
    replaced,
    starts,
    unfitted,
    whole,
)

THRESHOLD = (
    "threshold must be a number in [0, 1], got {}. Rows whose probability is at least the "
    "threshold are predicted positive; the default is 0.5."
)
# Rows for a model that was fitted on FRAME, and the messages.
PREDICT_DATA = {
    "nan in X": (replaced(X, np.nan), starts("Input X contains NaN.\nNAME does not")),
    "inf in X": (
        replaced(X, np.inf),
        whole("Input X contains infinity or a value too large for dtype('float64')."),
    ),
    "fewer features": (
        X[:, :2],
        whole("X has 2 features, but NAME is expecting 3 features as input."),
    ),
    "more features in sparse X": (
        sp.csr_matrix(np.hstack([X, X])),
        whole("X has 6 features, but NAME is expecting 3 features as input."),
    ),
    "another name": (
        FRAME.rename(columns={"c": "d"}),
        whole(
            "The feature names should match those that were passed during fit.\n"
            "Feature names unseen at fit time:\n- d\n"
            "Feature names seen at fit time, yet now missing:\n- c\n"
        ),
    ),
    "another order of names": (
        FRAME[["a", "c", "b"]],
        whole(
            "The feature names should match those that were passed during fit.\n"
            "Feature names must be in the same order as they were in fit.\n"
        ),
    ),
    "no rows": (X[:0], whole(EMPTY.format("sample", (0, 3)))),
    "one row without its second dimension": (
        X[0],
        starts("Expected 2D array, got 1D array instead:"),
    ),
    "words": (
        np.array([["u", 1, 2]], dtype=object),
        starts("could not convert string to float: 'u'"),
    ),
    "complex": (X + 1j, starts("Complex data not supported")),
}

NOT_FITTED = whole(
    "This NAME instance is not fitted yet. Call 'fit' with appropriate arguments before using this "
    "estimator."
)
FITTED_ATTRIBUTES = [
    "loss_curve_",
    "validation_loss_curve_",
    "validation_scores_",
    "best_validation_score_",
    "module_",
    "net_",
]


@pytest.fixture(scope="module")
def models():
    """Return both classifiers, fitted on the data frame."""
    return {kind: fitted(kind, data=(FRAME, Y)) for kind in CLASSIFIERS}


@in_turns(PREDICT_DATA)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_decision_function_of_bad_rows_raises(models, kind, case):
    rows, pattern = case

    assert_raises_unchanged(models[kind], lambda m: m.decision_function(rows), ValueError, pattern)


@in_turns({score: score for score in SCORES}, CLASSIFIERS[::-1])
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_prediction_of_bad_rows_raises(models, kind, case):
    rows, pattern = PREDICT_DATA["nan in X"]

    assert_raises_unchanged(models[kind], lambda m: getattr(m, case)(rows), ValueError, pattern)


@pytest.mark.parametrize("shape", [(4, 3), (12,), (2, 3, 2)])
def test_predict_images_of_another_shape_raises(shape):
    model = fitted(TorchMLPClassifier, data=(IMAGES, Y))
    pattern = whole(
        f"The samples in X must have the shape (2, 6), as in fit, got {shape}. "
        "Reshape X to (n_samples, 2, 6)."
    )

    assert_raises_unchanged(
        model, lambda m: m.predict(IMAGES.reshape(40, *shape)), ValueError, pattern
    )


def test_predict_images_after_fit_on_rows_raises():
    assert_raises_unchanged(
        fitted(TorchMLPClassifier),
        lambda m: m.predict(X[:, :, None]),
        ValueError,
        whole(
            "The samples in X must have the shape (3,), as in fit, got (3, 1). "
            "Reshape X to (n_samples, 3)."
        ),
    )


@in_turns({str(value): value for value in (1.5, -0.1, np.nan, np.inf, "half")})
def test_predict_with_a_threshold_outside_of_0_and_1_raises(models, kind, case):
    pattern = whole(THRESHOLD.format(repr(case)))

    assert_raises_unchanged(
        models[kind], lambda m: m.predict(FRAME, threshold=case), ValueError, pattern
    )


@in_turns({str(value): value for value in (1.5, "half", [0.2, 0.3])})
def test_predict_with_a_bad_threshold_set_after_fit_raises(kind, case):
    model = fitted(kind).set_params(threshold=case)

    assert_raises_unchanged(
        model, lambda m: m.predict(X), ValueError, starts("threshold must be a number in [0, 1]")
    )


@in_turns(
    {
        type(value).__name__: value
        for value in (
            [0.2, 0.3],
            np.array([0.2, 0.3]),
            torch.tensor([0.2, 0.3]),
            pd.Series([0.2, 0.3]),
        )
    }
)
def test_net_with_several_thresholds_set_after_fit_raises(kind, case):
    model = fitted(kind)
    model.threshold = case
    pattern = starts("threshold must be a number in [0, 1] to be set after fit, got ")
    for use in (lambda m: m.predict(X), lambda m: m.net_):
        with pytest.raises(ValueError, match=pattern):
            use(model)


@in_turns({score: score for score in (*SCORES, "score")})
def test_prediction_before_fit_raises(kind, case):
    args = (X, Y) if case == "score" else (X,)

    assert_raises_unchanged(
        unfitted(kind), lambda m: getattr(m, case)(*args), NotFittedError, NOT_FITTED
    )


@in_turns({name: name for name in FITTED_ATTRIBUTES})
def test_fitted_attribute_before_fit_raises(kind, case):
    assert_raises_unchanged(unfitted(kind), lambda m: getattr(m, case), NotFittedError, NOT_FITTED)
    # NotFittedError is an AttributeError, which hasattr understands.
    assert not hasattr(unfitted(kind), case)
