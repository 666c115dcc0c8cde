import re

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skbinary import TorchModuleClassifier, VectorizedGridSearchCV
from tests.estimators.modules import (
    Attention,
    BatchNorm,
    Dropout,
    LayerNorm,
    ReLUNetwork,
    Softmax,
)

for name in ("skl2onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(name, reason="the extra onnx is not installed")
import onnxruntime  # noqa: E402

from skbinary.export.onnx import to_onnx  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:The models of"),
]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 6))
Y = np.array(["no", "yes"])[(X[:, 0] + X[:, 1] ** 2 > 1).astype(int)]


class Convolution(nn.Module):
    def __init__(self, sample_shape):
        super().__init__()
        height, width = sample_shape
        self.convolution = nn.Conv2d(1, 2, 3, padding=1)
        self.output = nn.Linear(2 * height * width, 1)

    def forward(self, images):
        return self.output(torch.relu(self.convolution(images[:, None])).flatten(1))


class FixedNumberOfRows(ReLUNetwork):
    def forward(self, X):
        return super().forward(X) + torch.zeros(len(X), 1)


class Branching(ReLUNetwork):
    def forward(self, X):
        return super().forward(X if X.sum() > 0 else 2 * X)


def assert_same_scores(model, rows):
    """Compare a graph, made of few rows, with the model on all rows and on one."""
    onnx_model = to_onnx(model, rows[:5], options={"zipmap": False})
    session = onnxruntime.InferenceSession(onnx_model.SerializeToString())
    for n_rows in (1, len(rows)):
        label, probability = session.run(None, {"X": rows[:n_rows]})
        np.testing.assert_allclose(probability, model.predict_proba(rows[:n_rows]), atol=1e-6)
        np.testing.assert_array_equal(label, model.predict(rows[:n_rows]))


@pytest.mark.parametrize("module", [ReLUNetwork, Softmax, BatchNorm, LayerNorm, Dropout, Attention])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_graph_of_a_module_gives_its_scores(module, dtype):
    model = TorchModuleClassifier(module, max_iter=3, threshold="f1", random_state=0)
    assert_same_scores(model.fit(X.astype(dtype), Y), X.astype(dtype))


def test_graph_of_an_ensemble_of_modules_gives_its_scores():
    model = TorchModuleClassifier(BatchNorm, max_iter=3, n_members=3, random_state=0).fit(X, Y)
    assert model.temperature_ != 1
    assert_same_scores(model, X)


def test_graph_of_a_module_on_images_gives_its_scores():
    images = X[:, :, None] * np.ones(4, dtype=np.float32)
    model = TorchModuleClassifier(Convolution, max_iter=3, random_state=0).fit(images, Y)
    assert_same_scores(model, images)


def test_graph_of_a_pipeline_and_of_a_search_gives_their_scores():
    model = TorchModuleClassifier(ReLUNetwork, max_iter=3, random_state=0)
    assert_same_scores(make_pipeline(StandardScaler(), model).fit(X, Y), X)
    search = VectorizedGridSearchCV(model, {"module__width": [4, 8]}, cv=2)
    assert_same_scores(search.fit(X, Y), X)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            FixedNumberOfRows,
            "module must take any number of rows to be exported, got FixedNumberOfRows, whose "
            "forward makes it a constant. Use x.shape[0] in its forward instead of len(x).",
        ),
        (Branching, "torch.onnx must be able to export the module, got "),
    ],
)
def test_module_that_cannot_be_exported_gets_a_sentence(module, message):
    model = TorchModuleClassifier(module, max_iter=2, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        to_onnx(model, X[:5])
