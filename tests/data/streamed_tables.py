"""A table that the tests of streamed tables write to files."""

import numpy as np
import pandas as pd

from skbinary.streaming import Streamed

N_ROWS, FEATURES = 6000, ["a", "b", "c", "d"]
LITTLE = "60KB"  # less than a quarter of it holds a fifth of the rows


def make_frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(N_ROWS, 3)).astype(np.float32), columns=FEATURES[:3])
    frame["d"] = rng.random(N_ROWS) > 0.5
    logits = frame["a"] - frame["b"] + frame["d"] - 1 + rng.logistic(size=N_ROWS)
    frame["label"] = np.where(logits > 0, "yes", "no")
    frame["weight"] = rng.integers(0, 4, N_ROWS).astype(float)
    frame["group"] = rng.integers(0, 300, N_ROWS)
    return frame


FRAME = make_frame()
X, Y, WEIGHT = FRAME[FEATURES], FRAME["label"], FRAME["weight"]


def weighted(path, memory=LITTLE):
    """Return the arguments of a fit that uses all columns."""
    return {"X": Streamed(path, memory=memory), "y": "label", "sample_weight": "weight",
            "groups": "group"}  # fmt: skip
