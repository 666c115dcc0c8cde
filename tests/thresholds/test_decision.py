"""Labels from logits and probabilities."""

import numpy as np
import pytest
from scipy.special import expit

from skbinary.thresholds.decision import (
    apply_threshold,
    check_threshold,
    label_logits,
    orient_to_positive,
    positive_index,
)

CLASSES = np.array(["no", "yes"])


def test_apply_threshold_equal_probability_is_positive():
    probability = np.array([0.2, 0.5, 0.8])
    assert apply_threshold(probability, 0.5, CLASSES).tolist() == ["no", "yes", "yes"]


def test_apply_threshold_between_float32_neighbours_separates_them():
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    middle = (float(low) + float(high)) / 2
    assert apply_threshold(np.array([low, high]), middle, CLASSES).tolist() == ["no", "yes"]


@pytest.mark.parametrize("positive", [0, 1])
def test_label_logits_any_positive_class_equals_the_probabilities(positive):
    logit = np.linspace(-3, 3, 61)
    proba = np.column_stack([expit(-logit), expit(logit)])[:, positive]
    expected = np.where(proba >= 0.7, CLASSES[positive], CLASSES[1 - positive])
    np.testing.assert_array_equal(label_logits(logit, 0.7, CLASSES, positive), expected)


def test_label_logits_underflow_warns_of_nothing():
    with np.errstate(all="raise"):
        labels = label_logits(np.array([-1e4, 1e4]), 0.5, CLASSES)
    assert labels.tolist() == ["no", "yes"]


def test_orient_to_positive_first_class_negates_logits_and_reverses_labels():
    logit, classes = orient_to_positive(np.array([1.0, -2.0]), CLASSES, 0)
    assert logit.tolist() == [-1.0, 2.0]
    assert classes.tolist() == ["yes", "no"]


@pytest.mark.parametrize(("pos_label", "index"), [(None, 1), ("no", 0), ("yes", 1)])
def test_positive_index_returns_the_position_of_the_label(pos_label, index):
    assert positive_index(pos_label, CLASSES) == index


def test_positive_index_unknown_label_is_an_error():
    with pytest.raises(ValueError, match="pos_label must be one of the labels") as caught:
        positive_index("maybe", CLASSES)
    assert str(caught.value) == (
        "pos_label must be one of the labels ['no', 'yes'], got 'maybe'. Correct it, or leave it "
        "out to use 'yes'."
    )


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "0.5", None, float("nan")])
def test_check_threshold_outside_the_unit_interval_is_an_error(threshold):
    with pytest.raises(ValueError, match=r"threshold must be a number in \[0, 1\], got "):
        check_threshold(threshold)
