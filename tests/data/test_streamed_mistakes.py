"""Mistakes in fits and predictions on tables that are read in parts."""

import re

import numpy as np
import pytest

from skbinary import TorchLogisticClassifier, TorchMLPClassifier
from skbinary.data.streamed_table import StreamedTable
from skbinary.streaming import Streamed
from tests.data.models import QUIET
from tests.data.streamed_tables import FEATURES, FRAME, N_ROWS, WEIGHT, X, Y, weighted

pytest.importorskip("pyarrow", reason="the extra parquet is not installed")

pytestmark = QUIET

NOT_COMPLETE = "Pass a sample of the rows as a data frame, or raise the memory of Streamed."
REFUSED = {
    "members": (
        TorchMLPClassifier(n_members=3),
        f"n_members must be 1 for a table that is larger than memory, got 3. {NOT_COMPLETE}",
    ),
    "callbacks": (
        TorchMLPClassifier(callbacks=[object()]),
        "callbacks must be None for a table that is larger than memory, since skorch's callbacks "
        f"see all rows, got 1. {NOT_COMPLETE}",
    ),
    "lbfgs": (
        TorchMLPClassifier(solver="lbfgs"),
        "solver must be 'adam' or 'sgd' for a network on a table that is larger than memory, got "
        f"'lbfgs'. {NOT_COMPLETE}",
    ),
    "nothing held out": (
        TorchMLPClassifier(validation_fraction=1e-9),
        "validation_fraction must leave rows to validate on, got 1e-09 of 6000 rows, of which none "
        "was drawn. Raise it, or pass X_val and y_val.",
    ),
}


@pytest.mark.parametrize(("model", "sentence"), REFUSED.values(), ids=REFUSED)
def test_setting_that_needs_all_rows_raises(path, model, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        model.fit(**weighted(path))
    assert not hasattr(model, "n_features_in_")


COLUMNS = "The columns are 'a', 'b', 'c', 'd', 'label', 'weight', 'group'."
WRONG_NAMES = {
    "label": ({"y": "target"}, f"y must be the name of a column of X, got 'target'. {COLUMNS}"),
    "weight": (
        {"sample_weight": WEIGHT},
        f"sample_weight must be the name of a column of X, got an object of Series. {COLUMNS}",
    ),
    "validation": (
        {"X_val": "same", "y_val": "target"},
        f"y_val must be the name of a column of X_val, got 'target'. {COLUMNS}",
    ),
    "text as weight": (
        {"y": "d", "sample_weight": "label"},
        "sample_weight must have numbers, got object in column 'label'. Pass the name of a column "
        "of weights.",
    ),
    "text as feature": (
        {"y": "d"},
        "X must hold numbers, got object in column 'label'. Encode it as numbers, or drop it.",
    ),
    "array as label": (
        {"y": Y},
        "X must be an array, a data frame or a tensor, got a Streamed. Tables are read in parts "
        "only by fit, with the name of the label column as y, and by predictions and scores of a "
        "model that was fitted to named columns.",
    ),
}


@pytest.mark.parametrize(("changes", "sentence"), WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_name_that_is_wrong_raises(path, changes, sentence):
    arguments = weighted(path) | changes
    if "X_val" in changes:
        arguments["X_val"] = path
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        TorchLogisticClassifier().fit(**arguments)


WRONG_VALUES = {
    "infinite": (
        {"a": np.where(np.arange(N_ROWS) == 5900, np.inf, 0.0)},
        "Column 'a' must hold finite numbers, got inf. Impute the missing values, or drop these "
        "rows.",
    ),
    "negative weight": (
        {"weight": np.where(np.arange(N_ROWS) == 5900, -1.0, 2.0)},
        "Negative values in data passed to `sample_weight`: weights must be zero or more, got -1 "
        "in column 'weight'. Drop rows that should not count, or set their weight to 0.",
    ),
    "no weight": (
        {"weight": np.zeros(N_ROWS)},
        "sample_weight must not be all zero. Sample weights must contain at least one non-zero "
        "number.",
    ),
    "one class": (
        {"label": "no"},
        "y must hold two classes, got one class, 'no'. TorchLogisticClassifier cannot learn from "
        "one class: check how the rows were selected, or pass both classes to partial_fit.",
    ),
    "three classes": (
        {"label": np.arange(N_ROWS) // 2500},
        "Only binary classification is supported. The type of the target is multiclass, got 3 "
        "classes. Wrap TorchLogisticClassifier in sklearn.multiclass.OneVsRestClassifier.",
    ),
}


@pytest.mark.parametrize(("columns", "sentence"), WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_value_that_is_wrong_raises(narrow, columns, sentence):
    table = narrow(**{"weight": WEIGHT} | columns)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        TorchLogisticClassifier().fit(table, "label", sample_weight="weight")


def test_table_without_rows_raises(narrow):
    with pytest.raises(ValueError, match=r"^X must have rows, got a table without any\. Check"):
        TorchLogisticClassifier().fit(narrow(FRAME[[*FEATURES, "label"]].iloc[:0]), "label")


def test_table_that_changes_between_passes_raises(narrow, monkeypatch):
    table = narrow()
    read = StreamedTable.read
    n_passes = 0

    def shrinking(self, *args, **kwargs):
        nonlocal n_passes
        n_passes += 1
        for i, chunk in enumerate(read(self, *args, **kwargs)):
            if n_passes == 1 or i > 0:
                yield chunk

    monkeypatch.setattr(StreamedTable, "read", shrinking)
    model = TorchLogisticClassifier()
    with pytest.raises(ValueError, match=r"^X must hold the same rows in each pass, got \d+ "):
        model.fit(table, "label")
    assert set(vars(model)) == set(model.get_params())


def test_predictions_without_a_column_of_fit_raise(path):
    model = TorchLogisticClassifier().fit(X, Y)
    sentence = (
        "X must have the columns of fit, got none that is named 'a', 'b'. The columns are 'c', 'd'."
    )
    file = path.parent / "few.parquet"
    FRAME[["c", "d"]].to_parquet(file)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        model.predict(file)


def test_path_that_does_not_exist_raises():
    sentence = (
        "X must be the path of a Parquet file or of a folder of such files, got 'none.parquet', "
        "which does not exist. Check the path."
    )
    with pytest.raises(FileNotFoundError, match=f"^{re.escape(sentence)}$"):
        TorchLogisticClassifier().fit("none.parquet", "label")


def test_path_of_no_parquet_file_raises(tmp_path):
    file = tmp_path / "rows.csv"
    FRAME.to_csv(file)
    for path in (file, tmp_path):
        sentence = (
            "X must be the path of a Parquet file or of a folder of such files, got "
            f"{str(path)!r}, which is read with the error "
        )
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}.*of their format\\.$"):
            TorchLogisticClassifier().fit(path, "label")


def test_file_whose_column_has_another_type_is_named(tmp_path):
    FRAME.to_parquet(tmp_path / "0.parquet")
    file = tmp_path / "1.parquet"
    FRAME.assign(a="text").to_parquet(file)
    sentence = "X must be whole files with columns of the same types, got the error "
    end = f" in {str(file)!r}. Write this file again, or leave it out."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}.*{re.escape(end)}$"):
        TorchLogisticClassifier().fit(tmp_path, "label", sample_weight="weight", groups="group")


def test_path_of_an_empty_folder_raises(tmp_path):
    sentence = (
        "X must be the path of a Parquet file or of a folder of such files, got "
        f"{str(tmp_path)!r}, which has no files. Check the path."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        TorchLogisticClassifier().fit(tmp_path, "label")


def test_streamed_data_in_memory_raises():
    sentence = (
        "source must be a path, a pyarrow dataset, a polars LazyFrame or a Dask data frame, got "
        "DataFrame. Pass data in memory to fit directly."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        Streamed(FRAME)


@pytest.mark.parametrize("memory", [0, -1, np.inf, None])
def test_streamed_with_no_amount_of_memory_raises(memory):
    sentence = (
        f"memory must be a positive amount of memory, got {memory!r}. Write a number of bytes, or "
        "a string such as '500MB'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Streamed("rows.parquet", memory=memory)
