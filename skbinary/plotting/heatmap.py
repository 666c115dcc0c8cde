"""Scores as colours: cells with numbers in them, or points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skbinary.plotting.axes import settle_layout
from skbinary.plotting.search_results import Scale, best_of_each

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.image import AxesImage

Array = NDArray[np.float64]

BEST = "#D55E00"
_MAP = "cividis"  # whose order colour-blind readers see, and black-and-white prints keep
_NOT_TRIED = "#E5E5E5"
_LARGEST_LETTERS, _SMALLEST_LETTERS = 10.0, 5.5  # points
_LETTER = 0.65  # the width of a digit, as a share of its height
_FREE = 0.8  # the share of a cell that a number may take
_FAR = 3.0


def lowest_colour(scores: Array) -> float:
    """Give the score from which on colours differ.

    A few candidates that have failed shall not take all colours from those that have not: what is
    further below the middle than three times the way from there to the best has the lowest one.
    """
    low, middle, high = np.nanmin(scores), np.nanmedian(scores), np.nanmax(scores)
    return float(max(low, middle - _FAR * (high - middle)) if high > middle else low)


def cells(scales: list[Scale], scores: Array) -> Array:
    """Give the best score for each pair of values, NaN where there is none.

    Returns
    -------
    ndarray of shape (n_values of the second parameter, n_values of the first)
    """
    table = np.full((len(scales[1].labels), len(scales[0].labels)), np.nan)
    for (column, row), candidate in best_of_each([s.place for s in scales], scores).items():
        table[row, column] = scores[candidate]
    return table


def draw_cells(ax: Axes, table: Array, label: str, kwargs: dict[str, Any]) -> AxesImage:
    """Draw a heat map with its colour bar and its numbers."""
    import matplotlib as mpl

    usual = {
        "cmap": mpl.colormaps[_MAP].with_extremes(bad=_NOT_TRIED),
        "origin": "lower",
        "aspect": "auto",
    }
    image = ax.imshow(table, **{**usual, **_limits(table, kwargs), **kwargs})
    add_colour_bar(ax, image, table, label)
    _write_numbers(ax, image, table)
    return image


def draw_points(
    ax: Axes, scales: list[Scale], scores: Array, label: str, kwargs: dict[str, Any]
) -> PathCollection:
    """Draw each candidate as a point, coloured by its score."""
    usual = {"c": scores, "cmap": _MAP, "s": 45, "edgecolors": "black", "linewidths": 0.5}
    x, y = (scale.positions[scale.place] for scale in scales)
    points = ax.scatter(x, y, **{**usual, **_limits(scores, kwargs), **kwargs})
    add_colour_bar(ax, points, scores, label)
    return points


def add_colour_bar(ax: Axes, drawn: AxesImage | PathCollection, scores: Array, label: str) -> None:
    """Draw the colour bar, with an arrow where scores are below it."""
    low, _ = drawn.get_clim()
    below = low is not None and np.nanmin(scores) < low
    ax.figure.colorbar(drawn, ax=ax, label=label, extend="min" if below else "neither")


def _limits(scores: Array, kwargs: dict[str, Any]) -> dict[str, float]:
    """Give where the colours begin, unless the user has said so."""
    return {} if "norm" in kwargs else {"vmin": lowest_colour(scores)}


def _write_numbers(ax: Axes, image: AxesImage, table: Array) -> None:
    """Write the scores into the cells, if they are large enough."""
    low, high = image.get_clim()
    span = float(high) - float(low)
    n_digits = min(max(1 - math.floor(math.log10(span)), 0), 4) if span > 0 else 3
    known = map(tuple, np.argwhere(~np.isnan(table)))
    texts = {cell: f"{table[cell]:.{n_digits}f}" for cell in known}
    settle_layout(ax)
    n_rows, n_columns = table.shape
    width, height = np.array(ax.bbox.size) * 72 / ax.figure.dpi * _FREE / (n_columns, n_rows)
    longest = max(map(len, texts.values()))
    letters = min(_LARGEST_LETTERS, width / (_LETTER * longest), height)
    if letters < _SMALLEST_LETTERS:
        return
    for (row, column), text in texts.items():
        red, green, blue, _ = image.to_rgba(table[row, column])
        is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        colour = "black" if is_light else "white"
        ax.text(column, row, text, c=colour, ha="center", va="center", fontsize=letters)
