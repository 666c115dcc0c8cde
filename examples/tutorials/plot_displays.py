"""
Plot losses, thresholds and searches
====================================

``LossCurveDisplay`` plots the training of a model, ``ThresholdDisplay`` metrics over the threshold,
and ``SearchDisplay`` the scores of a search. They work like the displays of scikit-learn, which
can be used with these classifiers, too.
"""

# %%
# The task: which tumors are malignant? Half of the data is for training, half for testing.
import matplotlib.pyplot as plt
from sklearn.base import clone
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_breast_cancer
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import RocCurveDisplay
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import (
    LossCurveDisplay,
    SearchDisplay,
    ThresholdDisplay,
    TorchLogisticClassifier,
    TorchMLPClassifier,
    VectorizedGridSearchCV,
)

data = load_breast_cancer()
X_train, X_test, y_train, y_test = train_test_split(
    data.data,
    data.target_names[data.target],
    test_size=0.5,
    stratify=data.target,
    random_state=0,
)

# %%
# The loss of one fit
# -------------------
# Early stopping holds out a validation set. When its loss no longer improves, training stops, and
# the weights of the best epoch are kept. The validation accuracy has its axis on the right.
network = TorchMLPClassifier(
    (64,),
    alpha=0.0,
    learning_rate_init=0.003,
    early_stopping=True,
    max_iter=400,
    random_state=0,
)
model = make_pipeline(StandardScaler(), network).fit(X_train, y_train)
display = LossCurveDisplay.from_estimator(model)
display.ax_.set_title("One fit", loc="left")

# %%
# Compare fits
# ------------
# Give each fit a name and draw it on the same axes. A logarithmic axis shows changes of a small
# loss.
several_fits, ax = plt.subplots(layout="constrained")
for rate in (0.001, 0.003, 0.03):
    other = clone(model).set_params(torchmlpclassifier__learning_rate_init=rate)
    other.fit(X_train, y_train)
    LossCurveDisplay.from_estimator(
        other, ax=ax, name=f"rate {rate}", log_scale=True, show_score=False
    )
ax.set_title("Three learning rates", loc="left")

# %%
# Metrics over the threshold
# --------------------------
# ``fit`` has tuned the threshold to a recall of 99% on out-of-fold scores of the training data. The
# shaded region is a 90% bootstrap interval. Without data, the display shows the scores that the
# threshold was tuned on; with data, the metrics on them.
chosen = make_pipeline(
    StandardScaler(), TorchLogisticClassifier(threshold={"recall": 0.99})
)
chosen.fit(X_train, y_train)
thresholds, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
ThresholdDisplay.from_estimator(chosen, ax=panels[0])
ThresholdDisplay.from_estimator(
    chosen, X_test, y_test, metrics=["precision", "recall", "specificity"], ax=panels[1]
)
panels[0].set_title("Training data, out-of-fold", loc="left")
panels[1].set_title("Test data", loc="left")

# %%
# Scores of a search
# ------------------
# Over two parameters, or over one. The score is the best over the parameters that are not shown.
search = VectorizedGridSearchCV(
    make_pipeline(
        StandardScaler(),
        TorchMLPClassifier((16,), max_iter=20, n_iter_no_change=20, random_state=0),
    ),
    {
        "torchmlpclassifier__learning_rate_init": [
            0.0003,
            0.001,
            0.003,
            0.01,
            0.03,
            0.1,
            0.3,
        ],
        "torchmlpclassifier__alpha": [0.001, 0.1, 1, 10, 100],
    },
    scoring="neg_log_loss",
).fit(X_train, y_train)
searches, panels = plt.subplots(
    1, 2, figsize=(12, 4.2), width_ratios=(1.4, 1), layout="constrained"
)
SearchDisplay.from_estimator(search, ax=panels[0])
SearchDisplay.from_estimator(search, params="learning_rate_init", ax=panels[1])
panels[0].set_title("Over two parameters", loc="left")
panels[1].set_title("Over one", loc="left")

# %%
# Displays of scikit-learn
# ------------------------
# ROC curves, calibration curves and decision boundaries. The colors are those of Okabe and Ito,
# which readers with color vision deficiency can tell apart; line styles differ, too.
OKABE_ITO = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
style = plt.cycler(color=OKABE_ITO) + plt.cycler(linestyle=["-", "--", ":", "-."])
with plt.rc_context({"axes.prop_cycle": style}):
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(14, 4.4), layout="constrained"
    )
    for name, each in (("logistic", chosen), ("network", model)):
        RocCurveDisplay.from_estimator(each, X_test, y_test, ax=left, name=name)
        CalibrationDisplay.from_estimator(
            each, X_test, y_test, n_bins=5, ax=middle, name=name, marker="o"
        )
left.set_title("ROC curve", loc="left")
middle.set_title("Calibration", loc="left")

# A decision boundary needs a model with two features.
two = make_pipeline(
    StandardScaler(), TorchMLPClassifier((16,), max_iter=500, random_state=0)
)
two.fit(X_train[:, :2], y_train)
boundary = DecisionBoundaryDisplay.from_estimator(
    two,
    X_test[:, :2],
    response_method="predict_proba",
    class_of_interest="malignant",
    plot_method="pcolormesh",
    cmap="cividis",
    vmin=0,
    vmax=1,
    ax=right,
    xlabel=data.feature_names[0],
    ylabel=data.feature_names[1],
)
for label, color, marker in (
    ("benign", "#56B4E9", "o"),
    ("malignant", "#D55E00", "^"),
):
    rows = X_test[y_test == label]
    right.scatter(
        *rows[:, :2].T, c=color, marker=marker, s=18, lw=0.5, ec="black", label=label
    )
figure.colorbar(boundary.surface_, ax=right, label="probability of malignant")
right.legend(loc="lower right")
right.set_title("Decision boundary", loc="left")

plt.show()
