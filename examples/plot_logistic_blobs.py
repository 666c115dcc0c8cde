"""
Logistic regression, one step at a time
=======================================

Two clouds of points and a straight line between them. By default, ``TorchLogisticClassifier``
takes a few large steps to the optimum. Here it takes 5,000 small ones, as tutorials on gradient
descent do, and we watch the loss fall.
"""

# %%
# Two clouds of 200 points each, which nearly touch.
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from skbinary import LossCurveDisplay, TorchLogisticClassifier

X, y = make_blobs(n_samples=[200, 200], random_state=2, cluster_std=1.4, n_features=2)

# %%
# Plain gradient descent: no momentum, no penalty (``C=np.inf``), and all rows in every batch.
# With ``n_iter_no_change=max_iter`` training never stops early.
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
# A line can part these clouds to the last point. Without a penalty the loss then falls for ever,
# only slower and slower.
print("epoch   loss")
for epoch in (1, 10, 100, 1_000, 5_000):
    print(f"{epoch:5,}   {model.loss_curve_[epoch - 1]:.4f}")
print(f"Rows labelled right: {model.score(X, y):.2%}")

# %%
# On the left, the points by predicted class, and the line where both classes are equally likely.
# On the right, the loss. Both axes are logarithmic, because the first steps gain the most.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#555555"
labels = model.predict(X)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for label, colour, marker in ((0, BLUE, "o"), (1, ORANGE, "^")):
    rows = X[labels == label]
    left.scatter(
        *rows.T, s=26, c=colour, marker=marker, lw=0.4, ec="white", label=f"predicted {label}"
    )
wrong = X[labels != y]
left.scatter(*wrong.T, s=90, fc="none", ec="black", label="wrong")
weights, intercept = model.coef_[0], model.intercept_[0]
ends = np.array([X[:, 0].min() - 0.5, X[:, 0].max() + 0.5])
limits = X[:, 1].min() - 0.7, X[:, 1].max() + 2.5
left.plot(ends, -(weights[0] * ends + intercept) / weights[1], c=GREY, ls="--", lw=1.2)
left.set(xlabel="first feature", ylabel="second feature", xlim=ends, ylim=limits)
left.set_title("What the model predicts", loc="left")
left.legend(frameon=False, loc="upper left")

left.spines[["top", "right"]].set_visible(False)

LossCurveDisplay.from_estimator(model, ax=right, log_scale=True)
right.set_xscale("log")
right.set_xticks([1, 10, 100, 1_000, 5_000], ["1", "10", "100", "1,000", "5,000"])
right.minorticks_off()
right.set_title("How the loss fell", loc="left")

# %%
# The picture goes into ``output/`` beside this script, or the folder named on the command line.
output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "output"
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "plot_logistic_blobs.png", dpi=120)
if plt.get_backend().lower() != "agg":
    plt.show()
