"""Metrics of labels and probabilities at every threshold, with checks of the user's input."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import column_or_1d

from skbinary.thresholds.objectives import LABEL_METRICS, ConfusionCounts, Constraint, Metric

Array = NDArray[np.float64]

SCORE = "score"  # the column of a threshold curve that holds the objective
_RATES = ("specificity", "alert_rate")  # scikit-learn has no scorers of these


def as_metric_names(metrics: str | Sequence[str]) -> list[str]:
    """Return the names of the metrics as a list."""
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names:
        raise ValueError(
            "metrics must contain at least one name, got none. Leave it out to draw the precision "
            "and the recall."
        )
    return names


def metric_values(name: Any, counts: ConfusionCounts, further_names: tuple[str, ...] = ()) -> Array:
    """Compute a metric at every threshold.

    Parameters
    ----------
    name : str
        Name of the metric.
    counts : ConfusionCounts
        The confusion matrix at every threshold.
    further_names : tuple of str, default=()
        Other accepted names, for the error message.

    Returns
    -------
    ndarray of shape (n_thresholds,)
        The precision is NaN where no row is predicted positive.

    Raises
    ------
    ValueError
        If there is no metric of that name.
    """
    if name in _RATES:
        return Constraint(name, 0.0).constrained(counts)
    if name not in LABEL_METRICS:
        names = [*LABEL_METRICS, *_RATES, *further_names]
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Use some of {', '.join(names)}."
        raise ValueError(f"metrics must be names of metrics of labels, got {name!r}. {hint}")
    values = Metric(name).score(counts)
    return np.where(counts.tp + counts.fp > 0, values, np.nan) if name == "precision" else values


def candidate_thresholds(proba: Array) -> Array:
    """Return a threshold between each two neighbouring probabilities, and one beyond each end."""
    edges = np.concatenate([[0.0], np.unique(proba), [1.0]])
    return np.unique((edges[:-1] + edges[1:]) / 2)


def confusion_counts(
    is_positive: NDArray[np.bool_], proba: Array, weight: Array | None, thresholds: Array
) -> ConfusionCounts:
    """Compute the confusion matrix at every threshold, in units of weight.

    Parameters
    ----------
    is_positive : ndarray of bool of shape (n_samples,)
        Whether each row is of the positive class.
    proba : ndarray of shape (n_samples,)
        Probability of the positive class.
    weight : ndarray of shape (n_samples,) or None
        Sample weights.
    thresholds : ndarray of shape (n_thresholds,)
        Decision thresholds in [0, 1].

    Returns
    -------
    ConfusionCounts of arrays of shape (n_thresholds,)
    """
    order = np.argsort(proba)
    first_positive = np.searchsorted(proba[order], thresholds, side="left")
    of_class = np.stack([~is_positive, is_positive])[:, order].astype(np.float64)
    if weight is not None:
        of_class *= weight[order]
    above = np.zeros((2, len(proba) + 1))
    np.cumsum(of_class[:, ::-1], axis=1, out=above[:, -2::-1])
    (fp, tp), (negatives, positives) = above[:, first_positive], above[:, 0]
    return ConfusionCounts(tn=negatives - fp, fp=fp, fn=positives - tp, tp=tp)


def check_probabilities(y_proba: Any) -> Array:
    """Return the probabilities of the positive class as a float64 array."""
    proba = np.asarray(y_proba)
    if proba.ndim != 1:
        raise ValueError(
            f"y_proba must be of shape (n_samples,), got shape {proba.shape}. Pass the column of "
            "the positive class, predict_proba(X)[:, 1]."
        )
    proba = proba.astype(np.float64)
    if not np.all((proba >= 0) & (proba <= 1)):
        raise ValueError(
            f"y_proba must be probabilities in [0, 1], got values from {proba.min():g} to "
            f"{proba.max():g}. Pass predict_proba(X)[:, 1], or expit of logits."
        )
    return proba


def check_pos_label(labels: NDArray[Any], pos_label: Any) -> Any:
    """Return the positive label of two."""
    classes = np.unique(labels)
    if len(classes) != 2:
        raise ValueError(
            f"y_true must contain two classes, got {len(classes)}: {classes[:5].tolist()}. Pass "
            "rows of both classes; of more than two classes, compare one with all others."
        )
    if pos_label is None:
        return classes[1]
    if pos_label not in classes.tolist():
        raise ValueError(
            f"pos_label must be one of the labels {classes.tolist()}, got {pos_label!r}. Leave it "
            "out to use the second one."
        )
    return pos_label


def check_labels(estimator: Any, y: Any) -> NDArray[Any]:
    """Check that the metrics of a classifier can be drawn, and return the labels as an array."""
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"estimator must have predict_proba, got {type(estimator).__name__}. Wrap it in "
            "sklearn.calibration.CalibratedClassifierCV."
        )
    classes = estimator.classes_
    if len(classes) != 2:
        raise ValueError(
            f"estimator must be a binary classifier, got one of {len(classes)} classes. Draw one "
            "class against the others with ThresholdDisplay.from_predictions."
        )
    labels = column_or_1d(y)
    if not np.isin(labels, classes).all():
        raise ValueError(
            f"y must contain labels that the estimator was fitted on, {classes.tolist()}, got "
            f"{np.unique(labels)[:5].tolist()}. Pass the same labels as in fit."
        )
    return labels
