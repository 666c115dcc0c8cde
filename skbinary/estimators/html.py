"""HTML representation of a fitted classifier in notebooks."""

from __future__ import annotations

import html
import reprlib
from collections import Counter
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skbinary.estimators.recipe import MINIBATCH_SOLVERS
from skbinary.estimators.sparkline import draw_losses
from skbinary.solvers.result import StopReason

# Address of the documentation, for example "https://skbinary.example/stable", to which diagrams
# link. Without one they have no links.
SITE = ""

# The attributes in scikit-learn's table: all but those that the fitted state shows or draws, and
# those that are costly to build.
_ATTRIBUTES = (
    *("classes_", "coef_", "intercept_", "solver_", "coefs_", "intercepts_", "n_layers_"),
    *("n_outputs_", "out_activation_", "loss_", "best_loss_", "t_"),
    *("oof_decision_function_", "oof_loss_"),
)
# The attributes that the fitted state shows. They are in the table if it cannot be shown.
_STATE_ATTRIBUTES = (
    *("device_", "n_members_", "temperature_", "n_iter_", "best_epoch_", "stop_reason_"),
    *("threshold_",),
    *("threshold_interval_", "loss_curve_", "validation_loss_curve_"),
)
# The CSS classes of scikit-learn's tables, for the same look in every theme.
_STATE = (
    '<div class="estimator-table skbinary-state"><details open=""><summary>Fitted state</summary>'
    '<table class="parameters-table" style="max-width:36rem"><tbody>{rows}</tbody></table>'
    "{picture}</details></div>"
)
_ROW = (
    '<tr class="default"><td role="rowheader" style="text-align:left">{}</td>'
    '<td class="value" style="text-align:left;overflow-wrap:anywhere">{}</td></tr>'
)


def reference_page(estimator: Any) -> dict[str, str]:
    """Return the page that scikit-learn's diagrams link to, if the documentation has an address."""
    name = f"reference/skbinary.{type(estimator).__name__}.html"
    return {"page": f"{SITE.rstrip('/')}/{name}" if SITE else ""}


def with_fitted_state(model: Any, params: Any) -> Any:
    """Add the fitted state to the table of parameters in scikit-learn's diagrams."""
    state = fitted_state(model)
    if state:
        table = params._repr_html_inner
        params._repr_html_inner = lambda: table() + state
    return params


def other_attributes(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Return scikit-learn's table of fitted attributes, without those of the fitted state.

    scikit-learn has this table since version 1.9.
    """
    shown: Any = BaseEstimator()
    try:
        vars(shown).update({k: v for k, v in vars(model).items() if not k.startswith("_")})
        names = _ATTRIBUTES if fitted_state(model) else (*_ATTRIBUTES, *_STATE_ATTRIBUTES)
        for name in names if "_state" in vars(model) else ():
            if hasattr(type(model), name) and (value := getattr(model, name, None)) is not None:
                setattr(shown, name, value)
        attributes = shown._get_fitted_attr_html(*args, **kwargs)
        attributes.estimator_class = type(model)
    except Exception:
        return {}  # no table
    return attributes


def fitted_state(model: Any) -> str:
    """Return the fitted state of a classifier as HTML.

    Parameters
    ----------
    model : BinaryClassifier

    Returns
    -------
    str
        Empty if it is not fitted, or after any error: a diagram must never fail.
    """
    try:
        if "_state" not in vars(model):
            return ""
        training = _curves(model, "loss_curve_")
        validation = _curves(model, "validation_loss_curve_")
        kept = np.ravel(model.best_epoch_).astype(int).tolist()
        unit = "iteration" if model.solver not in MINIBATCH_SOLVERS else "epoch"
        rows = [
            *_training_rows(model, len(max(training, key=len)), kept, unit),
            *_threshold_rows(model),
            *_loss_rows(training, validation, kept, unit),
        ]
        table = "".join(_ROW.format(html.escape(name), html.escape(text)) for name, text in rows)
        return _STATE.format(rows=table, picture=draw_losses(training, validation, kept, unit))
    except Exception:
        return ""


def _curves(model: Any, name: str) -> list[list[float]]:
    """Return a curve for each ensemble member, or no curves if none was recorded."""
    curves = getattr(model, name)
    if curves is None:
        return []
    return curves if isinstance(model.history_, list) else [curves]


def _training_rows(model: Any, n_all: int, kept: list[int], unit: str) -> Iterator[tuple[str, str]]:
    """Return the rows of the table about training."""
    yield "device_", str(model.device_)
    n_members = getattr(model, "n_members_", 1)
    if n_members > 1:
        yield "n_members_", str(n_members)
        yield "temperature_", f"{model.temperature_:.4g}"
    embedding = getattr(model, "embedding_", None)
    if embedding is not None:
        yield "embedding_", f"{len(embedding['columns'])} of {model.n_features_in_} features"
    n_iter = int(np.max(model.n_iter_))
    text = _counted(n_iter, unit)
    yield "n_iter_", text if n_iter == n_all else f"{text} in the last fit, {n_all} in total"
    yield "best_epoch_", _range(kept)
    reasons = model.stop_reason_ if isinstance(model.stop_reason_, list) else [model.stop_reason_]
    counts = Counter(StopReason(each).description for each in reasons if each).most_common()
    if len(counts) == 1:
        yield "stop_reason_", counts[0][0]
    elif counts:  # a model in training has no reason yet
        yield "stop_reason_", " ".join(f"{_counted(n, 'member')}: {text}" for text, n in counts)


def _threshold_rows(model: Any) -> Iterator[tuple[str, str]]:
    """Return the rows of the table about the threshold."""
    parameter = model.threshold
    try:
        threshold = model._threshold_in_force()
    except ValueError:
        yield "threshold_", f"not chosen for {_short(parameter)}, which was set after fit"
        return
    interval = getattr(model, "threshold_interval_", None)
    if interval is None or threshold != model.threshold_:
        yield "threshold_", f"{threshold:.4g}"
        return
    objective = "" if isinstance(parameter, Real) else f" for {_short(parameter)}"
    yield "threshold_", f"{threshold:.4g}, chosen{objective}"
    low, high = interval
    yield "threshold_interval_", f"{low:.4g} to {high:.4g}, in 90% of resamples"


def _loss_rows(
    training: list[list[float]], validation: list[list[float]], kept: list[int], unit: str
) -> Iterator[tuple[str, str]]:
    """Return the rows of the table about the losses at the epochs that were kept."""
    for name, group in (("loss_curve_", training), ("validation_loss_curve_", validation)):
        if group and min(kept) >= 1:
            loss = np.mean([curve[k - 1] for curve, k in zip(group, kept, strict=True)])
            where = f"{unit} {kept[0]}" if len(kept) == 1 else f"the best {unit}s, on average"
            yield name, f"{loss:.4g} at {where}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _range(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def _short(value: Any) -> str:
    """Return the name of a function, or a shortened representation."""
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else reprlib.repr(value)
