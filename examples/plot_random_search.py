"""
Sixty draws, and how many of them were needed
=============================================

A grid asks the same few values again and again; draws from distributions ask new ones each time.
The first ten bring most of the gain, and then it takes patience, or luck. Layers of two shapes,
rates, penalties and dropout are drawn here; candidates of one shape are trained side by side.
"""

# %%
# Odd digits against even ones: ten kinds of pictures in two classes, so there is no straight line
# between them.
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import loguniform, uniform
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbinary import SearchDisplay, TorchMLPClassifier, VectorizedRandomizedSearchCV

X, y = load_digits(return_X_y=True)
model = make_pipeline(
    StandardScaler(),
    TorchMLPClassifier(max_iter=20, n_iter_no_change=20, early_stopping=False, random_state=0),
)
distributions = {
    "torchmlpclassifier__hidden_layer_sizes": [(16,), (32, 16)],
    "torchmlpclassifier__learning_rate_init": loguniform(1e-4, 1e-1),
    "torchmlpclassifier__alpha": loguniform(1e-4, 1e2),
    "torchmlpclassifier__dropout": uniform(0, 0.4),
}
search = VectorizedRandomizedSearchCV(
    model, distributions, n_iter=60, scoring="neg_log_loss", cv=3, random_state=0
).fit(X, y % 2)

# %%
# What was found, and how soon: the best score among the first draws, and what it is on average when
# the draws come in another order.
scores = search.cv_results_["mean_test_score"]
shuffled = np.random.default_rng(0).permuted(np.tile(scores, (500, 1)), axis=1)
so_far = -np.maximum.accumulate(shuffled, axis=1)

for name, value in search.best_params_.items():
    shown = value if isinstance(value, tuple) else f"{value:.3g}"
    print(f"{name.removeprefix('torchmlpclassifier__')}: {shown}")
print(f"log loss {-search.best_score_:.3f}")
for n in (1, 10, 30, 60):
    print(f"lowest of {n:2} draws, on average: {so_far[:, n - 1].mean():.3f}")

# %%
# Each draw over the two parameters that matter most, and the best of the first draws.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
SearchDisplay.from_estimator(search, params=["learning_rate_init", "alpha"], ax=left)
left.set_title("Sixty draws", loc="left")

draws = np.arange(1, len(scores) + 1)
low, high = np.quantile(so_far, [0.05, 0.95], axis=0)
right.fill_between(draws, low, high, color="#0072B2", alpha=0.2, lw=0, label="nine orders of ten")
right.plot(draws, so_far.mean(axis=0), color="#0072B2", label="mean of all orders")
right.plot(draws, -np.maximum.accumulate(scores), color="#D55E00", ls="--", label="as drawn")
right.set(xlabel="draws", ylabel="lowest log loss so far", ylim=(0, None))
right.legend(frameon=False)
right.set_title("The best of the first draws", loc="left")
right.spines[["top", "right"]].set_visible(False)

# %%
# The picture goes into ``output/`` beside this script, or the folder named on the command line.
output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "output"
output.mkdir(parents=True, exist_ok=True)
figure.savefig(output / "plot_random_search.png", dpi=120)
if plt.get_backend().lower() != "agg":
    plt.show()
