"""Bad parameters in fit: one clear message before the training begins, and nothing changes."""

import numpy as np
import pytest
import torch

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from tests.bad_input.cases import (
    CLASSIFIERS,
    FailOnTraining,
    X,
    Y,
    assert_raises_unchanged,
    both,
    fitted,
    starts,
    unfitted,
    whole,
)


def suggests(parameter, given, suggestion):
    """Return the pattern for a value that is not an option, in whatever order they are listed."""
    return (
        rf"^The '{parameter}' parameter of NAME must be (.+, )?a str among {{.+}}( or None)?\. "
        rf"Got {given!r} instead\. Did you mean {suggestion!r}\?$"
    )


def in_range(parameter, kind, interval, given):
    return whole(
        f"The '{parameter}' parameter of NAME must be {kind} in the range {interval}. "
        f"Got {given} instead."
    )


# Bad parameters and messages. The first entry is a classifier, or None where both declare the
# constraint.
BAD_PARAMETERS = {
    "solver, nearly": (None, {"solver": "adm"}, suggests("solver", "adm", "adam")),
    "solver of another library": (
        None,
        {"solver": "adamw"},
        r"^The 'solver' parameter of NAME must be a str among {.+}\. Got 'adamw' instead\.",
    ),
    "device, nearly": (
        TorchLogisticClassifier,
        {"device": "cuad"},
        whole(
            "device must be 'auto' or the name of a torch device, got 'cuad'. Did you mean 'cuda'?"
        ),
    ),
    "device, not at all": (
        TorchMLPClassifier,
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
        TorchLogisticClassifier,
        {"threshold": 1.5},
        in_range("threshold", "a float", "[0.0, 1.0]", 1.5),
    ),
    "threshold below 0": (
        TorchMLPClassifier,
        {"threshold": -0.1},
        in_range("threshold", "a float", "[0.0, 1.0]", -0.1),
    ),
    "threshold nan": (
        TorchLogisticClassifier,
        {"threshold": np.nan},
        in_range("threshold", "a float", "[0.0, 1.0]", "nan"),
    ),
    "class_weight for another class": (
        TorchMLPClassifier,
        {"class_weight": {0: 1, 7: 2}},
        whole("The classes, [1], are not in class_weight"),  # scikit-learn's own sentence
    ),
    "class_weight, nearly": (
        None,
        {"class_weight": "balance"},
        suggests("class_weight", "balance", "balanced"),
    ),
    "class_weight negative": (
        TorchLogisticClassifier,
        {"class_weight": {0: 1, 1: -2}},
        r"^class_weight must .+, got .*-2.*\. .+\.$",
    ),
    "class_weight nan": (
        TorchMLPClassifier,
        {"class_weight": {0: 1, 1: np.nan}},
        r"^class_weight must .+, got .*nan.*\. .+\.$",
    ),
    "class_weight inf": (
        TorchLogisticClassifier,
        {"class_weight": {0: 1, 1: np.inf}},
        r"^class_weight must .+, got .*inf.*\. .+\.$",
    ),
    "class_weight all zero": (
        TorchMLPClassifier,
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
            "hidden_layer_sizes must be > 0 and whole numbers, got (0,). Pass the number "
            "of units of each hidden layer."
        ),
    ),
    "hidden layer of width 2.5": (
        TorchMLPClassifier,
        {"hidden_layer_sizes": (2.5,)},
        whole(
            "hidden_layer_sizes must be > 0 and whole numbers, got (2.5,). Pass the number "
            "of units of each hidden layer."
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


@pytest.mark.parametrize(
    ("kind", "parameters", "pattern"),
    [
        pytest.param(kind, parameters, pattern, id=f"{name}-{kind.__name__}")
        for name, (only, parameters, pattern) in BAD_PARAMETERS.items()
        for kind in ([only] if only else CLASSIFIERS)
    ],
)
def test_fit_with_a_bad_parameter_raises_before_training(kind, parameters, pattern):
    model = unfitted(kind, **parameters, callbacks=[FailOnTraining()])
    assert_raises_unchanged(model, lambda m: m.fit(X, Y), ValueError, pattern)


@both
@pytest.mark.parametrize("parameters", [{"solver": "adm"}, {"threshold": 1.5}, {"device": "zzz"}])
def test_refit_with_a_bad_parameter_leaves_the_fitted_model(kind, parameters):
    model = fitted(kind)
    expected = model.predict_proba(X)
    good = {name: getattr(model, name) for name in parameters}
    model.set_params(**parameters)

    assert_raises_unchanged(model, lambda m: m.fit(X, Y), ValueError, ".+")
    np.testing.assert_array_equal(model.set_params(**good).predict_proba(X), expected)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "xpu"])
def test_fit_on_a_device_that_is_not_available_raises(device):
    chosen = torch.device(device)
    backend = getattr(torch, chosen.type)
    if backend.is_available() and (chosen.index or 0) < backend.device_count():
        pytest.skip(f"{device} is available")
    sentence = (
        f"device must be available, got {device!r}, which torch {torch.__version__} cannot use on "
        "this machine. Use device='auto' for the best one that is available."
    )

    assert_raises_unchanged(
        unfitted(TorchMLPClassifier, device=device, callbacks=[FailOnTraining()]),
        lambda m: m.fit(X, Y),
        ValueError,
        whole(sentence),
    )


@pytest.mark.parametrize("module", [torch.nn.Linear, torch.nn.Sequential(torch.nn.Linear(3, 1))])
def test_hidden_layer_sizes_of_a_torch_module_raises(module):
    with pytest.raises(
        ValueError,
        match=whole(
            "hidden_layer_sizes must be the widths of the hidden layers, such as (64, 32), got a "
            "torch module. This estimator builds its own network: train a module of yours "
            "with TorchModuleClassifier."
        ),
    ):
        TorchMLPClassifier(module).fit(X, Y)
