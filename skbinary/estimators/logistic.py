"""Logistic regression."""

from __future__ import annotations

import functools
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.utils._param_validation import Interval, Options, StrOptions
from torch import Tensor

from skbinary.data.checked import CheckedData
from skbinary.data.dataset import Dataset
from skbinary.data.rows import centered
from skbinary.data.streamed_dataset import StreamedDataset
from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.parameter_types import (
    BatchSize,
    ClassWeight,
    Device,
    Monitor,
    Patience,
    PosLabel,
    RandomState,
    SkorchCallbacks,
    Threshold,
)
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
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import Schedule
from skbinary.solvers.minibatch.setup import L2Penalty
from skbinary.solvers.run import Solver

_Solver: TypeAlias = Literal[
    "auto",
    "newton-cholesky",
    "lbfgs",
    "prox-newton",
    "adam",
    "sgd",
    "liblinear",
    "newton-cd",
    "newton-cg",
    "sag",
    "saga",
]
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
    """Logistic regression for binary classification, trained by PyTorch.

    The model is a linear function of the features that returns the logit (log-odds) of the
    positive class. ``fit`` minimizes the objective of scikit-learn's ``LogisticRegression``,
    ``C * sum(weight * loss) + sum(coef ** 2) / 2``, where the loss of a sample with logit z and
    target y in {0, 1} is ``log(1 + exp(z)) - y * z``. The intercept is not penalized.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the regularization strength, above 0: smaller values regularize more.
        ``np.inf`` means no penalty.
    l1_ratio : float, default=0.0
        Fraction of the penalty that is L1, in [0, 1]. The penalty is
        ``l1_ratio * sum(abs(coef)) + (1 - l1_ratio) * sum(coef ** 2) / 2``: 0 is the ridge
        penalty, 1 the lasso, and values in between an elastic net. With an L1 penalty some
        coefficients are exactly zero.
    fit_intercept : bool, default=True
        Whether to add an intercept to the linear function.
    class_weight : dict, "balanced" or None, default=None
        Class weights as ``{label: weight}``. ``"balanced"`` gives both classes the same total
        weight. None gives both classes weight 1. Class weights multiply ``sample_weight``.
    threshold : float, str, callable or dict, default=0.5
        Decision threshold: ``predict`` predicts the positive class when its probability is at
        least this number, in [0, 1]. Instead of a number, an objective for which ``fit`` chooses
        the threshold:

        - a metric to maximize: the name of a scikit-learn scorer that compares labels (``"f1"``,
          ``"balanced_accuracy"``), or a ``callable(y_true, y_pred, *, sample_weight=None)``;
        - a constraint: ``{"recall": 0.9}`` for the highest precision with a recall of at least
          0.9, ``{"precision": 0.9}`` or ``{"specificity": 0.9}`` for the highest recall, or
          ``{"alert_rate": 0.1}`` for the highest recall with at most a tenth of the samples
          predicted positive;
        - the costs of errors to minimize: ``{"cost_fp": 1, "cost_fn": 20}``, optionally with
          ``"cost_tp"`` and ``"cost_tn"``.

        The threshold is chosen on samples that the model was not trained on: ``X_val``, the
        validation set of early stopping, or five folds that are fitted in addition.
    pos_label : int, float, bool, str or None, default=None
        The positive class that `threshold` refers to. None is ``classes_[1]``, the second label in
        sorted order. The columns of ``predict_proba`` and the sign of ``decision_function`` do not
        depend on it.
    solver : {"auto", "newton-cholesky", "lbfgs", "prox-newton", "adam", "sgd", "liblinear", \
            "newton-cd", "newton-cg", "sag", "saga"}, default="auto"
        Algorithm that minimizes the objective.

        - ``"newton-cholesky"``, ``"lbfgs"`` and ``"prox-newton"`` are full-batch solvers, which
          converge to the optimum. Only ``"prox-newton"`` takes an `l1_ratio` above 0.
        - ``"adam"`` and ``"sgd"`` are mini-batch solvers.
        - ``"auto"`` is ``"prox-newton"`` if `l1_ratio` is above 0, else ``"newton-cholesky"`` if
          there are at most 500 features or at most 500 samples, else ``"lbfgs"``.
        - The last five are names of scikit-learn's solvers, with the same meaning as ``"auto"``.
          ``"newton-cd"`` and ``"saga"`` take any `l1_ratio`, ``"liblinear"`` takes 0 or 1, and
          ``"newton-cg"`` and ``"sag"`` take 0.
    max_iter : int, default=100
        Maximum number of iterations, or of epochs with a mini-batch solver.
    tol : float, default=1e-4
        Tolerance of the stopping criterion, 0 or more. Full-batch solvers stop when no component
        of the gradient of the mean objective exceeds `tol`. Mini-batch solvers stop when the
        objective has not improved by at least `tol` for `n_iter_no_change` epochs.
    batch_size : int or "auto", default="auto"
        Number of samples in a mini-batch. ``"auto"`` is ``min(200, n_samples)``. Mini-batch
        solvers only.
    learning_rate_init : float, default=0.01
        Learning rate, above 0. Mini-batch solvers only.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether ``solver="sgd"`` uses Nesterov's momentum.
    shuffle : bool, default=True
        Whether to shuffle the training set before every epoch. Mini-batch solvers only.
    early_stopping : bool, default=False
        Whether to stop training when the validation loss (or the score set by `monitor`) has not
        improved by at least `tol` for `n_iter_no_change` epochs, and to keep the weights of the
        best epoch. The validation set is ``X_val`` if it is passed to ``fit``, else a stratified
        fraction of the training data.
    monitor : str or callable, default="loss"
        What early stopping monitors: ``"loss"`` for the validation log loss, the name of a
        scikit-learn scorer, or a ``callable(estimator, X, y)`` that returns a score to maximize.
    validation_fraction : float, default=0.1
        Fraction of the training data that becomes the validation set, in (0, 1). Only used with
        early stopping and without ``X_val``.
    n_iter_no_change : int, np.inf or "auto", default="auto"
        Patience: epochs without improvement before training stops. ``"auto"`` is 10. ``np.inf``
        trains for `max_iter` epochs. Only used by mini-batch solvers and early stopping.
    warm_start : bool, default=False
        Whether ``fit`` starts from the solution of the previous call.
    random_state : int, RandomState instance or None, default=None
        Seed or generator for shuffling and for drawing the validation set.
    device : str or torch.device, default="auto"
        Device to train on. ``"auto"`` is the device of `X` if it is a tensor, else the first
        available of CUDA, MPS, XPU and CPU.
    callbacks : list of skorch callbacks or None, default=None
        Callbacks that are called after each epoch. Those with batch-level methods are also called
        after each mini-batch.
    verbose : int, default=0
        Print a line every `verbose` epochs. 0 prints nothing.

    Attributes
    ----------
    coef_ : ndarray or sparse matrix of shape (1, n_features)
        Coefficients of the features. A sparse matrix between ``sparsify`` and ``densify``.
    intercept_ : ndarray of shape (1,)
        Intercept. 0 if `fit_intercept` is False.
    classes_ : ndarray of shape (2,)
        The labels in sorted order.
    n_iter_ : ndarray of int of shape (1,)
        Number of iterations, or of epochs with a mini-batch solver, of the last fit.
    solver_ : str
        The solver that was used; never ``"auto"``.
    threshold_ : float
        Decision threshold set by ``fit`` or ``tune_threshold``.
    threshold_curve_ : dict of ndarray of shape (n_thresholds,)
        The thresholds that were compared (``"threshold"``), the weight of the true negatives, false
        positives, false negatives and true positives at each (``"tn"``, ``"fp"``, ``"fn"``,
        ``"tp"``), and the objective to maximize (``"score"``). At most 1,000 are kept: the chosen
        one, both ends, and others that are denser where the curve changes most. Only if the
        threshold was chosen for an objective.
    threshold_interval_ : tuple of (float, float)
        Interval that contains the chosen threshold in 90% of bootstrap resamples. Only if the
        threshold was chosen for an objective.
    loss_curve_ : list of float
        Training loss after each iteration or epoch, in nats per unit of weight, without the
        penalty. Mini-batch solvers average it over the mini-batches of the epoch.
    validation_loss_curve_ : list of float or None
        Validation loss after each iteration or epoch, in nats per unit of weight. None without a
        validation set.
    validation_scores_ : list of float or None
        Score on the validation set after each iteration or epoch: the one set by `monitor`, or
        the accuracy with ``monitor="loss"``. None without a validation set.
    best_validation_score_ : float or None
        The maximum of ``validation_scores_``.
    best_epoch_ : int
        The iteration or epoch, counted from 1, whose weights were kept: the last one without early
        stopping.
    stop_reason_ : StopReason
        Why training stopped, such as ``"converged"``. A string with a ``description``.
    history_ : dict of list of float
        All curves by name, each with one value for every iteration or epoch: ``"loss"``,
        ``"objective"`` (the loss with the penalty), ``"learning_rate"``, ``"seconds"``, with a
        validation set also ``"validation_loss"`` and ``"validation_score"``, and what `callbacks`
        have recorded.
    device_ : str
        Device that the model was trained on, such as ``"cpu"`` or ``"cuda:0"``.
    module_ : torch.nn.Module
        The fitted model as a torch module in evaluation mode that returns logits, built on each
        access.
    net_ : skorch.NeuralNet
        The fitted model as a skorch net, built on each access.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features. Only if `X` had column names that are strings.

    See Also
    --------
    TorchMLPClassifier : Multi-layer perceptron for binary classification.
    sklearn.linear_model.LogisticRegression : The same model, without PyTorch.

    Notes
    -----
    Full-batch solvers compute in float64 if the device supports it, whatever the precision of `X`.
    Mini-batch solvers train in float32.

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
        "solver": [StrOptions(set(get_args(_Solver)))],
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
        class_weight: ClassWeight = None,
        threshold: Threshold = 0.5,
        pos_label: PosLabel = None,
        solver: _Solver = "auto",
        max_iter: int = 100,
        tol: float = 1e-4,
        batch_size: BatchSize = "auto",
        learning_rate_init: float = 0.01,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        shuffle: bool = True,
        early_stopping: bool = False,
        monitor: Monitor = "loss",
        validation_fraction: float = 0.1,
        n_iter_no_change: Patience = "auto",
        warm_start: bool = False,
        random_state: RandomState = None,
        device: Device = "auto",
        callbacks: SkorchCallbacks = None,
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
        solver = self._choose_solver(data)
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

    def _choose_solver(self, data: CheckedData) -> str:
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
        n_features = self.n_features_in_
        by_rows = data.stream is None and not np.isinf(self.C)
        size = min(data.n_samples, n_features) if by_rows else n_features
        return "newton-cholesky" if size <= _LARGEST_SYSTEM else "lbfgs"

    def _follows_a_path(self, solver: str) -> bool:
        """Whether a batch of such models may be solved along a path of penalties.

        A path ends at the optimum, so models that may stop before it are fitted singly.
        """
        to_the_end = _ROUNDING_TOL <= self.tol <= _FINE_TOL and self.max_iter >= _ENOUGH_ITERATIONS
        few = self.n_features_in_ <= _LARGEST_SYSTEM
        return solver == "newton-cholesky" and to_the_end and few and not np.isinf(self.C)

    def _full_batch_step(
        self, solver: str, model_batch: ModelBatch, dataset: Dataset, pool: ThreadPool
    ) -> Solver:
        rows = centered(dataset.rows, dataset.processes) if self.fit_intercept else None
        if rows is None:
            return self._linear_step(model_batch, dataset, solver, pool)
        make = functools.partial(self._linear_step, solver=solver, pool=pool)
        return CenteredSolver(model_batch, dataset, rows, make)

    def _linear_step(
        self, model_batch: ModelBatch, dataset: Dataset, solver: str, pool: ThreadPool
    ) -> Solver:
        strength = dataset.penalty(1 / self.C) / dataset.total_weight
        is_in_memory = dataset.processes.is_one and not isinstance(dataset, StreamedDataset)
        is_wide = is_in_memory and dataset.n_samples < dataset.n_features
        if solver == "newton-cholesky" and is_wide and strength > 0:
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
