"""Lines that ``verbose`` prints."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import make_classification
from skorch.callbacks import (
    EarlyStopping,
    LRScheduler,
    PrintLog,
)

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from tests.callbacks.models import (
    FULL_BATCH,
    VALIDATION,
    X_TRAIN,
    Y_TRAIN,
    name_of,
    small_mlp,
)
from tests.callbacks.recorders import (
    BatchRecorder,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size must be at most"),
]


LINE = (
    r"epoch (\d+): training loss (\d\.\d+)(?:, validation loss (\d\.\d+))?, (\d+\.\d+) s, "
    r"[\d,]+ rows/s, at most \d+ s left"
)


@pytest.mark.parametrize(
    ("verbose", "epochs"),
    [(True, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (4, [4])],
)
def test_verbose_prints_a_line_every_few_epochs(verbose, epochs, capsys):
    small_mlp(verbose=verbose).fit(X_TRAIN, Y_TRAIN)
    lines = capsys.readouterr().out.splitlines()
    assert [int(re.fullmatch(LINE, line)[1]) for line in lines] == epochs


@pytest.mark.parametrize("model", FULL_BATCH, ids=name_of)
def test_verbose_on_full_batch_solver_prints_every_iteration(model, capsys):
    model = clone(model).set_params(verbose=1).fit(X_TRAIN, Y_TRAIN)
    assert len(capsys.readouterr().out.splitlines()) == np.ravel(model.n_iter_)[0]


def test_verbose_with_a_validation_set_prints_both_losses(capsys):
    model = small_mlp(verbose=1).fit(X_TRAIN, Y_TRAIN, **VALIDATION)
    shown = [re.fullmatch(LINE, line) for line in capsys.readouterr().out.splitlines()]
    assert_allclose([float(each[2]) for each in shown], model.loss_curve_, atol=1e-6)
    assert_allclose([float(each[3]) for each in shown], model.validation_loss_curve_, atol=1e-6)


def test_verbose_without_a_validation_set_prints_the_training_loss(capsys):
    small_mlp(verbose=1).fit(X_TRAIN, Y_TRAIN)
    assert "validation" not in capsys.readouterr().out


SILENT = {
    "mlp": small_mlp(),
    "logistic": TorchLogisticClassifier(),
    "early stopping": small_mlp(early_stopping=True),
    "callbacks": small_mlp(
        callbacks=[
            EarlyStopping("train_loss"),
            LRScheduler("StepLR", step_size=1),
            PrintLog(),
            BatchRecorder(),
        ]
    ),
}


@pytest.mark.parametrize("model", SILENT.values(), ids=SILENT.keys())
def test_verbose_zero_prints_nothing(model, capfd):
    clone(model).fit(X_TRAIN, Y_TRAIN)
    out, err = capfd.readouterr()
    assert out == err == ""


X_SMALL, Y_SMALL = make_classification(200, n_features=5, random_state=0)


def ensemble(**parameters):
    defaults = {"hidden_layer_sizes": (4,), "max_iter": 4, "n_iter_no_change": 4, "random_state": 0}
    return TorchMLPClassifier(**{**defaults, "n_members": 3, **parameters})


MEMBER_LINE = rf"ensemble member (?P<member>\d), {LINE}"


@pytest.mark.parametrize(("verbose", "epochs"), [(1, [1, 2, 3, 4]), (3, [3]), (9, [])])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_verbose_ensemble_prints_a_line_for_each_member(solver, verbose, epochs, capsys):
    ensemble(solver=solver, verbose=verbose).fit(X_SMALL, Y_SMALL)
    found = [re.fullmatch(MEMBER_LINE, line) for line in capsys.readouterr().out.splitlines()]
    for k in range(3):
        assert [int(line[2]) for line in found if line["member"] == str(k)] == epochs


def test_verbose_ensemble_prints_the_validation_loss_of_each_member(capsys):
    ensemble(verbose=4).fit(X_SMALL, Y_SMALL)
    found = [re.fullmatch(MEMBER_LINE, line) for line in capsys.readouterr().out.splitlines()]
    assert all(line[4] for line in found)


@pytest.mark.parametrize("threshold", [0.5, "f1"])
@pytest.mark.parametrize("n_members", [1, 3])
def test_verbose_zero_of_ensembles_and_searches_prints_nothing(n_members, threshold, capfd):
    model = ensemble(n_members=n_members, threshold=threshold)
    VectorizedGridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2).fit(X_SMALL, Y_SMALL)
    assert capfd.readouterr() == ("", "")
