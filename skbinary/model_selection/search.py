"""Searches that train their candidates together."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, check_cv
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_method_params

from skbinary.callbacks.sklearn import SearchCallbacks
from skbinary.data.containers import check_container
from skbinary.data.labels import check_no_missing_labels
from skbinary.estimators import html
from skbinary.estimators.rollback import unchanged_on_error
from skbinary.model_selection.evaluation import Evaluation
from skbinary.model_selection.scoring import ScoringTask
from skbinary.runtime.interrupts import raising_interrupts

_MAX_MEMORY = [Interval(Real, 0, None, closed="neither"), str, None]


class _VectorizedSearch:
    """What both searches share: how candidates are evaluated."""

    _memory_advice = (
        "Lower max_memory or n_jobs, pass float32 rows, or leave out the largest candidates."
    )

    _doc_link_module = "skbinary"
    _doc_link_template = "{page}"

    estimator: Any
    refit: Any
    scoring: Any
    error_score: Any
    verbose: int
    cv: Any

    @unchanged_on_error
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Evaluate all candidates, and fit the best one on all rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their labels.
        **params : dict of str -> object
            What ``fit`` of the estimator, the scorer and the splitter are given besides:
            ``sample_weight``, ``groups``, or ``clf__sample_weight`` for a step of a pipeline.
            What has one entry for each row is split like the rows.

        Returns
        -------
        self : object
            Fitted.

        Raises
        ------
        ValueError
            If all fits fail, or one does with ``error_score="raise"``. The search is then what it
            was before, as it is when it is interrupted.

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
        if y is not None:
            check_no_missing_labels(check_container(y, "y"))
        X, y = indexable(X if isinstance(X, torch.Tensor) else rows, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)  # type: ignore[attr-defined]
        callbacks = SearchCallbacks(self, X, y, params)
        scoring = ScoringTask(self, X, y, scorer, routed.estimator.fit, routed.scorer.score)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        rounds = _Rounds(scoring, cv, routed.splitter.split)
        self._checked_cv_orig, self.n_splits_ = cv, rounds.n_splits
        callbacks.search(rounds.evaluate)
        self._choose(rounds, refit_metric)
        if self.refit:
            self._fit_best(scoring, callbacks)
        self.scorer_ = scorer._scorers if isinstance(scorer, _MultimetricScorer) else scorer
        self.cv_results_ = rounds.results
        callbacks.end()
        return self

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return html.reference_page(self)

    def _choose(self, rounds: _Rounds, refit_metric: str) -> None:
        """Find the best candidate."""
        first = rounds.outcomes[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            # What such a scorer gives is only known now.
            self._check_refit_for_multimetric(first)  # type: ignore[attr-defined]
            refit_metric = self.refit
        if not self.refit and self.multimetric_:
            return
        results = rounds.results
        best = self._select_best_index(self.refit, refit_metric, results)  # type: ignore[attr-defined]
        self.best_index_ = best
        self.best_params_ = results["params"][best]
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{refit_metric}"][best]

    def _fit_best(self, scoring: ScoringTask, callbacks: SearchCallbacks) -> None:
        """Fit the best candidate on all rows, the ordinary way."""
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        begin = time.time()
        with callbacks.refit(best), raising_interrupts():
            best.fit(scoring.X, scoring.y, **scoring.fit_params)
        self.refit_time_ = time.time() - begin
        self.best_estimator_ = best
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_


class _Rounds:
    """What a search has evaluated so far; those that search in rounds ask more than once."""

    def __init__(self, scoring: ScoringTask, cv: Any, split_params: dict[str, Any]):
        self.scoring = scoring
        self.cv = cv
        self.split_params = split_params
        self.n_splits = cv.get_n_splits(scoring.X, scoring.y, **split_params)
        self.candidates: list[dict[str, Any]] = []
        self.outcomes: list[dict[str, Any]] = []
        self.results: dict[str, Any] = {}
        self._more: dict[str, list[Any]] = defaultdict(list)

    def evaluate(
        self,
        candidate_params: Iterable[dict[str, Any]],
        cv: Any = None,
        more_results: Mapping[str, list[Any]] | None = None,
        callback_ctx: Any = None,
    ) -> dict[str, Any]:
        """Evaluate candidates, and give all results so far, as scikit-learn's searches want it."""
        scoring, search = self.scoring, self.scoring.search
        candidates = list(candidate_params)
        splits = list((cv or self.cv).split(scoring.X, scoring.y, **self.split_params))
        n_fits = len(candidates) * len(splits)
        if len(splits) != self.n_splits:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. Expected "
                f"{self.n_splits} splits, got {len(splits)}. Correct the splitter."
            )
        if search.verbose > 0:
            sys.stdout.write(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling "
                f"{n_fits} fits\n"
            )
        if n_fits == 0:
            raise ValueError(
                "No fits were performed. Was the CV iterator empty? Were there no candidates?"
            )
        contexts = SearchCallbacks.task_contexts(callback_ctx, n_fits)
        outcomes, modes = Evaluation(scoring, candidates, splits, contexts).run()
        _warn_or_raise_about_fit_failures(outcomes, search.error_score)
        if callable(search.scoring):
            _insert_error_scores(outcomes, search.error_score)
        self.candidates += candidates
        self.outcomes += outcomes
        for name, values in {**(more_results or {}), "fit_mode": modes}.items():
            self._more[name].extend(values)
        self.results = search._format_results(
            self.candidates, self.n_splits, self.outcomes, self._more
        )
        return self.results


class VectorizedGridSearchCV(_VectorizedSearch, GridSearchCV):
    """Exhaustive search over a grid, whose candidates are trained together.

    It asks what scikit-learn's ``GridSearchCV`` asks, and gives the same answers in the same form.
    Where the last step of the estimator is a ``TorchLogisticClassifier`` or a
    ``TorchMLPClassifier``, candidates and folds become stacks of models that are trained side by
    side; anything else is fitted as ``GridSearchCV`` would fit it, in the same search.

    Parameters
    ----------
    estimator : estimator
        A classifier of this package, a ``Pipeline`` (or a pipeline in a pipeline) that ends with
        one, or any other estimator.
    param_grid : dict or list of dict
        Names of parameters, and the values to try. A list holds several grids.
    scoring : str, callable, list, tuple or dict, default=None
        How candidates are scored, as in ``GridSearchCV``. None takes the estimator's ``score``.
    n_jobs : int or None, default=None
        Processes for what is fitted alone, and threads for scoring. Stacks are trained, and their
        ROC AUC is worked out, on as many threads as torch is set to use.
    refit : bool, str or callable, default=True
        Whether the best candidate is fitted on all rows, and by which score or rule it is chosen.
    cv : int, splitter or iterable, default=None
        How rows are split. None takes five stratified folds.
    verbose : int, default=0
        1 prints how many fits there are, 2 a line for each of them, 3 its scores.
    pre_dispatch : int or str, default="2*n_jobs"
        How many of what is fitted alone are sent out at once.
    error_score : "raise" or number, default=np.nan
        What a fit or a score counts that fails.
    return_train_score : bool, default=False
        Whether the training rows are scored, too.
    max_memory : float or None, default=None
        What all stacks that are trained at a time may take, in bytes. None takes a quarter of the
        memory that is free on the device. A search that needs more is cut into more stacks.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        What ``GridSearchCV`` gives, and ``fit_mode``, which says for each candidate whether it was
        ``"batched"`` or fitted as a ``"single"`` one. The time of a stack is shared by its models,
        so ``mean_fit_time`` is what a candidate has cost, and not what it would cost alone.
    best_estimator_ : estimator
        The best candidate, fitted on all rows the ordinary way. Not there with ``refit=False``.
    best_score_ : float
        Its mean score on the validation rows.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its place in ``cv_results_``.
    scorer_ : callable or dict
        What has scored.
    n_splits_ : int
        Count of the splits.
    refit_time_ : float
        Seconds that the last fit took.
    multimetric_ : bool
        Whether there were several scores.
    classes_ : ndarray of shape (2,)
        The labels. The second one is positive.
    n_features_in_ : int
        Count of the features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if `X` had string names.

    See Also
    --------
    VectorizedRandomizedSearchCV : Draws candidates from distributions.
    sklearn.model_selection.GridSearchCV : Fits one candidate at a time.

    Notes
    -----
    Models can share a stack when their tensors have one shape: the same layers, activation, batch
    size and kind of solver. Rates, penalties, weights, dropout, tolerances, seeds and early
    stopping may differ, and each model has its own batches, its own end and its own best weights.
    SplittableRows that differ in their ``threshold`` alone are trained once. ``callbacks``,
    ``verbose`` and the full-batch solvers of the network make a candidate a single one, as does a
    linear model with more than 500 features or an ``l1_ratio``.

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
    ['stacked' 'stacked' 'stacked' 'stacked']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GridSearchCV._parameter_constraints,
        "max_memory": _MAX_MEMORY,
    }

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
        max_memory: float | str | None = None,
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


class VectorizedRandomizedSearchCV(_VectorizedSearch, RandomizedSearchCV):
    """Search over candidates drawn from distributions, which are trained together.

    It draws what scikit-learn's ``RandomizedSearchCV`` draws, and gives the same answers in the
    same form. How candidates are trained, ``VectorizedGridSearchCV`` tells.

    Parameters
    ----------
    estimator : estimator
        A classifier of this package, a ``Pipeline`` (or a pipeline in a pipeline) that ends with
        one, or any other estimator.
    param_distributions : dict or list of dict
        Names of parameters, and distributions (with a method ``rvs``) or lists of values.
    n_iter : int, default=10
        How many candidates are drawn.
    scoring : str, callable, list, tuple or dict, default=None
        How candidates are scored, as in ``RandomizedSearchCV``. None takes the estimator's
        ``score``.
    n_jobs : int or None, default=None
        Processes for what is fitted alone, and threads for scoring. Stacks are trained, and their
        ROC AUC is worked out, on as many threads as torch is set to use.
    refit : bool, str or callable, default=True
        Whether the best candidate is fitted on all rows, and by which score or rule it is chosen.
    cv : int, splitter or iterable, default=None
        How rows are split. None takes five stratified folds.
    verbose : int, default=0
        1 prints how many fits there are, 2 a line for each of them, 3 its scores.
    pre_dispatch : int or str, default="2*n_jobs"
        How many of what is fitted alone are sent out at once.
    random_state : int, RandomState instance or None, default=None
        Fixes what is drawn.
    error_score : "raise" or number, default=np.nan
        What a fit or a score counts that fails.
    return_train_score : bool, default=False
        Whether the training rows are scored, too.
    max_memory : float or None, default=None
        What all stacks that are trained at a time may take, in bytes. None takes a quarter of the
        memory that is free on the device. A search that needs more is cut into more stacks.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        What ``RandomizedSearchCV`` gives, and ``fit_mode``: ``"batched"`` or ``"single"``, one for
        each candidate. The time of a stack is shared by its models.
    best_estimator_ : estimator
        The best candidate, fitted on all rows the ordinary way. Not there with ``refit=False``.
    best_score_ : float
        Its mean score on the validation rows.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its place in ``cv_results_``.
    scorer_ : callable or dict
        What has scored.
    n_splits_ : int
        Count of the splits.
    refit_time_ : float
        Seconds that the last fit took.
    multimetric_ : bool
        Whether there were several scores.
    classes_ : ndarray of shape (2,)
        The labels. The second one is positive.
    n_features_in_ : int
        Count of the features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if `X` had string names.

    See Also
    --------
    VectorizedGridSearchCV : Tries all points of a grid.
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
        "max_memory": _MAX_MEMORY,
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        max_memory: float | str | None = None,
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
