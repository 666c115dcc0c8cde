"""Logistic regression."""

from __future__ import annotations

import functools
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils._param_validation import Interval, Options, StrOptions
from torch import Tensor

from skbinary.data.checked import CheckedData
from skbinary.data.dataset import Dataset
from skbinary.data.rows import centered
from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.recipe import MINIBATCH_SOLVERS, Recipe, make_recipe
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.centered import CenteredSolver
from skbinary.solvers.full_batch.lbfgs import LBFGS
from skbinary.solvers.full_batch.newton import Newton
from skbinary.solvers.full_batch.newton_dual import DualNewton
from skbinary.solvers.full_batch.proximal_newton import ProximalNewton
from skbinary.solvers.full_batch.small_objective import linear_objective
from skbinary.solvers.loop import Solver
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.single import L2Penalty

_SOLVERS = {"auto", "newton-cholesky", "lbfgs", "prox-newton", "adam", "sgd"}
# The other solvers of scikit-learn's LogisticRegression. They have the same optimum, so "auto"
# replaces them.
_PEER_SOLVERS = {"liblinear", "newton-cd", "newton-cg", "sag", "saga"}
_ELASTIC_NET_SOLVERS = {"auto", "prox-newton", "newton-cd", "saga"}

# A Newton step costs rows x features ** 2 (or rows ** 2 x features, if there are fewer rows), an
# L-BFGS step rows x features, and L-BFGS needs tens of times as many of them.
_LARGEST_SYSTEM = 500
# With these, a fit ends at the optimum, as far as a score can tell.
_FINE_TOL, _ENOUGH_ITERATIONS = 1e-4, 20
# Below this tol a fit ends by rounding, which only the solvers of a single fit detect.
_ROUNDING_TOL = 1e-12


class TorchLogisticClassifier(SparseCoefMixin, BinaryClassifier):
    """Logistic regression for two classes, trained by PyTorch.

    Minimizes the objective of scikit-learn's ``LogisticRegression``:
    ``C * sum(weight * loss) + sum(coef ** 2) / 2`` (or an elastic net, with `l1_ratio`), where the
    loss of a row with logit z and target y in {0, 1} is ``log(1 + exp(z)) - y * z`` and the
    intercept is not penalized.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty, above 0. ``np.inf`` means no penalty.
    l1_ratio : float, default=0.0
        Share of the penalty that is L1, in [0, 1]: ``l1_ratio * sum(abs(coef)) + (1 - l1_ratio) *
        sum(coef ** 2) / 2``, as in scikit-learn's elastic net. Above 0 many coefficients are
        exactly zero.
    fit_intercept : bool, default=True
        Whether the logit has a constant term.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, as ``{label: weight}``. ``"balanced"`` gives both classes the same
        total weight. They multiply ``sample_weight``.
    threshold : float, str, callable or dict, default=0.5
        ``predict`` gives a row the positive label when the probability of that label is at least
        this number in [0, 1],
        or at least the one that ``fit`` chooses: the name of a scikit-learn metric on labels to
        maximize (``"f1"``, ``"balanced_accuracy"``) or a ``callable(y_true, y_pred, *,
        sample_weight=None)``; a constraint, ``{"recall": 0.9}`` for the highest precision with
        at least that recall, or ``"precision"``, ``"specificity"`` or (at most) ``"alert_rate"``
        for the highest recall; or what mistakes cost, ``{"cost_fp": 1, "cost_fn": 20}`` with
        ``"cost_tp"`` and ``"cost_tn"`` if need be, for the least cost. It is chosen on rows that
        did not train the model that scored them: ``X_val``, the rows of
        early stopping, or five folds that are fitted in addition, in one batch of models.
    pos_label : int, float, bool, str or None, default=None
        The positive label, to which `threshold` refers: its recall, its precision, its
        probability. None takes ``classes_[1]``, the second label in sorted order. The columns of
        ``predict_proba`` and the sign of ``decision_function`` do not depend on it.
    solver : {"auto", "newton-cholesky", "lbfgs", "prox-newton", "adam", "sgd", "liblinear", \
            "newton-cd", "newton-cg", "sag", "saga"}, default="auto"
        The first four work on all rows at once and reach the optimum; ``"auto"`` takes
        ``"newton-cholesky"`` up to 500 features or rows, ``"lbfgs"`` above, and
        ``"prox-newton"`` where `l1_ratio` is above 0, which the others cannot have. ``"adam"`` and
        ``"sgd"`` work on batches. The last five are names of scikit-learn's solvers and do the same
        as ``"auto"``; ``"newton-cd"`` and ``"saga"`` take any `l1_ratio`, ``"liblinear"`` takes 0
        or 1, and the others take 0.
    max_iter : int, default=100
        Most iterations, or epochs of the mini-batch solvers.
    tol : float, default=1e-4
        Full-batch solvers stop when no component of the gradient of the mean objective is larger.
        Mini-batch solvers stop when the objective improves by less for `n_iter_no_change` epochs.
    batch_size : int or "auto", default="auto"
        Rows of a batch. ``"auto"`` is ``min(200, n_samples)``. Mini-batch solvers only.
    learning_rate_init : float, default=0.01
        Learning rate, above 0. Mini-batch solvers only.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether ``solver="sgd"`` looks ahead along its momentum.
    shuffle : bool, default=True
        Whether mini-batch solvers reorder the rows before every epoch.
    early_stopping : bool, default=False
        Whether to watch validation rows, to stop when they have not improved by
        `tol` for `n_iter_no_change` epochs, and to keep the best epoch's weights. The validation
        rows are those given to ``fit``, else a stratified share of the training rows.
    monitor : str or callable, default="loss"
        What early stopping watches: ``"loss"``, the log loss, the name of a scikit-learn scorer, or
        a ``callable(estimator, X, y)``, the greater the better.
    validation_fraction : float, default=0.1
        That share, in (0, 1).
    n_iter_no_change : int, inf or "auto", default="auto"
        Patience: epochs without improvement before training stops. ``"auto"`` is 10. ``np.inf``
        always trains for `max_iter` epochs. Mini-batch solvers and early stopping only.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the last solution.
    random_state : int, RandomState instance or None, default=None
        Fixes shuffling and the choice of validation rows.
    device : str or torch.device, default="auto"
        Where to train. ``"auto"`` takes the device of `X` if it is a tensor, else the first of
        CUDA, MPS, XPU and CPU that is there.
    callbacks : list of skorch callbacks or None, default=None
        Told of every epoch, or of every batch if they ask for it.
    verbose : int, default=0
        Prints a line every `verbose` epochs. 0 prints nothing.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features)
        Weights of the features. A compressed sparse matrix between ``sparsify`` and ``densify``.
    intercept_ : ndarray of shape (1,)
        Constant term of the logit. 0 without intercept.
    classes_ : ndarray of shape (2,)
        The labels, sorted. The second one is positive.
    n_iter_ : ndarray of shape (1,)
        Iterations or epochs of the last fit.
    solver_ : str
        The solver that was used.
    threshold_ : float
        The threshold in force since ``fit`` or ``tune_threshold``.
    threshold_curve_ : dict of ndarray of shape (n_cuts,)
        The cuts between rows: ``"threshold"``, the weight of the rows of each kind (``"tn"``,
        ``"fp"``, ``"fn"``, ``"tp"``) and the ``"score"``, of which more is better. All cuts are
        compared; at most 1,000 are kept: the chosen one, both ends, and others, which are closer
        together where the curve changes most. Only if the threshold was chosen.
    threshold_interval_ : tuple of (float, float)
        Within which the choice falls in 90% of bootstrap resamples. Only if it was chosen.
    loss_curve_ : list of float
        Mean weighted loss over the training rows, in nats, after each iteration. Mini-batch
        solvers add it up during the epoch. The penalty is not in it.
    validation_loss_curve_ : list of float or None
        The same over the validation rows. None without them.
    validation_scores_ : list of float or None
        Accuracy on the validation rows after each epoch. None without them.
    best_validation_score_ : float or None
        The highest of them.
    best_epoch_ : int
        The epoch, counted from 1, whose weights are kept: the last one without early stopping.
    stop_reason_ : str
        Why training stopped.
    history_ : dict of list of float
        All curves, equally long: ``loss``, ``objective`` (with the penalty), ``learning_rate``,
        ``seconds``, and with validation rows ``validation_loss`` and ``validation_score``. It
        also has what `callbacks` record for an epoch: numbers, and events as True or False.
    device_ : str
        Where it was trained.
    module_ : torch.nn.Module
        The model as a torch module in evaluation mode, built when asked for.
    net_ : skorch.NeuralNet
        The model as a skorch net, built when asked for.
    n_features_in_ : int
        Count of the features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if `X` had string names.

    See Also
    --------
    TorchMLPClassifier : A network with hidden layers.
    sklearn.linear_model.LogisticRegression : The same optimum, without PyTorch.

    Notes
    -----
    The full-batch solvers compute in float64 where the device has it, whatever the precision of
    `X`. Mini-batch training is float32.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbinary import TorchLogisticClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> malignant = y == 0
    >>> model = make_pipeline(StandardScaler(), TorchLogisticClassifier(threshold=0.3))
    >>> print(f"{model.fit(X, malignant).score(X, malignant):.2f}")
    0.98
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "threshold": "no_validation",  # by hand, since it may be no number
        "pos_label": [Real, str, "boolean", None],
        "solver": [StrOptions(_SOLVERS | _PEER_SOLVERS)],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "shuffle": ["boolean"],
        "early_stopping": ["boolean"],
        "monitor": [str, callable],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "callbacks": [list, tuple, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: Any = None,
        threshold: Any = 0.5,
        pos_label: Any = None,
        solver: str = "auto",
        max_iter: int = 100,
        tol: float = 1e-4,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.01,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        shuffle: bool = True,
        early_stopping: bool = False,
        monitor: Any = "loss",
        validation_fraction: float = 0.1,
        n_iter_no_change: float | str = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        device: Any = "auto",
        callbacks: Any = None,
        verbose: int = 0,
    ):
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.threshold = threshold
        self.pos_label = pos_label
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.monitor = monitor
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.verbose = verbose

    def _recipe(self, data: CheckedData, *, is_partial: bool) -> Recipe:
        solver = self._choose_solver(data.train.X)
        architecture = Architecture(self.n_features_in_, fit_intercept=self.fit_intercept)
        return make_recipe(
            self,
            data,
            solver=solver,
            is_partial=is_partial,
            is_random=bool(self.early_stopping) or solver in MINIBATCH_SOLVERS,
            path_strength=1 / self.C if self._follows_a_path(solver) else None,
            architecture=architecture,
            initial_parameters=_zeros,
            full_batch_step=functools.partial(self._full_batch_step, solver),
            optimizer=self._optimizer,
            schedule=self._schedule,
            l2_penalty=L2Penalty(1 / self.C, per_batch=False),
        )

    def _choose_solver(self, X: Any) -> str:
        sparse_solution = self.l1_ratio > 0 and not np.isinf(self.C)
        lasso = self.solver == "liblinear" and self.l1_ratio == 1
        if sparse_solution and not lasso and self.solver not in _ELASTIC_NET_SOLVERS:
            raise ValueError(
                "solver must be 'auto' or 'prox-newton' with an l1_ratio above 0, got "
                f"{self.solver!r} with l1_ratio={self.l1_ratio:g}. Change one of them."
            )
        if self.solver != "auto" and self.solver not in _PEER_SOLVERS:
            return self.solver
        if sparse_solution:
            return "prox-newton"
        n_rows, n_features = X.shape
        size = n_features if np.isinf(self.C) else min(n_rows, n_features)
        return "newton-cholesky" if size <= _LARGEST_SYSTEM else "lbfgs"

    def _follows_a_path(self, solver: str) -> bool:
        """Whether a batch of such models may be solved along a path of penalties.

        A path ends at the optimum, so models that are to stop short of it are fitted alone.
        """
        to_the_end = _ROUNDING_TOL <= self.tol <= _FINE_TOL and self.max_iter >= _ENOUGH_ITERATIONS
        few = self.n_features_in_ <= _LARGEST_SYSTEM
        return solver == "newton-cholesky" and to_the_end and few and not np.isinf(self.C)

    def _full_batch_step(
        self, solver: str, model_batch: ModelBatch, dataset: Dataset, pool: ThreadPool
    ) -> Solver:
        rows = centered(dataset.rows) if self.fit_intercept else None
        if rows is None:
            return self._linear_step(model_batch, dataset, solver, pool)
        make = functools.partial(self._linear_step, solver=solver, pool=pool)
        return CenteredSolver(model_batch, dataset, rows, make)

    def _linear_step(
        self, model_batch: ModelBatch, dataset: Dataset, solver: str, pool: ThreadPool
    ) -> Solver:
        strength = dataset.penalty(1 / self.C) / dataset.total_weight
        n_rows, n_features = dataset.rows.shape
        if solver == "newton-cholesky" and n_rows < n_features and strength > 0:
            return DualNewton(model_batch, dataset, strength, self.tol, pool)
        objective = linear_objective(model_batch, dataset, (1 - self.l1_ratio) * strength, pool)
        if solver == "prox-newton":
            return ProximalNewton(objective, self.l1_ratio * strength, self.tol)
        if solver == "newton-cholesky":
            return Newton(objective, self.tol)
        return LBFGS(objective, self.tol)

    def _optimizer(self, parameters: Tensor, state: Any) -> Adam | SGD:
        if self.solver == "adam":
            return Adam(parameters, state=state)
        return SGD(parameters, self.momentum, self.nesterovs_momentum, state=state)

    def _schedule(self, n_batches: int) -> Schedule:
        return Schedule(self.learning_rate_init)

    # -- fitted attributes ------------------------------------------------------------------

    @property
    def coef_(self) -> Any:
        """Weights of the features: an array, or a sparse matrix after ``sparsify``."""
        return self._fitted().weights[0].T

    @coef_.setter
    def coef_(self, value: Any) -> None:
        self._state = replace(self._fitted(), weights=(value.T,))

    @property
    def intercept_(self) -> NDArray[np.floating]:
        """Constant term of the logit. 0 without intercept."""
        state = self._fitted()
        return state.biases[0] if state.biases else np.zeros(1, dtype=state.weights[0].dtype)

    @intercept_.setter
    def intercept_(self, value: NDArray[np.floating]) -> None:
        self._state = replace(self._fitted(), biases=(np.asarray(value),))

    @property
    def n_iter_(self) -> NDArray[np.int32]:
        """Iterations or epochs of the last fit, an array of shape (1,)."""
        return np.array(self._fitted().n_iter, dtype=np.int32)

    @property
    def solver_(self) -> str:
        """The solver that was used."""
        return self._fitted().solver


def _zeros(architecture: Architecture, random_state: Any) -> Tensor:
    return torch.zeros(architecture.n_parameters, dtype=torch.float64)
