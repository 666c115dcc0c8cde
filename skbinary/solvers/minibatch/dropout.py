"""Dropout masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

# Values per model that are drawn at once when masks are drawn for several steps: 4 MiB.
_PREFETCHED_VALUES = 1 << 20


class Dropout:
    """Draws the dropout masks of a model.

    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: a simple way to prevent
    neural networks from overfitting", 2014. As in ``torch.nn.Dropout``, the outputs that are kept
    are multiplied by ``1 / (1 - rate)``, so that nothing is to be done at prediction.

    Parameters
    ----------
    rates : tuple of float
        Fraction of each hidden layer's outputs that is set to zero, in [0, 1).
    generator : torch.Generator
        Draws the masks.
    n_used : int, default=0
        If masks are drawn for several steps at once, the number of steps of the next ones that
        were made before.
    """

    def __init__(self, rates: tuple[float, ...], generator: torch.Generator, n_used: int = 0):
        self.rates = rates
        self.generator = generator
        self.n_used = n_used
        self._masks: dict[int, DropoutMasks] = {}

    def spawn(self) -> Dropout:
        """Return a new ``Dropout`` with a generator of its own, seeded by this one's."""
        seed = int(torch.randint(2**62, (), generator=self.generator, device=self.generator.device))
        generator = torch.Generator(self.generator.device).manual_seed(seed)
        return Dropout(self.rates, generator)

    def copy(self) -> Dropout:
        """Return a copy that draws the same masks from here on."""
        return Dropout(self.rates, self.generator.clone_state(), self.n_used)

    def snapshot(self) -> dict[str, Any]:
        """Return the state of the generator, which ``restore`` takes."""
        return {"generator": self.generator.get_state(), "n_used": self.n_used}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the masks after a ``snapshot()``."""
        self.generator.set_state(state["generator"])
        self.n_used = state["n_used"]

    def draw(self, n_rows: int, widths: tuple[int, ...], like: Tensor) -> list[Tensor]:
        """Draw the masks of a step.

        Parameters
        ----------
        n_rows : int
            Number of rows of the batch.
        widths : tuple of int
            Number of units of each hidden layer.
        like : Tensor
            Has the dtype and the device of the masks.

        Returns
        -------
        list of Tensor of shape (n_rows, n_units)
            One for each hidden layer. The next call overwrites them.
        """
        if n_rows not in self._masks:
            self._masks[n_rows] = DropoutMasks([self], n_rows, widths, like)
        return [each[0] for each in self._masks[n_rows].draw()]


class DropoutMasks:
    """Draws the masks of several models for batches of one size, in buffers allocated once.

    Parameters
    ----------
    dropouts : sequence of Dropout
        One for each model. Each draws what it would draw for a single model.
    n_rows : int
        Number of rows of a batch.
    widths : tuple of int
        Number of units of each hidden layer.
    like : Tensor
        Has the dtype and the device of the masks.
    """

    def __init__(
        self, dropouts: Sequence[Dropout], n_rows: int, widths: tuple[int, ...], like: Tensor
    ):
        self._dropouts = dropouts
        self._n_rows = n_rows
        self._widths = widths
        n_models = len(dropouts)
        self._masks = [like.new_empty(n_models, n_rows, width) for width in widths]
        self._flat_masks = [each.view(n_models, -1) for each in self._masks]
        # One random integer of 64 bits decides on four units, which takes a third of the time of
        # four integers.
        self._ends = list(accumulate(-(-n_rows * width // 4) for width in widths))
        self._starts = [0, *self._ends[:-1]]
        self._random = torch.zeros(n_models, self._ends[-1], dtype=torch.int64)
        self._random_per_model = list(self._random.unbind(0))
        self._random_per_layer = [
            self._random[:, start:end].view(torch.int16)[:, : n_rows * width]
            for start, end, width in zip(self._starts, self._ends, widths, strict=True)
        ]
        rates = [each.rates for each in dropouts]
        # The probabilities to keep a unit, by layer and model.
        self._keep = [[1 - model[layer] for model in rates] for layer in range(len(widths))]

    def draw(self, n_valid: Sequence[int] | None = None) -> list[Tensor]:
        """Draw the masks of a step.

        Parameters
        ----------
        n_valid : sequence of int of length n_models, default=None
            Number of rows of the batch that are not padding. Nothing is drawn for padding, so that
            a model has the same masks in a batch of models as in a single fit. None if there is no
            padding.

        Returns
        -------
        list of Tensor of shape (n_models, n_rows, n_units)
            One for each hidden layer, with the values 0 and ``1 / (1 - rate)``. The next call
            overwrites them.
        """
        if self._masks[0].device.type != "cpu":
            self._draw_on_device(n_valid or [self._n_rows] * len(self._dropouts))
            return self._masks
        if n_valid is None:
            for random, each in zip(self._random_per_model, self._dropouts, strict=True):
                random.random_(-(2**63), None, generator=each.generator)
        else:
            self._draw_valid_rows(n_valid)
        layers = zip(self._random_per_layer, self._keep, self._flat_masks, strict=True)
        for random, keep, masks in layers:
            if len(set(keep)) == 1:
                _write_mask(random, keep[0], masks)
            else:
                for model in zip(random, keep, masks, strict=True):
                    _write_mask(*model)
        return self._masks

    def _draw_valid_rows(self, n_valid: Sequence[int]) -> None:
        models = zip(self._random_per_model, self._dropouts, n_valid, strict=True)
        for random, each, n in models:
            for start, width in zip(self._starts, self._widths, strict=True):
                values = random[start : start + -(-n * width // 4)]
                values.random_(-(2**63), None, generator=each.generator)

    def _draw_on_device(self, n_valid: Sequence[int]) -> None:
        for masks, keep in zip(self._masks, self._keep, strict=True):
            for mask, probability, each, n in zip(
                masks, keep, self._dropouts, n_valid, strict=True
            ):
                mask[:n].bernoulli_(probability, generator=each.generator)
                mask[n:] = 0
            if len(set(keep)) == 1:
                masks.div_(keep[0])
            else:
                for mask, probability in zip(masks, keep, strict=True):
                    mask.div_(probability)


def _write_mask(random: Tensor, keep: float, out: Tensor) -> None:
    """Write a mask of zeros and ``1 / keep``, with `keep` rounded to a multiple of 2 ** -16.

    Parameters
    ----------
    random : Tensor of dtype int16
        Uniformly distributed.
    keep : float
        Probability to keep a unit, in (0, 1].
    out : Tensor of the shape of `random`
    """
    if keep == 1:
        out.fill_(1)
        return
    # The smallest of the 65,536 values of an int16 keep a unit. A comparison that writes floats
    # takes a third of the time of one that writes booleans.
    n_kept = min(max(round(keep * 65536), 1), 65535)
    torch.lt(random, n_kept - 32768, out=out)
    out.mul_(65536 / n_kept)


class PrefetchedMasks:
    """Draws the masks of several models for several steps at once, and returns them step by step.

    On a GPU one call takes as long as drawing a hundred thousand values, and a captured step cannot
    advance a generator at each replay. The number of steps does not depend on the number of
    models, so that a model has the same masks in a batch of models as in a single fit.

    Parameters
    ----------
    dropouts : sequence of Dropout
        One for each model, with a rate for every hidden layer.
    n_rows : int
        Number of rows of a batch.
    widths : tuple of int
        Number of units of each hidden layer.
    like : Tensor
        Has the dtype and the device of the masks.

    Attributes
    ----------
    n_values : int
        Number of values of a model's masks in a step, over all hidden layers.
    """

    def __init__(
        self, dropouts: Sequence[Dropout], n_rows: int, widths: tuple[int, ...], like: Tensor
    ):
        self.dropouts = list(dropouts)
        self._ends = list(accumulate(n_rows * width for width in widths))
        self.n_values = self._ends[-1]
        self._n_steps = _n_prefetched_steps(self.n_values)
        self._like = like
        self._keep = 1 - like.new_tensor([each.rates for each in self.dropouts])
        self._drawn = like.new_empty(0)
        self._next_step = self._n_steps
        self._before = [each.copy() for each in self.dropouts]  # before the last draw
        if self.dropouts[0].n_used:
            self._drawn, self._next_step = self._draw(), self.dropouts[0].n_used

    def next_step(self) -> Tensor:
        """Return the masks of the next step.

        Returns
        -------
        Tensor of shape (n_models, n_values)
            The masks of all hidden layers, one after the other, each flattened from
            (n_rows, n_units).
        """
        if self._next_step == self._n_steps:
            self._drawn, self._next_step = self._draw(), 0
        self._next_step += 1
        return self._drawn[:, self._next_step - 1]

    def select(self, models: Sequence[int]) -> None:
        """Keep the models at the given positions, and remove the others."""
        self.dropouts = [self.dropouts[i] for i in models]
        self._before = [self._before[i] for i in models]
        self._keep = self._keep[models]
        if self._drawn.ndim > 1:
            self._drawn = self._drawn[models]

    def dropout_of(self, i: int) -> Dropout:
        """Return what draws the masks of the model at a position from the next step on."""
        if not self._drawn.ndim > 1:
            return self.dropouts[i].copy()
        before = self._before[i]
        return Dropout(before.rates, before.generator.clone_state(), self._next_step)

    def split_layers(self, masks: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
        """Return views of the masks of each hidden layer.

        Parameters
        ----------
        masks : Tensor of shape (n_models, n_values)
            Contiguous.
        shapes : sequence of torch.Size
            The shape of each layer's outputs: (n_rows, n_units) or (n_models, n_rows, n_units).
        """
        bounds = zip([0, *self._ends], self._ends, strict=False)
        return [
            masks[:, start:end].view(shape)
            for (start, end), shape in zip(bounds, shapes, strict=True)
        ]

    def _draw(self) -> Tensor:
        self._before = [each.copy() for each in self.dropouts]
        drawn = self._like.new_empty(len(self.dropouts), self._n_steps, self.n_values)
        for values, each in zip(drawn, self.dropouts, strict=True):
            values.uniform_(generator=each.generator)
        # Uniform values are less than 1, so that a rate of 0 keeps every unit.
        for layer, (start, end) in enumerate(zip([0, *self._ends], self._ends, strict=False)):
            masks, keep = drawn[:, :, start:end], self._keep[:, layer, None, None]
            torch.lt(masks, keep, out=masks)
            masks.div_(keep)
        return drawn


def prefetched_bytes(n_rows: int, widths: tuple[int, ...]) -> int:
    """Return the memory that ``PrefetchedMasks`` takes per model, in bytes."""
    n_values = n_rows * sum(widths)
    return 4 * n_values * _n_prefetched_steps(n_values)


def _n_prefetched_steps(n_values: int) -> int:
    return max(1, _PREFETCHED_VALUES // n_values)
