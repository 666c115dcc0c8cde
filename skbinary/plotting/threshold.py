"""Metrics of the labels over the threshold."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length, column_or_1d

from skbinary.data.weights import check_weight, rescale_extreme_weights
from skbinary.plotting.axes import (
    GREY,
    LINES,
    Display,
    free_colours,
    line_settings,
    name_prefix,
    place_legend,
)
from skbinary.plotting.classifier import find_classifier, the_classifier
from skbinary.thresholds.decision import check_threshold, positive_index
from skbinary.thresholds.objectives import SCORES, Constraint, Counts, Metric

if TYPE_CHECKING:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

Array = NDArray[np.float64]

_USUAL_METRICS = ("precision", "recall")
_RATES = ("specificity", "alert_rate")  # of which scikit-learn has no scorer
_SCORE = "score"  # of a threshold curve, what the choice has maximized


class ThresholdDisplay(Display):
    """Metrics of the labels over the threshold, with the one in force.

    Make one with ``from_estimator`` or ``from_predictions``.

    Parameters
    ----------
    thresholds : array-like of shape (n_cuts,)
        In [0, 1], ascending.
    metrics : dict of str to array-like of shape (n_cuts,)
        What each metric is when rows are labelled positive from that probability on. NaN is left
        out.
    threshold : float, default=None
        The one in force, which is marked.
    interval : tuple of (float, float), default=None
        Where the choice falls in 90% of resamples of the rows, which is shaded.
    pos_label : object, default=None
        The label of the positive class.
    name : str, default=None
        Stands in the legend before each entry.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the curves.
    figure_ : matplotlib Figure
        That holds them.
    lines_ : dict of str to matplotlib Line2D
        The curve of each metric.
    threshold_line_ : matplotlib Line2D or None
        Where the threshold in force is.
    interval_ : matplotlib Rectangle or None
        The shaded interval.

    See Also
    --------
    LossCurveDisplay : The loss over the epochs.
    sklearn.metrics.PrecisionRecallDisplay : The precision over the recall.

    Notes
    -----
    A row is positive when its probability is at least the threshold. The precision of no positive
    rows is not drawn; the other metrics count 0 / 0 as 0, as scikit-learn does.

    Examples
    --------
    >>> from skbinary import ThresholdDisplay
    >>> display = ThresholdDisplay(thresholds=[0, 0.5, 1], metrics={"recall": [1, 0.8, 0]})
    >>> display.plot().ax_.get_ylabel()
    'recall'
    """

    lines_: dict[str, Line2D]
    threshold_line_: Line2D | None
    interval_: Rectangle | None

    def __init__(
        self,
        *,
        thresholds: Any,
        metrics: dict[str, Any],
        threshold: float | None = None,
        interval: tuple[float, float] | None = None,
        pos_label: Any = None,
        name: str | None = None,
    ):
        self.thresholds = thresholds
        self.metrics = metrics
        self.threshold = threshold
        self.interval = interval
        self.pos_label = pos_label
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        pos_label: Any = None,
        metrics: Any = _USUAL_METRICS,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw metrics of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted ``TorchLogisticClassifier`` or ``TorchMLPClassifier``, a ``Pipeline`` that
            ends with one, or a search around either. With `X` and `y` any classifier for two
            classes with ``predict_proba``; the threshold is marked where it is one of ours.
        X : array-like of shape (n_samples, n_features), default=None
            Rows that the model was not trained on. None draws ``threshold_curve_``, from which
            ``fit`` or ``tune_threshold`` has chosen the threshold.
        y : array-like of shape (n_samples,), default=None
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.
        pos_label : object, default=None
            The positive label. None takes the ``pos_label`` of a classifier of this package, and
            the second label in sorted order for any other. Only with `X` and `y`.
        metrics : str or list of str, default=("precision", "recall")
            Names of scikit-learn's scorers of labels (``"f1"``, ``"balanced_accuracy"``),
            ``"specificity"``, or ``"alert_rate"``, the share of all rows that is labelled
            positive. Without `X` also ``"score"``, what the choice has maximized.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        name : str, default=None
            Stands in the legend before each entry.
        **kwargs : dict
            Settings of the curves, as ``matplotlib.axes.Axes.plot`` takes them.

        Returns
        -------
        display : ThresholdDisplay
            Drawn.

        Raises
        ------
        ValueError
            If a metric is not known, or there is nothing to draw it from.
        NotFittedError
            If the estimator is not fitted.

        Examples
        --------
        >>> from sklearn.datasets import make_classification
        >>> from skbinary import ThresholdDisplay, TorchLogisticClassifier
        >>> X, y = make_classification(weights=[0.9], random_state=0)
        >>> model = TorchLogisticClassifier().fit(X, y)
        >>> display = ThresholdDisplay.from_estimator(model, X, y, metrics=["recall", "f1"])
        >>> display.threshold
        0.5
        """
        if (X is None) != (y is None):
            missing = "X" if X is None else "y"
            raise ValueError(
                f"X and y must be given together, got no {missing}. Pass both, or neither "
                "to draw the curve from which the threshold was chosen."
            )
        if X is None:
            alone = {"sample_weight": sample_weight, "pos_label": pos_label}
            display = cls._from_curve(estimator, alone, metrics, name)
            return display.plot(ax, **kwargs)
        model = find_classifier(estimator)
        labels = _labels_for(estimator, y)
        own = None if model is None else model.pos_label
        positive = positive_index(own if pos_label is None else pos_label, estimator.classes_)
        if model is not None and positive != positive_index(own, estimator.classes_):
            model = None  # its threshold applies to the probability of the other label
        return cls.from_predictions(
            labels,
            estimator.predict_proba(X)[:, positive],
            sample_weight=sample_weight,
            pos_label=estimator.classes_[positive],
            metrics=metrics,
            threshold=None if model is None else model._threshold_in_force(),
            interval=None if model is None else _interval(model),
            ax=ax,
            name=name,
            **kwargs,
        )

    @classmethod
    def _from_curve(cls, estimator: Any, alone: dict[str, Any], metrics: Any, name: Any) -> Self:
        """Make a display of what the threshold was chosen from."""
        model = the_classifier(estimator, "Pass X and y to draw another classifier.")
        for given in (given for given, value in alone.items() if value is not None):
            raise ValueError(
                f"{given} must come with X and y, got it alone. Pass all three, or none to "
                "draw the curve from which the threshold was chosen."
            )
        if not hasattr(model, "threshold_curve_"):
            raise ValueError(
                "estimator must have chosen its threshold to be drawn without X and y, got "
                f"threshold={model.threshold!r}. Pass X and y, or fit it with an aim such "
                "as threshold='f1'."
            )
        curve = dict(model.threshold_curve_)
        thresholds, score = curve.pop("threshold"), curve.pop("score")
        counts = Counts(**curve)
        return cls(
            thresholds=thresholds,
            metrics={
                each: score if each == _SCORE else _measure(each, counts, (_SCORE,))
                for each in _as_names(metrics)
            },
            threshold=model._threshold_in_force(),
            interval=_interval(model),
            pos_label=model.classes_[positive_index(model.pos_label, model.classes_)],
            name=name,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_proba: Any,
        *,
        sample_weight: Any = None,
        pos_label: Any = None,
        metrics: Any = _USUAL_METRICS,
        threshold: float | None = None,
        interval: tuple[float, float] | None = None,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw metrics of probabilities, from wherever they come.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            The labels.
        y_proba : array-like of shape (n_samples,)
            The probability of the positive class.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        pos_label : object, default=None
            The label of the positive class. None takes the second one in sorted order.
        metrics : str or list of str, default=("precision", "recall")
            Names of scikit-learn's scorers of labels (``"f1"``, ``"balanced_accuracy"``),
            ``"specificity"``, or ``"alert_rate"``, the share of all rows that is labelled
            positive.
        threshold : float, default=None
            The one in force, in [0, 1], which is marked.
        interval : tuple of (float, float), default=None
            Which is shaded.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        name : str, default=None
            Stands in the legend before each entry.
        **kwargs : dict
            Settings of the curves, as ``matplotlib.axes.Axes.plot`` takes them.

        Returns
        -------
        display : ThresholdDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the rows are not of two classes, a probability is not in [0, 1], or a metric is not
            known.

        Examples
        --------
        >>> from skbinary import ThresholdDisplay
        >>> y_true, y_proba = ["no", "yes", "no", "yes"], [0.1, 0.4, 0.6, 0.9]
        >>> display = ThresholdDisplay.from_predictions(y_true, y_proba, threshold=0.5)
        >>> print(display.pos_label, display.lines_["recall"].get_ydata())
        yes [1.  1.  0.5 0.5 0. ]
        """
        proba = _check_probabilities(y_proba)
        labels = column_or_1d(y_true)
        check_consistent_length(labels, proba)
        weight = check_weight(sample_weight, proba)
        weight = None if weight is None else rescale_extreme_weights(weight)
        pos_label = _check_positive(labels, pos_label)
        if weight is not None and not weight.all():
            proba, labels, weight = proba[weight > 0], labels[weight > 0], weight[weight > 0]
        cuts = _cuts(proba)
        if threshold is not None:
            cuts = np.union1d(cuts, check_threshold(threshold))
        counts = _count(labels == pos_label, proba, weight, cuts)
        display = cls(
            thresholds=cuts,
            metrics={each: _measure(each, counts) for each in _as_names(metrics)},
            threshold=threshold,
            interval=interval,
            pos_label=pos_label,
            name=name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure. Other curves on it are kept.
        name : str, default=None
            Stands in the legend before each entry. None takes that of the display.
        **kwargs : dict
            Settings of the curves, as ``matplotlib.axes.Axes.plot`` takes them.

        Returns
        -------
        display : ThresholdDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from skbinary import ThresholdDisplay
        >>> display = ThresholdDisplay(thresholds=[0, 0.5, 1], metrics={"recall": [1, 0.8, 0]})
        >>> display.plot(c="black").lines_["recall"].get_color()
        'black'
        """
        ax = self._begin(ax)
        before = name_prefix(self.name if name is None else name)
        self.interval_ = self.threshold_line_ = None
        thresholds = np.asarray(self.thresholds, dtype=np.float64)
        if self.interval is not None:
            label = f"{before}90% interval"
            self.interval_ = ax.axvspan(*self.interval, color=GREY, alpha=0.2, lw=0, label=label)
        self.lines_ = {}
        colours = free_colours(len(self.metrics), ax)
        for number, (metric, values) in enumerate(self.metrics.items()):
            usual = {
                "color": colours[number],
                "ls": LINES[number % len(LINES)],
                "lw": 2.0,
                "ds": "steps-mid",  # what lies between two rows is the same for all thresholds
                "label": before + _words(metric),
            }
            (line,) = ax.plot(thresholds, values, **line_settings(kwargs, **usual))
            self.lines_[metric] = line
        if self.threshold is not None:
            self._mark(thresholds, before)
        self._finish()
        return self

    def _mark(self, thresholds: Array, before: str) -> None:
        """Mark the threshold in force, and what each metric is there."""
        ax, threshold = self.ax_, self.threshold
        assert threshold is not None
        self.threshold_line_ = ax.axvline(
            threshold, c=GREY, lw=1, label=f"{before}threshold {threshold:.3g}"
        )
        nearest = int(np.abs(thresholds - threshold).argmin())
        for metric, line in self.lines_.items():
            value = np.asarray(self.metrics[metric], dtype=np.float64)[nearest]
            colours: dict[str, Any] = {"mfc": ax.get_facecolor(), "mec": line.get_color()}
            ax.plot(threshold, value, ls="", marker="o", **colours)

    def _finish(self) -> None:
        """Write what the axes are."""
        ax = self.ax_
        of_whom = "" if self.pos_label is None else f" of class {self.pos_label}"
        ylabel = _words(next(iter(self.metrics))) if len(self.metrics) == 1 else "metric"
        before = ax.get_ylabel()
        ax.set_xlabel(f"threshold on the probability{of_whom}")
        ax.set_ylabel(ylabel if before in ("", ylabel) else "metric")
        values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in ax.lines])
        if not np.any((values < 0) | (values > 1)):
            ax.set_ylim(-0.02, 1.02)
        ax.set_xlim(-0.01, 1.01)
        ax.spines[["top", "right"]].set_visible(False)
        place_legend(ax)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _as_names(metrics: str | Sequence[str]) -> list[str]:
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names:
        raise ValueError(
            "metrics must hold at least one name, got none. Leave it out to draw the "
            "precision and the recall."
        )
    return names


def _measure(name: Any, counts: Counts, more_names: tuple[str, ...] = ()) -> Array:
    """Give a metric for every cut."""
    if name in _RATES:
        return Constraint(name, 0.0).reached(counts)
    if name not in SCORES:
        names = [*SCORES, *_RATES, *more_names]
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Use some of {', '.join(names)}."
        raise ValueError(f"metrics must be names of scores of labels, got {name!r}. {hint}")
    values = Metric(name).score(counts)
    return np.where(counts.tp + counts.fp > 0, values, np.nan) if name == "precision" else values


def _interval(model: Any) -> tuple[float, float] | None:
    """Give the interval of a choice that is still in force."""
    if model._threshold_in_force() != model.threshold_:
        return None
    return getattr(model, "threshold_interval_", None)


def _check_probabilities(y_proba: Any) -> Array:
    proba = np.asarray(y_proba)
    if proba.ndim != 1:
        raise ValueError(
            f"y_proba must be of shape (n_samples,), got shape {proba.shape}. Pass the "
            "column of the positive class, predict_proba(X)[:, 1]."
        )
    proba = proba.astype(np.float64)
    if not np.all((proba >= 0) & (proba <= 1)):
        raise ValueError(
            f"y_proba must be probabilities in [0, 1], got numbers from {proba.min():g} to "
            f"{proba.max():g}. Pass predict_proba(X)[:, 1], or expit of logits."
        )
    return proba


def _check_positive(labels: NDArray[Any], pos_label: Any) -> Any:
    """Give the positive label of two."""
    classes = np.unique(labels)
    if len(classes) != 2:
        raise ValueError(
            f"The labels must be of two classes, got {len(classes)}, {classes[:5].tolist()},"
            ". Give rows of two; of more, set one class against all others."
        )
    if pos_label is None:
        return classes[1]
    if pos_label not in classes.tolist():
        raise ValueError(
            f"pos_label must be one of the labels {classes.tolist()}, got {pos_label!r}. "
            "Leave it out to take the second one."
        )
    return pos_label


def _cuts(proba: Array) -> Array:
    """Give a threshold between each two neighbouring probabilities, and one beyond either end."""
    edges = np.concatenate([[0.0], np.unique(proba), [1.0]])
    return np.unique((edges[:-1] + edges[1:]) / 2)


def _count(
    is_positive: NDArray[np.bool_], proba: Array, weight: Array | None, cuts: Array
) -> Counts:
    """Give the weight of the rows of each kind, for every cut."""
    order = np.argsort(proba)
    first = np.searchsorted(proba[order], cuts, side="left")  # of those that are labelled positive
    of_class = np.stack([~is_positive, is_positive])[:, order].astype(np.float64)
    if weight is not None:
        of_class *= weight[order]
    above = np.zeros((2, len(proba) + 1))
    np.cumsum(of_class[:, ::-1], axis=1, out=above[:, -2::-1])
    (fp, tp), (negatives, positives) = above[:, first], above[:, 0]
    return Counts(tn=negatives - fp, fp=fp, fn=positives - tp, tp=tp)


def _labels_for(estimator: Any, y: Any) -> NDArray[Any]:
    """Check that a classifier can be drawn, and give the labels of the rows."""
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(
            "estimator must have predict_proba, got "
            f"{type(estimator).__name__}. Wrap it in "
            "sklearn.calibration.CalibratedClassifierCV."
        )
    classes = estimator.classes_
    if len(classes) != 2:
        raise ValueError(
            f"estimator must know two classes, got {len(classes)}. Draw one class "
            "against the others with ThresholdDisplay.from_predictions."
        )
    labels = column_or_1d(y)
    if not np.isin(labels, classes).all():
        raise ValueError(
            f"y must hold the labels that the estimator knows, {classes.tolist()}, got "
            f"{np.unique(labels)[:5].tolist()}. Pass labels as they were in fit."
        )
    return labels
