"""The tutorials' training loops, written by hand in plain PyTorch, beside the estimators."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs, make_circles, make_moons
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, TorchModuleClassifier
from skbinary.estimators.recipe import draw_seed


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    # The tests run in parallel on all cores: loops that share cores wait for each other.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train_by_hand(model, optimizer, X, y, X_val, y_val, n_epochs, batch_size, shuffle):
    """Train as a tutorial does, and give the losses on the training and validation rows."""
    order, losses, validation_losses = np.arange(len(X)), [], []
    for _ in range(n_epochs):
        shuffle(order)
        total = 0.0
        for batch in torch.from_numpy(order).split(batch_size):
            loss = binary_cross_entropy_with_logits(model(X[batch])[:, 0], y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(X))
        with torch.no_grad():
            loss = binary_cross_entropy_with_logits(model(X_val)[:, 0], y_val)
        validation_losses.append(loss.item())
    return losses, validation_losses


def relu_network(*widths, random_state):
    """Build a network whose first weights are drawn as scikit-learn's MLPClassifier draws them."""
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layer, bound = nn.Linear(n_in, n_out), math.sqrt(6 / (n_in + n_out))
        with torch.no_grad():
            weight = random_state.uniform(-bound, bound, (n_in, n_out))
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(random_state.uniform(-bound, bound, n_out)))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def as_tensors(*arrays):
    return [
        torch.from_numpy(each.astype(np.float32)).flatten(1 if each.ndim > 1 else 0)
        for each in arrays
    ]


def assert_same_curves(estimator, losses, validation_losses):
    np.testing.assert_allclose(estimator.loss_curve_, losses, rtol=0, atol=1e-5)
    curve = estimator.validation_loss_curve_
    np.testing.assert_allclose(curve, validation_losses, rtol=0, atol=1e-5)


def test_logistic_on_blobs_follows_the_loop_written_by_hand():
    X, y = make_blobs(n_samples=[200, 200], random_state=2, cluster_std=1.4, n_features=2)
    estimator = TorchLogisticClassifier(
        C=np.inf,
        solver="sgd",
        learning_rate_init=0.01,
        momentum=0.0,
        batch_size=400,
        max_iter=5_000,
        n_iter_no_change=5_000,
        random_state=0,
        device="cpu",
    ).fit(X, y, X_val=X[:100], y_val=y[:100])

    X, y = as_tensors(X, y)
    model = nn.Linear(2, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    shuffle = np.random.RandomState(0).shuffle
    curves = train_by_hand(model, optimizer, X, y, X[:100], y[:100], 5_000, 400, shuffle)

    assert_same_curves(estimator, *curves)


def test_mlp_on_circles_follows_the_loop_written_by_hand():
    X, y = make_circles(1000, noise=0.1, random_state=1)
    estimator = TorchMLPClassifier(
        (100,), alpha=0.0, max_iter=300, n_iter_no_change=300, random_state=0, device="cpu"
    ).fit(X[:500], y[:500], X_val=X[500:], y_val=y[500:])

    random_state = np.random.RandomState(0)
    model = relu_network(2, 100, 1, random_state=random_state)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    rows = as_tensors(X[:500], y[:500], X[500:], y[500:])
    curves = train_by_hand(model, optimizer, *rows, 300, 200, random_state.shuffle)

    assert_same_curves(estimator, *curves)


@pytest.fixture(scope="module")
def noise_images():
    random = np.random.default_rng(0)
    X, y = random.random((15_000, 3, 28, 28), dtype=np.float32), random.integers(0, 2, 15_000)
    return X[:12_000], y[:12_000], X[12_000:], y[12_000:]


@pytest.fixture(scope="module")
def noise_model(noise_images):
    X, y, X_val, y_val = noise_images
    return TorchMLPClassifier(
        (64, 32),
        alpha=0.0,
        learning_rate_init=1e-4,
        batch_size=64,
        max_iter=3,
        n_iter_no_change=3,
        random_state=0,
        device="cpu",
    ).fit(X, y, X_val=X_val, y_val=y_val)


def test_mlp_on_noise_images_follows_the_loop_written_by_hand(noise_images, noise_model):
    random_state = np.random.RandomState(0)
    model = relu_network(3 * 28 * 28, 64, 32, 1, random_state=random_state)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    rows = as_tensors(*noise_images)
    curves = train_by_hand(model, optimizer, *rows, 3, 64, random_state.shuffle)

    assert_same_curves(noise_model, *curves)


def test_mlp_on_noise_images_stays_at_the_loss_of_a_coin(noise_model):
    # The spread of a mean over 3,000 such losses is about 0.002.
    assert noise_model.validation_loss_curve_[-1] == pytest.approx(math.log(2), abs=0.01)


def test_mlp_on_digit_images_follows_the_loop_written_by_hand():
    digits = load_digits()
    chosen = np.isin(digits.target, (3, 8))
    X, y = digits.images[chosen] / 16, digits.target[chosen]
    estimator = TorchMLPClassifier(
        (64, 32),
        alpha=0.0,
        batch_size=64,
        max_iter=40,
        n_iter_no_change=40,
        random_state=0,
        device="cpu",
    ).fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])

    random_state = np.random.RandomState(0)
    model = relu_network(8 * 8, 64, 32, 1, random_state=random_state)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    rows = as_tensors(X[:200], y[:200] == 8, X[200:], y[200:] == 8)
    curves = train_by_hand(model, optimizer, *rows, 40, 64, random_state.shuffle)

    assert_same_curves(estimator, *curves)


def test_mlp_on_10000_noisy_rows_follows_the_loop_written_by_hand():
    X, y = make_moons(10_000, noise=0.3, random_state=0)
    estimator = TorchMLPClassifier(
        (32,),
        solver="sgd",
        alpha=0.0,
        learning_rate_init=0.1,
        momentum=0.0,
        max_iter=100,
        n_iter_no_change=100,
        random_state=0,
        device="cpu",
    ).fit(X[:8_000], y[:8_000], X_val=X[8_000:], y_val=y[8_000:])

    random_state = np.random.RandomState(0)
    model = relu_network(2, 32, 1, random_state=random_state)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rows = as_tensors(X[:8_000], y[:8_000], X[8_000:], y[8_000:])
    curves = train_by_hand(model, optimizer, *rows, 100, 200, random_state.shuffle)

    assert_same_curves(estimator, *curves)


def test_convolutional_module_on_digit_images_follows_the_loop_written_by_hand():
    digits = load_digits()
    X, y = digits.images[:, None] / 16, digits.target == 8
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        module = nn.Sequential(*layers, nn.Linear(8 * 4 * 4, 1))
    estimator = TorchModuleClassifier(
        module,
        alpha=0.0,
        batch_size=64,
        max_iter=10,
        n_iter_no_change=10,
        random_state=0,
        device="cpu",
    ).fit(X[:900], y[:900], X_val=X[900:], y_val=y[900:])

    random_state = np.random.RandomState(0)
    draw_seed(random_state)  # of initial weights, which the module already has
    model = copy.deepcopy(module)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    images = [torch.from_numpy(part.astype(np.float32)) for part in (X[:900], X[900:])]
    labels = as_tensors(y[:900], y[900:])
    rows = images[0], labels[0], images[1], labels[1]
    curves = train_by_hand(model, optimizer, *rows, 10, 64, random_state.shuffle)

    assert_same_curves(estimator, *curves)
