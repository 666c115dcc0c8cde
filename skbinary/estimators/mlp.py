"""A multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
)

from skbinary.data.checked import CheckedData
from skbinary.data.dataset import Dataset
from skbinary.estimators.hidden_layers import (
    draw_initial_parameters,
    dropout_rates,
    hidden_widths,
    is_torch_module,
    periodic_embedding,
)
from skbinary.estimators.network import NetworkClassifier
from skbinary.estimators.network_parameters import (
    NETWORK_CONSTRAINTS,
    LearningRate,
    make_optimizer,
    make_schedule,
)
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
from skbinary.estimators.recipe import Recipe, make_recipe
from skbinary.estimators.state import FittedState
from skbinary.models.architecture import Architecture
from skbinary.models.batch_of_models import ModelBatch
from skbinary.models.periodic_embedding import PeriodicEmbedding
from skbinary.runtime.threads import ThreadPool
from skbinary.solvers.full_batch.lbfgs import LBFGS
from skbinary.solvers.full_batch.objective import NetworkObjective
from skbinary.solvers.minibatch.setup import L2Penalty
from skbinary.solvers.run import Solver

_Activation: TypeAlias = Literal[
    "identity",
    "logistic",
    "tanh",
    "relu",
    "gelu",
    "silu",
    "leaky_relu",
]

# The relative decrease at which scipy's L-BFGS-B stops by default, so that fits end where those of
# MLPClassifier do.
_LEAST_DECREASE = 2.220446049250313e-09


class TorchMLPClassifier(NetworkClassifier):
    """Multi-layer perceptron for binary classification, trained by PyTorch.

    A feed-forward neural network that returns the logit (log-odds) of the positive class.
    Parameters that scikit-learn's ``MLPClassifier`` has keep their names, defaults and meaning,
    except that the number of epochs is chosen on held-out data by default. With the same
    ``random_state`` both start from the same weights and use the same mini-batches.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Number of units of each hidden layer, 1 or more.
    activation : {"identity", "logistic", "tanh", "relu", "gelu", "silu", "leaky_relu"}, \
            default="relu"
        Activation function of the hidden layers. ``"leaky_relu"`` has a slope of 0.01 below zero.
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        Optimizer. ``"adam"`` and ``"sgd"`` are mini-batch solvers, ``"lbfgs"`` is a full-batch
        solver.
    alpha : float, default=0.0001
        Strength of the L2 penalty on the weights, 0 or more. As in scikit-learn, the penalty is
        divided by the total weight of the mini-batch.
    batch_size : int or "auto", default="auto"
        Number of samples in a mini-batch. ``"auto"`` is ``min(200, n_samples)``. Mini-batch
        solvers only.
    learning_rate : {"constant", "invscaling", "adaptive", "cosine", "onecycle", "warmup"}, \
            default="constant"
        Learning-rate schedule. Mini-batch solvers only.

        - ``"constant"`` keeps `learning_rate_init`.
        - ``"invscaling"`` divides it by ``t ** power_t``, where t is the number of samples seen.
          As in scikit-learn, ``solver="sgd"`` only.
        - ``"adaptive"`` divides it by 5 at each plateau. As in scikit-learn, ``solver="sgd"``
          only.
        - ``"cosine"`` lowers it to 0 over `max_iter` epochs.
        - ``"onecycle"`` raises it to `learning_rate_init` over the first 30% of the steps of
          `max_iter` epochs, and lowers it over the rest.
        - ``"warmup"`` raises it linearly to `learning_rate_init` over the first 300 steps, and
          keeps it.
    learning_rate_init : float, default=0.001
        Initial learning rate, above 0. With ``"onecycle"``, the maximum.
    power_t : float, default=0.5
        Exponent of the ``"invscaling"`` schedule, 0 or more.
    max_iter : int, default=200
        Maximum number of epochs, or of iterations with ``"lbfgs"``. Also the maximum of the number
        of epochs that cross-validation chooses (see `early_stopping`).
    shuffle : bool, default=True
        Whether to shuffle the training set before every epoch. Mini-batch solvers only.
    random_state : int, RandomState instance or None, default=None
        Seed or generator for the initial weights, shuffling, dropout and drawing the validation
        set or the folds.
    tol : float, default=1e-4
        Tolerance of the stopping criterion, 0 or more. Mini-batch solvers stop when the objective
        (or what `monitor` sets, with early stopping) has not improved by at least `tol` for
        `n_iter_no_change` epochs. ``"lbfgs"`` stops when no component of the gradient exceeds
        `tol`.
    verbose : int, default=0
        Print a line every `verbose` epochs. 0 prints nothing.
    warm_start : bool, default=False
        Whether ``fit`` starts from the weights of the previous call.
    momentum : float, default=0.9
        Momentum of ``solver="sgd"``, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether ``solver="sgd"`` uses Nesterov's momentum.
    early_stopping : bool or "auto", default="auto"
        Whether to stop training when the validation loss (or the score set by `monitor`) has not
        improved by at least `tol` for `n_iter_no_change` epochs, and to keep the weights of the
        best epoch. The validation set is ``X_val`` if it is passed to ``fit``, else the fold of
        each ensemble member, else a stratified fraction of the training data.

        ``"auto"`` stops early with 1,000 samples or more, with ``X_val``, with a `monitor` other
        than ``"loss"``, and for ensembles. With fewer samples, cross-validation chooses the number
        of epochs: five networks stop early on one fold each, and the network is trained on all
        samples for the mean of their best epochs (``stop_reason_`` is ``"cross_validation"``).
        There are fewer folds if a class has fewer than five samples, and none if it has one. With
        ``solver="lbfgs"`` and in ``partial_fit`` nothing is held out. With fewer than 1,000
        samples this also holds for a fit that continues another one (`warm_start`).
    monitor : str or callable, default="loss"
        What early stopping monitors: ``"loss"`` for the validation log loss, the name of a
        scikit-learn scorer, or a ``callable(estimator, X, y)`` that returns a score to maximize.
        With fewer than 5 samples of a class in the validation set it is the loss.
    validation_fraction : float, default=0.1
        Fraction of the training data that becomes the validation set, in (0, 1). Only used with
        early stopping of a single network, and without ``X_val``.
    beta_1 : float, default=0.9
        Decay rate of Adam's average of gradients, in [0, 1).
    beta_2 : float, default=0.999
        Decay rate of Adam's average of squared gradients, in [0, 1).
    epsilon : float, default=1e-8
        Added to the denominator of Adam's step for numerical stability, above 0.
    n_iter_no_change : int, np.inf or "auto", default="auto"
        Patience: epochs without improvement before training stops. ``np.inf`` trains for
        `max_iter` epochs; if cross-validation chooses the number of epochs, so do the networks of
        the folds. ``"auto"`` is 10, as in scikit-learn; with ``early_stopping="auto"`` it is 24 on
        a validation set and on the folds that choose the number of epochs, and 5 for each network
        of an ensemble.
    max_fun : int, default=15000
        Maximum number of evaluations of the objective. ``"lbfgs"`` only.
    dropout : float or array-like of float, default=0.0
        Dropout rate of the hidden layers in training, in [0, 1): one for all hidden layers, or one
        for each. Mini-batch solvers only.
    weight_decay : float, default=0.0
        Decoupled weight decay (AdamW) of all weights and biases, and of the parameters of an
        embedding, 0 or more. Mini-batch solvers only.
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

        The threshold is chosen on samples that the model was not trained on: the folds of the
        ensemble members, ``X_val``, the validation set of early stopping, or five folds that are
        trained in addition.
    pos_label : int, float, bool, str or None, default=None
        The positive class that `threshold` refers to. None is ``classes_[1]``, the second label in
        sorted order. The columns of ``predict_proba`` and the sign of ``decision_function`` do not
        depend on it.
    n_members : int, default=1
        Number of networks. Above 1, an ensemble of K networks, each trained without its own fold
        (K-fold bagging): a network stops early on its fold, and the probability of the ensemble
        is the mean of the networks' probabilities. With ``X_val`` all networks are trained on all
        of `X`, and stop early on ``X_val``. Mini-batch solvers train all networks in one batch of
        models.
    calibrate : bool or "auto", default="auto"
        Whether the logits of an ensemble are divided by one temperature that minimizes their log
        loss, fitted on the out-of-fold logits, or on ``X_val``. With few rows it stays near 1. A
        single network is not calibrated. ``"auto"`` is True.
    numeric_embedding : {"periodic"} or None, default=None
        Embedding of numerical features. ``"periodic"`` adds eight inputs to the first layer for
        each numerical feature x: linear combinations of 16 waves ``cos(2 * pi * f * x + p)`` with
        trained frequencies and phases. It helps where the target rises and falls several times
        along a feature. `X` must be dense and should be standardized. A feature is numerical if
        more than half of its training values lie strictly between its minimum and maximum;
        ``partial_fit`` looks at the first batch.
    label_smoothing : float, default=0.0
        Fraction of the training labels that is spread evenly over both classes, in [0, 1): the
        targets become ``label_smoothing / 2`` and ``1 - label_smoothing / 2``, as in PyTorch's
        ``CrossEntropyLoss``, which keeps networks from being too certain where some labels are
        wrong. The training loss is that of these targets. Mini-batch solvers only.
    weight_average : float, default=0.0
        Decay of an exponential moving average of the weights over the steps, in [0, 1). The
        averages are validated and kept. 0 keeps the weights themselves. Mini-batch solvers only.
    device : str or torch.device, default="auto"
        Device to train on. ``"auto"`` is the device of `X` if it is a tensor, else the first
        available of CUDA, MPS, XPU and CPU.
    callbacks : list of skorch callbacks or None, default=None
        Callbacks that are called after each epoch. Those with batch-level methods are also called
        after each mini-batch. Not for ensembles.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_in, n_out) or (n_members, n_in, n_out)
        Weights of each layer.
    intercepts_ : list of ndarray of shape (n_out,) or (n_members, n_out)
        Biases of each layer.
    embedding_ : dict of ndarray or None
        The embedding of numerical features: their indices (``"columns"``), and the
        ``"frequencies"`` and ``"phases"`` of shape (n_columns, 16) and ``"maps"`` of shape
        (n_columns, 16, 8), for ensembles with a leading axis of n_members. The outputs follow the
        features in the input of the first layer. None if no feature is embedded.
    members_ : list of dict of ndarray
        Weights (``"coefs_0"``, ...), biases (``"intercepts_0"``, ...) and curves of each ensemble
        member.
    n_members_ : int
        Number of ensemble members, at most the number of samples of the rarer class.
    temperature_ : float
        The logit of an ensemble's mean probability is divided by it, so that its probabilities
        are calibrated: 1 for a single network and with ``calibrate=False``.
    oof_decision_function_ : ndarray of shape (n_samples,)
        Out-of-fold logits: of each training sample by the ensemble member that was not trained on
        it, divided by ``temperature_``. Only for ensembles without ``X_val``.
    oof_loss_ : float
        Mean log loss of the out-of-fold logits, in nats per unit of weight. Only for ensembles
        without ``X_val``.
    classes_ : ndarray of shape (2,)
        The labels in sorted order.
    n_iter_ : int
        Number of epochs or iterations of the last fit: the maximum over ensemble members.
    n_layers_ : int
        Number of layers, including the input and the output layer.
    n_outputs_ : int
        Number of outputs: 1, the logit.
    out_activation_ : str
        Activation function of the output: ``"logistic"``.
    loss_ : float
        The last value of ``loss_curve_``, in nats per unit of weight: the mean over ensemble
        members.
    best_loss_ : float or None
        The minimum of ``loss_curve_``. None with early stopping and for ensembles.
    t_ : int
        Number of training samples that the solver has seen: the maximum over ensemble members.
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
    loss_curve_ : list of float, or list of list of float
        Training loss after each epoch or iteration, in nats per unit of weight, without the
        penalty. Mini-batch solvers average it over the mini-batches of the epoch. For an ensemble,
        a list with one curve for each member.
    validation_loss_curve_ : list of float, list of list of float, or None
        Validation loss after each epoch or iteration, in nats per unit of weight. For an ensemble,
        a list with one curve for each member. None without a validation set.
    validation_scores_ : list of float, list of list of float, or None
        Score on the validation set after each epoch or iteration: the one set by `monitor`, or the
        accuracy with ``monitor="loss"``. For an ensemble, a list with one curve for each member.
        None without a validation set.
    best_validation_score_ : float or None
        The maximum of ``validation_scores_``: the mean over ensemble members.
    best_epoch_ : int or list of int
        The epoch, counted from 1, whose weights were kept: the last one without early stopping.
        For an ensemble, a list with one epoch for each member.
    stop_reason_ : StopReason or list of StopReason
        Why training stopped, such as ``"validation_loss"``. A string with a ``description``. For
        an ensemble, a list with one reason for each member.
    history_ : dict of list of float, or list of such dicts
        All curves by name, each with one value for every epoch or iteration: ``"loss"``,
        ``"objective"`` (the loss with the penalty), ``"learning_rate"``, ``"seconds"``, with a
        validation set also ``"validation_loss"`` and ``"validation_score"``, and what `callbacks`
        have recorded. For an ensemble, a list with one dict for each member.
    device_ : str
        Device that the model was trained on, such as ``"cpu"`` or ``"cuda:0"``.
    module_ : torch.nn.Module
        The fitted model as a torch module in evaluation mode that returns logits, built on each
        access.
    net_ : skorch.NeuralNet
        The fitted model as a skorch net, built on each access.
    n_features_in_ : int
        Number of features, after flattening.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features. Only if `X` had column names that are strings.
    sample_shape_ : tuple of int
        Shape of a sample. Only if `X` had more than two dimensions.

    See Also
    --------
    TorchLogisticClassifier : Logistic regression for binary classification.
    sklearn.neural_network.MLPClassifier : For any number of classes, without PyTorch.

    Notes
    -----
    Mini-batch solvers train in float32; ``"lbfgs"`` computes in float64 if the device supports it.
    The initial weights are drawn as in equation 16 of Glorot and Bengio, "Understanding the
    difficulty of training deep feedforward neural networks", 2010. The temperature is that of Guo
    et al., "On Calibration of Modern Neural Networks", 2017. Periodic embeddings are those of
    Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep
    Learning", 2022, in the form of Holzmüller, Grinsztajn and Steinwart, "Better by Default:
    Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data", 2024.

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
        "activation": [StrOptions(set(get_args(_Activation)))],
        "solver": [StrOptions({"adam", "sgd", "lbfgs"})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "numeric_embedding": [StrOptions({"periodic"}), None],
        **NETWORK_CONSTRAINTS,
    }

    _takes_images = True
    sample_shape_: tuple[int, ...]

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | NDArray[np.integer[Any]] = (100,),
        activation: _Activation = "relu",
        *,
        solver: Literal["adam", "sgd", "lbfgs"] = "adam",
        alpha: float = 0.0001,
        batch_size: BatchSize = "auto",
        learning_rate: LearningRate = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: RandomState = None,
        tol: float = 1e-4,
        verbose: int = 0,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool | Literal["auto"] = "auto",
        monitor: Monitor = "loss",
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Patience = "auto",
        max_fun: int = 15000,
        dropout: float | Sequence[float] | NDArray[np.floating[Any]] = 0.0,
        weight_decay: float = 0.0,
        class_weight: ClassWeight = None,
        threshold: Threshold = 0.5,
        pos_label: PosLabel = None,
        n_members: int = 1,
        calibrate: bool | Literal["auto"] = "auto",
        numeric_embedding: Literal["periodic"] | None = None,
        label_smoothing: float = 0.0,
        weight_average: float = 0.0,
        device: Device = "auto",
        callbacks: SkorchCallbacks = None,
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
        self.calibrate = calibrate
        self.numeric_embedding = numeric_embedding
        self.label_smoothing = label_smoothing
        self.weight_average = weight_average
        self.device = device
        self.callbacks = callbacks

    def _validate_params(self) -> None:
        if is_torch_module(self.hidden_layer_sizes):
            raise InvalidParameterError(
                "hidden_layer_sizes must be the widths of the hidden layers, such as (64, 32), got "
                "a torch module. This estimator builds its own network: train a module of "
                "yours with TorchModuleClassifier."
            )
        super()._validate_params()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.numeric_embedding is None
        return tags

    def _recipe(self, data: CheckedData, *, is_partial: bool) -> Recipe:
        hidden = hidden_widths(self.hidden_layer_sizes)
        dropout = dropout_rates(self.dropout, len(hidden))
        if self.solver == "lbfgs":
            self._check_lbfgs()
        return make_recipe(
            self,
            data,
            solver=self.solver,
            is_partial=is_partial,
            n_models=self.n_members,
            calibrates=self.calibrate is not False,
            label_smoothing=self.label_smoothing,
            weight_average=self.weight_average,
            architecture=Architecture(
                self.n_features_in_,
                hidden,
                self.activation,
                dropout,
                embedding=self._embedding(data, is_partial=is_partial),
            ),
            initial_parameters=draw_initial_parameters,
            full_batch_step=self._lbfgs_step,
            optimizer=partial(make_optimizer, self),
            schedule=partial(make_schedule, self),
            l2_penalty=L2Penalty(self.alpha, per_batch=True),
        )

    def _embedding(self, data: CheckedData, *, is_partial: bool) -> PeriodicEmbedding | None:
        if self.numeric_embedding is None:
            return None
        embedding = periodic_embedding(data)
        previous: FittedState | None = self.__dict__.get("_state")
        if previous is None or not (is_partial or self.warm_start):
            return embedding
        # The first fit decides which features are embedded.
        earlier = previous.architecture.embedding
        return embedding if earlier is None and not is_partial else earlier

    def _check_lbfgs(self) -> None:
        for name in ("dropout", "weight_decay", "label_smoothing", "weight_average"):
            if np.any(np.asarray(getattr(self, name)) != 0):
                other = ", or alpha" if name in ("dropout", "weight_decay") else ""
                raise ValueError(
                    f"{name} must be 0 with solver='lbfgs', which lowers a fixed objective, got "
                    f"{getattr(self, name)!r}. Use solver='adam'{other}."
                )

    def _lbfgs_step(self, model_batch: ModelBatch, dataset: Dataset, pool: ThreadPool) -> Solver:
        strength = dataset.penalty(self.alpha) / dataset.total_weight
        objective = NetworkObjective(model_batch, dataset, strength, pool)
        return LBFGS(
            objective, self.tol, min_decrease=_LEAST_DECREASE, max_evaluations=self.max_fun
        )

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
    def embedding_(self) -> dict[str, NDArray[Any]] | None:
        """Periodic embedding of numerical features, or None if none is embedded."""
        return self._fitted().embedding

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
    def n_layers_(self) -> int:
        """Number of layers, including the input and the output layer."""
        return len(self._fitted().weights) + 1
