"""Bad data in fit: one clear message before the training begins, and nothing changes."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.fixes import parse_version

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from tests.bad_input.cases import (
    EMPTY,
    FRAME,
    IMAGES,
    MISSING,
    ONES,
    FailOnTraining,
    X,
    Y,
    assert_raises_unchanged,
    both,
    fitted,
    in_turns,
    replaced,
    starts,
    unfitted,
    whole,
)

ALONE = "X_val and y_val must be passed together, got {} alone. Pass {} as well, or none of them."
NEGATIVE = (
    "Negative values in data passed to `{}`: weights must be zero or more, got -2. Drop "
    "rows that should not count, or set their weight to 0."
)

# Arguments of fit, as (X, y, ...) and keywords, and the message. NAME stands for the class.
FIT_DATA = {
    "nan in X": ((replaced(X, np.nan), Y), {}, starts("Input X contains NaN.\nNAME does not")),
    "inf in X": (
        (replaced(X, np.inf), Y),
        {},
        whole("Input X contains infinity or a value too large for dtype('float64')."),
    ),
    "-inf in X": (
        (replaced(X, -np.inf), Y),
        {},
        whole("Input X contains infinity or a value too large for dtype('float64')."),
    ),
    "inf in float32 X": (
        (replaced(X, np.inf).astype(np.float32), Y),
        {},
        whole("Input X contains infinity or a value too large for dtype('float32')."),
    ),
    "nan in sparse X": (
        (sp.csr_matrix(replaced(X, np.nan)), Y),
        {},
        starts("Input X contains NaN.\n"),
    ),
    "nan in a frame": (
        (pd.DataFrame(replaced(X, np.nan), columns=["a", "b", "c"]), Y),
        {},
        starts("Input X contains NaN.\n"),
    ),
    "nan in a tensor": (
        (torch.tensor(replaced(X, np.nan)), Y),
        {},
        starts("Input X contains NaN."),
    ),
    "nan in y": ((X, replaced(Y, np.nan)), {}, starts("Input y contains NaN.")),
    "inf in y": (
        (X, replaced(Y, np.inf)),
        {},
        whole("Input y contains infinity or a value too large for dtype('float64')."),
    ),
    "none in y": (
        (X, np.array([None, "a", "b", "b"] * 10, dtype=object)),
        {},
        whole(MISSING.format("y", "None", 0)),
    ),
    "no y": (
        (X, None),
        {},
        whole(
            "This NAME estimator requires y to be passed, but the target y is None. Pass the "
            "labels of the rows."
        ),
    ),
    "nan in weights": (
        (X, Y, replaced(ONES, np.nan)),
        {},
        starts("Input sample_weight contains NaN."),
    ),
    "inf in weights": (
        (X, Y, replaced(ONES, np.inf)),
        {},
        starts("Input sample_weight contains infinity"),
    ),
    "negative weight": ((X, Y, replaced(ONES, -2)), {}, whole(NEGATIVE.format("sample_weight"))),
    "weights all zero": (
        (X, Y, np.zeros(40)),
        {},
        # scikit-learn has this sentence since 1.8.
        r"^(sample_weight must not be all zero\. )?Sample weights must contain at least one "
        r"non-zero number\.$",
    ),
    "fewer weights than rows": (
        (X, Y, np.ones(39)),
        {},
        whole(
            "sample_weight must have one number for each row, shape (40,), got shape (39,)"
            ". Pass one weight for each row."
        ),
    ),
    "table of weights": (
        (X, Y, np.ones((40, 2))),
        {},
        starts("sample_weight must have one number for each row, shape (40,), got shape (40, 2)"),
    ),
    "one class, a number": (
        (X, np.ones(40)),
        {},
        whole(
            "y must hold two classes, got one class, 1.0. NAME cannot learn from one "
            "class: check how the rows were selected, or pass both classes to partial_fit."
        ),
    ),
    "one class, a word": (
        (X, np.array(["spam"] * 40)),
        {},
        whole(
            "y must hold two classes, got one class, 'spam'. NAME cannot learn from one "
            "class: check how the rows were selected, or pass both classes to partial_fit."
        ),
    ),
    "three classes": (
        (X, np.arange(40) % 3),
        {},
        whole(
            "Only binary classification is supported. The type of the target is multiclass, got "
            "3 classes. Wrap NAME in sklearn.multiclass.OneVsRestClassifier."
        ),
    ),
    "continuous y": ((X, X[:, 0]), {}, starts("Unknown label type: continuous.")),
    "multilabel y": (
        (X, np.column_stack([Y, 1 - Y])),
        {},
        whole("y should be a 1d array, got an array of shape (40, 2) instead."),
    ),
    "fewer labels than rows": (
        (X, Y[:-1]),
        {},
        whole("Found input variables with inconsistent numbers of samples: [40, 39]"),
    ),
    "no rows": (
        (X[:0], Y[:0]),
        {},
        whole(EMPTY.format("sample", (0, 3))),
    ),
    "no features": (
        (X[:, :0], Y),
        {},
        whole(EMPTY.format("feature", (40, 0))),
    ),
    "empty lists": (([], []), {}, starts("Expected 2D array, got 1D array instead:")),
    "one dimension": ((X[:, 0], Y), {}, starts("Expected 2D array, got 1D array instead:")),
    "objects that are no numbers": (
        (np.array([["u", 1, 2]] * 40, dtype=object), Y),
        {},
        starts("could not convert string to float: 'u'"),
    ),
    "frame with words": (
        (FRAME.assign(b=["u", "v"] * 20), Y),
        {},
        starts("could not convert string to float: 'u'"),
    ),
    "complex X": ((X + 1j, Y), {}, starts("Complex data not supported")),
    "complex sparse X": ((sp.csr_matrix(X + 1j), Y), {}, starts("Complex data not supported")),
    "complex tensor": ((torch.tensor(X + 1j), Y), {}, starts("Complex data not supported")),
    "complex y": ((X, Y + 1j), {}, starts("Complex data not supported")),
    "X_val without y_val": ((X, Y), {"X_val": X}, whole(ALONE.format("X_val", "y_val"))),
    "y_val without X_val": ((X, Y), {"y_val": Y}, whole(ALONE.format("y_val", "X_val"))),
    "sample_weight_val alone": (
        (X, Y),
        {"sample_weight_val": ONES},
        whole(ALONE.format("sample_weight_val", "X_val and y_val")),
    ),
    "unknown label in y_val": (
        (X, Y),
        {"X_val": X, "y_val": Y + 1},
        whole(
            "y_val must hold the classes [0, 1] only, got [2] as well. Drop these rows, or fit "
            "a new model on all classes."
        ),
    ),
    "nan in X_val": (
        (X, Y),
        {"X_val": replaced(X, np.nan), "y_val": Y},
        r"^Input X(_val)? contains NaN\.",
    ),
    "nan in y_val": (
        (X, Y),
        {"X_val": X, "y_val": replaced(Y, np.nan)},
        starts("Input y_val contains NaN."),
    ),
    "nan in sample_weight_val": (
        (X, Y),
        {"X_val": X, "y_val": Y, "sample_weight_val": replaced(ONES, np.nan)},
        starts("Input sample_weight_val contains NaN."),
    ),
    "negative sample_weight_val": (
        (X, Y),
        {"X_val": X, "y_val": Y, "sample_weight_val": replaced(ONES, -2)},
        whole(NEGATIVE.format("sample_weight_val")),
    ),
    "sample_weight_val all zero": (
        (X, Y),
        {"X_val": X, "y_val": Y, "sample_weight_val": np.zeros(40)},
        starts("sample_weight_val must not be all zero."),
    ),
    "fewer labels than rows in validation": (
        (X, Y),
        {"X_val": X, "y_val": Y[:-1]},
        whole("Found input variables with inconsistent numbers of samples: [40, 39]"),
    ),
    "fewer features in X_val": (
        (X, Y),
        {"X_val": X[:, :2], "y_val": Y},
        whole("X has 2 features, but NAME is expecting 3 features as input."),
    ),
    "other names in X_val": (
        (FRAME, Y),
        {"X_val": FRAME.rename(columns={"c": "d"}), "y_val": Y},
        starts("The feature names should match those that were passed during fit."),
    ),
}


@in_turns(FIT_DATA)
def test_fit_with_bad_data_raises_before_training(kind, case):
    args, validation, pattern = case
    model = unfitted(kind, callbacks=[FailOnTraining()])

    assert_raises_unchanged(model, lambda m: m.fit(*args, **validation), ValueError, pattern)
    with pytest.raises(NotFittedError):
        model.predict(X)


# One for each argument.
REFIT_DATA = ["nan in X", "three classes", "weights all zero", "fewer features in X_val"]


@both
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("name", REFIT_DATA)
def test_refit_with_bad_data_leaves_the_fitted_model(kind, name, warm_start):
    args, validation, _ = FIT_DATA[name]
    model = fitted(kind, warm_start=warm_start)
    expected = model.predict_proba(X)

    # With a warm start the message may be that of a prediction: the features are known.
    assert_raises_unchanged(model, lambda m: m.fit(*args, **validation), ValueError, ".+")
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_fit_with_sparse_multilabel_y_raises():
    labels = sp.csr_matrix(np.column_stack([Y, 1 - Y]))

    assert_raises_unchanged(
        unfitted(TorchLogisticClassifier, callbacks=[FailOnTraining()]),
        lambda m: m.fit(X, labels),
        TypeError,
        starts("Sparse data was passed for y, but dense data is required."),
    )


def test_logistic_fit_on_images_raises():
    assert_raises_unchanged(
        unfitted(TorchLogisticClassifier, callbacks=[FailOnTraining()]),
        lambda m: m.fit(IMAGES, Y),
        ValueError,
        whole("Found array with dim 3, while dim <= 2 is required by NAME."),
    )


@both
def test_early_stopping_with_one_row_of_each_class_raises(kind):
    assert_raises_unchanged(
        unfitted(kind, early_stopping=True, callbacks=[FailOnTraining()]),
        lambda m: m.fit(X[:2], [0, 1]),
        ValueError,
        whole(
            "Early stopping must find two rows of a class, one to train on and one to validate on, "
            "got one of each class. Pass X_val and y_val, or set "
            "early_stopping=False."
        ),
    )


@both
def test_warm_start_with_other_classes_raises(kind):
    assert_raises_unchanged(
        fitted(kind, warm_start=True),
        lambda m: m.fit(X, Y + 1),
        ValueError,
        whole(
            "y must hold the classes [0, 1] to continue from the last fit, got [1, 2]. Set "
            "warm_start=False to start anew."
        ),
    )


def test_failed_first_fit_leaves_the_parameters_only():
    model = unfitted(TorchMLPClassifier)
    with pytest.raises(ValueError, match=r"^Input X contains NaN\."):
        model.fit(replaced(X, np.nan), Y)

    assert set(vars(model)) == set(model.get_params())


def test_set_callbacks_on_an_old_scikit_learn_raises():
    if parse_version(sklearn.__version__) >= parse_version("1.9"):
        pytest.skip("this scikit-learn has callbacks")

    assert_raises_unchanged(
        unfitted(TorchMLPClassifier),
        lambda m: m.set_callbacks(object()),
        ImportError,
        whole(
            "scikit-learn must be version 1.9 or newer for set_callbacks, got "
            f"{sklearn.__version__}. Upgrade scikit-learn, or pass skorch callbacks to the "
            "parameter callbacks."
        ),
    )


X_VAL = "Pass the validation set as X_val and y_val: write fit(X, y, X_val=X_val, y_val=y_val)."


@pytest.mark.parametrize(
    ("method", "name", "advice"),
    [
        ("fit", "eval_set", X_VAL),
        ("fit", "validation_data", X_VAL),
        ("fit", "epochs", "Set the parameter max_iter."),
        (
            "fit",
            "batch_size",
            "It is a parameter of the estimator: write set_params(batch_size=...).",
        ),
        ("fit", "something", "Leave it out."),
        ("partial_fit", "eval_set", X_VAL),
        ("partial_fit", "X_val", X_VAL),
    ],
)
def test_argument_of_another_library_raises_with_advice(method, name, advice):
    pattern = whole(f"NAME.{method}() got an unexpected keyword argument {name!r}. {advice}")
    model = unfitted(TorchMLPClassifier)
    call = lambda m: getattr(m, method)(X, Y, **{name: 1})  # noqa: E731
    assert_raises_unchanged(model, call, TypeError, pattern)
