"""What a call of ``fit`` has settled before it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from skbinary.data.preparation import CheckedData, Fold
from skbinary.models.batch_of_models import Architecture
from skbinary.thresholds.objectives import Objective

MINIBATCH_SOLVERS = ("adam", "sgd")
_SEEDS = 2**31 - 1


@dataclass(frozen=True)
class FitContext:
    """What one call of ``fit`` or ``partial_fit`` has settled before it trains.

    Parameters
    ----------
    data : CheckedData
    device : torch.device
    solver : str
        Chosen, where the parameter says ``"auto"``.
    architecture : Architecture
    random_state : RandomState or None
        None where nothing is random.
    before : tuple or None
        Its state before anything was drawn, for models that are trained besides.
    earlier : dict of list of float
        The curves to go on from.
    n_seen : int
        Rows that earlier trainings have seen.
    state : dict or None
        What the optimizer remembers of them.
    stops_early : bool
        Whether validation rows decide when to stop.
    objective : Objective or None
        What the threshold shall achieve, where it is no number.
    threshold : float
        The threshold while training.
    positive : int
        Index of the label that the threshold refers to.
    scorer : callable or None
        What early stopping watches. None for the loss.
    fold : Fold or None
        Which rows are held out, where that was settled before.
    is_partial : bool
        Whether it is a single pass over the rows.
    """

    data: CheckedData
    device: torch.device
    solver: str
    architecture: Architecture
    random_state: Any
    before: Any
    earlier: dict[str, list[float]]
    n_seen: int
    state: dict[str, Any] | None
    stops_early: bool
    objective: Objective | None
    threshold: float
    positive: int
    scorer: Callable[..., float] | None
    fold: Fold | None = None
    is_partial: bool = False

    @property
    def in_batches(self) -> bool:
        return self.solver in MINIBATCH_SOLVERS

    def seed(self) -> int:
        """Draw a seed for random numbers that do not come from the random state itself."""
        return draw_seed(self.random_state)


def draw_seed(random_state: Any) -> int:
    """Draw a seed."""
    return int(random_state.randint(_SEEDS))
