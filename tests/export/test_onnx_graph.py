"""The threshold as a logit, and functions that runtimes lack."""

import math
import sys

import numpy as np
import pytest
from scipy.special import erf, expit

from skbinary import TorchLogisticClassifier
from skbinary.export.onnx import to_onnx
from skbinary.export.onnx_activations import _erf_coefficients, find_activation
from skbinary.export.onnx_graph import smallest_logit
from skbinary.models.activations import ACTIVATIONS

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [1e-30, 1e-9, 0.1, 0.3, 0.5, 0.7, 1 - 1e-7, 1 - 1e-16, 1.0])
def test_smallest_logit_reaches_the_threshold_and_its_predecessor_does_not(threshold, dtype):
    logit = dtype(smallest_logit(threshold, dtype))
    assert float(expit(logit)) >= threshold
    assert float(expit(np.nextafter(logit, dtype(-np.inf)))) < threshold


@pytest.mark.parametrize("dtype", DTYPES)
def test_smallest_logit_of_zero_is_minus_infinity(dtype):
    assert smallest_logit(0.0, dtype) == -math.inf


def test_smallest_logit_in_float32_separates_neighboring_probabilities():
    # The threshold is halfway between two neighboring float32, and rounds to the smaller one.
    low, high = expit(np.float32([0.3, 0.300001]))
    logit = smallest_logit((float(low) + float(high)) / 2, np.float32)
    assert 0.3 < logit < 0.300001


def test_erf_coefficients_give_the_error_function():
    x = np.linspace(0, 8, 10_001)
    t = 1 / (1 + x / 2)
    exponent = np.polynomial.Polynomial(_erf_coefficients())(2 * t - 1) - x**2
    np.testing.assert_allclose(1 - t * np.exp(exponent), erf(x), rtol=0, atol=3e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_find_activation_knows_all_activations(name):
    assert callable(find_activation(name))


def test_find_activation_unknown_raises():
    sentence = (
        "activation must be one of 'identity', 'logistic', 'tanh', 'relu', 'leaky_relu', 'gelu', "
        "'silu' to be exported to ONNX, got 'mish'. Fit the network with one of them."
    )
    with pytest.raises(ValueError, match="activation must be") as raised:
        find_activation("mish")
    assert str(raised.value) == sentence


def test_to_onnx_without_skl2onnx_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    model = TorchLogisticClassifier().fit([[0.0], [1.0]], [0, 1])
    sentence = (
        "skl2onnx must be installed for to_onnx, got none. "
        """Run 'python -m pip install "skbinary[onnx]"'."""
    )
    with pytest.raises(ImportError) as raised:
        to_onnx(model, [[0.0]])
    assert str(raised.value) == sentence
