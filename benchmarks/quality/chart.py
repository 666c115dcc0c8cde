"""Draw the mean log loss and the CPU time of each model, by the number of training rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.quality.markdown import Record
from benchmarks.quality.pipeline_models import CATBOOST, SKBINARY
from benchmarks.quality.pipeline_report import size_means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A color of Okabe and Ito, and a grey, that people with any color vision can tell apart.
_OURS, _OTHERS = "#0072B2", "#BBBBBB"


def draw(records: list[Record], path: Path) -> None:
    """Write a PNG file with two bar charts for each number of training rows.

    Parameters
    ----------
    records : list of Record
        See `pipelines.measure`.
    path : Path
        Where the file is written. Nothing is drawn if there is no split that all models have.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    sizes = {rows: means for rows, means in size_means(records).items() if means}
    if not sizes:
        return
    heights = [1 + len(means) for means in sizes.values()]
    figure, axes = plt.subplots(
        len(sizes),
        2,
        figsize=(7.2, 0.5 + 0.22 * sum(heights)),
        sharex="col",
        squeeze=False,
        height_ratios=heights,
        layout="constrained",
    )
    for (left, right), (rows, means) in zip(axes, sizes.items(), strict=True):
        models = sorted(means, key=lambda name: means[name]["log_loss"], reverse=True)
        time = "cpu_ratio" if CATBOOST in means else "cpu_seconds"
        _draw_bars(left, models, [means[name]["log_loss"] for name in models], digits=4)
        _draw_bars(right, models, [means[name][time] for name in models], digits=2)
        left.set_title(f"{rows:,} training rows", loc="left", fontsize="medium", weight="bold")
        right.tick_params(labelleft=False)
    unit = f"CPU time, {CATBOOST} = 1" if time == "cpu_ratio" else "CPU seconds"
    axes[-1, 0].set_xlabel("mean log loss (nats), lower is better")
    axes[-1, 1].set_xlabel(f"{unit}, lower is better")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_bars(ax: Axes, models: list[str], values: list[float], *, digits: int) -> None:
    colors = [_OURS if model == SKBINARY else _OTHERS for model in models]
    bars = ax.barh(models, values, color=colors)
    ax.bar_label(bars, fmt=f"%.{digits}f", padding=3, fontsize="small")
    ax.margins(x=0.2, y=0.02)
    ax.tick_params(axis="y", labelsize="small", length=0)
    ax.spines[["top", "right"]].set_visible(False)
