"""A batch of modules of one architecture: parameters, logits and gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from skbinary.data.batches import Batch, LayerInput
from skbinary.models.forward_backward import Masks
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.runtime.random import GlobalGenerator

# On a CPU, a mapped step of fewer models takes longer than the models one after the other.
_MIN_MAPPED_MODELS = 5


class _DenseInput(Protocol):
    def dense(self) -> Tensor: ...


class ModuleBatch:
    """A batch of modules of one architecture, with the gradient of their losses from autograd.

    The forward pass of several models is mapped over them by ``torch.func.vmap`` where the module
    allows it and it pays off. Otherwise they are computed one after the other.

    Parameters
    ----------
    architecture : ModuleArchitecture
    values : Tensor of shape (n_models, n_values)
        Parameters and buffers. They are not copied: training changes them in place.
    maps : bool or None, default=None
        Whether the forward pass is mapped. None to decide.

    Attributes
    ----------
    parameters : Tensor of shape (n_models, n_parameters)
        A view of the values that are trained.
    gradient : Tensor of shape (n_models, n_parameters)
        The last gradient that was computed.
    """

    def __init__(self, architecture: ModuleArchitecture, values: Tensor, maps: bool | None = None):
        self.architecture = architecture
        self.values = values
        self.parameters = values[:, : architecture.n_parameters]
        n_models, stride = values.shape[0], values.stride(0)
        self.gradient = values.new_zeros(n_models, stride)[:, : architecture.n_parameters]
        n_weights = architecture.n_weights
        self._penalized = self.parameters[:, :n_weights]
        self._penalized_gradient = self.gradient[:, :n_weights]
        self._maps = maps
        self._modules: list[nn.Module] = []
        self._forwards: list[Any] = []
        self._mapped: _Mapped | None = None
        self._in_training: bool | None = None

    @property
    def n_models(self) -> int:
        return self.values.shape[0]

    @property
    def hidden_outputs(self) -> Sequence[Tensor]:
        """Nothing: a module has its own dropout."""
        return ()

    def logit_bound(self) -> float:
        """Return infinity: nothing is known about the logits."""
        return float("inf")

    def buffers_for(self, n_rows: int) -> ModuleBatch:
        """Return this object: autograd allocates what it needs."""
        return self

    @contextmanager
    def training(self, generator: GlobalGenerator | None = None) -> Iterator[None]:
        """Return a context for the steps of an epoch.

        Parameters
        ----------
        generator : GlobalGenerator or None, default=None
            Draws the random numbers of the modules.
        """
        with ExitStack() as stack:
            if generator is not None:
                stack.enter_context(generator.active())
            try:
                yield
            finally:
                if self.architecture.has_buffers:
                    for module, values in zip(self._modules, self.values, strict=False):
                        self.architecture.keep_buffers(module, values[None])

    def logits(self, batch: Batch) -> Tensor:
        """Compute the logits of rows, in evaluation mode.

        Parameters
        ----------
        batch : Batch of shape (n_rows, n_features) or (n_models, n_rows, n_features)

        Returns
        -------
        Tensor of shape (n_models, n_rows)
        """
        with torch.no_grad():
            return self._logits(self._input(batch), training=False)

    def forward_backward(
        self,
        batch: LayerInput,
        target: Tensor,
        scale: float | Tensor,
        masks: Masks = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Compute the logits, and write the gradient of the scaled losses.

        Parameters
        ----------
        batch : LayerInput
            The rows, of shape (n_rows, n_features) or (n_models, n_rows, n_features).
        target : Tensor of shape (n_rows,) or (n_models, n_rows)
            1 for the positive class, else 0.
        scale : float or Tensor of the shape of the logits
            Factor of the loss of each row.
        masks : sequence of Tensor or None, default=None
            Ignored: a module has its own dropout.
        out : Tensor of shape (n_rows, 1) or None, default=None
            Where the logits are written.

        Returns
        -------
        Tensor of shape (n_rows,) or (n_models, n_rows)
            A single model has no axis of models.
        """
        outputs = self.step_logits(batch)
        logits = outputs.detach()
        # One backward pass for all models, from the derivative of the loss.
        self.backward(outputs, (torch.sigmoid(logits) - target) * scale)
        if out is not None:
            out[..., 0] = logits
        return logits[0] if self.n_models == 1 else logits

    def step_logits(self, batch: LayerInput, *, training: bool = True) -> Tensor:
        """Return the logits of rows, of shape (n_models, n_rows), with their graph."""
        return self._logits(self._input(batch), training=training)

    def backward(self, outputs: Tensor, residual: Tensor) -> None:
        """Write the gradient, given the logits of a step and the derivative of the losses."""
        if self._mapped is not None and self._is_mapped(outputs.shape[-1]):
            self._mapped.backward(outputs, residual)
        else:
            self.gradient.zero_()
            torch.autograd.backward(outputs, residual)

    def penalize(self, strength: Tensor) -> None:
        """Add the gradient of ``strength / 2 * sum(weights ** 2)`` to that of the losses."""
        self._penalized_gradient.addcmul_(self._penalized, strength)

    def _input(self, batch: Any) -> Tensor:
        """Return the rows in the shape of the samples, with an axis of models if they differ."""
        rows = cast(_DenseInput, batch).dense()
        return rows.reshape(*rows.shape[:-1], *self.architecture.builder.sample_shape)

    def _logits(self, X: Tensor, *, training: bool) -> Tensor:
        """Return the logits of all models, of shape (n_models, n_rows)."""
        is_shared = X.ndim == 1 + len(self.architecture.builder.sample_shape)
        n_rows = X.shape[0 if is_shared else 1]
        if self._is_mapped(n_rows):
            if self._mapped is None:
                self._mapped = _Mapped(self.architecture, self.values, self.gradient)
            return self._mapped.logits(X, is_shared=is_shared, training=training)
        # Batch normalization cannot train on one row, so that it uses its running statistics.
        training &= n_rows > 1 or not self.architecture.has_batch_norm
        self._bind(training=training)
        rows = [X] * self.n_models if is_shared else list(X)
        outputs = [self._forward(k, each) for k, each in enumerate(rows)]
        return outputs[0][None] if len(outputs) == 1 else torch.stack(outputs)

    def _forward(self, k: int, X: Tensor) -> Tensor:
        return self.architecture.logits(self._forwards[k], X)

    def _bind(self, *, training: bool) -> None:
        """Make modules of the values, and put them into training or evaluation mode."""
        if not self._modules:
            for values, gradient in zip(self.values, self.gradient, strict=True):
                self._modules.append(self.architecture.bind(values[None], gradient[None]))
            self._forwards = list(self._modules)
            if self.architecture.compiles:
                self._forwards = [torch.compile(each) for each in self._modules]
        if training is not self._in_training:
            for module in self._modules:
                module.train(training)
            self._in_training = training

    def _is_mapped(self, n_rows: int) -> bool:
        if self._maps is not None:
            return self._maps
        device = self.values.device
        enough = _MIN_MAPPED_MODELS if device.type == "cpu" else 2
        return self.n_models >= enough and self.architecture.is_mapped(n_rows, device)


class _Mapped:
    """The forward pass of several models of one architecture, mapped over them."""

    def __init__(self, architecture: ModuleArchitecture, values: Tensor, gradient: Tensor):
        self._module = module = architecture.copy_template().to(values.device)
        self._in_training: bool | None = None
        self._tensors = {name: each.detach() for name, each in architecture.views(values).items()}
        self._gradients = architecture.trained_views(gradient)
        self._trained = [self._tensors[name].requires_grad_() for name in self._gradients]

        def forward(tensors: dict[str, Tensor], X: Tensor) -> Tensor:
            return architecture.logits(lambda rows: functional_call(module, tensors, (rows,)), X)

        self._shared = vmap(forward, in_dims=(0, None), randomness="different")
        self._separate = vmap(forward, in_dims=(0, 0), randomness="different")

    def logits(self, X: Tensor, *, is_shared: bool, training: bool) -> Tensor:
        """Return the logits of all models, of shape (n_models, n_rows)."""
        if training is not self._in_training:
            self._module.train(training)
            self._in_training = training
        logits: Tensor = (self._shared if is_shared else self._separate)(self._tensors, X)
        return logits

    def backward(self, outputs: Tensor, residual: Tensor) -> None:
        """Write the gradient of all models."""
        # Not by ``Tensor.backward``: torch warns if it adds to a gradient that is not contiguous.
        gradients = torch.autograd.grad(
            outputs, self._trained, residual, allow_unused=True, materialize_grads=True
        )
        torch._foreach_copy_(list(self._gradients.values()), gradients)
