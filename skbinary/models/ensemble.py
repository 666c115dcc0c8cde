"""The logit of an ensemble: that of the mean of its models' probabilities."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def combine_logits(logits: Tensor) -> Tensor:
    """Return the logits of the mean probabilities of several models.

    Parameters
    ----------
    logits : Tensor of shape (n_models, ...)
        The logits of each model.

    Returns
    -------
    Tensor of shape (...)
        ``log(p / (1 - p))`` of the mean probability p, computed from logarithms, so that it is
        exact where p rounds to 0 or 1.
    """
    positive = functional.logsigmoid(logits).logsumexp(0)
    return positive - functional.logsigmoid(-logits).logsumexp(0)
