"""Fits with a checkpoint end with the bits of a fit that was not killed."""

import functools
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.datasets import make_classification

from skbinary import Checkpoint, TorchLogisticClassifier, TorchMLPClassifier, TorchModuleClassifier
from skbinary.checkpoints import file, identity, session
from tests.estimators import modules
from tests.kills import Killed, Saves, bits, count_saves, fit_with_kill

pytest.importorskip("safetensors", reason="checkpoints need the extra safetensors")

X, Y = make_classification(1200, 10, flip_y=0.1, random_state=0)
X = X.astype(np.float32)
FEW = slice(0, 300)
NETWORK = TorchMLPClassifier((8, 4), max_iter=5, batch_size=100, random_state=0)
MODULE = TorchModuleClassifier(modules.Dropout, max_iter=4, batch_size=100, random_state=0)
NOT_CONVERGED = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
pytestmark = NOT_CONVERGED


def network(**parameters):
    return TorchMLPClassifier(**{**NETWORK.get_params(), **parameters})


def module(kind, **parameters):
    return TorchModuleClassifier(**{**MODULE.get_params(), "module": kind, **parameters})


FITS = {
    "network": (network(), slice(None)),
    "dropout": (network(dropout=0.2), slice(None)),
    "dropout in shards": (
        network(hidden_layer_sizes=(512, 256), batch_size=600, dropout=0.2, max_iter=2),
        slice(None),
    ),
    "momentum and patience": (
        network(solver="sgd", learning_rate="adaptive", tol=0.01, n_iter_no_change=1),
        slice(None),
    ),
    "warm-up and average": (network(weight_average=0.9, early_stopping=False), slice(None)),
    "one cycle": (network(learning_rate="onecycle", monitor="roc_auc"), slice(None)),
    "threshold": (network(threshold="f1", early_stopping=False, max_iter=2), slice(None)),
    "epochs chosen by cross-validation": (network(max_iter=3), FEW),
    "ensemble": (network(n_members=3, dropout=0.2, weight_average=0.9), slice(None)),
    "ensemble with patience": (
        network(n_members=3, n_iter_no_change=1, tol=0.05, threshold="f1"),
        slice(None),
    ),
    "logistic regression": (TorchLogisticClassifier(threshold="f1"), FEW),
    "logistic regression in batches": (
        TorchLogisticClassifier(solver="sgd", max_iter=3, random_state=0),
        slice(None),
    ),
    "module with dropout": (MODULE, slice(None)),
    "module with buffers": (module(modules.BatchNorm), slice(None)),
    "ensemble of modules": (module(modules.Dropout, n_members=2), slice(None)),
}


@pytest.mark.parametrize("name", FITS)
def test_fit_killed_after_any_epoch_ends_with_the_same_bits(name, monkeypatch, tmp_path):
    model, rows = FITS[name]
    path = tmp_path / "run.safetensors"

    def fit(checkpoint):
        return type(model)(**model.get_params()).fit(X[rows], Y[rows], checkpoint=checkpoint)

    expected = bits(fit(None))
    with monkeypatch.context() as patch:
        undisturbed, n_saves = count_saves(patch, fit, path)
    assert bits(undisturbed) == expected
    assert n_saves >= 1
    for n in range(1, n_saves + 1):
        assert bits(fit_with_kill(monkeypatch, fit, path, n)) == expected
        assert not path.exists()


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, torch.tensor])
def test_fit_of_any_table_with_weights_groups_and_validation_rows_goes_on(
    kind, monkeypatch, tmp_path
):
    weight, groups = np.linspace(0.5, 2, 1000), np.arange(1000) // 4

    def fit(checkpoint):
        return network(n_members=2).fit(
            kind(X[:1000]),
            Y[:1000],
            weight,
            groups=groups,
            X_val=kind(X[1000:]),
            y_val=Y[1000:],
            checkpoint=checkpoint,
        )

    resumed = fit_with_kill(monkeypatch, fit, tmp_path / "run.safetensors", 2)
    assert bits(resumed) == bits(fit(None))


def test_fit_is_resumed_twice_without_repeating_epochs(monkeypatch, tmp_path):
    path, n_epochs = tmp_path / "run.safetensors", 5
    n_saves = []
    for n_until_kill in (2, 2, np.inf):
        with monkeypatch.context() as patch:
            saves = Saves(patch)
            saves.n_until_kill = n_until_kill
            try:
                resumed = network().fit(X, Y, checkpoint=Checkpoint(path, seconds=0))
            except Killed:
                assert path.exists()
        n_saves.append(saves.n_saves)
    assert n_saves == [2, 2, n_epochs - 4]
    assert bits(resumed) == bits(network().fit(X, Y))


@pytest.mark.parametrize("parameters", [{}, {"n_members": 2}, {"max_iter": 2, "threshold": "f1"}])
def test_fit_without_a_seed_goes_on_with_the_seed_that_was_drawn(parameters, monkeypatch, tmp_path):
    original, n_drawn = np.random.default_rng, []

    def default_rng(*seed):
        if not seed:
            n_drawn.append(None)
        return original(*(seed or (len(n_drawn),)))

    def fit(checkpoint):
        return network(**parameters, random_state=None).fit(X[FEW], Y[FEW], checkpoint=checkpoint)

    monkeypatch.setattr(np.random, "default_rng", default_rng)
    resumed = fit_with_kill(monkeypatch, fit, tmp_path / "run.safetensors", 3)
    seed = int(original(1).integers(2**32))
    expected = network(**parameters, random_state=seed).fit(X[FEW], Y[FEW])
    assert bits(resumed) == bits(expected)
    assert len(n_drawn) == 1


def test_fit_with_a_generator_goes_on_from_its_first_state(monkeypatch, tmp_path):
    generator = np.random.RandomState(3)  # the fit that is killed has drawn from it

    def fit(checkpoint):
        return network(random_state=generator).fit(X, Y, checkpoint=checkpoint)

    resumed = fit_with_kill(monkeypatch, fit, tmp_path / "run.safetensors", 2)
    assert bits(resumed) == bits(network(random_state=np.random.RandomState(3)).fit(X, Y))


def test_fit_with_warm_start_goes_on_from_the_same_model(monkeypatch, tmp_path):
    def fit(checkpoint):
        model = network(warm_start=True, max_iter=2).fit(X, Y)
        return model.set_params(max_iter=4).fit(X[:1000], Y[:1000], checkpoint=checkpoint)

    resumed = fit_with_kill(monkeypatch, fit, tmp_path / "run.safetensors", 2)
    assert bits(resumed) == bits(fit(None))


# -- when the file is written, kept and deleted ----------------------------------------------


def test_file_is_written_once_the_seconds_have_passed(monkeypatch, tmp_path):
    now, writes = [0.0], []

    def write(path, tree):
        writes.append(now[0])

    def clock():
        now[0] += 1  # read at the start, after each epoch, and after each write
        return now[0]

    monkeypatch.setattr(session, "clock", clock)
    monkeypatch.setattr(session, "write_tree", write)
    network(max_iter=9, n_iter_no_change=9).fit(
        X, Y, checkpoint=Checkpoint(tmp_path / "run.safetensors", seconds=3)
    )
    assert writes == [4, 8, 12]  # after every third epoch


def test_ctrl_c_writes_the_file_at_once_and_the_same_call_goes_on(monkeypatch, tmp_path):
    path = tmp_path / "run.safetensors"

    def interrupt(session, key, state, save=session.Session.save):
        save(session, key, state)
        if len(state["runs"].get("0", {"history": {"loss": []}})["history"]["loss"]) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "save", interrupt)
        with pytest.warns(UserWarning, match="Training was interrupted by the user after 2 epochs"):
            interrupted = network().fit(X, Y, checkpoint=path)
    assert len(interrupted.loss_curve_) == 2
    assert path.exists()
    resumed = network().fit(X, Y, checkpoint=path)
    assert bits(resumed) == bits(network().fit(X, Y))
    assert not path.exists()


def test_kept_file_returns_the_same_model_without_training(monkeypatch, tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.safetensors", keep=True)
    fitted = network().fit(X, Y, checkpoint=checkpoint)
    saves = Saves(monkeypatch)
    again = network().fit(X, Y, checkpoint=checkpoint)
    assert saves.n_saves == 0
    assert bits(again) == bits(fitted)
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_fit_that_diverges_leaves_no_file(tmp_path):
    model = network(solver="sgd", learning_rate_init=1e30)
    with pytest.raises(ValueError, match="must stay a finite number"):
        model.fit(X, Y, checkpoint=Checkpoint(tmp_path / "run.safetensors", seconds=0))
    assert os.listdir(tmp_path) == []


def test_file_that_cannot_be_written_does_not_end_the_fit(monkeypatch, tmp_path):
    def fail(path, tree):
        raise OSError("No space left on device")

    monkeypatch.setattr(session, "write_tree", fail)
    with pytest.warns(
        UserWarning,
        match=re.escape(
            "The checkpoint could not be written (No space left on device). The fit goes on "
            "without it."
        ),
    ):
        model = network().fit(X, Y, checkpoint=Checkpoint(tmp_path / "r.safetensors", seconds=0))
    assert bits(model) == bits(network().fit(X, Y))


# -- what is refused -------------------------------------------------------------------------


@pytest.fixture
def killed(monkeypatch, tmp_path):
    """Return the path of a checkpoint of a fit that was killed."""
    path = tmp_path / "run.safetensors"
    with monkeypatch.context() as patch:
        saves = Saves(patch)
        saves.n_until_kill = 2
        with pytest.raises(Killed):
            network().fit(X, Y, checkpoint=path)
    return path


OTHER_FITS = {
    "The parameter alpha": (network(alpha=0.5), (X, Y), "0.0001, got 0.5"),
    "The parameter hidden_layer_sizes": (
        network(hidden_layer_sizes=(9,)),
        (X, Y),
        "(8, 4), got (9,)",
    ),
    "The class that is fitted": (
        TorchLogisticClassifier(),
        (X, Y),
        "TorchMLPClassifier, got TorchLogisticClassifier",
    ),
    "X": (network(), (X + 1, Y), None),
    "y": (network(), (X, 1 - Y), None),
    "sample_weight": (network(), (X, Y, np.ones(len(Y))), None),
}


@pytest.mark.parametrize("what", OTHER_FITS)
def test_fit_with_the_checkpoint_of_another_one_is_refused(what, killed):
    model, data, values = OTHER_FITS[what]
    differs = ", got another one" if values is None else f", {values}"
    message = (
        f"{what} must be the same as in the fit that wrote the checkpoint {str(killed)!r}"
        f"{differs}. Pass the same, or delete the file to start again."
    )
    before = killed.read_bytes()
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.fit(*data, checkpoint=killed)
    assert killed.read_bytes() == before


def test_fit_with_the_checkpoint_of_another_version_is_refused(monkeypatch, killed):
    monkeypatch.setattr(identity, "__version__", "99.0")
    with pytest.raises(ValueError, match=r"^The version of skbinary must be the same .* 99\.0\."):
        network().fit(X, Y, checkpoint=killed)


def test_file_of_which_any_part_is_missing_or_changed_is_refused(killed):
    whole = killed.read_bytes()
    message = f"The checkpoint must be a whole file that fit has written, got {str(killed)!r}"
    rng = np.random.RandomState(0)
    for position in [0, 7, 8, 100, len(whole) - 1, *rng.randint(len(whole), size=30)]:
        changed = bytearray(whole)
        changed[position] ^= 1 << rng.randint(8)
        for damaged in (bytes(changed), whole[:position]):
            killed.write_bytes(damaged)
            with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
                network().fit(X, Y, checkpoint=killed)
    killed.write_bytes(whole)
    assert bits(network().fit(X, Y, checkpoint=killed)) == bits(network().fit(X, Y))


def test_file_of_something_else_is_refused(tmp_path):
    import safetensors.numpy

    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(3)}, path)
    message = (
        f"The checkpoint must be a whole file that fit has written, got {str(path)!r} with an "
        "error (no checkpoint of skbinary). Delete the file to start again, or name another one."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        network().fit(X, Y, checkpoint=path)


def test_callbacks_are_refused(tmp_path):
    from skorch.callbacks import EpochScoring

    message = (
        "callbacks must be None with checkpoint, since the state of a callback cannot be saved, "
        "got ['EpochScoring']. Leave out one of them."
    )
    model = network(callbacks=[EpochScoring("roc_auc")])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.fit(X, Y, checkpoint=tmp_path / "run.safetensors")


@pytest.mark.parametrize(
    ("checkpoint", "error", "message"),
    [
        (
            3,
            TypeError,
            "checkpoint must be a path or a skbinary.Checkpoint, got int. Pass the path of a "
            "file, such as 'run.safetensors'.",
        ),
        (
            "no folder/run.safetensors",
            ValueError,
            "The path of a checkpoint must be a file in a folder that exists, got 'no "
            "folder/run.safetensors'. Create the folder, or name another file.",
        ),
    ],
)
def test_checkpoint_that_is_no_path_of_a_file_is_refused(checkpoint, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        network().fit(X, Y, checkpoint=checkpoint)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "5"])
def test_checkpoint_with_other_seconds_is_refused(seconds):
    message = (
        f"seconds must be a number of at least 0, got {seconds!r}. Pass the seconds between two "
        "writes."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Checkpoint("run.safetensors", seconds=seconds)


# -- the file --------------------------------------------------------------------------------


def test_tree_is_read_as_it_was_written(tmp_path):
    tree = {
        "curve": [0.1, float("nan"), float("-inf")],
        "tensor": torch.arange(6, dtype=torch.uint8).reshape(2, 3),
        "scalar": torch.tensor(1.5, dtype=torch.float64),
        "list": [{"array": np.zeros((0, 3), dtype=np.float32)}, None, True, "text", 2**40],
    }
    path = tmp_path / "tree.safetensors"
    file.write_tree(path, tree)
    read = file.read_tree(path)
    assert bits({**read, "tensor": read["tensor"].numpy(), "scalar": read["scalar"].item()}) == (
        bits({**tree, "tensor": tree["tensor"].numpy(), "scalar": 1.5})
    )
    assert read["tensor"].dtype == torch.uint8
    assert os.listdir(tmp_path) == ["tree.safetensors"]


def test_write_that_fails_leaves_the_file_from_before(monkeypatch, tmp_path):
    path = tmp_path / "tree.safetensors"
    file.write_tree(path, {"number": 1})

    def fail(descriptor):
        raise OSError("disk")

    monkeypatch.setattr(file.os, "fsync", fail)
    with pytest.raises(OSError, match="disk"):
        file.write_tree(path, {"number": 2})
    assert file.read_tree(path) == {"number": 1}


# -- what a fit is ---------------------------------------------------------------------------


def test_content_hash_depends_on_values_and_not_on_how_they_are_held(tmp_path):
    pd = pytest.importorskip("pandas", reason="hashes of data frames need pandas")
    np.save(tmp_path / "rows.npy", X)
    tables = [X, np.asfortranarray(X), np.load(tmp_path / "rows.npy", mmap_mode="r"), X.tolist()]
    dense = {identity.content_hash(np.asarray(each, dtype=np.float32)) for each in tables}
    assert len(dense) == 1
    frame = pd.DataFrame(X).assign(word=["a", "b"] * 600)
    hashes = {identity.content_hash(each) for each in (frame, frame.copy(), frame[frame.columns])}
    assert len(hashes) == 1
    assert identity.content_hash(frame.assign(word="a")) not in hashes
    assert identity.content_hash(X[::-1]) not in dense


def make_function(width):
    def function(n_features):
        return [n_features, width]

    return function


def test_describe_depends_on_what_a_value_does_and_not_on_its_address():
    from scipy.stats import loguniform

    describe = identity.describe
    assert describe(loguniform(1e-4, 1)) == describe(loguniform(1e-4, 1))
    assert describe(loguniform(1e-4, 1)) != describe(loguniform(1e-3, 1))
    partials = [functools.partial(round, ndigits=n) for n in (1, 1, 2)]
    assert describe(partials[0]) == describe(partials[1]) != describe(partials[2])
    functions = [make_function(n) for n in (1, 1, 2)]
    assert describe(functions[0]) == describe(functions[1]) != describe(functions[2])
    assert describe(lambda x: x + 1) == describe(lambda x: x + 1) != describe(lambda x: x + 2)
    assert describe(np.float64(0.5)) == describe(0.5)
    own = [1]
    own.append(own)
    assert describe(own) == "[1, ...]"


# -- real kills ------------------------------------------------------------------------------

SCRIPT = """
import sys
from sklearn.datasets import make_classification
from skbinary import Checkpoint, TorchMLPClassifier
X, y = make_classification(1200, 10, flip_y=0.1, random_state=0)
model = TorchMLPClassifier((8, 4), max_iter=2000, batch_size=100, n_iter_no_change=2000,
                           random_state=0, verbose=1, n_members=int(sys.argv[2]))
model.fit(X, y, checkpoint=Checkpoint(sys.argv[1], seconds=0.02))
"""


@pytest.mark.parametrize("n_members", [1, 2])
def test_process_that_is_killed_goes_on_from_the_file(n_members, tmp_path):
    path = tmp_path / "run.safetensors"
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), str(n_members)]
    n_read = []
    for n_lines in (40, 90):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        epochs = [next(process.stdout) for _ in range(n_lines * n_members)]
        while not path.exists():
            epochs.append(next(process.stdout))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        n_read.append(int(re.search(r"epoch (\d+)", epochs[0])[1]))
    assert n_read[0] == 1
    assert n_read[1] > 1  # it went on
    assert pathlib.Path(path).exists()


def test_resume_without_safetensors_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    message = "^safetensors must be installed for checkpoint, got none"
    with pytest.raises(ImportError, match=message):
        network().fit(X, Y, checkpoint=tmp_path / "run.safetensors")


@pytest.mark.parametrize("value", [(100,), (64, 32), [1, 2], [], ()])
def test_parameter_is_described_as_it_is_written(value):
    assert identity.describe(value) == repr(value)
