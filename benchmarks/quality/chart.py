"""Draw the mean log loss and the fit time of each model as bars."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.quality.markdown import Record, distinct, select, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Two colors of Okabe and Ito that people with any color vision can tell apart.
_OURS, _OTHERS = "#0072B2", "#BBBBBB"


def draw(records: list[Record], path: Path) -> None:
    """Write a PNG file with two bar charts.

    Parameters
    ----------
    records : list of Record
        See `probabilities.measure`.
    path : Path
        Where the file is written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    models, tables = distinct(records, "contender"), distinct(records, "table")
    losses, seconds = [], []
    for model in models:
        own = [select(records, contender=model, table=name) for name in tables]
        each = [summary(fits, "log_loss") for fits in own]
        times = [summary(fits, "seconds", median) for fits in own]
        losses.append(sum(filter(None, each)) / len(tables))
        seconds.append(sum(filter(None, times)))
    height = 1.2 + 0.35 * len(models)
    figure, axes = plt.subplots(1, 2, figsize=(10, height), sharey=True, layout="constrained")
    _draw_bars(axes[0], models, losses, "Mean log loss (nats), lower is better", digits=4)
    _draw_bars(axes[1], models, seconds, "Seconds of all fits, lower is better", digits=2)
    axes[0].invert_yaxis()  # shared by both
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_bars(
    ax: Axes, models: list[str], values: list[float], title: str, *, digits: int
) -> None:
    colors = [_OURS if model.startswith("skbinary") else _OTHERS for model in models]
    bars = ax.barh(models, values, color=colors)
    ax.bar_label(bars, fmt=f"%.{digits}f", padding=3)
    ax.margins(x=0.2)
    ax.set_title(title, loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
