"""Batches of models of any architecture: closed-form networks, or modules of the user."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor

from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.models.module_batch import ModuleBatch

AnyArchitecture: TypeAlias = Architecture | ModuleArchitecture
AnyBatch: TypeAlias = ModelBatch | ModuleBatch


def make_batch(architecture: AnyArchitecture, values: Tensor) -> AnyBatch:
    """Return a batch of models on the memory of their values, of shape (n_models, n_values)."""
    if isinstance(architecture, ModuleArchitecture):
        return ModuleBatch(architecture, values)
    return ModelBatch(architecture, values)
