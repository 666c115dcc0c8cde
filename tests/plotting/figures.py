"""Small networks, and what is read from a drawn figure."""

import numpy as np

from skbinary import TorchMLPClassifier


def network(**settings):
    settings = {"max_iter": 12, "n_iter_no_change": 12, "random_state": 0, **settings}
    settings.setdefault("early_stopping", True)
    return TorchMLPClassifier((8,), learning_rate_init=0.02, **settings)


def results_of(**params):
    """Make the results of a search whose candidates have these values and increasing scores."""
    names = list(params)
    candidates = [
        dict(zip(names, values, strict=True)) for values in zip(*params.values(), strict=True)
    ]
    return {"params": candidates, "mean_test_score": np.linspace(0.5, 0.9, len(candidates))}


def y_values(line):
    return np.asarray(line.get_ydata(), dtype=float)


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]
