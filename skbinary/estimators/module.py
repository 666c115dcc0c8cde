"""A classifier around a torch module of the user."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import StrOptions
from torch import Tensor

from skbinary.data.checked import CheckedData
from skbinary.estimators.module_parameters import (
    PREFIX,
    check_can_be_pickled,
    check_module,
    check_names,
    first_rows,
    make_builder,
    unknown_names,
)
from skbinary.estimators.module_state import FittedModule
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
from skbinary.estimators.recipe import Recipe, draw_seed, make_recipe
from skbinary.models.module_architecture import ModuleArchitecture
from skbinary.models.module_mapping import inspect_module
from skbinary.solvers.minibatch.setup import L2Penalty


class TorchModuleClassifier(NetworkClassifier):
    """A PyTorch module of your own as a binary classifier.

    The module takes a batch of rows in float32 and returns the logit (log-odds) of the positive
    class for each row. Everything else is as in ``TorchMLPClassifier``: early stopping, thresholds,
    ensembles, calibrated probabilities, and searches that train many networks as one batch.

    Parameters
    ----------
    module : class, callable or torch.nn.Module
        A subclass of ``torch.nn.Module``, or a function that returns a module. It is called with
        the parameters ``module__*``, and with ``n_features`` (the number of features) and
        ``sample_shape`` (the shape of a sample) if its signature names them. The weights that it
        draws depend on `random_state`. A module, instead of a class, is copied, and training starts
        from its weights.

        The module gets rows of shape ``(n_rows, *sample_shape)`` and returns logits of shape
        ``(n_rows,)`` or ``(n_rows, 1)``. If it returns two values a row they are taken for those of
        a softmax, whose difference is the logit.
    solver : {"adam", "sgd"}, default="adam"
        Optimizer.
    alpha : float, default=0.0001
        Strength of the L2 penalty on the trained parameters with two dimensions or more, 0 or
        more. As in scikit-learn, the penalty is divided by the total weight of the mini-batch.
    batch_size : int or "auto", default="auto"
        Number of samples in a mini-batch. ``"auto"`` is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive", "cosine", "onecycle", "warmup"}, \
            default="constant"
        Learning-rate schedule.

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
        Maximum number of epochs. Also the maximum of the number
        of epochs that cross-validation chooses (see `early_stopping`).
    shuffle : bool, default=True
        Whether to shuffle the training set before every epoch.
    random_state : int, RandomState instance or None, default=None
        Seed or generator for the initial weights, shuffling, the random layers of the module, and
        drawing the validation set or the folds. The global random state of PyTorch does not
        change.
    tol : float, default=1e-4
        Tolerance of the stopping criterion, 0 or more. Training stops when the objective
        (or what `monitor` sets, with early stopping) has not improved by at least `tol` for
        `n_iter_no_change` epochs.
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
        There are fewer folds if a class has fewer than five samples, and none if it has one. In
        ``partial_fit`` nothing is held out. With fewer than 1,000
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
    weight_decay : float, default=0.0
        Decoupled weight decay (AdamW) of all trained parameters, 0 or more.
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
        of `X`, and stop early on ``X_val``. All networks are trained in one batch of models
        where the module allows it.
    calibrate : bool or "auto", default="auto"
        Whether the logits of an ensemble are divided by one temperature that minimizes their log
        loss, fitted on the out-of-fold logits, or on ``X_val``. With few rows it stays near 1. A
        single network is not calibrated. ``"auto"`` is True.
    label_smoothing : float, default=0.0
        Fraction of the training labels that is spread evenly over both classes, in [0, 1): the
        targets become ``label_smoothing / 2`` and ``1 - label_smoothing / 2``, as in PyTorch's
        ``CrossEntropyLoss``, which keeps networks from being too certain where some labels are
        wrong. The training loss is that of these targets.
    weight_average : float, default=0.0
        Decay of an exponential moving average of the weights over the steps, in [0, 1). The
        averages are validated and kept. 0 keeps the weights themselves.
    device : str or torch.device, default="auto"
        Device to train on. ``"auto"`` is the device of `X` if it is a tensor, else the first
        available of CUDA, MPS, XPU and CPU.
    compile : bool, default=False
        Whether ``torch.compile`` compiles networks that are trained one by one. It needs a C++
        compiler on the CPU, and takes seconds to minutes before the first step.
    callbacks : list of skorch callbacks or None, default=None
        Callbacks that are called after each epoch. Those with batch-level methods are also called
        after each mini-batch. Not for ensembles.
    **module__parameters : object
        Parameters of the module, each with the prefix ``module__``: ``module__width=128`` passes
        ``width=128``. ``get_params``, ``set_params`` and searches know them.

    Attributes
    ----------
    parameters_ : dict of ndarray
        Parameters and buffers of the module by name, as in its ``state_dict``, with a leading axis
        of n_members for ensembles.
    members_ : list of dict of ndarray
        Parameters and buffers by name, and curves, of each ensemble member.
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
        Number of epochs of the last fit: the maximum over ensemble members.
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
        Training loss after each epoch, in nats per unit of weight, without the
        penalty. It is averaged over the mini-batches of the epoch. For an ensemble,
        a list with one curve for each member.
    validation_loss_curve_ : list of float, list of list of float, or None
        Validation loss after each epoch, in nats per unit of weight. For an ensemble,
        a list with one curve for each member. None without a validation set.
    validation_scores_ : list of float, list of list of float, or None
        Score on the validation set after each epoch: the one set by `monitor`, or the
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
        All curves by name, each with one value for every epoch: ``"loss"``,
        ``"objective"`` (the loss with the penalty), ``"learning_rate"``, ``"seconds"``, with a
        validation set also ``"validation_loss"`` and ``"validation_score"``, and what `callbacks`
        have recorded. For an ensemble, a list with one dict for each member.
    device_ : str
        Device that the model was trained on, such as ``"cpu"`` or ``"cuda:0"``.
    module_ : torch.nn.Module
        The fitted model as a torch module in evaluation mode that returns one logit a row, built on
        each access. Its ``network`` is a module of your class; for an ensemble, each of its
        children has one.
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
    TorchMLPClassifier : A network of fully connected layers, which is trained faster.

    Notes
    -----
    The networks of an ensemble or a search whose modules have the same shapes are trained as one
    batch by ``torch.func.vmap``, if that takes less time and if it gives the same step. Modules
    whose buffers change in training (batch normalization) or that cannot be mapped (recurrent
    layers, control flow that depends on values) are computed one after the other: ``fit`` warns,
    and a search says so in its ``cv_results_["fit_mode"]``.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import make_circles
    >>> from skbinary import TorchModuleClassifier
    >>> class Network(torch.nn.Module):
    ...     def __init__(self, n_features, width=64):
    ...         super().__init__()
    ...         self.hidden = torch.nn.Linear(n_features, width)
    ...         self.output = torch.nn.Linear(width, 1)
    ...
    ...     def forward(self, X):
    ...         return self.output(torch.relu(self.hidden(X)))
    >>> X, y = make_circles(1000, noise=0.1, factor=0.5, random_state=1)
    >>> model = TorchModuleClassifier(Network, module__width=32, max_iter=500, random_state=0)
    >>> model = model.fit(X, y)
    >>> print(f"{model.score(X, y):.2f}")
    0.99
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "module": "no_validation",  # by hand
        "solver": [StrOptions({"adam", "sgd"})],
        "compile": ["boolean"],
        **NETWORK_CONSTRAINTS,
    }

    _takes_images = True
    _required_parameters: ClassVar[list[str]] = ["module"]  # for scikit-learn's checks
    sample_shape_: tuple[int, ...]

    def __init__(
        self,
        module: Any,
        *,
        solver: Literal["adam", "sgd"] = "adam",
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
        weight_decay: float = 0.0,
        class_weight: ClassWeight = None,
        threshold: Threshold = 0.5,
        pos_label: PosLabel = None,
        n_members: int = 1,
        calibrate: bool | Literal["auto"] = "auto",
        label_smoothing: float = 0.0,
        weight_average: float = 0.0,
        device: Device = "auto",
        compile: bool = False,  # noqa: A002  # the name in torch and skorch
        callbacks: SkorchCallbacks = None,
        **module__parameters: Any,
    ):
        self.module = module
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
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.threshold = threshold
        self.pos_label = pos_label
        self.n_members = n_members
        self.calibrate = calibrate
        self.label_smoothing = label_smoothing
        self.weight_average = weight_average
        self.device = device
        self.compile = compile
        self.callbacks = callbacks
        for name in module__parameters:
            if not name.startswith(PREFIX):
                raise TypeError(
                    f"TorchModuleClassifier.__init__() got an unexpected keyword argument "
                    f"{name!r}. Parameters of the module start with {PREFIX!r}."
                )
        check_names(module, module__parameters)
        # Not as attributes: scikit-learn allows those that the signature names only.
        self._module_parameters = module__parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters of the classifier, and those of the module.

        Parameters
        ----------
        deep : bool, default=True
            Ignored: the parameters of the module are always among them.

        Returns
        -------
        dict
            Values by name. Those of the module have the prefix ``module__``.

        Examples
        --------
        >>> import torch
        >>> from skbinary import TorchModuleClassifier
        >>> model = TorchModuleClassifier(torch.nn.LazyLinear, module__out_features=1)
        >>> model.get_params()["module__out_features"]
        1
        """
        return super().get_params(deep=False) | self._module_parameters

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the classifier and of the module.

        With another ``module``, the parameters ``module__*`` that it does not take are removed.

        Parameters
        ----------
        **params : object
            Values by name. Those of the module have the prefix ``module__``.

        Returns
        -------
        self : estimator
            The estimator itself.

        Raises
        ------
        ValueError
            If there is no parameter of a name. The estimator is then unchanged.

        Examples
        --------
        >>> import torch
        >>> from skbinary import TorchModuleClassifier
        >>> model = TorchModuleClassifier(torch.nn.LazyLinear, module__out_features=1)
        >>> model.set_params(module__bias=False).get_params()["module__bias"]
        False
        """
        own = {k: value for k, value in params.items() if not k.startswith(PREFIX)}
        others = {k: value for k, value in params.items() if k.startswith(PREFIX)}
        module = own.get("module", self.module)
        kept = self._module_parameters
        if module is not self.module:
            unknown = unknown_names(module, kept)
            kept = {name: value for name, value in kept.items() if name not in unknown}
        check_names(module, kept | others)
        super().set_params(**own)
        self._module_parameters = kept | others
        return self

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__.get("_module_parameters", {})
        if name in own:
            return own[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith(PREFIX):
            self.set_params(**{name: value})
        else:
            super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        check_can_be_pickled(self.module)
        return super().__getstate__()

    def _validate_params(self) -> None:
        check_module(self.module)
        super()._validate_params()

    def _recipe(self, data: CheckedData, *, is_partial: bool) -> Recipe:
        architecture = ModuleArchitecture(make_builder(self))
        inspect_module(architecture, first_rows(data))
        architecture.compiles = self.compile
        return make_recipe(
            self,
            data,
            solver=self.solver,
            is_partial=is_partial,
            n_models=self.n_members,
            calibrates=self.calibrate is not False,
            label_smoothing=self.label_smoothing,
            weight_average=self.weight_average,
            architecture=architecture,
            initial_parameters=_draw,
            full_batch_step=_no_step,
            optimizer=partial(make_optimizer, self),
            schedule=partial(make_schedule, self),
            l2_penalty=L2Penalty(self.alpha, per_batch=True),
        )

    # -- fitted attributes ------------------------------------------------------------------

    @property
    def parameters_(self) -> dict[str, NDArray[Any]]:
        """Parameters and buffers of the module by name."""
        return dict(self._fitted_module().arrays)

    @property
    def members_(self) -> list[dict[str, NDArray[Any]]]:
        """Parameters, buffers and curves of each ensemble member, as arrays."""
        state, module = self._fitted(), self._fitted_module()
        models = (
            [module.model(k) for k in range(state.n_models)] if module.is_ensemble else [module]
        )
        return [
            {**model.arrays, **{name: np.array(curve) for name, curve in curves.items()}}
            for model, curves in zip(models, state.curves, strict=True)
        ]

    def _fitted_module(self) -> FittedModule:
        module = self._fitted().module
        if module is None:
            raise AssertionError("a fitted module has arrays")
        return module


def _draw(architecture: ModuleArchitecture, random_state: Any) -> Tensor:
    return architecture.draw(draw_seed(random_state))


def _no_step(*args: Any) -> Any:
    raise AssertionError("modules are trained in mini-batches")
