"""Draw skbinary's time divided by that of each peer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colors, and a marker for each contender in case colors cannot be told apart.
_STYLES = {
    "same classifier": ("#CC79A7", "v"),
    "MLPClassifier": ("#56B4E9", "h"),
    "skorch": ("#D55E00", "s"),
    "skorch, callbacks off": ("#E69F00", "D"),
    "plain PyTorch": ("#009E73", "^"),
    "lbfgs": ("#0072B2", "o"),
    "newton-cholesky": ("#009E73", "^"),
    "newton-cg": ("#E69F00", "D"),
    "sag": ("#CC79A7", "v"),
    "saga": ("#D55E00", "s"),
    "liblinear": ("#56B4E9", "P"),
    "cuML": ("#000000", "X"),
}
_GREY = "#555555"


def draw(outcome: Outcome, path: Path) -> None:
    """Draw one panel each for networks, logistic regressions and searches.

    Parameters
    ----------
    outcome : Outcome
    path : Path
        The PNG file. Without such cases, nothing is drawn.
    """
    panels = {
        title: [
            name for name in outcome.shapes if name.startswith(group) and outcome.peer_ratios(name)
        ]
        for title, group in (
            ("Networks", "mlp/"),
            ("Logistic regression", "logistic/"),
            ("Searches (peers: GridSearchCV)", ("grid/", "many/")),
        )
    }
    panels = {title: names for title, names in panels.items() if names}
    if not panels:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    height = 1.6 + 0.32 * max(len(names) for names in panels.values())
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5.5 * len(panels), height), layout="constrained", squeeze=False
    )
    for ax, (title, names) in zip(axes[0], panels.items(), strict=True):
        _draw_panel(ax, outcome, title, names)
        # Half an inch below the axes, whatever the height of the figure.
        ax.legend(
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.5 / (height - 0.8)),
            ncols=3,
        )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_panel(ax: Axes, outcome: Outcome, title: str, names: list[str]) -> None:
    labelled = set()
    for row, name in enumerate(names):
        ax.axhline(row, c="#E5E5E5", lw=0.8, zorder=0)
        for peer, ratio in outcome.peer_ratios(name).items():
            peer = peer.removeprefix("GridSearchCV, ").replace("skbinary", "same classifier")
            color, marker = _STYLES[peer]
            label = None if peer in labelled else peer
            labelled.add(peer)
            ax.plot(ratio, row, c=color, marker=marker, ls="", label=label)
    ax.axvline(1, c=_GREY, ls=":", lw=1.5)
    ax.set_xscale("log")
    ax.set_yticks(range(len(names)), [name.split("/")[1] for name in names])
    ax.invert_yaxis()
    ax.set_title(title, loc="left")
    ax.set_xlabel("time relative to the peer (below 1: skbinary is faster)")
    ax.spines[["top", "right"]].set_visible(False)
