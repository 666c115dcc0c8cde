"""Scripts against the operations that they record."""

import threading
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array

from skbinary import TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.data.batches import DenseBatch, SharedBatch
from skbinary.data.compressed import compress
from skbinary.data.rows import DenseRows, SparseRows
from skbinary.estimators import batching
from skbinary.models.batch_of_models import ACTIVATIONS, Architecture, ModelBatch, aligned
from skbinary.solvers.minibatch import torchscript
from skbinary.solvers.minibatch.torchscript import Scripts, Slope
from tests.data.test_compressed import one_hot

N_ROWS = 12
TABLE = torch.as_tensor(one_hot(400))


def made_stack(n_models=3, activation="relu", hidden=(8, 5), seed=0):
    architecture = Architecture(TABLE.shape[1], hidden, activation)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n_models, architecture.n_parameters, generator=generator) / 5
    return ModelBatch(architecture, aligned(start, hidden[0]))


def batches(kind, n_models=3):
    generator = torch.Generator().manual_seed(1)
    where = torch.stack([torch.randperm(400, generator=generator) for _ in range(n_models)])
    rows = compress(DenseRows(TABLE, torch.float32))
    dense = DenseRows(TABLE, torch.float32)
    if kind == "shared":
        first, second = (dense.batch(own).split(N_ROWS) for own in where[:2])
        models = (slice(0, 1), slice(1, n_models))
        return [
            SharedBatch(list(zip(models, both, strict=True)))
            for both in zip(first, second, strict=True)
        ]
    return {
        "dense": lambda: dense.batch(where[0]).split(N_ROWS),
        "dense of each": lambda: dense.batches_per_model(where, N_ROWS),
        "compressed": lambda: rows.batch(where[0]).split(N_ROWS),
        "compressed of each": lambda: rows.batches_per_model(where, N_ROWS),
    }[kind]()


def slopes(kind, *, weighted=False, noisy=False, n_models=3):
    """Give the gradients of an epoch, each with random targets, and weights and dropout if so."""
    generator = torch.Generator().manual_seed(2)

    def noise(layer, activations):
        return (torch.rand(activations.shape, generator=generator) > 0.3).float() / 0.7

    for batch in batches(kind, n_models)[:-1]:
        target = torch.randint(0, 2, (n_models, N_ROWS), generator=generator).float()
        scale = torch.rand(n_models, N_ROWS, generator=generator) if weighted else 1 / N_ROWS
        l2_penalty = torch.rand(n_models, 1, generator=generator)
        yield Slope(batch, target, scale, l2_penalty, noise if noisy else None)


def epoch(model_batch, taken, take):
    """Make gradient steps, and give all that they came to."""
    seen = []
    for slope in taken:
        logits = take(model_batch.for_batches_of(N_ROWS), slope)
        model_batch.parameters.sub_(model_batch.gradient, alpha=0.1)
        seen.append((logits.clone(), model_batch.gradient.clone()))
    return [torch.stack(each) for each in zip(*seen, strict=True)]


@pytest.fixture(autouse=True)
def quietly():
    with warnings.catch_warnings():
        # Whatever else torch has to say of a script is a mistake of ours.
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "`torch.jit.trace` is deprecated", DeprecationWarning)
        yield


@pytest.fixture
def early(monkeypatch):
    """Record as soon as there were two steps."""
    monkeypatch.setattr(torchscript, "_STEPS_BEFORE", 2)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(
    "kind", ["dense", "dense of each", "shared", "compressed", "compressed of each"]
)
def test_scripts_give_the_same_bits(kind, weighted, noisy, early):
    scripts = Scripts()
    plain, fast = made_stack(), made_stack()
    settings = {"weighted": weighted, "noisy": noisy}
    for wanted, got in zip(
        epoch(plain, slopes(kind, **settings), lambda through, slope: slope.take(through)),
        epoch(fast, slopes(kind, **settings), scripts.take),
        strict=True,
    ):
        assert_array_equal(got, wanted)
    assert [script is not None for script in scripts.recorded.values()] == [True]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("n_models", [1, 3])
def test_scripts_know_every_activation(activation, noisy, n_models, early):
    scripts = Scripts()
    kind = "compressed"
    plain, fast = (made_stack(n_models, activation) for _ in range(2))

    def taken():
        for slope in slopes(kind, noisy=noisy, n_models=n_models):
            single = n_models == 1
            yield slope._replace(target=slope.target[0]) if single else slope

    wanted = epoch(plain, taken(), lambda through, slope: slope.take(through))
    got = epoch(fast, taken(), scripts.take)
    assert_array_equal(got[1], wanted[1])
    assert len(scripts.recorded) == 1


def test_a_script_serves_all_stacks_of_its_shape(early):
    scripts = Scripts()
    epoch(made_stack(seed=1), slopes("compressed"), scripts.take)
    (script,) = scripts.recorded.values()
    plain, fast = made_stack(seed=2), made_stack(seed=2)
    wanted = epoch(plain, slopes("compressed"), lambda through, slope: slope.take(through))
    got = epoch(fast, slopes("compressed"), scripts.take)
    assert_array_equal(got[1], wanted[1])
    assert list(scripts.recorded.values()) == [script]


def test_a_script_is_recorded_once_it_pays(monkeypatch):
    recorded, original = [], torchscript._record
    monkeypatch.setattr(
        torchscript, "_record", lambda *args: recorded.append(args) or original(*args)
    )
    monkeypatch.setattr(torchscript, "_STEPS_BEFORE", 30)
    scripts = Scripts()
    epoch(made_stack(), list(slopes("dense"))[:30], scripts.take)
    assert recorded == []
    epoch(made_stack(), list(slopes("dense"))[:5], scripts.take)
    assert len(recorded) == 1


def test_scripts_are_no_more_than_a_process_shall_keep(monkeypatch, early):
    monkeypatch.setattr(torchscript, "_MOST_SCRIPTS", 1)
    scripts = Scripts()
    for kind in ("dense", "compressed"):
        epoch(made_stack(), slopes(kind), scripts.take)
    assert len(scripts.recorded) == 1


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, DeprecationWarning])
def test_where_torch_records_nothing_steps_go_on(error, monkeypatch, early):
    def refuse(*args, **kwargs):
        refused.append(args)
        raise error("no scripts here")

    refused = []
    monkeypatch.setattr(torch.jit, "trace", refuse)
    scripts = Scripts()
    plain, other = made_stack(), made_stack()
    wanted = epoch(plain, slopes("dense"), lambda through, slope: slope.take(through))
    got = epoch(other, slopes("dense"), scripts.take)
    assert_array_equal(got[1], wanted[1])
    assert len(refused) == 1


def test_sparse_batches_are_not_recorded(early):
    sparse = csr_array(TABLE.clamp(min=0).numpy())
    stored = map(torch.from_numpy, (sparse.indptr, sparse.indices, sparse.data))
    rows = SparseRows(*stored, TABLE.shape[1], torch.float32)
    first, second = rows.batch(torch.arange(4)), DenseBatch(TABLE[:4])
    assert first.pattern is None
    assert SharedBatch([(slice(0, 1), first), (slice(1, 2), second)]).pattern is None
    scripts = Scripts()
    model_batch = made_stack(2)
    for _ in range(5):
        slope = Slope(first, torch.ones(2, 4), 1 / 4, torch.zeros(2, 1))
        logits = scripts.take(model_batch.for_batches_of(4), slope)
    assert logits.shape == (2, 4)
    assert scripts.recorded == {}


def test_threads_record_one_after_another(early):
    scripts, results = Scripts(), {}

    def work(name):
        results[name] = epoch(made_stack(), slopes("compressed"), scripts.take)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    wanted = epoch(made_stack(), slopes("compressed"), lambda through, slope: slope.take(through))
    for i in range(4):
        assert_array_equal(results[i][1], wanted[1])


@pytest.mark.parametrize("n_threads", [1, 2])
def test_stacks_of_a_search_run_as_scripts_where_they_run_side_by_side(
    n_threads, monkeypatch, early
):
    scripts = Scripts()
    monkeypatch.setattr(batching, "SCRIPTS", scripts)
    monkeypatch.setattr(batching, "_PRODUCTS_OF_A_STEP", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    table, y = TABLE.numpy(), (TABLE[:, 0] > 0).int().numpy()
    network = TorchMLPClassifier((8,), max_iter=4, batch_size=32, tol=0.0, random_state=0)
    search = VectorizedGridSearchCV(
        network, {"alpha": [1e-4, 1e-2]}, cv=3, scoring="neg_log_loss", refit=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(table, y)
    assert (len(scripts.recorded) > 0) == (n_threads > 1)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_bags_are_as_long_as_a_batch_has_them(early):
    # A script that had kept the length of the first batch would sum too few terms.
    scripts = Scripts()
    model_batch = made_stack(2)
    counts = set()
    for slope in slopes("compressed", n_models=2):
        counts.add(len(slope.batch._by_row.members))
        got = scripts.take(model_batch.for_batches_of(N_ROWS), slope).clone()
        assert_array_equal(got, slope.take(model_batch.for_batches_of(N_ROWS)))
    assert len(counts) > 1
