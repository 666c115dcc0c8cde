"""Dropout: the factors that switch hidden units off in training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

# How many factors of a model are drawn at once where those of several steps are: 4 MiB.
_NUMBERS_AHEAD = 1 << 20


class Dropout:
    """Noise that switches hidden units off: Srivastava et al., "Dropout", 2014.

    Parameters
    ----------
    rates : tuple of float
        Share of each hidden layer's outputs that is set to zero. What is left is scaled up by
        ``1 / (1 - rate)``, so that nothing is to be done when scoring.
    generator : torch.Generator
        Where the noise comes from.
    """

    def __init__(self, rates: tuple[float, ...], generator: torch.Generator):
        self.rates = rates
        self.generator = generator
        self._masks: dict[int, DropoutMasks] = {}

    def sibling(self) -> Dropout:
        """Make another one, whose noise comes from a generator of its own."""
        seed = int(torch.randint(2**62, (), generator=self.generator, device=self.generator.device))
        generator = torch.Generator(self.generator.device).manual_seed(seed)
        return Dropout(self.rates, generator)

    def copy(self) -> Dropout:
        """Make another one, whose noise is the same from here on."""
        return Dropout(self.rates, self.generator.clone_state())

    def draw(self, n_rows: int, widths: tuple[int, ...], like: Tensor) -> list[Tensor]:
        """Draw the masks of a step, (n_rows, n_units) each, which the next call overwrites.

        Parameters
        ----------
        n_rows : int
            Rows of the batch.
        widths : tuple of int
            Units of each hidden layer.
        like : Tensor
            Has the type and the device of the masks.
        """
        if n_rows not in self._masks:
            self._masks[n_rows] = DropoutMasks([self], n_rows, widths, like)
        return [each[0] for each in self._masks[n_rows].draw()]


class DropoutMasks:
    """Draws the masks of several models for batches of one size, into buffers made once.

    Parameters
    ----------
    dropouts : sequence of Dropout
        One for each model. Each draws what it would draw alone.
    n_rows : int
        Rows of a batch.
    widths : tuple of int
        Units of each hidden layer.
    like : Tensor
        Has the type and the device of the masks.
    """

    def __init__(
        self, dropouts: Sequence[Dropout], n_rows: int, widths: tuple[int, ...], like: Tensor
    ):
        self._dropouts = dropouts
        self._n_rows = n_rows
        self._widths = widths
        n = len(dropouts)
        self._masks = [like.new_empty(n, n_rows, width) for width in widths]
        self._flat = [each.view(n, -1) for each in self._masks]
        # Four switches are read off one random number of 64 bits, which takes a third of the time.
        self._ends = list(accumulate(-(-n_rows * width // 4) for width in widths))
        self._words = torch.zeros(n, self._ends[-1], dtype=torch.int64)
        self._rows = list(self._words.unbind(0))
        starts = [0, *self._ends[:-1]]
        self._bits = [
            self._words[:, a:b].view(torch.int16)[:, : n_rows * width]
            for a, b, width in zip(starts, self._ends, widths, strict=True)
        ]
        self._starts = starts
        rates = [each.rates for each in dropouts]
        self._keeps = [[1 - own[layer] for own in rates] for layer in range(len(widths))]

    def draw(self, n_own: Sequence[int] | None = None) -> list[Tensor]:
        """Draw the masks of a step.

        Parameters
        ----------
        n_own : sequence of int or None, default=None
            How many of the rows each model has. Nothing is drawn for the others, which only fill up
            its batch, and would put its generator ahead of where it is alone. None for all rows.

        Returns
        -------
        list of Tensor of shape (n_models, n_rows, n_units)
            0 or ``1 / (1 - rate)``. The next call overwrites them.
        """
        if self._masks[0].device.type != "cpu":
            self._draw_floats(n_own or [self._n_rows] * len(self._dropouts))
            return self._masks
        if n_own is None:
            for words, each in zip(self._rows, self._dropouts, strict=True):
                words.random_(-(2**63), None, generator=each.generator)
        else:
            self._draw_words(n_own)
        for bits, keeps, flat in zip(self._bits, self._keeps, self._flat, strict=True):
            if len(set(keeps)) == 1:
                _switch(bits, keeps[0], flat)
            else:
                for own_bits, keep, own in zip(bits, keeps, flat, strict=True):
                    _switch(own_bits, keep, own)
        return self._masks

    def _draw_words(self, n_own: Sequence[int]) -> None:
        for words, each, n in zip(self._rows, self._dropouts, n_own, strict=True):
            for start, width in zip(self._starts, self._widths, strict=True):
                own = words[start : start + -(-n * width // 4)]
                own.random_(-(2**63), None, generator=each.generator)

    def _draw_floats(self, n_own: Sequence[int]) -> None:
        for masks, keeps in zip(self._masks, self._keeps, strict=True):
            for own, keep, each, n in zip(masks, keeps, self._dropouts, n_own, strict=True):
                own[:n].bernoulli_(keep, generator=each.generator)
                own[n:] = 0
            if len(set(keeps)) == 1:
                masks.div_(keeps[0])
            else:
                for own, keep in zip(masks, keeps, strict=True):
                    own.div_(keep)


def _switch(bits: Tensor, keep: float, out: Tensor) -> None:
    """Write 0 or one over the chance that it is not 0, which is `keep` to 2 ** -17."""
    if keep == 1:
        out.fill_(1)
        return
    # Of the 65,536 values of 16 bits, the lowest are the ones that are kept. Truth as a number is
    # written in a third of the time of truth as such.
    n_kept = min(max(round(keep * 65536), 1), 65535)
    torch.lt(bits, n_kept - 32768, out=out)
    out.mul_(65536 / n_kept)


class NoiseAhead:
    """The factors of whole steps of several models, drawn some steps ahead.

    A GPU takes as long for a call as for a hundred thousand numbers, and a step that is recorded
    cannot draw without telling the generators at every replay. How far ahead does not depend on
    how many models there are, so that each has the noise that it would have alone.

    Parameters
    ----------
    dropouts : sequence of Dropout
        One for each model. All have as many rates as there are layers.
    n_rows : int
        Rows of a batch.
    widths : tuple of int
        Units of each hidden layer.
    like : Tensor
        Has the type and the device of the factors.

    Attributes
    ----------
    n_numbers : int
        Factors of a model in a step.
    """

    def __init__(
        self, dropouts: Sequence[Dropout], n_rows: int, widths: tuple[int, ...], like: Tensor
    ):
        self.dropouts = list(dropouts)
        self._ends = list(accumulate(n_rows * width for width in widths))
        self.n_numbers = self._ends[-1]
        self._n_steps = _n_steps_ahead(self.n_numbers)
        self._like = like
        self._keeps = 1 - like.new_tensor([each.rates for each in self.dropouts])
        self._drawn = like.new_empty(0)
        self._next = self._n_steps

    def next(self) -> Tensor:
        """Give the factors of the next step, of shape (n_models, n_numbers), layer after layer.

        What belongs to a layer is (n_rows, n_units), row by row.
        """
        if self._next == self._n_steps:
            self._drawn, self._next = self._draw(), 0
        self._next += 1
        return self._drawn[:, self._next - 1]

    def keep(self, places: Sequence[int]) -> None:
        """Go on with some of the models."""
        self.dropouts = [self.dropouts[i] for i in places]
        self._keeps = self._keeps[places]
        if self._drawn.ndim > 1:
            self._drawn = self._drawn[places]

    def of_layers(self, factors: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
        """Give views of the factors as each layer multiplies with them.

        Parameters
        ----------
        factors : Tensor of shape (n_models, n_numbers)
            In memory without gaps.
        shapes : sequence of shape
            Of each layer's outputs: (n_rows, n_units) or (n_models, n_rows, n_units).
        """
        bounds = zip([0, *self._ends], self._ends, strict=False)
        return [factors[:, a:b].view(s) for (a, b), s in zip(bounds, shapes, strict=True)]

    def _draw(self) -> Tensor:
        drawn = self._like.new_empty(len(self.dropouts), self._n_steps, self.n_numbers)
        for own, each in zip(drawn, self.dropouts, strict=True):
            own.uniform_(generator=each.generator)
        # A uniform number is below 1, so that a rate of 0 keeps every unit.
        for layer, (begin, end) in enumerate(zip([0, *self._ends], self._ends, strict=False)):
            part, keep = drawn[:, :, begin:end], self._keeps[:, layer, None, None]
            torch.lt(part, keep, out=part)
            part.div_(keep)
        return drawn


def bytes_ahead(n_rows: int, widths: tuple[int, ...]) -> int:
    """Tell what ``NoiseAhead`` holds for a model."""
    n_numbers = n_rows * sum(widths)
    return 4 * n_numbers * _n_steps_ahead(n_numbers)


def _n_steps_ahead(n_numbers: int) -> int:
    return max(1, _NUMBERS_AHEAD // n_numbers)
