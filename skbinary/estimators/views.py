"""A fitted model as a torch module, and as a skorch net."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from skbinary.estimators.module_state import FittedModule
from skbinary.estimators.state import FittedState
from skbinary.models.periodic_embedding import EmbeddingParameters
from skbinary.models.torch_module import (
    AnyModule,
    EnsembleModule,
    LogitModule,
    ModuleOfLogits,
    build_module,
)

if TYPE_CHECKING:
    from skbinary.callbacks.skorch_net import BinaryNet


def as_module(state: FittedState) -> AnyModule:
    """Build a torch module that returns the logit, in evaluation mode.

    Its parameters are contiguous and share no memory: some file formats, such as safetensors,
    cannot save any others.
    """
    if state.module is not None:
        return _module_of_user(state, state.module)
    if state.n_models > 1:
        modules = [_module_of(state.model(k)) for k in range(state.n_models)]
        return EnsembleModule(modules, state.temperature).eval()
    return _module_of(state)


def _module_of_user(state: FittedState, fitted: FittedModule) -> ModuleOfLogits | EnsembleModule:
    if not fitted.is_ensemble:
        return fitted.new_module()
    modules = [fitted.model(k).new_module() for k in range(state.n_models)]
    return EnsembleModule(modules, state.temperature).eval()


def _module_of(state: FittedState) -> LogitModule:
    embedding, arrays = None, state.embedding
    if arrays is not None:
        names = ("frequencies", "phases", "maps")
        embedding = EmbeddingParameters(*(torch.tensor(arrays[name]) for name in names))
    return build_module(
        state.architecture,
        [torch.tensor(np.ascontiguousarray(each.T)).mT for each in state.dense_weights()],
        [torch.tensor(each[None]) for each in state.biases],
        embedding,
    )


def as_net(
    state: FittedState, threshold: float, positive: int, settings: dict[str, Any]
) -> BinaryNet:
    """Build a skorch ``NeuralNet`` around the module.

    Parameters
    ----------
    state : FittedState
    threshold : float
        The decision threshold in force.
    positive : int
        Index of the label that it refers to.
    settings : dict
        What ``net_settings`` returns.
    """
    from skbinary.callbacks.skorch_net import build_net

    history = state.curves[0] if state.n_models == 1 else None
    module, classes = as_module(state), state.classes
    return build_net(module, classes, threshold, positive, history=history, **settings)


def net_settings(estimator: Any, device: torch.device) -> dict[str, Any]:
    """Return the settings of a skorch net that correspond to an estimator's parameters."""
    return {
        "optimizer": torch.optim.Adam if estimator.solver == "adam" else torch.optim.SGD,
        "lr": float(estimator.learning_rate_init),
        "max_epochs": estimator.max_iter,
        "batch_size": -1 if estimator.batch_size == "auto" else int(estimator.batch_size),
        "device": str(device),
        "verbose": int(estimator.verbose),
    }
