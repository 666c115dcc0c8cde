"""
Logistic regression by gradient descent
=======================================

By default, ``TorchLogisticClassifier`` finds the optimum in a few Newton steps. Here it takes 5,000
small steps of gradient descent, as in many tutorials, on two clouds of points.
"""

# %%
# Two clouds of 200 points each.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from skbinary import LossCurveDisplay, TorchLogisticClassifier

X, y = make_blobs(n_samples=[200, 200], random_state=2, cluster_std=1.4, n_features=2)

# %%
# Gradient descent: no momentum, no penalty (``C=np.inf``), and all rows in every batch. With
# ``n_iter_no_change=max_iter``, training runs for all epochs.
model = TorchLogisticClassifier(
    C=np.inf,
    solver="sgd",
    learning_rate_init=0.01,
    momentum=0.0,
    batch_size=len(X),
    max_iter=5_000,
    n_iter_no_change=5_000,
).fit(X, y)

# %%
# The classes are linearly separable. Without a penalty, the loss then decreases forever, more and
# more slowly.
print("epoch   loss")
for epoch in (1, 10, 100, 1_000, 5_000):
    print(f"{epoch:5,}   {model.loss_curve_[epoch - 1]:.4f}")
print(f"accuracy: {model.score(X, y):.2%}")

# %%
# The predicted classes, and the line where both classes have a probability of 0.5.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#555555"
labels = model.predict(X)

figure, ax = plt.subplots(layout="constrained")
for label, color, marker in ((0, BLUE, "o"), (1, ORANGE, "^")):
    rows = X[labels == label]
    ax.scatter(
        *rows.T,
        s=26,
        c=color,
        marker=marker,
        lw=0.4,
        ec="white",
        label=f"predicted {label}",
    )
wrong = X[labels != y]
ax.scatter(*wrong.T, s=90, fc="none", ec="black", label="wrong")
weights, intercept = model.coef_[0], model.intercept_[0]
ends = np.array([X[:, 0].min() - 0.5, X[:, 0].max() + 0.5])
limits = X[:, 1].min() - 0.7, X[:, 1].max() + 2.5
ax.plot(ends, -(weights[0] * ends + intercept) / weights[1], c=GREY, ls="--", lw=1.2)
ax.set(xlabel="first feature", ylabel="second feature", xlim=ends, ylim=limits)
ax.set_title("Predictions", loc="left")
ax.legend(frameon=False, loc="upper left")
ax.spines[["top", "right"]].set_visible(False)

# %%
# The loss, with logarithmic axes, because the first steps reduce it most.
display = LossCurveDisplay.from_estimator(model, log_scale=True)
display.ax_.set_xscale("log")
display.ax_.set_xticks([1, 10, 100, 1_000, 5_000], ["1", "10", "100", "1,000", "5,000"])
display.ax_.minorticks_off()
display.ax_.set_title("Training loss", loc="left")

plt.show()
