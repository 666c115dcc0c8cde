"""Judges what thresholds decide on test rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality import models
from benchmarks.quality.fitting import Fit
from benchmarks.quality.markdown import Record
from benchmarks.quality.objectives import Counts, Objective


def compare(
    objective: Objective,
    deciders: Mapping[str, Any],
    fits: Mapping[str, Fit],
    X: NDArray[np.float32],
    y: NDArray[np.int64],
) -> list[Record]:
    """Judge fitted classifiers, ours beside the peer where there is one.

    Parameters
    ----------
    objective : Objective
    deciders, fits : mapping
        See `models.deciders`, and how each of them was fitted.
    X, y : ndarray of shape (n_samples, n_features) and (n_samples,)

    Returns
    -------
    list of Record
        One for each of ours: ``model``, ``objective``, ``judged_by``, ``constrained``,
        ``seconds``, ``threshold``, ``low``, ``high``, ``value``, ``value_at_low``,
        ``value_at_high``, ``value_at_half``, ``reached``, ``reached_at_half``, ``met``; and
        ``peer_seconds``, ``peer_value``, ``not_worse``, which are None where there is no peer;
        the last one also for a number, which has no interval.
    """
    records = []
    for name in (models.OUR_LOGISTIC, models.OUR_MEMBERS):
        judged = decided(objective, deciders[name], X, y)
        own = {"model": name, "seconds": fits[name].seconds, **judged}
        beside: Record = {"peer_seconds": None, "peer_value": None, "not_worse": None}
        if name == models.OUR_LOGISTIC and models.PEER in deciders:
            counts = Counts.of(y, deciders[models.PEER].predict(X) == 1)
            beside["peer_seconds"] = fits[models.PEER].seconds
            beside["peer_value"] = objective.value(counts)
            if objective.is_chosen:
                best = max(own["value"], own["value_at_low"], own["value_at_high"])
                beside["not_worse"] = beside["peer_value"] <= best
        records.append(own | beside)
    return records


def decided(
    objective: Objective, model: Any, X: NDArray[np.float32], y: NDArray[np.int64]
) -> Record:
    """Judge one of ours, at its threshold, at both ends of the interval of it, and at 0.5.

    Parameters
    ----------
    objective : Objective
    model : classifier
        With a ``threshold_``, and a ``threshold_interval_`` if it was chosen.
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
        "judged_by": objective.judged_by,
        "constrained": objective.bound,
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
