"""Scores of a search as colors: a heat map with numbers, or points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skbinary.plotting.axes import apply_layout
from skbinary.plotting.parameter_axis import ParameterAxis, best_candidates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.image import AxesImage

Array = NDArray[np.float64]

BEST_COLOR = "#D55E00"
_COLOR_MAP = "cividis"  # its order is visible to color-blind readers, and in black and white
_NO_SCORE_COLOR = "#E5E5E5"
_MAX_FONT_SIZE, _MIN_FONT_SIZE = 10.0, 5.5  # points
_DIGIT_WIDTH = 0.65  # relative to the font size
_MAX_TEXT_FRACTION = 0.8  # of a cell
_MAX_DEVIATION = 3.0


def lower_color_limit(scores: Array) -> float:
    """Return the score below which all scores have the same color.

    Without a limit, a few failed candidates would use up the whole range of colors. Scores have the
    same color if they are further below the median than three times the distance from the median
    to the best score.
    """
    low, middle, high = np.nanmin(scores), np.nanmedian(scores), np.nanmax(scores)
    if high <= middle:
        return float(low)
    return float(max(low, middle - _MAX_DEVIATION * (high - middle)))


def score_table(axes: list[ParameterAxis], scores: Array) -> Array:
    """Return the best score for each pair of values, and NaN where there is none.

    Parameters
    ----------
    axes : list of two ParameterAxis
        The parameters of the x and the y axis.
    scores : ndarray of shape (n_candidates,)
        Scores of the candidates.

    Returns
    -------
    ndarray of shape (n_y_values, n_x_values)
    """
    table = np.full((len(axes[1].labels), len(axes[0].labels)), np.nan)
    for (column, row), candidate in best_candidates(axes, scores).items():
        table[row, column] = scores[candidate]
    return table


def draw_heatmap(ax: Axes, table: Array, label: str, kwargs: dict[str, Any]) -> AxesImage:
    """Draw a heat map with a color bar, and with numbers in its cells if they are large enough."""
    import matplotlib as mpl

    defaults = {
        "cmap": mpl.colormaps[_COLOR_MAP].with_extremes(bad=_NO_SCORE_COLOR),
        "origin": "lower",
        "aspect": "auto",
    }
    image = ax.imshow(table, **{**defaults, **_limits(table, kwargs), **kwargs})
    _add_color_bar(ax, image, table, label)
    _write_numbers(ax, image, table)
    return image


def draw_points(
    ax: Axes, axes: list[ParameterAxis], scores: Array, label: str, kwargs: dict[str, Any]
) -> PathCollection:
    """Draw a point for each candidate, colored by its score, with a color bar."""
    defaults = {"c": scores, "cmap": _COLOR_MAP, "s": 45, "edgecolors": "black", "linewidths": 0.5}
    x, y = (axis.positions[axis.index] for axis in axes)
    points = ax.scatter(x, y, **{**defaults, **_limits(scores, kwargs), **kwargs})
    _add_color_bar(ax, points, scores, label)
    return points


def _add_color_bar(
    ax: Axes, mappable: AxesImage | PathCollection, scores: Array, label: str
) -> None:
    """Add a color bar, with an arrow if there are scores below its range."""
    low, _ = mappable.get_clim()
    has_lower = low is not None and np.nanmin(scores) < low
    ax.figure.colorbar(mappable, ax=ax, label=label, extend="min" if has_lower else "neither")


def _limits(scores: Array, kwargs: dict[str, Any]) -> dict[str, float]:
    """Return the lower limit of the colors, unless the user passed a norm."""
    return {} if "norm" in kwargs else {"vmin": lower_color_limit(scores)}


def _write_numbers(ax: Axes, image: AxesImage, table: Array) -> None:
    """Write the scores into the cells, if they are large enough."""
    low, high = image.get_clim()
    score_range = float(high) - float(low)
    n_digits = min(max(1 - math.floor(math.log10(score_range)), 0), 4) if score_range > 0 else 3
    texts = {
        (row, column): f"{table[row, column]:.{n_digits}f}"
        for row, column in np.argwhere(~np.isnan(table)).tolist()
    }
    apply_layout(ax)
    n_rows, n_columns = table.shape
    cell = np.array(ax.bbox.size) * 72 / ax.figure.dpi / (n_columns, n_rows)  # points
    width, height = cell * _MAX_TEXT_FRACTION
    longest = max(map(len, texts.values()))
    font_size = min(_MAX_FONT_SIZE, width / (_DIGIT_WIDTH * longest), height)
    if font_size < _MIN_FONT_SIZE:
        return
    for (row, column), text in texts.items():
        red, green, blue, _ = image.to_rgba(table[row, column])
        is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        color = "black" if is_light else "white"
        ax.text(column, row, text, c=color, ha="center", va="center", fontsize=font_size)
