"""From logits and probabilities to labels."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit


def check_threshold(threshold: object) -> float:
    """Return the threshold as a float.

    Parameters
    ----------
    threshold : float
        Decision threshold on the probability, in [0, 1].

    Raises
    ------
    ValueError
        If it is not a number in [0, 1].
    """
    if isinstance(threshold, Real) and 0 <= float(threshold) <= 1:
        return float(threshold)
    raise ValueError(
        f"threshold must be a number in [0, 1], got {threshold!r}. Rows whose probability is at "
        "least the threshold are predicted positive; the default is 0.5."
    )


def positive_index(pos_label: Any, classes: NDArray[np.generic]) -> int:
    """Return the index of the positive class.

    Parameters
    ----------
    pos_label : object
        One of the labels, or None for the second one.
    classes : ndarray of shape (2,)
        The labels, sorted.

    Raises
    ------
    ValueError
        If `pos_label` is not one of the labels.
    """
    if pos_label is None:
        return 1
    labels = classes.tolist()
    if pos_label in labels:
        return labels.index(pos_label)
    raise ValueError(
        f"pos_label must be one of the labels {labels}, got {pos_label!r}. Correct it, or leave it "
        f"out to use {labels[1]!r}."
    )


def threshold_in_force(
    threshold: object, pos_label: object, chosen: float, chosen_for: tuple[object, object]
) -> float:
    """Return the number that ``threshold`` was set to after ``fit``, or else the chosen one.

    Parameters
    ----------
    threshold, pos_label : object
        The parameters.
    chosen : float
        The threshold that ``fit`` or ``tune_threshold`` set.
    chosen_for : tuple of (object, object)
        The parameters ``threshold`` and ``pos_label`` at that time.

    Raises
    ------
    ValueError
        If the threshold must be chosen again.
    """
    at_fit, label_at_fit = chosen_for
    # Comparing with an array gives an array, so only equal types are compared.
    is_number = isinstance(threshold, Real)
    is_unchanged = bool((is_number or type(threshold) is type(at_fit)) and threshold == at_fit)
    if is_unchanged and pos_label == label_at_fit:
        return chosen
    if is_number:
        return check_threshold(threshold)
    if is_unchanged:
        raise ValueError(
            f"pos_label must stay {label_at_fit!r}, for which the threshold was chosen, got "
            f"{pos_label!r}. Call fit or tune_threshold to choose the threshold again."
        )
    raise ValueError(
        "threshold must be a number in [0, 1] to be set after fit, got "
        f"{threshold!r}. Call fit or tune_threshold to choose it for an objective."
    )


def orient_to_positive(
    logit: NDArray[np.floating], classes: NDArray[np.generic], positive: int
) -> tuple[NDArray[np.floating], NDArray[np.generic]]:
    """Return the logits of the positive class, and the labels with the positive one last.

    Parameters
    ----------
    logit : ndarray of shape (n_samples,)
        Logits of ``classes[1]``.
    classes : ndarray of shape (2,)
        The labels, sorted.
    positive : int
        Index of the positive class.

    Returns
    -------
    logit : ndarray of shape (n_samples,)
    classes : ndarray of shape (2,)
    """
    return (logit, classes) if positive else (-logit, classes[::-1])


def label_logits(
    logit: NDArray[np.floating],
    threshold: float,
    classes: NDArray[np.generic],
    positive: int = 1,
) -> NDArray[np.generic]:
    """Predict labels from logits.

    Parameters
    ----------
    logit : ndarray of shape (n_samples,)
        Logits of ``classes[1]``.
    threshold : float
        Rows whose probability of the positive class is at least this are predicted positive.
    classes : ndarray of shape (2,)
        The labels, sorted.
    positive : int, default=1
        Index of the positive class.

    Returns
    -------
    ndarray of shape (n_samples,)
        The labels.
    """
    positive_logit, ordered = orient_to_positive(logit, classes, positive)
    with np.errstate(all="ignore"):  # expit may underflow
        probability = expit(positive_logit)
    return apply_threshold(probability, threshold, ordered)


def apply_threshold(
    probability: NDArray[np.floating], threshold: float, classes: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Predict labels from probabilities.

    Parameters
    ----------
    probability : ndarray of shape (n_samples,)
        Probabilities of ``classes[1]``.
    threshold : float
        Rows whose probability is at least this are predicted ``classes[1]``.
    classes : ndarray of shape (2,)
        The negative and the positive label.

    Returns
    -------
    ndarray of shape (n_samples,)
        The labels.
    """
    # In float64: a tuned threshold may lie between two neighbouring float32 probabilities.
    return classes[(probability.astype(np.float64) >= threshold).astype(np.intp)]
