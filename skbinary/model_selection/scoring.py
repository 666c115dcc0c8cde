"""What a search asks of its candidates, and the answers that are known before they are asked."""

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
from skbinary.model_selection.roc_auc import areas_under_curves, is_plain_roc_auc
from skbinary.runtime.memory import is_out_of_memory, out_of_memory
from skbinary.runtime.threads import ThreadPool

# So many linear models share a product with the rows. More gain little, and their logits should not
# take more than the rows do.
_AT_ONCE = 10


class PrecomputedScore(NamedTuple):
    """A score, and the seconds that it took."""

    score: float
    seconds: float


class Table(NamedTuple):
    """A part of a split by its name, and the fitted classifiers that are scored on it.

    The rows are checked, and finite.
    """

    name: str
    rows: Any
    y: Any
    models: Sequence[BinaryClassifier]


@dataclass(frozen=True)
class ScoringTask:
    """What a search asks of every candidate on every split.

    Parameters
    ----------
    search : BaseSearchCV
        Its parameters say how it is asked: ``error_score``, ``n_jobs``, ``verbose`` and so on.
    X, y : indexable
        All rows.
    scorer : callable
    fit_params, score_params : dict
        What ``fit`` and the scorer are given besides.
    """

    search: Any
    X: Any
    y: Any
    scorer: Any
    fit_params: dict[str, Any]
    score_params: dict[str, Any]

    @cached_property
    def is_of_the_scores(self) -> bool:
        """Whether the scorer asks a model for its answers alone, and looks at nothing else."""
        scorers = getattr(self.scorer, "_scorers", {"score": self.scorer})
        known = (_BaseScorer, _PassthroughScorer)
        return all(isinstance(each, known) for each in scorers.values())

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of a split that are scored."""
        return ("test", "train") if self.search.return_train_score else ("test",)

    def failed(self, error: Exception, seconds: float) -> dict[str, Any]:
        """Give the result of a fit that has failed, or raise if that is what the search says."""
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

    def scores(self, model: Any, X: Any, y: Any, rows: Any) -> Any:
        """Score a model on rows, of which `rows` are the positions."""
        given = _check_method_params(self.X, params=self.score_params, indices=rows)
        return _score(model, X, y, self.scorer, given, self.search.error_score)

    @cached_property
    def asks_for_areas(self) -> bool:
        """Whether all that is asked is the area under the ROC curve, which is known at once."""
        return not self.score_params and is_plain_roc_auc(self.scorer)


def precomputed_areas(
    tables: Sequence[Table], device: torch.device, n_threads: int
) -> dict[tuple[str, int], PrecomputedScore]:
    """Give the areas under ROC curves that are known without asking the scorer.

    Parameters
    ----------
    tables : sequence of Table
    device : torch.device
        Where the rows are.
    n_threads : int
        How many threads share the work on a CPU.

    Returns
    -------
    dict of (str, int) -> Known
        By the name of the table and the id of the classifier. What is not there is left to the
        scorer.
    """
    pieces = [
        table._replace(models=table.models[i : i + _AT_ONCE])
        for table in tables
        for i in range(0, len(table.models), _AT_ONCE)
    ]
    known: dict[tuple[str, int], PrecomputedScore] = {}
    with ThreadPool.on(device, n_threads) as pool:
        for piece, found in zip(pieces, pool.map(_areas, pieces), strict=True):
            names = [(piece.name, id(model)) for model in piece.models]
            known.update(zip(names, found, strict=False))
    return known


def _areas(table: Table) -> list[PrecomputedScore]:
    """Give the area under the ROC curve of each classifier, or of none of them."""
    _, rows, y, models = table
    begin = time.perf_counter()
    areas = None
    # An error comes again where the scorer is asked, and is told as the search tells errors.
    with suppress(Exception):
        if all(
            type(each).decision_function is BinaryClassifier.decision_function for each in models
        ):
            areas = areas_under_curves(
                logits_of([each._fitted() for each in models], rows), y, models[0].classes_
            )
    if areas is None:
        return []
    seconds = (time.perf_counter() - begin) / len(models)
    return [PrecomputedScore(area, seconds) for area in areas]
