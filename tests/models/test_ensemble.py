"""The logit of an ensemble against its formula."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import expit, logit

from skbinary.models.ensemble import combine_logits


def test_combine_logits_equals_the_logit_of_the_mean_probability():
    logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits *= 4
    expected = logit(expit(logits.numpy()).mean(axis=0))
    assert_allclose(combine_logits(logits).numpy(), expected, rtol=1e-12, atol=1e-12)


def test_combine_logits_of_one_model_are_its_own():
    logits = torch.tensor([[-1000.0, -3.0, 0.0, 2.0, 1000.0]], dtype=torch.float64)
    torch.testing.assert_close(combine_logits(logits), logits[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [50.0, 1000.0])
def test_combine_logits_of_extreme_models_are_exact(dtype, size):
    # For large z, the probabilities of -z and of the negative class at z are exp(-z).
    together = torch.full((4, 1), size, dtype=dtype)
    torch.testing.assert_close(combine_logits(together), together[0])
    torch.testing.assert_close(combine_logits(-together), -together[0])
    opposed = torch.tensor([[size], [-size]], dtype=dtype)
    torch.testing.assert_close(combine_logits(opposed), torch.zeros(1, dtype=dtype))
    # One of three models is certain: the mean probability is 1 / 3.
    one = torch.tensor([[size], [-size], [-size]], dtype=dtype)
    expected = torch.tensor([-np.log(2)], dtype=dtype)
    torch.testing.assert_close(combine_logits(one), expected)


def test_combine_logits_with_swapped_classes_change_their_sign():
    logits = torch.linspace(-30, 30, 60, dtype=torch.float64).view(3, 20)
    torch.testing.assert_close(combine_logits(-logits), -combine_logits(logits))


def test_combine_logits_keep_infinite_and_missing_logits():
    logits = torch.tensor([[np.inf, -np.inf, np.nan], [np.inf, -np.inf, 0.0]])
    expected = torch.tensor([np.inf, -np.inf, np.nan])
    torch.testing.assert_close(combine_logits(logits), expected, equal_nan=True)
