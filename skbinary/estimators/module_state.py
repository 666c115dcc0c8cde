"""FittedModule: the fitted arrays of a module of the user, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skbinary.data.conversion import as_tensor
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.models.module_builder import ModuleBuilder
from skbinary.models.torch_module import ModuleOfLogits


@dataclass(frozen=True)
class FittedModule:
    """The parameters and buffers of one model, or of an ensemble of K models, as arrays by name.

    Parameters
    ----------
    builder : ModuleBuilder
        The class of the module with its arguments, or the module that was copied.
    arrays : dict of ndarray
        Parameters and buffers by name. With a leading axis of n_models for an ensemble.
    is_ensemble : bool
        Whether there is such an axis.
    values_per_row : int
        Number of values of one row inside one model.
    """

    builder: ModuleBuilder
    arrays: Mapping[str, NDArray[Any]]
    is_ensemble: bool = False
    values_per_row: int = 0

    @classmethod
    def of(cls, architecture: ModuleArchitecture, values: Tensor) -> FittedModule:
        """Return the fitted module of one model, given its values of shape (1, n_values)."""
        arrays = {
            name: np.array(each[0].detach().cpu().numpy(), order="C")
            for name, each in architecture.views(values).items()
        }
        return cls(architecture.builder, arrays, values_per_row=architecture.values_per_row)

    def model(self, k: int) -> FittedModule:
        """Return one model of an ensemble."""
        arrays = {name: each[k] for name, each in self.arrays.items()}
        return replace(self, arrays=arrays, is_ensemble=False)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of a single model by name, on the memory of the arrays."""
        return {name: as_tensor(np.asarray(each)) for name, each in self.arrays.items()}

    def modules(self, device: torch.device) -> list[nn.Module]:
        """Return the module of each model, in evaluation mode. It is kept for later calls."""
        if device not in self._modules:
            n_models = len(next(iter(self.arrays.values()))) if self.is_ensemble else 1
            models = [self.model(k) for k in range(n_models)] if self.is_ensemble else [self]
            self._modules[device] = [each.new_module().to(device) for each in models]
        return self._modules[device]

    def new_module(self) -> ModuleOfLogits:
        """Build the module of a single model, in evaluation mode, with copies of its arrays."""
        architecture = self._architecture
        values = architecture.pack(self.tensors())
        return ModuleOfLogits(architecture, architecture.bind(values[None])).eval()

    def check(self, n_models: int) -> ModuleArchitecture:
        """Check that the arrays are those of the module, and return its architecture.

        Raises
        ------
        ValueError
            If names or shapes differ.
        """
        for k in range(n_models):
            model = self.model(k) if self.is_ensemble else self
            self._architecture.pack(model.tensors())
        return self._architecture

    @cached_property
    def _architecture(self) -> ModuleArchitecture:
        return ModuleArchitecture(self.builder)

    @cached_property
    def _modules(self) -> dict[torch.device, list[nn.Module]]:
        return {}

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain data, for pickles."""
        builder = self.builder
        return {
            "module": builder.module,
            "arguments": dict(builder.arguments),
            "sample_shape": builder.sample_shape,
            "arrays": dict(self.arrays),
            "is_ensemble": self.is_ensemble,
            "values_per_row": self.values_per_row,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> FittedModule:
        """Return what ``as_dict`` has made plain."""
        names = ("module", "arguments", "sample_shape")
        others = {name: each for name, each in fields.items() if name not in names}
        return cls(ModuleBuilder(*(fields[name] for name in names)), **others)


def join_modules(modules: Sequence[FittedModule | None]) -> FittedModule | None:
    """Make an ensemble of fitted modules of one architecture, or return None without any."""
    found = [each for each in modules if each is not None]
    if not found:
        return None
    arrays = {name: np.stack([each.arrays[name] for each in found]) for name in found[0].arrays}
    return replace(found[0], arrays=arrays, is_ensemble=True)
