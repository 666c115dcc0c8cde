"""Batches of a torch DataLoader, counted."""

import re

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from skbinary import TorchMLPClassifier
from skbinary.streaming import Batches

X = torch.randn(250, 3, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def loader(*columns):
    return DataLoader(TensorDataset(*columns), batch_size=100)


def test_batches_count_rows_batches_and_whole_passes():
    batches = Batches(loader(X, Y))
    for _ in range(2):
        for _batch in batches:
            pass
    next(iter(batches))
    assert (batches.n_epochs, batches.n_batches, batches.n_rows) == (2, 6, 500)
    assert batches.rows_per_second > 0
    assert re.fullmatch(r"<Batches: 2 epochs, 500 rows, [\d,]+ rows/s>", repr(batches))


def test_batches_find_the_classes_without_counting():
    batches = Batches(DataLoader(TensorDataset(X, Y.sort().values), batch_size=50))
    assert batches.classes.tolist() == [0, 1]
    assert batches.n_rows == 0


def test_batches_take_the_classes_that_are_given():
    assert Batches(iter([]), classes=["no", "yes"]).classes.tolist() == ["no", "yes"]


def test_batches_give_the_weights_of_partial_fit():
    weight = torch.arange(250) % 3
    found = TorchMLPClassifier((4,), random_state=0)
    for values, labels, weights in Batches(loader(X, Y, weight)):
        found.partial_fit(values, labels, weights, classes=[0, 1])
    expected = TorchMLPClassifier((4,), random_state=0)
    for start in (0, 100, 200):
        some = slice(start, start + 100)
        expected.partial_fit(X[some], Y[some], weight[some], classes=[0, 1])
    np.testing.assert_array_equal(found.coefs_[0], expected.coefs_[0])
    assert [weight for *_, weight in Batches(loader(X, Y))] == [None] * 3


def test_batches_of_rows_alone_raise():
    sentence = (
        "loader must give batches (X, y) or (X, y, sample_weight), got 1 items. "
        "Set the collate_fn of the loader."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        next(iter(Batches(loader(X))))


def test_batches_of_an_empty_loader_raise():
    with pytest.raises(
        ValueError, match=r"^loader must have batches, got none\. Check its data set\.$"
    ):
        _ = Batches([]).classes
