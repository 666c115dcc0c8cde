"""Types of the parameters that both classifiers have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

ClassWeight: TypeAlias = Mapping[Any, float] | Literal["balanced"] | None
# A number, the name of a metric, a metric, or a constraint or costs.
Threshold: TypeAlias = float | str | Callable[..., float] | Mapping[str, float]
Objective: TypeAlias = str | Callable[..., float] | Mapping[str, float]
# An int or a bool counts as a float to type checkers.
PosLabel: TypeAlias = float | str | None
# "loss", the name of a scorer, or a scorer.
Monitor: TypeAlias = str | Callable[..., float]
Patience: TypeAlias = float | Literal["auto"]
BatchSize: TypeAlias = int | Literal["auto"]
RandomState: TypeAlias = int | np.random.RandomState | None
Device: TypeAlias = str | torch.device
# skorch has no types: callbacks, classes of callbacks, or pairs of a name and a callback.
SkorchCallbacks: TypeAlias = Sequence[Any] | None
