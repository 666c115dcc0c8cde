"""A plain PyTorch training loop, to compare with."""

import torch

from tests.callbacks.models import X_TRAIN, Y_TRAIN, small_mlp, weights_in


def train_by_hand(initial, rate_of_step, n_epochs, *, clip=None):
    """Train one hidden layer of ReLUs with SGD in plain PyTorch, without shuffling."""
    model = torch.nn.Sequential(torch.nn.Linear(30, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    model.load_state_dict(initial)
    rows = torch.tensor(X_TRAIN, dtype=torch.float32)
    target = torch.tensor(Y_TRAIN, dtype=torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate_of_step(0))
    step = 0
    for _ in range(n_epochs):
        for batch in torch.arange(len(rows)).split(64):
            optimizer.param_groups[0]["lr"] = rate_of_step(step)
            optimizer.zero_grad()
            logits = model(rows[batch])[:, 0]
            torch.nn.functional.binary_cross_entropy_with_logits(logits, target[batch]).backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            step += 1
    return weights_in(model.state_dict())


def plain_sgd(**params):
    """Make the network that ``train_by_hand`` trains."""
    settings = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "shuffle": False}
    return small_mlp(**{**settings, "learning_rate_init": 0.1, **params})
