"""
Save and load a model
=====================

A fitted model consists of NumPy arrays and plain Python objects. ``joblib`` or ``pickle`` saves
it, on whatever device it was trained, and it loads on a machine without a GPU.
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

# Save the whole pipeline, so that new data are scaled in the same way.
with TemporaryDirectory() as folder:
    path = Path(folder) / "model.joblib"
    joblib.dump(model, path)
    loaded = joblib.load(path)

same = np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
print(f"same probabilities: {same}")
