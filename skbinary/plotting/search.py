"""Scores of a search against one or two of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skbinary.estimators.base import BinaryClassifier
from skbinary.plotting.axes import (
    LINES,
    MARKERS,
    Display,
    label_log_axis,
    legend_prefix,
    line_settings,
    place_legend_outside,
    unused_colors,
)
from skbinary.plotting.heatmap import BEST_COLOR, draw_heatmap, draw_points, score_table
from skbinary.plotting.parameter_axis import ParameterAxis, best_candidates, format_value
from skbinary.plotting.search_results import DEFAULT_SCORE, read_results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import PathCollection
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

Array = NDArray[np.float64]

_Kind: TypeAlias = Literal["auto", "line", "heatmap", "scatter"]
_PLOT_KINDS = get_args(_Kind)
# Up to so many values of the second parameter are lines, if the first one has at least so many.
_MAX_LINES, _MIN_POINTS = 3, 4
_MAX_TICK_LABELS, _LETTER_WIDTH = 12, 6.5  # of an axis; in points
_MIN_TICK_GAP = 0.07  # fraction of an axis


class SearchDisplay(Display):
    """Plot the scores of a search against one or two of its parameters.

    Create a display with ``from_estimator`` or ``from_cv_results``. If more parameters vary, the
    best score over the others is drawn. In a list of grids, a parameter that a candidate does not
    set has the value of the search's estimator; candidates without such a value are left out. Of a
    search by halving, each candidate has the score of its last round.

    Parameters
    ----------
    params : dict of str to list
        Names of one or two parameters, with the value of every candidate.
    scores : array-like of shape (n_candidates,)
        Mean scores of the candidates; greater is better. NaN is not drawn.
    stds : array-like of shape (n_candidates,), default=None
        Standard deviations of the scores over the folds.
    best_index : int, default=None
        Index of the best candidate, which is marked.
    score_name : str, default="score"
        Name of the score.
    others : tuple of str, default=()
        Names of the other parameters that vary.
    n_candidates : int, default=None
        Number of candidates of the search, which is shown if some are left out. None is the
        number of `scores`.
    name : str, default=None
        Prefix of the legend entries.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the axes.
    kind_ : {"line", "heatmap", "scatter"}
        The kind of the plot.
    lines_ : list of matplotlib Line2D
        The line over the first parameter, or one line for each value of the second parameter.
    image_ : matplotlib AxesImage or None
        The heat map, with the second parameter on the y axis and scores in its cells. Cells without
        a score are grey.
    points_ : matplotlib PathCollection or None
        The candidates as points over two parameters.
    best_ : matplotlib Artist or None
        The marker or frame of the best candidate.

    See Also
    --------
    VectorizedGridSearchCV : A grid search.
    sklearn.model_selection.ValidationCurveDisplay : Plot scores against one parameter, without a
        search.

    Examples
    --------
    >>> from skbinary import SearchDisplay
    >>> display = SearchDisplay(params={"C": [0.1, 1.0, 10.0]}, scores=[0.7, 0.9, 0.8])
    >>> display.plot().ax_.get_xscale()
    'log'
    """

    kind_: Literal["line", "heatmap", "scatter"]
    lines_: list[Line2D]
    image_: AxesImage | None
    points_: PathCollection | None
    best_: Any

    def __init__(
        self,
        *,
        params: dict[str, Any],
        scores: Any,
        stds: Any = None,
        best_index: int | None = None,
        score_name: str = "score",
        others: tuple[str, ...] = (),
        n_candidates: int | None = None,
        name: str | None = None,
    ):
        self.params = params
        self.scores = scores
        self.stds = stds
        self.best_index = best_index
        self.score_name = score_name
        self.others = others
        self.n_candidates = n_candidates
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        search: Any,
        *,
        params: Any = None,
        score: str = DEFAULT_SCORE,
        ax: Any = None,
        name: str | None = None,
        kind: _Kind = "auto",
        **kwargs: Any,
    ) -> Self:
        """Plot the scores of a fitted search.

        Parameters
        ----------
        search : estimator
            A fitted ``VectorizedGridSearchCV``, ``VectorizedRandomizedSearchCV`` or search of
            scikit-learn.
        params : str or list of str, default=None
            One or two parameters, with or without the steps of a pipeline (``"clf__alpha"``,
            ``"alpha"``). None selects parameters that vary and that all candidates set; of more
            than two, those over which the best score varies most.
        score : str, default="mean_test_score"
            A column of ``cv_results_``, or the name of a metric (``"f1"``, ``"train_f1"``). With
            several metrics the default is the metric of ``refit``.
        ax : matplotlib Axes, default=None
            The axes to draw on. None creates a new figure.
        name : str, default=None
            Prefix of the legend entries.
        kind : {"auto", "line", "heatmap", "scatter"}, default="auto"
            The kind of the plot; see ``plot``.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : SearchDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If it is not a search, or it has no such parameters or scores.
        NotFittedError
            If the search is not fitted.

        Examples
        --------
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.preprocessing import scale
        >>> from skbinary import SearchDisplay, TorchLogisticClassifier, VectorizedGridSearchCV
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> search = VectorizedGridSearchCV(TorchLogisticClassifier(), {"C": [0.01, 0.1, 1, 10]})
        >>> display = SearchDisplay.from_estimator(search.fit(scale(X), y))
        >>> display.ax_.get_ylabel()
        'accuracy (mean of 5 folds)'
        """
        if not hasattr(search, "cv_results_"):
            if hasattr(search, "refit") and hasattr(search, "fit"):
                check_is_fitted(search)
            raise ValueError(
                f"search must have cv_results_, got {type(search).__name__}. Pass a fitted "
                "VectorizedGridSearchCV, or another search."
            )
        score = _refit_score(search, score)
        best_index = None
        if score == DEFAULT_SCORE or callable(search.refit):
            best_index = getattr(search, "best_index_", None)
        arguments = read_results(
            search.cv_results_,
            params,
            score,
            best_index,
            metric=_scorer_name(search) if score == DEFAULT_SCORE else None,
            estimator=getattr(search, "estimator", None),
        )
        return cls(**arguments, name=name).plot(ax, kind=kind, **kwargs)

    @classmethod
    def from_cv_results(
        cls,
        cv_results: Any,
        *,
        params: Any = None,
        score: str = DEFAULT_SCORE,
        ax: Any = None,
        name: str | None = None,
        kind: _Kind = "auto",
        **kwargs: Any,
    ) -> Self:
        """Plot the scores in the results of a search.

        Parameters
        ----------
        cv_results : dict of str to array-like, or data frame
            ``cv_results_`` of a search.
        params : str or list of str, default=None
            One or two parameters; see ``from_estimator``.
        score : str, default="mean_test_score"
            A column of `cv_results`, or the name of a metric.
        ax : matplotlib Axes, default=None
            The axes to draw on. None creates a new figure.
        name : str, default=None
            Prefix of the legend entries.
        kind : {"auto", "line", "heatmap", "scatter"}, default="auto"
            The kind of the plot; see ``plot``.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : SearchDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there are no such parameters or scores.

        Examples
        --------
        >>> from skbinary import SearchDisplay
        >>> results = {
        ...     "params": [{"C": 0.1}, {"C": 1.0}, {"C": 10.0}],
        ...     "mean_test_f1": [0.7, 0.9, 0.8],
        ... }
        >>> SearchDisplay.from_cv_results(results, score="f1").best_index
        1
        """
        arguments = read_results(cv_results, params, score)
        return cls(**arguments, name=name).plot(ax, kind=kind, **kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, kind: _Kind = "auto", **kwargs: Any
    ) -> Self:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None creates a new figure.
        name : str, default=None
            Prefix of the legend entries. None uses the `name` of the display.
        kind : {"auto", "line", "heatmap", "scatter"}, default="auto"
            ``"line"`` draws lines over the first parameter, one for each value of the second,
            with bands of one standard deviation over the folds. ``"heatmap"`` draws a cell for
            each pair of values. ``"scatter"`` draws points, for randomized searches and for values
            that are not numbers. ``"auto"`` selects one of them by the values of the parameters.
        **kwargs : dict
            Passed to ``plot``, ``imshow`` or ``scatter`` of ``matplotlib.axes.Axes``.

        Returns
        -------
        display : SearchDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `kind` is unknown, or there are not one or two parameters.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from skbinary import SearchDisplay
        >>> params = {"alpha": [1, 1, 9, 9], "tol": [0.1, 0.2, 0.1, 0.2]}
        >>> display = SearchDisplay(params=params, scores=[0.6, 0.7, 0.9, 0.8]).plot()
        >>> display.kind_, display.image_.get_array().tolist()
        ('heatmap', [[0.6, 0.9], [0.7, 0.8]])
        """
        if kind not in _PLOT_KINDS:
            raise ValueError(
                f"kind must be one of {', '.join(map(repr, _PLOT_KINDS))}, got {kind!r}. "
                "'auto' selects the kind by the values of the parameters."
            )
        if len(self.params) not in (1, 2) or (kind == "heatmap" and len(self.params) < 2):
            raise ValueError(
                f"params must be {'two' if kind == 'heatmap' else 'one or two'} for kind={kind!r}, "
                f"got {list(self.params)}. Name them in from_estimator(params=...)."
            )
        axes = [ParameterAxis.from_values(values) for values in self.params.values()]
        self.kind_ = self._select_kind(axes) if kind == "auto" else kind
        figsize = None
        if self.kind_ == "heatmap":
            figsize = (
                max(6.4, 2.0 + 0.62 * len(axes[0].labels)),
                max(4.0, 1.4 + 0.45 * len(axes[1].labels)),
            )
        self._begin(ax, figsize)
        self.lines_, self.image_, self.points_, self.best_ = [], None, None, None
        prefix = legend_prefix(self.name if name is None else name)
        if self.kind_ == "heatmap":
            self._draw_heatmap(axes, prefix, kwargs)
        elif self.kind_ == "scatter" and len(axes) == 2:
            self._draw_points(axes, prefix, kwargs)
        else:
            self._draw_lines(axes, prefix, kwargs)
        return self

    def _select_kind(self, axes: list[ParameterAxis]) -> Literal["line", "heatmap", "scatter"]:
        n_values = [len(axis.labels) for axis in axes]
        n_candidates = len(axes[0].index)
        if len(axes) == 1:
            is_random = n_values[0] == n_candidates and bool(self.others)
            return "scatter" if is_random or axes[0].spacing == "category" else "line"
        n_pairs = len(best_candidates(axes, np.zeros(n_candidates)))
        if n_pairs < 0.5 * n_values[0] * n_values[1]:
            return "scatter"
        few_lines = n_values[1] <= _MAX_LINES and n_values[0] >= _MIN_POINTS
        return "line" if few_lines and axes[0].spacing != "category" else "heatmap"

    # -- lines, points and heat maps --------------------------------------------------------

    def _draw_lines(self, axes: list[ParameterAxis], prefix: str, kwargs: dict[str, Any]) -> None:
        """Draw the scores over the first parameter, with a line for each value of the second."""
        ax = self.ax_
        scores, stds = self._scores_and_stds()
        best = best_candidates(axes, scores)
        lines: list[tuple[str, tuple[int, ...]]] = [(prefix.removesuffix(": "), ())]
        if len(axes) > 1:
            second = list(self.params)[1]
            lines = [(f"{prefix}{second}={v}", (k,)) for k, v in enumerate(axes[1].labels)]
        colors = unused_colors(len(lines), ax)
        for number, (label, key) in enumerate(lines):
            drawn = np.array([best[pair] for pair in sorted(best) if pair[1:] == key])
            x = axes[0].positions[axes[0].index[drawn]]
            defaults = {
                "color": colors[number],
                "ls": LINES[number % len(LINES)] if self.kind_ == "line" else "",
                "marker": MARKERS[number % len(MARKERS)],
                "ms": 5,
                "label": label,
            }
            (line,) = ax.plot(x, scores[drawn], **line_settings(kwargs, **defaults))
            self.lines_.append(line)
            if stds is not None and len(lines) <= _MAX_LINES:
                label = "_band" if number else f"{prefix}one standard deviation"
                self._draw_band(x, scores[drawn], stds[drawn], label)
        self._mark_best(axes, prefix)
        self._label_axes(axes[:1])
        ax.set_ylabel(ax.get_ylabel() or self.score_name)
        place_legend_outside(ax, title=self._note())

    def _draw_band(self, x: Array, scores: Array, stds: Array, label: str) -> None:
        """Draw one standard deviation around the scores."""
        low, high, color = scores - stds, scores + stds, self.lines_[-1].get_color()
        if self.kind_ == "line":
            self.ax_.fill_between(x, low, high, color=color, alpha=0.15, lw=0, label=label)
        else:
            self.ax_.vlines(x, low, high, color=color, alpha=0.4, lw=1, label=label)

    def _draw_points(self, axes: list[ParameterAxis], prefix: str, kwargs: dict[str, Any]) -> None:
        scores, _ = self._scores_and_stds()
        self.points_ = draw_points(self.ax_, axes, scores, self.score_name, kwargs)
        self._mark_best(axes, prefix)
        self._label_axes(axes)
        place_legend_outside(self.ax_, title=self._note())

    def _draw_heatmap(self, axes: list[ParameterAxis], prefix: str, kwargs: dict[str, Any]) -> None:
        from matplotlib.patches import Rectangle

        ax, (scores, _) = self.ax_, self._scores_and_stds()
        note = self._note()
        has_engine = ax.figure.get_layout_engine() is not None
        # Without a layout engine there is no room for a legend beside a heat map.
        label = self.score_name if has_engine or not note else f"{self.score_name}\n{note}"
        self.image_ = draw_heatmap(ax, score_table(axes, scores), label, kwargs)
        if self.best_index is not None:
            column, row = (axis.index[self.best_index] for axis in axes)
            self.best_ = Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                fill=False,
                ec=BEST_COLOR,
                lw=3,
                zorder=3,
                clip_on=False,
                label=self._best_label(prefix),
            )
            ax.add_patch(self.best_)
        self._label_axes([axis.evenly_spaced() for axis in axes])
        if has_engine:
            place_legend_outside(ax, title=note)

    def _mark_best(self, axes: list[ParameterAxis], prefix: str) -> None:
        """Mark the best candidate with a star."""
        if self.best_index is None:
            return
        scores, _ = self._scores_and_stds()
        index = [axis.index[self.best_index] for axis in axes]
        x, *y = [axis.positions[k] for axis, k in zip(axes, index, strict=True)]
        color: Any
        if self.points_ is None:
            color = self.lines_[index[1] if len(index) > 1 else 0].get_color()
            y = [scores[self.best_index]]
        else:
            color = self.points_.to_rgba(scores[self.best_index])
        style: dict[str, Any] = {"mfc": color, "mec": "black", "zorder": 4}
        label = self._best_label(prefix)
        (self.best_,) = self.ax_.plot(x, *y, ls="", marker="*", ms=15, label=label, **style)

    # -- labels -----------------------------------------------------------------------------

    def _scores_and_stds(self) -> tuple[Array, Array | None]:
        stds = None if self.stds is None else np.asarray(self.stds, dtype=np.float64)
        return np.asarray(self.scores, dtype=np.float64), stds

    def _best_label(self, prefix: str) -> str:
        """Return the legend entry of the best candidate."""
        assert self.best_index is not None
        scores, _ = self._scores_and_stds()
        values = [format_value(values[self.best_index]) for values in self.params.values()]
        if len(values) > 1:
            values = [f"{name}={value}" for name, value in zip(self.params, values, strict=True)]
        return f"{prefix}best: {scores[self.best_index]:.3g} at {', '.join(values)}"

    def _note(self) -> str:
        """Return what the legend says about other parameters and candidates that are left out."""
        lines = []
        if self.others:
            # If every candidate is a point, no point is the best of several candidates.
            start = "also varied:" if self._has_all_candidates() else "best over"
            lines.append(f"{start} {', '.join(self.others)}")
        n_drawn = len(self._scores_and_stds()[0])
        if self.n_candidates is not None and n_drawn < self.n_candidates:
            lines.append(f"{n_drawn} of {self.n_candidates} candidates")
        return "\n".join(lines)

    def _has_all_candidates(self) -> bool:
        scores, _ = self._scores_and_stds()
        axes = [ParameterAxis.from_values(values) for values in self.params.values()]
        return self.kind_ == "scatter" and len(best_candidates(axes, scores)) == len(scores)

    def _label_axes(self, axes: list[ParameterAxis]) -> None:
        """Label the axes with the names of the parameters and with their values."""
        for direction, name, axis in zip("xy", self.params, axes, strict=False):
            self.ax_.set(**{f"{direction}label": name})
            _set_ticks(self.ax_, direction, axis)
        if self.kind_ != "heatmap":
            self.ax_.spines[["top", "right"]].set_visible(False)


def _set_ticks(ax: Axes, direction: str, parameter: ParameterAxis) -> None:
    """Put ticks at the values of a parameter, or at round numbers if there are too many."""
    from matplotlib.ticker import NullLocator

    axis: Axis = getattr(ax, f"{direction}axis")
    if parameter.spacing == "log":
        ax.set(**{f"{direction}scale": "log"})
        label_log_axis(axis)
    fits = len(parameter.labels) <= _MAX_TICK_LABELS and parameter.has_gaps_of(_MIN_TICK_GAP)
    if parameter.spacing in ("linear", "log") and not fits:
        return
    axis.set_ticks(parameter.positions, labels=parameter.labels)
    axis.set_minor_locator(NullLocator())
    if parameter.spacing == "category":
        ax.set(**{f"{direction}lim": (-0.5, len(parameter.labels) - 0.5)})
    width = ax.bbox.width * 72 / ax.figure.dpi
    longest = max(map(len, parameter.labels))
    if direction == "x" and _LETTER_WIDTH * (longest + 0.5) * len(parameter.labels) > width:
        for label in axis.get_ticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")


def _refit_score(search: Any, score: str) -> str:
    """Return the score of ``refit`` if there are several metrics and none was named."""
    is_unnamed = score == DEFAULT_SCORE and score not in search.cv_results_
    return search.refit if is_unnamed and isinstance(search.refit, str) else score


def _scorer_name(search: Any) -> str:
    """Return the name of a search's only metric."""
    scoring = search.scoring
    if isinstance(scoring, str):
        return scoring
    if scoring is None:
        inner = search.estimator
        while isinstance(inner, Pipeline) and inner.steps:
            inner = inner.steps[-1][1]
        scores = (ClassifierMixin.score, BinaryClassifier.score)
        return "accuracy" if type(inner).score in scores else "score"
    function = getattr(scoring, "_score_func", scoring)
    return getattr(function, "__name__", "score")
