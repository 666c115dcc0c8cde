"""Fits on a table that is read in parts go on from a checkpoint."""

import re

import numpy as np
import pytest

from skbinary import (
    Checkpoint,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    TorchModuleClassifier,
)
from tests.data.streamed_tables import FRAME, weighted
from tests.estimators import modules
from tests.kills import bits, count_saves, fit_with_kill

pytest.importorskip("pyarrow", reason="Parquet files need the extra parquet")
pytest.importorskip("safetensors", reason="checkpoints need the extra safetensors")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FITS = {
    "network": TorchMLPClassifier((8,), max_iter=3, random_state=0),
    "dropout and average": TorchMLPClassifier(
        (8,), max_iter=3, dropout=0.2, weight_average=0.9, learning_rate="warmup", random_state=0
    ),
    "momentum": TorchMLPClassifier(
        (8,), max_iter=3, solver="sgd", early_stopping=False, random_state=0
    ),
    "module": TorchModuleClassifier(modules.Dropout, max_iter=3, random_state=0),
    "logistic regression": TorchLogisticClassifier(),
}


@pytest.mark.parametrize("name", FITS)
def test_fit_killed_after_any_epoch_ends_with_the_same_bits(name, path, monkeypatch, tmp_path):
    model, checkpoint_path = FITS[name], tmp_path / "run.safetensors"

    def fit(checkpoint):
        kind = type(model)
        return kind(**model.get_params()).fit(**weighted(path), checkpoint=checkpoint)

    expected = bits(fit(None))
    with monkeypatch.context() as patch:
        undisturbed, n_saves = count_saves(patch, fit, checkpoint_path)
    assert bits(undisturbed) == expected
    assert n_saves == (1 if name == "logistic regression" else 3)
    for n in range(1, n_saves + 1):
        assert bits(fit_with_kill(monkeypatch, fit, checkpoint_path, n)) == expected


def test_other_memory_is_refused(path, tmp_path):
    model = TorchMLPClassifier((8,), max_iter=3, random_state=0)
    checkpoint = Checkpoint(tmp_path / "run.safetensors", keep=True)
    model.fit(**weighted(path), checkpoint=checkpoint)
    message = (
        "The memory of Streamed must be the same as in the fit that wrote the checkpoint "
        f"{str(checkpoint.path)!r}, 60000 bytes, got 50000 bytes. Pass the same, or "
        "delete the file to start again."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.fit(**weighted(path, memory="50KB"), checkpoint=checkpoint)


def test_changed_row_that_is_not_in_the_sample_is_found(path, monkeypatch, tmp_path):
    changed = FRAME.copy()
    changed.loc[1, "a"] = np.float32(0.5)
    changed.to_parquet(tmp_path / "changed.parquet", row_group_size=500)
    message = "The table must be the same as in the fit that wrote the checkpoint"
    rows = iter([path, tmp_path / "changed.parquet"])

    def fit(checkpoint):
        model = TorchMLPClassifier((8,), max_iter=3, random_state=0)
        return model.fit(**weighted(next(rows)), checkpoint=checkpoint)

    with pytest.raises(ValueError, match=re.escape(message)):
        fit_with_kill(monkeypatch, fit, tmp_path / "run.safetensors", 2)
