"""Base class of the displays, with colors, line styles, axes and the position of legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.legend import Legend
    from matplotlib.path import Path
    from matplotlib.transforms import BboxBase

# The palette of Okabe and Ito, which color-blind readers can tell apart. Lines and markers differ,
# too, so that curves can be told apart without color.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.", (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 3)))
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
GREY = "#7F7F7F"  # visible on light and on dark backgrounds

# Candidate positions of a legend, as fractions of the free width and height, preferred ones first.
_POSITIONS = [(x, y) for x in (1.0, 0.0, 0.5, 0.75, 0.25) for y in (1.0, 0.0, 0.75, 0.5, 0.25)]
_FONT_SIZES = (None, "small", "x-small")  # the first one with which a legend fits is used
_MAX_POINTS = 1000  # of a line, when its overlap with a legend is computed
_PADDING = 8  # pixels between a legend and the curves, about the size of a marker
_MAX_WIDTH, _MAX_HEIGHT = 1.2, 0.5  # of a legend below the axes, as fractions of the axes
_FEW_DECADES = 3  # below this the ticks of a logarithmic axis are at 1, 2 and 5


class Display:
    """Base class of the displays: plots of data that was computed before."""

    ax_: Axes
    figure_: Figure | SubFigure

    def _begin(self, ax: Any, figsize: tuple[float, float] | None = None) -> Axes:
        """Return the axes to draw on, and create a new figure if `ax` is None."""
        name = type(self).__name__
        try:
            import matplotlib.pyplot as plt
            from matplotlib.axes import Axes
        except ImportError:
            raise ImportError(
                f"matplotlib must be installed to draw a {name}, got none. Run 'python -m pip "
                "install matplotlib', or use the attributes of the display."
            ) from None
        if ax is None:
            _, ax = plt.subplots(figsize=figsize, layout="constrained")
        if not isinstance(ax, Axes):
            raise TypeError(
                f"ax must be one matplotlib Axes, got {type(ax).__name__}. Create one with "
                "plt.subplots(), or leave it out."
            )
        self.ax_, self.figure_ = ax, ax.figure
        return ax


def line_settings(kwargs: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Merge the user's line properties, of which some may be aliases (c, lw), with defaults."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return {**normalize_kwargs(defaults, Line2D), **normalize_kwargs(kwargs, Line2D)}


def unused_colors(n_colors: int, *axes: Axes) -> list[str]:
    """Return colors that no line on the axes has, followed by used ones if there are too few."""
    from matplotlib.colors import to_hex

    used = {to_hex(line.get_color()).upper() for ax in axes for line in ax.lines}
    ordered = sorted(COLORS, key=lambda color: color in used)
    return [ordered[k % len(COLORS)] for k in range(n_colors)]


def legend_prefix(name: str | None) -> str:
    """Return the text before each legend entry of a named display."""
    return "" if name is None else f"{name}: "


def apply_layout(ax: Axes) -> bool:
    """Run the layout engine of the figure, and return whether there is one."""
    engine = ax.figure.get_layout_engine()
    if engine is not None:
        engine.execute(ax.figure.figure)
    return engine is not None


def place_legend(ax: Axes, *others: Axes, title: str = "") -> Legend:
    """Draw one legend for several axes, in a position where it covers no curve.

    matplotlib's ``loc="best"`` considers the curves of one axes only. If there is no free position,
    the legend goes below the axes if the layout engine can make room for it, and otherwise to the
    position where it covers the fewest curves.

    Parameters
    ----------
    ax : Axes
        The axes that the legend belongs to.
    *others : Axes
        Axes in the same place, such as twin axes, whose curves are included in the legend.
    title : str, default=""
        The title of the legend.

    Returns
    -------
    Legend
    """
    axes = (ax, *others)
    handles = [handle for each in axes for handle in each.get_legend_handles_labels()[0]]
    has_engine = apply_layout(ax)
    settings: dict[str, Any] = {"framealpha": 0.8, "edgecolor": "none", "title": title or None}
    settings["handles"] = handles
    for fontsize in _FONT_SIZES:
        legend = ax.legend(**settings, fontsize=fontsize, loc="upper right")
        if legend.get_window_extent().width <= ax.bbox.width:
            break
    settings["fontsize"] = fontsize
    n_covered, corner = _best_position(ax, axes, legend.get_window_extent())
    if n_covered and has_engine:
        for n_columns in (2, 1):
            below = ax.legend(**settings, ncols=n_columns, **_below_axes(ax))
            size = below.get_window_extent()
            if size.width <= _width_below(ax) and size.height <= _MAX_HEIGHT * ax.bbox.height:
                return below
        legend = ax.legend(**settings, loc="upper right")
    legend.set_loc(corner)
    legend.set_in_layout(False)  # inside the axes it needs no room of its own
    return legend


def place_legend_outside(ax: Axes, title: str = "") -> None:
    """Draw the legend below the axes, if the layout engine can make room for it.

    Without a layout engine it is drawn inside, as by ``place_legend``.

    Parameters
    ----------
    ax : Axes
        The axes that the legend belongs to.
    title : str, default=""
        The title of the legend.
    """
    handles = ax.get_legend_handles_labels()[0]
    if not handles and not title:
        return
    if not apply_layout(ax):
        place_legend(ax, title=title)
        return
    settings: dict[str, Any] = {"handles": handles, "title": title, "edgecolor": "none"}
    for n_columns in (3, 2, 1):
        for fontsize in _FONT_SIZES if n_columns == 1 else _FONT_SIZES[:2]:
            sizes: dict[str, Any] = {"fontsize": fontsize, "title_fontsize": fontsize}
            legend = ax.legend(**settings, **sizes, ncols=n_columns, **_below_axes(ax))
            if legend.get_window_extent().width <= _width_below(ax):
                return


def _width_below(ax: Axes) -> float:
    """Return how wide a legend that is centered below the axes can be, in pixels."""
    center = (ax.bbox.x0 + ax.bbox.x1) / 2
    figure = ax.figure.bbox
    inside_figure = 2 * min(center - figure.x0, figure.x1 - center) - 2 * _PADDING
    return float(min(_MAX_WIDTH * ax.bbox.width, inside_figure))


def _below_axes(ax: Axes) -> dict[str, Any]:
    """Return the arguments that put a legend below the axes, their ticks and their label."""
    from matplotlib.transforms import ScaledTranslation

    x_axis = ax.xaxis.get_tightbbox()
    height = 0.0 if x_axis is None else (ax.bbox.y0 - x_axis.y0) / ax.figure.dpi  # inches
    shifted = ax.transAxes + ScaledTranslation(0, -height, ax.figure.dpi_scale_trans)
    return {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": shifted}


def _best_position(
    ax: Axes, axes: Sequence[Axes], size: BboxBase
) -> tuple[int, tuple[float, float]]:
    """Find the position where a legend covers the fewest lines and points.

    Shaded areas, over which a legend can be read, only break ties.

    Returns
    -------
    n_covered : int
        Number of lines and points that it covers there.
    corner : tuple of (float, float)
        Its lower left corner, as fractions of the axes.
    """
    from matplotlib.transforms import Bbox

    for each in axes:
        each.get_ylim()  # fits the limits to the data, which matplotlib postpones until it draws
    lines = [_in_pixels(line, _thinned(line.get_path())) for each in axes for line in each.lines]
    points, areas = _points_and_areas(ax)
    available, margin = ax.bbox, 0.02 * ax.bbox.width

    def corner(position: tuple[float, float]) -> tuple[float, float]:
        right, up = position
        x = available.x0 + margin + right * (available.width - size.width - 2 * margin)
        return x, available.y0 + margin + up * (available.height - size.height - 2 * margin)

    def count_covered(position: tuple[float, float]) -> tuple[int, int]:
        box = Bbox.from_bounds(*corner(position), size.width, size.height).padded(_PADDING)
        n_lines = sum(
            path.intersects_bbox(box, filled=False) or box.count_contains(path.vertices) > 0
            for path in lines
        )
        n_points = sum(box.count_contains(each) for each in points)
        return n_lines + n_points, sum(path.intersects_bbox(box) for path in areas)

    best = min(_POSITIONS, key=count_covered)
    x, y = ax.transAxes.inverted().transform(corner(best))
    return count_covered(best)[0], (float(x), float(y))


def _points_and_areas(ax: Axes) -> tuple[list[Any], list[Path]]:
    """Return the points and the shaded areas on the axes, in pixels."""
    from matplotlib.collections import PathCollection

    points, areas = [], [_in_pixels(patch, patch.get_path()) for patch in ax.patches]
    for each in ax.collections:
        if isinstance(each, PathCollection):
            points.append(each.get_offset_transform().transform(each.get_offsets()))
        else:
            areas += [_in_pixels(each, path) for path in each.get_paths()]
    return points, areas


def _thinned(path: Path) -> Path:
    """Remove most points of a long line."""
    from matplotlib.path import Path

    points = np.asarray(path.vertices)
    step = -(-len(points) // _MAX_POINTS)
    return path if step <= 1 else Path(points[::step])


def _in_pixels(artist: Artist, path: Path) -> Path:
    return artist.get_transform().transform_path(path)


def label_log_axis(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, at 1, 2 and 5 if it spans few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = sorted(axis.get_view_interval())
    subs: Sequence[float] = (1.0, 2.0, 5.0) if high < low * 10**_FEW_DECADES else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
