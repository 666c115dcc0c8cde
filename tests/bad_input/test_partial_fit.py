"""Bad input to partial_fit: one clear message, and the model is unchanged."""

import numpy as np
import pytest

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from tests.bad_input.cases import (
    CLASSIFIERS,
    FailOnTraining,
    X,
    Y,
    assert_raises_unchanged,
    both,
    starts,
    unfitted,
    whole,
)
from tests.bad_input.test_fit import FIT_DATA


@both
@pytest.mark.parametrize(
    "name", ["nan in X", "negative weight", "three classes", "fewer labels than rows"]
)
def test_partial_fit_with_bad_data_leaves_the_model(kind, name):
    args, _, pattern = FIT_DATA[name]
    model = unfitted(kind, solver="adam").partial_fit(X, Y)
    expected = model.predict_proba(X)
    if name == "three classes":
        pattern = starts("y must hold the classes [0, 1] only, got [2] as well.")

    assert_raises_unchanged(model, lambda m: m.partial_fit(*args), ValueError, pattern)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@both
def test_partial_fit_with_an_unseen_class_raises(kind):
    pattern = whole(
        "y must hold the classes [0, 1] only, got [2] as well. Drop these rows, or fit a new "
        "model on all classes."
    )
    model = unfitted(kind, solver="adam").partial_fit(X, Y)
    expected = model.predict_proba(X)

    assert_raises_unchanged(model, lambda m: m.partial_fit(X, Y + 1), ValueError, pattern)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@both
def test_first_partial_fit_with_a_label_outside_classes_raises(kind):
    assert_raises_unchanged(
        unfitted(kind, solver="adam", callbacks=[FailOnTraining()]),
        lambda m: m.partial_fit(X, Y + 1, classes=[0, 1]),
        ValueError,
        whole(
            "y must hold the classes [0, 1] only, got [2] as well. Drop these rows, or fit a "
            "new model on all classes."
        ),
    )


@both
def test_partial_fit_with_other_classes_than_at_first_raises(kind):
    assert_raises_unchanged(
        unfitted(kind, solver="adam").partial_fit(X, Y, classes=[0, 1]),
        lambda m: m.partial_fit(X, Y, classes=[0, 2]),
        ValueError,
        whole(
            "classes must be [0, 1], as in the first call of partial_fit, got [0, 2]. "
            "Leave classes out, or use a new estimator."
        ),
    )


@both
def test_partial_fit_with_three_classes_raises(kind):
    assert_raises_unchanged(
        unfitted(kind, solver="adam", callbacks=[FailOnTraining()]),
        lambda m: m.partial_fit(X, Y, classes=[0, 1, 2]),
        ValueError,
        r"^Only binary classification is supported\..+ Wrap NAME in "
        r"sklearn\.multiclass\.OneVsRestClassifier\.$",
    )


@both
def test_first_partial_fit_with_one_class_and_no_classes_raises(kind):
    assert_raises_unchanged(
        unfitted(kind, solver="adam", callbacks=[FailOnTraining()]),
        lambda m: m.partial_fit(X, np.zeros(40, dtype=int)),
        ValueError,
        starts("y must hold two classes, got one class, 0."),
    )


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        (
            kind,
            {"solver": solver},
            f"partial_fit must have a mini-batch solver, got solver={solver!r}. Use "
            "solver='adam' or solver='sgd'.",
        )
        for kind, solver in [
            (TorchLogisticClassifier, "auto"),
            (TorchLogisticClassifier, "newton-cholesky"),
            (TorchLogisticClassifier, "lbfgs"),
            (TorchMLPClassifier, "lbfgs"),
        ]
    ]
    + [
        (
            kind,
            {"solver": "adam", "early_stopping": True},
            "partial_fit must have early_stopping=False, since it sees no validation rows, got "
            "early_stopping=True. Use fit, or set early_stopping=False.",
        )
        for kind in CLASSIFIERS
    ],
)
def test_partial_fit_with_parameters_for_fit_only_is_unavailable(kind, parameters, sentence):
    model = unfitted(kind, **parameters)

    assert not hasattr(model, "partial_fit")
    # The message of scikit-learn says what is missing, and its cause says why.
    with pytest.raises(
        AttributeError, match=whole(f"This {kind.__name__!r} has no attribute 'partial_fit'")
    ) as caught:
        model.partial_fit(X, Y)
    assert str(caught.value.__cause__) == sentence
