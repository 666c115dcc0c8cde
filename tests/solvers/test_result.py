"""Reasons to stop: strings with a sentence each, pickled by their public name."""

import pickle
import pickletools

import pytest

import skbinary
from skbinary import StopReason


@pytest.mark.parametrize("reason", StopReason)
def test_stop_reason_is_its_string_and_has_a_sentence(reason):
    assert reason == reason.value == str(reason)
    assert reason.description.endswith(".")
    assert len(reason.description) > len(reason)


def test_stop_reasons_have_the_documented_names():
    assert [*StopReason] == [
        *("converged", "rounding", "training_loss", "validation_loss", "validation_score"),
        *("objective", "line_search", "cross_validation", "max_iter", "max_fun", "callback"),
        "interrupted",
    ]


def test_stop_reason_pickled_names_the_public_class():
    pickled = pickle.dumps(StopReason.MAX_ITER)
    words = {argument for _, argument, _ in pickletools.genops(pickled)}
    assert {"skbinary", "StopReason"} <= words
    assert {"max_iter", "MAX_ITER"} & words  # the first versions of Python 3.11 write the name
    assert pickle.loads(pickled) is skbinary.StopReason.MAX_ITER
