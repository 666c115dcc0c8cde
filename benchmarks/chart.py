"""Draws bars of speed-up: a peer's time divided by skbinary's.

``python -m benchmarks.chart docs`` draws the pictures of the documentation from
``benchmarks/published.json``; ``--results FILE`` takes the ``benchmarks.json`` of another run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.results import Outcome

PUBLISHED = Path(__file__).parent / "published.json"

# A group of bars is a case. The peers of each panel, with Okabe and Ito's colors, which readers
# with color vision deficiency can tell apart. Others are left out: they are slower still.
_BLUE, _ORANGE, _GREEN, _SKY, _GREY = "#0072B2", "#E69F00", "#009E73", "#56B4E9", "#7F7F7F"
_PANELS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, str]]]] = {
    "Networks": (
        ("mlp/",),
        {
            "MLPClassifier": ("MLPClassifier", _BLUE),
            "plain PyTorch": ("plain PyTorch loop", _GREEN),
            "skorch": ("skorch", _ORANGE),
        },
    ),
    "Logistic regression": (
        ("logistic/",),
        {
            "fastest": ("scikit-learn's fastest solver", _SKY),
            "lbfgs": ("scikit-learn's default, lbfgs", _BLUE),
        },
    ),
    "Searches": (
        ("grid/", "many/"),
        {
            "GridSearchCV, MLPClassifier": ("GridSearchCV, MLPClassifier", _BLUE),
            "GridSearchCV, lbfgs": ("GridSearchCV, LogisticRegression", _SKY),
            "GridSearchCV, skorch": ("GridSearchCV, skorch", _ORANGE),
            "GridSearchCV, skbinary": ("GridSearchCV, the same classifier", _GREY),
        },
    ),
}
_SOLVERS = ("lbfgs", "newton-cholesky", "newton-cg", "sag", "saga", "liblinear")

# The first picture of README: what is compared, the case, and the peer.
_HEADLINES = (
    ("Search, 120 network fits", "grid/mlp", "GridSearchCV, MLPClassifier"),
    ("Search, 100 logistic regressions", "grid/logistic", "GridSearchCV, lbfgs"),
    ("Search, 180 fits, several layer sizes", "grid/mixed", "GridSearchCV, MLPClassifier"),
    ("Network, 20,000 x 30", "mlp/table", "MLPClassifier"),
    ("Network, sparse text 5,574 x 8,713", "mlp/text", "MLPClassifier"),
    ("Network, wide layers 100,000 x 100", "mlp/wide", "MLPClassifier"),
    ("Logistic regression, 581,012 x 54", "logistic/covtype", "newton-cholesky"),
    ("Logistic regression, 200,000 x 50", "logistic/dense", "lbfgs"),
    ("Logistic regression, sparse text", "logistic/sms-spam", "sag"),
    ("Predict, network, 1,000,000 rows", "predict/mlp-million-float32", "MLPClassifier"),
)
_PEER_NAMES = {
    "GridSearchCV, MLPClassifier": "GridSearchCV(MLPClassifier)",
    "GridSearchCV, lbfgs": "GridSearchCV(LogisticRegression)",
    "newton-cholesky": "LogisticRegression(newton-cholesky)",
    "lbfgs": "LogisticRegression()",
    "sag": "LogisticRegression(sag)",
    "MLPClassifier": "MLPClassifier",
}

Ratios = dict[str, dict[str, float]]


def load(path: Path) -> Ratios:
    """Read the ratios, skbinary's time divided by the peer's, from the JSON file of a run.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to dict of str to float
        For each case the ratio to each peer.
    """
    ratios: Ratios = {}
    for result in json.loads(path.read_text())["results"]:
        if result["contender"] != "skbinary" and result["ratio"] is not None:
            ratios.setdefault(result["case"], {})[result["contender"]] = result["ratio"]
    return ratios


def draw(outcome: Outcome, path: Path) -> None:
    """Draw the bars of a run.

    Parameters
    ----------
    outcome : Outcome
    path : Path
        Of the PNG file. Nothing is drawn without cases of networks, of logistic regressions or of
        searches.
    """
    draw_all({name: outcome.peer_ratios(name) for name in outcome.shapes}, path)


def draw_all(ratios: Ratios, path: Path) -> None:
    """Draw a panel for networks, one for logistic regressions and one for searches.

    Parameters
    ----------
    ratios : dict of str to dict of str to float
        For each case skbinary's time divided by each peer's.
    path : Path
        Of the PNG file.
    """
    panels = {title: _bars(ratios, *panel) for title, panel in _PANELS.items()}
    panels = {title: bars for title, bars in panels.items() if bars}
    if not panels:
        return
    plt = _pyplot()
    rows = max(sum(len(bars) + 0.8 for bars in cases.values()) for cases in panels.values())
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(5.2 * len(panels), 1.6 + 0.21 * rows),
        layout="constrained",
        squeeze=False,
    )
    for ax, (title, cases) in zip(axes[0], panels.items(), strict=True):
        _draw_panel(ax, title, cases, _PANELS[title][1])
    figure.savefig(path, dpi=120)
    plt.close(figure)


def headlines(ratios: Ratios) -> list[tuple[str, float]]:
    """Give the name and the speed-up of ten cases, against scikit-learn.

    Parameters
    ----------
    ratios : dict of str to dict of str to float
        For each case skbinary's time divided by each peer's.

    Returns
    -------
    list of (str, float)
    """
    return [
        (f"{title}\nvs. {_PEER_NAMES[peer]}", 1 / ratios[case][peer])
        for title, case, peer in _HEADLINES
    ]


def draw_headlines(ratios: Ratios, path: Path) -> None:
    """Draw one bar for each of ten cases, against scikit-learn.

    Parameters
    ----------
    ratios : dict of str to dict of str to float
        For each case skbinary's time divided by each peer's.
    path : Path
        Of the PNG file.
    """
    plt = _pyplot()
    bars = headlines(ratios)
    figure, ax = plt.subplots(figsize=(8, 5.4), layout="constrained")
    names, folds = zip(*bars, strict=True)
    colors = [_BLUE if fold >= 1 else _ORANGE for fold in folds]
    drawn = ax.barh(range(len(bars)), folds, height=0.62, color=colors)
    ax.bar_label(drawn, [f"{fold:.1f}x" for fold in folds], padding=7, backgroundcolor="white")
    ax.set_yticks(range(len(bars)), names, fontsize=8.5)
    ax.set_title("Speed-up over scikit-learn", loc="left")
    _finish(ax, max(folds))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _bars(
    ratios: Ratios, groups: tuple[str, ...], peers: dict[str, tuple[str, str]]
) -> dict[str, dict[str, float]]:
    """Give the speed-ups of the cases of a panel, by peer."""
    cases = {}
    for case, found in ratios.items():
        if not case.startswith(groups) or case.endswith("-float32"):
            continue
        solvers = [found[name] for name in _SOLVERS if name in found]
        known = {**found, **({"fastest": max(solvers)} if solvers else {})}
        bars = {peer: 1 / known[peer] for peer in peers if peer in known}
        if bars:
            cases[case.split("/")[1]] = bars
    return cases


def _draw_panel(
    ax: Axes, title: str, cases: dict[str, dict[str, float]], peers: dict[str, tuple[str, str]]
) -> None:
    place, ticks, labelled = 0.0, [], set()
    for bars in cases.values():
        ticks.append(place + (len(bars) - 1) / 2)
        for peer, fold in bars.items():
            label, color = peers[peer]
            shown = label if label not in labelled else None
            labelled.add(label)
            drawn = ax.barh(place, fold, height=0.9, color=color, label=shown)
            ax.bar_label(drawn, [f"{fold:.1f}x"], padding=2, fontsize=8)
            place += 1
        place += 0.8
    ax.set_yticks(ticks, list(cases))
    ax.set_title(title, loc="left")
    _finish(ax, max(max(bars.values()) for bars in cases.values()))
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize=9)


def _finish(ax: Axes, longest: float) -> None:
    ax.axvline(1, color="#333333", ls=":", lw=1.2, zorder=0)
    ax.set_xlim(0, longest * 1.12)
    ax.invert_yaxis()
    ax.set_xlabel("speed-up (right of 1: skbinary is faster)")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right"]].set_visible(False)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def main() -> int:
    """Draw the pictures of the documentation."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chart", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go, for example docs")
    parser.add_argument("--results", type=Path, default=PUBLISHED, help="the JSON file of a run")
    arguments = parser.parse_args()
    ratios = load(arguments.results)
    draw_all(ratios, arguments.folder / "performance.png")
    draw_headlines(ratios, arguments.folder / "speedup.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
