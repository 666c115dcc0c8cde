"""ModuleBuilder: a module of the user, and how a new one is built."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from skbinary.runtime.memory import is_out_of_memory
from skbinary.runtime.random import GlobalGenerator

CPU, FLOAT = torch.device("cpu"), torch.float32
# The arguments that tell a module the shape of its input, if its signature names them.
INPUT_ARGUMENTS = ("n_features", "sample_shape")


@dataclass(frozen=True)
class ModuleBuilder:
    """A class or function that returns a module, with its arguments, or a module to copy.

    Parameters
    ----------
    module : callable or torch.nn.Module
        What is called to build a module. An instance is copied instead.
    arguments : mapping of str to object
        Keyword arguments of the call, with those that name the shape of the input.
    sample_shape : tuple of int
        The shape of a sample, ``(n_features,)`` for a table.
    """

    module: Callable[..., Any] | nn.Module
    arguments: Mapping[str, Any]
    sample_shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the class or function, for messages."""
        named = type(self.module) if isinstance(self.module, nn.Module) else self.module
        return str(getattr(named, "__name__", None) or repr(named))

    def build(self, seed: int) -> nn.Module:
        """Build a module on the CPU, whose weights depend on the seed alone.

        Lazy layers are initialized. torch's global random state does not change.

        Raises
        ------
        ValueError
            If no module is returned, if it cannot be copied, or if its parameters are on another
            device.
        """
        with GlobalGenerator(seed, CPU).active(), torch.no_grad():
            built = self._call()
            if not isinstance(built, nn.Module):
                raise ValueError(
                    f"module must return a torch.nn.Module, got {type(built).__name__} from "
                    f"{self.name}. Pass a class of modules, or a function that returns one."
                )
            if any(_is_lazy(each) for each in _tensors(built)):
                self._initialize_lazy_layers(built)
        for each in _tensors(built):
            if each.device != CPU:
                raise ValueError(
                    f"module must be built on the CPU, got a parameter on {each.device} from "
                    f"{self.name}. Set the parameter device of the estimator instead: it moves the "
                    "parameters."
                )
        return built

    def key(self) -> tuple[Hashable, ...]:
        """Return a key that is equal for builders of modules of one structure."""
        items = sorted(self.arguments.items())
        return (_key(self.module), self.sample_shape, *((k, _key(value)) for k, value in items))

    def _initialize_lazy_layers(self, module: nn.Module) -> None:
        rows = torch.zeros(2, *self.sample_shape, dtype=torch.float32)
        try:
            module.eval()(rows)
        except Exception as error:
            raise ValueError(
                f"module must take rows of shape {free_shape(self.sample_shape)} in float32, got "
                f"{type(error).__name__} from {self.name}: {first_line(error)} Check its forward."
            ) from error
        if any(_is_lazy(each) for each in _tensors(module)):
            raise ValueError(
                f"Lazy layers of module must be used in its forward, got one of {self.name} that "
                "is not. Remove it."
            )

    def _call(self) -> Any:
        if isinstance(self.module, nn.Module):
            try:
                return copy.deepcopy(self.module)
            except Exception as error:
                raise ValueError(
                    f"module must be possible to copy, got {type(error).__name__} from "
                    f"copy.deepcopy: {first_line(error)} Pass its class instead of an instance."
                ) from error
        try:
            return self.module(**copy.deepcopy(dict(self.arguments)))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
            raise ValueError(
                f"module must be possible to build, got {type(error).__name__} from "
                f"{self.name}({given}): {first_line(error)} Check the parameters module__*."
            ) from error


def arguments_of(module: Any) -> tuple[list[str], bool] | None:
    """Return the names of the arguments of a class or function, and whether it takes any others.

    Returns
    -------
    (names, takes_any) or None
        None if the signature is unknown.
    """
    try:
        parameters = list(inspect.signature(module).parameters.values())
    except (TypeError, ValueError):
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [each.name for each in parameters if each.kind in named]
    return names, any(each.kind is each.VAR_KEYWORD for each in parameters)


def first_line(error: BaseException) -> str:
    """Return the first line of an error message, as a sentence."""
    text = (str(error).strip().splitlines() or [""])[0].strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def free_shape(sample_shape: Sequence[int]) -> str:
    """Return the shape of rows of which any number is possible, for an error message."""
    return f"({', '.join(['n_rows', *map(str, sample_shape)])})"


def _is_lazy(tensor: Tensor) -> bool:
    return isinstance(tensor, UninitializedParameter | UninitializedBuffer)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _key(value: Any) -> Hashable:
    """Return a key that is equal for equal values, also for copies of them."""
    if isinstance(value, type) or inspect.isroutine(value):
        return value
    try:
        return pickle.dumps(value)
    except Exception:  # such as a lambda inside of a partial
        return id(value)
