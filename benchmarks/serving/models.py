"""The models that are served, fitted to the credit_default table and saved as files."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.quality.tables import raw_split
from skbinary import TorchLogisticClassifier, TorchMLPClassifier, make_tabular_pipeline

N_TRAINING_ROWS = 5000
SIZES = (1, 1000)


@dataclass(frozen=True)
class Served:
    """A model in a file, and the rows that it scores.

    Parameters
    ----------
    name : str
    kind : {"joblib", "onnx"}
    model, requests : Path
        Files of the model and of its inputs, a list with one entry for each of `SIZES`.
    """

    name: str
    kind: str
    model: Path
    requests: Path


def save_all(folder: Path) -> list[Served]:
    """Fit all models and save them with their inputs.

    Parameters
    ----------
    folder : Path
        An empty folder.

    Returns
    -------
    list of Served
        Without those in ONNX if skl2onnx or onnxruntime is not installed.
    """
    train, y, test, _ = raw_split("credit_default", N_TRAINING_ROWS, 0)
    array, rows = (each.astype(float).to_numpy() for each in (train, test))
    scaler = StandardScaler().fit(array)
    scale = StandardScaler
    network = TorchMLPClassifier(random_state=0)
    models = {
        "TorchMLPClassifier": (TorchMLPClassifier(random_state=0), scaler.transform),
        "StandardScaler, TorchMLPClassifier": (make_pipeline(scale(), network), _unchanged),
        "StandardScaler, MLPClassifier": (
            make_pipeline(scale(), MLPClassifier(max_iter=20, random_state=0)),
            _unchanged,
        ),
        "StandardScaler, TorchLogisticClassifier": (
            make_pipeline(scale(), TorchLogisticClassifier()),
            _unchanged,
        ),
        "StandardScaler, LogisticRegression": (
            make_pipeline(scale(), LogisticRegression()),
            _unchanged,
        ),
    }
    served = []
    for name, (model, prepare) in models.items():
        model.fit(prepare(array), y)
        served += _save(folder, name, model, prepare(rows))
    pipeline = make_tabular_pipeline(random_state=0).fit(train, y)
    return served + _save(folder, "make_tabular_pipeline, data frame", pipeline, test)


def _unchanged(X: Any) -> Any:
    return X


def _save(folder: Path, name: str, model: Any, rows: Any) -> list[Served]:
    stem = name.replace(", ", "_").replace(" ", "_")
    requests = [rows[:n] for n in SIZES]
    served = [_write(folder / stem, name, "joblib", requests, lambda to: joblib.dump(model, to))]
    is_ours = "Torch" in name or "tabular" in name
    if not (is_ours and _has_onnx()):
        return served
    from skbinary.export.onnx import to_inputs, to_onnx

    graph = to_onnx(model, rows[:10], options={"zipmap": False})
    inputs = [to_inputs(each) for each in requests]
    path, content = folder / f"{stem}_onnx", graph.SerializeToString()
    name = f"{name}, as ONNX"
    return [*served, _write(path, name, "onnx", inputs, lambda to: to.write_bytes(content))]


def _write(
    path: Path, name: str, kind: str, requests: list[Any], write: Callable[[Path], object]
) -> Served:
    served = Served(name, kind, path.with_suffix(".model"), path.with_suffix(".requests"))
    write(served.model)
    served.requests.write_bytes(pickle.dumps(requests))
    return served


def _has_onnx() -> bool:
    return all(find_spec(library) is not None for library in ("onnxruntime", "skl2onnx"))
