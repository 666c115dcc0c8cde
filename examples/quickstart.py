"""
Quickstart: both classifiers on real data
=========================================

Which tumors are malignant? Compare both classifiers with scikit-learn's, search for a penalty,
tune the threshold to a recall of 99%, save the model, and plot the training and the threshold.
"""

# %%
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import (
    LossCurveDisplay,
    ThresholdDisplay,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)

# %%
# The labels are strings. "malignant" is the second one in sorted order, and so the positive class.
data = load_breast_cancer()
X, y = data.data, data.target_names[data.target]
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(
    f"Breast cancer: {len(X)} rows, {X.shape[1]} features, {np.sum(y == 'malignant')} malignant"
)

# %%
# Compare the classifiers with those of scikit-learn by cross-validation.
print("\nROC AUC, mean of 5-fold cross-validation")
for classifier in (
    TorchLogisticClassifier(),
    LogisticRegression(),
    TorchMLPClassifier(max_iter=1_000, random_state=0),
    MLPClassifier(max_iter=1_000, random_state=0),
):
    pipeline = make_pipeline(StandardScaler(), classifier)
    scores = cross_val_score(pipeline, X_train, y_train, scoring="roc_auc")
    print(f"  {type(classifier).__name__:26}{scores.mean():.4f}")

# %%
# Search for the strength of the penalty. All candidates and folds are trained as one batch of
# models.
search = VectorizedGridSearchCV(
    make_pipeline(StandardScaler(), TorchLogisticClassifier()),
    {"torchlogisticclassifier__C": [0.01, 0.1, 1, 10]},
    scoring="neg_log_loss",
).fit(X_train, y_train)
penalty = search.best_params_["torchlogisticclassifier__C"]
print(f"\nGrid search: log loss {-search.best_score_:.4f} with C={penalty:g}")

# %%
# To find 99% of the malignant tumors, give the threshold that objective. ``fit`` tunes it on
# training rows, each scored by a model that was not trained on it.
classifier = TorchLogisticClassifier(
    C=penalty, threshold={"recall": 0.99}, pos_label="malignant"
)
model = make_pipeline(StandardScaler(), classifier).fit(X_train, y_train)

print(f"\nThreshold for 99% recall: {classifier.threshold_:.3f}")
for threshold in (0.5, classifier.threshold_):
    labels = model.predict(X_test, threshold=threshold)
    recall = recall_score(y_test, labels, pos_label="malignant")
    false_alarms = np.sum((labels == "malignant") & (y_test == "benign"))
    print(
        f"  at {threshold:.3f}: recall {recall:.1%} on {len(y_test)} test rows, "
        f"false alarms {false_alarms}"
    )

# %%
# Save the model, and load it in a fresh process.
PREDICT = """
import sys, joblib
model, rows = joblib.load(sys.argv[1]), joblib.load(sys.argv[2])
joblib.dump(model.predict_proba(rows), sys.argv[3])
"""
with TemporaryDirectory() as folder:
    files = [
        Path(folder) / f"{name}.joblib" for name in ("model", "rows", "probabilities")
    ]
    joblib.dump(model, files[0])
    joblib.dump(X_test, files[1])
    subprocess.run([sys.executable, "-c", PREDICT, *files], check=True)
    loaded = joblib.load(files[2])
same = np.array_equal(loaded, model.predict_proba(X_test))
print(f"\nLoaded in a fresh process: {'the same' if same else 'other'} probabilities")

# %%
# Recall and precision on the test data for every threshold, with the tuned one marked.
ThresholdDisplay.from_estimator(model, X_test, y_test, metrics=["recall", "precision"])

# %%
# The loss of a network on its training and validation set.
network = make_pipeline(
    StandardScaler(),
    TorchMLPClassifier(early_stopping=True, max_iter=1_000, random_state=0),
).fit(X_train, y_train)
LossCurveDisplay.from_estimator(network, show_score=False)

plt.show()
