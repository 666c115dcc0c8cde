"""The module of a ``TorchModuleClassifier`` in a file of safetensors: its arrays, but no code."""

from __future__ import annotations

from typing import Any

from torch import nn

from skbinary.estimators.module_parameters import PREFIX, check_module
from skbinary.export.json_values import DamagedFileError, Tensors, encode

# Where the estimator keeps its parameters module__*.
MODULE_PARAMETERS = "_module_parameters"
_TENSORS = "parameters"  # the beginning of the names of the tensors


def encode_module(fields: dict[str, Any], tensors: Tensors) -> dict[str, Any]:
    """Return what JSON holds of a fitted module: all but the class, whose name it has.

    Parameters
    ----------
    fields : dict
        As ``FittedModule.as_dict`` returns them.
    tensors : dict of ndarray
        Parameters and buffers are added to it.
    """
    others = {k: each for k, each in fields.items() if k not in ("module", "arrays")}
    return {
        "name": _name_of(fields["module"]),
        "arrays": encode(fields["arrays"], _TENSORS, tensors),
        **encode(others, "module", tensors),
    }


def give_module(parameters: Any, fitted: Any, module: Any) -> dict[str, Any]:
    """Give the entries of a file the module that they need.

    Parameters
    ----------
    parameters : dict
        The parameters of the estimator. Those of the module are taken out.
    fitted : dict
        The fields of the fitted state. That of the module is replaced.
    module : class, callable or torch.nn.Module
        What the user passes.

    Returns
    -------
    dict
        Attributes of the estimator.

    Raises
    ------
    DamagedFileError
        If the file holds none.
    ValueError
        If no module is given, or something else.
    """
    saved = fitted.pop("module", None) if isinstance(fitted, dict) else None
    if not isinstance(saved, dict) or not isinstance(parameters, dict):
        raise DamagedFileError("The file must hold the arrays of a module, got none")
    name = saved.pop("name", None)
    if module is None:
        raise ValueError(
            f"module must be given to load a TorchModuleClassifier, whose class a file does not "
            f"hold, got None. Pass what was fitted, as in load_file(path, module={name})."
        )
    check_module(module)
    fitted["module"] = {"module": module, **saved}
    own = {each: parameters.pop(each) for each in list(parameters) if each.startswith(PREFIX)}
    return {"module": module, MODULE_PARAMETERS: own}


def _name_of(module: Any) -> str:
    named = type(module) if isinstance(module, nn.Module) else module
    return str(getattr(named, "__name__", repr(named)))
