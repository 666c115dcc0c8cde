"""Modules as people write them, for tests. They can be imported, and so pickled."""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations


class ReLUNetwork(nn.Module):
    """One hidden layer."""

    def __init__(self, n_features, width=16):
        super().__init__()
        self.hidden = nn.Linear(n_features, width)
        self.output = nn.Linear(width, 1)

    def forward(self, X):
        return self.output(torch.relu(self.hidden(X)))


class ClosedForm(nn.Sequential):
    """The network of TorchMLPClassifier((16, 8)), whose logits have the shape (n,)."""

    def __init__(self, n_features):
        super().__init__(
            nn.Linear(n_features, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1)
        )

    def forward(self, X):
        return super().forward(X)[:, 0]


class Softmax(nn.Module):
    """Two logits a row."""

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 2)

    def forward(self, X):
        return self.layer(X)


class BatchNorm(nn.Sequential):
    def __init__(self, n_features):
        super().__init__(nn.Linear(n_features, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))


class LayerNorm(nn.Sequential):
    def __init__(self, n_features):
        super().__init__(nn.Linear(n_features, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 1))


class Dropout(nn.Sequential):
    def __init__(self, n_features, p=0.2):
        super().__init__(nn.Linear(n_features, 16), nn.ReLU(), nn.Dropout(p), nn.Linear(16, 1))


class Attention(nn.Module):
    """Attention between features, each of which is a token."""

    def __init__(self, n_features, width=8):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(n_features, width))
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.output = nn.Linear(width, 1)

    def forward(self, X):
        tokens = X[..., None] * self.embedding
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.output(mixed.mean(dim=1))


class IntegerEmbedding(nn.Module):
    """The first column holds categories 0, 1 and 2."""

    def __init__(self, n_features):
        super().__init__()
        self.embedding = nn.Embedding(3, 4)
        self.output = nn.Linear(4 + n_features - 1, 1)

    def forward(self, X):
        return self.output(torch.cat([self.embedding(X[:, 0].long()), X[:, 1:]], dim=1))


class GRU(nn.Module):
    """Each feature is a step of a sequence."""

    def __init__(self, n_features):
        super().__init__()
        self.recurrent = nn.GRU(1, 8, batch_first=True)
        self.output = nn.Linear(8, 1)

    def forward(self, X):
        _, last = self.recurrent(X[..., None])
        return self.output(last[0])


class WeightNorm(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.hidden = parametrizations.weight_norm(nn.Linear(n_features, 16))
        self.output = nn.Linear(16, 1)

    def forward(self, X):
        return self.output(torch.relu(self.hidden(X)))


class OldWeightNorm(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.hidden = nn.utils.weight_norm(nn.Linear(n_features, 16))
        self.output = nn.Linear(16, 1)

    def forward(self, X):
        return self.output(torch.relu(self.hidden(X)))


class SpectralNorm(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.hidden = parametrizations.spectral_norm(nn.Linear(n_features, 16))
        self.output = nn.Linear(16, 1)

    def forward(self, X):
        return self.output(torch.relu(self.hidden(X)))


class TiedWeights(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.first = nn.Linear(n_features, 8)
        self.second, self.third = nn.Linear(8, 8), nn.Linear(8, 8)
        self.third.weight = self.second.weight
        self.output = nn.Linear(8, 1)

    def forward(self, X):
        return self.output(torch.tanh(self.third(torch.tanh(self.second(self.first(X))))))


class Frozen(nn.Module):
    """A layer that stays as it was drawn."""

    def __init__(self, n_features):
        super().__init__()
        self.fixed = nn.Linear(n_features, 16).requires_grad_(False)
        self.output = nn.Linear(16, 1)

    def forward(self, X):
        return self.output(torch.relu(self.fixed(X)))


class ListOfLayers(nn.Module):
    def __init__(self, n_features, widths=(16, 8)):
        super().__init__()
        sizes = [n_features, *widths]
        self.layers = nn.ModuleList(map(nn.Linear, sizes, sizes[1:]))
        self.output = nn.Linear(sizes[-1], 1)

    def forward(self, X):
        for layer in self.layers:
            X = torch.relu(layer(X))
        return self.output(X)


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, X):
        ctx.save_for_backward(X)
        return X**2

    @staticmethod
    def backward(ctx, gradient):
        (X,) = ctx.saved_tensors
        return 2 * X * gradient


class CustomFunction(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.hidden = nn.Linear(n_features, 8)
        self.output = nn.Linear(8, 1)

    def forward(self, X):
        return self.output(_Square.apply(self.hidden(X)))


class Lazy(nn.Sequential):
    def __init__(self):
        super().__init__(nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(1))


class ControlFlow(nn.Module):
    """Its path depends on the weights."""

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 1)

    def forward(self, X):
        logits = self.layer(X)
        return logits if self.layer.weight.sum() > 0 else 0.5 * logits


class DoubleBuffers(nn.Module):
    """Standardizes with float64 constants, and counts steps by assignment."""

    def __init__(self, n_features):
        super().__init__()
        self.register_buffer("mean", torch.full((n_features,), 1 / 3, dtype=torch.float64))
        self.register_buffer("is_on", torch.tensor(True))
        self.register_buffer("n_steps", torch.tensor(0))
        self.layer = nn.Linear(n_features, 1)

    def forward(self, X):
        if self.training:
            self.n_steps = self.n_steps + 1
        return self.layer((X.double() - self.mean).float())


class RandomFeatures(nn.Module):
    """A random buffer, another one for each model."""

    def __init__(self, n_features):
        super().__init__()
        self.register_buffer("waves", torch.randn(n_features, 16))
        self.output = nn.Linear(16, 1)

    def forward(self, X):
        return self.output(torch.cos(X @ self.waves))


class Inplace(nn.Module):
    """Writes to its own activations, not to its input."""

    def __init__(self, n_features):
        super().__init__()
        self.hidden = nn.Linear(n_features, 16)
        self.output = nn.Linear(16, 1)

    def forward(self, X):
        hidden = self.hidden(X)
        hidden[:, 0] = 0
        return self.output(functional.relu_(hidden)).squeeze()


class Transformer(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.embedding = nn.Linear(1, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.output = nn.Linear(8, 1)

    def forward(self, X):
        return self.output(self.encoder(self.embedding(X[..., None]))[:, 0])


class Convolution(nn.Module):
    """For images of one channel."""

    def __init__(self, sample_shape, channels=4):
        super().__init__()
        height, width = sample_shape
        self.convolution = nn.Conv2d(1, channels, 3, padding=1)
        self.output = nn.Linear(channels * height * width, 1)

    def forward(self, X):
        return self.output(torch.relu(self.convolution(X[:, None])).flatten(1))


def make_sequential(n_features, width=16):
    """Return a network, as a function does."""
    return nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, 1))


# Each with a part of the reason why its models are trained one by one, or None.
MODULES = {
    ReLUNetwork: None,
    ClosedForm: None,
    Softmax: None,
    BatchNorm: "its buffer '1.running_mean' changes in training",
    LayerNorm: None,
    Dropout: None,
    Attention: "torch.func.vmap loops over models in aten::_scaled_dot_product",
    IntegerEmbedding: None,
    GRU: "torch.func.vmap",
    WeightNorm: "torch.func.vmap loops over models in aten::_weight_norm",
    OldWeightNorm: "torch.func.vmap loops over models in aten::_weight_norm",
    SpectralNorm: "changes in training",
    TiedWeights: None,
    Frozen: None,
    ListOfLayers: None,
    CustomFunction: "torch.func.vmap",
    Lazy: None,
    ControlFlow: "torch.func.vmap",
    DoubleBuffers: "its buffer 'n_steps' changes in training",
    RandomFeatures: None,
    Inplace: None,
    Transformer: "torch.func.vmap",
    make_sequential: None,
}
