"""The parameters ``module`` and ``module__*``: their names, their values, and what is built."""

from __future__ import annotations

import difflib
import pickle
import sys
from collections.abc import Iterable
from typing import Any

from sklearn.utils._param_validation import InvalidParameterError
from torch import Tensor, nn

from skbinary.data.checked import CheckedData
from skbinary.data.conversion import as_rows
from skbinary.models.module_builder import (
    CPU,
    FLOAT,
    INPUT_ARGUMENTS,
    ModuleBuilder,
    arguments_of,
)

PREFIX = "module__"
# Rows that a module is tried on before it is trained.
_N_TRIED_ROWS = 8
# Modules that copy an estimator, or pickle the code of its classes.
_COPIERS = {"copy", "cloudpickle", "loky"}


def check_module(module: Any) -> None:
    """Check that a module can be built.

    Raises
    ------
    InvalidParameterError
        If `module` is no class of modules, no other callable, and no module.
    """
    rule = "module must be a class of torch modules, a function that returns one, or a module"
    if isinstance(module, type) and not issubclass(module, nn.Module):
        raise InvalidParameterError(
            f"{rule}, got the class {module.__name__}. Make it a subclass of torch.nn.Module."
        )
    if not callable(module):  # modules are callable, too
        raise InvalidParameterError(
            f"{rule}, got {module!r}. Pass the class itself, such as module=MyNetwork."
        )


def check_names(module: Any, names: Iterable[str]) -> None:
    """Check that parameters ``module__*`` are arguments of what builds the module.

    Parameters
    ----------
    module : object
        The parameter ``module``.
    names : iterable of str
        Names with the prefix.

    Raises
    ------
    ValueError
        If a name is no argument.
    """
    unknown = unknown_names(module, names)
    if not unknown:
        return
    if isinstance(module, nn.Module):
        raise ValueError(
            f"{unknown[0]} must be left out with an instance of a module, whose arguments are "
            f"fixed, got module={type(module).__name__}(...). Pass the class itself."
        )
    allowed, _ = arguments_of(module) or ([], False)
    argument = unknown[0].removeprefix(PREFIX)
    near = difflib.get_close_matches(argument, allowed, n=1)
    known = ", ".join(PREFIX + each for each in allowed if each not in INPUT_ARGUMENTS)
    kind = getattr(module, "__name__", repr(module))
    hint = f"Did you mean {PREFIX}{near[0]}?" if near else f"Available: {known or 'none'}."
    raise ValueError(
        f"{unknown[0]} must be an argument of {kind}, which takes ({', '.join(allowed)}), got "
        f"{argument!r}. {hint}"
    )


def unknown_names(module: Any, names: Iterable[str]) -> list[str]:
    """Return the parameters ``module__*`` that are no arguments of what builds the module."""
    if isinstance(module, nn.Module):
        return list(names)
    signature = arguments_of(module) if callable(module) else None
    if signature is None or signature[1]:
        return []
    return [name for name in names if name.removeprefix(PREFIX) not in signature[0]]


def check_can_be_pickled(module: Any) -> None:
    """Check that a class or function can be imported by its name, as pickles need it.

    Raises
    ------
    pickle.PicklingError
        If it cannot be. Not where the estimator is copied, nor where cloudpickle sends it to
        another process, which pickles the code itself.
    """
    named = type(module) if isinstance(module, nn.Module) else module
    path = getattr(named, "__qualname__", None)
    if path is None:
        return
    found: Any = sys.modules.get(named.__module__)
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is not named and not _is_copied():
        raise pickle.PicklingError(
            f"module must be a class or function that can be imported to be pickled, got {path}, "
            f"which {named.__module__} does not have under that name. Define it at the top level "
            "of a Python file."
        )


def _is_copied() -> bool:
    """Whether the ``copy`` module or cloudpickle asks for the state of an estimator."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if _COPIERS & set(str(frame.f_globals.get("__name__")).split(".")):
            return True
        frame = frame.f_back
    return False


def make_builder(estimator: Any) -> ModuleBuilder:
    """Return what builds the module, for the features that an estimator has seen."""
    shape = getattr(estimator, "sample_shape_", (estimator.n_features_in_,))
    if isinstance(estimator.module, nn.Module):
        return ModuleBuilder(estimator.module, {}, shape)
    names, _ = arguments_of(estimator.module) or ([], False)
    known = {"n_features": int(estimator.n_features_in_), "sample_shape": shape}
    arguments = {name: known[name] for name in INPUT_ARGUMENTS if name in names}
    given = {
        name.removeprefix(PREFIX): value
        for name, value in estimator.get_params(deep=False).items()
        if name.startswith(PREFIX)
    }
    return ModuleBuilder(estimator.module, arguments | given, shape)


def first_rows(data: CheckedData) -> Tensor:
    """Return some training rows, on the CPU in float32, of shape (n_rows, n_features)."""
    rows = as_rows(data.train.X[:_N_TRIED_ROWS], CPU, FLOAT, convert=False)
    return rows.batch(slice(0, rows.shape[0])).dense()
