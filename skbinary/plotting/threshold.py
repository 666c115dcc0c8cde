"""Metrics of the predicted labels against the decision threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length, column_or_1d

from skbinary.data.weights import check_weight, rescale_extreme_weights
from skbinary.plotting.axes import (
    GREY,
    LINES,
    Display,
    legend_prefix,
    line_settings,
    place_legend,
    unused_colors,
)
from skbinary.plotting.classifier import find_threshold_owner, not_a_classifier
from skbinary.plotting.threshold_metrics import (
    SCORE,
    as_metric_names,
    candidate_thresholds,
    check_labels,
    check_pos_label,
    check_probabilities,
    confusion_counts,
    metric_values,
)
from skbinary.thresholds.decision import check_threshold, positive_index
from skbinary.thresholds.objectives import ConfusionCounts

if TYPE_CHECKING:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

Array = NDArray[np.float64]

_DEFAULT_METRICS = ("precision", "recall")


class ThresholdDisplay(Display):
    """Plot metrics of the predicted labels against the decision threshold.

    Create a display with ``from_estimator`` or ``from_predictions``.

    Parameters
    ----------
    thresholds : array-like of shape (n_thresholds,)
        Decision thresholds in [0, 1], ascending.
    metrics : dict of str to array-like of shape (n_thresholds,)
        The values of each metric. NaN is not drawn.
    threshold : float, default=None
        The threshold of the classifier, in [0, 1]. It is marked by a vertical line.
    interval : tuple of (float, float), default=None
        The interval that contains the tuned threshold in 90% of bootstrap resamples. It is shaded.
    pos_label : object, default=None
        The positive label.
    name : str, default=None
        Prefix of the legend entries.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the curves.
    figure_ : matplotlib Figure
        The figure of the axes.
    lines_ : dict of str to matplotlib Line2D
        The curve of each metric.
    threshold_line_ : matplotlib Line2D or None
        The line at `threshold`.
    interval_ : matplotlib Rectangle or None
        The shaded interval.

    See Also
    --------
    LossCurveDisplay : Plot the loss of every epoch.
    sklearn.metrics.PrecisionRecallDisplay : Plot the precision against the recall.

    Notes
    -----
    A row is predicted positive if its probability is at least the threshold. The precision is not
    drawn where no row is predicted positive. The other metrics are 0 where they would be 0 / 0, as
    in scikit-learn.

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
        metrics: Any = _DEFAULT_METRICS,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the metrics of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted ``TorchLogisticClassifier`` or ``TorchMLPClassifier``, a ``Pipeline`` that
            ends with one, or a search over either. With `X` and `y` it can be any binary
            classifier with ``predict_proba``; only thresholds of skbinary's classifiers are
            marked.
        X : array-like of shape (n_samples, n_features), default=None
            Data that the model was not trained on. None draws ``threshold_curve_``, from which
            ``fit`` or ``tune_threshold`` chose the threshold.
        y : array-like of shape (n_samples,), default=None
            The labels.
        sample_weight : array-like of shape (n_samples,), default=None
            The sample weights.
        pos_label : object, default=None
            The positive label. None uses the ``pos_label`` of skbinary's classifiers, and the
            second label in sorted order for any other classifier. Only with `X` and `y`.
        metrics : str or list of str, default=("precision", "recall")
            Names of scikit-learn scorers that compare labels (``"f1"``, ``"balanced_accuracy"``),
            ``"specificity"``, or ``"alert_rate"``, the fraction of rows predicted positive.
            Without `X` also ``"score"``, the objective that the threshold was tuned for.
        ax : matplotlib Axes, default=None
            The axes to draw on. None creates a new figure.
        name : str, default=None
            Prefix of the legend entries.
        **kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot`` for the curves.

        Returns
        -------
        display : ThresholdDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If a metric is unknown, or if there is no data and no threshold curve to draw.
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
            given = "y without X" if X is None else "X without y"
            raise ValueError(
                f"X and y must be passed together, got {given}. Pass both, or neither to draw the "
                "curve from which the threshold was chosen."
            )
        if X is None:
            options = {"sample_weight": sample_weight, "pos_label": pos_label}
            return cls._from_threshold_curve(estimator, metrics, name, options).plot(ax, **kwargs)
        model = find_threshold_owner(estimator)
        labels = check_labels(estimator, y)
        own = positive_index(getattr(model, "pos_label", None), estimator.classes_)
        positive = own if pos_label is None else positive_index(pos_label, estimator.classes_)
        if positive != own:
            model = None  # its threshold refers to the probability of the other class
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
    def _from_threshold_curve(
        cls, estimator: Any, metrics: Any, name: Any, options: dict[str, Any]
    ) -> Self:
        """Create a display of the curve from which the threshold was chosen."""
        for option, value in options.items():
            if value is not None:
                raise ValueError(
                    f"{option} must be passed with X and y, got it alone. Pass all three, or none "
                    "to draw the curve from which the threshold was chosen."
                )
        model = find_threshold_owner(estimator)
        if model is None:
            raise ValueError(
                not_a_classifier(estimator, "Pass X and y to draw another classifier.")
            )
        if not hasattr(model, "threshold_curve_"):
            raise ValueError(
                "estimator must have a tuned threshold to be drawn without X and y, got "
                f"threshold={model.threshold!r}. Pass X and y, or fit it with an objective such as "
                "threshold='f1'."
            )
        curve = dict(model.threshold_curve_)
        thresholds, score = curve.pop("threshold"), curve.pop("score")
        counts = ConfusionCounts(**curve)
        return cls(
            thresholds=thresholds,
            metrics={
                each: score if each == SCORE else metric_values(each, counts, (SCORE,))
                for each in as_metric_names(metrics)
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
        metrics: Any = _DEFAULT_METRICS,
        threshold: float | None = None,
        interval: tuple[float, float] | None = None,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the metrics of predicted probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            The true labels.
        y_proba : array-like of shape (n_samples,)
            The predicted probability of the positive class.
        sample_weight : array-like of shape (n_samples,), default=None
            The sample weights.
        pos_label : object, default=None
            The positive label. None uses the second label in sorted order.
        metrics : str or list of str, default=("precision", "recall")
            Names of scikit-learn scorers that compare labels (``"f1"``, ``"balanced_accuracy"``),
            ``"specificity"``, or ``"alert_rate"``, the fraction of rows predicted positive.
        threshold : float, default=None
            The threshold of the classifier, in [0, 1]. It is marked by a vertical line.
        interval : tuple of (float, float), default=None
            An interval to shade.
        ax : matplotlib Axes, default=None
            The axes to draw on. None creates a new figure.
        name : str, default=None
            Prefix of the legend entries.
        **kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot`` for the curves.

        Returns
        -------
        display : ThresholdDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there are not two classes, a probability is not in [0, 1], or a metric is unknown.

        Examples
        --------
        >>> from skbinary import ThresholdDisplay
        >>> y_true, y_proba = ["no", "yes", "no", "yes"], [0.1, 0.4, 0.6, 0.9]
        >>> display = ThresholdDisplay.from_predictions(y_true, y_proba, threshold=0.5)
        >>> print(display.pos_label, display.lines_["recall"].get_ydata())
        yes [1.  1.  0.5 0.5 0. ]
        """
        proba = check_probabilities(y_proba)
        labels = column_or_1d(y_true)
        check_consistent_length(labels, proba)
        weight = check_weight(sample_weight, proba)
        weight = None if weight is None else rescale_extreme_weights(weight)
        pos_label = check_pos_label(labels, pos_label)
        if weight is not None and not weight.all():
            proba, labels, weight = proba[weight > 0], labels[weight > 0], weight[weight > 0]
        thresholds = candidate_thresholds(proba)
        if threshold is not None:
            thresholds = np.union1d(thresholds, check_threshold(threshold))
        counts = confusion_counts(labels == pos_label, proba, weight, thresholds)
        display = cls(
            thresholds=thresholds,
            metrics={each: metric_values(each, counts) for each in as_metric_names(metrics)},
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
            The axes to draw on. Curves already on it are kept. None creates a new figure.
        name : str, default=None
            Prefix of the legend entries. None uses the `name` of the display.
        **kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot`` for the curves.

        Returns
        -------
        display : ThresholdDisplay
            The display, drawn.

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
        prefix = legend_prefix(self.name if name is None else name)
        self.interval_ = self.threshold_line_ = None
        thresholds = np.asarray(self.thresholds, dtype=np.float64)
        if self.interval is not None:
            label = f"{prefix}90% interval"
            self.interval_ = ax.axvspan(*self.interval, color=GREY, alpha=0.2, lw=0, label=label)
        self.lines_ = {}
        colors = unused_colors(len(self.metrics), ax)
        for number, (metric, values) in enumerate(self.metrics.items()):
            defaults = {
                "color": colors[number],
                "ls": LINES[number % len(LINES)],
                "lw": 2.0,
                "ds": "steps-mid",  # metrics are constant between two neighbouring probabilities
                "label": prefix + _as_words(metric),
            }
            (line,) = ax.plot(thresholds, values, **line_settings(kwargs, **defaults))
            self.lines_[metric] = line
        if self.threshold is not None:
            self._mark_threshold(thresholds, prefix)
        self._label_axes()
        place_legend(ax)
        return self

    def _mark_threshold(self, thresholds: Array, prefix: str) -> None:
        """Draw a line at the threshold, and a circle on each curve."""
        ax, threshold = self.ax_, self.threshold
        assert threshold is not None
        self.threshold_line_ = ax.axvline(
            threshold, c=GREY, lw=1, label=f"{prefix}threshold {threshold:.3g}"
        )
        nearest = int(np.abs(thresholds - threshold).argmin())
        for metric, line in self.lines_.items():
            value = np.asarray(self.metrics[metric], dtype=np.float64)[nearest]
            colors: dict[str, Any] = {"mfc": ax.get_facecolor(), "mec": line.get_color()}
            ax.plot(threshold, value, ls="", marker="o", **colors)

    def _label_axes(self) -> None:
        ax = self.ax_
        class_name = "" if self.pos_label is None else f" of class {self.pos_label}"
        ylabel = _as_words(next(iter(self.metrics))) if len(self.metrics) == 1 else "metric"
        earlier_label = ax.get_ylabel()
        ax.set_xlabel(f"threshold on the probability{class_name}")
        ax.set_ylabel(ylabel if earlier_label in ("", ylabel) else "metric")
        values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in ax.lines])
        if not np.any((values < 0) | (values > 1)):
            ax.set_ylim(-0.02, 1.02)
        ax.set_xlim(-0.01, 1.01)
        ax.spines[["top", "right"]].set_visible(False)


def _as_words(name: str) -> str:
    return name.replace("_", " ")


def _interval(model: Any) -> tuple[float, float] | None:
    """Return the interval of a tuned threshold, or None if another threshold is set."""
    if model._threshold_in_force() != model.threshold_:
        return None
    return getattr(model, "threshold_interval_", None)
