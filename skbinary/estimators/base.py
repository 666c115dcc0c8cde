"""The base class of the classifiers: how they are fitted, and scikit-learn's protocols."""

from __future__ import annotations

import functools
import os
from abc import abstractmethod
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils import Tags

from skbinary.callbacks.sklearn import init_callback_context, set_callbacks
from skbinary.checkpoints.checkpoint import Checkpoint
from skbinary.checkpoints.identity import identity_of_fit
from skbinary.checkpoints.session import checkpointing
from skbinary.data.checked import CheckedData
from skbinary.data.labels import find_classes
from skbinary.data.validation import check_data
from skbinary.estimators import files, html
from skbinary.estimators.fitted_classifier import FittedClassifier
from skbinary.estimators.fitting import Fit
from skbinary.estimators.observers import FitObservers
from skbinary.estimators.parameter_types import Monitor
from skbinary.estimators.parameters import (
    check_callbacks,
    check_can_resume,
    check_monitor_and_threshold,
    if_partial_fit_is_available,
    naming_pruning_callback,
    suggesting,
    validated_parameters,
)
from skbinary.estimators.recipe import Recipe
from skbinary.estimators.rollback import unchanged_on_error
from skbinary.estimators.streamed import check_streamed, is_streamed
from skbinary.runtime.threads import one_torch_thread


class BinaryClassifier(FittedClassifier):
    """Base class of the binary classifiers, which minimize the log loss.

    Subclasses have parameters, their documentation, and a recipe: what the parameters mean to the
    solvers.
    """

    # What to do if memory runs out, for the error message.
    _memory_advice = (
        "Pass float32 rows, lower batch_size or the number of units, or set device='cpu' if the "
        "device is an accelerator."
    )
    # Whether X may have more than two dimensions. Samples are then flattened.
    _takes_images = False
    _doc_link_module = "skbinary"
    _doc_link_template = "{page}"

    solver: str
    learning_rate_init: float
    early_stopping: bool | Literal["auto"]
    callbacks: Any
    monitor: Monitor
    warm_start: bool

    @abstractmethod
    def _recipe(self, data: CheckedData, *, is_partial: bool) -> Recipe:
        """Return what the parameters mean to the solvers, for this data."""

    # -- fitting ----------------------------------------------------------------------------

    @unchanged_on_error
    @validated_parameters()
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit the model to training data.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Training data: finite real numbers of any type. ``TorchMLPClassifier`` also takes more
            than two dimensions, and flattens each sample in C order. A table that is larger than
            memory is passed as a path, another source or ``skbinary.streaming.Streamed``; `y`,
            `sample_weight` and `groups` are then names of its columns.
        y : array-like of shape (n_samples,) or str
            Labels of two classes, numbers, strings or booleans. The positive class is the second
            one in sorted order, unless the parameter ``pos_label`` names it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, 0 or more. A sample of weight 2 counts like the sample twice.
            None gives all samples weight 1.
        groups : array-like of shape (n_samples,), default=None
            Group of each sample, such as a patient, a customer or a day. Samples of one group stay
            together wherever ``fit`` splits the data: into training and validation set, into the
            folds of an ensemble, and into the folds on which a threshold is chosen.
        X_val : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_validation_samples, n_features), default=None
            Validation set. It is scored after every epoch and never trained on. Early stopping and
            an objective for the threshold use it instead of a part of `X`. In a pipeline it is
            transformed like `X` only with ``transform_input=["X_val"]``, as in the second example.
            ``fit`` warns if its features are clearly on a different scale.
        y_val : array-like of shape (n_validation_samples,), default=None
            Labels of the validation set.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of the validation set, 0 or more.
        checkpoint : Checkpoint, str or path-like, default=None
            A file in which the training is saved every 60 seconds, or as ``Checkpoint`` says. After
            a kill, the same call goes on from there and ends with the same model. The file is
            deleted at the end.

        Returns
        -------
        self : estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or the data is invalid, or if training diverges; or if the file of
            `checkpoint` is damaged, or of a fit with other data or parameters. The estimator is
            then unchanged.
        ImportError
            If there is a `checkpoint`, and safetensors is not installed.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier()
        >>> model.fit([[-1.0], [1.0], [2.0]], ["no", "yes", "yes"], sample_weight=[1, 1, 2])
        TorchLogisticClassifier()
        >>> print(model.stop_reason_)
        converged

        A validation set in a pipeline, transformed like the training set by metadata routing:

        >>> from sklearn import config_context
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.pipeline import Pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from skbinary import TorchMLPClassifier
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)
        >>> with config_context(enable_metadata_routing=True):
        ...     network = TorchMLPClassifier(random_state=0)
        ...     network = network.set_fit_request(X_val=True, y_val=True)
        ...     steps = [("scale", StandardScaler()), ("network", network)]
        ...     pipeline = Pipeline(steps, transform_input=["X_val"])
        ...     pipeline = pipeline.fit(X_train, y_train, X_val=X_val, y_val=y_val)
        >>> min(pipeline["network"].validation_loss_curve_) < 0.1
        True
        """
        previous = self.__dict__.get("_state") if self.warm_start else None
        with one_torch_thread():
            check = check_streamed if is_streamed(X, y) else check_data
            data = check(
                self,
                (X, y, sample_weight),
                (X_val, y_val, sample_weight_val),
                reset=previous is None,
                groups=groups,
            )
            if checkpoint is not None:
                check_can_resume(self)
            with checkpointing(checkpoint, lambda: identity_of_fit(self, data, previous)):
                recipe = self._recipe(data, is_partial=False)
                observers = FitObservers(self, data, is_partial=False)
                self._state = Fit(recipe, data, observers, previous).run()
        return self

    @if_partial_fit_is_available
    @unchanged_on_error
    @validated_parameters()
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on training data, starting from the current weights.

        Only available with a mini-batch solver, without ``early_stopping=True``, with a number as
        ``threshold``, and without an ensemble.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Training data, as in ``fit``.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, 0 or more. None gives all samples weight 1.
        classes : array-like of shape (2,), default=None
            The labels of both classes. Required in the first call unless `y` has both.

        Returns
        -------
        self : estimator
            The estimator, trained for one more epoch.

        Raises
        ------
        ValueError
            If `y` has a label that is not one of the classes, or if training diverges. The
            estimator is then unchanged.
        AttributeError
            If the parameters do not allow ``partial_fit``.

        Examples
        --------
        >>> from skbinary import TorchLogisticClassifier
        >>> model = TorchLogisticClassifier(solver="sgd")
        >>> for x, label in [(-1.0, "no"), (1.0, "yes")]:
        ...     model = model.partial_fit([[x]], [label], classes=["no", "yes"])
        >>> print(model.predict([[3.0]]))
        ['yes']
        """
        previous = self.__dict__.get("_state")
        expected = None if previous is None else previous.classes
        if classes is not None:
            classes = find_classes(type(self).__name__, np.asarray(classes))
            if expected is not None and not np.array_equal(expected, classes):
                raise ValueError(
                    f"classes must be {expected.tolist()}, as in the first call of partial_fit, "
                    f"got {classes.tolist()}. Leave classes out, or use a new estimator."
                )
            expected = classes
        with one_torch_thread():
            table, none = (X, y, sample_weight), (None, None, None)
            data = check_data(self, table, none, reset=previous is None, classes=expected)
            recipe = self._recipe(data, is_partial=True)
            observers = FitObservers(self, data, is_partial=True)
            self._state = Fit(recipe, data, observers, previous).run()
        return self

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set scikit-learn callbacks, which require scikit-learn 1.9 or newer.

        Parameters
        ----------
        *callbacks : callback instances
            For example ``sklearn.callback.ProgressBar()``. Without arguments, all callbacks are
            removed.

        Returns
        -------
        self : estimator
            The estimator itself.

        Raises
        ------
        ImportError
            If the installed scikit-learn has no callbacks.
        """
        set_callbacks(self, *callbacks)
        return self

    # -- scikit-learn's protocols -----------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "_state" in self.__dict__

    def __sklearn_clone__(self) -> Self:
        with naming_pruning_callback(self.callbacks):
            clone: Self = super().__sklearn_clone__()
            return clone

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = self._takes_images
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return files.to_pickle(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(files.from_pickle(type(self), state))
        files.restore_request(self)

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        # scikit-learn reads the signature for every clone, which adds up in searches.
        names: list[str] = super()._get_param_names()
        return names

    def _validate_params(self) -> None:
        with suggesting(self):
            super()._validate_params()
            check_monitor_and_threshold(self)
            check_callbacks(self.callbacks)

    def _init_callback_context(self, **settings: Any) -> Any:
        return init_callback_context(self, **settings)

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        return html.with_fitted_state(self, super()._get_params_html(*args, **kwargs))

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        return html.other_attributes(self, *args, **kwargs)

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return html.reference_page(self)
