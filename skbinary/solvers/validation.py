"""What the validation rows say of a model, or of several at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from skbinary.data.batches import Batch, DenseBatch
from skbinary.data.dataset import Dataset
from skbinary.data.rows import DenseRows
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.chunks import row_chunks
from skbinary.runtime.device import full_precision
from skbinary.solvers.stopping import StoppingCriteria


def validate(
    model_batch: ModelBatch, validation: Dataset, criteria: StoppingCriteria
) -> tuple[float, float]:
    """Score the validation rows.

    Parameters
    ----------
    model_batch : ModelBatch
        One model.
    validation : Dataset
        The rows. Their ``score_weight`` counts in the score, their ``weight`` in the loss.
    criteria : StoppingCriteria
        How they are scored.

    Returns
    -------
    loss : float
        Mean weighted loss, in nats.
    score : float
        By default the weighted share of the rows that are labelled right.
    """
    target, shown = validation.target, _Shown.of([validation])
    if target.device.type != "cpu" and criteria.score is None:
        return _validate_all(model_batch, shown, [criteria])[0]
    logits = shown.logits(model_batch)[0]
    each = functional.softplus(logits) - target * logits
    loss = _mean(each, validation.weight)
    if criteria.score is not None:
        # Scorers of other libraries refuse what is not finite, and a training that ends so is told.
        return loss, criteria.score(logits) if math.isfinite(loss) else math.nan
    own = logits if criteria.positive else -logits
    right = (torch.sigmoid(own) >= criteria.threshold) == (target == criteria.positive)
    return loss, _mean(right, validation.score_weight)


class Validator:
    """Scores the validation rows of several models at once, waiting for the device once.

    Parameters
    ----------
    wanted : mapping of int to (Problem, Plan)
        The validation rows of each model, and how they are scored.
    together : callable(models) -> Stack or None
        Gives models, told by number, as a stack, or None to have them scored one by one.
    """

    def __init__(
        self,
        wanted: Mapping[int, tuple[Dataset, StoppingCriteria]],
        together: Callable[[Sequence[int]], ModelBatch | None],
    ):
        self._wanted = {k: each for k, each in wanted.items() if each[1].score is None}
        self._together = together
        self._groups: tuple[Collection[int], list[list[int]]] = ((), [])
        self._shown: dict[tuple[int, ...], _Shown] = {}

    def __call__(self, live: Collection[int]) -> dict[int, tuple[float, float]]:
        """Give (loss, score) of those of the models that are scored together, each by its number.

        They are what ``validate`` gives.
        """
        if self._groups[0] != tuple(live):
            self._groups, self._shown = (tuple(live), self._grouped(live)), {}
        seen: dict[int, tuple[float, float]] = {}
        for models in self._groups[1]:
            model_batch = self._together(models)
            if model_batch is None:
                continue
            key = tuple(models)
            if key not in self._shown:
                self._shown[key] = _Shown.of([self._wanted[k][0] for k in models])
            criteria_per_model = [self._wanted[k][1] for k in models]
            scores = _validate_all(model_batch, self._shown[key], criteria_per_model)
            seen.update(zip(models, scores, strict=True))
        return seen

    def _grouped(self, live: Collection[int]) -> list[list[int]]:
        """Put models together that see the same rows, and those whose own rows are dense."""
        sharing: dict[int, list[int]] = {}
        for k in live:
            if k in self._wanted:
                sharing.setdefault(id(self._wanted[k][0]), []).append(k)
        groups = [models for models in sharing.values() if len(models) > 1]
        lone = [models[0] for models in sharing.values() if len(models) == 1]
        dense = [k for k in lone if isinstance(self._wanted[k][0].rows, DenseRows)]
        return [*groups, dense] if len(dense) > 1 else groups


@dataclass(frozen=True)
class _Shown:
    """What several models are shown: the same rows, or to each its own.

    Parameters
    ----------
    batch : callable(slice) -> Batch
        Gives some of the rows, of shape (n_rows, n_features) or (n_models, n_rows, n_features).
    n_numbers : int
        How many numbers a row is, for all models.
    target : Tensor of shape (n_rows,) or (n_models, n_rows)
    weight, score_weight : Tensor of the shape of `target` or None
    """

    batch: Callable[[slice], Batch]
    n_numbers: int
    target: Tensor
    weight: Tensor | None
    score_weight: Tensor | None

    @classmethod
    def of(cls, datasets: Sequence[Dataset]) -> _Shown:
        """Give what one model after the other is shown."""
        one = datasets[0]
        if all(each is one for each in datasets):
            return cls(one.rows.batch, one.n_features, one.target, one.weight, one.score_weight)
        sizes = torch.tensor([each.n_samples for each in datasets], device=one.device)
        # A model that has fewer rows than another sees its first one again, which does not count.
        places = torch.arange(int(sizes.max()), device=one.device)
        counts = places < sizes[:, None]
        own = torch.where(counts, places, 0)

        def gathered(columns: Sequence[Tensor | None]) -> Tensor:
            each = [
                torch.ones_like(dataset.target) if column is None else column
                for dataset, column in zip(datasets, columns, strict=True)
            ]
            return torch.stack([column[at] for column, at in zip(each, own, strict=True)])

        values = torch.stack(
            [each.rows.batch(at).values for each, at in zip(datasets, own, strict=True)]
        )
        return cls(
            lambda chunk: DenseBatch(values[:, chunk]),
            len(datasets) * one.n_features,
            gathered([each.target for each in datasets]),
            gathered([each.weight for each in datasets]) * counts,
            gathered([each.score_weight for each in datasets]) * counts,
        )

    def logits(self, model_batch: ModelBatch) -> Tensor:
        """Score the rows, of shape (n_models, n_rows)."""
        n_rows = self.target.shape[-1]
        scores = self.target.new_empty(model_batch.n_models, n_rows)
        width = self.n_numbers + model_batch.n_models * sum(model_batch.architecture.hidden)
        for chunk in row_chunks(n_rows, width, scores.device):
            scores[:, chunk] = model_batch.logits(self.batch(chunk))
        return scores


def _validate_all(
    model_batch: ModelBatch, shown: _Shown, criteria_per_model: Sequence[StoppingCriteria]
) -> list[tuple[float, float]]:
    target = shown.target
    logits = shown.logits(model_batch)
    each = functional.softplus(logits) - target * logits
    cut = target.new_tensor([criteria.threshold for criteria in criteria_per_model])[:, None]
    positive = target.new_tensor([criteria.positive for criteria in criteria_per_model])[:, None]
    own = logits * (2 * positive - 1)
    right = (torch.sigmoid(own) >= cut) == (target == positive)
    means = [_means(each, shown.weight), _means(right, shown.score_weight)]
    return [(loss, score) for loss, score in torch.stack(means, dim=1).tolist()]


def _exact(each: Tensor) -> Tensor:
    # A share of rows must not carry the rounding of float32, also where a device has nothing else.
    has_double = full_precision(each.device) == torch.float64
    return (each if has_double else each.cpu()).double()


def _mean(each: Tensor, weight: Tensor | None) -> float:
    values = each.cpu().double()
    if weight is None:
        return float(values.mean())
    weights = weight.cpu().double()
    return float(values @ weights / weights.sum())


def _means(each: Tensor, weight: Tensor | None) -> Tensor:
    values = _exact(each)
    if weight is None:
        return values.mean(dim=1)
    weights = _exact(weight)
    return (values * weights).sum(dim=-1) / weights.sum(dim=-1)
