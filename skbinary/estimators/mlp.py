"""A multi-layer perceptron."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
)
from torch import Tensor

from skbinary.data.checked import CheckedData
from skbinary.data.dataset import Dataset
from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.recipe import Recipe, make_recipe
from skbinary.models.activations import ACTIVATIONS
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.lbfgs import LBFGS
from skbinary.solvers.full_batch.objective import NetworkObjective
from skbinary.solvers.loop import Solver
from skbinary.solvers.minibatch.optimizers import SGD, Adam
from skbinary.solvers.minibatch.schedules import (
    Adaptive,
    Cosine,
    InverseScaling,
    OneCycle,
    Schedule,
)
from skbinary.solvers.minibatch.single import L2Penalty

# The relative decrease at which scipy's L-BFGS-B stops unless it is told otherwise, so that fits
# end where MLPClassifier's do.
_LEAST_DECREASE = 2.220446049250313e-09


class TorchMLPClassifier(BinaryClassifier):
    """A multi-layer perceptron for two classes, trained by PyTorch.

    Parameters that scikit-learn's ``MLPClassifier`` has keep their names, defaults and meaning.
    With the same ``random_state`` both start from the same weights and see the same batches.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Width of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "leaky_relu"}, \
            default="relu"
        Function of the hidden layers. The slope of ``"leaky_relu"`` below zero is 0.01.
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        The first two work on batches, ``"lbfgs"`` on all rows at once.
    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights, 0 or more. It is divided by the weight of the
        batch, as in scikit-learn.
    batch_size : int or "auto", default="auto"
        Rows of a batch. ``"auto"`` is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive", "cosine", "onecycle"}, \
            default="constant"
        How the rate moves. ``"invscaling"`` divides it by ``t ** power_t`` (t rows seen),
        ``"adaptive"`` by 5 at each plateau; as in scikit-learn, these two act on ``solver="sgd"``
        only. ``"cosine"`` lets it fall to 0 over `max_iter` epochs, ``"onecycle"`` rise over the
        first 30% of the steps and fall over the rest.
    learning_rate_init : float, default=0.001
        The first rate, or the peak of ``"onecycle"``, above 0.
    power_t : float, default=0.5
        Exponent of ``"invscaling"``.
    max_iter : int, default=200
        Most epochs, or iterations of ``"lbfgs"``.
    shuffle : bool, default=True
        Whether to reorder the rows before every epoch.
    random_state : int, RandomState instance or None, default=None
        Fixes the first weights, the batches, dropout and the choice of validation rows.
    tol : float, default=1e-4
        The improvement of the objective, or of the validation score, that counts as one.
        ``"lbfgs"`` stops when no component of the gradient is larger.
    verbose : int, default=0
        Prints a line every `verbose` epochs. 0 prints nothing.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the last weights.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether ``solver="sgd"`` looks ahead along its momentum.
    early_stopping : bool or "auto", default="auto"
        Whether to watch validation rows, to stop when they have not improved by `tol` for
        `n_iter_no_change` epochs, and to keep the best epoch's weights. The validation rows are
        those given to ``fit``, else a stratified share of the training rows. ``"auto"`` does so
        from 1,000 rows on, and where ``X_val``, a `monitor` or members ask for it; never with
        ``solver="lbfgs"`` or in ``partial_fit``. The one default that is not scikit-learn's.
    monitor : str or callable, default="loss"
        What early stopping watches: ``"loss"``, the log loss, the name of a scikit-learn scorer, or
        a ``callable(estimator, X, y)``, the greater the better. With fewer than 5 validation rows
        of a class it is the loss.
    validation_fraction : float, default=0.1
        That share, in (0, 1).
    beta_1 : float, default=0.9
        Decay of Adam's average of the gradient, in [0, 1).
    beta_2 : float, default=0.999
        Decay of Adam's average of the squared gradient, in [0, 1).
    epsilon : float, default=1e-8
        Keeps Adam from dividing by zero, above 0.
    n_iter_no_change : int, inf or "auto", default="auto"
        Patience: epochs without improvement before training stops. ``np.inf`` always trains for
        `max_iter` epochs. ``"auto"`` is 10, as in scikit-learn; where ``early_stopping="auto"``
        watches validation rows it is 24, and 5 for each network of an ensemble.
    max_fun : int, default=15000
        Most evaluations of the objective by ``"lbfgs"``.
    dropout : float or array-like of float, default=0.0
        Share of each hidden layer's outputs that is set to zero in training, in [0, 1): one
        number, or one for each hidden layer. Mini-batch solvers only.
    weight_decay : float, default=0.0
        Decoupled decay of all weights and biases (AdamW), 0 or more. Mini-batch solvers only.
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
        did not train the model that scored them: the members' folds, ``X_val``, the
        rows of early stopping, or five folds that are trained besides.
    pos_label : int, float, bool, str or None, default=None
        The positive label, to which `threshold` refers: its recall, its precision, its
        probability. None takes ``classes_[1]``, the second label in sorted order. The columns of
        ``predict_proba`` and the sign of ``decision_function`` do not depend on it.
    n_members : int, default=1
        With more than one, as many networks from different seeds are trained side by side, each on
        all rows but its own stratified fold, on which it is validated (or on all rows, if ``X_val``
        is given). The mean of their logits counts. Mini-batch solvers train them in one stack.
    device : str or torch.device, default="auto"
        Where to train. ``"auto"`` takes the device of `X` if it is a tensor, else the first of
        CUDA, MPS, XPU and CPU that is there.
    callbacks : list of skorch callbacks or None, default=None
        Told of every epoch, or of every batch if they ask for it.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_in, n_out) or (n_members, n_in, n_out)
        Weights of each layer.
    intercepts_ : list of ndarray of shape (n_out,) or (n_members, n_out)
        Biases of each layer.
    members_ : list of dict of ndarray
        Weights (``"coefs_0"``, ...), biases (``"intercepts_0"``, ...) and curves of each member.
    n_members_ : int
        Count of the members. There are no more than rows of the rarer class.
    oof_decision_function_ : ndarray of shape (n_samples,)
        The logit of each training row by the member that did not see it. Only with members that
        leave out folds.
    oof_loss_ : float
        The mean log loss of these, weighted by ``sample_weight``, in nats.
    classes_ : ndarray of shape (2,)
        The labels, sorted. The second one is positive.
    n_iter_ : int
        Epochs or iterations of the last fit.
    n_layers_ : int
        Count of the layers, input and output among them.
    n_outputs_ : int
        1, the logit.
    out_activation_ : str
        ``"logistic"``.
    loss_ : float
        The last of ``loss_curve_``.
    best_loss_ : float or None
        The smallest of ``loss_curve_``. None with early stopping.
    t_ : int
        Training rows seen.
    threshold_ : float
        The threshold in force since ``fit`` or ``tune_threshold``.
    threshold_curve_ : dict of ndarray of shape (n_cuts,)
        The cuts between rows: ``"threshold"``, the weight of the rows of each kind (``"tn"``,
        ``"fp"``, ``"fn"``, ``"tp"``) and the ``"score"``, of which more is better. All cuts are
        compared; at most 1,000 are kept: the chosen one, both ends, and others, which are closer
        together where the curve changes most. Only if the threshold was chosen.
    threshold_interval_ : tuple of (float, float)
        Within which the choice falls in 90% of bootstrap resamples. Only if it was chosen.
    loss_curve_ : list of float, or one for each member
        Mean weighted loss over the training rows, in nats, added up during each epoch. The
        penalty is not in it.
    validation_loss_curve_ : list of float or None, or one for each member
        The same over the validation rows after each epoch. None without them.
    validation_scores_ : list of float or None, or one for each member
        What `monitor` gives on the validation rows after each epoch, with ``"loss"`` the accuracy.
        None without them.
    best_validation_score_ : float or None
        The highest of them, on average over the members.
    best_epoch_ : int, or one for each member
        The epoch, counted from 1, whose weights are kept: the last one without early stopping.
    stop_reason_ : str, or one for each member
        Why training stopped.
    history_ : dict of list of float, or one for each member
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
        Count of the features, after flattening.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if `X` had string names.
    sample_shape_ : tuple of int
        Shape of a sample, if `X` had more than two dimensions.

    See Also
    --------
    TorchLogisticClassifier : A linear model.
    sklearn.neural_network.MLPClassifier : More than two classes, without PyTorch.

    Notes
    -----
    Mini-batch training is float32, ``"lbfgs"`` computes in float64 where the device has it. The
    first weights are uniform with the bounds of Glorot and Bengio, "Understanding the difficulty
    of training deep feedforward neural networks", 2010, equation 16.

    Examples
    --------
    >>> from sklearn.datasets import make_circles
    >>> from skbinary import TorchMLPClassifier
    >>> X, y = make_circles(1000, noise=0.1, factor=0.5, random_state=1)
    >>> model = TorchMLPClassifier(max_iter=500, random_state=0).fit(X, y)
    >>> print(f"{model.score(X, y):.2f}")
    0.99
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "solver": [StrOptions({"adam", "sgd", "lbfgs"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", "cosine", "onecycle"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "monitor": [str, callable],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "threshold": "no_validation",  # by hand, since it may be no number
        "pos_label": [Real, str, "boolean", None],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "callbacks": [list, tuple, None],
    }

    _takes_images = True

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: int = 0,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool | str = "auto",
        monitor: Any = "loss",
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float | str = "auto",
        max_fun: int = 15000,
        dropout: Any = 0.0,
        weight_decay: float = 0.0,
        class_weight: Any = None,
        threshold: Any = 0.5,
        pos_label: Any = None,
        n_members: int = 1,
        device: Any = "auto",
        callbacks: Any = None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.monitor = monitor
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.threshold = threshold
        self.pos_label = pos_label
        self.n_members = n_members
        self.device = device
        self.callbacks = callbacks

    def _validate_params(self) -> None:
        if _is_module(self.hidden_layer_sizes):
            raise InvalidParameterError(
                "hidden_layer_sizes must be the widths of the hidden layers, such as (64, 32), got "
                "a torch module. This estimator builds its own network: train a module of "
                "yours with skorch.NeuralNetBinaryClassifier."
            )
        super()._validate_params()

    def _recipe(self, data: CheckedData, *, is_partial: bool) -> Recipe:
        hidden = _widths(self.hidden_layer_sizes)
        dropout = _rates(self.dropout, len(hidden))
        if self.solver == "lbfgs":
            self._check_lbfgs()
        return make_recipe(
            self,
            data,
            solver=self.solver,
            is_partial=is_partial,
            n_models=self.n_members,
            architecture=Architecture(self.n_features_in_, hidden, self.activation, dropout),
            initial_parameters=_initial_parameters,
            full_batch_step=self._lbfgs_step,
            optimizer=self._optimizer,
            schedule=self._schedule,
            l2_penalty=L2Penalty(self.alpha, per_batch=True),
        )

    def _check_lbfgs(self) -> None:
        for name in ("dropout", "weight_decay"):
            if np.any(np.asarray(getattr(self, name)) != 0):
                raise ValueError(
                    f"{name} must be 0 with solver='lbfgs', which lowers a fixed objective, got "
                    f"{getattr(self, name)!r}. Use solver='adam', or alpha."
                )

    def _lbfgs_step(self, model_batch: ModelBatch, dataset: Dataset, pool: ThreadPool) -> Solver:
        strength = dataset.penalty(self.alpha) / dataset.total_weight
        objective = NetworkObjective(model_batch, dataset, strength, pool)
        return LBFGS(
            objective, self.tol, min_decrease=_LEAST_DECREASE, max_evaluations=self.max_fun
        )

    def _optimizer(self, parameters: Tensor, state: Any) -> Adam | SGD:
        if self.solver == "adam":
            betas = (self.beta_1, self.beta_2)
            return Adam(parameters, betas, self.epsilon, self.weight_decay, state)
        return SGD(parameters, self.momentum, self.nesterovs_momentum, self.weight_decay, state)

    def _schedule(self, n_batches: int) -> Schedule:
        rate = self.learning_rate_init
        if self.learning_rate == "cosine":
            return Cosine(rate, self.max_iter)
        if self.learning_rate == "onecycle":
            return OneCycle(rate, self.max_iter * n_batches)
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            return InverseScaling(rate, self.power_t)
        if self.solver == "sgd" and self.learning_rate == "adaptive":
            return Adaptive(rate)
        return Schedule(rate)

    # -- fitted attributes ------------------------------------------------------------------

    @property
    def coefs_(self) -> list[NDArray[np.floating]]:
        """Weights of each layer."""
        return list(self._fitted().weights)

    @property
    def intercepts_(self) -> list[NDArray[np.floating]]:
        """Biases of each layer."""
        return list(self._fitted().biases)

    @property
    def n_members_(self) -> int:
        """Number of networks whose logits are averaged."""
        return self._fitted().n_models

    @property
    def members_(self) -> list[dict[str, NDArray[Any]]]:
        """Weights, biases and curves of each ensemble member, as arrays."""
        state = self._fitted()
        members = []
        for k in range(state.n_models):
            one = state if state.n_models == 1 else state.model(k)
            arrays = {f"coefs_{i}": each for i, each in enumerate(one.weights)}
            arrays |= {f"intercepts_{i}": each for i, each in enumerate(one.biases)}
            curves = {name: np.array(curve) for name, curve in one.curves[0].items()}
            members.append(arrays | curves)
        return members

    @property
    def oof_decision_function_(self) -> NDArray[np.floating]:
        """Out-of-fold logits: of each training row by the member that was not trained on it."""
        logits: NDArray[np.floating] = self._optional("oof_logits")
        return logits

    @property
    def oof_loss_(self) -> float:
        """Mean log loss of the out-of-fold logits, in nats."""
        return float(self._optional("oof_loss"))

    @property
    def n_iter_(self) -> int:
        """Epochs or iterations of the last fit: the most of any ensemble member."""
        return max(self._fitted().n_iter)

    @property
    def n_layers_(self) -> int:
        """Number of layers, including the input and the output layer."""
        return len(self._fitted().weights) + 1

    @property
    def n_outputs_(self) -> int:
        """Number of outputs: 1, the logit."""
        return len(self._fitted().layers[-1:])

    @property
    def out_activation_(self) -> str:
        """Function that turns the logit into a probability: ``"logistic"``."""
        self._fitted()
        return "logistic"

    @property
    def loss_(self) -> float:
        """The last value of ``loss_curve_``; for an ensemble, the mean over its members."""
        return float(
            np.mean([(each["loss"] or [math.nan])[-1] for each in self._fitted().last_curves()])
        )

    @property
    def best_loss_(self) -> float | None:
        """The smallest value of ``loss_curve_``. None with early stopping, and for an ensemble."""
        state = self._fitted()
        if state.stopped_early or state.n_models > 1:
            return None
        return float(min(self._fitted().last_curves()[0]["loss"], default=math.inf))

    @property
    def t_(self) -> int:
        """Training rows that the solver has seen."""
        return self._fitted().n_seen


def _initial_parameters(architecture: Architecture, random_state: Any) -> Tensor:
    """Draw weights and biases as scikit-learn's MLPClassifier does, in the same order."""
    weights, biases = [], []
    factor = 2 if architecture.activation == "logistic" else 6
    for n_in, n_out in architecture.layers:
        bound = math.sqrt(factor / (n_in + n_out))
        weights.append(torch.as_tensor(random_state.uniform(-bound, bound, (n_in, n_out))))
        biases.append(torch.as_tensor(random_state.uniform(-bound, bound, n_out)))
    return architecture.pack(weights, biases)


def _is_module(value: Any) -> bool:
    is_class = isinstance(value, type) and issubclass(value, torch.nn.Module)
    return is_class or isinstance(value, torch.nn.Module)


def _widths(hidden_layer_sizes: Any) -> tuple[int, ...]:
    widths = np.atleast_1d(np.asarray(hidden_layer_sizes))
    fine = widths.ndim == 1 and widths.dtype.kind in "iu" and bool(np.all(widths > 0))
    if widths.size and not fine:
        raise ValueError(
            "hidden_layer_sizes must be > 0 and whole numbers, got "
            f"{hidden_layer_sizes!r}. Give one width for each hidden layer."
        )
    return tuple(int(width) for width in widths)


def _rates(dropout: Any, n_hidden: int) -> tuple[float, ...]:
    rates = np.asarray(dropout)
    if rates.ndim == 0:
        rates = np.full(n_hidden, rates)
    numbers = rates.dtype.kind in "iuf" and rates.shape == (n_hidden,)
    if not (numbers and np.all((rates >= 0) & (rates < 1))):
        raise ValueError(
            "dropout must be a rate in [0, 1), or one for each hidden layer, got "
            f"{dropout!r} for {n_hidden} hidden layers. Give {n_hidden} rates, or one."
        )
    return tuple(float(rate) for rate in rates)
