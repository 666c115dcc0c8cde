"""Ensemble selection: greedily choose candidates whose mean probability has a low log loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

# Losses that differ by less differ by rounding only: the first of them is chosen.
_TIE_TOLERANCE = 1e-12
_SMALLEST = np.finfo(np.float64).tiny  # whose logarithm is finite


class Selection(NamedTuple):
    """The candidates that were chosen.

    Parameters
    ----------
    counts : ndarray of int of shape (n_candidates,)
        How often each candidate is in the ensemble.
    losses : ndarray of shape (n_rounds,)
        The log loss after each round. The ensemble is that of the round with the lowest one.
    """

    counts: NDArray[np.intp]
    losses: Array


def select_candidates(logits: Array, target: Array, weight: Array, n_rounds: int) -> Selection:
    """Choose candidates greedily, with replacement, to minimize the log loss of their mean.

    Each round adds the candidate with which the log loss of the mean probability is lowest, and of
    several the first. Of the ensembles of all rounds the best one is returned, and of several the
    smallest. The first round chooses the best single candidate, so no ensemble is worse than that.

    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", 2004.

    Parameters
    ----------
    logits : ndarray of shape (n_candidates, n_samples)
        Logits of rows that the candidates were not trained on.
    target : ndarray of shape (n_samples,)
        1 for the positive class, else 0.
    weight : ndarray of shape (n_samples,)
        Weights of the rows, 0 or more, which are not all 0.
    n_rounds : int
        Maximum number of candidates in the ensemble, with repetitions.

    Returns
    -------
    Selection

    Examples
    --------
    >>> import numpy as np
    >>> from skbinary.model_selection.ensemble_selection import select_candidates
    >>> logits = np.array([[3.0, 3.0, -0.5], [-0.5, 3.0, 3.0], [0.0, 0.0, 0.0]])
    >>> print(select_candidates(logits, np.ones(3), np.ones(3), 4).counts)
    [1 1 0]
    """
    is_used = weight > 0
    weight = weight[is_used] / weight[is_used].max()
    weight /= weight.sum()
    # The probability of each row's own label. Its mean is that of the mean probability.
    own = expit(np.where(target[is_used] > 0, 1.0, -1.0) * logits[:, is_used])
    np.maximum(own, _SMALLEST, out=own)
    total, logs = np.zeros(own.shape[1]), np.empty_like(own)
    chosen, losses = np.empty(n_rounds, dtype=np.intp), np.empty(n_rounds)
    for i in range(n_rounds):
        np.log(np.add(own, total, out=logs), out=logs)
        loss = np.log(i + 1) - logs @ weight
        chosen[i] = first = _first_lowest(loss)
        losses[i] = loss[first]
        total += own[first]
    best = _first_lowest(losses)
    return Selection(np.bincount(chosen[: best + 1], minlength=len(logits)), losses)


def _first_lowest(losses: Array) -> int:
    return int(np.argmax(losses <= losses.min() + _TIE_TOLERANCE))


def mean_logit(weighted: Iterable[tuple[float, NDArray[np.floating]]]) -> Array:
    """Return the logit of a weighted mean of probabilities.

    It is computed from logarithms, so that it is exact where a probability rounds to 0 or 1.

    Parameters
    ----------
    weighted : iterable of (float, ndarray of shape (n_samples,))
        Weights above 0, and logits.

    Returns
    -------
    ndarray of shape (n_samples,)
        NaN where a logit is NaN.
    """
    total = None
    for weight, logit in weighted:
        part = _log_probabilities(logit) + np.log(weight)
        with np.errstate(invalid="ignore"):  # of logits that are NaN
            total = part if total is None else np.logaddexp(total, part, out=total)
    if total is None:
        raise AssertionError("there must be logits to average")
    return total[1] - total[0]


def pool_folds(
    n_samples: int, folds: Iterable[tuple[NDArray[np.intp], NDArray[np.floating]]]
) -> Array:
    """Return the logit of each row by the models that were not trained on it.

    Parameters
    ----------
    n_samples : int
    folds : iterable of (ndarray of int of shape (n_test,), ndarray of shape (n_test,))
        Indices of the rows of each validation fold, and their logits.

    Returns
    -------
    ndarray of shape (n_samples,)
        That of the mean probability if a row is in several folds, NaN if it is in none.
    """
    total = np.full((2, n_samples), -np.inf)
    for rows, logit in folds:
        total[:, rows] = np.logaddexp(total[:, rows], _log_probabilities(logit))
    with np.errstate(invalid="ignore"):  # of rows in no fold
        return total[1] - total[0]


def _log_probabilities(logit: NDArray[np.floating]) -> Array:
    """Return the logarithms of the probabilities of both classes, of shape (2, n_samples)."""
    logit = logit.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of logits that are NaN
        return -np.logaddexp(0, np.stack([logit, -logit]))
