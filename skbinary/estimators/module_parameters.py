"""The parameters ``module`` and ``module__*``: their names, their values, and what is built."""

from __future__ import annotations

import difflib
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
    names = list(names)
    if not names or not callable(module):
        return
    if isinstance(module, nn.Module):
        raise ValueError(
            f"{names[0]} must be left out with an instance of a module, whose arguments are fixed, "
            f"got module={type(module).__name__}(...). Pass the class itself."
        )
    signature = arguments_of(module)
    if signature is None or signature[1]:
        return
    allowed = signature[0]
    for name in names:
        argument = name.removeprefix(PREFIX)
        if argument not in allowed:
            near = difflib.get_close_matches(argument, allowed, n=1)
            known = ", ".join(PREFIX + each for each in allowed if each not in INPUT_ARGUMENTS)
            kind = getattr(module, "__name__", repr(module))
            hint = f"Did you mean {PREFIX}{near[0]}?" if near else f"Available: {known or 'none'}."
            raise ValueError(
                f"{name} must be an argument of {kind}, which takes ({', '.join(allowed)}), got "
                f"{argument!r}. {hint}"
            )


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
