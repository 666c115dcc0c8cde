"""Searches over parameters that train candidates in batches of models."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Protocol, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, check_cv
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_method_params

from skbinary.callbacks.sklearn import SearchCallbacks
from skbinary.checkpoints.checkpoint import Checkpoint
from skbinary.data.containers import check_container
from skbinary.data.labels import check_no_missing_labels
from skbinary.data.plain import from_plain, to_plain
from skbinary.data.sources import is_source
from skbinary.estimators import html
from skbinary.estimators.parameters import validated_parameters
from skbinary.estimators.rollback import unchanged_on_error
from skbinary.model_selection.continuation import Continuation
from skbinary.model_selection.ensemble_fit import EnsembleFit, check_averaging
from skbinary.model_selection.scoring import ScoringTask
from skbinary.model_selection.search_checkpoint import (
    refit_scope,
    same_splitter,
    search_checkpoint,
)
from skbinary.model_selection.search_results import SearchResults
from skbinary.runtime.interrupts import raising_interrupts


class _Splitter(Protocol):
    """A cross-validation splitter, such as ``StratifiedKFold()``."""

    def split(self, *args: Any, **kwargs: Any) -> Any: ...

    def get_n_splits(self, *args: Any, **kwargs: Any) -> int: ...


CV: TypeAlias = int | _Splitter | Iterable[tuple[Any, Any]] | None
Scoring: TypeAlias = (
    str | Callable[..., Any] | Sequence[str] | Mapping[str, str | Callable[..., Any]] | None
)
MAX_MEMORY = [Interval(Real, 0, None, closed="neither"), str, None]
_ENSEMBLE_SIZE = [Interval(Integral, 1, None, closed="left"), None]


class VectorizedSearch:
    """Base class of all searches: evaluates candidates in batches of models."""

    _memory_advice = (
        "Lower max_memory or n_jobs, pass float32 rows, or leave out the largest candidates."
    )

    _doc_link_module = "skbinary"
    _doc_link_template = "{page}"

    estimator: Any
    refit: bool | str | Callable[..., int]
    scoring: Scoring
    error_score: float | Literal["raise"]
    verbose: int
    cv: CV
    ensemble_size: int | None

    cv_results_: dict[str, Any]
    best_estimator_: Any
    best_score_: float
    best_params_: dict[str, Any]
    best_index_: int
    scorer_: Any
    n_splits_: int
    refit_time_: float
    multimetric_: bool
    classes_: NDArray[np.generic]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    ensemble_: dict[str, Any]
    ensemble_loss_curve_: NDArray[np.float64]

    @unchanged_on_error
    @validated_parameters(is_nested=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
        **params: Any,
    ) -> Self:
        """Evaluate all candidates, and fit the best one on all data or average the best ones.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, torch tensor} of shape \
                (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,)
            Labels.
        checkpoint : Checkpoint, str or path-like, default=None
            A file in which the search is saved every 60 seconds, or as ``Checkpoint`` says. After a
            kill, the same call goes on from there and ends with the same results. The file is
            deleted at the end.
        **params : dict of str -> object
            Further arguments for ``fit`` of the estimator, the scorer and the splitter, such as
            ``sample_weight`` or ``groups``, or ``clf__sample_weight`` for a step of a pipeline.
            Arrays with one entry for each sample are split like `X`.

        Returns
        -------
        self : object
            The fitted search.

        Raises
        ------
        ValueError
            If all fits fail, or if one fails with ``error_score="raise"``; or if `ensemble_size`
            is set, and there are not two classes or `refit` is False; or if the file of
            `checkpoint` is damaged, or of another search. The search is then unchanged.
        ImportError
            If there is a `checkpoint`, and safetensors is not installed.

        Examples
        --------
        >>> from sklearn.datasets import make_classification
        >>> from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
        >>> X, y = make_classification(random_state=0)
        >>> search = VectorizedGridSearchCV(TorchLogisticClassifier(), {"C": [0.01, 1.0]})
        >>> search.fit(X, y, sample_weight=1 + y).best_params_
        {'C': 1.0}
        """
        scorer, refit_metric = self._get_scorers()  # type: ignore[attr-defined]
        # Before ``indexable``, which converts sparse matrices.
        rows = check_container(X, "X")
        if is_source(rows):  # a Dask data frame, which has no rows by number
            raise ValueError(
                "X must be an array, a data frame or a tensor in memory for a search, got a Dask "
                "data frame. Call compute() on it."
            )
        if y is not None:
            check_no_missing_labels(check_container(y, "y"))
        X, y = indexable(X if isinstance(X, torch.Tensor) else rows, y)
        params = _check_method_params(X, params=params)
        if self.ensemble_size is not None:
            check_averaging(self, X, y)
        with search_checkpoint(self, checkpoint, X, y, params):
            self._search(X, y, params, scorer, refit_metric)
        return self

    def _search(
        self, X: Any, y: Any, params: dict[str, Any], scorer: Any, refit_metric: Any
    ) -> None:
        """Evaluate all candidates, and fit the best one or average the best ones."""
        routed = self._get_routed_params_for_fit(params)  # type: ignore[attr-defined]
        callbacks = SearchCallbacks(self, X, y, params)
        scoring = ScoringTask(self, X, y, scorer, routed.estimator.fit, routed.scorer.score)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        self._checked_cv_orig = cv
        self._prepare_search(X, y, routed.splitter.split)
        self._checked_cv_orig = cv = same_splitter(cv)
        results = SearchResults(scoring, cv, routed.splitter.split, self._continuation())
        self.n_splits_ = results.n_splits
        for name in ("ensemble_", "ensemble_loss_curve_"):
            vars(self).pop(name, None)  # of an earlier fit
        callbacks.search(results.evaluate)
        self._choose(results, refit_metric)
        if self.ensemble_size is not None:
            self._average_best(results)
        elif self.refit:
            self._fit_best(scoring, callbacks)
        self.scorer_ = scorer._scorers if isinstance(scorer, _MultimetricScorer) else scorer
        self.cv_results_ = results.cv_results
        callbacks.end()

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = to_plain(super().__getstate__())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(from_plain(state))  # type: ignore[misc]  # of BaseEstimator

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return html.reference_page(self)

    def _prepare_search(self, X: Any, y: Any, split_params: dict[str, Any]) -> None:
        """Check the parameters with the data."""

    def _continuation(self) -> Continuation | None:
        """Return what keeps the models of a round for the next one, if candidates go on."""
        return None

    def _choose(self, results: SearchResults, refit_metric: Any) -> None:
        """Select the best candidate."""
        first = results.outcomes[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            # Whether such a scorer has several metrics is only known from its scores.
            self._check_refit_for_multimetric(first)  # type: ignore[attr-defined]
            refit_metric = self.refit
        if not self.refit and self.multimetric_:
            return
        table = results.cv_results
        best = self._select_best_index(self.refit, refit_metric, table)  # type: ignore[attr-defined]
        self.best_index_ = best
        self.best_params_ = table["params"][best]
        if not callable(self.refit):
            self.best_score_ = table[f"mean_test_{refit_metric}"][best]

    def _fit_best(self, scoring: ScoringTask, callbacks: SearchCallbacks) -> None:
        """Fit the best candidate on all data."""
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        begin = time.time()
        with callbacks.refit(best), raising_interrupts(), refit_scope():
            best.fit(scoring.X, scoring.y, **scoring.fit_params)
        self._set_best(best, begin)

    def _average_best(self, results: SearchResults) -> None:
        """Average the fitted models of the candidates with the lowest log loss of their mean."""
        begin = time.time()
        fit = EnsembleFit(results.scoring, results.fitted_candidates)
        self._set_best(fit.run(), begin)
        self.ensemble_ = fit.table(results.cv_results["params"])
        self.ensemble_loss_curve_ = fit.selection.losses

    def _set_best(self, best: Any, begin: float) -> None:
        self.refit_time_ = time.time() - begin
        self.best_estimator_ = best
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_


class VectorizedGridSearchCV(VectorizedSearch, GridSearchCV):
    """Grid search with cross-validation that trains candidates in batches of models.

    A drop-in replacement for scikit-learn's ``GridSearchCV``, with the same results. If the
    estimator is a ``TorchLogisticClassifier`` or a ``TorchMLPClassifier``, or a pipeline that ends
    with one, candidates and folds are trained as batches of models. All other estimators are
    fitted as ``GridSearchCV`` fits them.

    Parameters
    ----------
    estimator : estimator
        A classifier of this package, a ``Pipeline`` (or nested pipelines) that ends with one, or
        any other estimator.
    param_grid : dict or list of dict
        Parameter names, and a list of values for each. A list of dicts is a list of grids.
    scoring : str, callable, list, tuple or dict, default=None
        Scorer or scorers that evaluate the candidates on the validation folds, as in
        ``GridSearchCV``. None uses the estimator's ``score``.
    n_jobs : int or None, default=None
        Number of processes for candidates that are fitted singly, and of threads for scoring.
        Batches of models are trained, and their ROC AUC is computed, on as many threads as torch
        is set to use. None means 1.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all data. With several scorers, the name of the one
        that selects the best candidate. A callable receives ``cv_results_`` and returns the index
        of the best candidate.
    cv : int, splitter or iterable, default=None
        How to split the data: a number of stratified folds, a splitter such as
        ``GroupKFold()``, or pairs of training and validation indices. None means 5.
    verbose : int, default=0
        0 prints nothing, 1 the number of fits, 2 also a line for each fit, 3 also its scores.
    pre_dispatch : int or str, default="2*n_jobs"
        Number of single fits that are dispatched to the processes at once.
    error_score : "raise" or float, default=np.nan
        Score of a fit that fails. ``"raise"`` raises the error.
    return_train_score : bool, default=False
        Whether to score the training folds, too.
    max_memory : float, str or None, default=None
        Maximum memory of all batches of models that are trained at once: a number of bytes, above
        0, or a string such as ``"2GB"``. None is a quarter of the memory that is free on the
        device. A search that needs more is split into more batches.
    ensemble_size : int or None, default=None
        Number of candidates to average, 1 or more, with repetitions. The models of all splits are
        kept, and candidates are chosen one after another so that the log loss of the mean of their
        out-of-fold probabilities is lowest. ``best_estimator_`` is then a ``SearchEnsemble`` of
        their models, and nothing is fitted on all data. None fits the best candidate on all data.

    Attributes
    ----------
    cv_results_ : dict of ndarray of shape (n_candidates,)
        The results of all candidates, as in ``GridSearchCV``, and ``"fit_mode"``: whether
        a candidate was trained in a batch of models (``"batched"``) or on its own
        (``"single"``). The time of a batch is divided equally among its models, so
        ``"mean_fit_time"`` is what a candidate cost in this search, not what it would cost alone.
    best_estimator_ : estimator
        The best candidate, fitted on all data; or a ``SearchEnsemble``, with `ensemble_size`. Only
        if `refit` is not False.
    best_score_ : float
        Mean score of the best candidate on the validation folds. Not if `refit` is a callable.
    best_params_ : dict
        Parameters of the best candidate.
    best_index_ : int
        Index of the best candidate in ``cv_results_``.
    scorer_ : callable or dict of callable
        The scorer, or the scorers by name.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds to fit the best candidate on all data, or to choose the ensemble. Only if `refit` is
        not False.
    multimetric_ : bool
        Whether there are several scorers.
    classes_ : ndarray of shape (2,)
        The labels in sorted order. Only if `refit` is not False.
    n_features_in_ : int
        Number of features. Only if `refit` is not False.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features. Only if `X` had column names that are strings.
    ensemble_ : dict
        The candidates of the ensemble, those with the largest weight first: ``"candidate"``, an
        array of their indices in ``cv_results_``, ``"weight"``, an array with a sum of 1, and
        ``"params"``, a list of dict. Only with `ensemble_size`.
    ensemble_loss_curve_ : ndarray of shape (ensemble_size,)
        Log loss of the out-of-fold probabilities after each choice, in nats per unit of weight.
        The ensemble is that of the lowest loss. Only with `ensemble_size`.

    See Also
    --------
    VectorizedRandomizedSearchCV : Draws candidates from distributions.
    sklearn.model_selection.GridSearchCV : Fits one candidate at a time.

    Notes
    -----
    Networks can be trained in one batch if they have the same layers, activation, batch size and
    kind of solver. Learning rates, penalties, weights, dropout, tolerances, seeds and early
    stopping may differ: each model has its own mini-batches, stops on its own, and keeps the
    weights of its own best epoch. Candidates that differ only in ``threshold`` are trained once.
    Candidates with ``callbacks``, ``verbose`` or ``solver="lbfgs"``, and linear models with more
    than 500 features or an ``l1_ratio`` above 0, are fitted singly.

    With `ensemble_size`, sample weights of ``fit`` count in the log loss, and so does
    ``class_weight`` if all candidates have the same. Candidates with a failed fit are left out, and
    so are rows that are in no validation fold. The mean is calibrated by one temperature, and its
    threshold is that of `estimator`, chosen on the calibrated out-of-fold probabilities if it is an
    objective. ``best_params_`` and ``best_score_`` remain those of the best single candidate. The
    greedy choice with replacement is that of Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble
    selection from libraries of models", 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbinary import TorchLogisticClassifier, VectorizedGridSearchCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), TorchLogisticClassifier())
    >>> grid = {"torchlogisticclassifier__C": [0.01, 0.1, 1.0, 10.0]}
    >>> search = VectorizedGridSearchCV(model, grid, scoring="neg_log_loss").fit(X, y)
    >>> search.best_params_
    {'torchlogisticclassifier__C': 1.0}
    >>> print(search.cv_results_["fit_mode"])
    ['batched' 'batched' 'batched' 'batched']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GridSearchCV._parameter_constraints,
        "max_memory": MAX_MEMORY,
        "ensemble_size": _ENSEMBLE_SIZE,
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Iterable[Any]]],
        *,
        scoring: Scoring = None,
        n_jobs: int | None = None,
        refit: bool | str | Callable[..., int] = True,
        cv: CV = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        error_score: float | Literal["raise"] = np.nan,
        return_train_score: bool = False,
        max_memory: float | str | None = None,
        ensemble_size: int | None = None,
    ):
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.max_memory = max_memory
        self.ensemble_size = ensemble_size


class VectorizedRandomizedSearchCV(VectorizedSearch, RandomizedSearchCV):
    """Randomized search with cross-validation that trains candidates in batches of models.

    A drop-in replacement for scikit-learn's ``RandomizedSearchCV``: it draws the same candidates
    and returns the same results. ``VectorizedGridSearchCV`` describes which candidates are trained
    in batches.

    Parameters
    ----------
    estimator : estimator
        A classifier of this package, a ``Pipeline`` (or nested pipelines) that ends with one, or
        any other estimator.
    param_distributions : dict or list of dict
        Parameter names, and a distribution (with a method ``rvs``) or a list of values for each.
    n_iter : int, default=10
        Number of candidates to draw, 1 or more.
    scoring : str, callable, list, tuple or dict, default=None
        Scorer or scorers that evaluate the candidates on the validation folds, as in
        ``RandomizedSearchCV``. None uses the estimator's ``score``.
    n_jobs : int or None, default=None
        Number of processes for candidates that are fitted singly, and of threads for scoring.
        Batches of models are trained, and their ROC AUC is computed, on as many threads as torch
        is set to use. None means 1.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all data. With several scorers, the name of the one
        that selects the best candidate. A callable receives ``cv_results_`` and returns the index
        of the best candidate.
    cv : int, splitter or iterable, default=None
        How to split the data: a number of stratified folds, a splitter such as
        ``GroupKFold()``, or pairs of training and validation indices. None means 5.
    verbose : int, default=0
        0 prints nothing, 1 the number of fits, 2 also a line for each fit, 3 also its scores.
    pre_dispatch : int or str, default="2*n_jobs"
        Number of single fits that are dispatched to the processes at once.
    random_state : int, RandomState instance or None, default=None
        Seed or generator for drawing the candidates.
    error_score : "raise" or float, default=np.nan
        Score of a fit that fails. ``"raise"`` raises the error.
    return_train_score : bool, default=False
        Whether to score the training folds, too.
    max_memory : float, str or None, default=None
        Maximum memory of all batches of models that are trained at once: a number of bytes, above
        0, or a string such as ``"2GB"``. None is a quarter of the memory that is free on the
        device. A search that needs more is split into more batches.
    ensemble_size : int or None, default=None
        Number of candidates to average, 1 or more, with repetitions. The models of all splits are
        kept, and candidates are chosen one after another so that the log loss of the mean of their
        out-of-fold probabilities is lowest. ``best_estimator_`` is then a ``SearchEnsemble`` of
        their models, and nothing is fitted on all data. None fits the best candidate on all data.

    Attributes
    ----------
    cv_results_ : dict of ndarray of shape (n_candidates,)
        The results of all candidates, as in ``RandomizedSearchCV``, and ``"fit_mode"``: whether
        a candidate was trained in a batch of models (``"batched"``) or on its own
        (``"single"``). The time of a batch is divided equally among its models, so
        ``"mean_fit_time"`` is what a candidate cost in this search, not what it would cost alone.
    best_estimator_ : estimator
        The best candidate, fitted on all data; or a ``SearchEnsemble``, with `ensemble_size`. Only
        if `refit` is not False.
    best_score_ : float
        Mean score of the best candidate on the validation folds. Not if `refit` is a callable.
    best_params_ : dict
        Parameters of the best candidate.
    best_index_ : int
        Index of the best candidate in ``cv_results_``.
    scorer_ : callable or dict of callable
        The scorer, or the scorers by name.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds to fit the best candidate on all data, or to choose the ensemble. Only if `refit` is
        not False.
    multimetric_ : bool
        Whether there are several scorers.
    classes_ : ndarray of shape (2,)
        The labels in sorted order. Only if `refit` is not False.
    n_features_in_ : int
        Number of features. Only if `refit` is not False.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features. Only if `X` had column names that are strings.
    ensemble_ : dict
        The candidates of the ensemble, those with the largest weight first: ``"candidate"``, an
        array of their indices in ``cv_results_``, ``"weight"``, an array with a sum of 1, and
        ``"params"``, a list of dict. Only with `ensemble_size`.
    ensemble_loss_curve_ : ndarray of shape (ensemble_size,)
        Log loss of the out-of-fold probabilities after each choice, in nats per unit of weight.
        The ensemble is that of the lowest loss. Only with `ensemble_size`.

    See Also
    --------
    VectorizedGridSearchCV : Evaluates all points of a grid.
    sklearn.model_selection.RandomizedSearchCV : Fits one candidate at a time.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import make_circles
    >>> from skbinary import TorchMLPClassifier, VectorizedRandomizedSearchCV
    >>> X, y = make_circles(400, noise=0.1, factor=0.5, random_state=1)
    >>> model = TorchMLPClassifier(max_iter=30, n_iter_no_change=30, random_state=0)
    >>> rates = {"learning_rate_init": loguniform(1e-4, 1e-1)}
    >>> search = VectorizedRandomizedSearchCV(model, rates, n_iter=8, random_state=0)
    >>> print(f"{search.fit(X, y).best_score_:.2f}")
    1.00
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **RandomizedSearchCV._parameter_constraints,
        "max_memory": MAX_MEMORY,
        "ensemble_size": _ENSEMBLE_SIZE,
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        n_iter: int = 10,
        scoring: Scoring = None,
        n_jobs: int | None = None,
        refit: bool | str | Callable[..., int] = True,
        cv: CV = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: int | np.random.RandomState | None = None,
        error_score: float | Literal["raise"] = np.nan,
        return_train_score: bool = False,
        max_memory: float | str | None = None,
        ensemble_size: int | None = None,
    ):
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.max_memory = max_memory
        self.ensemble_size = ensemble_size
