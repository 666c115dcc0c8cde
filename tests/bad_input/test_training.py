"""Training that diverges or does not converge: an error or a warning with figures and advice."""

import re
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from tests.bad_input.cases import X, Y, assert_raises_unchanged, both, fitted, unfitted


@both
@pytest.mark.parametrize("rate", [1e6, 1e30])
def test_diverged_fit_names_epoch_rate_and_cause(kind, rate):
    model = unfitted(kind, solver="sgd", learning_rate_init=rate, max_iter=200)
    # The message must name a loss that is not finite.
    pattern = (
        r"^The training loss must stay a finite number, got (nan|inf) in epoch \d+ at "
        rf"learning rate {re.escape(f'{rate:g}')}\. Bring the features to one scale "
        r"\(StandardScaler\) or lower learning_rate_init\.$"
    )

    assert_raises_unchanged(model, lambda m: m.fit(100 * X, Y), ValueError, pattern)


@both
def test_diverged_refit_leaves_the_fitted_model(kind):
    model = fitted(kind, solver="sgd")
    expected = model.predict_proba(X)
    model.set_params(learning_rate_init=1e30)

    assert_raises_unchanged(
        model, lambda m: m.fit(100 * X, Y), ValueError, r"^The (training loss|weights) must stay "
    )
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@both
def test_diverged_partial_fit_leaves_the_fitted_model(kind):
    model = unfitted(kind, solver="sgd").partial_fit(X, Y)
    expected = model.predict_proba(X)
    model.set_params(learning_rate_init=1e30)

    assert_raises_unchanged(
        model,
        lambda m: m.partial_fit(1e30 * X, Y),
        ValueError,
        r"^The (training loss|weights) must stay ",
    )
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@both
def test_unconverged_full_batch_fit_warns_with_gradient_and_tolerance(kind):
    model = unfitted(kind, solver="lbfgs", max_iter=2, tol=1e-12)
    with pytest.warns(
        ConvergenceWarning,
        match=r"^Training did not converge\. max_iter was reached\. After 2 iterations the largest "
        r"component of the gradient is \d\S*, above tol=1e-12\. Raise max_iter, or bring the "
        r"features to one scale \(StandardScaler\)\.$",
    ):
        model.fit(X, Y)
    assert np.max(model.n_iter_) == 2


@both
def test_unconverged_mini_batch_fit_warns_with_losses_and_tolerance(kind):
    model = unfitted(kind, solver="adam", max_iter=20, tol=0, early_stopping=False)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, Y)
    before, last = model.history_["objective"][-2:]

    assert [str(each.message) for each in caught] == [
        "Training did not converge. max_iter was reached. The last of 20 epochs took the training "
        f"loss from {before:.6g} to {last:.6g} (tol=0). Raise max_iter or learning_rate_init."
    ]


@both
def test_unconverged_fit_of_one_epoch_warns_with_its_loss(kind):
    model = unfitted(kind, solver="adam", max_iter=1, early_stopping=False)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, Y)

    assert [str(each.message) for each in caught] == [
        "Training did not converge. max_iter was reached. After 1 epoch the training loss is "
        f"{model.history_['objective'][0]:.6g} (tol=0.0001). Raise max_iter or learning_rate_init."
    ]


@both
@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_converged_fit_does_not_warn(kind, solver):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = kind(solver=solver, max_iter=5000, tol=1e-3, random_state=0).fit(X, Y)

    assert np.max(model.n_iter_) < 5000
