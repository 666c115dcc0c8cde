"""Evaluate the decisions of thresholds on test data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality import models
from benchmarks.quality.fitting import Fit
from benchmarks.quality.markdown import Record
from benchmarks.quality.objectives import Counts, Objective

_RESAMPLES = 500


def compare(
    objective: Objective,
    classifiers: Mapping[str, Any],
    fits: Mapping[str, Fit],
    X: NDArray[np.float32],
    y: NDArray[np.int64],
) -> list[Record]:
    """Evaluate fitted classifiers, and compare ours with the peer if there is one.

    Parameters
    ----------
    objective : Objective
    classifiers, fits : mapping
        See `models.threshold_contenders`, and the fit of each of them.
    X, y : ndarray of shape (n_samples, n_features) and (n_samples,)

    Returns
    -------
    list of Record
        One for each of ours: ``model``, ``objective``, ``metric``, ``constrained``,
        ``seconds``, ``threshold``, ``low``, ``high``, ``value``, ``value_at_low``,
        ``value_at_high``, ``value_at_half``, ``reached``, ``reached_at_half``, ``met``; and
        ``peer_seconds``, ``peer_value``, ``not_worse``, which are None without a peer; the last
        one also for a fixed threshold.
    """
    records = []
    for name in (models.OUR_LOGISTIC, models.OUR_ENSEMBLE):
        evaluated = evaluate(objective, classifiers[name], X, y)
        own = {"model": name, "seconds": fits[name].seconds, **evaluated}
        compared: Record = {"peer_seconds": None, "peer_value": None, "not_worse": None}
        if name == models.OUR_LOGISTIC and models.PEER in classifiers:
            positive = classifiers[models.PEER].predict(X) == 1
            compared["peer_seconds"] = fits[models.PEER].seconds
            compared["peer_value"] = objective.value(Counts.of(y, positive))
            if objective.is_tuned:
                own_positive = classifiers[name].predict(X) == 1
                compared["not_worse"] = not_worse(objective, y, own_positive, positive)
        records.append(own | compared)
    return records


def not_worse(
    objective: Objective,
    y: NDArray[np.int64],
    positive: NDArray[np.bool_],
    positive_by_peer: NDArray[np.bool_],
) -> bool:
    """Return whether the peer's lead is within the bootstrap interval of the test rows.

    Parameters
    ----------
    objective : Objective
    y, positive, positive_by_peer : ndarray of shape (n_samples,)
        Labels 0 and 1, and the predictions of both as booleans.

    Returns
    -------
    bool
        Whether in at least 5% of bootstrap resamples of the rows the peer is not ahead.
    """
    # There are eight kinds of rows, so resampling rows is resampling the counts of these kinds.
    kinds = np.bincount(4 * y + 2 * positive + positive_by_peer, minlength=8)
    draws = np.random.default_rng(0).multinomial(len(y), kinds / len(y), size=_RESAMPLES)
    leads = []
    for tn, fn_, fp, ff, pn, pf, tp, pp in draws.tolist():
        ours = Counts(tn=tn + fn_, fp=fp + ff, fn=pn + pf, tp=tp + pp)
        theirs = Counts(tn=tn + fp, fp=fn_ + ff, fn=pn + tp, tp=pf + pp)
        leads.append(objective.value(ours) - objective.value(theirs))
    return bool(np.quantile(leads, 0.95) >= 0)


def evaluate(
    objective: Objective, model: Any, X: NDArray[np.float32], y: NDArray[np.int64]
) -> Record:
    """Evaluate a model at its threshold, at both ends of the interval, and at 0.5.

    Parameters
    ----------
    objective : Objective
    model : classifier
        With a ``threshold_``, and a ``threshold_interval_`` if the threshold was tuned.
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    """
    probability = model.predict_proba(X)[:, 1].astype(np.float64)
    threshold = float(model.threshold_)
    low, high = getattr(model, "threshold_interval_", (threshold, threshold))
    chosen = Counts.of(y, model.predict(X) == 1)
    at_low, at_high, at_half = (Counts.of(y, probability >= cut) for cut in (low, high, 0.5))
    return {
        "objective": objective.name,
        "metric": objective.metric,
        "constrained": objective.constrained,
        "threshold": threshold,
        "low": float(low),
        "high": float(high),
        "value": objective.value(chosen),
        "value_at_low": objective.value(at_low),
        "value_at_high": objective.value(at_high),
        "value_at_half": objective.value(at_half),
        "reached": objective.reached(chosen),
        "reached_at_half": objective.reached(at_half),
        "met": objective.is_met(chosen),
    }
