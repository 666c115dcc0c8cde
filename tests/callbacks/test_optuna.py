"""Optuna prunes trials while their models train."""

import copy
import pickle
import re
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version
from skorch.callbacks import Callback

from skbinary import TorchLogisticClassifier, TorchMLPClassifier, VectorizedGridSearchCV
from skbinary.callbacks.optuna import PruningCallback
from skbinary.estimators import batching

optuna = pytest.importorskip("optuna", reason="the extra optuna is not installed")
HAS_CALLBACKS = parse_version(sklearn.__version__) >= parse_version("1.9")
needs_callbacks = pytest.mark.skipif(
    not HAS_CALLBACKS, reason="scikit-learn has callbacks from 1.9 on"
)
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
pytestmark = quiet

X, Y = make_classification(400, n_features=5, random_state=0)


class PruneAt(optuna.pruners.BasePruner):
    """Prunes a trial at a step."""

    def __init__(self, step):
        self.step = step

    def prune(self, study, trial):
        return self.step is not None and trial.last_step >= self.step


def make_trial(prune_at=None, direction="minimize"):
    return optuna.create_study(direction=direction, pruner=PruneAt(prune_at)).ask()


def reported(trial):
    """Return what was reported, by step."""
    return trial.study.trials[trial.number].intermediate_values


def network(**params):
    defaults = {"hidden_layer_sizes": (4,), "max_iter": 6, "learning_rate_init": 0.01}
    return TorchMLPClassifier(**{**defaults, "early_stopping": True, "random_state": 0, **params})


MODELS = {
    "network": network(),
    "ensemble": network(n_members=3),
    "lbfgs": network(solver="lbfgs"),
    "lbfgs-ensemble": network(solver="lbfgs", n_members=3),
    "sgd": TorchLogisticClassifier(solver="sgd", early_stopping=True, max_iter=6, random_state=0),
    "newton": TorchLogisticClassifier(early_stopping=True, random_state=0),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


# -- what is reported ------------------------------------------------------------------------------


@needs_callbacks
@pytest.mark.parametrize("monitor", ["loss", "validation_loss", "validation_score"])
@pytest.mark.parametrize("name", ["network", "lbfgs", "sgd", "newton"])
def test_pruning_callback_reports_the_curve_of_a_single_model(name, monitor):
    direction = "maximize" if monitor == "validation_score" else "minimize"
    trial, model = make_trial(direction=direction), clone(MODELS[name])
    model.set_callbacks(PruningCallback(trial, monitor)).fit(X, Y)
    assert reported(trial) == dict(enumerate(model.history_[monitor]))


@needs_callbacks
@each_model
def test_pruning_callback_leaves_the_fit_as_it_is(model):
    with_callback = clone(model).set_callbacks(PruningCallback(make_trial())).fit(X, Y)
    plain = clone(model).fit(X, Y)
    np.testing.assert_array_equal(with_callback.decision_function(X), plain.decision_function(X))


def mean_curve(model, monitor="validation_loss"):
    """Return the mean over the members, of which one that has stopped counts with its best."""
    curves = [history[monitor] for history in model.history_]
    best = [curve[epoch - 1] for curve, epoch in zip(curves, model.best_epoch_, strict=True)]
    n_epochs = max(map(len, curves))
    filled = [
        curve + [value] * (n_epochs - len(curve)) for curve, value in zip(curves, best, strict=True)
    ]
    return dict(enumerate(np.mean(filled, axis=0)))


@needs_callbacks
@pytest.mark.parametrize("name", ["ensemble", "lbfgs-ensemble"])
@pytest.mark.parametrize("max_iter", [6, 60])
def test_pruning_callback_reports_the_mean_of_an_ensemble(name, max_iter):
    trial, model = make_trial(), clone(MODELS[name])
    model.set_params(max_iter=max_iter, n_iter_no_change=3)
    model.set_callbacks(PruningCallback(trial)).fit(X, Y)
    lengths = {len(history["loss"]) for history in model.history_}
    assert (len(lengths) > 1) == (max_iter == 60)  # some stop earlier than others
    assert reported(trial) == pytest.approx(mean_curve(model))


@needs_callbacks
@pytest.mark.parametrize("n_threads", [1, 2])
def test_pruning_callback_of_an_ensemble_in_several_batches_reports_the_same(
    n_threads, monkeypatch, threads
):
    monkeypatch.setattr(batching, "_count_batches", lambda models: 3)
    monkeypatch.setattr(batching, "_pay_for_threads", lambda batches: True)
    torch.set_num_threads(n_threads)
    trial, model = make_trial(), network(n_members=5, max_iter=30, n_iter_no_change=3)
    model.set_callbacks(PruningCallback(trial)).fit(X, Y)
    assert reported(trial) == pytest.approx(mean_curve(model))


@needs_callbacks
def test_pruning_callback_in_a_pipeline_reports_what_its_classifier_would():
    trial, oracle = make_trial(), make_trial()
    pipeline = make_pipeline(SimpleImputer(), network())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.set_callbacks(PruningCallback(trial)).fit(X, Y)
    network().set_callbacks(PruningCallback(oracle)).fit(X, Y)
    assert reported(trial) == reported(oracle)
    assert not hasattr(pipeline[-1], "_skl_callbacks")


@needs_callbacks
@pytest.mark.parametrize("is_pipeline", [False, True])
def test_pruning_callback_in_cross_validation_reports_means_over_the_folds(is_pipeline):
    trial, folds = make_trial(), []

    def score(model, X, y):
        last = model[-1] if is_pipeline else model
        folds.append((last.validation_loss_curve_, last.best_epoch_))
        return 0.0

    model = make_pipeline(SimpleImputer(), network()) if is_pipeline else network()
    model.set_callbacks(PruningCallback(trial))
    cross_val_score(model, X, Y, cv=3, scoring=score, error_score="raise")
    expected, kept = {}, []
    for i, (curve, best) in enumerate(folds):
        for epoch, value in enumerate(curve):
            expected[6 * i + epoch] = np.mean([*kept, value])
        kept.append(curve[best - 1])
    assert len(expected) == 3 * 6
    assert reported(trial) == pytest.approx(expected)


@needs_callbacks
def test_pruning_callback_in_a_model_around_the_classifier_reports_its_fits():
    trial = make_trial()
    model = network().set_callbacks(PruningCallback(trial))
    CalibratedClassifierCV(model, cv=2).fit(X, Y)
    assert list(reported(trial)) == list(range(2 * 6))


@needs_callbacks
def test_pruning_callback_with_folds_on_threads_reports_every_step():
    trial = make_trial()
    model = network().set_callbacks(PruningCallback(trial))
    with joblib.parallel_config("threading"):
        cross_val_score(model, X, Y, cv=4, n_jobs=2, error_score="raise")
    assert sorted(reported(trial)) == list(range(4 * 6))


# -- pruned trials ---------------------------------------------------------------------------------


@needs_callbacks
@each_model
def test_pruned_fit_raises_and_leaves_the_estimator_unchanged(model):
    trial = make_trial(prune_at=3)
    model = clone(model).set_callbacks(PruningCallback(trial))
    before = dict(vars(model))
    with pytest.raises(optuna.TrialPruned, match=r"^The trial was pruned at step 3, ") as caught:
        model.fit(X, Y)
    assert type(caught.value) is optuna.TrialPruned
    assert vars(model) == before
    assert list(reported(trial)) == [0, 1, 2, 3]


@needs_callbacks
@pytest.mark.parametrize("n_threads", [1, 2])
def test_pruned_ensemble_in_several_batches_ends_all_of_them(n_threads, monkeypatch, threads):
    monkeypatch.setattr(batching, "_count_batches", lambda models: 3)
    monkeypatch.setattr(batching, "_pay_for_threads", lambda batches: True)
    torch.set_num_threads(n_threads)
    trial, model = make_trial(prune_at=2), network(n_members=5, max_iter=10_000)
    with pytest.raises(optuna.TrialPruned):
        model.set_callbacks(PruningCallback(trial)).fit(X, Y)
    assert list(reported(trial)) == [0, 1, 2]


@needs_callbacks
def test_pruned_pipeline_raises_and_frees_its_classifier():
    pipeline = make_pipeline(SimpleImputer(), network())
    pipeline.set_callbacks(PruningCallback(make_trial(prune_at=3)))
    with pytest.raises(optuna.TrialPruned):
        pipeline.fit(X, Y)
    assert not hasattr(pipeline[-1], "_skl_callbacks")


SEARCHES = [GridSearchCV, VectorizedGridSearchCV]


@needs_callbacks
@pytest.mark.parametrize("kind", SEARCHES)
def test_pruned_fit_in_a_search_raises(kind):
    model = network().set_callbacks(PruningCallback(make_trial(prune_at=8)))
    with pytest.raises(optuna.TrialPruned, match=r"at step 8, validation_loss 0\.\d+\.$"):
        kind(model, {"alpha": [0.1, 1.0]}, cv=2, error_score="raise").fit(X, Y)


@needs_callbacks
def test_pruned_fold_raises_from_cross_val_score():
    model = network().set_callbacks(PruningCallback(make_trial(prune_at=8)))
    with pytest.raises(optuna.TrialPruned):
        cross_val_score(model, X, Y, error_score="raise")


@needs_callbacks
def test_pruned_fold_without_error_score_ends_the_later_folds_with_advice():
    trial = make_trial(prune_at=8)
    model = network().set_callbacks(PruningCallback(trial))
    advice = r"Pass error_score='raise' to the cross-validation that went on\."
    with pytest.warns(FitFailedWarning, match=advice):
        scores = cross_val_score(model, X, Y, cv=4)
    assert np.isnan(scores).tolist() == [False, True, True, True]
    assert list(reported(trial)) == list(range(9))


@needs_callbacks
def test_study_prunes_trials_that_learn_too_slowly():
    def objective(trial):
        rate = trial.suggest_float("rate", 1e-5, 1e-1)
        model = network(learning_rate_init=rate, n_members=2)
        model.set_callbacks(PruningCallback(trial)).fit(X, Y)
        return model.oof_loss_

    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
    for rate in (0.05, 0.04, 1e-5, 0.06):
        study.enqueue_trial({"rate": rate})
    study.optimize(objective, n_trials=4)
    assert [t.state.name for t in study.trials][:3] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert len(study.trials[2].intermediate_values) == 1


# -- mistakes --------------------------------------------------------------------------------------


@needs_callbacks
@pytest.mark.parametrize("fit_params", [{}, {"early_stopping": "auto"}])
def test_monitor_that_the_fit_does_not_record_is_an_error(fit_params):
    model = network(early_stopping=False).set_params(**fit_params)
    model.set_callbacks(PruningCallback(make_trial()))
    message = (
        "monitor must be recorded by the fit, got 'validation_loss' in a fit without a validation "
        "set. Set early_stopping=True, pass X_val and y_val, or set monitor='loss'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.fit(X, Y)
    model.fit(X, Y, X_val=X, y_val=Y)


@needs_callbacks
@pytest.mark.parametrize("monitor", ["valid_loss", None, ["loss"]])
def test_monitor_unknown_is_an_error(monitor):
    message = (
        f"monitor must be one of 'loss', 'validation_loss', 'validation_score', got {monitor!r}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PruningCallback(make_trial(), monitor)


@needs_callbacks
@pytest.mark.parametrize(
    ("directions", "monitor", "message"),
    [
        (
            ["maximize"],
            "validation_loss",
            "The study must minimize one value for monitor='validation_loss', got ['maximize']. "
            "Set direction='minimize' in create_study. Or set monitor='validation_score'.",
        ),
        (
            ["minimize"],
            "validation_score",
            "The study must maximize one value for monitor='validation_score', got ['minimize']. "
            "Set direction='maximize' in create_study. Or set monitor='validation_loss'.",
        ),
        (
            ["minimize", "maximize"],
            "loss",
            "The study must minimize one value for monitor='loss', got ['minimize', 'maximize']. "
            "Set direction='minimize' in create_study.",
        ),
    ],
)
def test_monitor_against_the_direction_of_the_study_is_an_error(directions, monitor, message):
    trial = optuna.create_study(directions=directions).ask()
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        PruningCallback(trial, monitor)


@needs_callbacks
def test_trial_of_fixed_parameters_is_accepted():
    network().set_callbacks(PruningCallback(optuna.trial.FixedTrial({}))).fit(X, Y)


@needs_callbacks
def test_trial_that_is_a_study_is_an_error():
    message = "trial must be a trial of Optuna, got Study. Pass the argument of the objective."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        PruningCallback(optuna.create_study())


@needs_callbacks
@pytest.mark.parametrize(
    ("model", "name"),
    [
        (LogisticRegression(), "LogisticRegression"),
        (make_pipeline(SimpleImputer(), CalibratedClassifierCV()), "CalibratedClassifierCV"),
        (GridSearchCV(network(), {}), "GridSearchCV"),
        (VectorizedGridSearchCV(network(), {}), "VectorizedGridSearchCV"),
    ],
)
def test_pruning_callback_on_another_estimator_is_an_error(model, name):
    message = (
        "PruningCallback must be set on a classifier of skbinary or a pipeline that ends with one, "
        f"got {name}. Set it on the classifier itself."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.set_callbacks(PruningCallback(make_trial())).fit(X, Y)


@needs_callbacks
@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_pruning_callback_that_was_copied_has_no_trial_and_is_an_error(copied):
    model = network().set_callbacks(PruningCallback(make_trial(), "loss")).fit(X, Y)
    other = copied(model)
    np.testing.assert_array_equal(other.decision_function(X), model.decision_function(X))
    with pytest.raises(ValueError, match="must be in the process of its trial, got a copy"):
        other.fit(X, Y)
    other.set_callbacks().fit(X, Y)


@needs_callbacks
def test_pruning_callback_as_a_skorch_callback_is_an_error():
    model = network(callbacks=[PruningCallback(make_trial())])
    message = "callbacks must be skorch callbacks, got PruningCallback. Pass it to set_callbacks."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.fit(X, Y)


def test_pruning_callback_with_old_scikit_learn_is_an_error(monkeypatch):
    monkeypatch.setattr("skbinary.callbacks.sklearn._callback_mixin", lambda: None)
    message = r"^scikit-learn must be version 1\.9 or newer for PruningCallback, got "
    with pytest.raises(ImportError, match=message):
        PruningCallback(make_trial())


class SkorchPruningCallback(Callback):
    """What Optuna has for skorch: its attributes are not named like its parameters."""

    def __init__(self, trial, monitor):
        self._trial = trial
        self._monitor = monitor


@pytest.mark.parametrize(
    "use",
    [
        clone,
        lambda model: cross_val_score(model, X, Y),
        lambda model: VectorizedGridSearchCV(model, {"alpha": [0.1]}).fit(X, Y),
        lambda model: clone(make_pipeline(SimpleImputer(), model)),
    ],
)
def test_clone_with_the_pruning_callback_of_skorch_names_ours(use):
    model = network(callbacks=[SkorchPruningCallback(make_trial(), "valid_loss")])
    message = (
        "callbacks must be possible to clone, got SkorchPruningCallback, which holds a trial of "
        "Optuna. Use PruningCallback of skbinary.callbacks.optuna: write "
        "set_callbacks(PruningCallback(trial))."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        use(model)


def test_pruning_callback_without_optuna_names_the_extra(monkeypatch):
    trial = make_trial()
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = (
        "optuna must be installed for PruningCallback, got none. Run 'python -m pip install "
        '"skbinary[optuna]"\'.'
    )
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        PruningCallback(trial)


def test_import_of_skbinary_imports_no_optuna():
    code = "import sys, skbinary, skbinary.callbacks.optuna; print('optuna' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
