"""
From logits to labels
=====================

Train a small network on two noisy half moons by stochastic gradient descent, and compute the
probabilities and labels of five rows from their logits.
"""

# %%
# 8,000 rows are for training and 2,000 for validation. Without early stopping, the validation set
# is only scored, and the weights of the last epoch are kept. ``verbose=10`` prints both losses
# every ten epochs.
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from scipy.special import expit
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay

from skbinary import LossCurveDisplay, TorchMLPClassifier

X, y = make_moons(10_000, noise=0.3, random_state=0)
X_train, X_val, y_train, y_val = X[:8_000], X[8_000:], y[:8_000], y[8_000:]

model = TorchMLPClassifier(
    hidden_layer_sizes=(32,),
    solver="sgd",
    alpha=0.0,
    learning_rate_init=0.1,
    momentum=0.0,
    early_stopping=False,
    max_iter=100,
    n_iter_no_change=100,
    random_state=0,
    verbose=10,
).fit(X_train, y_train, X_val=X_val, y_val=y_val)

# %%
# The sigmoid of the logit is the probability of class 1. ``predict`` returns class 1 when the
# probability is at least the threshold.
logits = model.decision_function(X_val[:5])
probabilities = expit(logits)
labels = (probabilities >= model.threshold).astype(int)
print("\n logit  probability  label  truth")
for row in zip(logits, probabilities, labels, y_val[:5], strict=True):
    print("{:6.2f}  {:11.3f}  {:5d}  {:5d}".format(*row))

# %%
# ``predict_proba`` and ``predict`` return the same.
assert np.array_equal(model.predict_proba(X_val[:5])[:, 1], probabilities)
assert np.array_equal(model.predict(X_val[:5]), labels)

# %%
# 1,000 of the validation rows, and the predicted probability of class 1.
BLUE, ORANGE = "#0072B2", "#D55E00"
figure, ax = plt.subplots(layout="constrained")
display = DecisionBoundaryDisplay.from_estimator(
    model,
    X_val,
    response_method="predict_proba",
    class_of_interest=1,
    grid_resolution=200,
    eps=0.1,
    ax=ax,
    cmap=LinearSegmentedColormap.from_list("shades", ["#8FC1E3", "white", "#F5B98A"]),
    plot_method="pcolormesh",
    vmin=0,
    vmax=1,
)
ax.contour(display.xx0, display.xx1, display.response, levels=[0.5], colors="black")
shown, truth = X_val[:1_000], y_val[:1_000]
for label, color, marker in ((0, BLUE, "o"), (1, ORANGE, "^")):
    rows = shown[truth == label]
    ax.scatter(
        *rows.T,
        s=14,
        c=color,
        marker=marker,
        lw=0.3,
        ec="white",
        label=f"class {label}",
    )
figure.colorbar(
    display.surface_,
    ax=ax,
    label="probability of class 1",
    ticks=[0, 0.25, 0.5, 0.75, 1],
)
ax.set(xlabel="first feature", ylabel="second feature")
ax.set_title("Decision boundary", loc="left")
ax.legend(loc="lower right")

# %%
# The losses on the training and validation sets.
LossCurveDisplay.from_estimator(model, show_score=False)

plt.show()
