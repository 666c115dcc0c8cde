"""What all displays share: colours, axes, and a free place for the legend."""

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

# Okabe and Ito's colours, and lines and markers for those who see none.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.", (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 3)))
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
GREY = "#7F7F7F"  # as far from white as from black

# Where a legend may be, as shares of the room that is left: at the edges rather than between them.
_PLACES = [(x, y) for x in (1.0, 0.0, 0.5, 0.75, 0.25) for y in (1.0, 0.0, 0.75, 0.5, 0.25)]
_FONT_SIZES = (None, "small", "x-small")  # the first that is narrower than the axes
_ENOUGH_POINTS = 1000
_PADDING = 8  # pixels around a legend, for markers, and lest a little less room be too little
_WIDEST, _HIGHEST = 1.2, 0.5  # legend below the axes, as shares of them
_FEW_DECADES = 3


class Display:
    """A picture whose data are known before it is drawn."""

    ax_: Axes
    figure_: Figure | SubFigure

    def _begin(self, ax: Any, figsize: tuple[float, float] | None = None) -> Axes:
        """Give the axes to draw on, new ones if there are none."""
        name = type(self).__name__
        try:
            import matplotlib.pyplot as plt
            from matplotlib.axes import Axes
        except ImportError:
            raise ImportError(
                f"{name} must have matplotlib to draw. It is not installed. Run "
                "'python -m pip install matplotlib', or use the attributes of the display."
            ) from None
        if ax is None:
            _, ax = plt.subplots(figsize=figsize, layout="constrained")
        if not isinstance(ax, Axes):
            raise TypeError(
                f"ax must be one matplotlib Axes, got {type(ax).__name__}. Take one from "
                "plt.subplots(), or leave it out."
            )
        self.ax_, self.figure_ = ax, ax.figure
        return ax


def line_settings(kwargs: dict[str, Any], **usual: Any) -> dict[str, Any]:
    """Give settings of a line, of which the user's win, whatever their spelling (c, color)."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return {**normalize_kwargs(usual, Line2D), **normalize_kwargs(kwargs, Line2D)}


def free_colours(n_colours: int, *axes: Axes) -> list[str]:
    """Give colours that no line on the axes has, as long as there are any."""
    from matplotlib.colors import to_hex

    used = {to_hex(line.get_color()).upper() for ax in axes for line in ax.lines}
    free = [colour for colour in COLOURS if colour not in used]
    rest = [colour for colour in COLOURS if colour in used]
    return [(free + rest)[k % len(COLOURS)] for k in range(n_colours)]


def name_prefix(name: str | None) -> str:
    """Give what stands before the entries of the legend."""
    return "" if name is None else f"{name}: "


def settle_layout(ax: Axes) -> bool:
    """Let the layout engine of the figure, if there is one, say how large the axes are."""
    engine = ax.figure.get_layout_engine()
    if engine is not None:
        engine.execute(ax.figure.figure)
    return engine is not None


def place_legend(ax: Axes, *others: Axes) -> Legend:
    """Draw one legend for all axes, where it hides no line.

    matplotlib's own "best" place knows the lines of one axes only. Where there is no such place,
    the legend goes below the axes if there is room for it, else where it hides least.

    Parameters
    ----------
    ax : Axes
        Gets the legend.
    *others : Axes
        On the same place, whose lines are in the legend, too.
    """
    every = (ax, *others)
    handles = [handle for each in every for handle in each.get_legend_handles_labels()[0]]
    has_engine = settle_layout(ax)
    settings: dict[str, Any] = {"handles": handles, "framealpha": 0.8, "edgecolor": "none"}
    for fontsize in _FONT_SIZES:
        legend = ax.legend(**settings, fontsize=fontsize, loc="upper right")
        if legend.get_window_extent().width <= ax.bbox.width:
            break
    settings["fontsize"] = fontsize
    n_hidden, corner = _best_place(ax, every, legend.get_window_extent())
    if n_hidden and has_engine:  # which makes room
        for n_columns in (2, 1):
            below = ax.legend(**settings, ncols=n_columns, **_below(ax))
            size = below.get_window_extent()
            if size.width <= _WIDEST * ax.bbox.width and size.height <= _HIGHEST * ax.bbox.height:
                return below
        legend = ax.legend(**settings, loc="upper right")
    legend.set_loc(corner)
    legend.set_in_layout(False)  # it is within the axes, which need no room for it
    return legend


def _below(ax: Axes) -> dict[str, Any]:
    """Give where a legend is that stands below the axes, their ticks and their label."""
    from matplotlib.transforms import ScaledTranslation

    around = ax.xaxis.get_tightbbox()
    taken = 0.0 if around is None else (ax.bbox.y0 - around.y0) / ax.figure.dpi  # inches
    moved = ax.transAxes + ScaledTranslation(0, -taken, ax.figure.dpi_scale_trans)
    return {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": moved}


def _best_place(ax: Axes, every: Sequence[Axes], size: BboxBase) -> tuple[int, tuple[float, float]]:
    """Give how many lines and points a legend hides at its best place, and its lower left corner.

    Shades, over which it can be read, decide only between equals.

    Returns
    -------
    n_hidden : int
    corner : tuple of (float, float)
        As shares of the axes.
    """
    from matplotlib.transforms import Bbox

    for each in every:
        each.get_ylim()  # fits the limits to the data, which matplotlib else does when it draws
    lines = [_moved(line, _thinned(line.get_path())) for each in every for line in each.lines]
    points, shades = _points_and_shades(ax)
    room, margin = ax.bbox, 0.02 * ax.bbox.width

    def corner(place: tuple[float, float]) -> tuple[float, float]:
        right, up = place
        x = room.x0 + margin + right * (room.width - size.width - 2 * margin)
        return x, room.y0 + margin + up * (room.height - size.height - 2 * margin)

    def hidden(place: tuple[float, float]) -> tuple[int, int]:
        box = Bbox.from_bounds(*corner(place), size.width, size.height).padded(_PADDING)
        n_lines = sum(
            path.intersects_bbox(box, filled=False) or box.count_contains(path.vertices) > 0
            for path in lines
        )
        n_points = sum(box.count_contains(each) for each in points)
        return n_lines + n_points, sum(path.intersects_bbox(box) for path in shades)

    best = min(_PLACES, key=hidden)
    x, y = ax.transAxes.inverted().transform(corner(best))
    return hidden(best)[0], (float(x), float(y))


def _points_and_shades(ax: Axes) -> tuple[list[Any], list[Path]]:
    """Give what else is drawn on the axes, in pixels."""
    from matplotlib.collections import PathCollection

    points, shades = [], [_moved(patch, patch.get_path()) for patch in ax.patches]
    for each in ax.collections:
        if isinstance(each, PathCollection):
            points.append(each.get_offset_transform().transform(each.get_offsets()))
        else:
            shades += [_moved(each, path) for path in each.get_paths()]
    return points, shades


def _thinned(path: Path) -> Path:
    """Leave most points of a long line out."""
    from matplotlib.path import Path

    points = np.asarray(path.vertices)
    step = -(-len(points) // _ENOUGH_POINTS)
    return path if step <= 1 else Path(points[::step])


def _moved(artist: Artist, path: Path) -> Path:
    return artist.get_transform().transform_path(path)


def label_log_axis(axis: Axis) -> None:
    """Write plain numbers on a logarithmic axis: 1, 2 and 5 over few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = sorted(axis.get_view_interval())
    subs: Sequence[float] = (1.0, 2.0, 5.0) if high < low * 10**_FEW_DECADES else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
