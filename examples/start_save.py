"""
Start: save and load
====================

A fitted model is NumPy arrays and plain Python. ``joblib`` or ``pickle`` saves it, whatever device
it was trained on, and it loads where there is no GPU.
"""

# %%
# Save the whole pipeline, so that new rows are scaled as the training rows were.
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

with TemporaryDirectory() as folder:
    path = Path(folder) / "model.joblib"
    joblib.dump(model, path)
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")
    loaded = joblib.load(path)

# %%
# The same probabilities, to the bit.
print("the same:", np.array_equal(loaded.predict_proba(X), model.predict_proba(X)))
