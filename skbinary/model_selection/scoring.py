"""Scores of the candidates of a search, by their scorer or computed for many models at once."""

from __future__ import annotations

import copy
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from sklearn.metrics._scorer import _BaseScorer, _MultimetricScorer, _PassthroughScorer
from sklearn.model_selection._validation import _score
from sklearn.utils.validation import _check_method_params

from skbinary.estimators.base import BinaryClassifier
from skbinary.estimators.scoring import logits_of
from skbinary.model_selection.roc_auc import is_plain_roc_auc, roc_aucs
from skbinary.runtime.memory import is_out_of_memory, out_of_memory
from skbinary.runtime.threads import ThreadPool

# Number of linear models that share a product with the rows. More gain little, and their logits
# should not take more memory than the rows.
MODELS_PER_PRODUCT = 10


class PrecomputedScore(NamedTuple):
    """A score that was computed without the scorer, and its share of the time."""

    score: float
    seconds: float


class ScoredRows(NamedTuple):
    """Rows of a split, and the fitted classifiers that are scored on them.

    Parameters
    ----------
    name : {"test", "train"}
    rows : ndarray, CSR matrix or tensor of shape (n_samples, n_features)
        Checked, and finite.
    y : array-like of shape (n_samples,)
    classifiers : sequence of BinaryClassifier
    """

    name: str
    rows: Any
    y: Any
    classifiers: Sequence[BinaryClassifier]


@dataclass(frozen=True)
class ScoringTask:
    """What every candidate of a search is fitted to, and how it is scored.

    Parameters
    ----------
    search : BaseSearchCV
        Has the parameters ``error_score``, ``n_jobs``, ``verbose`` and so on.
    X, y : indexable
        All data.
    scorer : callable
    fit_params, score_params : dict
        Further arguments of ``fit`` and of the scorer.
    """

    search: Any
    X: Any
    y: Any
    scorer: Any
    fit_params: dict[str, Any]
    score_params: dict[str, Any]

    @cached_property
    def uses_predictions_only(self) -> bool:
        """Whether the scorer only uses a model's predictions: scikit-learn's own scorers do."""
        scorers = getattr(self.scorer, "_scorers", {"score": self.scorer})
        kinds = (_BaseScorer, _PassthroughScorer)
        return all(isinstance(each, kinds) for each in scorers.values())

    @property
    def scored_names(self) -> tuple[str, ...]:
        """Names of the parts of a split that are scored."""
        return ("test", "train") if self.search.return_train_score else ("test",)

    def failure(self, error: Exception, seconds: float) -> dict[str, Any]:
        """Return the result of a fit that failed, or raise with ``error_score="raise"``."""
        if is_out_of_memory(error):
            error = out_of_memory(error, "A candidate", self.search._memory_advice)
        if self.search.error_score == "raise":
            raise error
        scores = self.search.error_score
        if isinstance(self.scorer, _MultimetricScorer):
            scores = dict.fromkeys(self.scorer._scorers, scores)
        result = {
            "fit_error": "".join(traceback.format_exception(error)),
            "test_scores": scores,
            "fit_time": seconds,
            "score_time": 0.0,
        }
        if self.search.return_train_score:
            result["train_scores"] = copy.copy(scores)
        return result

    def score(self, model: Any, X: Any, y: Any, indices: Any) -> Any:
        """Score a model on data, which are the rows of all data at the given indices."""
        params = _check_method_params(self.X, params=self.score_params, indices=indices)
        return _score(model, X, y, self.scorer, params, self.search.error_score)

    @cached_property
    def is_roc_auc_only(self) -> bool:
        """Whether the only score is the ROC AUC, which can be computed without the scorer."""
        return not self.score_params and is_plain_roc_auc(self.scorer)


def precompute_roc_aucs(
    tables: Sequence[ScoredRows], device: torch.device, n_threads: int
) -> dict[tuple[str, int], PrecomputedScore]:
    """Compute the ROC AUC of many classifiers, without the scorer.

    Parameters
    ----------
    tables : sequence of ScoredRows
    device : torch.device
        Device of the rows.
    n_threads : int
        Number of threads on a CPU.

    Returns
    -------
    dict of (str, int) -> PrecomputedScore
        By the name of the rows and the id of the classifier. Those that are missing are left to
        the scorer.
    """
    chunks = [
        table._replace(classifiers=table.classifiers[i : i + MODELS_PER_PRODUCT])
        for table in tables
        for i in range(0, len(table.classifiers), MODELS_PER_PRODUCT)
    ]
    precomputed: dict[tuple[str, int], PrecomputedScore] = {}
    with ThreadPool.on(device, n_threads) as pool:
        for chunk, scores in zip(chunks, pool.map(_roc_aucs, chunks), strict=True):
            keys = [(chunk.name, id(classifier)) for classifier in chunk.classifiers]
            precomputed.update(zip(keys, scores, strict=False))
    return precomputed


def _roc_aucs(table: ScoredRows) -> list[PrecomputedScore]:
    """Compute the ROC AUC of each classifier, or of none if the scorer must do it."""
    _, rows, y, classifiers = table
    begin = time.perf_counter()
    areas = None
    # An error is raised again by the scorer, and is handled there.
    with suppress(Exception):
        if all(
            type(each).decision_function is BinaryClassifier.decision_function
            for each in classifiers
        ):
            logits = logits_of([each._fitted() for each in classifiers], rows)
            areas = roc_aucs(logits, y, classifiers[0].classes_)
    if areas is None:
        return []
    seconds = (time.perf_counter() - begin) / len(classifiers)
    return [PrecomputedScore(area, seconds) for area in areas]
