"""
Start: save and load
====================

A fitted model is NumPy arrays and plain Python. ``joblib`` or ``pickle`` saves it, whatever device
it was trained on, and it loads where there is no GPU.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import TorchMLPClassifier

X, y = load_breast_cancer(return_X_y=True)
network = TorchMLPClassifier(learning_rate_init=0.01, random_state=0)
model = make_pipeline(StandardScaler(), network).fit(X, y)

# The whole pipeline, so that new rows are scaled as the training rows were.
with TemporaryDirectory() as folder:
    path = Path(folder) / "model.joblib"
    joblib.dump(model, path)
    loaded = joblib.load(path)

print("the same:", np.array_equal(loaded.predict_proba(X), model.predict_proba(X)))
