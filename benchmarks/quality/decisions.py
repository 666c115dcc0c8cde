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

_RESAMPLES = 500


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
            flagged = deciders[models.PEER].predict(X) == 1
            beside["peer_seconds"] = fits[models.PEER].seconds
            beside["peer_value"] = objective.value(Counts.of(y, flagged))
            if objective.is_chosen:
                own_flagged = deciders[name].predict(X) == 1
                beside["not_worse"] = not_worse(objective, y, own_flagged, flagged)
        records.append(own | beside)
    return records


def not_worse(
    objective: Objective,
    y: NDArray[np.int64],
    flagged: NDArray[np.bool_],
    flagged_by_peer: NDArray[np.bool_],
) -> bool:
    """Tell whether the peer's lead on test rows is within what other test rows would make of it.

    Parameters
    ----------
    objective : Objective
    y, flagged, flagged_by_peer : ndarray of shape (n_samples,)
        Labels 0 and 1, and what either takes for a 1.

    Returns
    -------
    bool
        Whether in at least 5% of bootstrap resamples of the rows the peer is not ahead.
    """
    # A resample of rows is one of the counts of the eight kinds of them.
    kinds = np.bincount(4 * y + 2 * flagged + flagged_by_peer, minlength=8)
    draws = np.random.default_rng(0).multinomial(len(y), kinds / len(y), size=_RESAMPLES)
    leads = []
    for tn, fn_, fp, ff, pn, pf, tp, pp in draws.tolist():
        ours = Counts(tn=tn + fn_, fp=fp + ff, fn=pn + pf, tp=tp + pp)
        theirs = Counts(tn=tn + fp, fp=fn_ + ff, fn=pn + tp, tp=pf + pp)
        leads.append(objective.value(ours) - objective.value(theirs))
    return bool(np.quantile(leads, 0.95) >= 0)


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
