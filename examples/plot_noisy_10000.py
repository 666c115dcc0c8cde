"""
10,000 noisy rows: from logits to labels, and back from disk
============================================================

Two half moons under a lot of noise, a small network, plain stochastic gradient descent. We watch
it train, follow five rows from logit to probability to label, draw the boundary, and save the
model.
"""

# %%
# 8,000 rows are for training and 2,000 for validation. The validation rows do not influence the
# fit: without early stopping, the weights of the last epoch are kept. ``verbose=10`` prints both
# losses every ten epochs.
import sys
from pathlib import Path

import joblib
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
# Five rows. The sigmoid of the logit is the probability, and a row is labelled 1 when its
# probability is at least the threshold.
logits = model.decision_function(X_val[:5])
probabilities = expit(logits)
labels = (probabilities >= model.threshold).astype(int)
print("\n logit  probability  label  truth")
for row in zip(logits, probabilities, labels, y_val[:5], strict=True):
    print("{:6.2f}  {:11.3f}  {:5d}  {:5d}".format(*row))

# %%
# The estimator gives the same by itself.
assert np.array_equal(model.predict_proba(X_val[:5])[:, 1], probabilities)
assert np.array_equal(model.predict(X_val[:5]), labels)

# %%
# On the left, 1,000 of the validation rows and the probability of class 1 behind them. On the
# right, the losses.
BLUE, ORANGE = "#0072B2", "#D55E00"
figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=(1.2, 1)
)
display = DecisionBoundaryDisplay.from_estimator(
    model,
    X_val,
    response_method="predict_proba",
    class_of_interest=1,
    grid_resolution=200,
    eps=0.1,
    ax=left,
    cmap=LinearSegmentedColormap.from_list("shades", ["#8FC1E3", "white", "#F5B98A"]),
    plot_method="pcolormesh",
    vmin=0,
    vmax=1,
)
left.contour(display.xx0, display.xx1, display.response, levels=[0.5], colors="black")
shown, truth = X_val[:1_000], y_val[:1_000]
for label, colour, marker in ((0, BLUE, "o"), (1, ORANGE, "^")):
    rows = shown[truth == label]
    left.scatter(*rows.T, s=14, c=colour, marker=marker, lw=0.3, ec="white", label=f"class {label}")
figure.colorbar(
    display.surface_, ax=left, label="probability of class 1", ticks=[0, 0.25, 0.5, 0.75, 1]
)
left.set(xlabel="first feature", ylabel="second feature")
left.set_title("The boundary", loc="left")
left.legend(loc="lower right")

LossCurveDisplay.from_estimator(model, ax=right, show_score=False)
right.set_title("The losses", loc="left")

# %%
# Picture and model go into ``output/`` beside this script, or the folder named on the command
# line. The model that comes back from disk is the same to the bit.
output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "output"
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "plot_noisy_10000.png", dpi=120)

joblib.dump(model, output / "noisy_10000.joblib")
loaded = joblib.load(output / "noisy_10000.joblib")
same = np.array_equal(loaded.predict_proba(X_val), model.predict_proba(X_val))
print(f"\nSaved, loaded, and the same probabilities: {'yes' if same else 'no'}")
if plt.get_backend().lower() != "agg":
    plt.show()
