"""Data, sentences and checks that the tests of bad input share."""

import re
import warnings
from itertools import cycle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from skbinary import TorchLogisticClassifier, TorchMLPClassifier

CLASSIFIERS = [TorchLogisticClassifier, TorchMLPClassifier]
RNG = np.random.RandomState(0)
X = RNG.randn(40, 3)
Y = (X[:, 0] > 0).astype(int)
ONES = np.ones(40)
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
IMAGES = RNG.randn(40, 2, 6)
SCORES = ["predict", "predict_proba", "predict_log_proba", "decision_function"]
EMPTY = "Found array with 0 {}(s) (shape={}) while a minimum of 1 is required by NAME."
MISSING = (
    "{} must hold a label for each row, got {} in row {}, which is NaN, None or another "
    "missing value. Drop these rows, or label them."
)

both = pytest.mark.parametrize("kind", CLASSIFIERS)


class FailOnTraining(Callback):
    """Fail the test when training begins."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        raise AssertionError("training has begun on bad input")


def in_turns(cases, classifiers=CLASSIFIERS):
    """Parametrize a test over cases, with the classifiers in turns.

    Both classifiers share the code that checks, so each case needs only one of them.
    """
    return pytest.mark.parametrize(
        ("kind", "case"),
        [
            pytest.param(kind, case, id=f"{name}-{kind.__name__}")
            for kind, (name, case) in zip(cycle(classifiers), cases.items(), strict=False)
        ],
    )


def replaced(array, value):
    """Return a copy as floats in which one number is replaced."""
    array = np.array(array, dtype=float)
    array.flat[3] = value
    return array


def whole(sentence):
    """Return the pattern that matches this sentence and nothing around it."""
    return f"^{re.escape(sentence)}$"


def starts(sentence):
    """Return the pattern of a message that continues after this sentence."""
    return f"^{re.escape(sentence)}"


def unfitted(kind, **parameters):
    return kind(**({"max_iter": 3, "random_state": 0} | parameters))


def fitted(kind, data=(X, Y), **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return unfitted(kind, **parameters).fit(*data)


def assert_raises_unchanged(model, call, exception, pattern):
    """Check the message, and that the attributes of the model are the same to the last bit."""
    before = joblib.hash(vars(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.raises(exception, match=pattern.replace("NAME", type(model).__name__)):
            call(model)
    assert joblib.hash(vars(model)) == before
