"""From the result of a training to the fitted state of a single model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from skbinary.estimators.module_state import FittedModule
from skbinary.estimators.recipe import Recipe
from skbinary.estimators.state import Curves, FittedState
from skbinary.models.architecture import Architecture
from skbinary.models.make_batch import AnyArchitecture
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.solvers.result import FitResult, StopReason


def fitted_state(
    recipe: Recipe,
    classes: NDArray[np.generic],
    result: FitResult,
    previous: FittedState | None,
) -> FittedState:
    """Return the fitted state with the parameters and curves of a result.

    Parameters
    ----------
    recipe : Recipe
    classes : ndarray of shape (2,)
    result : FitResult
    previous : FittedState or None
        The model that the training continued from, whose curves come first.
    """
    layers = _layers_of(recipe.architecture, result.parameters[None].cpu())
    earlier: Curves = {} if previous is None else previous.curves[0]
    reason = result.stop_reason
    if reason is StopReason.MAX_ITER and recipe.epochs_are_chosen:
        reason = StopReason.CROSS_VALIDATION
    keeps = recipe.is_partial
    return FittedState(
        classes=classes,
        solver=recipe.solver,
        device=str(recipe.device),
        curves=(_joined(earlier, result.history),),
        n_iter=(result.n_iter,),
        best_epoch=(result.best_epoch + len(earlier.get("loss", ())),),
        stop_reason=(None if reason is None else str(reason),),
        stopped_early=recipe.stops_early,
        n_seen=int(result.state.get("n_seen", 0)),
        threshold=recipe.threshold,
        threshold_parameter=recipe.threshold_parameter,
        pos_label_parameter=recipe.pos_label_parameter,
        optimizer_state={k: _plain(v) for k, v in result.state.items()} if keeps else None,
        **layers,
    )


def _layers_of(architecture: AnyArchitecture, values: Tensor) -> dict[str, Any]:
    """Return the fields of a fitted state that hold the layers of a single model."""
    if isinstance(architecture, ModuleArchitecture):
        module = FittedModule.of(architecture, values)
        return {"weights": (), "biases": (), "activation": "", "dropout": (), "module": module}
    weights, biases = architecture.unpack(values)
    return {
        "weights": tuple(_array(each[0]) for each in weights),
        "biases": tuple(_array(each[0, 0]) for each in biases),
        "activation": architecture.activation,
        "dropout": architecture.dropout,
        "embedding": _embedding_state(architecture, values),
    }


def _embedding_state(
    architecture: Architecture, parameters: Tensor
) -> dict[str, NDArray[Any]] | None:
    views, embedding = architecture.unpack_embedding(parameters), architecture.embedding
    if views is None or embedding is None:
        return None
    return {
        "columns": np.array(embedding.columns),
        "frequencies": _array(views.frequencies[0]),
        "phases": _array(views.phases[0]),
        "maps": _array(views.maps[0]),
    }


def _joined(earlier: Curves, new: Curves) -> Curves:
    """Concatenate curves by name, with NaN where one of them has no values."""
    n_earlier, n_new = len(earlier.get("loss", ())), len(new["loss"])
    return {
        name: earlier.get(name, [math.nan] * n_earlier) + new.get(name, [math.nan] * n_new)
        for name in {**earlier, **new}
    }


def _array(tensor: Tensor) -> NDArray[Any]:
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _plain(value: Any) -> Any:
    return _array(value) if isinstance(value, Tensor) else value
