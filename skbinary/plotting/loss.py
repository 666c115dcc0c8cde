"""The loss of every epoch of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from skbinary.estimators.recipe import MINIBATCH_SOLVERS
from skbinary.plotting.axes import (
    GREY,
    Display,
    label_log_axis,
    legend_prefix,
    line_settings,
    place_legend,
    unused_colors,
)
from skbinary.plotting.classifier import require_classifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

Array = NDArray[np.float64]

# Labels by which the twin axes and the curves of an earlier display on the same axes are found.
_SCORE_AXES = "validation score"
_TRAINING = "training loss"
_LINE_STYLES = {"loss": "-", "validation_loss": "--", "validation_score": ":"}
# The validation score that is recorded if the loss is monitored.
_DEFAULT_SCORE = "accuracy"


class LossCurveDisplay(Display):
    """Plot the training and validation loss of every epoch or iteration of a fit.

    The validation score has its own y axis on the right. Create a display with
    ``from_estimator``. To compare several fits, draw all of them on the same `ax` and give each a
    `name`.

    Parameters
    ----------
    loss : list of float, or list of lists of float
        Mean training loss of each epoch, in nats. A list of lists has one curve for each ensemble
        member.
    validation_loss : list of float, or list of lists of float, default=None
        Mean validation loss of each epoch, in nats.
    validation_score : list of float, or list of lists of float, default=None
        Validation score of each epoch.
    best_epoch : int or list of int, default=None
        The epoch, counted from 1, whose weights were kept, or one for each ensemble member. It is
        marked on the validation curves.
    score_name : str, default="score"
        Name of the validation score, for example ``"accuracy"`` or ``"roc_auc"``.
    unit : {"epoch", "iteration"}, default="epoch"
        What the x axis counts.
    name : str, default=None
        Prefix of the legend entries. Named curves share one color and differ in their line style;
        curves without a name have a color each.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the losses.
    ax_score_ : matplotlib Axes or None
        The axes with the validation score, whose y axis is on the right.
    figure_ : matplotlib Figure
        The figure of the axes.
    lines_ : dict of str to list of matplotlib Line2D
        The lines for ``"loss"``, ``"validation_loss"``, ``"validation_score"`` and
        ``"best_epoch"``. Of an ensemble there is a thin line for each member, followed by a thick
        line for their mean over the epochs that all members have.

    See Also
    --------
    ThresholdDisplay : Plot metrics against the decision threshold.
    SearchDisplay : Plot the scores of a search.
    sklearn.model_selection.LearningCurveDisplay : Plot scores against the size of the training set.

    Examples
    --------
    >>> from skbinary import LossCurveDisplay
    >>> display = LossCurveDisplay(loss=[0.6, 0.4, 0.3], validation_loss=[0.6, 0.5, 0.55])
    >>> display.plot().ax_.get_ylabel()
    'log loss (nats)'
    """

    ax_score_: Axes | None
    lines_: dict[str, list[Line2D]]

    def __init__(
        self,
        *,
        loss: Any,
        validation_loss: Any = None,
        validation_score: Any = None,
        best_epoch: Any = None,
        score_name: str = "score",
        unit: Literal["epoch", "iteration"] = "epoch",
        name: str | None = None,
    ):
        self.loss = loss
        self.validation_loss = validation_loss
        self.validation_score = validation_score
        self.best_epoch = best_epoch
        self.score_name = score_name
        self.unit = unit
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        name: str | None = None,
        log_scale: bool = False,
        show_score: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Plot the loss curves of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted ``TorchLogisticClassifier`` or ``TorchMLPClassifier``, a ``Pipeline`` that
            ends with one, or a search over either, whose ``best_estimator_`` is used.
        ax : matplotlib Axes, default=None
            The axes to draw on. None creates a new figure.
        name : str, default=None
            Prefix of the legend entries.
        log_scale : bool, default=False
            Whether the loss axis is logarithmic.
        show_score : bool, default=True
            Whether to draw the validation score, if it was recorded.
        **kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot`` for all lines.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If it is another kind of estimator, or did not complete a single epoch.
        NotFittedError
            If the estimator is not fitted.

        Examples
        --------
        >>> from sklearn.datasets import make_circles
        >>> from skbinary import LossCurveDisplay, TorchMLPClassifier
        >>> X, y = make_circles(1000, noise=0.2, random_state=0)
        >>> model = TorchMLPClassifier(max_iter=20, n_iter_no_change=20, random_state=0)
        >>> display = LossCurveDisplay.from_estimator(model.fit(X, y))
        >>> display.ax_.get_xlabel(), display.ax_score_.get_ylabel()
        ('epoch', 'validation accuracy')
        """
        model = require_classifier(
            estimator, "Pass the curves of another model to LossCurveDisplay(loss=...)."
        )
        solver = getattr(model, "solver_", model.solver)
        display = cls(
            loss=model.loss_curve_,
            validation_loss=model.validation_loss_curve_,
            validation_score=model.validation_scores_,
            best_epoch=None if model.validation_loss_curve_ is None else model.best_epoch_,
            score_name=_score_name(model.monitor),
            unit="epoch" if solver in MINIBATCH_SOLVERS else "iteration",
            name=name,
        )
        return display.plot(ax, log_scale=log_scale, show_score=show_score, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        log_scale: bool = False,
        show_score: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. Curves already on it are kept. None creates a new figure.
        name : str, default=None
            Prefix of the legend entries. None uses the `name` of the display.
        log_scale : bool, default=False
            Whether the loss axis is logarithmic.
        show_score : bool, default=True
            Whether to draw the validation score, if it was recorded.
        **kwargs : dict
            Passed to ``matplotlib.axes.Axes.plot`` for all lines.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no loss.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from skbinary import LossCurveDisplay
        >>> display = LossCurveDisplay(loss=[0.6, 0.4, 0.3]).plot(log_scale=True)
        >>> display.ax_.get_yscale()
        'log'
        """
        curves = {
            "loss": _as_curves(self.loss),
            "validation_loss": _as_curves(self.validation_loss),
            "validation_score": _as_curves(self.validation_score) if show_score else [],
        }
        if not any(len(curve) for curve in curves["loss"]):
            raise ValueError(
                f"loss must contain at least one {self.unit}, got none. Fit the classifier again, "
                "with warm_start=False."
            )
        ax = self._begin(ax)
        right = _score_axes(ax) if curves["validation_score"] else None
        self.ax_score_ = right
        axes = (ax,) if right is None else (ax, right)
        prefix = legend_prefix(self.name if name is None else name)
        is_second = any(_TRAINING in str(line.get_label()) for line in ax.lines)
        colors = unused_colors(len(curves), *axes)
        if prefix or is_second:
            colors = [colors[0]] * len(curves)
        self.lines_ = {}
        for (kind, each), color in zip(curves.items(), colors, strict=True):
            label = prefix + self._label(kind, len(each))
            settings = line_settings(kwargs, color=color, ls=_LINE_STYLES[kind], label=label)
            self.lines_[kind] = _draw(axes[-1 if kind == "validation_score" else 0], each, settings)
        self.lines_["best_epoch"] = self._mark_best_epochs(curves, axes, prefix)
        self._label_axes(axes, log_scale=log_scale)
        place_legend(*axes)
        return self

    def _label(self, kind: str, n_members: int) -> str:
        label = {
            "loss": _TRAINING,
            "validation_loss": "validation loss",
            "validation_score": f"validation {self.score_name} (right)",
        }[kind]
        return label if n_members <= 1 else f"{label}, mean of {n_members}"

    def _mark_best_epochs(
        self, curves: dict[str, list[Array]], axes: tuple[Axes, ...], prefix: str
    ) -> list[Line2D]:
        """Mark the best epochs on the validation curves, or on the loss if there are none."""
        if self.best_epoch is None:
            return []
        best = np.atleast_1d(self.best_epoch)
        kinds = [kind for kind in list(curves)[1:] if curves[kind]] or ["loss"]
        label: str | None = prefix + self._best_label(best, curves[kinds[0]])
        lines = []
        for kind in kinds:
            ax = axes[-1 if kind == "validation_score" else 0]
            points = [
                (epoch, curve[epoch - 1])
                for epoch, curve in zip(best, curves[kind], strict=True)
                if 1 <= epoch <= len(curve)
            ]
            colors = {"mfc": axes[0].get_facecolor(), "mec": self.lines_[kind][-1].get_color()}
            style: dict[str, Any] = {**colors, "zorder": 3, "label": label}
            lines += ax.plot(*zip(*points, strict=True), ls="", marker="o", **style)
            label = None  # one legend entry for both curves
        return lines

    def _best_label(self, best: NDArray[np.intp], curves: list[Array]) -> str:
        if len(best) > 1:
            return f"best {self.unit}s: {best.min()} to {best.max()}"
        if best[0] == len(curves[0]):  # it may have been kept only because it is the last one
            return f"last {self.unit} kept: {best[0]}"
        return f"best {self.unit}: {best[0]}"

    def _label_axes(self, axes: tuple[Axes, ...], *, log_scale: bool) -> None:
        from matplotlib.ticker import MaxNLocator

        ax = axes[0]
        has_other_unit = ax.get_xlabel() not in ("", self.unit)
        ax.set_xlabel("epoch or iteration" if has_other_unit else self.unit)
        ax.set_ylabel("log loss (nats)")
        if ax.get_xscale() == "linear":
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if log_scale:
            ax.set_yscale("log")
            label_log_axis(ax.yaxis)
        ax.spines["top"].set_visible(False)
        ax.spines["right"].set_visible(False)
        for right in axes[1:]:
            label = f"validation {self.score_name}"
            earlier_label = right.get_ylabel()
            right.set_ylabel(label if earlier_label in ("", label) else "validation score")
            right.spines["top"].set_visible(False)
            right.spines["right"].set_color(GREY)


def _score_name(monitor: Any) -> str:
    if isinstance(monitor, str):
        return _DEFAULT_SCORE if monitor == "loss" else monitor
    return getattr(monitor, "__name__", "score")


def _as_curves(values: Any) -> list[Array]:
    """Return a list of one curve, or of one curve for each ensemble member."""
    if values is None:
        return []
    is_ensemble = len(values) > 0 and np.ndim(values[0]) > 0
    return [np.asarray(each, dtype=np.float64) for each in (values if is_ensemble else [values])]


def _draw(ax: Axes, curves: list[Array], settings: dict[str, Any]) -> list[Line2D]:
    """Draw a curve, or thin curves of ensemble members and their mean."""
    lines = []
    if len(curves) > 1:
        thin = {**settings, "linewidth": 0.8, "alpha": 0.4, "label": "_member"}
        for curve in curves:
            lines += ax.plot(np.arange(1, len(curve) + 1), curve, **thin)
    if curves:
        shortest = min(map(len, curves))
        mean = np.mean([curve[:shortest] for curve in curves], axis=0)
        marker = {"marker": "o"} if shortest == 1 else {}  # a line of one point is invisible
        settings = {"linewidth": 2.0, **marker, **settings}
        lines += ax.plot(np.arange(1, shortest + 1), mean, **settings)
    return lines


def _score_axes(ax: Axes) -> Axes:
    """Return the twin axes on the right, which an earlier display may have created."""
    position = ax.get_position(original=True).bounds
    for other in ax.figure.axes:
        is_here = other.get_position(original=True).bounds == position
        if is_here and other.get_label() == _SCORE_AXES:
            return other
    right = ax.twinx()
    right.set_label(_SCORE_AXES)
    # Draw the losses and the legend above the score.
    ax.set_zorder(right.get_zorder() + 1)
    ax.patch.set_visible(False)
    return right
