"""What the validation rows say of a model, or of several at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from skbinary._device import full_precision
from skbinary._problem import Problem
from skbinary._spans import row_spans
from skbinary._stack import Stack
from skbinary._training.plan import Plan


def validate(stack: Stack, validation: Problem, plan: Plan) -> tuple[float, float]:
    """Score the validation rows.

    Parameters
    ----------
    stack : Stack
        One model.
    validation : Problem
        The rows. Their ``score_weight`` counts in the score, their ``weight`` in the loss.
    plan : Plan
        How they are scored.

    Returns
    -------
    loss : float
        Mean weighted loss, in nats.
    score : float
        By default the weighted share of the rows that are labelled right.
    """
    target = validation.target
    logits = _logits(stack, validation)[0]
    each = functional.softplus(logits) - target * logits
    loss = _mean(each, validation.weight)
    if plan.score is not None:
        # Scorers of other libraries refuse what is not finite, and a training that ends so is told.
        return loss, plan.score(logits) if math.isfinite(loss) else math.nan
    right = (torch.sigmoid(logits) >= plan.threshold) == (target > 0.5)
    return loss, _mean(right, validation.score_weight)


def validate_all(
    stack: Stack, validation: Problem, thresholds: Sequence[float]
) -> list[tuple[float, float]]:
    """Score the same validation rows with several models, waiting for the device once.

    Parameters
    ----------
    stack : Stack
    validation : Problem
    thresholds : sequence of float
        Probability from which a row counts as positive, for each model.

    Returns
    -------
    list of (loss, score)
        As ``validate`` gives them, one for each model.
    """
    target = validation.target
    logits = _logits(stack, validation)
    each = functional.softplus(logits) - target * logits
    cut = target.new_tensor(thresholds)[:, None]
    right = (torch.sigmoid(logits) >= cut) == (target > 0.5)
    means = [_means(each, validation.weight), _means(right, validation.score_weight)]
    return [(loss, score) for loss, score in torch.stack(means, dim=1).tolist()]


def _logits(stack: Stack, validation: Problem) -> Tensor:
    logits = validation.target.new_empty(stack.n_models, validation.n_samples)
    width = validation.n_features + stack.n_models * sum(stack.architecture.hidden)
    for span in row_spans(validation.n_samples, width, validation.device):
        logits[:, span] = stack.logits(validation.rows.batch(span))
    return logits


def _mean(each: Tensor, weight: Tensor | None) -> float:
    # On the host, in float64: a share of rows must not carry the rounding of float32.
    values = each.cpu().double()
    if weight is None:
        return float(values.mean())
    weights = weight.cpu().double()
    return float(values @ weights / weights.sum())


def _means(each: Tensor, weight: Tensor | None) -> Tensor:
    values = each.to(full_precision(each.device))
    if weight is None:
        return values.mean(dim=1)
    weights = weight.to(values.dtype)
    return values @ weights / weights.sum()
