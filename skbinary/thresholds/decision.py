"""From a probability to a label."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit


def check_threshold(threshold: object) -> float:
    """Give the threshold as a float.

    Raises
    ------
    ValueError
        If it is no number in [0, 1].
    """
    if isinstance(threshold, Real) and 0 <= float(threshold) <= 1:
        return float(threshold)
    raise ValueError(
        f"threshold must be a number in [0, 1], got {threshold!r}. It is the probability "
        "from which a row counts as positive; 0.5 is the usual one."
    )


def positive_index(pos_label: Any, classes: NDArray[np.generic]) -> int:
    """Return the index of the class that thresholds refer to.

    Parameters
    ----------
    pos_label : object
        One of the labels, or None for the second one.
    classes : ndarray of shape (2,)
        The labels, sorted.

    Raises
    ------
    ValueError
        If `pos_label` is none of the labels.
    """
    if pos_label is None:
        return 1
    known = classes.tolist()
    if pos_label in known:
        return known.index(pos_label)
    raise ValueError(
        f"pos_label must be one of the labels {known}, got {pos_label!r}. Correct it, or "
        f"leave it out to take {known[1]!r}."
    )


def towards(
    logit: NDArray[np.floating], classes: NDArray[np.generic], positive: int
) -> tuple[NDArray[np.floating], NDArray[np.generic]]:
    """Return the logits of a class, and the labels with that class last.

    Parameters
    ----------
    logit : ndarray of shape (n_samples,)
        Logit of ``classes[1]``.
    classes : ndarray of shape (2,)
    positive : int
        Index of the class that is asked for.
    """
    return (logit, classes) if positive else (-logit, classes[::-1])


def label(
    logit: NDArray[np.floating],
    threshold: float,
    classes: NDArray[np.generic],
    positive: int = 1,
) -> NDArray[np.generic]:
    """Label rows by their logits.

    Parameters
    ----------
    logit : ndarray of shape (n_samples,)
        Logit of ``classes[1]``.
    threshold : float
        A row gets the positive label when the probability of that label is at least this.
    classes : ndarray of shape (2,)
        The labels.
    positive : int, default=1
        Index of the positive label.

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    own, ordered = towards(logit, classes, positive)
    with np.errstate(all="ignore"):  # a probability may round to zero
        probability = expit(own)
    return decide(probability, threshold, ordered)


def decide(
    probability: NDArray[np.floating], threshold: float, classes: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Label rows by their probabilities.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)
        Probability of ``classes[1]``.
    threshold : float
        A row gets ``classes[1]`` when its probability is at least this.
    classes : ndarray of shape (2,)
        The labels.

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    # In float64: a threshold that was chosen between two neighbours lies there in no less.
    return classes[(probability.astype(np.float64) >= threshold).astype(np.intp)]
