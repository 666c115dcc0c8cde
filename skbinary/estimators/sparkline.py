"""A small picture of the loss over the epochs, as SVG that stands alone."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from itertools import groupby

Curve = Sequence[float]

# Vermilion and blue that colour-blind people tell apart, and that are seen on light and on dark.
# The dashes tell the curves apart in grey.
_TRAINING = 'stroke="#0072B2"'
_VALIDATION = 'stroke="#D55E00" stroke-dasharray="4 2.5"'
_KEPT = "#D55E00"
_WIDTH, _HEIGHT = 320, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 310, 24, 128
# Beyond so many powers of ten a linear axis shows little but the first epochs.
_DECADES = 1.5
_MARGIN = 0.05  # between the curves and the frame, as a share of what they span
# A picture this small shows no more of them: 250 points lie beside each other.
_MOST_MEMBERS, _MOST_POINTS, _MOST_OF_A_LINE = 16, 1600, 250
_STYLE = "max-width:100%;height:auto;display:block;margin:0.4em auto 0;font-family:monospace"


def sketch(
    training: Sequence[Curve], validation: Sequence[Curve], kept: Sequence[int], unit: str
) -> str:
    """Draw the loss.

    It has no ids, so that several of them do not disturb each other on a page.

    Parameters
    ----------
    training, validation : sequence of sequence of float
        A curve of each member. No validation curves where nothing was held out.
    kept : sequence of int
        The epoch of each member, counted from 1, whose weights were kept.
    unit : str
        What a step along the curves is called.

    Returns
    -------
    str
        An ``svg`` element, or nothing where there is nothing to draw.
    """
    groups = [curves[:_MOST_MEMBERS] for curves in (training, validation)]
    losses = [v for curves in groups for curve in curves for v in curve if math.isfinite(v)]
    if not losses:
        return ""
    n_epochs = max(len(curve) for curves in groups for curve in curves)
    axes = _Axes(losses, n_epochs)
    width = 0.7 if len(training) > 1 else 1.8 if n_epochs > 1 else 5
    most = min(_MOST_OF_A_LINE, _MOST_POINTS // sum(map(len, groups)))
    lines = [
        f'<path d="{axes.path(curve, most)}" fill="none" {look} stroke-width="{width}"/>'
        for curves, look in zip(groups, (_TRAINING, _VALIDATION), strict=True)
        for curve in curves
    ]
    marks = axes.marks(groups[1] or groups[0], kept, 3 if len(training) == 1 else 1.8)
    drawn = [*axes.frame(unit), *lines, *marks, *_legend(bool(groups[1]), bool(marks))]
    title = f"Loss over {n_epochs} {unit}{'' if n_epochs == 1 else 's'}"
    return (
        f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'style="{_STYLE}" font-size="11" fill="currentColor" stroke-linecap="round" '
        f'stroke-linejoin="round"><title>{html.escape(title)}</title>'
        f"<desc>{html.escape(_told(training, validation, kept, unit))}</desc>"
        f"{''.join(drawn)}</svg>"
    )


class _Axes:
    """Where numbers lie in the picture.

    Parameters
    ----------
    losses : list of float
        All that are drawn.
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
        share = (epoch - 1) / (self.n_epochs - 1) if self.n_epochs > 1 else 0.5
        return _LEFT + share * (_RIGHT - _LEFT)

    def y(self, loss: float) -> float:
        span = self.high - self.low
        share = (self._scaled(loss) - self.low) / span if span > 0 else 0.5
        return _BOTTOM - share * (_BOTTOM - _TOP)

    def path(self, curve: Curve, most: int) -> str:
        """Give what draws a curve, with gaps where it is not finite."""
        stride = max(1, math.ceil((len(curve) - 1) / most))
        epochs = sorted({*range(1, len(curve) + 1, stride), len(curve)})
        runs = groupby(epochs, lambda epoch: math.isfinite(curve[epoch - 1]))
        pieces = ["L".join(self._points(curve, run)) for is_finite, run in runs if is_finite]
        # A piece of one point is a dot: a line of no length, with round ends.
        return "".join(f"M{each}" if "L" in each else f"M{each}h0" for each in pieces)

    def _points(self, curve: Curve, epochs: Iterator[int]) -> Iterator[str]:
        for epoch in epochs:
            yield f"{self.x(epoch):.1f} {self.y(curve[epoch - 1]):.1f}"

    def marks(self, curves: Sequence[Curve], kept: Sequence[int], radius: float) -> list[str]:
        """Mark the epochs that were kept."""
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
        """Draw the axes and their numbers."""
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
    for label, look in entries:
        yield f'<path d="M{x} 10h16" fill="none" {look} stroke-width="1.8"/>'
        yield f'<text x="{x + 21}" y="13.5">{label}</text>'
        x += 30 + 7 * len(label)
    if has_marks:
        yield f'<circle cx="{x + 3}" cy="10" r="3" fill="{_KEPT}"/>'
        yield f'<text x="{x + 10}" y="13.5">kept</text>'


def _steps(low: float, high: float) -> list[tuple[float, str]]:
    """Give a few round numbers between two others."""
    if not high > low:
        return [(low, f"{low:.3g}")]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(i * step, _told_number(i * step, digits)) for i in range(first, last + 1)]


def _told_number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if digits < 6 and abs(value) < 1e5 else f"{value:.3g}"


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    """Give a few powers of ten between two numbers, with a half or two where they are near."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    stride = math.ceil((last - first + 1) / 5)
    ticks = [10.0**k for k in range(first, last + 1, stride)]
    if len(ticks) < 3:
        ticks = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
    return [(tick, f"{tick:.3g}") for tick in ticks if low <= tick <= high]


def _told(
    training: Sequence[Curve], validation: Sequence[Curve], kept: Sequence[int], unit: str
) -> str:
    """Say what is drawn, for those who do not see it."""
    said = [f"{len(training)} members."] if len(training) > 1 else []
    for name, curves in (("Training", training), ("Validation", validation)):
        if curves:
            ends = (_mean([curve[at] for curve in curves if curve]) for at in (0, -1))
            start, end = ends
            said.append(f"{name} loss from {start:.3g} to {end:.3g}.")
    if kept:
        first, last = min(kept), max(kept)
        which = f"{first}" if first == last else f"{first} to {last}"
        said.append(f"The weights of {unit} {which} were kept.")
    return " ".join(said)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
