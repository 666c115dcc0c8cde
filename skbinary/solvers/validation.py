"""Validation loss and score of a model, or of several models at once."""

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
from skbinary.models.make_batch import AnyBatch
from skbinary.runtime.chunks import row_chunks
from skbinary.runtime.device import full_precision
from skbinary.runtime.processes import ALONE, Processes
from skbinary.solvers.stopping import StoppingCriteria


def validate(
    model_batch: AnyBatch, validation: Dataset, criteria: StoppingCriteria
) -> tuple[float, float]:
    """Compute the validation loss and score of a model.

    Parameters
    ----------
    model_batch : ModelBatch or ModuleBatch
        A batch of one model.
    validation : Dataset
        The validation rows. Their ``weight`` counts in the loss, their ``score_weight`` in the
        score.
    criteria : StoppingCriteria
        How they are scored.

    Returns
    -------
    loss : float
        Mean weighted loss, in nats.
    score : float
        The weighted accuracy, or what ``criteria.score`` returns.
    """
    rows = _ValidationRows.of([validation])
    if criteria.score is None:
        return _validate_batch(model_batch, rows, [criteria])[0]
    logits = rows.logits(model_batch)
    loss = float(_means(_losses(logits, rows.target), rows.weight, rows.processes))
    # Scorers raise for values that are not finite; the loop reports the divergence instead.
    return loss, criteria.score(logits[0]) if math.isfinite(loss) else math.nan


class Validator:
    """Validates several models at once, with a single wait for the device.

    Parameters
    ----------
    validation : mapping of int to (Dataset, StoppingCriteria)
        The validation rows of each model, and how they are scored.
    select : callable(models) -> ModelBatch, ModuleBatch or None
        Returns models, given by number, as a batch, or None to have them scored one by one.
    """

    def __init__(
        self,
        validation: Mapping[int, tuple[Dataset, StoppingCriteria]],
        select: Callable[[Sequence[int]], AnyBatch | None],
    ):
        # A custom score takes the logits of one model at a time.
        self._validation = {k: each for k, each in validation.items() if each[1].score is None}
        self._select = select
        self._groups: tuple[Collection[int], list[list[int]]] = ((), [])
        self._rows: dict[tuple[int, ...], _ValidationRows] = {}

    def __call__(self, active: Collection[int]) -> dict[int, tuple[float, float]]:
        """Return (loss, score), as ``validate`` does, of the models that are scored as a batch."""
        if self._groups[0] != tuple(active):
            self._groups, self._rows = (tuple(active), self._group(active)), {}
        results: dict[int, tuple[float, float]] = {}
        for models in self._groups[1]:
            model_batch = self._select(models)
            if model_batch is None:
                continue
            key = tuple(models)
            if key not in self._rows:
                self._rows[key] = _ValidationRows.of([self._validation[k][0] for k in models])
            criteria_per_model = [self._validation[k][1] for k in models]
            scores = _validate_batch(model_batch, self._rows[key], criteria_per_model)
            results.update(zip(models, scores, strict=True))
        return results

    def _group(self, active: Collection[int]) -> list[list[int]]:
        """Group models with the same validation rows, and the others if their rows are dense."""
        same_rows: dict[int, list[int]] = {}
        for k in active:
            if k in self._validation:
                same_rows.setdefault(id(self._validation[k][0]), []).append(k)
        groups = [models for models in same_rows.values() if len(models) > 1]
        own_rows = [models[0] for models in same_rows.values() if len(models) == 1]
        dense = [k for k in own_rows if isinstance(self._validation[k][0].rows, DenseRows)]
        return [*groups, dense] if len(dense) > 1 else groups


@dataclass(frozen=True)
class _ValidationRows:
    """Validation rows of a batch of models: the same for all, or padded rows for each.

    Parameters
    ----------
    batch : callable(slice) -> Batch
        Returns some of the rows, of shape (n_rows, n_features) or (n_models, n_rows, n_features).
    values_per_row : int
        Number of values that a row has, over all models.
    target : Tensor of shape (n_rows,) or (n_models, n_rows)
    weight, score_weight : Tensor of the shape of `target` or None
    processes : Processes, default=ALONE
        The processes that hold the rows. These are the rows of this process.
    """

    batch: Callable[[slice], Batch]
    values_per_row: int
    target: Tensor
    weight: Tensor | None
    score_weight: Tensor | None
    processes: Processes = ALONE

    @classmethod
    def of(cls, datasets: Sequence[Dataset]) -> _ValidationRows:
        """Collect the validation rows of each model."""
        first = datasets[0]
        if all(each is first for each in datasets):
            return cls(
                first.rows.batch,
                first.n_features,
                first.target,
                first.weight,
                first.score_weight,
                first.processes,
            )
        n_samples = torch.tensor([each.n_samples for each in datasets], device=first.device)
        # A model with fewer rows is padded with its first row, at weight zero.
        positions = torch.arange(int(n_samples.max()), device=first.device)
        is_own = positions < n_samples[:, None]
        index = torch.where(is_own, positions, 0)

        def gather(columns: Sequence[Tensor | None]) -> Tensor:
            filled = [
                torch.ones_like(dataset.target) if column is None else column
                for dataset, column in zip(datasets, columns, strict=True)
            ]
            return torch.stack([column[i] for column, i in zip(filled, index, strict=True)])

        values = torch.stack(
            [each.rows.batch(i).values for each, i in zip(datasets, index, strict=True)]
        )
        return cls(
            lambda chunk: DenseBatch(values[:, chunk]),
            len(datasets) * first.n_features,
            gather([each.target for each in datasets]),
            gather([each.weight for each in datasets]) * is_own,
            gather([each.score_weight for each in datasets]) * is_own,
        )

    def logits(self, model_batch: AnyBatch) -> Tensor:
        """Return the logits of the rows, of shape (n_models, n_rows)."""
        n_rows = self.target.shape[-1]
        logits = self.target.new_empty(model_batch.n_models, n_rows)
        n_inside = model_batch.n_models * model_batch.architecture.values_per_row
        for chunk in row_chunks(n_rows, self.values_per_row + n_inside, logits.device):
            logits[:, chunk] = model_batch.logits(self.batch(chunk))
        return logits


def _validate_batch(
    model_batch: AnyBatch, rows: _ValidationRows, criteria_per_model: Sequence[StoppingCriteria]
) -> list[tuple[float, float]]:
    target = rows.target
    logits = rows.logits(model_batch)
    threshold = target.new_tensor([each.threshold for each in criteria_per_model])[:, None]
    positive = target.new_tensor([each.positive for each in criteria_per_model])[:, None]
    label_logits = logits * (2 * positive - 1)
    is_correct = (torch.sigmoid(label_logits) >= threshold) == (target == positive)
    means = [
        _means(_losses(logits, target), rows.weight, rows.processes),
        _means(is_correct, rows.score_weight, rows.processes),
    ]
    return [(loss, score) for loss, score in torch.stack(means, dim=1).tolist()]


def _losses(logits: Tensor, target: Tensor) -> Tensor:
    return functional.softplus(logits) - target * logits


def _means(values: Tensor, weight: Tensor | None, processes: Processes) -> Tensor:
    """Return the weighted means over the rows of all processes, for each model."""
    values = _to_double(values)
    if weight is None and processes.is_one:
        return values.mean(dim=1)
    weight = torch.ones_like(values) if weight is None else _to_double(weight)
    sums, totals = (values * weight).sum(dim=-1), weight.sum(dim=-1)
    if not processes.is_one:
        sums, totals = processes.sum(torch.stack([sums, totals.expand_as(sums)]))
    return sums / totals


def _to_double(values: Tensor) -> Tensor:
    # An accuracy should not carry the rounding of float32, so values move to the CPU where the
    # device has no float64.
    has_double = full_precision(values.device) == torch.float64
    return (values if has_double else values.cpu()).double()
