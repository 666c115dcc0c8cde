"""A pipeline for raw tables: an encoder, and an ensemble with recommended settings."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline, make_pipeline

from skbinary.estimators.mlp import TorchMLPClassifier
from skbinary.preprocessing.tabular import TabularEncoder

# Chosen by the mean test log loss over the tables of docs/quality.md, with 500 to 20,000 rows.
RECOMMENDED: dict[str, Any] = {
    "hidden_layer_sizes": (256, 256),
    "n_members": 8,
    "batch_size": 64,
    "learning_rate": "warmup",
    "learning_rate_init": 0.002,
    "dropout": 0.3,
    "weight_decay": 0.1,
    "label_smoothing": 0.02,
    "numeric_embedding": "periodic",
    "weight_average": 0.995,
}


def make_tabular_pipeline(
    classifier: Any = None, *, random_state: Any = None, **settings: Any
) -> Pipeline:
    """Make a pipeline for raw data frames, with missing values, categories and dates.

    A ``Pipeline`` of a ``TabularEncoder`` and an ensemble of networks, with the settings that have
    the lowest log loss over many tables. Both steps keep their names as parameters: a search sets
    ``tabularencoder__n_bins`` or ``torchmlpclassifier__dropout``.

    Parameters
    ----------
    classifier : classifier or None, default=None
        The classifier behind the encoder, which is cloned. None for an ensemble of eight
        networks, a ``TorchMLPClassifier`` with recommended settings.
    random_state : int, RandomState instance or None, default=None
        Seed or generator of both steps. None keeps that of `classifier`.
    **settings
        Parameters of the classifier, such as ``threshold``, ``pos_label``, ``n_members`` or
        ``device``.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps ``tabularencoder`` and, without `classifier`, ``torchmlpclassifier``.

    Raises
    ------
    ValueError
        If the classifier has no parameter of a name in `settings`.

    See Also
    --------
    TabularEncoder : The encoder alone.
    TorchMLPClassifier : The networks and their parameters.

    Examples
    --------
    >>> import pandas as pd
    >>> from skbinary import make_tabular_pipeline
    >>> frame = pd.DataFrame({
    ...     "age": [23, 45, None, 31] * 20, "city": ["Bonn", "Lyon", None, "Bonn"] * 20
    ... })
    >>> y = ["no", "yes", "yes", "no"] * 20
    >>> model = make_tabular_pipeline(n_members=2, random_state=0).fit(frame, y)
    >>> print(model.predict(frame[:2]))
    ['no' 'yes']
    """
    classifier = TorchMLPClassifier(**RECOMMENDED) if classifier is None else clone(classifier)
    if random_state is not None and "random_state" in classifier.get_params(deep=False):
        settings = {"random_state": random_state, **settings}
    classifier.set_params(**settings)
    return make_pipeline(TabularEncoder(random_state=random_state), classifier)
