"""Mistakes are raised in all processes, which then are as before and can go on."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, TorchModuleClassifier
from skbinary.distributed import fit
from skbinary.distributed.shards import _digest_of_weights
from tests.distributed import work
from tests.distributed.workers import Workers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X = np.random.RandomState(0).normal(size=(60, 3))
Y = np.array([0, 1] * 30)
EMPTY = X[:0], Y[:0]
GOOD = X, Y
FITTED = TorchLogisticClassifier(device="cpu").fit(X, Y)
NAN = np.where(np.arange(180).reshape(60, 3) == 5, np.nan, X)


def fails(two, first, second, estimator=FITTED):
    """Fit in two processes, check that both are as before, and return the messages."""
    shards = [(*each, {}) if len(each) == 2 else each for each in (first, second)]
    outcomes = two.run(work.fit_fitted, *shards, estimator=estimator)
    for each in outcomes:
        assert each is not None, "an error must be raised"
        assert each[1], "the estimator must be as before"
    return [str(error) for error, _ in outcomes]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            GOOD,
            (X[:, :2], Y),
            "The number of features must be the same in all processes, got 3 in process 0 and 2 in "
            "process 1. Pass the same in each of them.",
        ),
        (
            GOOD,
            (X[:0, :2], Y[:0]),
            "The number of features must be the same in all processes, got 3 in process 0 and 2 in "
            "process 1. Pass the same in each of them.",
        ),
        (
            GOOD,
            (X.astype(np.float32), Y),
            "The type of the rows must be the same in all processes, got dense float64 in process "
            "0 and dense float32 in process 1. Pass the same in each of them.",
        ),
        (
            (sp.csr_matrix(X), Y),
            GOOD,
            "The type of the rows must be the same in all processes, got sparse float64 in "
            "process 0 and dense float64 in process 1. Pass the same in each of them.",
        ),
        (
            GOOD,
            (X, np.array(["a", "b"])[Y]),
            "The type of the labels must be the same in all processes, got number in process 0 and "
            "str in process 1. Pass the same in each of them.",
        ),
        (
            (X, Y, {"sample_weight": np.ones(60)}),
            GOOD,
            "The arguments must be the same in all processes, got X, y, sample_weight in process 0 "
            "and X, y in process 1. Pass the same in each of them.",
        ),
        (
            GOOD,
            (X, Y, {"X_val": X, "y_val": Y}),
            "The arguments must be the same in all processes, got X, y in process 0 and X, y, "
            "X_val, y_val in process 1. Pass the same in each of them.",
        ),
        (
            EMPTY,
            EMPTY,
            "X must have rows in at least one process, got none in 2 processes. Check how the rows "
            "were split.",
        ),
        (
            (X, Y * 0),
            (X, Y * 0),
            "y must hold two classes, got one class, 0. TorchLogisticClassifier cannot learn from "
            "one class: check how the rows were selected, or pass both classes to partial_fit.",
        ),
        (
            GOOD,
            (X, Y + 1),
            "Only binary classification is supported. The type of the target is multiclass, got 3 "
            "classes. Wrap TorchLogisticClassifier in sklearn.multiclass.OneVsRestClassifier.",
        ),
        (
            (X, Y, {"sample_weight": np.zeros(60)}),
            (X, Y, {"sample_weight": np.zeros(60)}),
            "sample_weight must not be all zero. Sample weights must contain at least one non-zero "
            "number.",
        ),
        (
            (X, Y, {"parameters": {"C": 2.0}}),
            (X, Y, {"parameters": {"C": 3.0}}),
            "The parameter C must be the same in all processes, got 2.0 in process 0 and 3.0 in "
            "process 1. Pass the same in each of them.",
        ),
        (
            (X, Y, {"parameters": {"threshold": np.float32(0.5)}}),
            (X, Y, {"parameters": {"threshold": accuracy_score}}),
            "The parameter threshold must be the same in all processes, got 0.5 in process 0 and "
            "function in process 1. Pass the same in each of them.",
        ),
        (
            (X, Y, {"X_val": X[:0], "y_val": Y[:0]}),
            (X, Y, {"X_val": X[:0], "y_val": Y[:0]}),
            "X_val must have rows in at least one process, got none in 2 processes. Check how the "
            "rows were split.",
        ),
        (
            (X, Y, {"X_val": X, "y_val": Y, "sample_weight_val": np.zeros(60)}),
            (X, Y, {"X_val": X, "y_val": Y, "sample_weight_val": np.zeros(60)}),
            "sample_weight_val must not be all zero. Sample weights must contain at least one "
            "non-zero number.",
        ),
        (
            (X, Y, {"X_val": X, "y_val": Y}),
            (X, Y, {"X_val": sp.csr_matrix(X), "y_val": Y}),
            "The type of the validation rows must be the same in all processes, got dense float64 "
            "in process 0 and sparse float64 in process 1. Pass the same in each of them.",
        ),
    ],
)
def test_fit_rows_that_do_not_agree_raises_in_all_processes(first, second, message, two):
    assert fails(two, first, second) == [message, message]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((NAN, Y), "Input X contains NaN."),
        (
            ("rows.parquet", "label"),
            "X must be rows in memory, or a memory map, for a fit by several processes, got str.",
        ),
        ((X, Y[:50]), "Found input variables with inconsistent numbers of samples: [60, 50]"),
        ((X[:0], Y), "y must have one entry for each row, got 60 for 0 rows. Take both from"),
        (
            (X[:0], Y[:0], {"sample_weight": np.ones(60)}),
            "sample_weight must have one entry for each row, got 60 for 0 rows. Take both from",
        ),
        (
            (X, Y, {"sample_weight": -np.ones(60)}),
            "Negative values in data passed to `sample_weight`",
        ),
        ((X, Y, {"parameters": {"C": -1}}), "The 'C' parameter of TorchLogisticClassifier must be"),
        ((X, Y, {"parameters": {"device": "cuda:77"}}), "device"),
    ],
)
def test_fit_mistake_of_one_process_is_raised_in_all(bad, message, two):
    good = GOOD
    if len(bad) == 3 and "sample_weight" in bad[2]:
        good = (*GOOD, {"sample_weight": np.ones(60)})
    first, second = fails(two, good, bad)
    assert second.startswith(message)
    assert first == f"{second} (in process 1)"


def test_fit_groups_of_no_rows_raise_in_all_processes(two):
    groups = np.arange(60)
    first, second = fails(two, (X, Y, {"groups": groups}), (*EMPTY, {"groups": groups}))
    assert second.startswith("groups must have one entry for each row, got 60 for 0 rows.")
    assert first == f"{second} (in process 1)"


def test_fit_invalid_parameter_of_one_process_is_a_value_error_in_all(two):
    shards = (*GOOD, {}), (*GOOD, {"parameters": {"C": -1}})
    outcomes = two.run(work.fit_fitted, *shards, estimator=FITTED)
    assert [isinstance(error, ValueError) for error, _ in outcomes] == [True, True]


def test_fit_network_with_other_layers_raises_in_all_processes(two):
    shards = [(*GOOD, {"parameters": {"hidden_layer_sizes": np.array([n])}}) for n in (3, 4)]
    first, second = fails(two, *shards, TorchMLPClassifier())
    assert first == second
    assert first.startswith("The parameter hidden_layer_sizes must be the same in all processes")


def test_fit_unknown_validation_label_of_one_process_is_raised_in_all(two):
    good, bad = ({"X_val": X, "y_val": Y + k} for k in (0, 7))
    first, second = fails(two, (*GOOD, good), (*GOOD, bad))
    assert second.startswith("y_val must hold the classes [0, 1] only, got [7, 8] as well.")
    assert first == f"{second} (in process 1)"


def test_fit_names_that_differ_raises_in_all_processes(two):
    pandas = pytest.importorskip("pandas", reason="data frames have names")
    frames = [pandas.DataFrame(X, columns=list(names)) for names in ("abc", "abd")]
    message = (
        "The names of the features must be the same in all processes, got ['a', 'b', 'c'] in "
        "process 0 and ['a', 'b', 'd'] in process 1. Pass the same in each of them."
    )
    assert fails(two, *((frame, Y) for frame in frames)) == [message, message]


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (
            TorchMLPClassifier(monitor=len),
            "monitor must be 'loss' or a scorer of scikit-learn for a fit by several processes, "
            "none of which has all rows for a function, got <built-in function len>. Make a scorer "
            "with sklearn.metrics.make_scorer.",
        ),
        (
            TorchMLPClassifier(callbacks=["Checkpoint"]),
            "callbacks must be None for a fit by several processes, each of which would call its "
            "own, got ['Checkpoint']. Leave them out, or fit in one process.",
        ),
        (
            RandomForestClassifier(),
            "estimator must be a TorchLogisticClassifier or a TorchMLPClassifier to be fitted by "
            "several processes, got RandomForestClassifier. Fit its last step, on rows that are "
            "transformed.",
        ),
        (
            TorchModuleClassifier("module"),
            "estimator must be a TorchLogisticClassifier or a TorchMLPClassifier to be fitted by "
            "several processes, got TorchModuleClassifier. Fit its last step, on rows that are "
            "transformed.",
        ),
    ],
)
def test_fit_estimator_that_needs_one_process_raises(estimator, message, two):
    first, second = fails(two, GOOD, GOOD, estimator)
    assert first == second == message


def test_fit_that_continues_from_other_weights_raises_in_all_processes(two):
    fitted = [TorchLogisticClassifier(warm_start=True, C=c).fit(X, Y) for c in (1, 2)]
    digests = [_digest_of_weights(each) for each in fitted]
    outcomes = two.run(work.fit_given, *((each, X, Y) for each in fitted))
    assert [str(each) for each in outcomes] == 2 * [
        "The weights to start from must be the same in all processes, got "
        f"{digests[0]} in process 0 and {digests[1]} in process 1. Pass the same in each of them."
    ]


def test_fit_that_continues_with_other_features_or_classes_raises_in_all_processes(two):
    fitted = TorchLogisticClassifier(warm_start=True).fit(X, Y)
    first, second = fails(two, (X[:, :2], Y), (X[:, :2], Y), fitted)
    assert first == second
    assert first.startswith("X has 2 features, but TorchLogisticClassifier is expecting 3")
    first, second = fails(two, (X, Y + 5), (X, Y + 5), fitted)
    assert first == second
    assert first.startswith("y must hold the classes [0, 1] to continue from the last fit, got [5")


def test_fit_that_diverges_raises_in_all_processes(two):
    network = TorchMLPClassifier((4,), solver="sgd", learning_rate_init=1e30, max_iter=3)
    rows, labels = np.tile(X, (20, 1)), np.tile(Y, 20)
    messages = fails(two, (rows, labels), (rows, labels), network)
    assert messages[0] == messages[1]
    assert re.match(r"The (training|validation) loss must stay a finite number", messages[0])


def test_fit_goes_on_after_errors(two):
    fails(two, GOOD, (NAN, Y))
    first, second = two.run(work.fit_shard, (*GOOD, {}), (*EMPTY, {}), estimator=FITTED)
    np.testing.assert_array_equal(first.coef_, second.coef_)


def test_fit_without_a_process_group_raises():
    with pytest.raises(RuntimeError) as caught:
        fit(TorchLogisticClassifier(), X, Y)
    assert str(caught.value) == (
        "torch.distributed must have a process group, got none. Call "
        "torch.distributed.init_process_group first, in each process."
    )


@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("rank", [0, 1])
def test_fit_that_is_interrupted_in_one_process_ends_in_both(rank, n_members, tmp_path):
    network = TorchMLPClassifier((4,), n_members=n_members, max_iter=9, device="cpu")
    workers = Workers(2, tmp_path)
    try:
        shards = [(rank == each, np.tile(X, (10, 1)), np.tile(Y, 10)) for each in (0, 1)]
        outcomes = workers.run(work.interrupt_or_fit, *shards, estimator=network)
    finally:
        workers.close()
    assert outcomes[rank] == ("KeyboardInterrupt", [])
    error, warnings = outcomes[1 - rank]
    assert error.startswith("All 2 processes of the group must take part in fit")
    assert warnings == []


@pytest.mark.parametrize("leaves", ["before training", "in training", "never"])
def test_fit_with_a_process_that_ends_or_does_not_answer_raises(leaves, tmp_path):
    endless = {"max_iter": 10**6, "n_iter_no_change": np.inf, "early_stopping": False}
    network = TorchMLPClassifier((4,), device="cpu", max_iter=1).fit(X, Y)
    network.set_params(**endless)
    workers = Workers(2, tmp_path, timeout=4)
    try:
        shards = [(None, X, Y), (leaves, X, Y)]
        outcome, _ = workers.run(work.leave_or_fit, *shards, estimator=network)
    finally:
        workers.close()
    error, is_as_before, elapsed = outcome
    assert is_as_before
    assert str(error).startswith(
        "All 2 processes of the group must take part in fit, and answer within the timeout of the "
        "group (4 s), got: "
    )
    assert str(error).endswith(
        ". See the error of the process that ended, and start all of them again."
    )
    assert elapsed < 8
