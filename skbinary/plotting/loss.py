"""The loss of a fit over its epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from skbinary.estimators.recipe import MINIBATCH_SOLVERS
from skbinary.plotting.axes import (
    GREY,
    Display,
    free_colours,
    label_log_axis,
    line_settings,
    name_prefix,
    place_legend,
)
from skbinary.plotting.classifier import the_classifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

Array = NDArray[np.float64]

_SCORE_AXIS = "validation score"  # the label by which the axis on the right is found again
_TRAINING = "training loss"  # and by which the curves of an earlier display are
_STYLES = {"loss": "-", "validation_loss": "--", "validation_score": ":"}
# What the score of each epoch is, where the loss is watched.
_USUAL_SCORE = "accuracy"


class LossCurveDisplay(Display):
    """The training and validation loss of a fit over its epochs or iterations.

    The validation score has its own axis on the right. Make one with ``from_estimator``. To compare
    several fits, draw each on the same `ax` and give it a `name`.

    Parameters
    ----------
    loss : list of float, or list of such lists
        Mean loss over the training rows after each epoch, in nats. Several lists are the members
        of one classifier.
    validation_loss : like `loss`, default=None
        The same over the validation rows.
    validation_score : like `loss`, default=None
        A score of the validation rows.
    best_epoch : int or list of int, default=None
        The epoch, counted from 1, whose weights are kept, or one for each member. It is marked on
        the validation curves.
    score_name : str, default="score"
        What the score is: ``"accuracy"``, ``"roc_auc"``.
    unit : {"epoch", "iteration"}, default="epoch"
        What is counted.
    name : str, default=None
        Stands in the legend before the name of each curve. Named curves share one colour and
        differ in their lines, unnamed ones have a colour each.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the losses.
    ax_score_ : matplotlib Axes or None
        With the validation score, on the right. None without it.
    figure_ : matplotlib Figure
        That holds them.
    lines_ : dict of str to list of matplotlib Line2D
        What was drawn for ``"loss"``, ``"validation_loss"``, ``"validation_score"`` and
        ``"best_epoch"``. With members there is a thin line for each, and their mean is last, as
        far as all members go.

    See Also
    --------
    ThresholdDisplay : Metrics over the threshold.
    SearchDisplay : The scores of a search.
    sklearn.model_selection.LearningCurveDisplay : Scores over the number of training rows.

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
        unit: str = "epoch",
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
        """Draw the curves of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted ``TorchLogisticClassifier`` or ``TorchMLPClassifier``, a ``Pipeline`` that
            ends with one, or a search around either, of which the refitted best is taken.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        name : str, default=None
            Stands in the legend before the name of each curve.
        log_scale : bool, default=False
            Whether the axis of the loss is logarithmic.
        show_score : bool, default=True
            Whether to draw the validation score, if there is one.
        **kwargs : dict
            Settings of all lines, as ``matplotlib.axes.Axes.plot`` takes them.

        Returns
        -------
        display : LossCurveDisplay
            Drawn.

        Raises
        ------
        ValueError
            If it is no such estimator, or has not trained for a single epoch.
        NotFittedError
            If it is not fitted.

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
        model = the_classifier(
            estimator, "The curves of another model can be given to LossCurveDisplay(loss=...)."
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
            Where to draw. None makes a new figure. Other curves on it are kept.
        name : str, default=None
            Stands in the legend before the name of each curve. None takes that of the display.
        log_scale : bool, default=False
            Whether the axis of the loss is logarithmic.
        show_score : bool, default=True
            Whether to draw the validation score, if there is one.
        **kwargs : dict
            Settings of all lines, as ``matplotlib.axes.Axes.plot`` takes them.

        Returns
        -------
        display : LossCurveDisplay
            Drawn.

        Raises
        ------
        ValueError
            If there is no loss to draw.
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
                f"loss must hold a number for at least one {self.unit}, got none. The fit "
                "ended before the first one; train from the start, with warm_start=False."
            )
        ax = self._begin(ax)
        right = _score_axes(ax) if curves["validation_score"] else None
        self.ax_score_ = right
        name = self.name if name is None else name
        on_it = (ax,) if right is None else (ax, right)
        labels = [str(line.get_label()) for line in ax.lines]
        one_colour = name is not None or any(_TRAINING in label for label in labels)
        colours = free_colours(len(curves), *on_it)
        self.lines_ = {}
        for (kind, each), colour in zip(curves.items(), colours, strict=True):
            where = right if kind == "validation_score" and right is not None else ax
            label = name_prefix(name) + self._label(kind, len(each))
            settings = line_settings(
                kwargs, color=colours[0] if one_colour else colour, ls=_STYLES[kind], label=label
            )
            self.lines_[kind] = _draw(where, each, settings)
        self.lines_["best_epoch"] = self._mark(curves, on_it, name)
        self._finish(on_it, log_scale=log_scale)
        return self

    def _label(self, kind: str, n_members: int) -> str:
        label = {
            "loss": _TRAINING,
            "validation_loss": "validation loss",
            "validation_score": f"validation {self.score_name} (right)",
        }[kind]
        return label if n_members <= 1 else f"{label}, mean of {n_members}"

    def _mark(
        self, curves: dict[str, list[Array]], axes: tuple[Axes, ...], name: str | None
    ) -> list[Line2D]:
        """Mark the best epochs on the validation curves, or on those of the loss alone."""
        if self.best_epoch is None:
            return []
        best = np.atleast_1d(self.best_epoch)
        marked = [kind for kind in list(curves)[1:] if curves[kind]] or ["loss"]
        label: str | None = name_prefix(name) + self._best_label(best, curves[marked[0]])
        lines = []
        for kind in marked:
            where = axes[-1] if kind == "validation_score" else axes[0]
            found = [
                (epoch, curve[epoch - 1])
                for epoch, curve in zip(best, curves[kind], strict=True)
                if 1 <= epoch <= len(curve)
            ]
            colours = {"mfc": axes[0].get_facecolor(), "mec": self.lines_[kind][-1].get_color()}
            style: dict[str, Any] = {**colours, "zorder": 3, "label": label}
            lines += where.plot(*zip(*found, strict=True), ls="", marker="o", **style)
            label = None  # one entry in the legend is enough
        return lines

    def _best_label(self, best: NDArray[np.intp], curves: list[Array]) -> str:
        if len(best) > 1:
            return f"best {self.unit}s: {best.min()} to {best.max()}"
        if best[0] == len(curves[0]):  # whether it was chosen or is just the last
            return f"last {self.unit} kept: {best[0]}"
        return f"best {self.unit}: {best[0]}"

    def _finish(self, axes: tuple[Axes, ...], *, log_scale: bool) -> None:
        """Write what the axes are."""
        from matplotlib.ticker import MaxNLocator

        ax = axes[0]
        drawn_before = ax.get_xlabel() not in ("", self.unit)
        ax.set_xlabel("epoch or iteration" if drawn_before else self.unit)
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
            before = right.get_ylabel()
            right.set_ylabel(label if before in ("", label) else "validation score")
            right.spines["top"].set_visible(False)
            right.spines["right"].set_color(GREY)
        place_legend(*axes)


def _score_name(monitor: Any) -> str:
    if isinstance(monitor, str):
        return _USUAL_SCORE if monitor == "loss" else monitor
    return getattr(monitor, "__name__", "score")


def _as_curves(values: Any) -> list[Array]:
    """Give one curve, or one for each member."""
    if values is None:
        return []
    several = len(values) > 0 and np.ndim(values[0]) > 0
    return [np.asarray(each, dtype=np.float64) for each in (values if several else [values])]


def _draw(ax: Axes, curves: list[Array], settings: dict[str, Any]) -> list[Line2D]:
    """Draw a curve, or those of all members thinly and their mean as far as all go."""
    lines = []
    if len(curves) > 1:
        thin = {**settings, "linewidth": 0.8, "alpha": 0.4, "label": "_member"}
        for curve in curves:
            lines += ax.plot(np.arange(1, len(curve) + 1), curve, **thin)
    if curves:
        shortest = min(map(len, curves))
        mean = np.mean([curve[:shortest] for curve in curves], axis=0)
        alone = {"marker": "o"} if shortest == 1 else {}
        settings = {"linewidth": 2.0, **alone, **settings}
        lines += ax.plot(np.arange(1, shortest + 1), mean, **settings)
    return lines


def _score_axes(ax: Axes) -> Axes:
    """Give the axis on the right, which an earlier display may have made."""
    place = ax.get_position(original=True).bounds
    for other in ax.figure.axes:
        if other.get_label() == _SCORE_AXIS and other.get_position(original=True).bounds == place:
            return other
    right = ax.twinx()
    right.set_label(_SCORE_AXIS)
    # The losses, and the legend with them, lie on top.
    ax.set_zorder(right.get_zorder() + 1)
    ax.patch.set_visible(False)
    return right
