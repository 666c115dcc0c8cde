"""ModuleArchitecture: the parameters and buffers of a module of the user in one flat vector."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skbinary.models.module_builder import ModuleBuilder, first_line, free_shape
from skbinary.runtime.memory import is_out_of_memory

# Tensors of any type are kept as float32 numbers with the same bytes, from multiples of 16 bytes.
_BYTES_PER_NUMBER, _ALIGNED_NUMBERS = 4, 4
# On a CPU, a mapped step pays off if a model has at most so many multiplications in its forward
# pass: measured with 30 to 100 features, 64 to 512 units, convolutions on 8 x 8 and 28 x 28 pixels,
# and batches of 200 and 1,000 rows.
_MAX_MAPPED_PRODUCTS = 3_000_000
# Where the errors of torch.compile are defined.
_COMPILERS = ("torch._dynamo", "torch._inductor")


class _Slot(NamedTuple):
    """Where a tensor of a module lies in the flat vector, and what it is."""

    name: str
    shape: torch.Size
    dtype: torch.dtype
    start: int
    stop: int

    def view(self, values: Tensor) -> Tensor:
        """Return the tensor of each model as a view of values, of shape (n_models, n_values)."""
        part = values[:, self.start : self.stop]
        if self.dtype != torch.float32:
            part = part.view(self.dtype)[:, : self.shape.numel()]
        return part.view(-1, *self.shape)


@dataclass(frozen=True)
class ModuleFacts:
    """What a step of a module has shown.

    Parameters
    ----------
    is_random : bool, default=False
        Whether a training step draws random numbers.
    mixes_rows : bool, default=False
        Whether the logit of a row depends on other rows of its batch in training.
    n_units : int, default=0
        Number of values of one row that are kept for the backward pass.
    n_products : int, default=0
        Multiplications for each row in the forward pass.
    mapping_problem : str or None, default=None
        Why several models cannot be computed at once. None if they can be.
    """

    is_random: bool = False
    mixes_rows: bool = False
    n_units: int = 0
    n_products: int = 0
    mapping_problem: str | None = None


class ModuleArchitecture:
    """A module of the user, as the solvers know the layers of a closed-form network.

    The flat vector of a model, its values, holds the trained parameters, and behind them the frozen
    ones and the buffers. Trained parameters with two or more dimensions are weights, which the
    penalty is on. They come first, as those of an ``Architecture`` do.

    Parameters
    ----------
    builder : ModuleBuilder
        Builds a module.

    Attributes
    ----------
    compiles : bool
        Whether models that are computed one by one are compiled by ``torch.compile``.
    template : torch.nn.Module
        A module with the weights of seed 0.
    facts : ModuleFacts
        What a step of the module has shown, as ``inspect_module`` sets it.
    """

    # What the solvers ask of a closed-form network. A module has its own dropout.
    hidden: tuple[int, ...] = ()
    dropout: tuple[float, ...] = ()
    embedding: None = None
    n_waves = 0
    # The logit of a row may depend on other rows of its batch, as in batch normalization.
    is_row_wise = False
    is_linear = False
    first_width = 1

    def __init__(self, builder: ModuleBuilder):
        self.builder = builder
        self.compiles = False
        self.template = builder.build(seed=0).eval()
        self.facts = ModuleFacts()
        self._slots = tuple(_slots_of(self.template))
        self._trained = dict(_trained_parameters(self.template))
        sizes = [(each.ndim, each.numel()) for each in self._trained.values()]
        self.n_parameters = sum(size for _, size in sizes)
        self.n_weights = sum(size for n_dimensions, size in sizes if n_dimensions >= 2)
        if not self.n_parameters:
            raise ValueError(
                f"module must have parameters to train, got none with requires_grad in "
                f"{builder.name}. Register them as torch.nn.Parameter or as layers."
            )

    @property
    def n_features(self) -> int:
        return torch.Size(self.builder.sample_shape).numel()

    @property
    def n_units(self) -> int:
        """Number of values of one row that one model keeps for the backward pass."""
        return self.facts.n_units

    @property
    def values_per_row(self) -> int:
        """Number of values of one row inside one model."""
        return self.facts.n_units

    @property
    def n_products(self) -> int:
        """Multiplications for each row in the forward pass of one model."""
        return self.facts.n_products

    @property
    def is_random(self) -> bool:
        """Whether a training step draws random numbers."""
        return self.facts.is_random

    @property
    def can_replay(self) -> bool:
        """Whether a step can be captured as a CUDA graph, with padded rows in the last batch.

        A graph would replay the same random numbers, and would not run the Python code that may
        change buffers. Padded rows must not change the logits of others.
        """
        facts = self.facts
        return not (facts.is_random or facts.mixes_rows or facts.mapping_problem)

    def is_mapped(self, n_rows: int, device: torch.device) -> bool:
        """Whether several models are computed at once, for steps of `n_rows` rows.

        On a CPU a mapped step must take less time than the models one after the other.
        Multiplications are counted, not seconds, so that a fit gives the same weights every time.
        """
        if self.facts.mapping_problem is not None:
            return False
        return device.type != "cpu" or n_rows * self.n_products <= _MAX_MAPPED_PRODUCTS

    def batch_key(self) -> Hashable:
        """Return a key that is equal for models that can be trained in one batch."""
        return self.builder.key(), self.compiles

    @property
    def n_values(self) -> int:
        """Number of values of one model: parameters, frozen parameters and buffers."""
        return self._slots[-1].stop

    @property
    def has_buffers(self) -> bool:
        """Whether there are frozen parameters or buffers."""
        return len(self._slots) > len(self._trained)

    @cached_property
    def has_batch_norm(self) -> bool:
        """Whether a training step needs two rows."""
        kinds = nn.modules.batchnorm._BatchNorm
        return any(isinstance(each, kinds) for each in self.template.modules())

    def pack_template(self) -> Tensor:
        """Return the values of the template, of shape (n_values,)."""
        return self.pack(_named_tensors(self.template))

    def draw(self, seed: int) -> Tensor:
        """Build a new module, and return its values, of shape (n_values,)."""
        return self.pack(_named_tensors(self.builder.build(seed)))

    def pack(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Concatenate the tensors of one model, given by name.

        Raises
        ------
        ValueError
            If names or shapes are not those of this architecture.
        """
        found = {name: tuple(each.shape) for name, each in tensors.items()}
        wanted = {slot.name: tuple(slot.shape) for slot in self._slots}
        if found != wanted:
            names = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
            raise ValueError(
                f"Tensors of {self.builder.name} must have the shapes "
                f"{ {n: wanted[n] for n in names if n in wanted} }, got "
                f"{ {n: found[n] for n in names if n in found} }. Its arguments must fix the "
                "shapes of all parameters and buffers, and set warm_start=False to start anew."
            )
        values = torch.zeros(1, self.n_values, dtype=torch.float32)
        for slot in self._slots:
            slot.view(values)[0] = tensors[slot.name].detach()
        return values[0]

    def views(self, values: Tensor) -> dict[str, Tensor]:
        """Return the tensors of all models by name, as views of (n_models, n_values) values.

        Their first axis is that of the models.
        """
        return {slot.name: slot.view(values) for slot in self._slots}

    def trained_views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return views of the parameters that are trained, or of their gradients."""
        return {s.name: s.view(flat) for s in self._slots[: len(self._trained)]}

    def bind(self, values: Tensor, gradient: Tensor | None = None) -> nn.Module:
        """Return a module whose tensors are views of the values of one model.

        Parameters
        ----------
        values : Tensor of shape (1, n_values)
        gradient : Tensor of shape (1, n_parameters) or None, default=None
            Where ``backward`` writes, if it is given.
        """
        module = self.copy_template().to(values.device)
        tensors = _named_tensors(module)
        for name, view in self.views(values).items():
            tensors[name].data = view[0]
        if gradient is not None:
            for name, view in self.trained_views(gradient).items():
                tensors[name].grad = view[0]
        return module

    def copy_template(self) -> nn.Module:
        """Return a module of this architecture, with any weights."""
        try:
            return copy.deepcopy(self.template)
        except Exception:  # some modules hold what cannot be copied
            return self.builder.build(seed=0)

    def logits(self, forward: Callable[[Tensor], Any], X: Tensor) -> Tensor:
        """Return the logits of rows, of shape (n_rows,), by the forward pass of a module.

        Raises
        ------
        ValueError
            If it fails, or if its output is not one or two logits a row.
        """
        try:
            output = forward(X)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            if type(error).__module__.startswith(_COMPILERS):
                raise ValueError(
                    f"compile must be False where torch.compile cannot compile the module, got "
                    f"{type(error).__name__} for {self.builder.name}: {first_line(error)} Install "
                    "a C++ compiler, or set compile=False."
                ) from error
            raise ValueError(
                f"module must take rows of shape {free_shape(X.shape[1:])} in float32, got "
                f"{type(error).__name__} from {self.builder.name}: {first_line(error)} Check its "
                "forward."
            ) from error
        n_rows = X.shape[0]  # a symbol in torch.export, unlike len(X)
        logits = as_logits(output, n_rows)
        if logits is None:
            raise ValueError(
                f"module must return one logit for each row, of shape ({n_rows},) or ({n_rows}, "
                f"1), or the two of a softmax, got {_describe(output)} from {self.builder.name} "
                f"for {n_rows} rows. Change its last layer."
            )
        return logits

    def keep_buffers(self, module: nn.Module, values: Tensor) -> None:
        """Write buffers that a module has replaced, instead of changing them, to its values."""
        for name, view in self.views(values).items():
            prefix, _, leaf = name.rpartition(".")
            buffers = module.get_submodule(prefix)._buffers
            buffer = buffers.get(leaf)
            if buffer is not None and buffer.data_ptr() != view.data_ptr():
                view[0].copy_(buffer)
                buffers[leaf] = view[0]


def _describe(output: Any) -> str:
    """Return what a module has returned, for an error message."""
    if isinstance(output, Tensor):
        kind = "" if output.is_floating_point() else f" of {output.dtype}"
        return f"a tensor{kind} of shape {tuple(output.shape)}"
    return f"an object of type {type(output).__name__}"


def as_logits(output: Any, n_rows: int) -> Tensor | None:
    """Return one logit a row from the output of a module, or None if it has another shape.

    Two logits a row are those of a softmax, whose log-odds are their difference.

    Parameters
    ----------
    output : object
        A tensor of shape (n_rows,), (n_rows, 1) or (n_rows, 2).
    n_rows : int
    """
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return None
    if output.ndim == 2 and output.shape == (n_rows, 2):
        return output[:, 1] - output[:, 0]
    # Modules that squeeze their output return a number for a single row.
    if output.shape in ((n_rows,), (n_rows, 1)) or (n_rows == 1 and output.numel() == 1):
        return output.reshape(n_rows)
    if n_rows == 1 and output.shape == (2,):
        return output[1:] - output[:1]
    return None


def _trained_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters that are trained: first those of two dimensions or more."""
    trained = [(name, each) for name, each in module.named_parameters() if each.requires_grad]
    yield from (each for each in trained if each[1].ndim >= 2)
    yield from (each for each in trained if each[1].ndim < 2)


def _named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the trained parameters, the frozen ones and the buffers, in this order."""
    trained = dict(_trained_parameters(module))
    frozen = {name: each for name, each in module.named_parameters() if name not in trained}
    buffers = {k: each for k, each in module.named_buffers() if each.layout == torch.strided}
    return {**trained, **frozen, **buffers}


def _slots_of(module: nn.Module) -> Iterator[_Slot]:
    start, trained = 0, dict(_trained_parameters(module))
    for name, each in _named_tensors(module).items():
        if name in trained:
            if not each.is_floating_point():
                raise ValueError(
                    f"Parameters of module must be real numbers, got {name} of {each.dtype}. Set "
                    "its requires_grad to False, or split it into real and imaginary parts."
                )
            stop = start + each.numel()
            yield _Slot(name, each.shape, torch.float32, start, stop)
        else:
            # Where torch.set_default_dtype was called, a layer has buffers of that type.
            dtype = torch.float32 if each.dtype == torch.get_default_dtype() else each.dtype
            start += -start % _ALIGNED_NUMBERS
            stop = start + -(-each.numel() * dtype.itemsize // _BYTES_PER_NUMBER)
            yield _Slot(name, each.shape, dtype, start, stop)
        start = stop
