"""Bad input: one sentence each, before training, and the estimator is what it was."""

import re
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.fixes import parse_version
from skorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from skbinary import (
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)
from skbinary.data import preparation
from skbinary.estimators import scoring

KINDS = [TorchLogisticClassifier, TorchMLPClassifier]
RNG = np.random.RandomState(0)
X = RNG.randn(40, 3)
Y = (X[:, 0] > 0).astype(int)
ONES = np.ones(40)
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
IMAGES = RNG.randn(40, 2, 6)


GAP = (
    "{} must hold a label for each row, got {} in row {}, which is NaN, None or another "
    "missing value. Drop these rows, or label them."
)
UNREADABLE = "{} must be an array, a data frame or a tensor, got {}. {}."
NOT_DENSE = "{} must be a dense tensor of numbers, got {}. {}."


class Witness(Callback):
    """Fails the test when training begins."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        raise AssertionError("training has begun on bad input")


def spoilt(array, value):
    """Give a copy as floats with one number replaced."""
    array = np.array(array, dtype=float)
    array.flat[3] = value
    return array


def whole(sentence):
    """Give the pattern that matches this sentence and nothing around it."""
    return f"^{re.escape(sentence)}$"


def starts(sentence):
    """Give the pattern of a message that scikit-learn continues with advice or with the data."""
    return f"^{re.escape(sentence)}"


def suggests(parameter, given, suggestion):
    """Give the pattern of a refused option. scikit-learn lists the options in any order."""
    return (
        rf"^The '{parameter}' parameter of NAME must be (.+, )?a str among {{.+}}( or None)?\. "
        rf"Got {given!r} instead\. Did you mean {suggestion!r}\?$"
    )


def in_range(parameter, kind, interval, given):
    return whole(
        f"The '{parameter}' parameter of NAME must be {kind} in the range {interval}. "
        f"Got {given} instead."
    )


THRESHOLD = (
    "threshold must be a number in [0, 1], got {}. Rows whose probability is at least the "
    "threshold are predicted positive; the default is 0.5."
)
EMPTY = "Found array with 0 {}(s) (shape={}) while a minimum of 1 is required by NAME."
ALONE = "X_val and y_val must be passed together, got {} alone. Pass {} as well, or none of them."
NEGATIVE = (
    "Negative values in data passed to `{}`: weights must be zero or more, got -2. Drop "
    "rows that should not count, or set their weight to 0."
)

# What fit is given, as (X, y, ...) and keywords, and what it answers. NAME is the class's name.
FIT_DATA = {
    "nan in X": ((spoilt(X, np.nan), Y), {}, starts("Input X contains NaN.\nNAME does not")),
    "inf in X": (
        (spoilt(X, np.inf), Y),
        {},
        whole("Input X contains infinity or a value too large for dtype('float64')."),
    ),
    "-inf in X": (
        (spoilt(X, -np.inf), Y),
        {},
        whole("Input X contains infinity or a value too large for dtype('float64')."),
    ),
    "inf in float32 X": (
        (spoilt(X, np.inf).astype(np.float32), Y),
        {},
        whole("Input X contains infinity or a value too large for dtype('float32')."),
    ),
    "nan in sparse X": (
        (sp.csr_matrix(spoilt(X, np.nan)), Y),
        {},
        starts("Input X contains NaN.\n"),
    ),
    "nan in a frame": (
        (pd.DataFrame(spoilt(X, np.nan), columns=["a", "b", "c"]), Y),
        {},
        starts("Input X contains NaN.\n"),
    ),
    "nan in a tensor": ((torch.tensor(spoilt(X, np.nan)), Y), {}, starts("Input X contains NaN.")),
    "nan in y": ((X, spoilt(Y, np.nan)), {}, starts("Input y contains NaN.")),
    "inf in y": (
        (X, spoilt(Y, np.inf)),
        {},
        whole("Input y contains infinity or a value too large for dtype('float64')."),
    ),
    "none in y": (
        (X, np.array([None, "a", "b", "b"] * 10, dtype=object)),
        {},
        whole(GAP.format("y", "None", 0)),
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
        (X, Y, spoilt(ONES, np.nan)),
        {},
        starts("Input sample_weight contains NaN."),
    ),
    "inf in weights": (
        (X, Y, spoilt(ONES, np.inf)),
        {},
        starts("Input sample_weight contains infinity"),
    ),
    "negative weight": ((X, Y, spoilt(ONES, -2)), {}, whole(NEGATIVE.format("sample_weight"))),
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
        {"X_val": spoilt(X, np.nan), "y_val": Y},
        r"^Input X(_val)? contains NaN\.",
    ),
    "nan in y_val": (
        (X, Y),
        {"X_val": X, "y_val": spoilt(Y, np.nan)},
        starts("Input y_val contains NaN."),
    ),
    "nan in sample_weight_val": (
        (X, Y),
        {"X_val": X, "y_val": Y, "sample_weight_val": spoilt(ONES, np.nan)},
        starts("Input sample_weight_val contains NaN."),
    ),
    "negative sample_weight_val": (
        (X, Y),
        {"X_val": X, "y_val": Y, "sample_weight_val": spoilt(ONES, -2)},
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

# Parameters that fit refuses, by class: None for both.
BAD_PARAMETERS = {
    "solver, nearly": (None, {"solver": "adm"}, suggests("solver", "adm", "adam")),
    "solver of another library": (
        None,
        {"solver": "adamw"},
        r"^The 'solver' parameter of NAME must be a str among {.+}\. Got 'adamw' instead\.",
    ),
    "device, nearly": (
        None,
        {"device": "cuad"},
        whole(
            "device must be 'auto' or the name of a torch device, got 'cuad'. Did you mean 'cuda'?"
        ),
    ),
    "device, not at all": (
        None,
        {"device": "zzz"},
        whole(
            "device must be 'auto' or the name of a torch device, got 'zzz'. Use 'auto', "
            "'cpu' or 'cuda'."
        ),
    ),
    "device as a number": (
        None,
        {"device": 5},
        starts("The 'device' parameter of NAME must be an instance of 'str' or"),
    ),
    "threshold above 1": (
        None,
        {"threshold": 1.5},
        in_range("threshold", "a float", "[0.0, 1.0]", 1.5),
    ),
    "threshold below 0": (
        None,
        {"threshold": -0.1},
        in_range("threshold", "a float", "[0.0, 1.0]", -0.1),
    ),
    "threshold nan": (
        None,
        {"threshold": np.nan},
        in_range("threshold", "a float", "[0.0, 1.0]", "nan"),
    ),
    "class_weight for another class": (
        None,
        {"class_weight": {0: 1, 7: 2}},
        whole("The classes, [1], are not in class_weight"),  # scikit-learn's own sentence
    ),
    "class_weight, nearly": (
        None,
        {"class_weight": "balance"},
        suggests("class_weight", "balance", "balanced"),
    ),
    "class_weight negative": (
        None,
        {"class_weight": {0: 1, 1: -2}},
        r"^class_weight must .+, got .*-2.*\. .+\.$",
    ),
    "class_weight nan": (
        None,
        {"class_weight": {0: 1, 1: np.nan}},
        r"^class_weight must .+, got .*nan.*\. .+\.$",
    ),
    "class_weight inf": (
        None,
        {"class_weight": {0: 1, 1: np.inf}},
        r"^class_weight must .+, got .*inf.*\. .+\.$",
    ),
    "class_weight all zero": (
        None,
        {"class_weight": {0: 0, 1: 0}},
        r"^(class_weight|y) must .+, got .+\. .+\.$",
    ),
    "max_iter 0": (None, {"max_iter": 0}, in_range("max_iter", "an int", "[1, inf)", 0)),
    "tol negative": (None, {"tol": -1}, in_range("tol", "a float", "[0.0, inf)", -1)),
    "learning_rate_init 0": (
        None,
        {"learning_rate_init": 0},
        in_range("learning_rate_init", "a float", "(0.0, inf)", 0),
    ),
    "momentum above 1": (
        None,
        {"momentum": 1.5},
        in_range("momentum", "a float", "[0.0, 1.0]", 1.5),
    ),
    "validation_fraction 1": (
        None,
        {"validation_fraction": 1.0},
        in_range("validation_fraction", "a float", "(0.0, 1.0)", 1.0),
    ),
    "batch_size 0": (
        None,
        {"batch_size": 0},
        whole(
            "The 'batch_size' parameter of NAME must be a str among {'auto'} or an int in the "
            "range [1, inf). Got 0 instead."
        ),
    ),
    "C 0": (TorchLogisticClassifier, {"C": 0}, in_range("C", "a float", "(0.0, inf]", 0)),
    "alpha negative": (
        TorchMLPClassifier,
        {"alpha": -1},
        in_range("alpha", "a float", "[0.0, inf)", -1),
    ),
    "activation, nearly": (
        TorchMLPClassifier,
        {"activation": "rleu"},
        suggests("activation", "rleu", "relu"),
    ),
    "learning_rate, nearly": (
        TorchMLPClassifier,
        {"learning_rate": "adaptiv"},
        suggests("learning_rate", "adaptiv", "adaptive"),
    ),
    "hidden layer of width 0": (
        TorchMLPClassifier,
        {"hidden_layer_sizes": (0,)},
        whole(
            "hidden_layer_sizes must be > 0 and whole numbers, got (0,). Pass one number "
            "for each hidden layer."
        ),
    ),
    "hidden layer of width 2.5": (
        TorchMLPClassifier,
        {"hidden_layer_sizes": (2.5,)},
        whole(
            "hidden_layer_sizes must be > 0 and whole numbers, got (2.5,). Pass one number "
            "for each hidden layer."
        ),
    ),
    "dropout of wrong length": (
        TorchMLPClassifier,
        {"dropout": (0.1, 0.2), "hidden_layer_sizes": (8, 4, 2)},
        whole(
            "dropout must be a rate in [0, 1), or one for each hidden layer, got (0.1, 0.2) for 3 "
            "hidden layers. Pass one rate, or 3."
        ),
    ),
    "dropout 1": (
        TorchMLPClassifier,
        {"dropout": 1.0},
        whole(
            "The 'dropout' parameter of NAME must be a float in the range [0.0, 1.0) or an "
            "array-like. Got 1.0 instead."
        ),
    ),
    "dropout of one layer above 1": (
        TorchMLPClassifier,
        {"dropout": [1.5, 0.0], "hidden_layer_sizes": (8, 4)},
        whole(
            "dropout must be a rate in [0, 1), or one for each hidden layer, got [1.5, 0.0] for 2 "
            "hidden layers. Pass one rate, or 2."
        ),
    ),
    "dropout with lbfgs": (
        TorchMLPClassifier,
        {"dropout": 0.1, "solver": "lbfgs"},
        whole(
            "dropout must be 0 with solver='lbfgs', which lowers a fixed objective, got 0.1"
            ". Use solver='adam', or alpha."
        ),
    ),
    "weight_decay with lbfgs": (
        TorchMLPClassifier,
        {"weight_decay": 0.1, "solver": "lbfgs"},
        whole(
            "weight_decay must be 0 with solver='lbfgs', which lowers a fixed objective, got 0.1"
            ". Use solver='adam', or alpha."
        ),
    ),
}

# What a model that was fitted on FRAME is asked, and what it answers.
PREDICT_DATA = {
    "nan in X": (spoilt(X, np.nan), starts("Input X contains NaN.\nNAME does not")),
    "inf in X": (
        spoilt(X, np.inf),
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
    "no rows": (
        X[:0],
        whole(EMPTY.format("sample", (0, 3))),
    ),
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

SCORES = ["predict", "predict_proba", "predict_log_proba", "decision_function"]
LEARNT = [
    "loss_curve_",
    "validation_loss_curve_",
    "validation_scores_",
    "best_validation_score_",
    "module_",
    "net_",
]


def table(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


both = pytest.mark.parametrize("kind", KINDS)


def unfitted(kind, **parameters):
    return kind(**({"max_iter": 3, "random_state": 0} | parameters))


def fitted(kind, data=(X, Y), **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return unfitted(kind, **parameters).fit(*data)


def named(kind, pattern):
    return pattern.replace("NAME", kind.__name__)


def assert_raises_and_stays(model, call, exception, pattern):
    """Check the sentence, and that the model's attributes are the same to the last bit."""
    before = joblib.hash(vars(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.raises(exception, match=named(type(model), pattern)):
            call(model)
    assert joblib.hash(vars(model)) == before


# -- fit ------------------------------------------------------------------------------------------


@both
@table(FIT_DATA)
def test_fit_with_bad_data_says_so_before_training(kind, case):
    given, validation, pattern = case
    model = unfitted(kind, callbacks=[Witness()])

    assert_raises_and_stays(model, lambda m: m.fit(*given, **validation), ValueError, pattern)


@both
@table(FIT_DATA)
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_refit_with_bad_data_leaves_the_fitted_model(kind, case):
    given, validation, pattern = case
    model = fitted(kind)
    expected = model.predict_proba(X)

    assert_raises_and_stays(model, lambda m: m.fit(*given, **validation), ValueError, pattern)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@both
@table({name: case for name, case in FIT_DATA.items() if name != "other names in X_val"})
def test_warm_refit_with_bad_data_leaves_the_fitted_model(kind, case):
    given, validation, _ = case
    model = fitted(kind, warm_start=True)
    expected = model.predict_proba(X)

    # The sentence may be that of a prediction, since the model knows what to expect.
    assert_raises_and_stays(model, lambda m: m.fit(*given, **validation), ValueError, ".+")
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@both
@table(
    {
        name: case
        for name, case in FIT_DATA.items()
        # There are no validation rows, and one class is enough for a later batch.
        if not case[1] and "one class" not in name
    }
)
def test_partial_fit_with_bad_data_leaves_the_model(kind, case):
    given, _, _ = case
    model = unfitted(kind, solver="adam").partial_fit(X, Y)
    expected = model.predict_proba(X)

    assert_raises_and_stays(model, lambda m: m.partial_fit(*given), ValueError, ".+")
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@both
def test_fit_with_sparse_multilabel_y_says_so(kind):
    labels = sp.csr_matrix(np.column_stack([Y, 1 - Y]))

    assert_raises_and_stays(
        unfitted(kind, callbacks=[Witness()]),
        lambda m: m.fit(X, labels),
        TypeError,
        starts("Sparse data was passed for y, but dense data is required."),
    )


@pytest.mark.parametrize(
    ("kind", "parameters", "pattern"),
    [
        pytest.param(kind, parameters, pattern, id=f"{name}-{kind.__name__}")
        for name, (only, parameters, pattern) in BAD_PARAMETERS.items()
        for kind in ([only] if only else KINDS)
    ],
)
def test_fit_with_a_bad_parameter_says_so_before_training(kind, parameters, pattern):
    model = unfitted(kind, **parameters, callbacks=[Witness()])
    assert_raises_and_stays(model, lambda m: m.fit(X, Y), ValueError, pattern)

    once_fitted = fitted(kind)
    expected = once_fitted.predict_proba(X)
    good = {name: getattr(once_fitted, name) for name in parameters}
    once_fitted.set_params(**parameters)
    assert_raises_and_stays(once_fitted, lambda m: m.fit(X, Y), ValueError, pattern)
    np.testing.assert_array_equal(once_fitted.set_params(**good).predict_proba(X), expected)


def test_logistic_fit_on_images_asks_for_two_dimensions():
    assert_raises_and_stays(
        unfitted(TorchLogisticClassifier, callbacks=[Witness()]),
        lambda m: m.fit(IMAGES, Y),
        ValueError,
        whole("Found array with dim 3, while dim <= 2 is required by NAME."),
    )


@both
@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "xpu"])
def test_fit_on_a_device_that_is_not_there_says_so(kind, device):
    chosen = torch.device(device)
    backend = getattr(torch, chosen.type)
    if backend.is_available() and (chosen.index or 0) < backend.device_count():
        pytest.skip(f"{device} is there")
    sentence = (
        f"device must be available, got {device!r}, which torch {torch.__version__} cannot use on "
        "this machine. Use device='auto' for the best one that is available."
    )

    assert_raises_and_stays(
        unfitted(kind, device=device, callbacks=[Witness()]),
        lambda m: m.fit(X, Y),
        ValueError,
        whole(sentence),
    )


@both
def test_early_stopping_with_one_row_of_each_class_says_so(kind):
    assert_raises_and_stays(
        unfitted(kind, early_stopping=True, callbacks=[Witness()]),
        lambda m: m.fit(X[:2], [0, 1]),
        ValueError,
        whole(
            "Early stopping must find two rows of a class, one to train on and one to validate on, "
            "got one of each class. Pass X_val and y_val, or set "
            "early_stopping=False."
        ),
    )


@both
def test_warm_start_with_other_classes_says_so(kind):
    assert_raises_and_stays(
        fitted(kind, warm_start=True),
        lambda m: m.fit(X, Y + 1),
        ValueError,
        whole(
            "y must hold the classes [0, 1] to continue from the last fit, got [1, 2]. Set "
            "warm_start=False to start anew."
        ),
    )


# -- training that goes wrong ---------------------------------------------------------------------


@both
@pytest.mark.parametrize("rate", [1e6, 1e30])
def test_diverged_fit_names_epoch_rate_and_cause(kind, rate):
    model = unfitted(kind, solver="sgd", learning_rate_init=rate, max_iter=200)
    # The number must be one that is not finite, or the sentence contradicts itself.
    pattern = (
        r"^The training loss must stay a finite number, got (nan|inf) in epoch \d+ at "
        rf"learning rate {re.escape(f'{rate:g}')}\. Bring the features to one scale "
        r"\(StandardScaler\) or lower learning_rate_init\.$"
    )

    assert_raises_and_stays(model, lambda m: m.fit(100 * X, Y), ValueError, pattern)


@both
def test_diverged_refit_leaves_the_fitted_model(kind):
    model = fitted(kind, solver="sgd")
    expected = model.predict_proba(X)
    model.set_params(learning_rate_init=1e30)

    assert_raises_and_stays(
        model, lambda m: m.fit(100 * X, Y), ValueError, r"^The (training loss|weights) must stay "
    )
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@both
def test_diverged_partial_fit_leaves_the_fitted_model(kind):
    model = unfitted(kind, solver="sgd").partial_fit(X, Y)
    expected = model.predict_proba(X)
    model.set_params(learning_rate_init=1e30)

    assert_raises_and_stays(
        model,
        lambda m: m.partial_fit(1e30 * X, Y),
        ValueError,
        r"^The (training loss|weights) must stay ",
    )
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@both
def test_unconverged_full_batch_fit_warns_with_gradient_and_tolerance(kind):
    model = unfitted(kind, solver="lbfgs", max_iter=2, tol=1e-12)
    with pytest.warns(
        ConvergenceWarning,
        match=r"^Training did not converge\. max_iter was reached\. After 2 iterations the largest "
        r"component of the gradient is \d\S*, above tol=1e-12\. Raise max_iter, or bring the "
        r"features to one scale \(StandardScaler\)\.$",
    ):
        model.fit(X, Y)
    assert np.max(model.n_iter_) == 2


@both
def test_unconverged_mini_batch_fit_warns_with_losses_and_tolerance(kind):
    model = unfitted(kind, solver="adam", max_iter=20, tol=0)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, Y)
    before, last = model.history_["objective"][-2:]

    assert [str(each.message) for each in caught] == [
        "Training did not converge. max_iter was reached. The last of 20 epochs took the training "
        f"loss from {before:.6g} to {last:.6g} (tol=0). Raise max_iter or learning_rate_init."
    ]


@both
def test_unconverged_fit_of_one_epoch_warns_with_its_loss(kind):
    model = unfitted(kind, solver="adam", max_iter=1)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, Y)

    assert [str(each.message) for each in caught] == [
        "Training did not converge. max_iter was reached. After 1 epoch the training loss is "
        f"{model.history_['objective'][0]:.6g} (tol=0.0001). Raise max_iter or learning_rate_init."
    ]


@both
@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_converged_fit_does_not_warn(kind, solver):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = kind(solver=solver, max_iter=5000, tol=1e-3, random_state=0).fit(X, Y)

    assert np.max(model.n_iter_) < 5000


# -- partial_fit ----------------------------------------------------------------------------------


@both
def test_partial_fit_with_an_unseen_class_says_so(kind):
    pattern = whole(
        "y must hold the classes [0, 1] only, got [2] as well. Drop these rows, or fit a new "
        "model on all classes."
    )
    begun = unfitted(kind, solver="adam").partial_fit(X, Y)
    expected = begun.predict_proba(X)

    assert_raises_and_stays(begun, lambda m: m.partial_fit(X, Y + 1), ValueError, pattern)
    np.testing.assert_array_equal(begun.predict_proba(X), expected)


@both
def test_first_partial_fit_with_a_label_outside_classes_says_so(kind):
    assert_raises_and_stays(
        unfitted(kind, solver="adam", callbacks=[Witness()]),
        lambda m: m.partial_fit(X, Y + 1, classes=[0, 1]),
        ValueError,
        whole(
            "y must hold the classes [0, 1] only, got [2] as well. Drop these rows, or fit a "
            "new model on all classes."
        ),
    )


@both
def test_partial_fit_with_other_classes_than_at_first_says_so(kind):
    assert_raises_and_stays(
        unfitted(kind, solver="adam").partial_fit(X, Y, classes=[0, 1]),
        lambda m: m.partial_fit(X, Y, classes=[0, 2]),
        ValueError,
        whole(
            "classes must be [0, 1], as in the first call of partial_fit, got [0, 2]. "
            "Leave classes out, or use a new estimator."
        ),
    )


@both
def test_partial_fit_with_three_classes_names_one_vs_rest(kind):
    assert_raises_and_stays(
        unfitted(kind, solver="adam", callbacks=[Witness()]),
        lambda m: m.partial_fit(X, Y, classes=[0, 1, 2]),
        ValueError,
        r"^Only binary classification is supported\..+ Wrap NAME in "
        r"sklearn\.multiclass\.OneVsRestClassifier\.$",
    )


@both
def test_first_partial_fit_with_one_class_and_no_classes_says_so(kind):
    assert_raises_and_stays(
        unfitted(kind, solver="adam", callbacks=[Witness()]),
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
        for kind in KINDS
    ],
)
def test_partial_fit_that_cannot_be_is_not_there(kind, parameters, sentence):
    model = unfitted(kind, **parameters)

    assert not hasattr(model, "partial_fit")
    # scikit-learn says what is missing, and the cause says why.
    with pytest.raises(
        AttributeError, match=whole(f"This {kind.__name__!r} has no attribute 'partial_fit'")
    ) as caught:
        model.partial_fit(X, Y)
    assert str(caught.value.__cause__) == sentence


# -- prediction -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("score", SCORES)
@table(PREDICT_DATA)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_scoring_bad_rows_says_so(kind, score, case):
    rows, pattern = case
    model = fitted(kind, data=(FRAME, Y))

    assert_raises_and_stays(model, lambda m: getattr(m, score)(rows), ValueError, pattern)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (12,), (2, 3, 2)])
def test_scoring_images_of_another_shape_says_so(score, shape):
    model = fitted(TorchMLPClassifier, data=(IMAGES, Y))
    pattern = whole(
        f"The samples in X must have the shape (2, 6), as in fit, got {shape}. "
        "Reshape X to (n_samples, 2, 6)."
    )

    assert_raises_and_stays(
        model, lambda m: getattr(m, score)(IMAGES.reshape(40, *shape)), ValueError, pattern
    )


def test_scoring_images_where_fit_has_seen_rows_says_so():
    assert_raises_and_stays(
        fitted(TorchMLPClassifier),
        lambda m: m.predict(X[:, :, None]),
        ValueError,
        whole(
            "The samples in X must have the shape (3,), as in fit, got (3, 1). "
            "Reshape X to (n_samples, 3)."
        ),
    )


@both
@pytest.mark.parametrize("threshold", [1.5, -0.1, np.nan, np.inf, "half"])
def test_predict_with_a_threshold_outside_of_0_and_1_says_so(kind, threshold):
    pattern = whole(THRESHOLD.format(repr(threshold)))

    assert_raises_and_stays(
        fitted(kind), lambda m: m.predict(X, threshold=threshold), ValueError, pattern
    )
    # Also when it was set after fit, which checks it in vain.
    late = fitted(kind).set_params(threshold=threshold)
    if threshold == "half":
        pattern = r"threshold must be a number in \[0, 1\] to be set after fit, got 'half'\."
    assert_raises_and_stays(late, lambda m: m.predict(X), ValueError, pattern)


@both
@pytest.mark.parametrize("score", [*SCORES, "score"])
def test_scoring_before_fit_says_so(kind, score):
    given = (X, Y) if score == "score" else (X,)

    assert_raises_and_stays(
        unfitted(kind),
        lambda m: getattr(m, score)(*given),
        NotFittedError,
        whole(
            "This NAME instance is not fitted yet. Call 'fit' with appropriate arguments before "
            "using this estimator."
        ),
    )


@both
@pytest.mark.parametrize("name", LEARNT)
def test_reading_what_was_learnt_before_fit_says_so(kind, name):
    assert_raises_and_stays(
        unfitted(kind),
        lambda m: getattr(m, name),
        NotFittedError,
        whole(
            "This NAME instance is not fitted yet. Call 'fit' with appropriate arguments before "
            "using this estimator."
        ),
    )
    # NotFittedError is an AttributeError, so asking is safe.
    assert not hasattr(unfitted(kind), name)


@both
def test_failed_first_fit_leaves_the_model_unfitted(kind):
    model = unfitted(kind)
    with pytest.raises(ValueError, match=r"^Input X contains NaN\."):
        model.fit(spoilt(X, np.nan), Y)

    assert set(vars(model)) == set(model.get_params())
    with pytest.raises(NotFittedError):
        model.predict(X)


# -- older scikit-learn ---------------------------------------------------------------------------


@both
def test_set_callbacks_on_an_old_scikit_learn_says_which_is_needed(kind):
    if parse_version(sklearn.__version__) >= parse_version("1.9"):
        pytest.skip("this scikit-learn has callbacks")

    assert_raises_and_stays(
        unfitted(kind),
        lambda m: m.set_callbacks(object()),
        ImportError,
        whole(
            "scikit-learn must be version 1.9 or newer for set_callbacks, got "
            f"{sklearn.__version__}. Upgrade scikit-learn, or pass skorch callbacks to the "
            "parameter callbacks."
        ),
    )


# -- containers that cannot be read ---------------------------------------------------------------


def quietly(make):
    """Make a tensor of a kind that torch warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


TORCH_X = torch.tensor(X)
TO_DENSE = "Call to_dense() on it, or convert it to a scipy.sparse matrix if it holds rows"
BATCHES = "Pass the rows and their labels as arrays, and set batch_size"
ROWS_ELSEWHERE = {
    "lazy frame": (pl.DataFrame(X).lazy(), UNREADABLE, "a LazyFrame", "Call collect() on it"),
    "data loader": (DataLoader(TensorDataset(TORCH_X)), UNREADABLE, "a DataLoader", BATCHES),
    "dataset": (TensorDataset(TORCH_X), UNREADABLE, "a TensorDataset", BATCHES),
    "dict": ({"a": X[:, 0]}, UNREADABLE, "a dict", "Make a data frame of it"),
    "generator": ((row for row in X), UNREADABLE, "a generator", "Make a list of it"),
    "coordinates": (
        TORCH_X.to_sparse(), NOT_DENSE, "a tensor of layout torch.sparse_coo", TO_DENSE,
    ),
    "nested": (
        quietly(lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(3)])),
        NOT_DENSE, "a nested tensor", "Pad the rows to one length",
    ),
    "quantized": (
        quietly(lambda: torch.quantize_per_tensor(TORCH_X.float(), 0.1, 0, torch.qint8)),
        NOT_DENSE, "a quantized tensor", "Call dequantize() on it",
    ),
    "meta": (
        torch.empty(40, 3, device="meta"),
        NOT_DENSE, "a tensor on the meta device", "Pass a tensor that stores its values",
    ),
}  # fmt: skip
# What is done with rows, and what a message calls them there.
WITH_ROWS = {
    "fit": (lambda m, rows: m.fit(rows, Y), "X"),
    "partial_fit": (lambda m, rows: m.partial_fit(rows, Y), "X"),
    "validate": (lambda m, rows: m.fit(X, Y, X_val=rows, y_val=Y), "X_val"),
    "predict": (lambda m, rows: m.predict(rows), "X"),
    "decision_function": (lambda m, rows: m.decision_function(rows), "X"),
    "tune_threshold": (lambda m, rows: m.tune_threshold(rows, Y, "f1"), "X"),
    "search": (
        lambda m, rows: VectorizedGridSearchCV(m, {"max_iter": [2, 3]}, cv=2).fit(rows, Y),
        "X",
    ),
}
# What is done with one value for each row.
WITH_LABELS = {
    "fit": (lambda m, y: m.fit(X, y), "y"),
    "partial_fit": (lambda m, y: m.partial_fit(X, y), "y"),
    "validate": (lambda m, y: m.fit(X, Y, X_val=X, y_val=y), "y_val"),
    "tune_threshold": (lambda m, y: m.tune_threshold(X, y, "f1"), "y"),
    "search": (
        lambda m, y: VectorizedGridSearchCV(m, {"max_iter": [2, 3]}, cv=2).fit(X, y),
        "y",
    ),
}
WITH_WEIGHTS = {
    "weight fit": (lambda m, weight: m.fit(X, Y, weight), "sample_weight"),
    "weight partial_fit": (
        lambda m, weight: m.partial_fit(X, Y, sample_weight=weight),
        "sample_weight",
    ),
    "weight validate": (
        lambda m, weight: m.fit(X, Y, X_val=X, y_val=Y, sample_weight_val=weight),
        "sample_weight_val",
    ),
    "weight tune_threshold": (
        lambda m, weight: m.tune_threshold(X, Y, "f1", sample_weight=weight),
        "sample_weight",
    ),
}

WITH_EITHER = {**WITH_LABELS, **WITH_WEIGHTS}


@both
@pytest.mark.parametrize("use", WITH_ROWS.values(), ids=WITH_ROWS.keys())
@pytest.mark.parametrize("given", ROWS_ELSEWHERE.values(), ids=ROWS_ELSEWHERE.keys())
def test_rows_that_cannot_be_read_are_refused_with_advice(kind, use, given):
    rows, sentence, what, advice = given
    call, name = use
    model = fitted(kind, solver="adam")
    pattern = whole(sentence.format(name, what, advice))
    assert_raises_and_stays(model, lambda m: call(m, rows), ValueError, pattern)


@both
@pytest.mark.parametrize("use", WITH_EITHER.values(), ids=WITH_EITHER.keys())
@pytest.mark.parametrize("case", ["lazy frame", "data loader", "coordinates", "quantized"])
def test_labels_and_weights_that_cannot_be_read_are_refused_with_advice(kind, use, case):
    values, sentence, what, advice = ROWS_ELSEWHERE[case]
    call, name = use
    model = fitted(kind, solver="adam")
    pattern = whole(sentence.format(name, what, advice))
    assert_raises_and_stays(model, lambda m: call(m, values), ValueError, pattern)


WORDS = np.where(Y == 1, "yes", "no").astype(object)
GAPS = {
    "None": (np.where(np.arange(40) == 3, None, WORDS), "None", 3),
    "list": ([None, *WORDS[1:]], "None", 0),
    "nan": (np.where(np.arange(40) == 3, np.nan, WORDS), "nan", 3),
    "NA": (pd.array([pd.NA, *WORDS[1:]], dtype="string"), "<NA>", 0),
    "boolean NA": (pd.array([True, False, pd.NA] * 13 + [True], dtype="boolean"), "<NA>", 2),
    "categories": (pd.Categorical([*WORDS[:-1], None]), "nan", 39),
    "NaT": (np.array(["2020-01-01", "NaT"] * 20, dtype="datetime64[D]"), "NaT", 1),
    "polars": (pl.Series([None, *WORDS[1:]]), "None", 0),
}


@both
@pytest.mark.parametrize("use", WITH_LABELS.values(), ids=WITH_LABELS.keys())
@pytest.mark.parametrize("given", GAPS.values(), ids=GAPS.keys())
def test_labels_with_gaps_are_refused_with_the_first_of_them(kind, use, given):
    labels, what, row = given
    call, name = use
    model = fitted(kind, solver="adam")
    pattern = whole(GAP.format(name, what, row))
    assert_raises_and_stays(model, lambda m: call(m, labels), ValueError, pattern)


@both
@pytest.mark.parametrize("use", WITH_WEIGHTS.values(), ids=WITH_WEIGHTS.keys())
@pytest.mark.parametrize("weight", ["balanced", {0: 1.0, 1: 2.0}])
def test_weights_of_classes_as_sample_weight_name_the_parameter(kind, use, weight):
    call, name = use
    pattern = whole(
        f"{name} must have one number for each row, got {weight!r}. Use the parameter "
        "class_weight for weights of classes."
    )
    model = fitted(kind, solver="adam")
    assert_raises_and_stays(model, lambda m: call(m, weight), ValueError, pattern)


@both
def test_bfloat16_labels_and_weights_count_as_numbers(kind):
    weight = np.arange(1.0, 41)
    model = fitted(kind, (X, torch.tensor(Y).bfloat16(), torch.tensor(weight).bfloat16()))
    expected = fitted(kind, (X, Y, weight))
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))


@both
def test_frame_with_missing_numbers_is_refused(kind):
    frame = pd.DataFrame(X).astype(object)
    frame.iloc[2, 1] = pd.NA
    pattern = whole(
        "X must hold a number in each cell, got <NA>, a missing value. Impute the "
        "missing values, or drop these rows."
    )
    assert_raises_and_stays(fitted(kind), lambda m: m.fit(frame, Y), ValueError, pattern)
    assert_raises_and_stays(fitted(kind), lambda m: m.predict(frame), ValueError, pattern)


# -- arguments and parameters of other libraries --------------------------------------------------

X_VAL = (
    "Validation rows are given to fit as X_val and y_val: write fit(X, y, X_val=X_val, "
    "y_val=y_val)."
)


@both
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
def test_argument_of_another_library_says_what_to_write_instead(kind, method, name, advice):
    pattern = whole(f"NAME.{method}() got an unexpected keyword argument {name!r}. {advice}")
    model = fitted(kind, solver="adam")
    call = lambda m: getattr(m, method)(X, Y, **{name: 1})  # noqa: E731
    assert_raises_and_stays(model, call, TypeError, pattern)


@pytest.mark.parametrize("module", [torch.nn.Linear, torch.nn.Sequential(torch.nn.Linear(3, 1))])
def test_network_of_a_torch_module_names_the_class_that_takes_one(module):
    with pytest.raises(
        ValueError,
        match=whole(
            "hidden_layer_sizes must be the widths of the hidden layers, such as (64, 32), got a "
            "torch module. This estimator builds its own network: train a module of yours "
            "with skorch.NeuralNetBinaryClassifier."
        ),
    ):
        TorchMLPClassifier(module).fit(X, Y)


@both
@pytest.mark.parametrize(
    "threshold", [np.array([0.2, 0.3]), torch.tensor([0.2, 0.3]), pd.Series([0.2, 0.3]), [0.2, 0.3]]
)
def test_threshold_set_to_several_numbers_after_fit_says_so(kind, threshold):
    model = fitted(kind)
    model.threshold = threshold
    pattern = starts("threshold must be a number in [0, 1] to be set after fit, got ")
    for score in (lambda m: m.predict(X), lambda m: m.net_):
        with pytest.raises(ValueError, match=pattern):
            score(model)


# -- sparse matrices that point elsewhere ---------------------------------------------------------

PLACES = np.random.RandomState(0).permutation(240)[:120]
SPARSE = sp.coo_array((np.linspace(0.1, 1, 120), np.divmod(PLACES, 6)), shape=(40, 6))
FITS = (
    "{} must be a sparse matrix whose index arrays fit its shape, got {}. Rebuild the matrix "
    "from rows, columns and values with scipy.sparse.coo_array."
)


def spoilt_matrix(layout, spoil):
    matrix = SPARSE.tocsr().tobsr((2, 2)) if layout == "bsr" else getattr(SPARSE, f"to{layout}")()
    matrix = matrix.copy()
    spoil(matrix)
    return matrix


def put(name, where, value):
    def spoil(matrix):
        getattr(matrix, name)[where] = value

    return spoil


def shorten(name):
    def spoil(matrix):
        setattr(matrix, name, getattr(matrix, name)[:-3])

    return spoil


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


@both
@pytest.mark.parametrize("use", WITH_ROWS.values(), ids=WITH_ROWS.keys())
@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_sparse_matrix_is_refused_before_it_is_read(kind, use, case):
    layout, spoil, flaw = case
    call, name = use
    model = fitted(kind, (SPARSE, Y), solver="adam")
    if name == "X_val":
        call = lambda m, rows: m.fit(SPARSE, Y, X_val=rows, y_val=Y)  # noqa: E731
    matrix = spoilt_matrix(layout, spoil)
    pattern = whole(FITS.format(name, flaw))
    assert_raises_and_stays(model, lambda m: call(m, matrix), ValueError, pattern)


def test_malformed_sparse_matrix_is_refused_by_the_net():
    net = fitted(TorchMLPClassifier, (SPARSE, Y)).net_
    matrix = spoilt_matrix(*MALFORMED["csr beyond"][:2])
    with pytest.raises(ValueError, match="the column index 6 with 6 columns"):
        net.predict_proba(matrix)


@both
def test_sparse_matrix_with_room_for_more_is_read_up_to_its_end(kind):
    matrix = SPARSE.tocsr()
    roomy = sp.csr_array(
        (np.r_[matrix.data, 9.0], np.r_[matrix.indices, 77], matrix.indptr), shape=matrix.shape
    )
    found, expected = fitted(kind, (roomy, Y)), fitted(kind, (matrix, Y))
    np.testing.assert_array_equal(found.predict_proba(roomy), expected.predict_proba(matrix))


# -- out of memory --------------------------------------------------------------------------------

FULL = [
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.\nat"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronous"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    MemoryError("Unable to allocate 3 GiB"),
]


def raiser(error):
    def full(*args, **kwargs):
        raise error

    return full


@both
@pytest.mark.parametrize("error", FULL)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "tune_threshold"])
def test_fit_that_is_out_of_memory_says_what_to_do(kind, error, method, monkeypatch):
    model = fitted(kind, solver="adam")
    monkeypatch.setattr(scoring, "as_rows", raiser(error))
    monkeypatch.setattr(preparation, "as_rows", raiser(error))
    more = ("f1",) if method == "tune_threshold" else ()
    first_line = str(error).splitlines()[0]
    pattern = whole(
        f"NAME.{method} must fit into the memory of the device, got {first_line!r}. Pass "
        "float32 rows, lower batch_size or the number of units, or set device='cpu' if the device "
        "is an accelerator."
    )
    assert_raises_and_stays(model, lambda m: getattr(m, method)(X, Y, *more), MemoryError, pattern)


@both
@pytest.mark.parametrize("error", FULL)
@pytest.mark.parametrize("score", SCORES)
def test_score_that_is_out_of_memory_says_what_to_do(kind, error, score, monkeypatch):
    model = fitted(kind)
    monkeypatch.setattr(scoring, "as_rows", raiser(error))
    pattern = starts("X and its scores must fit into the memory of the device, got ")
    assert_raises_and_stays(model, lambda m: getattr(m, score)(X), MemoryError, pattern)


def test_network_that_is_too_large_for_any_memory_says_what_to_do():
    with pytest.raises(MemoryError, match=r"^TorchMLPClassifier\.fit must fit into the memory"):
        TorchMLPClassifier((10**7, 10**7)).fit(X, Y)


@both
def test_error_that_is_not_of_the_memory_is_left_alone(kind, monkeypatch):
    monkeypatch.setattr(preparation, "as_rows", raiser(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match=whole("shapes do not match")):
        unfitted(kind).fit(X, Y)
