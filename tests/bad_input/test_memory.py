"""Methods that run out of memory: an error that says what to do."""

import pytest
import torch

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.data import preparation
from skbinary.estimators import scoring
from tests.bad_input.cases import (
    SCORES,
    X,
    Y,
    assert_raises_unchanged,
    fitted,
    starts,
    unfitted,
    whole,
)

OUT_OF_MEMORY = [
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.\nat"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronous"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    MemoryError("Unable to allocate 3 GiB"),
]


def raiser(error):
    def full(*args, **kwargs):
        raise error

    return full


@pytest.mark.parametrize(
    ("kind", "method", "error"),
    [
        (TorchLogisticClassifier, "fit", OUT_OF_MEMORY[0]),
        (TorchMLPClassifier, "fit", OUT_OF_MEMORY[1]),
        (TorchMLPClassifier, "fit", OUT_OF_MEMORY[2]),
        (TorchMLPClassifier, "partial_fit", OUT_OF_MEMORY[3]),
        (TorchLogisticClassifier, "tune_threshold", OUT_OF_MEMORY[0]),
    ],
)
def test_method_out_of_memory_raises_with_advice(kind, method, error, monkeypatch):
    model = fitted(kind, solver="adam")
    monkeypatch.setattr(scoring, "as_rows", raiser(error))
    monkeypatch.setattr(preparation, "as_rows", raiser(error))
    more = ("f1",) if method == "tune_threshold" else ()
    first_line = str(error).splitlines()[0]
    pattern = whole(
        f"NAME.{method} must fit into the memory of the device, got {first_line!r}. Pass "
        "float32 rows, lower batch_size or the number of units, or set device='cpu' if the device "
        "is an accelerator."
    )
    assert_raises_unchanged(model, lambda m: getattr(m, method)(X, Y, *more), MemoryError, pattern)


@pytest.mark.parametrize(("score", "error"), list(zip(SCORES, OUT_OF_MEMORY, strict=True)))
def test_prediction_out_of_memory_raises_with_advice(score, error, monkeypatch):
    model = fitted(TorchMLPClassifier)
    monkeypatch.setattr(scoring, "as_rows", raiser(error))
    pattern = starts("X and its scores must fit into the memory of the device, got ")
    assert_raises_unchanged(model, lambda m: getattr(m, score)(X), MemoryError, pattern)


def test_fit_of_a_network_beyond_memory_raises_with_advice():
    with pytest.raises(MemoryError, match=r"^TorchMLPClassifier\.fit must fit into the memory"):
        TorchMLPClassifier((10**7, 10**7)).fit(X, Y)


def test_fit_other_runtime_error_passes_unchanged(monkeypatch):
    monkeypatch.setattr(preparation, "as_rows", raiser(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match=whole("shapes do not match")):
        unfitted(TorchMLPClassifier).fit(X, Y)
