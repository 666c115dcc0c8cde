"""Searches with a checkpoint end with the results of a search that was not killed."""

import re

import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import (
    Checkpoint,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
    VectorizedHalvingGridSearchCV,
    VectorizedHalvingRandomSearchCV,
    VectorizedRandomizedSearchCV,
)
from skbinary.estimators import batching
from tests.kills import Killed, Saves, bits, count_saves, fit_with_kill

pytest.importorskip("safetensors", reason="checkpoints need the extra safetensors")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(1100, 8, flip_y=0.1, random_state=0)
X = X.astype(np.float32)
FEW = slice(0, 300)
NETWORK = TorchMLPClassifier((8,), max_iter=3, batch_size=100, random_state=0)
LONG = TorchMLPClassifier((8,), batch_size=100, early_stopping=False, random_state=0)
GRID = {"learning_rate_init": [1e-3, 1e-2], "alpha": [1e-4, 1.0]}
HALVING = {"resource": "max_iter", "max_resources": 6, "factor": 2, "cv": 2, "random_state": 0}


def grid_search(model, grid, **parameters):
    return VectorizedGridSearchCV(model, grid, **{"cv": 2, **parameters})


def network(**parameters):
    return TorchMLPClassifier(**{**NETWORK.get_params(), **parameters})


SEARCHES = {
    "networks": (lambda: grid_search(NETWORK, GRID), slice(None)),
    "networks that stop at different epochs": (
        lambda: grid_search(network(tol=0.02, n_iter_no_change=1, dropout=0.2, max_iter=6), GRID),
        slice(None),
    ),
    "networks of two shapes in a pipeline, averaged": (
        lambda: grid_search(
            make_pipeline(StandardScaler(), NETWORK),
            {"torchmlpclassifier__hidden_layer_sizes": [(4,), (8, 4)]},
            ensemble_size=2,
        ),
        slice(None),
    ),
    "ensembles with a threshold": (
        lambda: grid_search(network(n_members=2, threshold="f1", max_iter=2), GRID),
        slice(None),
    ),
    "networks whose epochs are chosen": (
        lambda: grid_search(network(max_iter=2), {"alpha": [1e-4, 1.0]}),
        FEW,
    ),
    "logistic regressions on a path": (
        lambda: grid_search(TorchLogisticClassifier(), {"C": [0.1, 1.0]}, scoring="roc_auc"),
        FEW,
    ),
    "logistic regressions one by one": (
        lambda: grid_search(TorchLogisticClassifier(l1_ratio=0.5), {"C": [0.1, 1.0]}),
        FEW,
    ),
    "another estimator": (
        lambda: grid_search(LogisticRegression(), {"C": [0.1, 1.0]}, return_train_score=True),
        FEW,
    ),
    "halving that goes on": (
        lambda: VectorizedHalvingGridSearchCV(
            LONG.set_params(dropout=0.1, weight_average=0.9), GRID, **HALVING
        ),
        FEW,
    ),
    "halving of rows": (
        lambda: VectorizedHalvingGridSearchCV(
            NETWORK, GRID, factor=2, min_resources=550, cv=2, random_state=0
        ),
        slice(None),
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_search_killed_after_any_epoch_ends_with_the_same_results(name, monkeypatch, tmp_path):
    make, rows = SEARCHES[name]
    path = tmp_path / "run.safetensors"

    def fit(checkpoint):
        return make().fit(X[rows], Y[rows], checkpoint=checkpoint)

    expected = bits(make().fit(X[rows], Y[rows]))
    with monkeypatch.context() as patch:
        undisturbed, n_saves = count_saves(patch, fit, path)
    assert bits(undisturbed) == expected
    for n in {*np.linspace(1, n_saves, 8).astype(int).tolist()}:
        assert bits(fit_with_kill(monkeypatch, fit, path, n)) == expected
        assert not path.exists()


@pytest.mark.parametrize("parameter", [None, 3, np.random.RandomState(3)])
@pytest.mark.parametrize("kind", ["randomized", "halving"])
def test_random_search_goes_on_with_the_candidates_that_were_drawn(
    kind, parameter, monkeypatch, tmp_path
):
    distributions = {"alpha": loguniform(1e-6, 1.0)}
    model = network(random_state=None)

    def fit(checkpoint):
        if kind == "halving":
            search = VectorizedHalvingRandomSearchCV(
                model, distributions, n_candidates=4, random_state=parameter, **HALVING_ROWS
            )
        else:
            search = VectorizedRandomizedSearchCV(
                model,
                distributions,
                n_iter=2,
                cv=KFold(2, shuffle=True),
                random_state=parameter,
            )
        return search.fit(X, Y, checkpoint=checkpoint)

    path = tmp_path / "run.safetensors"
    kept = fit(Checkpoint(path, keep=True))
    before = path.read_bytes()
    resumed = fit(Checkpoint(path, keep=True))
    assert bits(resumed) == bits(kept)
    assert path.read_bytes() == before
    path.unlink()
    fit_with_kill(monkeypatch, fit, path, 4)


HALVING_ROWS = {"cv": StratifiedKFold(2), "factor": 2, "min_resources": 550}


def test_search_trains_no_candidate_again(monkeypatch, tmp_path):
    path = tmp_path / "run.safetensors"
    # One candidate in each batch.
    monkeypatch.setattr(batching, "_MAX_MODELS", 1)
    search = grid_search(NETWORK, GRID, refit=False)

    def fit(checkpoint):
        return search.fit(X, Y, checkpoint=checkpoint)

    with monkeypatch.context() as patch:
        _, n_saves = count_saves(patch, fit, path)
    with monkeypatch.context() as patch:
        saves = Saves(patch)
        saves.n_until_kill = n_saves - 4
        with pytest.raises(Killed):
            fit(Checkpoint(path, seconds=0))
        assert saves.n_saves == n_saves - 4
    with monkeypatch.context() as patch:
        saves = Saves(patch)
        fit(Checkpoint(path, seconds=0))
        assert saves.n_saves == 4


def test_single_fits_of_processes_are_done_once(monkeypatch, tmp_path):
    path = tmp_path / "run.safetensors"
    search = grid_search(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, n_jobs=2)

    def fit(checkpoint):
        return search.fit(X, Y, checkpoint=checkpoint)

    resumed = fit_with_kill(monkeypatch, fit, path, 4)
    assert bits(resumed) == bits(fit(None))


def test_search_goes_on_with_the_memory_that_was_free(monkeypatch, tmp_path):
    free = iter([1e9, 1e9, *[1e4] * 100])
    monkeypatch.setattr(batching, "free_bytes", lambda device: next(free))
    n_batches = []

    def as_batch(models, *args, original=batching._as_batch):
        n_batches.append(len(models))
        return original(models, *args)

    monkeypatch.setattr(batching, "_as_batch", as_batch)
    search = grid_search(NETWORK, GRID, refit=False)
    fit_with_kill(
        monkeypatch,
        lambda checkpoint: search.fit(X, Y, checkpoint=checkpoint),
        tmp_path / "run.safetensors",
        1,
    )
    assert n_batches[0] == n_batches[1] > 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda: grid_search(NETWORK, {"alpha": [1e-4, 2.0]}),
            r"^The parameter param_grid must be .*, got \{'alpha': \[0.0001, 2.0\]\}\.",
        ),
        (
            lambda: grid_search(network(max_iter=4), {"alpha": [1e-4, 1.0]}),
            "^The parameter estimator must be the same",
        ),
        (
            lambda: grid_search(NETWORK, {"alpha": [1e-4, 1.0]}, cv=3),
            r"^The parameter cv must be the same .*, 2, got 3\.",
        ),
    ],
)
def test_checkpoint_of_another_search_is_refused(other, message, monkeypatch, tmp_path):
    path = tmp_path / "run.safetensors"
    fit = grid_search(NETWORK, {"alpha": [1e-4, 1.0]}).fit
    fit(X, Y, checkpoint=Checkpoint(path, keep=True))
    with pytest.raises(ValueError, match=message):
        other().fit(X, Y, checkpoint=path)


def test_search_with_other_splits_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"

    class Splitter:
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def get_n_splits(self, *args, **kwargs):
            return 1

        def split(self, X, y=None, groups=None):
            order = self.rng.permutation(len(X))
            yield order[:800], order[800:]

    splitter = Splitter()
    search = grid_search(NETWORK, GRID, cv=splitter)
    search.fit(X, Y, checkpoint=Checkpoint(path, keep=True))
    message = (
        f"The splitter cv must be the same as in the fit that wrote the checkpoint {str(path)!r}, "
        "got another one. Pass the same, or delete the file to start again."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        search.fit(X, Y, checkpoint=path)


class Noise(TransformerMixin, BaseEstimator):
    """Adds random numbers, as transformers do that draw folds."""

    rng = np.random.default_rng(0)

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y=None):
        seed = self.random_state
        rng = self.rng if seed is None else np.random.default_rng(seed)
        self.noise_ = rng.normal(size=X.shape[1])
        return self

    def transform(self, X):
        return X + self.noise_


class SeedlessNoise(Noise):
    """Cannot be given a seed."""

    def __init__(self):
        self.random_state = None


@pytest.mark.parametrize("parameters", [{}, {"verbose": 1, "max_iter": 2}])
def test_search_with_a_random_transformer_goes_on_with_its_seed(parameters, monkeypatch, tmp_path):
    path = tmp_path / "run.safetensors"
    model = make_pipeline(Noise(), network(**parameters))

    def fit(checkpoint):
        search = grid_search(model, {"torchmlpclassifier__alpha": [1e-4, 1.0]})
        return search.fit(X, Y, checkpoint=checkpoint)

    kept = fit(Checkpoint(path, keep=True))
    again = fit(path)
    assert bits(again) == bits(kept)
    resumed = fit_with_kill(monkeypatch, fit, path, 2)
    seeded = clone(model).set_params(**resumed.best_estimator_.get_params(deep=True))
    expected = grid_search(seeded, {"torchmlpclassifier__alpha": [1e-4, 1.0]}).fit(X, Y)
    assert bits(resumed) == bits(expected)
    assert model.get_params()["noise__random_state"] is None


def test_search_whose_transformers_return_other_rows_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    search = grid_search(make_pipeline(SeedlessNoise(), NETWORK), {})
    search.fit(X, Y, checkpoint=Checkpoint(path, keep=True))
    message = "^The rows that the transformers of a search return must be the same as in the fit"
    with pytest.raises(ValueError, match=message):
        search.fit(X, Y, checkpoint=path)


def test_single_fit_on_other_rows_starts_again(monkeypatch, tmp_path):
    path = tmp_path / "run.safetensors"
    model = make_pipeline(SeedlessNoise(), network(verbose=1))
    kept = grid_search(model, {}, refit=False, error_score="raise")
    with monkeypatch.context() as patch:
        saves = Saves(patch)
        saves.n_until_kill = 2  # of three epochs of the first fold
        with pytest.raises(Killed):
            kept.fit(X, Y, checkpoint=Checkpoint(path, seconds=0))
    with monkeypatch.context() as patch:
        resumed = Saves(patch)
        kept.fit(X, Y, checkpoint=Checkpoint(path, seconds=0))
    _, n_saves = count_saves(monkeypatch, lambda each: kept.fit(X, Y, checkpoint=each), path)
    assert resumed.n_saves == n_saves


def test_search_leaves_its_random_state_as_it_was(tmp_path):
    search = VectorizedRandomizedSearchCV(
        TorchLogisticClassifier(), {"C": [0.1, 1.0]}, n_iter=2, cv=KFold(2, shuffle=True)
    )
    search.fit(X[FEW], Y[FEW], checkpoint=tmp_path / "run.safetensors")
    assert search.random_state is None
    assert search.cv.random_state is None


def test_warnings_of_single_fits_are_shown_by_the_resumed_search_too(monkeypatch, tmp_path):
    path = tmp_path / "run.safetensors"
    model = TorchLogisticClassifier(l1_ratio=0.5, max_iter=1)

    def fit(checkpoint):
        return grid_search(model, {"C": [0.1, 1.0]}, refit=False).fit(X, Y, checkpoint=checkpoint)

    with monkeypatch.context() as patch:
        saves = Saves(patch)
        saves.n_until_kill = 4
        with pytest.raises(Killed):
            fit(Checkpoint(path, seconds=0))
    with pytest.warns(match="4 of 4 fits of this search"):
        fit(path)
