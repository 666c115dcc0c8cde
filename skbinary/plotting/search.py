"""The scores of a search over one or two of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skbinary.plotting.axes import (
    LINES,
    MARKERS,
    Display,
    free_colours,
    label_log_axis,
    line_settings,
    name_prefix,
    place_legend,
)
from skbinary.plotting.heatmap import BEST, cells, draw_cells, draw_points
from skbinary.plotting.search_results import USUAL_SCORE, Scale, best_of_each, read_results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import PathCollection
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

Array = NDArray[np.float64]

_KINDS = ("auto", "line", "heatmap", "scatter")
_FEW_LINES, _MANY_POINTS = 3, 4
_MANY_LABELS, _LETTER = 12, 6.5  # of an axis, and the width of a letter in points
_ROOM = 0.07  # the share of an axis that a label takes


class SearchDisplay(Display):
    """The scores of a search over one or two of its parameters.

    Make one with ``from_estimator`` or ``from_cv_results``. Over further parameters the best score
    is taken. In a list of grids, a parameter that a candidate does not set has its value in the
    search's estimator. If the estimator does not have the parameter either, the candidate is left
    out, and the name of the score says how many candidates are drawn.

    Parameters
    ----------
    params : dict of str to list
        One or two names of parameters, and the value that each candidate has.
    scores : array-like of shape (n_candidates,)
        Their mean scores, the greater the better. NaN is left out.
    stds : array-like of shape (n_candidates,), default=None
        The standard deviations of the scores over the folds.
    best_index : int, default=None
        The candidate to mark.
    score_name : str, default="score"
        What the score is.
    others : tuple of str, default=()
        Names of further parameters that vary, over which the best score is taken.
    name : str, default=None
        Stands in the legend before each entry.

    Attributes
    ----------
    ax_ : matplotlib Axes
        That holds the picture.
    figure_ : matplotlib Figure
        That holds the axes.
    kind_ : {"line", "heatmap", "scatter"}
        What was drawn.
    lines_ : list of matplotlib Line2D
        The scores over one parameter, or one line for each value of the second.
    image_ : matplotlib AxesImage or None
        The heat map, the second parameter along the y axis, with the scores in its cells. A grey
        cell has none.
    points_ : matplotlib PathCollection or None
        The candidates over two parameters.
    best_ : matplotlib Artist or None
        What marks the best candidate.

    See Also
    --------
    VectorizedGridSearchCV : A search to draw.
    sklearn.model_selection.ValidationCurveDisplay : Scores over one parameter, without a search.

    Examples
    --------
    >>> from skbinary import SearchDisplay
    >>> display = SearchDisplay(params={"C": [0.1, 1.0, 10.0]}, scores=[0.7, 0.9, 0.8])
    >>> display.plot().ax_.get_xscale()
    'log'
    """

    kind_: str
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
        name: str | None = None,
    ):
        self.params = params
        self.scores = scores
        self.stds = stds
        self.best_index = best_index
        self.score_name = score_name
        self.others = others
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        search: Any,
        *,
        params: Any = None,
        score: str = USUAL_SCORE,
        ax: Any = None,
        name: str | None = None,
        kind: str = "auto",
        **kwargs: Any,
    ) -> Self:
        """Draw the scores of a fitted search.

        Parameters
        ----------
        search : estimator
            A fitted ``VectorizedGridSearchCV``, ``VectorizedRandomizedSearchCV``, or search of
            scikit-learn's.
        params : str or list of str, default=None
            One or two parameters, with or without the names of the steps before them
            (``"clf__alpha"``, ``"alpha"``). None takes those that vary and that all candidates
            have, and of more than two those over which the best score moves most.
        score : str, default="mean_test_score"
            A column of ``cv_results_``, or a metric's name (``"f1"``, ``"train_f1"``). Of several
            metrics the default is the one of ``refit``.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        name : str, default=None
            Stands in the legend before each entry.
        kind : {"auto", "line", "heatmap", "scatter"}, default="auto"
            How to draw, as ``plot`` has it.
        **kwargs : dict
            Settings, as ``plot`` takes them.

        Returns
        -------
        display : SearchDisplay
            Drawn.

        Raises
        ------
        ValueError
            If it is no search, or there are no such parameters or scores in it.
        NotFittedError
            If it is not fitted.

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
        score = _meant_score(search, score)
        best_index = None
        if score == USUAL_SCORE or callable(search.refit):
            best_index = getattr(search, "best_index_", None)
        found = read_results(
            search.cv_results_,
            params,
            score,
            best_index,
            metric=_scorer_name(search) if score == USUAL_SCORE else None,
            estimator=getattr(search, "estimator", None),
        )
        return cls(**found, name=name).plot(ax, kind=kind, **kwargs)

    @classmethod
    def from_cv_results(
        cls,
        cv_results: Any,
        *,
        params: Any = None,
        score: str = USUAL_SCORE,
        ax: Any = None,
        name: str | None = None,
        kind: str = "auto",
        **kwargs: Any,
    ) -> Self:
        """Draw the scores in the results of a search.

        Parameters
        ----------
        cv_results : dict of str to array-like, or data frame
            ``cv_results_`` of a search.
        params : str or list of str, default=None
            One or two parameters, as ``from_estimator`` has them.
        score : str, default="mean_test_score"
            A column, or a metric's name.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        name : str, default=None
            Stands in the legend before each entry.
        kind : {"auto", "line", "heatmap", "scatter"}, default="auto"
            How to draw, as ``plot`` has it.
        **kwargs : dict
            Settings, as ``plot`` takes them.

        Returns
        -------
        display : SearchDisplay
            Drawn.

        Raises
        ------
        ValueError
            If there are no such parameters or scores in it.

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
        found = read_results(cv_results, params, score)
        return cls(**found, name=name).plot(ax, kind=kind, **kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, kind: str = "auto", **kwargs: Any
    ) -> Self:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        name : str, default=None
            Stands in the legend before each entry. None takes that of the display.
        kind : {"auto", "line", "heatmap", "scatter"}, default="auto"
            ``"line"``: over one parameter, with a band of one standard deviation over the folds,
            and one line for each value of the second. ``"heatmap"``: one cell for each pair of
            values. ``"scatter"``: points, for values that were drawn at random and for words.
        **kwargs : dict
            Settings of the lines, the image or the points, as ``plot``, ``imshow`` or ``scatter``
            of ``matplotlib.axes.Axes`` take them.

        Returns
        -------
        display : SearchDisplay
            Drawn.

        Raises
        ------
        ValueError
            If `kind` is none of these, or there are not one or two parameters.
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
        if kind not in _KINDS:
            raise ValueError(
                f"kind must be one of {', '.join(map(repr, _KINDS))}, got {kind!r}. "
                "'auto' chooses by the values that were tried."
            )
        if len(self.params) not in (1, 2) or (kind == "heatmap" and len(self.params) < 2):
            raise ValueError(
                f"params must be {'two' if kind == 'heatmap' else 'one or two'} for kind={kind!r}, "
                f"got {list(self.params)}. Name them in from_estimator(params=...)."
            )
        scales = [Scale.of(values) for values in self.params.values()]
        self.kind_ = self._choose_kind(scales) if kind == "auto" else kind
        figsize = None
        if self.kind_ == "heatmap":
            figsize = (
                max(6.4, 2.0 + 0.62 * len(scales[0].labels)),
                max(4.0, 1.2 + 0.45 * len(scales[1].labels)),
            )
        self._begin(ax, figsize)
        self.lines_, self.image_, self.points_, self.best_ = [], None, None, None
        if self.kind_ == "heatmap":
            self._draw_cells(scales, kwargs)
        elif self.kind_ == "scatter" and len(scales) == 2:
            self._draw_points(scales, kwargs)
        else:
            self._draw_lines(scales, self.name if name is None else name, kwargs)
        return self

    def _choose_kind(self, scales: list[Scale]) -> str:
        n_values = [len(scale.labels) for scale in scales]
        n_candidates = len(scales[0].place)
        if len(scales) == 1:
            by_chance = n_values[0] == n_candidates and bool(self.others)
            return "scatter" if by_chance or scales[0].kind == "words" else "line"
        n_tried = len(best_of_each([scale.place for scale in scales], np.zeros(n_candidates)))
        if n_tried < 0.5 * n_values[0] * n_values[1]:
            return "scatter"
        few = n_values[1] <= _FEW_LINES and n_values[0] >= _MANY_POINTS
        return "line" if few and scales[0].kind != "words" else "heatmap"

    # -- the three kinds --------------------------------------------------------------------

    def _draw_lines(self, scales: list[Scale], name: str | None, kwargs: dict[str, Any]) -> None:
        """Draw the scores over the first parameter, for each value of the second."""
        ax, before = self.ax_, name_prefix(name)
        scores, stds = self._numbers()
        found = best_of_each([scale.place for scale in scales], scores)
        lines: list[tuple[str, tuple[int, ...]]] = [(name or "", ())]
        if len(scales) > 1:
            second = list(self.params)[1]
            lines = [(f"{before}{second}={v}", (k,)) for k, v in enumerate(scales[1].labels)]
        colours = free_colours(len(lines), ax)
        for number, (label, key) in enumerate(lines):
            chosen = np.array([found[pair] for pair in sorted(found) if pair[1:] == key])
            where = scales[0].positions[scales[0].place[chosen]]
            usual = {
                "color": colours[number],
                "ls": LINES[number % len(LINES)] if self.kind_ == "line" else "",
                "marker": MARKERS[number % len(MARKERS)],
                "ms": 5,
                "label": label,
            }
            (line,) = ax.plot(where, scores[chosen], **line_settings(kwargs, **usual))
            self.lines_.append(line)
            if stds is not None and len(lines) <= _FEW_LINES:
                label = "_band" if number else f"{before}one standard deviation"
                self._draw_spread(where, scores[chosen], stds[chosen], label)
        self._mark(scales, before)
        self._label_axes(scales[:1])
        ax.set_ylabel(ax.get_ylabel() or self._score_label())
        place_legend(ax)

    def _draw_spread(self, where: Array, scores: Array, stds: Array, label: str) -> None:
        """Draw what lies within one standard deviation."""
        low, high, colour = scores - stds, scores + stds, self.lines_[-1].get_color()
        if self.kind_ == "line":
            self.ax_.fill_between(where, low, high, color=colour, alpha=0.15, lw=0, label=label)
        else:
            self.ax_.vlines(where, low, high, color=colour, alpha=0.4, lw=1, label=label)

    def _mark(self, scales: list[Scale], before: str) -> None:
        """Mark the best candidate with a star, or a ring around its point."""
        if self.best_index is None:
            return
        scores, _ = self._numbers()
        places = [scale.place[self.best_index] for scale in scales]
        where = [scale.positions[k] for scale, k in zip(scales, places, strict=True)]
        labels = [scale.labels[k] for scale, k in zip(scales, places, strict=True)]
        values = labels[0]
        if len(labels) > 1:
            values = ", ".join(f"{n}={v}" for n, v in zip(self.params, labels, strict=True))
        label = f"{before}best: {scores[self.best_index]:.4g} at {values}"
        style: dict[str, Any] = {"ls": "", "marker": "*", "ms": 15, "mec": "black", "label": label}
        if self.points_ is not None:
            style |= {"marker": "o", "mfc": "none", "mec": BEST, "mew": 2.5}
            (self.best_,) = self.ax_.plot(*where, **style)
            return
        line = self.lines_[places[1] if len(places) > 1 else 0]
        style |= {"c": line.get_color(), "zorder": 4}
        (self.best_,) = self.ax_.plot(where[0], scores[self.best_index], **style)

    def _draw_points(self, scales: list[Scale], kwargs: dict[str, Any]) -> None:
        scores, _ = self._numbers()
        self.points_ = draw_points(self.ax_, scales, scores, self._score_label(), kwargs)
        self._mark(scales, "")
        self._label_axes(scales)
        place_legend(self.ax_)

    def _draw_cells(self, scales: list[Scale], kwargs: dict[str, Any]) -> None:
        from matplotlib.patches import Rectangle

        ax, (scores, _) = self.ax_, self._numbers()
        label = self._score_label()
        if self.best_index is not None:
            column, row = (scale.place[self.best_index] for scale in scales)
            corner = (column - 0.5, row - 0.5)
            self.best_ = Rectangle(corner, 1, 1, fill=False, ec=BEST, lw=3, zorder=3, clip_on=False)
            label += "\nthe best one framed"
        self.image_ = draw_cells(ax, cells(scales, scores), label, kwargs)
        if self.best_ is not None:
            ax.add_patch(self.best_)
        self._label_axes([scale.evenly() for scale in scales])

    # -- words and numbers ------------------------------------------------------------------

    def _numbers(self) -> tuple[Array, Array | None]:
        stds = None if self.stds is None else np.asarray(self.stds, dtype=np.float64)
        return np.asarray(self.scores, dtype=np.float64), stds

    def _score_label(self) -> str:
        if not self.others:
            return self.score_name
        # A point for each candidate is no best of several.
        how = "also varied:" if self._has_all_candidates() else "best over"
        return f"{self.score_name}\n{how} {', '.join(self.others)}"

    def _has_all_candidates(self) -> bool:
        scores, _ = self._numbers()
        places = [Scale.of(values).place for values in self.params.values()]
        return self.kind_ == "scatter" and len(best_of_each(places, scores)) == len(scores)

    def _label_axes(self, scales: list[Scale]) -> None:
        """Write the names of the parameters and the values that were tried."""
        for which, name, scale in zip("xy", self.params, scales, strict=False):
            self.ax_.set(**{f"{which}label": name})
            _set_ticks(self.ax_, which, scale)
        if self.kind_ != "heatmap":
            self.ax_.spines[["top", "right"]].set_visible(False)


def _set_ticks(ax: Axes, which: str, scale: Scale) -> None:
    """Write the values that were tried, or round numbers where they are too many."""
    from matplotlib.ticker import NullLocator

    axis: Axis = getattr(ax, f"{which}axis")
    if scale.kind == "log":
        ax.set(**{f"{which}scale": "log"})
        label_log_axis(axis)
    few = len(scale.labels) <= _MANY_LABELS and scale.are_apart(_ROOM)
    if scale.kind in ("linear", "log") and not few:
        return
    axis.set_ticks(scale.positions, labels=scale.labels)
    axis.set_minor_locator(NullLocator())
    if scale.kind == "words":
        ax.set(**{f"{which}lim": (-0.5, len(scale.labels) - 0.5)})
    width = ax.bbox.width * 72 / ax.figure.dpi
    longest = max(map(len, scale.labels))
    if which == "x" and _LETTER * (longest + 0.5) * len(scale.labels) > width:
        for label in axis.get_ticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")


def _meant_score(search: Any, score: str) -> str:
    """Give the score of ``refit``, where there are several and none was named."""
    several = score == USUAL_SCORE and score not in search.cv_results_
    return search.refit if several and isinstance(search.refit, str) else score


def _scorer_name(search: Any) -> str:
    """Give the name of a search's only metric."""
    scoring = search.scoring
    if isinstance(scoring, str):
        return scoring
    if scoring is None:
        inner = search.estimator
        while isinstance(inner, Pipeline) and inner.steps:
            inner = inner.steps[-1][1]
        return "accuracy" if type(inner).score is ClassifierMixin.score else "score"
    function = getattr(scoring, "_score_func", scoring)
    return getattr(function, "__name__", "score")
