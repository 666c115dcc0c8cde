"""Searches by successive halving that train the candidates of a round in batches of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._search_successive_halving import (
    BaseSuccessiveHalving,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
)
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _num_samples

from skbinary.model_selection.candidates import as_pipeline_candidate
from skbinary.model_selection.continuation import PARAMETER, Continuation
from skbinary.model_selection.search import CV, MAX_MEMORY, VectorizedSearch

_MaxResources = int | Literal["auto"]
_MinResources = int | Literal["exhaust", "smallest"]
_Scoring = str | Callable[..., Any] | None
_FACTOR = [Interval(Real, 1, None, closed="neither")]


class _VectorizedHalving(VectorizedSearch):
    """Base class of both searches by successive halving."""

    # Candidates of different rounds were trained on different rows or for different times.
    ensemble_size = None

    resource: str
    n_resources_: list[int]
    n_candidates_: list[int]
    n_remaining_candidates_: int
    n_iterations_: int
    n_possible_iterations_: int
    n_required_iterations_: int
    min_resources_: int
    max_resources_: int

    def _prepare_search(self, X: Any, y: Any, split_params: dict[str, Any]) -> None:
        self._n_samples_orig = _num_samples(X)
        self._check_input_parameters(X, y, split_params)  # type: ignore[attr-defined]

    def _continuation(self) -> Continuation | None:
        own = as_pipeline_candidate(self.estimator)
        if own is None or own.prefix + PARAMETER != self.resource:
            return None
        return Continuation(self.resource)

    def _format_results(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        results: dict[str, Any] = super()._format_results(*args, **kwargs)  # type: ignore[misc]
        if "mean_test_score" not in results:
            start = "mean_test_"
            names = [name.removeprefix(start) for name in results if name.startswith(start)]
            raise ValueError(
                f"scoring must return one number for a search by halving, got a dict of {names}. "
                "Return the score by which candidates are to be chosen."
            )
        return results

    @staticmethod
    def _select_best_index(refit: Any, refit_metric: str, results: dict[str, Any]) -> int:
        chooses = BaseSearchCV if callable(refit) else BaseSuccessiveHalving
        return int(chooses._select_best_index(refit, refit_metric, results))


class VectorizedHalvingGridSearchCV(_VectorizedHalving, HalvingGridSearchCV):
    """Search over a grid by successive halving that trains candidates in batches of models.

    A drop-in replacement for scikit-learn's ``HalvingGridSearchCV``, with the same results: all
    candidates are evaluated with few resources, and the best of them with more. The candidates of
    a round are trained as in ``VectorizedGridSearchCV``. With ``max_iter`` as the resource, those
    that stay go on with their training instead of starting anew.

    scikit-learn's class must be enabled before it can be imported, since it is experimental there.
    This one need not.

    Parameters
    ----------
    estimator : estimator
        A classifier of this package, a ``Pipeline`` (or nested pipelines) that ends with one, or
        any other estimator.
    param_grid : dict or list of dict
        Parameter names, and a list of values for each. A list of dicts is a list of grids.
    factor : float, default=3
        Only the best ``1 / factor`` of the candidates of a round go to the next one, with `factor`
        times the resources. Above 1.
    resource : str, default="n_samples"
        What grows from round to round: ``"n_samples"``, or the name of a parameter of the estimator
        with positive integers, such as ``"max_iter"`` or ``"clf__max_iter"``. `max_resources` must
        then be set.
    max_resources : int or "auto", default="auto"
        Maximum of the resource. ``"auto"`` is the number of rows.
    min_resources : int, "exhaust" or "smallest", default="exhaust"
        The resource of the first round. ``"smallest"`` is 1, or ``2 * n_splits * n_classes`` rows.
        ``"exhaust"`` is the largest for which the last round does not exceed `max_resources`.
    aggressive_elimination : bool, default=False
        Whether to repeat the first round, without more resources, until there are so few candidates
        that the last round has at most `factor` of them.
    cv : int, splitter or iterable, default=5
        How to split the data: a number of stratified folds, a splitter such as
        ``GroupKFold()``, or pairs of training and validation indices. It must return the same
        splits each time.
    scoring : str, callable or None, default=None
        One scorer, which evaluates the candidates on the validation folds. None uses the
        estimator's ``score``.
    refit : bool or callable, default=True
        Whether to fit the best candidate of the last round on all data. A callable receives
        ``cv_results_`` and returns the index of the best candidate.
    error_score : "raise" or float, default=np.nan
        Score of a fit that fails. ``"raise"`` raises the error.
    return_train_score : bool, default=True
        Whether to score the training folds, too.
    random_state : int, RandomState instance or None, default=None
        Seed or generator for drawing the rows of a round.
    n_jobs : int or None, default=None
        Number of processes for candidates that are fitted singly, and of threads for scoring.
        Batches of models are trained, and their ROC AUC is computed, on as many threads as torch
        is set to use. None means 1.
    verbose : int, default=0
        0 prints nothing, 1 the candidates and resources of each round, 2 also a line for each fit,
        3 also its scores.
    max_memory : float, str or None, default=None
        Maximum memory of all batches of models that are trained at once: a number of bytes, above
        0, or a string such as ``"2GB"``. None is a quarter of the memory that is free on the
        device. A search that needs more is split into more batches.

    Attributes
    ----------
    n_resources_ : list of int
        The resource of each round.
    n_candidates_ : list of int
        Number of candidates of each round.
    n_remaining_candidates_ : int
        Number of candidates that would go to another round.
    max_resources_ : int
        Maximum of the resource.
    min_resources_ : int
        The resource of the first round.
    n_iterations_ : int
        Number of rounds.
    n_possible_iterations_ : int
        Number of rounds from `min_resources_` to `max_resources_`.
    n_required_iterations_ : int
        Number of rounds after which at most `factor` candidates are left.
    cv_results_ : dict of ndarray of shape (n_fitted_candidates,)
        The results of all candidates of all rounds, as in ``HalvingGridSearchCV``. ``"iter"`` is
        the round, ``"n_resources"`` its resource, and ``"fit_mode"`` says whether a candidate was
        trained in a batch of models (``"batched"``) or on its own (``"single"``).
        ``"mean_fit_time"`` is what a candidate cost in its round.
    best_estimator_ : estimator
        The best candidate, fitted on all data. Only if `refit` is not False.
    best_score_ : float
        Mean score of the best candidate on the validation folds, in the last round. Not if `refit`
        is a callable.
    best_params_ : dict
        Parameters of the best candidate, with the resource if it is a parameter.
    best_index_ : int
        Index of the best candidate in ``cv_results_``.
    scorer_ : callable
        The scorer.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds to fit the best candidate on all data. Only if `refit` is not False.
    multimetric_ : bool
        False: there is one scorer.
    classes_ : ndarray of shape (2,)
        The labels in sorted order. Only if `refit` is not False.
    n_features_in_ : int
        Number of features. Only if `refit` is not False.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features. Only if `X` had column names that are strings.

    See Also
    --------
    VectorizedHalvingRandomSearchCV : Draws candidates from distributions.
    VectorizedGridSearchCV : Evaluates all candidates with all data.

    Notes
    -----
    With ``max_iter`` as the resource, networks and other models that are trained in mini-batches
    go on after each round with their weights, the state of the optimizer and their order of rows,
    so that they end as if they had been trained for all epochs at once. A model that stopped early
    is not trained again. These candidates start anew in each round: those that are fitted singly or
    by a full-batch solver; those with ``learning_rate="cosine"`` or ``"onecycle"``, whose rates
    depend on ``max_iter``; and all candidates if the rows of all splits need more than
    `max_memory`. With fewer than 1,000 rows and ``early_stopping="auto"``, the models that choose
    the number of epochs go on, and the one that is then trained on all rows starts anew.

    The best candidates cannot be averaged (``ensemble_size`` of the other searches), since those
    of different rounds are not comparable.

    Examples
    --------
    >>> from sklearn.datasets import make_circles
    >>> from skbinary import TorchMLPClassifier, VectorizedHalvingGridSearchCV
    >>> X, y = make_circles(400, noise=0.1, factor=0.5, random_state=1)
    >>> model = TorchMLPClassifier(early_stopping=False, n_iter_no_change=90)
    >>> search = VectorizedHalvingGridSearchCV(
    ...     model,
    ...     {"learning_rate_init": [1e-4, 1e-3, 1e-2], "alpha": [1e-4, 1e-2, 1.0]},
    ...     resource="max_iter",
    ...     max_resources=90,
    ...     scoring="neg_log_loss",
    ... )
    >>> search.fit(X, y).n_candidates_, search.n_resources_
    ([9, 3, 1], [10, 30, 90])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **HalvingGridSearchCV._parameter_constraints,
        "factor": _FACTOR,
        "max_memory": MAX_MEMORY,
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Iterable[Any]]],
        *,
        factor: float = 3,
        resource: str = "n_samples",
        max_resources: _MaxResources = "auto",
        min_resources: _MinResources = "exhaust",
        aggressive_elimination: bool = False,
        cv: CV = 5,
        scoring: _Scoring = None,
        refit: bool | Callable[..., int] = True,
        error_score: float | Literal["raise"] = np.nan,
        return_train_score: bool = True,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        max_memory: float | str | None = None,
    ):
        super().__init__(
            estimator,
            param_grid,
            factor=factor,
            resource=resource,
            max_resources=max_resources,
            min_resources=min_resources,
            aggressive_elimination=aggressive_elimination,
            cv=cv,
            scoring=scoring,
            refit=refit,
            error_score=error_score,
            return_train_score=return_train_score,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.max_memory = max_memory


class VectorizedHalvingRandomSearchCV(_VectorizedHalving, HalvingRandomSearchCV):
    """Randomized search by successive halving that trains candidates in batches of models.

    A drop-in replacement for scikit-learn's ``HalvingRandomSearchCV``: it draws the same candidates
    and returns the same results. ``VectorizedHalvingGridSearchCV`` describes how they are trained,
    and which of them go on with their training in the next round.

    Parameters
    ----------
    estimator : estimator
        A classifier of this package, a ``Pipeline`` (or nested pipelines) that ends with one, or
        any other estimator.
    param_distributions : dict or list of dict
        Parameter names, and a distribution (with a method ``rvs``) or a list of values for each.
    n_candidates : int or "exhaust", default="exhaust"
        Number of candidates to draw for the first round. ``"exhaust"`` draws as many as the last
        round needs to reach `max_resources`.
    factor : float, default=3
        Only the best ``1 / factor`` of the candidates of a round go to the next one, with `factor`
        times the resources. Above 1.
    resource : str, default="n_samples"
        What grows from round to round: ``"n_samples"``, or the name of a parameter of the estimator
        with positive integers, such as ``"max_iter"`` or ``"clf__max_iter"``. `max_resources` must
        then be set.
    max_resources : int or "auto", default="auto"
        Maximum of the resource. ``"auto"`` is the number of rows.
    min_resources : int, "exhaust" or "smallest", default="smallest"
        The resource of the first round. ``"smallest"`` is 1, or ``2 * n_splits * n_classes`` rows.
        ``"exhaust"`` is the largest for which the last round does not exceed `max_resources`,
        which is not possible with ``n_candidates="exhaust"``.
    aggressive_elimination : bool, default=False
        Whether to repeat the first round, without more resources, until there are so few candidates
        that the last round has at most `factor` of them.
    cv : int, splitter or iterable, default=5
        How to split the data: a number of stratified folds, a splitter such as
        ``GroupKFold()``, or pairs of training and validation indices. It must return the same
        splits each time.
    scoring : str, callable or None, default=None
        One scorer, which evaluates the candidates on the validation folds. None uses the
        estimator's ``score``.
    refit : bool or callable, default=True
        Whether to fit the best candidate of the last round on all data. A callable receives
        ``cv_results_`` and returns the index of the best candidate.
    error_score : "raise" or float, default=np.nan
        Score of a fit that fails. ``"raise"`` raises the error.
    return_train_score : bool, default=True
        Whether to score the training folds, too.
    random_state : int, RandomState instance or None, default=None
        Seed or generator for drawing the candidates and the rows of a round.
    n_jobs : int or None, default=None
        Number of processes for candidates that are fitted singly, and of threads for scoring.
        Batches of models are trained, and their ROC AUC is computed, on as many threads as torch
        is set to use. None means 1.
    verbose : int, default=0
        0 prints nothing, 1 the candidates and resources of each round, 2 also a line for each fit,
        3 also its scores.
    max_memory : float, str or None, default=None
        Maximum memory of all batches of models that are trained at once: a number of bytes, above
        0, or a string such as ``"2GB"``. None is a quarter of the memory that is free on the
        device. A search that needs more is split into more batches.

    Attributes
    ----------
    n_resources_ : list of int
        The resource of each round.
    n_candidates_ : list of int
        Number of candidates of each round.
    n_remaining_candidates_ : int
        Number of candidates that would go to another round.
    max_resources_ : int
        Maximum of the resource.
    min_resources_ : int
        The resource of the first round.
    n_iterations_ : int
        Number of rounds.
    n_possible_iterations_ : int
        Number of rounds from `min_resources_` to `max_resources_`.
    n_required_iterations_ : int
        Number of rounds after which at most `factor` candidates are left.
    cv_results_ : dict of ndarray of shape (n_fitted_candidates,)
        The results of all candidates of all rounds, as in ``HalvingRandomSearchCV``. ``"iter"`` is
        the round, ``"n_resources"`` its resource, and ``"fit_mode"`` says whether a candidate was
        trained in a batch of models (``"batched"``) or on its own (``"single"``).
        ``"mean_fit_time"`` is what a candidate cost in its round.
    best_estimator_ : estimator
        The best candidate, fitted on all data. Only if `refit` is not False.
    best_score_ : float
        Mean score of the best candidate on the validation folds, in the last round. Not if `refit`
        is a callable.
    best_params_ : dict
        Parameters of the best candidate, with the resource if it is a parameter.
    best_index_ : int
        Index of the best candidate in ``cv_results_``.
    scorer_ : callable
        The scorer.
    n_splits_ : int
        Number of splits.
    refit_time_ : float
        Seconds to fit the best candidate on all data. Only if `refit` is not False.
    multimetric_ : bool
        False: there is one scorer.
    classes_ : ndarray of shape (2,)
        The labels in sorted order. Only if `refit` is not False.
    n_features_in_ : int
        Number of features. Only if `refit` is not False.
    feature_names_in_ : ndarray of str of shape (n_features,)
        Names of the features. Only if `X` had column names that are strings.

    See Also
    --------
    VectorizedHalvingGridSearchCV : Starts with all points of a grid.
    VectorizedRandomizedSearchCV : Evaluates all candidates with all data.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import make_classification
    >>> from skbinary import TorchLogisticClassifier, VectorizedHalvingRandomSearchCV
    >>> X, y = make_classification(1000, random_state=0)
    >>> search = VectorizedHalvingRandomSearchCV(
    ...     TorchLogisticClassifier(), {"C": loguniform(1e-4, 1e2)}, random_state=0
    ... )
    >>> search.fit(X, y).n_candidates_, search.n_resources_
    ([50, 17, 6, 2], [20, 60, 180, 540])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **HalvingRandomSearchCV._parameter_constraints,
        "factor": _FACTOR,
        "max_memory": MAX_MEMORY,
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        n_candidates: int | Literal["exhaust"] = "exhaust",
        factor: float = 3,
        resource: str = "n_samples",
        max_resources: _MaxResources = "auto",
        min_resources: _MinResources = "smallest",
        aggressive_elimination: bool = False,
        cv: CV = 5,
        scoring: _Scoring = None,
        refit: bool | Callable[..., int] = True,
        error_score: float | Literal["raise"] = np.nan,
        return_train_score: bool = True,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        max_memory: float | str | None = None,
    ):
        super().__init__(
            estimator,
            param_distributions,
            n_candidates=n_candidates,
            factor=factor,
            resource=resource,
            max_resources=max_resources,
            min_resources=min_resources,
            aggressive_elimination=aggressive_elimination,
            cv=cv,
            scoring=scoring,
            refit=refit,
            error_score=error_score,
            return_train_score=return_train_score,
            random_state=random_state,
            n_jobs=n_jobs,
            verbose=verbose,
        )
        self.max_memory = max_memory
