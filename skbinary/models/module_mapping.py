"""What a step of a module shows: mistakes, its cost, and whether models can be computed at once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from skbinary.data.batches import DenseBatch
from skbinary.models.module_architecture import ModuleArchitecture, ModuleFacts
from skbinary.models.module_batch import ModuleBatch
from skbinary.models.module_builder import CPU, first_line
from skbinary.runtime.memory import is_out_of_memory
from skbinary.runtime.random import GlobalGenerator

# The largest difference, relative to the largest value, that is due to rounding in float32.
_ROUNDING = 1e-4
# The second of two compared models has these times the parameters of its seed, so that models of
# an instance, which all start from its weights, differ as well.
_FACTOR = 0.9
# torch warns where an operation is mapped by a loop, which is slower than the models alone.
_LOOPS = re.compile(r"batching rule for (\S+?)\.? ")

# What is known about the modules of a class, since searches build hundreds of equal ones.
_known: WeakKeyDictionary[object, dict[Hashable, ModuleFacts]] = WeakKeyDictionary()


def inspect_module(architecture: ModuleArchitecture, X: Tensor) -> None:
    """Run steps of a module to find mistakes, and set the facts of its architecture.

    Parameters
    ----------
    architecture : ModuleArchitecture
    X : Tensor of shape (n_rows, n_features)
        Some rows to train on, on the CPU in float32.

    Raises
    ------
    ValueError
        If the module cannot be trained on these rows.
    """
    if len(X) == 1:
        X = torch.cat([X, X])
    _check_forward(architecture, X)
    key = (architecture.batch_key(), len(X))
    known = _known_facts(architecture)
    if key not in known:
        with GlobalGenerator(0, CPU).active():
            known[key] = _facts(architecture, X)
    architecture.facts = known[key]


def _known_facts(architecture: ModuleArchitecture) -> dict[Hashable, ModuleFacts]:
    module = architecture.builder.module
    if isinstance(module, torch.nn.Module):
        return {}
    try:
        return _known.setdefault(module, {})
    except TypeError:  # a callable object without weak references
        return {}


def _check_forward(architecture: ModuleArchitecture, X: Tensor) -> None:
    """Check the logits of a new module, and that it does not change its input."""
    name = architecture.builder.name
    batch = _batch(architecture, [architecture.pack_template()])
    rows = X.clone()
    with GlobalGenerator(0, CPU).active():
        logits = batch.logits(DenseBatch(rows))
    _check_unchanged(architecture, rows, X)
    if not bool(torch.isfinite(logits).all()):
        n_bad = int((~torch.isfinite(logits)).sum())
        raise ValueError(
            f"module must return finite logits before training, got {n_bad} that are not for "
            f"{len(X)} rows from {name}. Check its initial weights, and its forward."
        )


def _check_unchanged(architecture: ModuleArchitecture, rows: Tensor, X: Tensor) -> None:
    """Check that a forward pass has not written to its input."""
    if not torch.equal(rows, X):
        raise ValueError(
            f"module must not change its input, got {architecture.builder.name}, which writes to "
            "it. Copy the rows in its forward first, or use operations that are not in place."
        )


def _check_backward(architecture: ModuleArchitecture, batch: ModuleBatch, X: Tensor) -> None:
    """Check that the gradient of the logits can be computed."""
    name, logits = architecture.builder.name, batch.step_logits(DenseBatch(X.clone()))
    if not logits.requires_grad:
        raise ValueError(
            f"The logits of module must depend on its parameters, got logits of {name} without a "
            "gradient. Remove torch.no_grad and detach from its forward."
        )
    try:
        batch.backward(logits, torch.ones_like(logits))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ValueError(
            f"module must allow a backward pass, got {type(error).__name__} from {name}: "
            f"{first_line(error)} Check the operations in place in its forward, and its functions."
        ) from error


def _facts(architecture: ModuleArchitecture, X: Tensor) -> ModuleFacts:
    """Make a training step of one module, and compare one of two modules with them alone."""
    first = architecture.pack_template()
    batch = _batch(architecture, [first])
    before, state = batch.values.clone(), torch.get_rng_state()
    saved: list[int] = []
    own = {each.data_ptr() for each in architecture.views(batch.values).values()}

    def count(tensor: Tensor) -> Tensor:
        saved.append(0 if tensor.data_ptr() in own else tensor.numel())
        return tensor

    with (
        FlopCounterMode(display=False) as flops,
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        batch.training(),
    ):
        rows = X.clone()
        batch.step_logits(DenseBatch(rows))
    _check_unchanged(architecture, rows, X)
    n_products = flops.get_total_flops() // (2 * len(X))
    is_random = not torch.equal(state, torch.get_rng_state())
    _check_backward(architecture, batch, X)
    changed = _changed_buffer(architecture, before, batch.values)
    if changed is not None:
        problem: str | None = f"its buffer {changed!r} changes in training"
    else:
        problem = _mapping_problem(architecture, X, is_random=is_random)
    other_rows = torch.cat([X[:1], X[1:2].expand(len(X) - 1, -1)])
    with torch.no_grad():
        again = batch.step_logits(DenseBatch(X))[0, 0]
        difference = float((batch.step_logits(DenseBatch(other_rows))[0, 0] - again).abs())
    mixes_rows = not difference <= _ROUNDING * (1 + float(again.abs()))
    return ModuleFacts(is_random, mixes_rows, sum(saved) // len(X), n_products, problem)


def _batch(
    architecture: ModuleArchitecture, values: list[Tensor], maps: bool | None = None
) -> ModuleBatch:
    return ModuleBatch(architecture, torch.stack(values), maps)


def _changed_buffer(architecture: ModuleArchitecture, before: Tensor, after: Tensor) -> str | None:
    """Return the name of a buffer that a step has changed, or None."""
    views = zip(architecture.views(before).items(), architecture.views(after).values(), strict=True)
    return next((name for (name, old), new in views if not _is_equal(old, new)), None)


def _is_equal(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _mapping_problem(architecture: ModuleArchitecture, X: Tensor, *, is_random: bool) -> str | None:
    """Return why two models cannot be computed at once, or None if they can be.

    Random numbers of models at once are not those of the models alone, so that modules that draw
    them in training are compared in evaluation mode.
    """
    second = architecture.draw(seed=1)
    second[: architecture.n_parameters] *= _FACTOR
    values = [architecture.pack_template(), second]
    rows = torch.stack([X, X.flip(0)])
    target = (torch.arange(len(X)) % 2).float()
    mapped = _batch(architecture, values, maps=True)
    try:
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            mapped.forward_backward(DenseBatch(rows), target, 1 / len(X))
            together = _step(mapped, rows, target, training=not is_random)
    except Exception as error:
        cause = error.__cause__ or error
        return f"torch.func.vmap raised {type(cause).__name__}: {first_line(cause)}"
    unmapped = [_LOOPS.search(str(each.message)) for each in shown]
    if any(unmapped):
        return f"torch.func.vmap loops over models in {next(filter(None, unmapped))[1]}"
    for k, own in enumerate(values):
        alone = _step(_batch(architecture, [own]), rows[k], target, training=not is_random)
        for one, several in zip(alone, together, strict=True):
            difference = (one[0] - several[k]).abs().max()
            if not bool(difference <= _ROUNDING * (1 + one.abs().max())):
                return (
                    f"a step of two of them at once differs by {float(difference):.2g} from their "
                    "steps alone"
                )
    return None


def _step(
    batch: ModuleBatch, rows: Tensor, target: Tensor, *, training: bool
) -> tuple[Tensor, Tensor]:
    """Return logits and gradient of one step, each with an axis of models."""
    outputs = batch.step_logits(DenseBatch(rows), training=training)
    residual = (torch.sigmoid(outputs.detach()) - target) / len(target)
    batch.backward(outputs, residual)
    return outputs.detach(), batch.gradient
