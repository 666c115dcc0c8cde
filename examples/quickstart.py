"""
Quickstart: both classifiers on real data
=========================================

Which tumours are malignant? Both classifiers beside scikit-learn's own, a small grid search, a
threshold that finds 99% of the malignant ones, and a model that is saved and loaded.

Run it with ``python examples/quickstart.py``. The pictures and the model go into ``output/``
beside this script; ``--output`` names another folder and ``--picture`` a copy of the picture.
"""

# %%
import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve, recall_score
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import (
    LossCurveDisplay,
    ThresholdDisplay,
    TorchLogisticClassifier,
    TorchMLPClassifier,
)

parser = argparse.ArgumentParser(description=__doc__.strip().partition("\n")[0])
parser.add_argument("--output", type=Path, default=Path(sys.argv[0]).parent / "output")
parser.add_argument("--picture", type=Path, help="where to put a copy of the picture")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

# %%
# The labels are words. The positive class is the second one in sorted order: malignant.
data = load_breast_cancer()
X, y = data.data, data.target_names[data.target]
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(f"Breast cancer: {len(X)} rows, {X.shape[1]} features, {np.sum(y == 'malignant')} malignant")

# %%
# Swap the import, keep the pipeline.
print("\nROC AUC, mean of 5-fold cross-validation")
for classifier in (
    TorchLogisticClassifier(),
    LogisticRegression(),
    TorchMLPClassifier(max_iter=1_000, random_state=0),
    MLPClassifier(max_iter=1_000, random_state=0),
):
    pipeline = make_pipeline(StandardScaler(), classifier)
    scores = cross_val_score(pipeline, X, y, scoring="roc_auc")
    print(f"  {type(classifier).__name__:26}{scores.mean():.4f}")

# %%
# A grid written for scikit-learn still runs.
logistic = make_pipeline(StandardScaler(), TorchLogisticClassifier())
mlp = make_pipeline(StandardScaler(), TorchMLPClassifier(max_iter=1_000, random_state=0))
print("\nGrid search")
for pipeline, grid in (
    (logistic, {"torchlogisticclassifier__C": [0.01, 0.1, 1, 10]}),
    (mlp, {"torchmlpclassifier__alpha": [0.01, 1, 100]}),
):
    search = GridSearchCV(pipeline, grid, scoring="roc_auc").fit(X_train, y_train)
    pipeline.set_params(**search.best_params_)
    ((name, value),) = search.best_params_.items()
    name, parameter = type(pipeline[-1]).__name__, name.split("__")[1]
    print(f"  {name:26}{search.best_score_:.4f}  with {parameter}={value:g}")

# %%
# To miss at most one malignant tumour in a hundred, take the highest threshold that does so on
# rows that the model has not seen: the training rows, each scored by a fold without it. The test
# rows have no say.
unseen = cross_val_predict(logistic, X_train, y_train, method="predict_proba")[:, 1]
precision, recall, thresholds = precision_recall_curve(y_train, unseen, pos_label="malignant")
chosen = thresholds[recall[:-1] >= 0.99].max()
logistic.set_params(torchlogisticclassifier__threshold=chosen).fit(X_train, y_train)

print(f"\nThreshold for 99% recall: {chosen:.3f}")
for threshold in (0.5, chosen):
    labels = logistic.predict(X_test, threshold=threshold)
    found = recall_score(y_test, labels, pos_label="malignant")
    false_alarms = np.sum((labels == "malignant") & (y_test == "benign"))
    print(
        f"  at {threshold:.3f}: recall {found:.1%} on {len(y_test)} held-out rows, "
        f"false alarms {false_alarms}"
    )

# %%
# Save the model, load it in a fresh process, and compare.
SCORE = """
import sys, joblib
model, rows = joblib.load(sys.argv[1]), joblib.load(sys.argv[2])
joblib.dump((model.predict_proba(rows), model.predict(rows)), sys.argv[3])
"""
files = [arguments.output / f"quickstart_{name}.joblib" for name in ("model", "rows", "scores")]
joblib.dump(logistic, files[0])
joblib.dump(X_test, files[1])
subprocess.run([sys.executable, "-c", SCORE, *files], check=True)
probabilities, labels = joblib.load(files[2])
same = np.array_equal(probabilities, logistic.predict_proba(X_test))
same = same and np.array_equal(labels, logistic.predict(X_test))
print(f"\nSaved, and loaded in a fresh process: {'the same' if same else 'other'} probabilities")

# %%
# The picture: the loss of the network on training and on validation rows, and what each threshold
# would cost. A quarter of the training rows is held out for validation and scaled like the others.
# The test rows are not used.
X_fit, X_val, y_fit, y_val = train_test_split(X_train, y_train, stratify=y_train, random_state=0)
scaler, network = clone(mlp[0]).fit(X_fit), clone(mlp[-1])
network.fit(scaler.transform(X_fit), y_fit, X_val=scaler.transform(X_val), y_val=y_val)
plt.rcParams["font.size"] = 12
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
LossCurveDisplay.from_estimator(network, ax=left, show_score=False)
left.set_title("TorchMLPClassifier learns", loc="left")
ThresholdDisplay.from_predictions(
    y_train, unseen, metrics=["recall", "precision"], threshold=chosen, ax=right
)
right.set_title("The threshold you need", loc="left")

picture = arguments.output / "quickstart.png"
figure.savefig(picture, dpi=120)
if arguments.picture:
    shutil.copyfile(picture, arguments.picture)
print(f"The picture is in {picture}")
