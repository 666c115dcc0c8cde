"""The greedy choice of candidates, on arrays."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from skbinary.model_selection.ensemble_selection import (
    mean_logit,
    pool_folds,
    select_candidates,
)


def naive_selection(logits, target, weight, n_rounds):
    """Return the indices of the best nested ensemble, and the loss of each round."""
    chosen, losses = [], []
    for _ in range(n_rounds):
        of_each = [
            log_loss(target, expit(logits)[[*chosen, k]].mean(axis=0), sample_weight=weight)
            for k in range(len(logits))
        ]
        chosen.append(int(np.argmin(of_each)))
        losses.append(min(of_each))
    return chosen[: int(np.argmin(losses)) + 1], losses


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True])
def test_select_candidates_agrees_with_a_naive_search(seed, weighted):
    generator = np.random.default_rng(seed)
    target = (generator.random(80) < 0.4) * 1.0
    logits = 0.7 * (2 * target - 1) + 1.5 * generator.normal(size=(9, 80))
    weight = generator.uniform(0.0, 3.0, 80) if weighted else np.ones(80)
    chosen, losses = naive_selection(logits, target, weight, 12)
    found = select_candidates(logits, target, weight, 12)

    np.testing.assert_array_equal(found.counts, np.bincount(chosen, minlength=9))
    np.testing.assert_allclose(found.losses, losses, rtol=1e-12)
    assert len(set(chosen)) > 2


def test_select_candidates_of_equal_ones_chooses_the_first():
    generator = np.random.default_rng(0)
    target = (generator.random(1001) < 0.4) * 1.0
    one = (2 * target - 1) + generator.normal(size=1001)
    found = select_candidates(np.stack([-one, *[one] * 12]), target, np.ones(1001), 5)

    np.testing.assert_array_equal(found.counts, [0, 1] + [0] * 11)


def test_select_candidates_ignores_rows_of_weight_zero():
    generator = np.random.default_rng(0)
    target = (generator.random(50) < 0.4) * 1.0
    logits = generator.normal(size=(6, 50))
    weight = (np.arange(50) < 30) * 1.0
    found = select_candidates(logits, target, weight, 8)
    without = select_candidates(logits[:, :30], target[:30], np.ones(30), 8)

    np.testing.assert_array_equal(found.counts, without.counts)
    np.testing.assert_array_equal(found.losses, without.losses)


def test_select_candidates_survives_probabilities_of_zero():
    logits = np.array([[-np.inf, np.inf], [1000.0, -2000.0]])
    found = select_candidates(logits, np.array([1.0, 1.0]), np.ones(2), 3)

    np.testing.assert_array_equal(found.counts, [1, 1])
    np.testing.assert_allclose(found.losses[1], np.log(2))


def test_mean_logit_is_that_of_the_mean_probability():
    logits = np.random.default_rng(0).normal(size=(3, 20))
    weights = [0.5, 0.2, 0.3]

    np.testing.assert_allclose(
        mean_logit(zip(weights, logits, strict=True)), logit(weights @ expit(logits)), rtol=1e-12
    )


def test_mean_logit_is_exact_where_probabilities_round_to_one():
    far = np.array([800.0, -800.0])

    np.testing.assert_allclose(mean_logit([(0.5, far), (0.5, far)]), far)
    np.testing.assert_allclose(mean_logit([(0.5, far), (0.5, -far)]), [0, 0], atol=1e-12)


def test_pool_folds_averages_rows_in_several_folds_and_marks_rows_in_none():
    folds = [(np.array([0, 2]), np.array([1.0, 2.0])), (np.array([2, 3]), np.array([-1.0, 0.5]))]
    pooled = pool_folds(5, folds)

    expected = [1.0, logit(expit([2.0, -1.0]).mean()), 0.5]
    np.testing.assert_allclose(pooled[[0, 2, 3]], expected, rtol=1e-12)
    assert np.isnan(pooled[[1, 4]]).all()
