"""A fit by several processes is the fit of one process to all rows, in the order of the ranks."""

import itertools
import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import torch.distributed as dist
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import make_scorer
from sklearn.pipeline import make_pipeline

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.distributed import fit
from tests.distributed import work

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
N_ROWS = 3000
X, Y = make_classification(N_ROWS, 8, n_informative=5, n_redundant=0, flip_y=0.2, random_state=0)
X[:, 0] += 1e5  # a column that is centered
WEIGHT = np.random.RandomState(0).exponential(size=N_ROWS)
ENDS = {
    "equal": [0, 1500, 3000],
    "skewed": [0, 2990, 3000],
    "first is empty": [0, 0, 1000, 3000],
}
NETWORK = TorchMLPClassifier((16,), max_iter=3, random_state=0, device="cpu")


@pytest.fixture(params=list(ENDS))
def shards(request, two, three):
    """Return the workers, and the rows of each."""
    ends = ENDS[request.param]
    slices = [slice(*each) for each in itertools.pairwise(ends)]
    return (two if len(slices) == 2 else three), slices


def fit_shards(workers, slices, estimator, table, *, order=None, shared=None):
    """Fit in all processes, and return their estimators."""
    rows = np.arange(len(table["y"])) if order is None else order
    arguments = []
    for each in slices:
        own = {name: values[rows[each]] for name, values in table.items()}
        arguments.append((own.pop("X"), own.pop("y"), {**own, **(shared or {})}))
    fitted = workers.run(work.fit_shard, *arguments, estimator=estimator)
    for each in fitted:
        if isinstance(each, Exception):
            raise each
    assert len({pickle.dumps(each._state.weights) for each in fitted}) == 1
    return fitted


def difference(estimator, other):
    """Return the largest difference of any weight or bias of two fitted estimators."""
    arrays = [(*each._state.dense_weights(), *each._state.biases) for each in (estimator, other)]
    return max(float(np.abs(a - b).max()) for a, b in zip(*arrays, strict=True))


LOGISTIC = {
    "newton": TorchLogisticClassifier(),
    "newton to the end": TorchLogisticClassifier(tol=0),
    "no penalty": TorchLogisticClassifier(C=np.inf, tol=1e-10),
    "no intercept": TorchLogisticClassifier(fit_intercept=False),
    "lbfgs": TorchLogisticClassifier(solver="lbfgs", tol=1e-8),
    "l1": TorchLogisticClassifier(C=0.02, l1_ratio=1.0, tol=1e-8),
    "elastic net": TorchLogisticClassifier(C=0.02, l1_ratio=0.5),
    "balanced": TorchLogisticClassifier(class_weight="balanced"),
    "class weights": TorchLogisticClassifier(class_weight={0: 3.0, 1: 0.5}),
    "early stopping": TorchLogisticClassifier(early_stopping=True, random_state=0),
}


@pytest.mark.parametrize("name", LOGISTIC)
def test_fit_logistic_has_the_coefficients_of_one_process(name, shards):
    model = LOGISTIC[name].set_params(device="cpu")
    alone = clone(model).fit(X, Y)
    together = fit_shards(*shards, model, {"X": X, "y": Y})[0]
    assert difference(together, alone) < 1e-8
    assert together.stop_reason_ == alone.stop_reason_
    if model.tol:  # else rounding decides
        assert together.n_iter_ == alone.n_iter_
    np.testing.assert_array_equal(together.coef_ == 0, alone.coef_ == 0)


@pytest.mark.parametrize("name", ["newton", "l1", "balanced"])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_fit_logistic_with_weights_has_the_coefficients_of_one_process(name, scale, three):
    model = LOGISTIC[name].set_params(device="cpu")
    weight = WEIGHT * scale
    weight[:1500] *= 1e-3
    weight[1000:1500] = 0
    slices = [slice(0, 1000), slice(1000, 1500), slice(1500, N_ROWS)]
    alone = clone(model).fit(X, Y, weight)
    together = fit_shards(three, slices, model, {"X": X, "y": Y, "sample_weight": weight})[0]
    assert difference(together, alone) < 1e-8


@pytest.mark.parametrize("name", ["newton", "l1", "lbfgs"])
def test_fit_logistic_on_shards_of_one_class_has_the_coefficients_of_one_process(name, two):
    model = LOGISTIC[name].set_params(device="cpu")
    order = np.argsort(Y, kind="stable")
    n_negative = int(np.sum(Y == 0))
    slices = [slice(0, n_negative), slice(n_negative, N_ROWS)]
    alone = clone(model).fit(X[order], Y[order])
    together = fit_shards(two, slices, model, {"X": X, "y": Y}, order=order)[0]
    assert difference(together, alone) < 1e-8


def test_fit_logistic_that_starts_on_a_subsample_takes_the_steps_of_one_process(three):
    many, labels = make_classification(9000, 40, n_informative=9, flip_y=0.1, random_state=1)
    model = TorchLogisticClassifier(device="cpu")
    alone = clone(model).fit(many, labels)
    slices = [slice(0, 1234), slice(1234, 1240), slice(1240, 9000)]
    together = fit_shards(three, slices, model, {"X": many, "y": labels})[0]
    assert difference(together, alone) < 1e-10
    assert together.loss_curve_ == pytest.approx(alone.loss_curve_, rel=1e-12)


def test_fit_logistic_on_sparse_rows_has_the_coefficients_of_one_process(three):
    rows = sp.random(N_ROWS, 30, 0.2, format="csr", random_state=0)
    model = TorchLogisticClassifier(tol=1e-8, device="cpu")
    slices = [slice(0, 0), slice(0, 500), slice(500, N_ROWS)]
    together = fit_shards(three, slices, model, {"X": rows, "y": Y})[0]
    assert difference(together, clone(model).fit(rows, Y)) < 1e-8


def test_fit_logistic_with_more_features_than_rows_is_the_fit_of_one_process(two):
    wide = np.random.RandomState(0).normal(size=(40, 60))
    labels = Y[:40]
    model = TorchLogisticClassifier(device="cpu")
    together = fit_shards(two, [slice(0, 15), slice(15, 40)], model, {"X": wide, "y": labels})[0]
    assert difference(together, clone(model).fit(wide, labels)) == 0


NETWORKS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "lbfgs": {"solver": "lbfgs", "early_stopping": False},
    "dropout": {"dropout": 0.3, "hidden_layer_sizes": (16, 8)},
    "one batch": {"batch_size": 3000, "early_stopping": False},
    "shards of a batch": {"batch_size": 1500, "dropout": 0.2, "hidden_layer_sizes": (900, 16)},
    "average": {"weight_average": 0.9},
    "smoothing": {"label_smoothing": 0.1, "class_weight": "balanced"},
    "no shuffling": {"shuffle": False, "learning_rate": "onecycle"},
    "embedding": {"numeric_embedding": "periodic"},
    "monitor": {"monitor": "roc_auc", "early_stopping": True},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_fit_network_has_the_weights_of_one_process(name, shards):
    scaled = X - X.mean(axis=0)
    model = clone(NETWORK).set_params(**NETWORKS[name])
    table = {"X": scaled, "y": Y}
    if name in ("sgd", "dropout", "lbfgs", "smoothing", "monitor"):
        table["sample_weight"] = WEIGHT
    alone = clone(model).fit(*table.values())
    together = fit_shards(*shards, model, table)[0]
    assert difference(together, alone) < 1e-5
    assert together.loss_curve_ == pytest.approx(alone.loss_curve_, rel=1e-5)
    if alone.validation_loss_curve_:
        curves = together.validation_loss_curve_, alone.validation_loss_curve_
        np.testing.assert_allclose(*curves, rtol=1e-5)


@pytest.mark.parametrize("model", [NETWORK, LOGISTIC["newton"], LOGISTIC["lbfgs"]])
def test_fit_on_the_same_shards_ends_with_the_same_bits(model, three):
    slices = [slice(0, 700), slice(700, 1900), slice(1900, N_ROWS)]
    runs = [fit_shards(three, slices, model, {"X": X, "y": Y})[0] for _ in range(2)]
    assert difference(*runs) == 0


def test_fit_with_validation_rows_stops_where_one_process_stops(three):
    model = clone(NETWORK).set_params(max_iter=60, n_iter_no_change=2, tol=1e-3)
    scaled, validation = (X - X.mean(axis=0))[:2000], (X - X.mean(axis=0))[2000:]
    alone = clone(model).fit(scaled, Y[:2000], X_val=validation, y_val=Y[2000:])
    parts = [(0, 700, 0, 900), (700, 700, 900, 1000), (700, 2000, 1000, 1000)]
    arguments = [
        (scaled[a:b], Y[:2000][a:b], {"X_val": validation[c:d], "y_val": Y[2000:][c:d]})
        for a, b, c, d in parts
    ]
    together = three.run(work.fit_shard, *arguments, estimator=model)[0]
    assert together.best_epoch_ == alone.best_epoch_ < 60
    assert together.stop_reason_ == "validation_loss"
    assert together.validation_scores_ == pytest.approx(alone.validation_scores_)


ENSEMBLES = {
    "adam": {},
    "dropout, weights": {"dropout": 0.2, "class_weight": "balanced"},
    "lbfgs": {"solver": "lbfgs"},
    "embedding, not calibrated": {"numeric_embedding": "periodic", "calibrate": False},
    "threshold": {"threshold": "f1"},
    "monitor": {"monitor": "average_precision"},
}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_fit_ensemble_has_the_networks_of_one_process(name, shards):
    scaled = X - X.mean(axis=0)
    model = clone(NETWORK).set_params(n_members=3, **ENSEMBLES[name])
    table = {"X": scaled, "y": Y}
    if "weights" in name:
        table["sample_weight"] = WEIGHT * (np.arange(N_ROWS) % 7 > 0)
    alone = clone(model).fit(*table.values())
    together = fit_shards(*shards, model, table)[0]
    assert together.n_members_ == 3
    assert difference(together, alone) < 1e-5
    assert together.temperature_ == pytest.approx(alone.temperature_, rel=1e-4)
    assert together.oof_loss_ == pytest.approx(alone.oof_loss_, rel=1e-5)
    both = together.oof_decision_function_, alone.oof_decision_function_
    np.testing.assert_allclose(*both, atol=1e-4)
    assert together.threshold_ == pytest.approx(alone.threshold_, abs=1e-4)


def test_fit_ensemble_with_validation_rows_is_calibrated_on_those_of_all_processes(two):
    scaled = X - X.mean(axis=0)
    model = clone(NETWORK).set_params(n_members=2)
    validation = {"X_val": scaled[2000:], "y_val": Y[2000:]}
    alone = clone(model).fit(scaled[:2000], Y[:2000], **validation)
    arguments = [
        (scaled[a:b], Y[a:b], {"X_val": scaled[c:d], "y_val": Y[c:d]})
        for a, b, c, d in [(0, 700, 2000, 2000), (700, 2000, 2000, 3000)]
    ]
    together = two.run(work.fit_shard, *arguments, estimator=model)[0]
    assert difference(together, alone) < 1e-5
    assert together.temperature_ == pytest.approx(alone.temperature_, rel=1e-4)


def test_fit_ensemble_keeps_groups_together(two):
    groups = np.random.RandomState(0).randint(200, size=N_ROWS)
    scaled = X - X.mean(axis=0)
    model = clone(NETWORK).set_params(n_members=2)
    alone = clone(model).fit(scaled, Y, groups=groups)
    table = {"X": scaled, "y": Y, "groups": groups}
    together = fit_shards(two, [slice(0, 1000), slice(1000, N_ROWS)], model, table)[0]
    assert difference(together, alone) < 1e-5


CHOOSE_THRESHOLDS = {
    "network": NETWORK,
    "network without validation rows": clone(NETWORK).set_params(early_stopping=False),
    "logistic regression": TorchLogisticClassifier(device="cpu"),
    "lbfgs": TorchLogisticClassifier(solver="lbfgs", tol=1e-8, device="cpu"),
}


@pytest.mark.parametrize("name", CHOOSE_THRESHOLDS)
@pytest.mark.parametrize("threshold", ["f1", {"recall": 0.9}])
def test_fit_chooses_the_threshold_of_one_process(name, threshold, two):
    model = clone(CHOOSE_THRESHOLDS[name]).set_params(threshold=threshold)
    scaled = X - X.mean(axis=0)
    alone = clone(model).fit(scaled, Y, WEIGHT)
    table = {"X": scaled, "y": Y, "sample_weight": WEIGHT}
    together = fit_shards(two, [slice(0, 1000), slice(1000, N_ROWS)], model, table)[0]
    assert together.threshold_ == pytest.approx(alone.threshold_, abs=1e-5)
    assert together.threshold_interval_ == pytest.approx(alone.threshold_interval_, abs=1e-5)


def test_fit_with_a_random_scorer_stops_in_all_processes_at_the_same_time(two):
    scorer = make_scorer(work.random_score)
    model = clone(NETWORK).set_params(monitor=scorer, max_iter=50, n_iter_no_change=1)
    slices = [slice(0, 1000), slice(1000, N_ROWS)]
    first, second = fit_shards(two, slices, model, {"X": X, "y": Y})
    assert first.validation_scores_ == second.validation_scores_


@pytest.mark.parametrize("model", [LOGISTIC["newton"], NETWORK])
def test_fit_chooses_a_threshold_for_a_function_that_cannot_be_sent(model, two):
    shards = [(X[:1000], Y[:1000]), (X[1000:], Y[1000:])]
    first, second = two.run(work.fit_for_a_function, *shards, estimator=model)
    assert first == second
    assert first[1]


@pytest.mark.parametrize("changes", [{}, {"threshold": "f1", "early_stopping": False}])
def test_fit_prints_the_progress_of_one_process(changes, two):
    model = clone(NETWORK).set_params(verbose=1, **changes)
    shards = [(X[:200], Y[:200], {}), (X[200:], Y[200:], {})]
    printed, nothing = two.run(work.print_fit, *shards, estimator=model)
    alone = work.print_fit(X, Y, {}, estimator=model, fit=TorchMLPClassifier.fit)
    progress = re.compile(r"[\d,]+ rows/s, at most .*")
    assert len(progress.findall(alone)) == 3
    assert progress.findall(printed) == progress.findall(alone)
    assert nothing == ""


@pytest.mark.parametrize("n_members", [1, 2])
def test_fit_with_warm_start_continues_as_one_process_does(n_members, two):
    scaled = X - X.mean(axis=0)
    model = clone(NETWORK).set_params(warm_start=True, n_members=n_members)
    alone = clone(model).fit(scaled, Y).fit(scaled, Y)
    slices = [slice(0, 1000), slice(1000, N_ROWS)]
    shards = [(scaled[each], Y[each], {}) for each in slices]
    together = two.run(work.fit_twice, *shards, estimator=model)[0]
    assert together.n_iter_ == 3
    assert len(together.loss_curve_ if n_members == 1 else together.members_[0]["loss"]) == 6
    assert together.t_ == alone.t_
    assert difference(together, alone) < 1e-5


def test_fit_without_a_seed_chooses_thresholds_on_the_same_folds(two):
    model = clone(NETWORK).set_params(random_state=None, threshold="f1", early_stopping=False)
    slices = [slice(0, 1000), slice(1000, N_ROWS)]
    first, second = fit_shards(two, slices, model, {"X": X, "y": Y})
    assert first.threshold_ == second.threshold_
    assert first.threshold_interval_ == second.threshold_interval_


def test_fit_holds_out_whole_groups_that_several_processes_have(two):
    groups = np.array([f"customer {i}" for i in np.random.RandomState(0).randint(300, size=N_ROWS)])
    scaled = X - X.mean(axis=0)
    alone = clone(NETWORK).fit(scaled, Y, groups=groups)
    table = {"X": scaled, "y": Y, "groups": groups}
    together = fit_shards(two, [slice(0, 1000), slice(1000, N_ROWS)], NETWORK, table)[0]
    assert difference(together, alone) < 1e-5


def test_fit_of_few_rows_chooses_the_epochs_of_one_process(two):
    model = TorchMLPClassifier((8,), max_iter=5, random_state=0, device="cpu", threshold="f1")
    table = {"X": X[:200], "y": Y[:200]}
    alone = clone(model).fit(X[:200], Y[:200])
    together = fit_shards(two, [slice(0, 200), slice(200, 200)], model, table)[0]
    assert difference(together, alone) == 0
    assert together.threshold_ == alone.threshold_


def test_fit_without_a_seed_ends_with_the_same_weights_in_all_processes(three):
    model = clone(NETWORK).set_params(random_state=None)
    slices = [slice(0, 1000), slice(1000, 2000), slice(2000, N_ROWS)]
    runs = [fit_shards(three, slices, model, {"X": X, "y": Y})[0] for _ in range(2)]
    assert difference(*runs) > 0


def test_fit_keeps_names_labels_and_shapes_in_processes_without_rows(two):
    pandas = pytest.importorskip("pandas", reason="data frames have names")
    frame = pandas.DataFrame(X, columns=[f"x{i}" for i in range(8)])
    labels = np.array(["no", "yes"])[Y]
    model = TorchLogisticClassifier(device="cpu")
    arguments = [(frame[:0], labels[:0], {}), (frame, labels, {})]
    empty, full = two.run(work.fit_shard, *arguments, estimator=model)
    assert empty.feature_names_in_.tolist() == full.feature_names_in_.tolist() == list(frame)
    assert empty.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(empty.predict_proba(frame), full.predict_proba(frame))


def test_fit_of_arrays_drops_names_in_processes_without_rows(two):
    pandas = pytest.importorskip("pandas", reason="data frames have names")
    frame = pandas.DataFrame(X[:0], columns=[f"x{i}" for i in range(8)])
    arguments = [(frame, Y[:0], {}), (X, Y, {})]
    fitted = two.run(work.fit_shard, *arguments, estimator=TorchLogisticClassifier(device="cpu"))
    assert [hasattr(each, "feature_names_in_") for each in fitted] == [False, False]


def test_fit_of_images_keeps_their_shape_in_processes_without_rows(two):
    images = X.reshape(N_ROWS, 4, 2)
    table = {"X": images, "y": Y}
    slices = [slice(0, 0), slice(0, N_ROWS)]
    empty, full = fit_shards(two, slices, NETWORK, table)
    assert empty.sample_shape_ == full.sample_shape_ == (4, 2)


def test_fit_takes_tensors_memory_maps_and_labels_of_several_types(tmp_path, two):
    np.save(tmp_path / "rows.npy", X[1500:])
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    arguments = [
        (torch.from_numpy(X[:1500]), Y[:1500].astype(np.int8), {}),
        (mapped, Y[1500:].astype(float), {}),
    ]
    model = TorchLogisticClassifier(device="cpu")
    together = two.run(work.fit_shard, *arguments, estimator=model)[0]
    assert difference(together, clone(model).fit(X, Y)) < 1e-8


def test_fit_in_a_part_of_the_processes_leaves_the_others_alone(three):
    model = TorchLogisticClassifier(device="cpu")
    arguments = [(None, None), (X[:1000], Y[:1000]), (X[1000:], Y[1000:])]
    nothing, first, second = three.run(work.fit_in_subgroup, *arguments, estimator=model)
    assert nothing is None
    assert difference(first, second) == 0
    assert difference(first, clone(model).fit(X, Y)) < 1e-8


def test_fit_in_a_group_of_one_process_is_an_ordinary_fit(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/g", rank=0, world_size=1)
    try:
        model = fit(clone(NETWORK), X, Y, WEIGHT)
        with pytest.raises(ValueError, match=r"^estimator must be a Torch.*, got Pipeline\. "):
            fit(make_pipeline(NETWORK), X, Y)
    finally:
        dist.destroy_process_group()
    assert difference(model, clone(NETWORK).fit(X, Y, WEIGHT)) == 0
