"""Loss curves as a small SVG picture, for notebooks."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from itertools import groupby

Curve = Sequence[float]

# Blue and vermilion are distinct for colour-blind people, on light and on dark backgrounds. The
# dashes distinguish the curves in greyscale.
_TRAINING = 'stroke="#0072B2"'
_VALIDATION = 'stroke="#D55E00" stroke-dasharray="4 2.5"'
_KEPT = "#D55E00"
_WIDTH, _HEIGHT = 320, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 310, 24, 128
# If the losses span more powers of ten than this, a linear axis shows only the first epochs.
_DECADES = 1.5
_MARGIN = 0.05  # between the curves and the frame, as a fraction of the range of the losses
# The picture is 252 pixels wide between the axes, and more curves or points are not distinct.
_MAX_MEMBERS, _MAX_POINTS, _MAX_POINTS_PER_CURVE = 16, 1600, 250
_STYLE = "max-width:100%;height:auto;display:block;margin:0.4em auto 0;font-family:monospace"


def draw_losses(
    training: Sequence[Curve], validation: Sequence[Curve], kept: Sequence[int], unit: str
) -> str:
    """Draw loss curves.

    The picture has no ids, which would have to be unique on a page.

    Parameters
    ----------
    training, validation : sequence of sequence of float
        A curve for each ensemble member. No validation curves without a validation set.
    kept : sequence of int
        The epoch of each member, counted from 1, whose weights were kept.
    unit : {"epoch", "iteration"}
        Unit of the horizontal axis.

    Returns
    -------
    str
        An ``svg`` element, or an empty string if there is nothing to draw.
    """
    groups = [curves[:_MAX_MEMBERS] for curves in (training, validation)]
    losses = [v for curves in groups for curve in curves for v in curve if math.isfinite(v)]
    if not losses:
        return ""
    n_epochs = max(len(curve) for curves in groups for curve in curves)
    axes = _Axes(losses, n_epochs)
    width = 0.7 if len(training) > 1 else 1.8 if n_epochs > 1 else 5
    n_points = min(_MAX_POINTS_PER_CURVE, _MAX_POINTS // sum(map(len, groups)))
    lines = [
        f'<path d="{axes.path(curve, n_points)}" fill="none" {style} stroke-width="{width}"/>'
        for curves, style in zip(groups, (_TRAINING, _VALIDATION), strict=True)
        for curve in curves
    ]
    marks = axes.marks(groups[1] or groups[0], kept, 3 if len(training) == 1 else 1.8)
    drawn = [*axes.frame(unit), *lines, *marks, *_legend(bool(groups[1]), bool(marks))]
    title = f"Loss over {n_epochs} {unit}{'' if n_epochs == 1 else 's'}"
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'style="{_STYLE}" font-size="11" fill="currentColor" stroke-linecap="round" '
        f'stroke-linejoin="round"><title>{html.escape(title)}</title>'
        f"<desc>{html.escape(_description(training, validation, kept, unit))}</desc>"
        f"{''.join(drawn)}</svg>"
    )


class _Axes:
    """The axes of the picture, and the positions of losses and epochs.

    Parameters
    ----------
    losses : list of float
        All losses that are drawn.
    n_epochs : int
    """

    def __init__(self, losses: list[float], n_epochs: int):
        low, high = min(losses), max(losses)
        self.is_log = low > 0 and math.log10(high) - math.log10(low) > _DECADES
        self.n_epochs = n_epochs
        self.ticks = _decades(low, high) if self.is_log else _steps(low, high)
        self.low, self.high = self._scaled(low), self._scaled(high)
        margin = _MARGIN * (self.high - self.low)
        self.low, self.high = self.low - margin, self.high + margin

    def _scaled(self, loss: float) -> float:
        return math.log10(loss) if self.is_log else loss

    def x(self, epoch: int) -> float:
        fraction = (epoch - 1) / (self.n_epochs - 1) if self.n_epochs > 1 else 0.5
        return _LEFT + fraction * (_RIGHT - _LEFT)

    def y(self, loss: float) -> float:
        height = self.high - self.low
        fraction = (self._scaled(loss) - self.low) / height if height > 0 else 0.5
        return _BOTTOM - fraction * (_BOTTOM - _TOP)

    def path(self, curve: Curve, n_points: int) -> str:
        """Return the path of a curve, with gaps where it is not finite."""
        stride = max(1, math.ceil((len(curve) - 1) / n_points))
        epochs = sorted({*range(1, len(curve) + 1, stride), len(curve)})
        runs = groupby(epochs, lambda epoch: math.isfinite(curve[epoch - 1]))
        lines = ["L".join(self._points(curve, run)) for is_finite, run in runs if is_finite]
        # A line of one point is a dot: it has no length, and round ends.
        return "".join(f"M{each}" if "L" in each else f"M{each}h0" for each in lines)

    def _points(self, curve: Curve, epochs: Iterator[int]) -> Iterator[str]:
        for epoch in epochs:
            yield f"{self.x(epoch):.1f} {self.y(curve[epoch - 1]):.1f}"

    def marks(self, curves: Sequence[Curve], kept: Sequence[int], radius: float) -> list[str]:
        """Return the marks of the epochs that were kept."""
        drawn = []
        for curve, epoch in zip(curves, kept, strict=False):
            if 1 <= epoch <= len(curve) and math.isfinite(curve[epoch - 1]):
                x, y = self.x(epoch), self.y(curve[epoch - 1])
                drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{_KEPT}"/>')
        if len(drawn) == 1 and len(kept) == 1 and kept[0] < self.n_epochs:
            line = f'<path d="M{self.x(kept[0]):.1f} {_TOP}V{_BOTTOM}" {_FAINT} opacity="0.5"/>'
            drawn.insert(0, line)
        return drawn

    def frame(self, unit: str) -> Iterator[str]:
        """Return the lines and labels of the axes."""
        yield f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" {_FAINT} opacity="0.6"/>'
        for tick, label in self.ticks:
            y = self.y(tick)
            yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" {_FAINT} opacity="0.15"/>'
            yield f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{label}</text>'
        below = _BOTTOM + 14
        for epoch, anchor in {self.n_epochs: "end", 1: "middle"}.items():
            yield f'<text x="{self.x(epoch):.1f}" y="{below}" text-anchor="{anchor}">{epoch}</text>'
        middle = (_LEFT + _RIGHT) / 2
        label = html.escape(unit) + (" (log scale)" if self.is_log else "")
        yield f'<text x="{middle}" y="{below + 13}" text-anchor="middle">{label}</text>'


_FAINT = 'stroke="currentColor" stroke-width="1"'


def _legend(has_validation: bool, has_marks: bool) -> Iterator[str]:
    entries = [("training", _TRAINING)] + [("validation", _VALIDATION)] * has_validation
    x = _LEFT
    for label, style in entries:
        yield f'<path d="M{x} 10h16" fill="none" {style} stroke-width="1.8"/>'
        yield f'<text x="{x + 21}" y="13.5">{label}</text>'
        x += 30 + 7 * len(label)
    if has_marks:
        yield f'<circle cx="{x + 3}" cy="10" r="3" fill="{_KEPT}"/>'
        yield f'<text x="{x + 10}" y="13.5">kept</text>'


def _steps(low: float, high: float) -> list[tuple[float, str]]:
    """Return a few round numbers between two others, with their labels."""
    if not high > low:
        return [(low, f"{low:.3g}")]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(i * step, _tick_label(i * step, digits)) for i in range(first, last + 1)]


def _tick_label(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if digits < 6 and abs(value) < 1e5 else f"{value:.3g}"


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    """Return powers of ten between two numbers, and 2 and 5 times them if those are few."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    stride = math.ceil((last - first + 1) / 5)
    ticks = [10.0**k for k in range(first, last + 1, stride)]
    if len(ticks) < 3:
        ticks = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
    return [(tick, f"{tick:.3g}") for tick in ticks if low <= tick <= high]


def _description(
    training: Sequence[Curve], validation: Sequence[Curve], kept: Sequence[int], unit: str
) -> str:
    """Describe the picture, for screen readers."""
    sentences = [f"{len(training)} ensemble members."] if len(training) > 1 else []
    for name, curves in (("Training", training), ("Validation", validation)):
        if curves:
            start, end = (_mean([curve[i] for curve in curves if curve]) for i in (0, -1))
            sentences.append(f"{name} loss from {start:.3g} to {end:.3g}.")
    if kept:
        first, last = min(kept), max(kept)
        which = f"{first}" if first == last else f"{first} to {last}"
        sentences.append(f"The weights of {unit} {which} were kept.")
    return " ".join(sentences)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
